package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Window reads a file from the front to the back through a buffer.
type Window struct {
	file io.ReaderAt
	size int64
	buf  []byte // What lies at offset at.
	at   int64
	err  error
}

const windowBytes = 256 << 10

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
		w.fill(offset, min(max(n, windowBytes), w.size-offset))
	}
	b := w.buf[min(offset-w.at, int64(len(w.buf))):]
	return b[:min(n, int64(len(b)))]
}

func (w *Window) fill(offset, n int64) {
	if int64(cap(w.buf)) < n {
		w.buf = make([]byte, n)
	}
	w.buf, w.at = w.buf[:n], offset
	got, err := w.file.ReadAt(w.buf, offset)
	w.buf = w.buf[:got]
	if err != nil && !errors.Is(err, io.EOF) && w.err == nil {
		w.err = err
	}
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
// number.
func (w *Window) Search(id Identity, offset int64, number uint64) (Found, bool) {
	for offset = Pad(offset); offset+GroupBytes <= w.size; offset += alignment {
		b := w.Bytes(offset, windowBytes)
		if len(b) < GroupBytes {
			return Found{}, false
		}
		i := 0
		for ; i+GroupBytes <= len(b); i += alignment {
			if binary.LittleEndian.Uint32(b[i+24:]) != id.Number {
				continue
			}
			at := offset + int64(i)
			if g, ok := ParseGroup(b[i:], id, at); ok && g.Number >= number && at+int64(g.Length) <= w.size {
				return Found{Group: g, Offset: at}, true
			}
		}
		offset += int64(i) - alignment
	}
	return Found{}, false
}

// Records calls fn with the records of f that are good and their offsets, until
// fn returns false. bad, unless nil, is called with each stretch that is not.
// A record is good only during the call.
func (w *Window) Records(id Identity, f *Found, fn func(r *Record, offset int64) bool, bad func(offset, length int64, err error)) {
	offset, end := f.Offset+GroupBytes, f.End()
	for n := uint32(0); offset+RecordBytes <= end; n++ {
		head := w.Bytes(offset, RecordBytes)
		var length int64
		if len(head) == RecordBytes {
			length = RecordLength(head)
		}
		if length < RecordBytes || offset+length > end {
			if bad != nil {
				bad(offset, end-offset, fmt.Errorf("record of length %d: %w", length, ErrCorrupt))
			}
			return
		}
		r, err := ParseRecord(w.Bytes(offset, length), id, offset)
		if err == nil {
			if !fn(&r, offset) {
				return
			}
		} else if bad != nil {
			bad(offset, length, err)
		}
		offset += Pad(length)
	}
}

// Verify reports whether every record of f is good.
func (w *Window) Verify(id Identity, f *Found) bool {
	good, bad := uint32(0), false
	w.Records(id, f, func(*Record, int64) bool { good++; return true }, func(int64, int64, error) { bad = true })
	return !bad && good == f.Records
}
