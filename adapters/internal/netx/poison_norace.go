//go:build !race

package netx

// poison makes putBuf overwrite what is given back.
const poison = false
