package wire

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/go-stomp/stomp/v3/frame"
)

// Errors of the scanner: what follows in the stream cannot be understood.
var (
	ErrCommandTooLong = fmt.Errorf("a command is longer than %d bytes", CommandMax)
	ErrTooManyHeaders = errors.New("a frame has too many headers")
	ErrHeadersTooLong = errors.New("the headers of a frame are too long")
	ErrBodyTooLong    = errors.New("the body of a frame is too long")
	ErrNULInHeader    = errors.New("a NUL among the headers: the empty line behind them is missing")
	ErrCarriageReturn = errors.New("a carriage return without a line feed")
	ErrNoColon        = errors.New("a header without a colon")
	ErrNoName         = errors.New("a header without a name")
	ErrEscape         = errors.New("an escape that does not exist")
	ErrNotTerminated  = errors.New("the body is longer than its content-length")
)

// Limits bound what is taken of one frame.
type Limits struct {
	Headers     int // Lines.
	HeaderBytes int // Of command and headers with their line ends.
	Body        int64
}

// Scanner finds the parts of the frame at the beginning of a buffer, which may
// arrive in pieces: what was looked at once is not looked at again. It checks
// limits while bytes arrive and keeps offsets only, so the buffer may move.
//
// The zero value is ready; Reset makes it ready for the next frame.
type Scanner struct {
	Limits Limits

	Command       Command
	HeadLen       int   // Of command, headers and the empty line.
	ContentLength int64 // -1 if there is none.

	at       int // The line being looked for begins here.
	searched int // No line feed lies before it, from at on.
	commandN int // Length of the command.
	complete bool
	escapes  bool // There is a backslash among the headers.
	fields   []field
}

// field is where a header's name and value lie.
type field struct{ from, colon, to uint32 }

// keptFields is how many fields a Scanner keeps room for between frames.
const keptFields = 16

// Reset forgets the frame.
func (s *Scanner) Reset() {
	fields := s.fields[:0]
	if cap(fields) > keptFields {
		fields = nil
	}
	*s = Scanner{Limits: s.Limits, fields: fields}
}

// Skip returns how many bytes at the beginning of b stand between frames: line
// ends, and NULs as RabbitMQ allows them. A carriage return that b ends in may
// be one.
func Skip(b []byte) (int, error) {
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case 0, '\n':
		case '\r':
			if i+1 == len(b) {
				return i, nil
			}
			if b[i+1] != '\n' {
				return i, ErrCarriageReturn
			}
		default:
			return i, nil
		}
	}
	return len(b), nil
}

// Head looks for the end of the headers of the frame that b begins with. False
// means that more bytes are needed.
func (s *Scanner) Head(b []byte) (bool, error) {
	for !s.complete {
		i := bytes.IndexByte(b[s.searched:], '\n')
		if i < 0 {
			return false, s.incomplete(b)
		}
		end := s.searched + i
		if err := s.line(b, end); err != nil {
			if e := checkHead(b[:end+1]); e != nil {
				err = e // That is what was wrong first.
			}
			return false, err
		}
		s.at, s.searched = end+1, end+1
	}
	return true, nil
}

// incomplete checks what is there of a line.
func (s *Scanner) incomplete(b []byte) error {
	if bytes.IndexByte(b[s.searched:], 0) >= 0 {
		return ErrNULInHeader
	}
	s.searched = len(b)
	switch {
	case s.at == 0 && len(b) > CommandMax+1:
		return ErrCommandTooLong
	case len(b) > s.Limits.HeaderBytes:
		return ErrHeadersTooLong
	}
	return nil
}

// line takes the line from s.at to the line feed at end.
func (s *Scanner) line(b []byte, end int) error {
	if end >= s.Limits.HeaderBytes {
		return ErrHeadersTooLong
	}
	to := end
	if to > s.at && b[to-1] == '\r' {
		to--
	}
	l := b[s.at:to]
	switch {
	case s.at == 0:
		if len(l) > CommandMax {
			return ErrCommandTooLong
		}
		s.Command, s.commandN = commandOf(l), len(l)
		return nil
	case len(l) == 0:
		s.HeadLen = end + 1
		s.complete = true
		return s.endHead(b)
	case len(s.fields) == s.Limits.Headers:
		return ErrTooManyHeaders
	}
	colon := bytes.IndexByte(l, ':')
	if colon <= 0 {
		if colon < 0 {
			return ErrNoColon
		}
		return ErrNoName
	}
	s.fields = append(s.fields, field{uint32(s.at), uint32(s.at + colon), uint32(to)})
	return nil
}

// checkHead looks for bytes that no line may hold. head ends in a line feed.
func checkHead(head []byte) error {
	if bytes.IndexByte(head, 0) >= 0 {
		return ErrNULInHeader
	}
	if bytes.IndexByte(head, '\r') < 0 {
		return nil
	}
	for i, c := range head {
		if c == '\r' && head[i+1] != '\n' {
			return ErrCarriageReturn
		}
	}
	return nil
}

// endHead checks the headers as a whole.
func (s *Scanner) endHead(b []byte) error {
	head := b[:s.HeadLen]
	if err := checkHead(head); err != nil {
		return err
	}
	s.escapes = bytes.IndexByte(head, '\\') >= 0
	s.ContentLength = -1
	if v, ok := s.Raw(b, frame.ContentLength); ok {
		n, ok := number(v)
		if ok && n > s.Limits.Body {
			return ErrBodyTooLong
		}
		if ok {
			s.ContentLength = n
		}
	}
	return nil
}

// number reads a content-length: digits, with blanks around them. What is
// none is as good as no content-length. One that is too large for an int64 is
// the largest.
func number(b []byte) (int64, bool) {
	b = bytes.Trim(b, " ")
	if len(b) == 0 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n = n*10 + int64(c-'0'); n < 0 || n > 1<<58 {
			n = 1 << 58
		}
	}
	return n, true
}

// CommandText is the command as the client wrote it.
func (s *Scanner) CommandText(b []byte) string { return string(b[:s.commandN]) }

// Len is the number of headers.
func (s *Scanner) Len() int { return len(s.fields) }

// Name and Value are parts of header i, as they were sent.
func (s *Scanner) Name(b []byte, i int) []byte { f := &s.fields[i]; return b[f.from:f.colon] }

// Value is the other part.
func (s *Scanner) Value(b []byte, i int) []byte { f := &s.fields[i]; return b[f.colon+1 : f.to] }

// Raw returns the value of the first header called name, as it was sent. The
// name is one that nobody escapes.
func (s *Scanner) Raw(b []byte, name string) ([]byte, bool) {
	for i := range s.fields {
		f := &s.fields[i]
		if int(f.colon-f.from) == len(name) && string(b[f.from:f.colon]) == name {
			return b[f.colon+1 : f.to], true
		}
	}
	return nil, false
}

// Frame decodes the headers of a frame that is not a hot one. In version 1.0
// blanks in front of values are not part of them. The body is left out.
func (s *Scanner) Frame(b []byte, v Version) (*frame.Frame, error) {
	f := frame.New(s.CommandText(b))
	for i := range s.fields {
		name, ok := Unescape(s.Name(b, i), v)
		value, ok2 := Unescape(s.value(b, i, v), v)
		if !ok || !ok2 {
			return nil, ErrEscape
		}
		f.Header.Add(name, value)
	}
	return f, nil
}

// value is Value without the blanks that version 1.0 allows in front.
func (s *Scanner) value(b []byte, i int, v Version) []byte {
	if v == V10 {
		return bytes.TrimLeft(s.Value(b, i), " ")
	}
	return s.Value(b, i)
}

// Body finds the body of the frame whose head is complete, in b from HeadLen
// on. size is how long the whole frame is, with its NUL; 0 means that it has
// not all arrived.
func (s *Scanner) Body(b []byte) (body []byte, size int, err error) {
	rest := b[s.HeadLen:]
	if n := s.ContentLength; n >= 0 {
		if int64(len(rest)) <= n {
			return nil, 0, nil
		}
		if rest[n] != 0 {
			return nil, 0, ErrNotTerminated
		}
		return rest[:n], s.HeadLen + int(n) + 1, nil
	}
	i := bytes.IndexByte(rest, 0)
	if i < 0 {
		if int64(len(rest)) > s.Limits.Body {
			return nil, 0, ErrBodyTooLong
		}
		return nil, 0, nil
	}
	if int64(i) > s.Limits.Body {
		return nil, 0, ErrBodyTooLong
	}
	return rest[:i], s.HeadLen + i + 1, nil
}

// Fresh reports whether nothing of a frame has been looked at yet.
func (s *Scanner) Fresh() bool { return s.searched == 0 && !s.complete }
