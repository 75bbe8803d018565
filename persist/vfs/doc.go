// Package vfs is the few file operations that the stores use, behind small
// interfaces, so that a test can put a disk under them that loses power, fills
// up or fails (package faultfs).
//
//	persist/segment, persist/meta
//	          |
//	      vfs.FS, vfs.File
//	       |            |
//	    vfs.OS     faultfs.FS
//
// The rules a caller must keep are those of POSIX: what was written is on disk
// after Sync of the file, a name (created, renamed, linked, removed) after
// SyncDir of its directory, and after a Sync that failed nothing is known of
// what was written before it; trying again proves nothing.
//
// No goroutines, no locks. Read vfs.go, then os.go.
package vfs
