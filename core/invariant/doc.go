// Package invariant says whether this build checks its own data structures.
//
// A package with an invariant worth checking writes it beside the field and
// checks it in a function called behind this constant:
//
//	if invariant.Enabled {
//		q.checkLocked()
//	}
//
// In a normal build the compiler drops the whole statement. The checks run in
// builds with -tags invariants and in every build with the race detector, which
// is slow already.
package invariant
