// Package meta keeps everything declared (vhosts, users, permissions,
// exchanges, queues, bindings, policies, parameters) in a directory. It
// implements core.Definitions on buntdb, which holds all of it in memory and
// appends to one file; where buntdb would lose or believe too much, this package
// steps in.
//
//	core --Commit--> Store --one group--> buntdb --write--> defs.db
//	 ^                 |                                      ^
//	 |                 +------- fdatasync, own descriptor ----+
//	 +----watch--------+
//
// In the directory:
//
//	defs.db            records of buntdb: SET and DEL
//	defs.lock          locked while the store is open
//	defs.ballast       room for deletions on a full disk
//	defs.prev          the former file, while defs.db is written anew; it wins
//	defs.db.tmp        being written
//	defs.damaged-TIME  what was taken out of defs.db, and why
//
// What we do about buntdb:
//
//   - It ignores failed syncs: it never syncs, we do, and a failure poisons the
//     store for ever.
//   - A torn end keeps a random part of a transaction: a change of several keys
//     is preceded by one record that holds it whole (commit.go).
//   - It has no checksums: every value carries one (envelope.go), every
//     deletion is a value first.
//   - It trusts its file: we read it before (examine.go). After each sync a
//     record, the mark, says how far the file is on disk. What is bad behind the
//     last mark is an unfinished write and cut off; what is bad before it is
//     damage and set aside, with older states of the same definition, and the
//     rest is served (damage.go).
//   - A power cut may leave blocks of a former file behind the end: marks carry
//     the instance of the file and are believed only in that one.
//   - Its Shrink is not safe: the former file is kept until the new one is
//     synced (shrink.go).
//   - On a full disk even deletions fail: ballast.go.
//
// A damaged record of which not even the key can be read (a sector gone) lets
// an older state of that definition come back; both are reported, the older one
// only as far as the damaged bytes name it.
//
// Tests: buntdb opens its file itself, so it cannot run on the disk in memory of
// package faultfs. Power cuts are tested by recording the real file and letting
// faultfs spoil what of it was not synced, syncs, names and the ballast by
// injected errors, failing writes by a hook before each transaction of buntdb,
// kill -9 by a child process.
//
// Goroutines: none of its own, except one for a Shrink that is due, which Close
// waits for, and two during Watch. Lock order: shrinking, writing,
// ballast, applying, mu (see Store).
//
// Read store.go, commit.go, envelope.go, records.go, examine.go, damage.go,
// shrink.go. Check (check.go) reads a store that is not open.
package meta
