package core

import "sync"

// MemoryStreams is a StreamStore that keeps streams for as long as the broker
// runs.
type MemoryStreams struct{}

// OpenStream returns an empty stream.
func (MemoryStreams) OpenStream(_ QueueID, o StreamOptions) (StreamLog, error) {
	l := &memoryStream{segmentBytes: o.SegmentBytes}
	if l.segmentBytes == 0 {
		l.segmentBytes = memorySegmentBytes
	}
	return l, nil
}

// Forget does nothing.
func (MemoryStreams) Forget(func(QueueID) bool) error { return nil }

// Close does nothing.
func (MemoryStreams) Close() error { return nil }

const (
	memorySegmentBytes = 1 << 20
	memoryBlockBytes   = 64 << 10
)

// memoryStream keeps the messages that it is given, in blocks, which are
// grouped into segments for retention alone.
type memoryStream struct {
	segmentBytes int64

	mu struct {
		sync.Mutex
		blocks   []*StreamBlock
		segments []memorySegment
		next     uint64
		bytes    int64
	}
}

type memorySegment struct {
	blocks int
	bytes  int64
	lastMS int64
}

// Bounds is part of StreamLog.
func (l *memoryStream) Bounds() StreamBounds {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := StreamBounds{First: l.mu.next, Next: l.mu.next, Bytes: l.mu.bytes, Segments: len(l.mu.segments)}
	if len(l.mu.blocks) != 0 {
		b.First = l.mu.blocks[0].First
	}
	return b
}

// Append is part of StreamLog. It does not block.
func (l *memoryStream) Append(ms []StreamMessage) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(ms) != 0 && ms[0].Offset < l.mu.next {
		ms = ms[1:]
	}
	for len(ms) != 0 {
		n, bytes := 0, int64(0)
		for n < len(ms) && bytes < memoryBlockBytes {
			bytes += streamMessageBytes(ms[n].Message)
			n++
		}
		b := NewStreamBlock(ms[0].Offset, ms[:n:n])
		l.addLocked(b)
		ms = ms[n:]
	}
	return nil
}

func (l *memoryStream) addLocked(b *StreamBlock) {
	if n := len(l.mu.segments); n == 0 || l.mu.segments[n-1].bytes >= l.segmentBytes {
		l.mu.segments = append(l.mu.segments, memorySegment{})
	}
	s := &l.mu.segments[len(l.mu.segments)-1]
	s.bytes += b.Bytes
	s.lastMS = max(s.lastMS, b.Messages[len(b.Messages)-1].Message.ArrivedMS)
	l.mu.bytes += b.Bytes
	l.mu.next = b.Next
	// Messages that come one by one are kept together.
	if n := len(l.mu.blocks); s.blocks > 0 {
		if last := l.mu.blocks[n-1]; last.Bytes+b.Bytes <= memoryBlockBytes && last.Next == b.First {
			l.mu.blocks[n-1] = &StreamBlock{
				First: last.First, Next: b.Next, Bytes: last.Bytes + b.Bytes,
				Messages: append(last.Messages, b.Messages...),
			}
			return
		}
	}
	l.mu.blocks = append(l.mu.blocks, b)
	s.blocks++
}

// Read is part of StreamLog.
func (l *memoryStream) Read(offset uint64, _ *StreamFilter) (*StreamBlock, uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lo, hi := 0, len(l.mu.blocks)
	for lo < hi {
		if mid := (lo + hi) / 2; l.mu.blocks[mid].Next <= offset {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(l.mu.blocks) {
		return nil, l.mu.next, nil
	}
	return l.mu.blocks[lo], l.mu.blocks[lo].Next, nil
}

// Since is part of StreamLog.
func (l *memoryStream) Since(ms int64) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.mu.blocks {
		if b.Messages[len(b.Messages)-1].Message.ArrivedMS >= ms {
			return b.First, nil
		}
	}
	return l.mu.next, nil
}

// Retain is part of StreamLog.
func (l *memoryStream) Retain(maxBytes, beforeMS int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.mu.segments) != 0 {
		s := &l.mu.segments[0]
		large := maxBytes > 0 && len(l.mu.segments) > 1 && l.mu.bytes > maxBytes
		if old := beforeMS > 0 && s.lastMS < beforeMS; !large && !old {
			break
		}
		clear(l.mu.blocks[:s.blocks])
		l.mu.blocks = l.mu.blocks[s.blocks:]
		l.mu.bytes -= s.bytes
		l.mu.segments = l.mu.segments[1:]
	}
	return nil
}

// Delete is part of StreamLog.
func (l *memoryStream) Delete() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.blocks, l.mu.segments, l.mu.bytes = nil, nil, 0
	return nil
}
