package meta

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
)

// record is one record of buntdb's file, in the form in which buntdb writes it:
//
//	*3 $3 set $<n> <key> $<n> <value>       each item behind CR LF
//	*2 $3 del $<n> <key>
type record struct {
	offset int64
	length int64
	delete bool
	key    []byte // key and value are valid until the next record is read.
	value  []byte
}

var (
	setHead = []byte("*3\r\n$3\r\nset\r\n$")
	delHead = []byte("*2\r\n$3\r\ndel\r\n$")
)

const headLength = 14 // Of both.

type parseResult uint8

const (
	parsed    parseResult = iota
	parseMore             // It may be a record if more bytes follow.
	parseBad
)

// parseRecord reads the record at the start of b. limit is how many bytes the
// file has from there. It allocates nothing.
func parseRecord(b []byte, limit int64) (r record, result parseResult) {
	head := b[:min(len(b), headLength)]
	switch {
	case bytes.HasPrefix(setHead, head):
	case bytes.HasPrefix(delHead, head):
		r.delete = true
	default:
		return r, parseBad
	}
	if len(head) < headLength {
		return r, parseMore
	}
	at := headLength
	r.key, at, result = parseItem(b, at, limit)
	if result != parsed {
		return r, result
	}
	if !r.delete {
		if at >= len(b) {
			return r, parseMore
		}
		if b[at] != '$' {
			return r, parseBad
		}
		if r.value, at, result = parseItem(b, at+1, limit); result != parsed {
			return r, result
		}
	}
	r.length = int64(at)
	return r, parsed
}

// parseItem reads "<n> CR LF <n bytes> CR LF" at b[at:].
func parseItem(b []byte, at int, limit int64) (item []byte, end int, result parseResult) {
	n, start := int64(0), at
	for ; at < len(b) && b[at] >= '0' && b[at] <= '9'; at++ {
		n = n*10 + int64(b[at]-'0')
		if n > limit || at > start && b[start] == '0' {
			return nil, 0, parseBad
		}
	}
	switch {
	case at == len(b):
		return nil, 0, parseMore
	case at == start || b[at] != '\r' || at+1 < len(b) && b[at+1] != '\n':
		return nil, 0, parseBad
	}
	at += 2
	if int64(at)+n+2 > limit {
		return nil, 0, parseBad
	}
	if int64(len(b)) < int64(at)+n+2 {
		return nil, 0, parseMore
	}
	end = at + int(n)
	if b[end] != '\r' || b[end+1] != '\n' {
		return nil, 0, parseBad
	}
	return b[at:end], end + 2, parsed
}

func appendSet(dst []byte, key, value string) []byte {
	return appendItem(append(appendItem(append(dst, setHead...), key), '$'), value)
}

func appendItem(dst []byte, s string) []byte {
	dst = strconv.AppendInt(dst, int64(len(s)), 10)
	dst = append(dst, '\r', '\n')
	dst = append(dst, s...)
	return append(dst, '\r', '\n')
}

// setLength is how long the record of a key and value is in the file.
func setLength(key, value string) int64 {
	return int64(headLength + 1 + decimals(len(key)) + decimals(len(value)) + len(key) + len(value) + 8)
}

func decimals(n int) int {
	d := 1
	for ; n >= 10; n /= 10 {
		d++
	}
	return d
}

// recordReader reads a file of records from the start.
type recordReader struct {
	in   io.ReaderAt
	name string
	size int64

	window []byte // What of the file is in memory: from offset start.
	start  int64
	at     int64 // Where the next record begins.
}

const windowBytes = 1 << 20

func newRecordReader(in io.ReaderAt, name string, size int64) *recordReader {
	return &recordReader{in: in, name: name, size: size}
}

// fill brings at least one byte more from at on into memory, if the file has any.
func (r *recordReader) fill() error {
	have := r.window[r.at-r.start:]
	want := max(windowBytes, 2*len(have))
	want = int(min(int64(want), r.size-r.at))
	if cap(r.window) >= want {
		r.window = r.window[:want]
	} else {
		old := have
		r.window = make([]byte, want)
		copy(r.window, old)
		have = r.window[:len(old)]
	}
	n := copy(r.window, have)
	r.start = r.at
	if _, err := r.in.ReadAt(r.window[n:], r.start+int64(n)); err != nil {
		return fmt.Errorf("read %s at %d: %w", r.name, r.start+int64(n), err)
	}
	return nil
}

// next returns the record at the current place; ok is false if there is none,
// and at is then where it should be. A record that is there is passed.
func (r *recordReader) next() (rec record, ok bool, err error) {
	for r.at < r.size {
		b := r.window[r.at-r.start:]
		rec, result := parseRecord(b, r.size-r.at)
		switch {
		case result == parsed:
			rec.offset = r.at
			r.at += rec.length
			return rec, true, nil
		case result == parseBad || r.at+int64(len(b)) == r.size:
			return record{}, false, nil
		}
		if err := r.fill(); err != nil {
			return record{}, false, err
		}
	}
	return record{}, false, nil
}

// resync moves on to the next place behind the current one where a whole and
// undamaged record begins, or to the end.
func (r *recordReader) resync() error {
	r.at++
	for r.at < r.size {
		b := r.window[min(r.at-r.start, int64(len(r.window))):]
		i := bytes.IndexByte(b, '*')
		if i < 0 {
			r.at += int64(len(b))
			if r.at < r.size {
				r.window = r.window[:0]
				r.start = r.at
				if err := r.fill(); err != nil {
					return err
				}
			}
			continue
		}
		r.at += int64(i)
		candidate := r.at
		rec, ok, err := r.next()
		if err != nil {
			return err
		}
		r.at = candidate
		if ok && (rec.delete || checkSeal(rec.key, rec.value)) {
			return nil
		}
		r.at++
	}
	r.at = r.size
	return nil
}
