//go:build !invariants && !race

package invariant

// Enabled is true in builds that check invariants.
const Enabled = false
