// Package faultfs puts bad disks under the stores in tests.
//
//	store -> Injector -> FS (memory)  -- CrashAt(op, seed) --> another FS
//	            |
//	            +------> vfs.OS
//
// FS is a file system in memory that records each write, sync and change of
// names. CrashAt gives the disk as a power cut after any of them could have
// left it, as bad as POSIX allows: what was synced is whole; of what was not,
// each 512-byte sector, each truncation and each change of a name is there or
// not, each for itself; a file that grew holds zeros or stale bytes where its
// sectors are missing. A seed says which, so a failure can be repeated. FS can
// also have a limited size.
//
// Injector wraps any file system, FS or the real one, and makes chosen
// operations fail, write only half, wait, or call the test.
//
// A failed Sync on FS loses what it should have written, as Linux does: later
// reads see the data, a later Sync says yes, and after a power cut each sector
// is there or not.
//
// No goroutines. Each type has one lock; an Injector calls into what it wraps
// with its lock free. Read fs.go, crash.go, inject.go.
package faultfs
