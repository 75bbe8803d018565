// Package stream keeps the contents of streams, each in segments of its own:
// Store is a core.StreamStore on files.
//
//	copier --> Append: encode, one write, one fdatasync --> active segment
//	                                                          | full
//	readers <-- Read: a block, one pread <---------------- sealed segments
//	                                                          | too old, too many
//	Retain ---------------------------------------------> removed
//
// What is published into a stream stands in the message log first, where it is
// confirmed, together with what other queues got of it; core copies it here in
// the order of offsets and lets go of it there. So nothing here is ever the only
// copy of a message before it is synced, an end that was not written completely
// is cut off without asking, and core hands out no offset that a crash could
// take back.
//
// # Files
//
//	QQQQQQQQQQ-FFFFFFFFFFFFFFFFFFFF.str   a segment: queue, first offset
//	QQQQQQQQQQ-FFFFFFFFFFFFFFFFFFFF.stx   its index, once it is sealed
//	*.tmp                                 being made; removed at the start
//	*.str.damaged                         a segment whose header is lost
//
// All numbers are little endian, chunks begin at multiples of 8, checksums are
// CRC-32C.
//
//	segment   0           8         12      16      24     32        60
//	          | LVRTSTR\n | version | queue | first | salt | 0 ...   | crc | chunks
//
//	chunk     0     4        8       16       24        32       40      44     48        52       53      56
//	          | crc | length | first | synced | base ms | last ms | count | data | content | filter | flags |
//	          | filter | messages | padding to 8 |
//
// A chunk is messages with consecutive offsets from first. Its crc covers the
// header, and is seeded with the segment's queue, first offset and salt and the
// chunk's place; content is the checksum of filter and messages. Offsets below
// synced were on disk when the chunk was written. Filter is a Bloom filter over
// the filter values of the messages, if any has one; flag 1 says that some have
// none.
//
//	message   length | flags and form u8 | priority u8 if any | arrived - base |
//	          exchange | key | filter value | properties | body
//
// Numbers are varints; strings have their length before them but for the body,
// which is the rest. Exchange and key are left out where they are those of the
// message before.
//
//	index     | LVRTSTX\n | version | queue | first | salt | next | first ms | last ms | end | blocks | length | 0 | crc |
//	          for each block: place, first offset, last ms (each as the distance from the one before), flags, filter
//
// The index is sparse: a block is chunks that take about 128 KB together, the
// unit of reading; its filter is the union of theirs. Times are found by the
// index, too.
//
// # Recovery
//
// Sealed segments are known by their indexes; one that lacks it is scanned, by
// hopping from header to header. So is the last segment. There, a chunk which is
// not whole and whose offsets no other chunk says were on disk ends the stream:
// the rest is cut off, and its messages come from the log again. A chunk that
// was on disk once is damage: it is reported and passed over.
//
// # Failures
//
// A full disk is noticed when writing; what was written in part is taken back,
// and core tries again after retention. A sync that fails ends the stream's
// writing until the next start: see package persist.
//
// # Goroutines and locks
//
// None of its own. Stream.writing, which is held while the disk is written to,
// comes before Stream.mu, which is not; Store.mu is a leaf.
//
// # Reading order
//
// format.go, message.go and filter.go are the formats; index.go and segment.go
// what is known of a segment; stream.go writes, reads and retains; store.go
// opens; check.go is for operators.
package stream
