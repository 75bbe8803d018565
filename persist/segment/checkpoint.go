package segment

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/bits"
)

// CheckpointInfo is the head of a checkpoint.
type CheckpointInfo struct {
	Number  uint64 // The higher of two good ones counts.
	Group   uint64 // Records of later groups are applied to it.
	Segment uint32 // Where group Group ends.
	Offset  int64
	Clean   bool // Written by Close: nothing follows.
}

const checkpointClean = 1

// Kinds of sections. All but the first hold changes as records of those kinds do.
const (
	sectionLevels   = 1
	sectionHolds    = 2
	sectionReceived = 3
	sectionRetries  = 4
)

// numberMask is the part of a Seq that counts within a priority.
const numberMask = 1<<56 - 1

// BlockMax bounds how many numbers a block spans.
const BlockMax = 1 << 16

// Level is one priority of a queue in a checkpoint.
type Level struct {
	Queue    uint32
	Priority uint8
	Next     uint64 // As Seq, like all numbers here.
	Mark     uint64
	Live     []Block
}

// Block is a stretch of numbers.
type Block struct {
	Base, Span uint64
	Bits       []uint64 // Which of them are live; nil for all.
}

// Has reports whether i, counted from Base, is live.
func (b *Block) Has(i uint64) bool { return b.Bits == nil || b.Bits[i/64]&(1<<(i%64)) != 0 }

// Checkpoint is a decoded checkpoint.
type Checkpoint struct {
	CheckpointInfo
	Levels []Level
	// Holds and Received are what clients keep, as records.
	Holds, Received Record
	// Retries is what became of messages that were given back, as records.
	Retries Record
	// Kept is the sections of kinds that this version does not know, to be
	// written again.
	Kept []byte
}

// CheckpointWriter encodes a checkpoint.
type CheckpointWriter struct {
	buf     []byte
	section int    // Where the levels section's header lies.
	end     uint64 // Of the block before, in numbers.
}

// Begin makes w an empty checkpoint with the sections kept.
func (w *CheckpointWriter) Begin(kept []byte) {
	w.buf = append(w.buf[:0], make([]byte, checkpointHeader)...)
	w.buf = append(w.buf, kept...)
	w.begin(sectionLevels)
}

// begin opens a section.
func (w *CheckpointWriter) begin(kind uint64) {
	w.section = len(w.buf)
	w.buf = binary.LittleEndian.AppendUint64(w.buf, kind)
	w.buf = binary.LittleEndian.AppendUint64(w.buf, 0)
}

// endSection closes the section begun last.
func (w *CheckpointWriter) endSection() {
	binary.LittleEndian.PutUint64(w.buf[w.section+8:], uint64(len(w.buf)-w.section-16))
}

// Clients adds what clients keep. All levels are there.
func (w *CheckpointWriter) Clients(holds []Hold, received []Receive) {
	if len(holds) > 0 {
		w.endSection()
		w.begin(sectionHolds)
		for _, h := range holds {
			w.buf = AppendHold(w.buf, h)
		}
	}
	if len(received) > 0 {
		w.endSection()
		w.begin(sectionReceived)
		for _, r := range received {
			w.buf = AppendReceive(w.buf, r)
		}
	}
}

// Retries adds what became of messages that were given back. All levels are
// there.
func (w *CheckpointWriter) Retries(retries []Retry) {
	if len(retries) == 0 {
		return
	}
	w.endSection()
	w.begin(sectionRetries)
	for _, r := range retries {
		w.buf = AppendRetry(w.buf, r)
	}
}

// RetriesBytesMax bounds what Retries adds.
func RetriesBytesMax(n int64) int64 { return 16 + n*RetryBytesMax }

// ClientsBytesMax bounds what Clients adds.
func ClientsBytesMax(holds, received int64) int64 {
	return 32 + holds*HoldBytesMax + received*ReceiveBytesMax
}

// Level begins a level. Its blocks follow, ascending, and EndLevel.
func (w *CheckpointWriter) Level(queue uint32, priority uint8, next, mark uint64) {
	w.buf = binary.AppendUvarint(w.buf, uint64(queue))
	w.buf = append(w.buf, priority)
	w.buf = binary.AppendUvarint(w.buf, next&numberMask)
	w.buf = binary.AppendUvarint(w.buf, mark&numberMask)
	w.end = 0
}

// EndLevel ends the level begun.
func (w *CheckpointWriter) EndLevel() { w.buf = append(w.buf, 0, 0) }

// Kinds of blocks.
const (
	blockFull = iota
	blockRanges
	blockBitmap
)

// Block adds span numbers from base, of which those in live are; nil means
// all. Ranges or a bitmap are written, whichever is shorter.
func (w *CheckpointWriter) Block(base, span uint64, live []uint64) {
	base &= numberMask
	w.buf = binary.AppendUvarint(w.buf, base-w.end)
	w.buf = binary.AppendUvarint(w.buf, span)
	w.end = base + span
	if live == nil {
		w.buf = append(w.buf, blockFull)
		return
	}
	at := len(w.buf)
	bitmap := int(span+7) / 8
	w.buf = append(w.buf, blockRanges)
	n := 0
	eachBitRange(live, span, func(Range) { n++ })
	if n < bitmap/2+1 {
		w.buf = binary.AppendUvarint(w.buf, uint64(n))
		end := uint64(0)
		eachBitRange(live, span, func(r Range) {
			w.buf = binary.AppendUvarint(w.buf, r.From-end)
			w.buf = binary.AppendUvarint(w.buf, r.Len)
			end = r.From + r.Len
		})
		if len(w.buf)-at <= bitmap {
			return
		}
	}
	w.buf = append(w.buf[:at], blockBitmap)
	for i := range bitmap {
		w.buf = append(w.buf, byte(live[i/8]>>(i%8*8)))
	}
}

// BlockBytesMax bounds what Block writes for span numbers.
func BlockBytesMax(span int) int { return 2*binary.MaxVarintLen64 + 1 + (span+7)/8 }

// LevelBytesMax bounds what Level and EndLevel write.
const LevelBytesMax = 3*binary.MaxVarintLen64 + 3

// CheckpointBytes is what a checkpoint without levels takes.
const CheckpointBytes = checkpointHeader + 16

func eachBitRange(live []uint64, span uint64, fn func(Range)) {
	for at := uint64(0); at < span; {
		word := live[at/64] >> (at % 64)
		if word == 0 {
			at = (at/64 + 1) * 64
			continue
		}
		from := at + uint64(bits.TrailingZeros64(word))
		at = from
		for at < span {
			ones := uint64(bits.TrailingZeros64(^(live[at/64] >> (at % 64))))
			rest := 64 - at%64
			at += min(ones, rest)
			if ones < rest {
				break
			}
		}
		if at = min(at, span); from < at {
			fn(Range{From: from, Len: at - from})
		}
	}
}

// Finish returns the checkpoint; it is good until the next Begin.
func (w *CheckpointWriter) Finish(i CheckpointInfo) []byte {
	w.endSection()
	b := w.buf
	copy(b, checkpointMagic)
	binary.LittleEndian.PutUint32(b[8:], Version)
	var flags uint32
	if i.Clean {
		flags = checkpointClean
	}
	binary.LittleEndian.PutUint32(b[12:], flags)
	binary.LittleEndian.PutUint64(b[16:], i.Number)
	binary.LittleEndian.PutUint64(b[24:], i.Group)
	binary.LittleEndian.PutUint64(b[32:], uint64(i.Offset))
	binary.LittleEndian.PutUint32(b[40:], i.Segment)
	binary.LittleEndian.PutUint64(b[48:], uint64(len(b)-checkpointHeader))
	binary.LittleEndian.PutUint32(b[76:], checkpointSum(b))
	return b
}

func checkpointSum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:76], castagnoli), castagnoli, b[checkpointHeader:])
}

// CheckpointLength returns how long the checkpoint is whose header b begins
// with, or 0 if there is none.
func CheckpointLength(b []byte) int64 {
	if len(b) < checkpointHeader || string(b[:8]) != checkpointMagic {
		return 0
	}
	n := binary.LittleEndian.Uint64(b[48:])
	if n > 1<<40 {
		return 0
	}
	return checkpointHeader + int64(n)
}

// ParseCheckpoint decodes the checkpoint at the start of a slot's content b.
func ParseCheckpoint(b []byte) (*Checkpoint, error) {
	n := CheckpointLength(b)
	if n == 0 || n > int64(len(b)) || checkpointSum(b[:n]) != binary.LittleEndian.Uint32(b[76:]) {
		return nil, fmt.Errorf("checkpoint: %w", ErrCorrupt)
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v > Version {
		return nil, fmt.Errorf("checkpoint of format %d: %w", v, ErrVersion)
	}
	c := &Checkpoint{CheckpointInfo: CheckpointInfo{
		Number:  binary.LittleEndian.Uint64(b[16:]),
		Group:   binary.LittleEndian.Uint64(b[24:]),
		Offset:  int64(binary.LittleEndian.Uint64(b[32:])),
		Segment: binary.LittleEndian.Uint32(b[40:]),
		Clean:   binary.LittleEndian.Uint32(b[12:])&checkpointClean != 0,
	}}
	d := decoder{b: b[checkpointHeader:n]}
	for len(d.b) > 0 && !d.bad {
		whole := d.b
		head := d.bytes(16)
		if head == nil {
			break
		}
		length := binary.LittleEndian.Uint64(head[8:])
		data := d.bytes(length)
		if d.bad {
			break
		}
		switch binary.LittleEndian.Uint64(head) {
		case sectionLevels:
		case sectionHolds:
			c.Holds = Record{Kind: KindHold, Data: data}
			d.bad = d.bad || (&Changes{}).walk(&c.Holds) != nil
			continue
		case sectionReceived:
			c.Received = Record{Kind: KindReceive, Data: data}
			d.bad = d.bad || (&Changes{}).walk(&c.Received) != nil
			continue
		case sectionRetries:
			c.Retries = Record{Kind: KindRetry, Data: data}
			d.bad = d.bad || (&Changes{}).walk(&c.Retries) != nil
			continue
		default:
			c.Kept = append(c.Kept, whole[:16+length]...)
			continue
		}
		levels := decoder{b: data}
		for len(levels.b) > 0 && !levels.bad {
			c.Levels = append(c.Levels, levels.level())
		}
		d.bad = d.bad || levels.bad
	}
	if d.bad {
		return nil, fmt.Errorf("checkpoint section: %w", ErrCorrupt)
	}
	return c, nil
}

func (d *decoder) level() Level {
	queue := d.uvarint()
	l := Level{Queue: uint32(queue), Priority: d.byte()}
	top := uint64(l.Priority) << 56
	next, mark := d.uvarint(), d.uvarint()
	l.Next, l.Mark = top|next, top|mark
	d.bad = d.bad || queue > 1<<32-1 || next > numberMask || mark > numberMask
	at := uint64(0)
	for !d.bad {
		gap, span := d.uvarint(), d.uvarint()
		if d.bad || span == 0 {
			break
		}
		base := at + gap
		at = base + span
		if gap > numberMask || span > BlockMax || at > numberMask+1 {
			d.bad = true
			break
		}
		l.Live = append(l.Live, d.block(top|base, span))
	}
	return l
}

func (d *decoder) block(base, span uint64) Block {
	b := Block{Base: base, Span: span}
	kind := d.byte()
	if kind == blockFull || d.bad {
		return b
	}
	switch kind {
	case blockRanges:
		ranges := d.ranges(0, span)
		if d.bad {
			return b
		}
		b.Bits = make([]uint64, (span+63)/64)
		for _, r := range ranges {
			for i := r.From; i < r.From+r.Len; i++ {
				b.Bits[i/64] |= 1 << (i % 64)
			}
		}
	case blockBitmap:
		bitmap := d.bytes((span + 7) / 8)
		if d.bad {
			return b
		}
		b.Bits = make([]uint64, (span+63)/64)
		for i, x := range bitmap {
			b.Bits[i/8] |= uint64(x) << (i % 8 * 8)
		}
		if rest := span % 64; rest != 0 {
			b.Bits[span/64] &= 1<<rest - 1
		}
	default:
		d.bad = true
	}
	return b
}
