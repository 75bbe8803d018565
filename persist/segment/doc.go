// Package segment is the file formats of the message log: segments with their
// groups and records, the sidecars of sealed segments, and checkpoints. It
// encodes, decodes and finds what is whole; it opens no file, starts no
// goroutine and has no lock. The layouts are drawn in package persist.
//
// Read format.go and record.go, then changes.go, scan.go, sidecar.go and
// checkpoint.go.
package segment
