package segment

import (
	"encoding/binary"
	"fmt"
)

// Changes are what records without a message hold: any number of them, one
// behind the other. Numbers are unsigned varints; sets of sequence numbers are
// ranges (distance from the end of the one before, length).

// Range is the sequence numbers from From up to, not with, From+Len.
type Range struct {
	From, Len uint64
}

// rangeBytesMax is what one range takes at most.
const rangeBytesMax = 2 * binary.MaxVarintLen64

// AppendAck appends the settlement of seqs, which ascend, as changes of a
// KindAck.
func AppendAck[S ~uint64](dst []byte, queue uint32, seqs []S) []byte {
	dst = binary.AppendUvarint(dst, uint64(queue))
	return appendRanges(dst, seqs)
}

// AckBytesMax bounds what AppendAck appends for n sequence numbers.
func AckBytesMax(n int) int { return 2*binary.MaxVarintLen64 + n*rangeBytesMax }

// AppendMark appends a change of a KindMark.
func AppendMark(dst []byte, queue uint32, upTo uint64) []byte {
	dst = binary.AppendUvarint(dst, uint64(queue))
	return binary.AppendUvarint(dst, upTo)
}

// AppendPurge appends a change of a KindPurge: all in [from, upTo) goes but
// survivors, which ascend.
func AppendPurge[S ~uint64](dst []byte, queue uint32, from, upTo uint64, survivors []S) []byte {
	dst = binary.AppendUvarint(dst, uint64(queue))
	dst = binary.AppendUvarint(dst, from)
	dst = binary.AppendUvarint(dst, upTo-from)
	return appendRanges(dst, survivors)
}

// AppendDrop appends a change of a KindDrop.
func AppendDrop(dst []byte, queue uint32) []byte { return binary.AppendUvarint(dst, uint64(queue)) }

// Hold is what a client keeps of an entry.
type Hold struct {
	Queue, Client uint32 // Client 0 is nobody: nothing is kept.
	Seq           uint64
	Value         uint64
}

// AppendHold appends a change of a KindHold.
func AppendHold(dst []byte, h Hold) []byte {
	dst = binary.AppendUvarint(dst, uint64(h.Queue))
	dst = binary.AppendUvarint(dst, uint64(h.Client))
	dst = binary.AppendUvarint(dst, h.Seq)
	return binary.AppendUvarint(dst, h.Value)
}

// HoldBytesMax bounds what AppendHold appends.
const HoldBytesMax = 4 * binary.MaxVarintLen64

// Receive says what became of an id of a client's.
type Receive struct {
	Client uint32
	ID     uint16
	What   Received
}

// Received is what a Receive says.
type Received uint8

// What becomes of ids. Numbers are on disk.
const (
	ForgotAll Received = iota // Of the client; the id is 0.
	Forgotten
	Remembered
	receivedEnd
)

// AppendReceive appends a change of a KindReceive.
func AppendReceive(dst []byte, r Receive) []byte {
	dst = binary.AppendUvarint(dst, uint64(r.Client))
	return binary.AppendUvarint(dst, uint64(r.ID)<<2|uint64(r.What))
}

// ReceiveBytesMax bounds what AppendReceive appends.
const ReceiveBytesMax = 2 * binary.MaxVarintLen64

// Retry is what became of a message that was given back.
type Retry struct {
	Queue            uint32
	Seq              uint64
	Acquired, Failed uint32
	DueMS            int64 // 0 if it is not delayed.
}

// AppendRetry appends a change of a KindRetry.
func AppendRetry(dst []byte, r Retry) []byte {
	dst = binary.AppendUvarint(dst, uint64(r.Queue))
	dst = binary.AppendUvarint(dst, r.Seq)
	dst = binary.AppendUvarint(dst, uint64(r.Acquired))
	dst = binary.AppendUvarint(dst, uint64(r.Failed))
	return binary.AppendUvarint(dst, uint64(r.DueMS))
}

// RetryBytesMax bounds what AppendRetry appends.
const RetryBytesMax = 5 * binary.MaxVarintLen64

// retry reads what AppendRetry appended behind the queue.
func (d *decoder) retry(queue uint32) Retry {
	r := Retry{Queue: queue, Seq: d.uvarint()}
	acquired, failed := d.uvarint(), d.uvarint()
	r.DueMS = int64(d.uvarint())
	d.bad = d.bad || acquired > 1<<32-1 || failed > 1<<32-1 || r.DueMS < 0
	r.Acquired, r.Failed = uint32(acquired), uint32(failed)
	return r
}

// appendRanges appends the number of ranges and the ranges. Numbers that do
// not ascend are left out.
func appendRanges[S ~uint64](dst []byte, seqs []S) []byte {
	n := 0
	eachRange(seqs, func(Range) { n++ })
	dst = binary.AppendUvarint(dst, uint64(n))
	end := uint64(0)
	eachRange(seqs, func(r Range) {
		dst = binary.AppendUvarint(dst, r.From-end)
		dst = binary.AppendUvarint(dst, r.Len)
		end = r.From + r.Len
	})
	return dst
}

func eachRange[S ~uint64](seqs []S, fn func(Range)) {
	for i := 0; i < len(seqs); {
		r := Range{From: uint64(seqs[i]), Len: 1}
		for i++; i < len(seqs) && uint64(seqs[i]) <= r.From+r.Len; i++ {
			if uint64(seqs[i]) == r.From+r.Len {
				r.Len++
			}
		}
		fn(r)
	}
}

// Changes is called with what a record without a message says. A nil function
// passes over its kind. Ranges ascend and do not touch; the slice is good only
// during the call.
type Changes struct {
	Ack   func(queue uint32, ranges []Range)
	Mark  func(queue uint32, upTo uint64)
	Purge func(queue uint32, from, upTo uint64, survivors []Range)
	Drop  func(queue uint32)

	Hold    func(h Hold)
	Receive func(r Receive)
	Retry   func(r Retry)
}

// Apply decodes r. Nothing is called if r cannot be decoded whole.
func (c *Changes) Apply(r *Record) error {
	if err := (&Changes{}).walk(r); err != nil {
		return err
	}
	return c.walk(r)
}

func (c *Changes) walk(r *Record) error {
	d := decoder{b: r.Data}
	for len(d.b) > 0 && !d.bad {
		queue := d.uvarint()
		if queue > 1<<32-1 {
			d.bad = true
		}
		switch q := uint32(queue); r.Kind {
		case KindAck:
			if ranges := d.ranges(0, 1<<64-1); !d.bad && c.Ack != nil {
				c.Ack(q, ranges)
			}
		case KindMark:
			if upTo := d.uvarint(); !d.bad && c.Mark != nil {
				c.Mark(q, upTo)
			}
		case KindPurge:
			from := d.uvarint()
			upTo := from + d.uvarint()
			d.bad = d.bad || upTo < from
			if survivors := d.ranges(0, 1<<64-1); !d.bad && c.Purge != nil {
				c.Purge(q, from, upTo, survivors)
			}
		case KindDrop:
			if !d.bad && c.Drop != nil {
				c.Drop(q)
			}
		case KindHold:
			client := d.uvarint()
			h := Hold{Queue: q, Client: uint32(client), Seq: d.uvarint(), Value: d.uvarint()}
			if d.bad = d.bad || client > 1<<32-1; !d.bad && c.Hold != nil {
				c.Hold(h)
			}
		case KindReceive:
			v := d.uvarint()
			r := Receive{Client: q, ID: uint16(v >> 2), What: Received(v & 3)}
			if d.bad = d.bad || v>>18 != 0 || r.What >= receivedEnd; !d.bad && c.Receive != nil {
				c.Receive(r)
			}
		case KindRetry:
			if r := d.retry(q); !d.bad && c.Retry != nil {
				c.Retry(r)
			}
		default:
			return nil // Not ours to understand.
		}
	}
	if d.bad {
		return fmt.Errorf("%v record: %w", r.Kind, ErrCorrupt)
	}
	return nil
}

// decoder reads numbers; bad is set, for good, when there are none.
type decoder struct {
	b   []byte
	bad bool
	rs  []Range
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	b := d.b[:n:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) byte() byte {
	if b := d.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

// ranges reads ranges that ascend, do not touch and lie in [from, end).
func (d *decoder) ranges(from, end uint64) []Range {
	n := d.uvarint()
	if n > uint64(len(d.b))/2 {
		d.bad = true
		return nil
	}
	d.rs = d.rs[:0]
	at := from
	for i := range n {
		gap, length := d.uvarint(), d.uvarint()
		r := Range{From: at + gap, Len: length}
		if d.bad || length == 0 || i > 0 && gap == 0 || r.From < at || r.From+length < r.From || r.From+length > end {
			d.bad = true
			return nil
		}
		d.rs = append(d.rs, r)
		at = r.From + length
	}
	return d.rs
}
