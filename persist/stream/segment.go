package stream

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"leveret/persist/vfs"
)

// segment is one file of a stream.
type segment struct {
	id   identity
	name string // Without a suffix, with its directory.

	// writable is false for segments that were sealed when the stream was
	// opened; of the others, the last one is written to.
	writable bool

	// Guarded by the stream's mu.
	index  index    // Without blocks unless they are loaded.
	loaded bool     // index has its blocks. Always so for the last segment.
	file   vfs.File // nil while nobody needs it.
	pins   int      // Who uses file, now.
	used   uint64   // When it was read last; see Stream.mu.clock.
	gone   bool     // Removed: whoever lets go last closes the file.
}

func (s *segment) path() string      { return s.name + segmentSuffix }
func (s *segment) indexPath() string { return s.name + indexSuffix }

// scanner reads the headers of a segment's chunks one after the other, through
// a window, without reading the messages of large chunks.
type scanner struct {
	f    vfs.File
	id   identity
	size int64
	buf  []byte
	at   int64 // Where buf begins.
	err  error // Of reading.
}

const scanWindow = 64 << 10

func newScanner(f vfs.File, id identity, size int64) *scanner {
	return &scanner{f: f, id: id, size: size}
}

// bytes returns n bytes from at, or fewer at the end of the file; good until
// the next call.
func (s *scanner) bytes(at int64, n int) []byte {
	if at >= s.at && at+int64(n) <= s.at+int64(len(s.buf)) {
		return s.buf[at-s.at:][:n]
	}
	if at >= s.size || s.err != nil {
		return nil
	}
	want := int(min(int64(max(n, scanWindow)), s.size-at))
	if cap(s.buf) < want {
		s.buf = make([]byte, want)
	}
	got, err := s.f.ReadAt(s.buf[:want], at)
	if got < want && err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	s.buf, s.at = s.buf[:got], at
	return s.buf[:min(n, got)]
}

// chunkAt returns the header of the chunk at, if one that is there whole
// begins there.
func (s *scanner) chunkAt(at int64) (chunk, bool) {
	c, ok := parseChunk(s.bytes(at, chunkBytes), s.id, at)
	if !ok || at+int64(c.length) > s.size {
		return chunk{}, false
	}
	return c, true
}

// whole reports whether the content of the chunk c at is what was written, and
// returns its filter.
func (s *scanner) whole(c *chunk, at int64) (filter []byte, ok bool) {
	filter, _, ok = c.content(s.bytes(at, int(c.length)))
	return filter, ok
}

// filterOf returns the filter of the chunk c at, unchecked.
func (s *scanner) filterOf(c *chunk, at int64) []byte {
	if c.filter == 0 {
		return nil
	}
	return s.bytes(at+chunkBytes, int(c.filter))
}

// scanned is what scanning a segment found.
type scanned struct {
	index  index
	end    int64 // Behind the last chunk that counts.
	damage []Damage
	// messages counts what can be read, if the scan was thorough.
	messages int64
	torn     bool // Something behind end does not count, and may be cut off.
}

// scan finds the chunks of a segment. The last segment of a stream may end in
// chunks that were being written when the broker or the machine died; they do
// not count, since the log has their messages still. Which ones were on disk
// is said by those written later.
func scan(f vfs.File, id identity, size int64, last, thorough bool) (*scanned, error) {
	s := newScanner(f, id, size)
	r := &scanned{index: index{next: id.first, end: headerBytes}}
	synced := id.first // Offsets below were on disk.
	at := int64(headerBytes)
	type unsure struct {
		chunk
		at int64
	}
	var found []unsure
	for at < size && s.err == nil {
		c, ok := s.chunkAt(at)
		if ok && len(found) > 0 && c.first < found[len(found)-1].next() {
			ok = false
		}
		if ok {
			found = append(found, unsure{c, at})
			synced = max(synced, c.synced)
			at += int64(c.length)
			continue
		}
		from := at
		for at += alignment; at < size && s.err == nil; at += alignment {
			if c, ok = s.chunkAt(at); ok && (len(found) == 0 || c.first >= found[len(found)-1].next()) {
				break
			}
		}
		if at >= size {
			r.torn = true
			at = from
			if !last {
				r.damage = append(r.damage, Damage{File: f.Name(), Offset: from, Length: size - from, Err: ErrCorrupt})
			}
			break
		}
		// Whether this is damage or a torn end, c.synced says.
		r.damage = append(r.damage, Damage{File: f.Name(), Offset: from, Length: at - from, Err: fmt.Errorf("chunk: %w", ErrCorrupt)})
	}
	// The first chunk that is not whole and was not on disk ends the stream.
	damage := r.damage
	r.damage = nil
	for i := range found {
		c := &found[i]
		if len(damage) > 0 && damage[0].Offset < c.at {
			expected := id.first
			if i > 0 {
				expected = found[i-1].next()
			}
			if last && expected >= synced {
				r.torn, damage = true, nil
				break
			}
			r.damage = append(r.damage, damage[0])
			damage = damage[1:]
			r.index.end = c.at
		}
		filter, good := s.filterOf(&c.chunk, c.at), true
		if thorough || last && c.next() > synced {
			if filter, good = s.whole(&c.chunk, c.at); !good {
				if last && c.next() > synced {
					r.torn, damage = true, nil
					break
				}
				r.damage = append(r.damage, Damage{File: f.Name(), Offset: c.at, Length: int64(c.length), Err: fmt.Errorf("messages from offset %d: %w", c.first, ErrCorrupt)})
			}
		}
		if good {
			r.messages += int64(c.count)
		}
		r.index.end = c.at
		r.index.add(&c.chunk, filter)
	}
	r.damage = append(r.damage, damage...)
	r.end = r.index.end
	return r, s.err
}

// createSegment makes an empty segment that is on disk whole before it has its
// name.
func (st *Store) createSegment(id identity) (*segment, error) {
	s := &segment{id: id, name: st.path(baseName(id.queue, id.first)), loaded: true, writable: true}
	s.index = index{next: id.first, end: headerBytes}
	temp := s.name + tempSuffix
	f, err := st.fs.Create(temp)
	if err != nil {
		return nil, err
	}
	_, err = f.WriteAt(appendHeader(nil, id), 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = st.fs.Rename(temp, s.path())
	}
	if err == nil {
		err = st.fs.SyncDir(st.dir)
	}
	if err == nil {
		s.file, err = st.fs.OpenFile(s.path(), os.O_RDWR, 0)
	}
	if err != nil {
		if e := st.fs.Remove(temp); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
		return nil, err
	}
	return s, nil
}

// writeIndex writes the sidecar of a sealed segment. Without it the segment is
// scanned.
func (st *Store) writeIndex(s *segment, x *index) error {
	temp := s.name + indexSuffix + tempSuffix
	f, err := st.fs.Create(temp)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(appendIndex(nil, s.id, x), 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = st.fs.Rename(temp, s.indexPath())
	}
	if err != nil {
		return errors.Join(err, st.fs.Remove(temp))
	}
	return nil
}

// loadIndex returns the index of a sealed segment.
func (st *Store) loadIndex(s *segment, f vfs.File) (*index, error) {
	b, err := vfs.ReadFile(st.fs, s.indexPath())
	if err == nil {
		var x *index
		if x, err = parseIndex(b, s.id); err == nil {
			return x, nil
		}
	}
	if temporary(err) {
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	return st.rescan(s, f, size)
}
