package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Window reads a file from the front to the back through a buffer.
type Window struct {
	file   io.ReaderAt
	size   int64
	data   []stretch // Where there may be other bytes than zeros, ascending.
	mapped bool      // data has been asked for.
	buf    []byte    // What lies at offset at.
	at     int64
	err    error
}

type stretch struct{ from, to int64 }

const (
	windowBytes = 256 << 10
	// stretchesMax bounds what is asked of a file system about one file.
	stretchesMax = 64
)

// Sparse is what a file may be beside an io.ReaderAt: it knows where nothing was
// ever written. NextData returns the next stretch at or behind offset that may
// hold other bytes than zeros; twice the file's size if there is none.
type Sparse interface {
	NextData(offset int64) (from, to int64, err error)
}

// NewWindow returns a Window over the first size bytes of file.
func NewWindow(file io.ReaderAt, size int64) *Window { return &Window{file: file, size: size} }

// Size is how many bytes there are.
func (w *Window) Size() int64 { return w.size }

// Err is the first error of reading, nil if there was none. What could not be
// read counts as not there.
func (w *Window) Err() error { return w.err }

// Bytes returns n bytes from offset, or as many as there are. They are good
// until the next call.
func (w *Window) Bytes(offset, n int64) []byte {
	n = min(n, w.size-offset)
	if n <= 0 {
		return nil
	}
	if offset < w.at || offset+n > w.at+int64(len(w.buf)) {
		w.fill(offset, n)
	}
	b := w.buf[min(offset-w.at, int64(len(w.buf))):]
	return b[:min(n, int64(len(b)))]
}

// fill reads n bytes at offset, and some behind them. It does not read ahead into
// what was never written: that takes time, and what the system has then cached
// looks written to whoever asks next.
func (w *Window) fill(offset, n int64) {
	if !w.mapped {
		w.mapData()
	}
	if s := w.stretchAt(offset); s.from <= offset {
		n = max(n, min(windowBytes, s.to-offset))
	}
	if int64(cap(w.buf)) < n {
		w.buf = make([]byte, max(n, min(windowBytes, w.size)))
	}
	w.buf, w.at = w.buf[:n], offset
	got, err := w.file.ReadAt(w.buf, offset)
	w.buf = w.buf[:got]
	if err != nil && !errors.Is(err, io.EOF) && w.err == nil {
		w.err = err
	}
}

// mapData asks where there is anything, before reading changes the answer.
func (w *Window) mapData() {
	w.mapped = true
	sparse, ok := w.file.(Sparse)
	for at := int64(0); at < w.size; {
		s := stretch{at, w.size}
		if ok && len(w.data) < stretchesMax {
			if from, to, err := sparse.NextData(at); err == nil && from >= at && (to > from || from >= w.size) {
				s = stretch{from, to}
			}
		}
		if s.from >= w.size {
			return
		}
		w.data = append(w.data, s)
		at = s.to
	}
}

// stretchAt returns the first stretch that ends behind offset; one that is empty
// and lies at the end if there is none.
func (w *Window) stretchAt(offset int64) stretch {
	for _, s := range w.data {
		if offset < s.to {
			return s
		}
	}
	return stretch{w.size, w.size}
}

// Found is a group in a segment.
type Found struct {
	Group
	Offset int64
}

// End is where f ends.
func (f *Found) End() int64 { return f.Offset + int64(f.Length) }

// GroupAt returns the group that begins at offset, if one does.
func (w *Window) GroupAt(id Identity, offset int64) (Found, bool) {
	g, ok := ParseGroup(w.Bytes(offset, GroupBytes), id, offset)
	if !ok || offset+int64(g.Length) > w.size {
		return Found{}, false
	}
	return Found{Group: g, Offset: offset}, true
}

// Search returns the first group at or behind offset whose number is at least
// number. What was never written is passed over: that is most of the segment
// that was being filled.
func (w *Window) Search(id Identity, offset int64, number uint64) (Found, bool) {
	if !w.mapped {
		w.mapData()
	}
	for offset = Pad(offset); offset+GroupBytes <= w.size; {
		s := w.stretchAt(offset)
		if s.to-offset <= groupSegmentAt {
			offset = Pad(s.to) // What counts of a header here is zero.
			continue
		}
		// A group's header is not zero behind its first four bytes.
		offset = max(offset, s.from&^(alignment-1))
		b := w.Bytes(offset, GroupBytes)
		if len(b) < GroupBytes {
			return Found{}, false
		}
		b = w.buf[offset-w.at:]
		i := 0
		for ; ; i += alignment {
			if i = nextNumber(b, i, id.Number); i+GroupBytes > len(b) {
				break
			}
			at := offset + int64(i)
			if g, ok := ParseGroup(b[i:], id, at); ok && g.Number >= number && at+int64(g.Length) <= w.size {
				return Found{Group: g, Offset: at}, true
			}
		}
		offset += int64(i)
	}
	return Found{}, false
}

// nextNumber returns the next i, in steps of alignment, where the header of a
// group of segment number may begin in b. There is room for none behind i if
// there is none. It looks at 16 places at a time: what a recycled file held before
// is searched at the speed of reading it.
func nextNumber(b []byte, i int, number uint32) int {
	const at, many = groupSegmentAt, 16 * alignment
	for ; i+at+many <= len(b); i += many {
		c := (*[many]byte)(b[i+at:])
		found := false
		for k := 0; k < many; k += 4 * alignment {
			found = found || binary.LittleEndian.Uint32(c[k:]) == number ||
				binary.LittleEndian.Uint32(c[k+alignment:]) == number ||
				binary.LittleEndian.Uint32(c[k+2*alignment:]) == number ||
				binary.LittleEndian.Uint32(c[k+3*alignment:]) == number
		}
		if found {
			break
		}
	}
	for ; i+GroupBytes <= len(b); i += alignment {
		if binary.LittleEndian.Uint32(b[i+at:]) == number {
			break
		}
	}
	return i
}

// Records calls fn with the records of f that are good and their offsets, until
// fn returns false. bad, unless nil, is called with each stretch that is not;
// what is good behind it is found again, whatever of a header is damaged. A
// record is good only during the call.
func (w *Window) Records(id Identity, f *Found, fn func(r *Record, offset int64) bool, bad func(offset, length int64, err error)) {
	offset, end := f.Offset+GroupBytes, f.End()
	effort := resyncEffort * int64(f.Length)
	for offset+RecordBytes <= end {
		r, err := w.recordAt(id, offset, end)
		if err == nil {
			if !fn(&r, offset) {
				return
			}
			offset += Pad(int64(RecordBytes + len(r.Data)))
			continue
		}
		next := w.nextRecord(id, offset, end, &effort)
		if bad != nil {
			bad(offset, next-offset, err)
		}
		offset = next
	}
}

// recordAt reads the record at offset, which ends at end or before it.
func (w *Window) recordAt(id Identity, offset, end int64) (Record, error) {
	length := int64(0)
	if head := w.Bytes(offset, RecordBytes); len(head) == RecordBytes {
		length = RecordLength(head)
	}
	if length < RecordBytes || offset+length > end {
		return Record{}, fmt.Errorf("record of length %d: %w", length, ErrCorrupt)
	}
	return ParseRecord(w.Bytes(offset, length), id, offset)
}

// resyncEffort bounds how often the bytes of a group are summed while good
// records are looked for in it: bodies may be made to look like headers.
const resyncEffort = 64

// nextRecord returns where the first good record behind the bad one at offset
// begins, or end. Effort is what may be summed until then.
func (w *Window) nextRecord(id Identity, offset, end int64, effort *int64) int64 {
	good := func(at int64) bool {
		head := w.Bytes(at, RecordBytes)
		if len(head) < RecordBytes {
			return false
		}
		length := RecordLength(head)
		if kind := head[8]; kind == 0 || kind > kindMax || length < RecordBytes || at+length > end || *effort < length {
			return false
		}
		*effort -= length
		_, err := ParseRecord(w.Bytes(at, length), id, at)
		return err == nil
	}
	// Mostly its length is right.
	if head := w.Bytes(offset, RecordBytes); len(head) == RecordBytes {
		if at := offset + Pad(RecordLength(head)); at > offset && at+RecordBytes <= end && good(at) {
			return at
		}
	}
	for at := offset + alignment; at+RecordBytes <= end; at += alignment {
		if good(at) {
			return at
		}
	}
	return end
}

// Verify reports whether every record of f is good.
func (w *Window) Verify(id Identity, f *Found) bool {
	good, bad := uint32(0), false
	w.Records(id, f, func(*Record, int64) bool { good++; return true }, func(int64, int64, error) { bad = true })
	return !bad && good == f.Records
}
