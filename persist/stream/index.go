package stream

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
)

// blockBytes is about how much a block takes in its file: what is read at a
// time.
const blockBytes = 128 << 10

// block is some chunks that lie together, what is read and kept together, and
// one entry of the sparse index of a segment.
type block struct {
	at         int64  // Where it begins. It ends where the next one begins, or the segment ends.
	first      uint64 // No lower offset is in it.
	lastMS     int64  // Nothing in it arrived later.
	filter     []byte // nil if no message in it has a filter value.
	unfiltered bool
}

// index is what is known of a segment without reading it.
type index struct {
	next    uint64 // The offset behind its last message.
	firstMS int64  // When its first message arrived, 0 if it has none,
	lastMS  int64  // and its last one.
	end     int64  // Where it ends.
	blocks  []block
}

// add notes a chunk that was written, with its filter, at the index's end.
func (x *index) add(c *chunk, filter []byte) {
	if n := len(x.blocks); n == 0 || x.end-x.blocks[n-1].at >= blockBytes {
		x.blocks = append(x.blocks, block{at: x.end, first: c.first})
	}
	b := &x.blocks[len(x.blocks)-1]
	b.lastMS = max(b.lastMS, c.lastMS)
	b.unfiltered = b.unfiltered || c.unfiltered
	switch {
	case len(filter) == 0:
	case len(b.filter) == len(filter):
		// Readers may hold a copy of the block.
		or := slices.Clone(b.filter)
		for i := range filter {
			or[i] |= filter[i]
		}
		b.filter = or
	case b.filter == nil:
		b.filter = slices.Clone(filter)
	default: // The size has changed: one that lets everything pass.
		b.filter = slices.Repeat([]byte{0xff}, len(b.filter))
	}
	if x.firstMS == 0 {
		x.firstMS = c.baseMS
	}
	x.lastMS = max(x.lastMS, c.lastMS)
	x.next = c.next()
	x.end += int64(c.length)
}

// appendIndex appends the sidecar of a sealed segment.
func appendIndex(dst []byte, id identity, x *index) []byte {
	le := binary.LittleEndian
	start := len(dst)
	dst = append(dst, make([]byte, indexBytes)...)
	var before block
	for i := range x.blocks {
		b := &x.blocks[i]
		dst = binary.AppendUvarint(dst, uint64(b.at-before.at))
		dst = binary.AppendUvarint(dst, b.first-before.first)
		dst = binary.AppendVarint(dst, b.lastMS-before.lastMS)
		flags := byte(0)
		if b.unfiltered {
			flags = 1
		}
		dst = append(dst, flags, byte(len(b.filter)))
		dst = append(dst, b.filter...)
		before = *b
	}
	h := dst[start:]
	copy(h, indexMagic)
	le.PutUint32(h[8:], version)
	le.PutUint32(h[12:], id.queue)
	le.PutUint64(h[16:], id.first)
	le.PutUint64(h[24:], id.salt)
	le.PutUint64(h[32:], x.next)
	le.PutUint64(h[40:], uint64(x.firstMS))
	le.PutUint64(h[48:], uint64(x.lastMS))
	le.PutUint64(h[56:], uint64(x.end))
	le.PutUint32(h[64:], uint32(len(x.blocks)))
	le.PutUint32(h[68:], uint32(len(h)-indexBytes))
	le.PutUint32(h[76:], indexSum(h))
	return dst
}

func indexSum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:76], castagnoli), castagnoli, b[indexBytes:])
}

// parseIndex reads the sidecar of the segment id.
func parseIndex(b []byte, id identity) (*index, error) {
	le := binary.LittleEndian
	if len(b) < indexBytes || string(b[:8]) != indexMagic || le.Uint32(b[8:]) > version ||
		uint64(le.Uint32(b[68:])) != uint64(len(b)-indexBytes) || indexSum(b) != le.Uint32(b[76:]) ||
		le.Uint32(b[12:]) != id.queue || le.Uint64(b[16:]) != id.first || le.Uint64(b[24:]) != id.salt {
		return nil, fmt.Errorf("index of a stream segment: %w", ErrCorrupt)
	}
	x := &index{next: le.Uint64(b[32:]), firstMS: int64(le.Uint64(b[40:])), lastMS: int64(le.Uint64(b[48:])), end: int64(le.Uint64(b[56:]))}
	d := decoder{b: b[indexBytes:]}
	var before block
	for range le.Uint32(b[64:]) {
		e := block{at: before.at + int64(d.uvarint()), first: before.first + d.uvarint(), lastMS: before.lastMS + d.varint()}
		e.unfiltered = d.byte()&1 != 0
		if n := d.byte(); n != 0 {
			e.filter = slices.Clone(d.bytes(uint64(n)))
		}
		if len(x.blocks) == 0 {
			d.bad = d.bad || e.at < headerBytes || e.first < id.first
		} else {
			d.bad = d.bad || e.at <= before.at || e.first <= before.first
		}
		if d.bad = d.bad || e.at >= x.end || e.first >= x.next; d.bad {
			break
		}
		x.blocks = append(x.blocks, e)
		before = e
	}
	if d.bad || len(d.b) != 0 || x.end < headerBytes || x.next < id.first {
		return nil, fmt.Errorf("index of a stream segment: %w", ErrCorrupt)
	}
	return x, nil
}

// blockOf returns which block has offset or, if none has, is the first behind
// it; len(x.blocks) if there is none. x has been indexed up to next.
func (x *index) blockOf(offset uint64) int {
	if offset >= x.next {
		return len(x.blocks)
	}
	i, found := slices.BinarySearchFunc(x.blocks, offset, func(b block, o uint64) int {
		switch {
		case b.first < o:
			return -1
		case b.first > o:
			return 1
		}
		return 0
	})
	if !found && i > 0 {
		i--
	}
	return i
}

// bounds returns where block i ends, in the file and in offsets.
func (x *index) bounds(i int) (end int64, next uint64) {
	if i+1 < len(x.blocks) {
		return x.blocks[i+1].at, x.blocks[i+1].first
	}
	return x.end, x.next
}
