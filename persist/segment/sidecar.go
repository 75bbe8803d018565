package segment

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// SidecarInfo is what a sidecar says about its whole segment.
type SidecarInfo struct {
	Identity
	End         int64 // Where the last group ends.
	First, Last uint64
	Entries     uint32
	Unknown     bool // The segment holds records of kinds this version does not know.
}

const sidecarUnknown = 1

// SidecarEntry is a reference in a sealed segment.
type SidecarEntry struct {
	Ref
	Offset    int64 // Of the record.
	BodyBytes uint32
	Flags     uint8 // FlagPersistent, FlagTransient, FlagTimed.
}

// The first byte of an entry says what of it is as in the entry before, so that
// a stretch of messages of one queue and size takes a byte each.
const (
	entrySameStep = 1 << 0 // As far from the one before as that from its own.
	entrySameBody = 1 << 1
	entryNextSeq  = 1 << 2 // One reference, of the same queue, to the next number.
	entryTimed    = 1 << 3
	entryFlags    = 4 // Bits from here: FlagPersistent, FlagTransient.
)

// sidecarState is what encoder and decoder remember alike.
type sidecarState struct {
	offset, step int64
	body         uint32
	queue        uint32
	expires      int64
	seqs         [256]uint64 // The last number of each queue, by the low bits of its id.
}

// SidecarWriter collects the entries of a segment while it is being written,
// in the order of the records.
type SidecarWriter struct {
	state   sidecarState
	buf     []byte
	entries uint32
	refs    int // Still to come of the record begun.
	flags   uint8
}

// Reset makes w empty.
func (w *SidecarWriter) Reset() {
	buf := w.buf[:0]
	if cap(buf) > 1<<20 {
		buf = nil
	}
	*w = SidecarWriter{buf: buf}
}

// Entries is how many references w holds.
func (w *SidecarWriter) Entries() uint32 { return w.entries }

// Begin says that the record at offset has refs references, each of which is
// then added with Ref.
func (w *SidecarWriter) Begin(offset int64, flags uint8, body uint32, refs int, first Ref) {
	s := &w.state
	step := offset - s.offset
	head := flags & (FlagPersistent | FlagTransient) << entryFlags
	if step == s.step {
		head |= entrySameStep
	}
	if body == s.body {
		head |= entrySameBody
	}
	if flags&FlagTimed != 0 {
		head |= entryTimed
	}
	if refs == 1 && first.Queue == s.queue && first.Seq == s.seqs[uint8(first.Queue)]+1 {
		head |= entryNextSeq
	}
	w.buf = append(w.buf, head)
	if head&entrySameStep == 0 {
		w.buf = binary.AppendUvarint(w.buf, uint64(step/alignment))
	}
	if head&entrySameBody == 0 {
		w.buf = binary.AppendUvarint(w.buf, uint64(body))
	}
	if head&entryNextSeq == 0 {
		w.buf = binary.AppendUvarint(w.buf, uint64(refs))
	}
	s.offset, s.step, s.body = offset, step, body
	w.refs, w.flags = refs, head
}

// Ref adds the next reference of the record begun.
func (w *SidecarWriter) Ref(r Ref) {
	s := &w.state
	last := &s.seqs[uint8(r.Queue)]
	if w.flags&entryNextSeq == 0 {
		w.buf = binary.AppendVarint(w.buf, int64(r.Queue)-int64(s.queue))
		w.buf = binary.AppendVarint(w.buf, int64(r.Seq-*last))
	}
	if w.flags&entryTimed != 0 {
		w.buf = binary.AppendVarint(w.buf, r.ExpiresMS-s.expires)
		s.expires = r.ExpiresMS
	}
	s.queue, *last = r.Queue, r.Seq
	w.entries++
	w.refs--
}

// Append appends the sidecar's file; Entries of info is w's own.
func (w *SidecarWriter) Append(dst []byte, info SidecarInfo) []byte {
	at := len(dst)
	var flags uint32
	if info.Unknown {
		flags = sidecarUnknown
	}
	dst = append(dst, sidecarMagic...)
	dst = binary.LittleEndian.AppendUint32(dst, Version)
	dst = binary.LittleEndian.AppendUint32(dst, info.Number)
	dst = binary.LittleEndian.AppendUint64(dst, info.Salt)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(info.End))
	dst = binary.LittleEndian.AppendUint64(dst, info.First)
	dst = binary.LittleEndian.AppendUint64(dst, info.Last)
	dst = binary.LittleEndian.AppendUint32(dst, w.entries)
	dst = binary.LittleEndian.AppendUint32(dst, flags)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(w.buf)))
	dst = append(dst, 0, 0, 0, 0)
	dst = append(dst, w.buf...)
	binary.LittleEndian.PutUint32(dst[at+sidecarHeader-4:], sidecarSum(dst[at:]))
	return dst
}

func sidecarSum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:sidecarHeader-4], castagnoli), castagnoli, b[sidecarHeader:])
}

// ParseSidecar checks the sidecar b.
func ParseSidecar(b []byte) (SidecarInfo, error) {
	if len(b) < sidecarHeader || string(b[:8]) != sidecarMagic ||
		int64(binary.LittleEndian.Uint32(b[56:])) != int64(len(b)-sidecarHeader) ||
		binary.LittleEndian.Uint32(b[sidecarHeader-4:]) != sidecarSum(b) {
		return SidecarInfo{}, fmt.Errorf("sidecar: %w", ErrCorrupt)
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v > Version {
		return SidecarInfo{}, fmt.Errorf("sidecar of format %d: %w", v, ErrVersion)
	}
	return SidecarInfo{
		Identity: Identity{Number: binary.LittleEndian.Uint32(b[12:]), Salt: binary.LittleEndian.Uint64(b[16:])},
		End:      int64(binary.LittleEndian.Uint64(b[24:])),
		First:    binary.LittleEndian.Uint64(b[32:]),
		Last:     binary.LittleEndian.Uint64(b[40:]),
		Entries:  binary.LittleEndian.Uint32(b[48:]),
		Unknown:  binary.LittleEndian.Uint32(b[52:])&sidecarUnknown != 0,
	}, nil
}

// EachEntry calls fn with the references of b, a sidecar that ParseSidecar
// found good, in the order of their records. The entry is good only during the
// call.
func EachEntry(b []byte, fn func(e *SidecarEntry)) error {
	var s sidecarState
	var e SidecarEntry
	d := decoder{b: b[sidecarHeader:]}
	for len(d.b) > 0 && !d.bad {
		head := d.byte()
		if head&entrySameStep == 0 {
			s.step = int64(d.uvarint()) * alignment
		}
		if head&entrySameBody == 0 {
			s.body = uint32(d.uvarint())
		}
		refs := uint64(1)
		if head&entryNextSeq == 0 {
			refs = d.uvarint()
		}
		s.offset += s.step
		e.Offset, e.BodyBytes = s.offset, s.body
		e.Flags = head >> entryFlags & (FlagPersistent | FlagTransient)
		if head&entryTimed != 0 {
			e.Flags |= FlagTimed
		}
		if refs > uint64(len(d.b))/2 && head&entryNextSeq == 0 || s.offset < HeaderBytes {
			d.bad = true
		}
		for ; refs > 0 && !d.bad; refs-- {
			if head&entryNextSeq == 0 {
				s.queue = uint32(int64(s.queue) + d.varint())
				s.seqs[uint8(s.queue)] += uint64(d.varint())
			} else {
				s.seqs[uint8(s.queue)]++
			}
			if head&entryTimed != 0 {
				s.expires += d.varint()
				e.ExpiresMS = s.expires
			} else {
				e.ExpiresMS = 0
			}
			if d.bad {
				break
			}
			e.Queue, e.Seq = s.queue, s.seqs[uint8(s.queue)]
			fn(&e)
		}
	}
	if d.bad {
		return fmt.Errorf("sidecar entry: %w", ErrCorrupt)
	}
	return nil
}
