package stream

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"leveret/core"
	"leveret/persist/vfs"
)

// Report is what Check found of a stream.
type Report struct {
	Queue       core.QueueID
	Segments    int
	First, Next uint64
	Messages    int64
	Bytes       int64 // Of files.
	Damage      []Damage
}

// Check reads everything in the directory dir, which no broker may have open,
// and says what it holds and what is wrong with it. It changes nothing. A
// directory that is not there holds no streams.
func Check(fsys vfs.FS, dir string) ([]Report, error) {
	var reports []Report
	err := walk(fsys, dir, func(queue uint32, found []foundSegment, st *Store) error {
		r := Report{Queue: core.QueueID(queue), Segments: len(found)}
		for i := range found {
			if err := st.checkSegment(&found[i], i == len(found)-1, &r); err != nil {
				return err
			}
		}
		reports = append(reports, r)
		return nil
	})
	return reports, err
}

// walk calls fn for each stream in dir.
func walk(fsys vfs.FS, dir string, fn func(queue uint32, found []foundSegment, st *Store) error) error {
	st := &Store{fs: fsys, dir: dir, logger: slog.New(slog.DiscardHandler)}
	if _, err := st.list(); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("streams: %w", err)
	}
	for _, queue := range slices.Sorted(maps.Keys(st.mu.found)) {
		if err := fn(queue, st.mu.found[queue], st); err != nil {
			return fmt.Errorf("streams: %w", err)
		}
	}
	return nil
}

func (st *Store) checkSegment(found *foundSegment, last bool, r *Report) error {
	name := st.path(baseName(found.queue, found.first)) + segmentSuffix
	f, err := st.fs.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	id, size, err := readHeader(f, found)
	if errors.Is(err, ErrVersion) {
		return fmt.Errorf("%s: %w", name, err)
	}
	r.Bytes += size
	if err != nil {
		r.Damage = append(r.Damage, Damage{File: name, Length: size, Err: err})
		return nil
	}
	s, err := scan(f, id, size, last, true)
	if err != nil {
		return err
	}
	r.Damage = append(r.Damage, s.damage...)
	r.Messages += s.messages
	if r.Next == 0 && len(s.index.blocks) > 0 {
		r.First = s.index.blocks[0].first
	}
	r.Next = max(r.Next, s.index.next)
	return nil
}

// Dump writes every chunk in the directory dir, which no broker may have open,
// in a form to be read by people: a line each for stream and segment and,
// indented, for each chunk and message.
func Dump(fsys vfs.FS, dir string, w io.Writer) error {
	return walk(fsys, dir, func(queue uint32, found []foundSegment, st *Store) error {
		if _, err := fmt.Fprintf(w, "stream of queue %d: %d segments\n", queue, len(found)); err != nil {
			return err
		}
		for i := range found {
			if err := st.dumpSegment(&found[i], w); err != nil {
				return err
			}
		}
		return nil
	})
}

func (st *Store) dumpSegment(found *foundSegment, w io.Writer) error {
	f, err := st.fs.OpenFile(st.path(baseName(found.queue, found.first))+segmentSuffix, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	id, size, err := readHeader(f, found)
	if err != nil {
		_, err = fmt.Fprintf(w, " segment from offset %d: %v\n", found.first, err)
		return err
	}
	fmt.Fprintf(w, " segment from offset %d: %d bytes\n", found.first, size)
	s := newScanner(f, id, size)
	for at := int64(headerBytes); at < size && s.err == nil; {
		c, ok := s.chunkAt(at)
		if !ok {
			from := at
			for at += alignment; at < size && s.err == nil; at += alignment {
				if _, ok = s.chunkAt(at); ok {
					break
				}
			}
			fmt.Fprintf(w, "  %d bytes at %d that are no chunk\n", min(at, size)-from, from)
			continue
		}
		if _, err := fmt.Fprintf(w, "  chunk at %d: %d bytes, offsets %d to %d, on disk below %d, arrived from %d to %d, filter %d bytes\n",
			at, c.length, c.first, c.next()-1, c.synced, c.baseMS, c.lastMS, c.filter); err != nil {
			return err
		}
		_, data, ok := c.content(s.bytes(at, int(c.length)))
		ms, decoded := appendDecoded(nil, &c, data)
		if !ok || !decoded {
			fmt.Fprintf(w, "   messages are not what was written\n")
		}
		for i := range ms {
			m := ms[i].Message
			fmt.Fprintf(w, "   %d: exchange %q key %q arrived %d", ms[i].Offset, m.Exchange, m.RoutingKey, m.ArrivedMS)
			if ms[i].HasFilter {
				fmt.Fprintf(w, " filter %q", ms[i].Filter)
			}
			fmt.Fprintf(w, ", %d bytes of properties, body %d\n", len(m.Encoded), len(m.Body))
		}
		at += int64(c.length)
	}
	return s.err
}

// Backup makes a copy of the store in the directory dst, which is made if need
// be. It must be taken after that of the log: what the log lets go of meanwhile
// is in the streams then. Segments that do not change any more get a second
// name, or are copied to another file system.
func (st *Store) Backup(dst string) error {
	if err := st.fs.MkdirAll(dst, 0o700); err != nil {
		return fmt.Errorf("backup of streams: %w", err)
	}
	st.mu.Lock()
	streams := slices.Collect(maps.Keys(st.mu.streams))
	st.mu.Unlock()
	for _, s := range streams {
		if err := s.backup(dst); err != nil {
			return fmt.Errorf("backup of streams: %w", err)
		}
	}
	if err := st.fs.SyncDir(dst); err != nil {
		return fmt.Errorf("backup of streams: %w", err)
	}
	return nil
}

func (s *Stream) backup(dst string) error {
	copies, err := s.holdFiles(dst)
	for _, c := range copies {
		if err == nil {
			err = s.store.copyFile(c.from, c.to, c.n)
		}
		c.from.Close()
	}
	return err
}

// toCopy is a file that has to be copied: its first n bytes. It may have lost
// its name.
type toCopy struct {
	from vfs.File
	to   string
	n    int64
}

// holdFiles gives a second name to what does not change any more and opens the
// rest. Nothing is written or removed meanwhile.
func (s *Stream) holdFiles(dst string) (copies []toCopy, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	segments := slices.Clone(s.mu.segments)
	s.mu.Unlock()
	hold := func(from, to string, n int64) error {
		if n < 0 {
			if err := s.store.fs.Link(from, to); err == nil || errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		f, err := s.store.fs.OpenFile(from, os.O_RDONLY, 0)
		if err != nil {
			return err
		}
		if n < 0 {
			if n, err = f.Size(); err != nil {
				return errors.Join(err, f.Close())
			}
		}
		copies = append(copies, toCopy{f, to, n})
		return nil
	}
	for i, g := range segments {
		to := filepath.Join(dst, filepath.Base(g.name))
		if i == len(segments)-1 {
			return copies, hold(g.path(), to+segmentSuffix, g.index.end)
		}
		if err := hold(g.path(), to+segmentSuffix, -1); err != nil {
			return copies, err
		}
		if err := hold(g.indexPath(), to+indexSuffix, -1); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return copies, err
		}
	}
	return copies, nil
}

// copyFile copies the first n bytes of in.
func (st *Store) copyFile(in vfs.File, to string, n int64) error {
	out, err := st.fs.Create(to)
	if err != nil {
		return err
	}
	buf := make([]byte, min(n, 256<<10))
	for at := int64(0); at < n && err == nil; {
		var got int
		got, err = in.ReadAt(buf[:min(int64(len(buf)), n-at)], at)
		if got > 0 {
			_, err = out.WriteAt(buf[:got], at)
			at += int64(got)
		}
	}
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("copy %s to %s: %w", in.Name(), to, err)
	}
	return nil
}
