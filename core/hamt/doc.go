// Package hamt provides an immutable map: a hash trie in which a change copies
// only the path from the root to the changed entry.
//
// Routing tables are built from it. A publish reads the table that was current
// when it began, without a lock; a bind makes a new table that shares all but a
// few nodes with the old one. A table of 100,000 entries therefore costs one
// bind about a kilobyte of copying instead of megabytes.
//
//	Map ──► node (32 slots, two bitmaps)
//	         ├─ entries: hash, key, value
//	         └─ kids ──► node ──► …      5 bits of the hash per level
//
// A node holds an entry directly until a second one shares its slot; removal
// folds a node with one entry left back into its parent, so a map's shape
// depends only on what is in it. Keys whose 64 hash bits are all equal share a
// list at the bottom. Walks go through the slots in their order, which makes it
// one of the keys: a walk can be continued in another version.
//
// Goroutines: none. A Map may be read and derived from by any goroutine. An
// Edit or a Builder belongs to one goroutine.
//
// Read map.go, then edit.go.
package hamt
