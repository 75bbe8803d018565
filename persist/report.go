package persist

import (
	"fmt"

	"leveret/core"
)

// Report is what opening or checking a log found.
type Report struct {
	Segments   int
	Groups     uint64 // The number of the last group.
	Scanned    int    // Groups that were read one by one.
	Messages   int64  // References to messages.
	Checkpoint uint64 // The group of the checkpoint used, 0 if there was none.
	TornBytes  int64  // At the end of the log, of a group that was never complete.
	Damage     []Damage
	Missing    []Missing
	Queues     []QueueReport // By Check only.
}

// Damage is a part of a file that is not what was written. Everything else is
// served.
type Damage struct {
	File   string
	Offset int64
	Length int64 // 0 if unknown.
	Err    error
}

// Missing counts messages of a queue that must be there and were not found.
type Missing struct {
	Queue core.QueueID
	Count int64
	First core.Seq
}

// QueueReport is what a log holds for one priority of a queue.
type QueueReport struct {
	Queue     core.QueueID
	Priority  uint8
	Messages  int64
	BodyBytes int64
	Next      core.Seq
	Marked    core.Seq
}

// Sound reports whether nothing is damaged or missing.
func (r *Report) Sound() bool { return len(r.Damage) == 0 && len(r.Missing) == 0 }

func (d Damage) String() string {
	return fmt.Sprintf("%s at %d: %d bytes: %v", d.File, d.Offset, d.Length, d.Err)
}
