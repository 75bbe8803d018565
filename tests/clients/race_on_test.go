//go:build clients && race

package clients

// raceEnabled is whether this test binary, and so the broker it builds, has
// the race detector in it.
const raceEnabled = true
