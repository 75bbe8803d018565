package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Version is the format that this package writes. Files of a higher version
// are not touched.
const Version = 1

// Sizes of the fixed parts, in bytes.
const (
	HeaderBytes      = 32 // Of a segment.
	GroupBytes       = 32 // Header of a group.
	RecordBytes      = 16 // Header of a record.
	RefBytes         = 12 // A reference.
	TimedRefBytes    = 20 // A reference with a time of its own.
	contentBytes     = 20 // The fixed part of a message's content.
	groupSegmentAt   = 24 // Where the number of the segment is in it.
	alignment        = 8
	groupLengthMax   = 1<<32 - alignment
	segmentMagic     = "LVRTSEG\n"
	sidecarMagic     = "LVRTIDX\n"
	checkpointMagic  = "LVRTCKP\n"
	sidecarHeader    = 64
	checkpointHeader = 80
)

// Errors of decoding; they are wrapped with what was being read.
var (
	// ErrCorrupt is about bytes that are not what was written.
	ErrCorrupt = errors.New("corrupt")
	// ErrVersion is about a file that a newer Leveret wrote.
	ErrVersion = errors.New("written by a newer version")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Pad rounds n up to where the next record or group may begin.
func Pad(n int64) int64 { return (n + alignment - 1) &^ (alignment - 1) }

// Identity is what every checksum in a segment depends on besides the bytes:
// the segment's number, and a salt drawn each time a file is used. Stale bytes
// of a recycled file, or a body that imitates a record, never pass.
type Identity struct {
	Number uint32
	Salt   uint64
}

// seed mixes the identity with the offset of what is summed.
func (id Identity) seed(offset int64) uint32 {
	x := id.Salt ^ uint64(id.Number)<<40 ^ uint64(offset)
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return uint32(x>>32) ^ uint32(x)
}

// AppendHeader appends the header of a segment.
func AppendHeader(dst []byte, id Identity) []byte {
	at := len(dst)
	dst = append(dst, segmentMagic...)
	dst = binary.LittleEndian.AppendUint32(dst, id.Number)
	dst = binary.LittleEndian.AppendUint32(dst, Version)
	dst = binary.LittleEndian.AppendUint64(dst, id.Salt)
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[at:], castagnoli))
}

// ParseHeader reads the header of a segment. The error is ErrCorrupt or
// ErrVersion.
func ParseHeader(b []byte) (Identity, error) {
	if len(b) < HeaderBytes || string(b[:8]) != segmentMagic ||
		crc32.Checksum(b[:28], castagnoli) != binary.LittleEndian.Uint32(b[28:]) {
		return Identity{}, fmt.Errorf("segment header: %w", ErrCorrupt)
	}
	if v := binary.LittleEndian.Uint32(b[12:]); v > Version {
		return Identity{}, fmt.Errorf("segment of format %d: %w", v, ErrVersion)
	}
	return Identity{Number: binary.LittleEndian.Uint32(b[8:]), Salt: binary.LittleEndian.Uint64(b[16:])}, nil
}

// Group is the header of a group: what is written, and synced, at once.
type Group struct {
	Length  uint32 // With this header.
	Number  uint64 // Groups are numbered without gaps, over all segments.
	Synced  uint64 // Groups up to this one were on disk when this was written.
	Records uint32
}

// PutGroup writes g into the first GroupBytes of b, for offset.
func PutGroup(b []byte, id Identity, offset int64, g Group) {
	binary.LittleEndian.PutUint32(b[4:], g.Length)
	binary.LittleEndian.PutUint64(b[8:], g.Number)
	binary.LittleEndian.PutUint64(b[16:], g.Synced)
	binary.LittleEndian.PutUint32(b[groupSegmentAt:], id.Number)
	binary.LittleEndian.PutUint32(b[28:], g.Records)
	binary.LittleEndian.PutUint32(b, crc32.Update(id.seed(offset), castagnoli, b[4:GroupBytes]))
}

// ParseGroup reads the header of the group that may begin at offset.
func ParseGroup(b []byte, id Identity, offset int64) (Group, bool) {
	if len(b) < GroupBytes || binary.LittleEndian.Uint32(b[groupSegmentAt:]) != id.Number {
		return Group{}, false
	}
	g := Group{
		Length:  binary.LittleEndian.Uint32(b[4:]),
		Number:  binary.LittleEndian.Uint64(b[8:]),
		Synced:  binary.LittleEndian.Uint64(b[16:]),
		Records: binary.LittleEndian.Uint32(b[28:]),
	}
	if g.Length < GroupBytes || g.Length%alignment != 0 ||
		crc32.Update(id.seed(offset), castagnoli, b[4:GroupBytes]) != binary.LittleEndian.Uint32(b) {
		return Group{}, false
	}
	return g, true
}
