package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// version is the format that this package writes.
const version = 1

// Sizes of the fixed parts, in bytes.
const (
	headerBytes = 64 // Of a segment.
	chunkBytes  = 56 // Header of a chunk.
	indexBytes  = 80 // Header of an index.
	alignment   = 8

	segmentMagic = "LVRTSTR\n"
	indexMagic   = "LVRTSTX\n"
)

// Errors of decoding; they are wrapped with what was being read.
var (
	// ErrCorrupt is about bytes that are not what was written.
	ErrCorrupt = errors.New("corrupt")
	// ErrVersion is about a file that a newer Leveret wrote.
	ErrVersion = errors.New("written by a newer version")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func pad(n int) int { return (n + alignment - 1) &^ (alignment - 1) }

// identity is what is fixed about a segment. Checksums of its chunks depend on
// it and on their place, so that a body which imitates a chunk is none.
type identity struct {
	queue uint32
	first uint64 // No lower offset is in it.
	salt  uint64
}

// seed mixes the identity with the place of what is summed.
func (id identity) seed(at int64) uint32 {
	x := id.salt ^ uint64(id.queue)<<32 ^ id.first<<1 ^ uint64(at)
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return uint32(x>>32) ^ uint32(x)
}

func appendHeader(dst []byte, id identity) []byte {
	at := len(dst)
	dst = append(dst, make([]byte, headerBytes)...)
	b := dst[at:]
	copy(b, segmentMagic)
	binary.LittleEndian.PutUint32(b[8:], version)
	binary.LittleEndian.PutUint32(b[12:], id.queue)
	binary.LittleEndian.PutUint64(b[16:], id.first)
	binary.LittleEndian.PutUint64(b[24:], id.salt)
	binary.LittleEndian.PutUint32(b[headerBytes-4:], crc32.Checksum(b[:headerBytes-4], castagnoli))
	return dst
}

// parseHeader reads the header of a segment. The error is ErrCorrupt or
// ErrVersion.
func parseHeader(b []byte) (identity, error) {
	if len(b) < headerBytes || string(b[:8]) != segmentMagic ||
		crc32.Checksum(b[:headerBytes-4], castagnoli) != binary.LittleEndian.Uint32(b[headerBytes-4:]) {
		return identity{}, fmt.Errorf("stream segment header: %w", ErrCorrupt)
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v > version {
		return identity{}, fmt.Errorf("stream segment of format %d: %w", v, ErrVersion)
	}
	return identity{
		queue: binary.LittleEndian.Uint32(b[12:]), first: binary.LittleEndian.Uint64(b[16:]), salt: binary.LittleEndian.Uint64(b[24:]),
	}, nil
}

// chunk is the header of a chunk: messages with consecutive offsets.
type chunk struct {
	length     uint32 // With this header and padding.
	first      uint64 // Offset of its first message.
	synced     uint64 // Offsets below were on disk when it was written.
	baseMS     int64  // Arrival of its first message,
	lastMS     int64  // and the latest of any of them.
	count      uint32
	data       uint32 // Length of the messages.
	filter     uint8  // Length of the filter that stands before them; 0 if none of them has a value.
	unfiltered bool   // Some of them have no filter value.
}

func (c *chunk) next() uint64 { return c.first + uint64(c.count) }

// put writes c into the first chunkBytes of b, which holds the chunk whole, for
// the place at.
func (c *chunk) put(b []byte, id identity, at int64) {
	le := binary.LittleEndian
	le.PutUint32(b[4:], c.length)
	le.PutUint64(b[8:], c.first)
	le.PutUint64(b[16:], c.synced)
	le.PutUint64(b[24:], uint64(c.baseMS))
	le.PutUint64(b[32:], uint64(c.lastMS))
	le.PutUint32(b[40:], c.count)
	le.PutUint32(b[44:], c.data)
	le.PutUint32(b[48:], crc32.Checksum(b[chunkBytes:chunkBytes+int(c.filter)+int(c.data)], castagnoli))
	b[52], b[53], b[54], b[55] = c.filter, 0, 0, 0
	if c.unfiltered {
		b[53] = 1
	}
	le.PutUint32(b, crc32.Update(id.seed(at), castagnoli, b[4:chunkBytes]))
}

// parseChunk reads the header of the chunk that may begin at.
func parseChunk(b []byte, id identity, at int64) (c chunk, ok bool) {
	le := binary.LittleEndian
	if len(b) < chunkBytes || crc32.Update(id.seed(at), castagnoli, b[4:chunkBytes]) != le.Uint32(b) {
		return c, false
	}
	c = chunk{
		length: le.Uint32(b[4:]), first: le.Uint64(b[8:]), synced: le.Uint64(b[16:]),
		baseMS: int64(le.Uint64(b[24:])), lastMS: int64(le.Uint64(b[32:])),
		count: le.Uint32(b[40:]), data: le.Uint32(b[44:]), filter: b[52], unfiltered: b[53]&1 != 0,
	}
	used := uint64(chunkBytes) + uint64(c.filter) + uint64(c.data)
	ok = c.count > 0 && c.next() > c.first && c.first >= id.first && uint64(c.length) == (used+alignment-1)&^(alignment-1) && used < 1<<32-alignment
	return c, ok
}

// content returns the filter and the messages of the chunk that b begins with,
// if they are what was written.
func (c *chunk) content(b []byte) (filter, data []byte, ok bool) {
	end := chunkBytes + int(c.filter) + int(c.data)
	if len(b) < end || crc32.Checksum(b[chunkBytes:end], castagnoli) != binary.LittleEndian.Uint32(b[48:]) {
		return nil, nil, false
	}
	return b[chunkBytes : chunkBytes+int(c.filter)], b[chunkBytes+int(c.filter) : end], true
}

const (
	segmentSuffix = ".str"
	indexSuffix   = ".stx"
	tempSuffix    = ".tmp"
	damagedSuffix = ".damaged"
)

// baseName is the name of a segment and its index, without a suffix.
func baseName(queue uint32, first uint64) string { return fmt.Sprintf("%010d-%020d", queue, first) }

// parseName is the inverse of baseName with a suffix.
func parseName(name, suffix string) (queue uint32, first uint64, ok bool) {
	base, found := strings.CutSuffix(name, suffix)
	left, right, cut := strings.Cut(base, "-")
	if !found || !cut || len(left) != 10 || len(right) != 20 {
		return 0, 0, false
	}
	q, err1 := strconv.ParseUint(left, 10, 32)
	f, err2 := strconv.ParseUint(right, 10, 64)
	return uint32(q), f, err1 == nil && err2 == nil
}
