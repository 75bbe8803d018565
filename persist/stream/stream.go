package stream

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"

	"leveret/core"
)

// Errors that a Stream returns, wrapped with what happened.
var (
	// ErrClosed is what uses of a stream get after Delete or Close.
	ErrClosed = errors.New("stream is closed")
	// ErrFailed is what Append returns after a write or sync failed.
	ErrFailed = errors.New("stream has failed")
)

// errRemoved is about a segment that retention took away meanwhile.
var errRemoved = errors.New("segment removed")

const (
	chunkDataMax  = 64 << 10 // A chunk ends behind the message that reaches it.
	chunkCountMax = 4096
	// filesMax bounds how many sealed segments of a stream are kept open, with
	// their indexes.
	filesMax = 8
)

// Stream is a core.StreamLog.
type Stream struct {
	store *Store
	queue uint32
	o     core.StreamOptions
	buf   []byte // What Append is about to write.

	// writing is held by Append, Retain, Delete, and by a backup until it has
	// got hold of all files. It comes before mu.
	writing sync.Mutex

	mu struct {
		sync.Mutex
		segments []*segment // Ascending. The last one is written to; none before the first Append.
		next     uint64
		bytes    int64
		closed   bool
		failed   error
		clock    uint64
	}
}

// Bounds implements core.StreamLog.
func (s *Stream) Bounds() core.StreamBounds {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := core.StreamBounds{First: s.mu.next, Next: s.mu.next, Bytes: s.mu.bytes, Segments: len(s.mu.segments)}
	for _, g := range s.mu.segments {
		if g.index.end > headerBytes {
			b.First = g.id.first
			if g.loaded {
				b.First = g.index.blocks[0].first
			}
			break
		}
	}
	return b
}

// Append implements core.StreamLog.
func (s *Stream) Append(ms []core.StreamMessage) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	closed, failed, next := s.mu.closed, s.mu.failed, s.mu.next
	s.mu.Unlock()
	if closed {
		return ErrClosed
	}
	if failed != nil {
		return failed
	}
	for len(ms) > 0 && ms[0].Offset < next {
		ms = ms[1:] // It has them from an attempt that ended half way.
	}
	for len(ms) > 0 {
		active, err := s.active(ms[0].Offset)
		if err != nil {
			return s.trouble(err)
		}
		n, err := s.write(active, ms)
		if err != nil {
			return s.trouble(err)
		}
		ms = ms[n:]
	}
	return nil
}

// trouble sorts errors into those that will go away and those after which
// nothing is known of what was written.
func (s *Stream) trouble(err error) error {
	if noSpace(err) || temporary(err) {
		return fmt.Errorf("%w: %w", core.ErrStreamFull, err)
	}
	err = fmt.Errorf("%w: %w", ErrFailed, err)
	s.mu.Lock()
	s.mu.failed = err
	s.mu.Unlock()
	return err
}

func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// temporary reports whether err is about what this process lacks now.
func temporary(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EINTR, syscall.EAGAIN} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// active returns the segment to write offset into, making one if the last is
// full.
func (s *Stream) active(offset uint64) (*segment, error) {
	s.mu.Lock()
	var last *segment
	if n := len(s.mu.segments); n > 0 {
		last = s.mu.segments[n-1]
	}
	s.mu.Unlock()
	if last != nil && last.writable && (last.index.end == headerBytes || last.index.end < s.o.SegmentBytes) {
		return last, s.openActive(last)
	}
	return s.roll(last, offset)
}

// openActive opens the segment that is written to, if nobody has since the
// start.
func (s *Stream) openActive(g *segment) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.file != nil {
		return nil
	}
	f, err := s.store.fs.OpenFile(g.path(), os.O_RDWR, 0)
	if err == nil {
		g.file = f
	}
	return err
}

// roll seals last, if there is one, and makes the segment that follows it and
// begins at offset.
func (s *Stream) roll(last *segment, offset uint64) (*segment, error) {
	if last != nil && last.writable {
		if err := s.store.writeIndex(last, &last.index); err != nil {
			return nil, err
		}
	}
	g, err := s.store.createSegment(identity{queue: s.queue, first: offset, salt: rand.Uint64()})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.mu.segments = append(s.mu.segments, g)
	s.mu.bytes += headerBytes
	if last != nil {
		s.evictLocked()
	}
	s.mu.Unlock()
	return g, nil
}

// write appends as many of ms to g as belong there, and returns how many. They
// are on disk then.
func (s *Stream) write(g *segment, ms []core.StreamMessage) (int, error) {
	s.buf = s.buf[:0]
	start := g.index.end
	synced := g.index.next
	type written struct {
		chunk
		at int
	}
	var chunks []written
	done := 0
	for done < len(ms) && (done == 0 || start+int64(len(s.buf)) < s.o.SegmentBytes) {
		at := len(s.buf)
		c := s.encode(ms[done:], synced)
		c.put(s.buf[at:], g.id, start+int64(at))
		chunks = append(chunks, written{c, at})
		done += int(c.count)
	}
	if _, err := g.file.WriteAt(s.buf, start); err != nil {
		// What is there of it was not synced. Where there is no room, it is
		// taken back: the space may serve somebody else.
		if (noSpace(err) || temporary(err)) && g.file.Truncate(start) != nil {
			return 0, fmt.Errorf("%s: cannot take back what was written", g.path())
		}
		return 0, err
	}
	if err := g.file.Sync(); err != nil {
		// The system may have dropped what it could not write: whatever the
		// reason, nothing is known of the file.
		return 0, fmt.Errorf("sync %s: %v", g.path(), err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range chunks {
		c := &chunks[i]
		from := c.at + chunkBytes
		g.index.add(&c.chunk, s.buf[from:from+int(c.filter)])
	}
	s.mu.next = g.index.next
	s.mu.bytes += int64(len(s.buf))
	if cap(s.buf) > 8<<20 {
		s.buf = nil
	}
	return done, nil
}

// encode appends a chunk of the first of ms to s.buf.
func (s *Stream) encode(ms []core.StreamMessage, synced uint64) chunk {
	c := chunk{first: ms[0].Offset, synced: synced, baseMS: ms[0].Message.ArrivedMS, lastMS: ms[0].Message.ArrivedMS}
	n, bytes, filtered := 0, 0, false
	for n < len(ms) && n < chunkCountMax && bytes < chunkDataMax && ms[n].Offset == c.first+uint64(n) {
		m := &ms[n]
		bytes += len(m.Message.Encoded) + len(m.Message.Body)
		c.lastMS = max(c.lastMS, m.Message.ArrivedMS)
		if m.HasFilter {
			filtered = true
		} else {
			c.unfiltered = true
		}
		n++
	}
	c.count = uint32(n)
	at := len(s.buf)
	s.buf = append(s.buf, make([]byte, chunkBytes)...)
	if filtered {
		c.filter = uint8(s.o.FilterBytes)
		s.buf = append(s.buf, make([]byte, s.o.FilterBytes)...)
		for i := range ms[:n] {
			if ms[i].HasFilter {
				filterAdd(s.buf[at+chunkBytes:], ms[i].Filter)
			}
		}
	}
	data := len(s.buf)
	var before *core.StreamMessage
	for i := range ms[:n] {
		s.buf = appendMessage(s.buf, &ms[i], before, c.baseMS)
		before = &ms[i]
	}
	c.data = uint32(len(s.buf) - data)
	s.buf = append(s.buf, make([]byte, pad(len(s.buf)-at)-(len(s.buf)-at))...)
	c.length = uint32(len(s.buf) - at)
	return c
}

// Read implements core.StreamLog.
func (s *Stream) Read(offset uint64, filter *core.StreamFilter) (*core.StreamBlock, uint64, error) {
	for {
		g, err := s.pin(offset)
		switch {
		case errors.Is(err, errRemoved):
			continue
		case err != nil:
			return nil, offset, err
		case g == nil:
			// Not where the stream ends by now: what came since was not looked at.
			return nil, offset, nil
		}
		b, next, err := s.readFrom(g, offset, filter)
		s.unpin(g)
		if b != nil || err != nil {
			return b, next, err
		}
		offset = max(offset, next)
	}
}

// readFrom is Read within g, which is pinned. Without a block there is nothing
// for the caller in g below next.
func (s *Stream) readFrom(g *segment, offset uint64, filter *core.StreamFilter) (*core.StreamBlock, uint64, error) {
	for {
		e, end, next := s.blockAt(g, offset, filter)
		if end == 0 {
			return nil, next, nil
		}
		buf := make([]byte, end-e.at)
		if n, err := g.file.ReadAt(buf, e.at); err != nil && n < len(buf) {
			if temporary(err) {
				return nil, offset, fmt.Errorf("%w: %w", core.ErrNotNow, err)
			}
			s.store.damaged(g.path(), e.at, err)
			buf = buf[:n]
		}
		ms := s.decode(g, buf, e.at)
		if len(ms) == 0 || ms[len(ms)-1].Offset < offset {
			offset = next // A hole, or damage.
			continue
		}
		b := core.NewStreamBlock(e.first, ms)
		b.Next = next
		return b, next, nil
	}
}

// blockAt returns the first block of g with offset or behind it that may hold
// what filter selects, and where it ends, in the file and in offsets. An end of
// 0 says that there is none.
func (s *Stream) blockAt(g *segment, offset uint64, filter *core.StreamFilter) (e block, end int64, next uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := &g.index
	for i := x.blockOf(offset); i < len(x.blocks); i++ {
		if x.blocks[i].mayHold(filter) {
			end, next = x.bounds(i)
			return x.blocks[i], end, next
		}
	}
	return block{}, 0, x.next
}

// decode returns the messages of a block, which begins at. Chunks that are not
// what was written are passed over.
func (s *Stream) decode(g *segment, buf []byte, at int64) []core.StreamMessage {
	var ms []core.StreamMessage
	bad := false
	for p := 0; p < len(buf); {
		c, ok := parseChunk(buf[p:], g.id, at+int64(p))
		if !ok {
			if !bad {
				s.store.damaged(g.path(), at+int64(p), fmt.Errorf("chunk: %w", ErrCorrupt))
			}
			p, bad = p+alignment, true
			continue
		}
		bad = false
		_, data, ok := c.content(buf[p:])
		if ok {
			if ms == nil {
				ms = make([]core.StreamMessage, 0, c.count)
			}
			ms, ok = appendDecoded(ms, &c, data)
		}
		if !ok {
			s.store.damaged(g.path(), at+int64(p), fmt.Errorf("messages %d to %d: %w", c.first, c.next()-1, ErrCorrupt))
		}
		p += int(c.length)
	}
	return ms
}

// pin returns the segment with offset, or the one behind it, ready to be read;
// nil if there is none.
func (s *Stream) pin(offset uint64) (*segment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return nil, ErrClosed
	}
	i := slices.IndexFunc(s.mu.segments, func(g *segment) bool { return g.index.next > offset })
	if i < 0 {
		return nil, nil
	}
	g := s.mu.segments[i]
	return g, s.pinLocked(g)
}

// pinLocked opens g, with its index, and keeps it open until unpin. The lock
// is free meanwhile.
func (s *Stream) pinLocked(g *segment) error {
	g.pins++
	s.mu.clock++
	g.used = s.mu.clock
	if g.file != nil && g.loaded {
		return nil
	}
	f, loaded := g.file, g.loaded
	s.mu.Unlock()
	var err error
	opened := f == nil
	if opened {
		flag := os.O_RDONLY
		if g.writable {
			flag = os.O_RDWR // It may be the one that is written to.
		}
		f, err = s.store.fs.OpenFile(g.path(), flag, 0)
	}
	var x *index
	if err == nil && !loaded {
		x, err = s.store.loadIndex(g, f)
	}
	s.mu.Lock()
	if err != nil {
		if opened && f != nil {
			f.Close()
		}
		s.unpinLocked(g)
		switch {
		case g.gone:
			return errRemoved
		case temporary(err):
			return fmt.Errorf("%w: %w", core.ErrNotNow, err)
		}
		return err
	}
	if opened && g.file != nil {
		f.Close() // Somebody was faster.
	} else {
		g.file = f
	}
	if !g.loaded {
		g.index.blocks, g.loaded = x.blocks, true
	}
	s.evictLocked()
	return nil
}

func (s *Stream) unpin(g *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unpinLocked(g)
}

func (s *Stream) unpinLocked(g *segment) {
	g.pins--
	if g.pins == 0 && g.gone && g.file != nil {
		g.file.Close()
		g.file = nil
	}
}

// evictLocked closes sealed segments while too many are open.
func (s *Stream) evictLocked() {
	for len(s.mu.segments) > 0 {
		open := 0
		var oldest *segment
		for _, g := range s.mu.segments[:len(s.mu.segments)-1] {
			if g.file == nil && !g.loaded {
				continue
			}
			open++
			if g.pins == 0 && (oldest == nil || g.used < oldest.used) {
				oldest = g
			}
		}
		if open <= filesMax || oldest == nil {
			return
		}
		if oldest.file != nil {
			oldest.file.Close()
		}
		oldest.file, oldest.loaded, oldest.index.blocks = nil, false, nil
	}
}

// Since implements core.StreamLog.
func (s *Stream) Since(ms int64) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return 0, ErrClosed
	}
	i := slices.IndexFunc(s.mu.segments, func(g *segment) bool { return g.index.end > headerBytes && g.index.lastMS >= ms })
	if i < 0 {
		return s.mu.next, nil
	}
	g := s.mu.segments[i]
	if err := s.pinLocked(g); err != nil {
		return 0, err
	}
	defer s.unpinLocked(g)
	for k := range g.index.blocks {
		if g.index.blocks[k].lastMS >= ms {
			return g.index.blocks[k].first, nil
		}
	}
	return g.index.next, nil
}

// Retain implements core.StreamLog. The segment that is written to is sealed
// when it holds something that is too old, so that it goes in its turn.
func (s *Stream) Retain(maxBytes, beforeMS int64) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	if s.mu.closed || len(s.mu.segments) == 0 {
		s.mu.Unlock()
		return nil
	}
	last := s.mu.segments[len(s.mu.segments)-1]
	failed := s.mu.failed
	s.mu.Unlock()
	var err error
	if beforeMS > 0 && failed == nil && last.writable && last.index.end > headerBytes && last.index.firstMS < beforeMS {
		if _, err = s.roll(last, last.index.next); err != nil && !noSpace(err) && !temporary(err) {
			return err
		}
	}
	var gone []*segment
	s.mu.Lock()
	for len(s.mu.segments) > 1 {
		g := s.mu.segments[0]
		if !(maxBytes > 0 && s.mu.bytes > maxBytes) && !(beforeMS > 0 && g.index.lastMS < beforeMS) {
			break
		}
		s.mu.segments = slices.Delete(s.mu.segments, 0, 1)
		s.mu.bytes -= g.index.end
		g.gone = true
		if g.pins == 0 && g.file != nil {
			g.file.Close()
			g.file = nil
		}
		gone = append(gone, g)
	}
	s.mu.Unlock()
	for _, g := range gone {
		err = errors.Join(err, s.store.remove(g))
	}
	return err
}

// Delete implements core.StreamLog.
func (s *Stream) Delete() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	segments := s.close()
	var err error
	for _, g := range segments {
		err = errors.Join(err, s.store.remove(g))
	}
	s.store.forget(s)
	return err
}

// close ends the use of s and returns what it had.
func (s *Stream) close() []*segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	segments := s.mu.segments
	s.mu.closed, s.mu.segments = true, nil
	for _, g := range segments {
		g.gone = true
		if g.pins == 0 && g.file != nil {
			g.file.Close()
			g.file = nil
		}
	}
	return segments
}

// open takes over the segments that were found.
func (s *Stream) open(found []foundSegment) error {
	for i := range found {
		g, err := s.store.openSegment(&found[i], i == len(found)-1)
		if err != nil {
			return err
		}
		if g == nil {
			continue
		}
		s.mu.segments = append(s.mu.segments, g)
		s.mu.bytes += g.index.end
		s.mu.next = max(s.mu.next, g.index.next)
	}
	return nil
}
