package stream

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"leveret/core"
	"leveret/persist/vfs"
)

// Store is a core.StreamStore: all streams in one directory, which nobody else
// uses.
type Store struct {
	fs     vfs.FS
	dir    string
	logger *slog.Logger

	mu struct {
		sync.Mutex
		found   map[uint32][]foundSegment // What is there and nobody has opened.
		streams map[*Stream]struct{}
		damage  map[string]struct{} // What was reported, by file and offset.
	}
}

// foundSegment is a segment that the directory has.
type foundSegment struct {
	queue uint32
	first uint64
	index bool // It has a sidecar.
}

// Damage is a stretch of a file that is not what was written.
type Damage struct {
	File           string
	Offset, Length int64
	Err            error
}

func (d Damage) String() string {
	return fmt.Sprintf("%s: %d bytes at %d: %v", d.File, d.Length, d.Offset, d.Err)
}

// Open opens the store in dir, making the directory if need be. The caller
// sees to it that no other process has it open.
func Open(fsys vfs.FS, dir string, logger *slog.Logger) (*Store, error) {
	if err := fsys.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open streams: %w", err)
	}
	st := &Store{fs: fsys, dir: dir, logger: logger}
	st.mu.streams = make(map[*Stream]struct{})
	st.mu.damage = make(map[string]struct{})
	temps, err := st.list()
	if err != nil {
		return nil, fmt.Errorf("open streams: %w", err)
	}
	for _, name := range temps {
		if err := fsys.Remove(st.path(name)); err != nil {
			logger.Warn("streams: cannot clear up", "error", err)
		}
	}
	return st, nil
}

func (st *Store) path(name string) string { return filepath.Join(st.dir, name) }

// list finds the segments in the directory.
func (st *Store) list() (temps []string, err error) {
	names, err := st.fs.ReadDir(st.dir)
	if err != nil {
		return nil, err
	}
	st.mu.found = make(map[uint32][]foundSegment)
	for _, name := range names {
		if strings.HasSuffix(name, tempSuffix) {
			temps = append(temps, name)
		} else if queue, first, ok := parseName(name, segmentSuffix); ok {
			_, index := slices.BinarySearch(names, baseName(queue, first)+indexSuffix)
			st.mu.found[queue] = append(st.mu.found[queue], foundSegment{queue, first, index})
		}
	}
	for _, found := range st.mu.found {
		slices.SortFunc(found, func(a, b foundSegment) int {
			if a.first < b.first {
				return -1
			}
			return 1
		})
	}
	return temps, nil
}

// OpenStream implements core.StreamStore. Damage is no error: it is logged and
// passed over.
func (st *Store) OpenStream(q core.QueueID, o core.StreamOptions) (core.StreamLog, error) {
	if o.SegmentBytes <= 0 || o.FilterBytes <= 0 || o.FilterBytes > 255 {
		return nil, fmt.Errorf("stream with segments of %d and filters of %d bytes", o.SegmentBytes, o.FilterBytes)
	}
	s := &Stream{store: st, queue: uint32(q), o: o}
	st.mu.Lock()
	found := st.mu.found[s.queue]
	delete(st.mu.found, s.queue)
	st.mu.streams[s] = struct{}{}
	st.mu.Unlock()
	if err := s.open(found); err != nil {
		s.close()
		st.forget(s)
		return nil, fmt.Errorf("open stream %d: %w", q, err)
	}
	return s, nil
}

func (st *Store) forget(s *Stream) {
	st.mu.Lock()
	defer st.mu.Unlock()
	delete(st.mu.streams, s)
}

// Forget implements core.StreamStore.
func (st *Store) Forget(known func(core.QueueID) bool) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	for queue, found := range st.mu.found {
		if known(core.QueueID(queue)) {
			continue
		}
		for _, f := range found {
			if err := st.remove(&segment{name: st.path(baseName(f.queue, f.first))}); err != nil {
				st.logger.Warn("streams: cannot remove what is left of a deleted stream", "error", err)
			}
		}
		delete(st.mu.found, queue)
	}
	return nil
}

// remove removes a segment's files.
func (st *Store) remove(g *segment) error {
	err := st.fs.Remove(g.path())
	if e := st.fs.Remove(g.indexPath()); e != nil && !errors.Is(e, fs.ErrNotExist) {
		err = errors.Join(err, e)
	}
	return err
}

// Close implements core.StreamStore. Everything is on disk already.
func (st *Store) Close() error {
	st.mu.Lock()
	streams := st.mu.streams
	st.mu.streams = make(map[*Stream]struct{})
	st.mu.Unlock()
	for s := range streams {
		s.writing.Lock()
		s.close()
		s.writing.Unlock()
	}
	return nil
}

// damageMax bounds how much damage is remembered so as to be reported once.
const damageMax = 1000

// damaged reports what could not be read, once.
func (st *Store) damaged(file string, offset int64, err error) {
	key := fmt.Sprintf("%s:%d", file, offset)
	st.mu.Lock()
	_, known := st.mu.damage[key]
	if !known && len(st.mu.damage) < damageMax {
		st.mu.damage[key] = struct{}{}
	}
	st.mu.Unlock()
	if !known {
		st.logger.Error("stream: damage passed over", "file", file, "offset", offset, "error", err)
	}
}

// openSegment reads what is needed of a segment. The last one of a stream is
// made ready to be written to.
func (st *Store) openSegment(found *foundSegment, last bool) (*segment, error) {
	g := &segment{name: st.path(baseName(found.queue, found.first))}
	flag := os.O_RDONLY
	if last {
		flag = os.O_RDWR
	}
	f, err := st.fs.OpenFile(g.path(), flag, 0)
	if err != nil {
		return nil, err
	}
	// Mostly nobody will want it for a while: there may be many streams.
	defer f.Close()
	id, size, err := readHeader(f, found)
	if errors.Is(err, ErrVersion) {
		return nil, fmt.Errorf("%s: %w", g.path(), err)
	}
	if errors.Is(err, ErrCorrupt) {
		// Without its salt nothing in it can be trusted. It keeps its content
		// under a name that is not ours.
		st.logger.Error("stream: segment set aside", "file", g.path(), "error", err)
		if err := st.fs.Rename(g.path(), g.path()+damagedSuffix); err != nil {
			return nil, err
		}
		return nil, st.fs.SyncDir(st.dir)
	}
	if err != nil {
		return nil, err
	}
	g.id = id
	if !last {
		x, err := st.loadIndex(g, f)
		if err != nil {
			return nil, err
		}
		if x.end > size {
			x, err = st.rescan(g, f, size)
			if err != nil {
				return nil, err
			}
		}
		if !found.index { // The broker died before it was written.
			if err := st.writeIndex(g, x); err != nil {
				st.logger.Warn("stream: index not written", "file", g.path(), "error", err)
			}
		}
		x.blocks = nil
		g.index = *x
		return g, nil
	}
	r, err := scan(f, id, size, true, false)
	if err != nil {
		return nil, err
	}
	for _, d := range r.damage {
		st.damaged(d.File, d.Offset, d.Err)
	}
	if size > r.end {
		// Nobody was told that it is there; the log has it still. What will be
		// written must not meet it.
		st.logger.Info("stream: an unfinished end is cut off", "file", g.path(), "bytes", size-r.end)
		if err := f.Truncate(r.end); err != nil {
			return nil, err
		}
	}
	// What was read only because the system still had it counts from now on.
	if err := f.Sync(); err != nil {
		return nil, err
	}
	g.index, g.loaded, g.writable = r.index, true, true
	return g, nil
}

func (st *Store) rescan(g *segment, f vfs.File, size int64) (*index, error) {
	r, err := scan(f, g.id, size, false, false)
	if err != nil {
		return nil, err
	}
	for _, d := range r.damage {
		st.damaged(d.File, d.Offset, d.Err)
	}
	return &r.index, nil
}

// readHeader reads the header of the segment in f.
func readHeader(f vfs.File, found *foundSegment) (id identity, size int64, err error) {
	if size, err = f.Size(); err != nil {
		return id, 0, err
	}
	b := make([]byte, headerBytes)
	n, err := f.ReadAt(b, 0)
	if n < headerBytes && size >= headerBytes {
		return id, 0, err
	}
	if id, err = parseHeader(b[:n]); err == nil && (id.queue != found.queue || id.first != found.first) {
		err = fmt.Errorf("header of segment %s: %w", baseName(id.queue, id.first), ErrCorrupt)
	}
	return id, size, err
}
