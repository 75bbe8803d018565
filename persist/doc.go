// Package persist keeps what must survive: Store is a data directory with the
// definitions (package meta) and the messages of all durable queues. This page
// is about the messages: Log, a core.MessageLog on segment files.
//
//	publishers (under a queue's lock)          settle, purge, mark, drop
//	     | Add: encode into the own set              |
//	     |                     strike it in its set, else a note
//	ChangeSet.Close                                  |
//	     +---------------> filling <-----------------+
//	                          |  swap
//	                       writer: group -> one write -> one fdatasync
//	                          |                    \
//	                          v                     done(nil): confirms
//	                        index  (4 bytes a message) <--- Read: pread, checksum
//	                          ^
//	janitor: prepares segments ahead, sidecars, checkpoints,
//	         removes and recycles, copies survivors (through the writer)
//
// # Group commit
//
// A change set belongs to its publisher until it is closed; queues add to it
// under their own locks, and nothing in the log is locked meanwhile. Closed sets
// wait in the filling batch. The writer takes all of them at once, makes one
// group, writes and syncs it; what is closed meanwhile is the next group. So
// groups grow by themselves with the number of publishers and with the slowness
// of the disk, and no timer decides anything, but for acks that are alone: they
// wait 10 ms or for 256 of them, and are not synced.
//
// A message that is consumed before the writer came to it need not be written.
// Each reference in a set has one atomic word: the queue strikes it (pending ->
// struck) or the writer takes it (pending -> taken), whoever is first. A
// settlement of a reference that was taken becomes a note for the next group;
// it can therefore never stand in the log before its message. The queue finds
// its pending references in a ring, in order; refs are used again, and a count
// in the word tells a queue that its ref serves another by now.
//
// The writer copies records from the sets into the group's buffer and sums them
// there, since a checksum depends on the place. Bodies from 32 KB on that the
// message owns are not copied at any step.
//
// # Files
//
//	lock               held while the log is open
//	0000000042.seg     a segment: 64 MB, or one larger record
//	0000000042.seg.idx its sidecar, once it is sealed
//	0000000017.free    a file to be recycled
//	ckpt.0  ckpt.1     checkpoints, written in turn
//	damaged/           second names of files with damage in them
//
// All numbers are little endian, all groups and records begin at multiples of 8.
// Checksums are CRC-32C; those in a segment are seeded with the segment's number,
// its salt, which is drawn each time a file is used, and the offset. Stale
// content of a recycled file, or a body that looks like a record, never passes.
//
//	segment    0          8         12        16         24        28        32
//	           | LVRTSEG\n | number  | version | salt     | 0       | crc     | groups
//
//	group      0       4        8         16        24        28        32
//	           | crc   | length | number  | synced  | segment | records | records
//
//	record     0       4        8      9       10     12        16
//	           | crc   | length | kind | flags | refs | body    | ...
//
// A group's crc covers its header, a record's all of the record. "synced" says
// that groups up to that one were on disk when this one was written. The length
// of a group counts padding, that of a record does not.
//
//	MSG, MOVE  refs x | queue u32 | priority u8 << 56 + number | expires u64 if timed |
//	           | arrived u64 | properties u32 | key u32 | exchange u16 | form u8 | priority u8 |
//	           | origin u64 if it has one | exchange | key | properties | body |
//	ACK        queue, ranges                      numbers settled
//	MARK       queue, up to                       handed out, maybe, below that
//	PURGE      queue, from, length, ranges        all settled but those
//	DROP       queue                              all settled
//	HOLD       queue, client, number, value       what a client keeps of an entry
//	RECEIVE    client, id << 2 | what             what it has received, and forgotten
//	RETRY      queue, number, acquired, failed, due   what became of a message before
//
// The last seven are varints, and repeat. Ranges are a count and, for each, the
// distance from the end of the one before and the length. Kinds from 10 on belong
// to later versions: a segment that has one is kept.
//
//	sidecar    | LVRTIDX\n | version | number | salt | end | first, last group | entries | flags | length | crc |
//	           for each record: what is not as in the record before (segment/sidecar.go)
//
//	checkpoint | LVRTCKP\n | version | flags | number | group | offset | segment | 0 | length | ... | crc |
//	           sections: | kind u64 | length u64 | data |
//	           holds, received, retries: as in the records
//	           levels:   queue, priority, next, mark, blocks: distance, length, all | ranges | bitmap
//
// Sections of unknown kinds are written again as they were.
//
// # What is where: the index
//
// For each queue and priority the index has chunks of up to 4,096 numbers, 4
// bytes each: 9 bits of segment, counted from the chunk's first, and 23 bits of
// offset. There is no Go object for a message. The state of a message (ready,
// unacked) is core's; the log knows only live or not.
//
// The writer changes the index when a group is on disk, in the order of the
// group: moved records, notes, messages. A purge detaches whole chunks; the
// counts of their segments are corrected behind it.
//
// # Space
//
// A sealed segment goes when nothing in it is live and a checkpoint that says so
// is on disk: its acks are then needed no more. Files are used again, since
// writing to blocks that are there already is up to twice as fast. A segment that
// has been sparse for a second is emptied by copying its survivors (MOVE), at
// most 1 MB in a group; the writer decides, at the moment of writing, which
// references are still there. So are the segments that many starts left behind,
// when there are more than a few: each is cut behind its last group by the next
// start, and may be very small.
//
// The next segment, and one more in reserve, are ready before the writer needs
// them. That is where a full disk is noticed: OnState reports it, sets with
// messages wait, and the rest overtakes them, in the reserve too: what frees
// space, and what clients note on their way to that. When even that is full, notes
// take effect without a record and become durable by the next checkpoint, whose
// two files have had their blocks all along.
//
// # Recovery
//
// The checkpoint tells which numbers were live after some group. Segments up to
// there give places, from their sidecars or by reading their groups, and only
// live numbers count. Groups behind it are applied in order. What the checkpoint
// says is live, nobody settled since, and no segment has, is reported missing.
//
// A group that is not whole and comes behind every "synced" was never confirmed:
// the log ends before it. One that was synced once is damage: it is reported and
// set aside, what is whole behind it is served. Of the very last group nothing
// can tell which of the two it is.
//
// To find out, groups are looked for behind the last one, up to the end of the
// file. What was allocated and never written is not read for that: the file
// system is asked where there is data, before reading, since what is cached of a
// hole looks like data. In a damaged group, good records are looked for behind a
// bad one.
//
// Writing goes on in a fresh segment, never behind a torn group, but on a full
// disk without one: there the rest of the last segment is made zero first.
//
// # Failures
//
// A write or sync of a segment that fails poisons the log: nothing is confirmed
// any more, nothing is tried again, since the system may have dropped the pages
// and say yes next time. Whoever starts anew finds what is really there. What
// fails in housekeeping is logged and tried again. A record that cannot be read
// back whole is an error for its reader and for nobody else; its file gets a
// second name in damaged/ and is not written again.
//
// # Sync policies
//
// "always" confirms what is on disk. "interval" confirms what the system has and
// syncs every second: killing the broker loses nothing, losing power up to a
// second of confirmed messages. "none" leaves it to the system, which may take
// half a minute. All three keep the files consistent.
//
// # Goroutines and locks
//
// OpenLog starts the writer and the janitor; Close ends them. Segments are written
// by the writer only, everything else on disk by the janitor.
//
// A queue's lock comes before filling's. Filling, the janitor's mu, pressure,
// state and the index's lock are leaves: nobody who holds one takes another,
// waits for a disk (but to open a file to read), or keeps it for more than a few
// milliseconds. Syncing, which is held during a sync, comes before pressure. Sets
// are completed with no lock held.
//
// # Reading order
//
// set.go, ring.go, queue.go and clients.go take changes in; log.go hands them over; writer.go,
// setlist.go and group.go write; place.go and index.go remember; read.go reads. janitor.go,
// slots.go, checkpoint.go and compact.go keep house. open.go, recover.go and
// live.go start. check.go and backup.go are for operators. segments.go names
// files; package segment knows their insides.
package persist
