// Package brokertest runs real leveret processes for tests: it builds the
// binary, starts it on free ports, looks at its memory from outside, and sees
// to it that it ends well.
//
//	Build ──▶ binary ──▶ Start ──▶ Broker ──▶ RSS, PeakRSS, Heap, Account
//	                       │          │
//	                free ports    Stop, CheckLog
//
// One goroutine per process waits for its end. Everything else happens on the
// goroutine of the caller, and any goroutine may call a Broker's methods.
package brokertest
