package core

import "errors"

// ErrNotNow is wrapped by Read's errors when the message is there and cannot be
// read at the moment, for want of file descriptors for instance. Any other
// error means that it is lost.
var ErrNotNow = errors.New("try again later")

// MessageLog keeps the messages of all durable queues of a shard. Package
// persist implements it on segment files; MemoryLog keeps nothing. Any
// goroutine may call it.
type MessageLog interface {
	// Recover reports what the log held when it was opened, once, before any
	// other method but OpenQueue. References to queues that known does not know
	// are dropped, and so are transient messages. Entries come in ascending
	// order within each queue and priority.
	Recover(known func(QueueID) bool, fn func(RecoveredLevel) error) error

	// Received reports the ids that clients have received and not forgotten, as
	// the log held them when it was opened, ascending; once, after Recover. What
	// is remembered of clients that known does not know is dropped.
	Received(known func(client QueueID) bool, fn func(client QueueID, ids []uint16))

	// OpenQueue returns the part of the log that holds q's references. What
	// Recover reported is in it.
	OpenQueue(q QueueID) QueueLog

	// Begin opens a set of changes that will be durable together or not at
	// all. One goroutine fills it, under the locks of the queues concerned,
	// before the entries become visible there, and ends it with Close.
	Begin() ChangeSet

	// Receive notes in set, which is not closed yet, ids that client has used.
	// With anything noted in it a set is complete only when its group is durable.
	Receive(set ChangeSet, client QueueID, ids []uint16)

	// Forget notes in set that client's ids are free again; nil stands for all.
	Forget(set ChangeSet, client QueueID, ids []uint16)

	// Read hands the stored messages of q at seqs, which ascend, to fn, in
	// that order. A message is good only during fn, and its bytes are fn's to
	// copy. One that cannot be read back whole is set aside and comes with an
	// error (but see ErrNotNow); the others still come. It blocks: no lock is
	// held.
	Read(q QueueID, seqs []Seq, fn func(i int, m *Message, err error))

	// Outstanding is what is handed over but not yet on disk, in bytes.
	Outstanding() int64

	// OnPressure has fn called, by any goroutine that holds no lock, with true
	// when more is outstanding than the log wants and with false when half of
	// that is left, or the log has failed. Publishers pause meanwhile.
	OnPressure(fn func(over bool))

	// OnState has fn called, by a goroutine that holds no lock, when the log
	// can no longer take publishes (err says why) or can again (nil).
	OnState(fn func(err error))

	// Close writes what is handed over, a checkpoint, and releases the log.
	Close() error
}

// ChangeSet is one atomic group of changes.
type ChangeSet interface {
	// Close hands the set over and never blocks. done is called once, by a
	// goroutine that holds no lock, when all that is still wanted of the set
	// is durable, or with the error that poisoned the log.
	Close(done func(error))
}

// QueueLog is a queue's part of a MessageLog. Its methods are called under the
// queue's lock and never block.
type QueueLog interface {
	// Add refers to m from the queue at seq, which ascends within a priority.
	// m's bytes are copied; a message that several queues of one set refer to
	// (the same *Message as origin) is written once; m.ExpiresMS belongs to the
	// reference, since queues differ in their TTL. One that is not Persistent
	// is written only to leave memory: it needs no sync and is gone after a
	// restart.
	Add(set ChangeSet, seq Seq, m *Message, origin *Message)

	// Written returns a number below which every reference of prio that was
	// added can be Read, so that the queue may forget the message itself.
	Written(prio uint8) Seq

	// Settle lets go of references. One that is not yet being written is
	// struck from its set and counts as complete. A settlement may be lost in
	// a crash: the message then comes back, marked redelivered.
	Settle(seqs []Seq)

	// SettleIn lets go of references in set, which is not closed yet: they are
	// gone if and only if the rest of set is there, whatever happens. One that
	// is not yet being written is struck from its own set, which is then
	// complete only when set is: a message that moves is confirmed when it has
	// arrived. So that sets never wait for each other in a circle, the
	// references must have been there when set was begun. Until set is complete the references count as held: a Purge
	// names them as survivors, and there is no Drop if they must not be lost.
	SettleIn(set ChangeSet, seqs []Seq)

	// Hold notes in set, which is not closed yet, what client keeps of entries
	// that are out, in place of what was noted of them. It lasts until they are
	// settled; of entries that the log does not hold nothing is kept. The set is
	// complete when their messages are durable too. Unless sure, nobody waits
	// for it, and it is not synced for its own sake.
	Hold(set ChangeSet, client QueueID, slots []Slot, sure bool)

	// Retry notes in set, which is not closed yet, what became of the message at
	// seq, which was given back, in place of what was noted before. It comes back
	// with the message. Nobody waits for it, and it is not synced for its own
	// sake.
	Retry(set ChangeSet, seq Seq, a Attempts)

	// Purge lets go of every reference of priority prio below upTo but those
	// of survivors, which ascend.
	Purge(prio uint8, upTo Seq, survivors []Seq)

	// Mark says that messages of prio below upTo may be handed out from now
	// on: they come back redelivered after a crash. It stands before every set
	// that is closed later. Of messages that are on disk already it is true
	// only once it is written: then written, unless nil, is called, once, by a
	// goroutine that holds no lock, or, where Mark returns true, not at all. The
	// last call counts, so that a clean stop can take back what was reserved and
	// not used.
	Mark(prio uint8, upTo Seq, written func()) (done bool)

	// Drop lets go of everything: the queue is deleted.
	Drop()
}

// RecoveredLevel is one priority of a queue as the log holds it.
type RecoveredLevel struct {
	Queue    QueueID
	Priority uint8
	Next     Seq // No number below it may be given again.
	Marked   Seq // Entries below it were, or may have been, handed out.
	Entries  []RecoveredEntry
	Held     []RecoveredSlot // Of Entries reported so far, ascending.
}

// RecoveredSlot is what a client noted of an entry.
type RecoveredSlot struct {
	Client QueueID
	Slot
}

// RecoveredEntry is a stored message that nobody settled.
type RecoveredEntry struct {
	Seq       Seq
	BodyBytes uint32
	ExpiresMS int64 // Of the message itself; 0 for never.
	Attempts  Attempts
}

// Attempts is what became of a message before, in a queue that counts it.
type Attempts struct {
	Acquired uint32 // Times it was handed out and came back,
	Failed   uint32 // and the part of these in which that was a failure.
	DueMS    int64  // It is delayed until then; 0 if it is not.
}

// MemoryLog is a MessageLog for brokers that keep nothing: each set is
// complete when it is closed.
type MemoryLog struct{}

type memorySet struct{}

// Recover reports nothing.
func (MemoryLog) Recover(func(QueueID) bool, func(RecoveredLevel) error) error { return nil }

// Received reports nothing.
func (MemoryLog) Received(func(QueueID) bool, func(QueueID, []uint16)) {}

// Receive does nothing.
func (MemoryLog) Receive(ChangeSet, QueueID, []uint16) {}

// Forget does nothing.
func (MemoryLog) Forget(ChangeSet, QueueID, []uint16) {}

// Hold does nothing.
func (MemoryLog) Hold(ChangeSet, QueueID, []Slot, bool) {}

// OpenQueue returns a log that remembers nothing.
func (MemoryLog) OpenQueue(QueueID) QueueLog { return MemoryLog{} }

// Begin returns a set that remembers nothing.
func (MemoryLog) Begin() ChangeSet { return memorySet{} }

// Read is never called: nothing is only in the log.
func (MemoryLog) Read(_ QueueID, seqs []Seq, fn func(int, *Message, error)) {
	for i := range seqs {
		fn(i, nil, errorf(Internal, "message is not in memory"))
	}
}

// Outstanding is always 0.
func (MemoryLog) Outstanding() int64 { return 0 }

// OnPressure never calls fn.
func (MemoryLog) OnPressure(func(bool)) {}

// OnState never calls fn.
func (MemoryLog) OnState(func(error)) {}

// Close does nothing.
func (MemoryLog) Close() error { return nil }

// Add does nothing.
func (MemoryLog) Add(ChangeSet, Seq, *Message, *Message) {}

// Written is always 0: a queue must keep its messages.
func (MemoryLog) Written(uint8) Seq { return 0 }

// Settle does nothing.
func (MemoryLog) Settle([]Seq) {}

// SettleIn does nothing.
func (MemoryLog) SettleIn(ChangeSet, []Seq) {}

// Retry does nothing.
func (MemoryLog) Retry(ChangeSet, Seq, Attempts) {}

// Purge does nothing.
func (MemoryLog) Purge(uint8, Seq, []Seq) {}

// Mark does nothing, which is done at once.
func (MemoryLog) Mark(uint8, Seq, func()) (done bool) { return true }

// Drop does nothing.
func (MemoryLog) Drop() {}

func (memorySet) Close(done func(error)) { done(nil) }
