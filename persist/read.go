package persist

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"unsafe"

	"leveret/core"
	"leveret/persist/segment"
	"leveret/persist/vfs"
)

// reader is what one call of Read needs; pooled.
type reader struct {
	buf      []byte
	file     *segmentFile
	at       int64 // Where in file buf begins.
	message  core.Message
	exchange string
	found    []located
}

// located is a message to be read, its segment pinned.
type located struct {
	place place
	file  *segmentFile
}

var readerPool = sync.Pool{New: func() any { return new(reader) }}

const (
	// readWindow is how much is read at once while the places asked for lie
	// close together, readOne what is read for a message alone.
	readWindow = 64 << 10
	readOne    = 4 << 10
	// readFilesMax bounds how many files are kept open for reading.
	readFilesMax = 256
)

// Read implements core.MessageLog.
func (l *Log) Read(q core.QueueID, seqs []core.Seq, fn func(i int, m *core.Message, err error)) {
	r := readerPool.Get().(*reader)
	defer func() {
		r.file = nil
		clear(r.found)
		r.message = core.Message{}
		if cap(r.buf) <= 4*readWindow {
			readerPool.Put(r)
		}
	}()
	r.locate(&l.index, q, seqs)
	defer l.unpin(r.found)
	for i, s := range seqs {
		f := r.found[i]
		if f.file == nil {
			fn(i, nil, fmt.Errorf("message %d of queue %d: %w", s, q, ErrNotStored))
			continue
		}
		// What follows in the same stretch of the file is read along.
		want := int64(readOne)
		offset := int64(f.place.offset) * 8
		for k := i + 1; k < len(seqs) && r.found[k].file == f.file; k++ {
			ahead := int64(r.found[k].place.offset)*8 - offset + readOne
			if ahead < 0 || ahead > readWindow {
				break
			}
			want = ahead
		}
		m, err := r.read(l, f.file, offset, want, q, s)
		if err != nil && temporary(err) {
			fn(i, nil, fmt.Errorf("message %d of queue %d in %s: %w: %w", s, q, f.file.name, core.ErrNotNow, err))
			continue
		}
		if err != nil {
			l.corrupt.Add(1)
			l.setAside(f.file, offset, err)
			fn(i, nil, fmt.Errorf("message %d of queue %d in %s at %d: %w", s, q, f.file.name, offset, err))
			continue
		}
		fn(i, m, nil)
	}
}

// temporary reports whether err is about what this process lacks now, not about
// what it wanted to read.
func temporary(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EINTR, syscall.EAGAIN} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// locate finds the places of seqs and pins their segments.
func (r *reader) locate(x *index, id core.QueueID, seqs []core.Seq) {
	r.found = r.found[:0]
	x.mu.Lock()
	defer x.mu.Unlock()
	q := x.mu.queues[id]
	for _, s := range seqs {
		var f located
		if q != nil {
			if f.place = q.placeLocked(uint64(s)); f.place.offset != 0 {
				f.file = x.segmentLocked(f.place.segment)
				f.file.pins++
			}
		}
		r.found = append(r.found, f)
	}
}

func (l *Log) unpin(found []located) {
	x := &l.index
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, f := range found {
		if f.file != nil {
			f.file.pins--
		}
	}
}

// read returns the message of seq, whose record lies at offset. It reads want
// bytes, or what the record takes, unless they are in the buffer.
func (r *reader) read(l *Log, s *segmentFile, offset, want int64, q core.QueueID, seq core.Seq) (*core.Message, error) {
	b, err := r.bytes(l, s, offset, segment.RecordBytes, want)
	if err != nil {
		return nil, err
	}
	length := segment.RecordLength(b)
	if length < segment.RecordBytes || offset+length > s.size {
		return nil, fmt.Errorf("record of length %d: %w", length, segment.ErrCorrupt)
	}
	if b, err = r.bytes(l, s, offset, length, want); err != nil {
		return nil, err
	}
	rec, err := segment.ParseRecord(b, s.id, offset)
	if err != nil {
		return nil, err
	}
	if !rec.IsMessage() {
		return nil, fmt.Errorf("%v where a message should be: %w", rec.Kind, segment.ErrCorrupt)
	}
	c, err := rec.Content()
	if err != nil {
		return nil, err
	}
	for i := range rec.Refs {
		if ref := rec.Ref(i); ref.Queue == uint32(q) && ref.Seq == uint64(seq) {
			r.fill(&rec, &c, ref.ExpiresMS)
			return &r.message, nil
		}
	}
	return nil, fmt.Errorf("record of other messages: %w", segment.ErrCorrupt)
}

func (r *reader) fill(rec *segment.Record, c *segment.Content, expiresMS int64) {
	r.message = core.Message{} // It may have decoded properties.
	m := &r.message
	if string(c.Exchange) != r.exchange {
		r.exchange = string(c.Exchange) // Core keeps it by reference.
	}
	m.Exchange = r.exchange
	m.RoutingKey = alias(c.RoutingKey)
	m.Form, m.Encoded, m.Body = core.Form(c.Form), c.Properties, c.Body
	m.ExpiresMS, m.ArrivedMS = expiresMS, c.ArrivedMS
	m.Priority, m.Origin = c.Priority, c.Origin
	m.Retained = rec.Flags&segment.FlagRetained != 0
	m.Persistent = rec.Flags&segment.FlagPersistent != 0
	m.HasPriority = rec.Flags&segment.FlagHasPriority != 0
	m.Died = rec.Flags&segment.FlagDied != 0
}

func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// bytes returns n bytes of s from offset, reading want if they are not there.
func (r *reader) bytes(l *Log, s *segmentFile, offset, n, want int64) ([]byte, error) {
	if r.file == s && offset >= r.at && offset+n <= r.at+int64(len(r.buf)) {
		return r.buf[offset-r.at:][:n], nil
	}
	f, err := l.fileOf(s)
	if err != nil {
		return nil, err
	}
	n = max(n, min(want, s.size-offset))
	if int64(cap(r.buf)) < n {
		r.buf = make([]byte, max(n, readOne))
	}
	r.buf, r.file, r.at = r.buf[:n], s, offset
	got, err := f.ReadAt(r.buf, offset)
	r.buf = r.buf[:got]
	if int64(got) < min(n, segment.RecordBytes) {
		r.file = nil
		return nil, fmt.Errorf("%d bytes there, %w", got, err)
	}
	return r.buf, nil
}

// fileOf returns the file of s, opening it if need be. s is pinned.
func (l *Log) fileOf(s *segmentFile) (vfs.File, error) {
	x := &l.index
	x.mu.Lock()
	defer x.mu.Unlock()
	if s.file != nil {
		return s.file, nil
	}
	if s.readFile != nil {
		return s.readFile, nil
	}
	f, err := l.fs.OpenFile(s.name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	s.readFile = f
	x.mu.readers = append(x.mu.readers, s)
	if len(x.mu.readers) > readFilesMax {
		x.closeSomeLocked()
	}
	return f, nil
}

// closeSomeLocked closes the file opened longest ago that nobody reads.
func (x *index) closeSomeLocked() {
	x.mu.readers = slices.DeleteFunc(x.mu.readers, func(s *segmentFile) bool { return s.readFile == nil })
	if len(x.mu.readers) <= readFilesMax {
		return
	}
	for i, s := range x.mu.readers {
		if s.pins == 0 {
			s.readFile.Close()
			s.readFile = nil
			x.mu.readers = slices.Delete(x.mu.readers, i, i+1)
			return
		}
	}
}

// setAside keeps a file with a damaged record from being written again, gives
// it a second name that the log will not remove, and says so.
func (l *Log) setAside(s *segmentFile, offset int64, damage error) {
	l.index.mu.Lock()
	linked := s.linked
	s.linked = true
	l.index.mu.Unlock()
	l.o.Logger.Error("message log: damaged record set aside", "file", s.name, "offset", offset, "error", damage)
	if linked {
		return
	}
	if err := l.keepDamaged(s); err != nil {
		l.o.Logger.Error("message log: cannot keep a copy of the damaged segment", "file", s.name, "error", err)
	}
}

func (l *Log) keepDamaged(s *segmentFile) error {
	dir := l.path(damagedDir)
	if err := l.fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	err := l.fs.Link(s.name, l.path(damagedDir+string(os.PathSeparator)+segmentName(s.id.Number)))
	if err != nil && !os.IsExist(err) {
		return err
	}
	return l.fs.SyncDir(dir)
}
