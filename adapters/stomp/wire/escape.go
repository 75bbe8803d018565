package wire

import (
	"bytes"
	"strings"
)

// AppendEscaped appends s as a header's name or value in a frame of version v:
// in 1.1 and 1.2 line feed, carriage return, backslash and colon as \n, \r, \\
// and \c. (1.1 has no \r, but readers that take a bare carriage return for a
// piece of a line's end; RabbitMQ writes it too.)
//
// Version 1.0 knows no escapes; there only what would end the header is
// written so. A NUL cannot be said in any version and is left out.
func AppendEscaped[T ~string | ~[]byte](dst []byte, s T, v Version) []byte {
	from := 0
	for i := range len(s) {
		var e string
		switch s[i] {
		case '\n':
			e = `\n`
		case 0:
		case '\\':
			if v == V10 {
				continue
			}
			e = `\\`
		case ':':
			if v == V10 {
				continue
			}
			e = `\c`
		case '\r':
			e = `\r`
		default:
			continue
		}
		dst = append(append(dst, s[from:i]...), e...)
		from = i + 1
	}
	return append(dst, s[from:]...)
}

// unescaped returns what the escape \c stands for, 0 if nothing.
func unescaped(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 'c':
		return ':'
	case 'r':
		return '\r'
	case '\\':
		return '\\'
	}
	return 0
}

// AppendUnescaped appends what the bytes b of a header in a frame of version v
// say. It reports false if they hold an escape that does not exist: the whole
// frame is invalid then. \r is taken in 1.1 too.
func AppendUnescaped(dst, b []byte, v Version) ([]byte, bool) {
	for v != V10 {
		i := bytes.IndexByte(b, '\\')
		if i < 0 {
			break
		}
		if i+1 == len(b) {
			return dst, false
		}
		c := unescaped(b[i+1])
		if c == 0 {
			return dst, false
		}
		dst = append(append(dst, b[:i]...), c)
		b = b[i+2:]
	}
	return append(dst, b...), true
}

// Unescape is AppendUnescaped for a string of its own.
func Unescape(b []byte, v Version) (string, bool) {
	if v == V10 || bytes.IndexByte(b, '\\') < 0 {
		return string(b), true
	}
	out, ok := AppendUnescaped(make([]byte, 0, len(b)), b, v)
	return string(out), ok
}

// appendCanonical appends the bytes b of a header of version v as version 1.2
// has them. It reports false as AppendUnescaped does.
func appendCanonical(dst, b []byte, v Version) ([]byte, bool) {
	if v == V10 {
		return AppendEscaped(dst, b, V12), true
	}
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '\\':
			if i+1 == len(b) || unescaped(b[i+1]) == 0 {
				return dst, false
			}
			dst = append(dst, '\\', b[i+1])
			i++
		case ':':
			dst = append(dst, `\c`...)
		default:
			dst = append(dst, b[i])
		}
	}
	return dst, true
}

// AppendCanonicalLine appends the line of a header as the canonical form has it.
func AppendCanonicalLine(dst []byte, name, value string) []byte {
	dst = append(AppendEscaped(dst, name, V12), ':')
	return append(AppendEscaped(dst, value, V12), '\n')
}

// CanonicalLines calls line for each line of a canonical form, the reserved
// ones first, with name and value as they were meant.
func CanonicalLines(form []byte, line func(name, value string)) {
	for len(form) > 0 {
		l, rest, _ := bytes.Cut(form, []byte{'\n'})
		form = rest
		if len(l) == 0 {
			continue // Around the reserved ones.
		}
		name, value, _ := bytes.Cut(l, []byte{':'})
		n, _ := Unescape(name, V12)
		v, _ := Unescape(value, V12)
		line(n, v)
	}
}

// appendLines appends the headers of a canonical form to a frame of version v,
// without the reserved ones.
func appendLines(dst, form []byte, v Version) []byte {
	if len(form) > 0 && form[0] == '\n' {
		end := bytes.Index(form[1:], []byte("\n\n"))
		if end < 0 {
			return dst
		}
		form = form[1+end+2:]
	}
	if v != V10 || bytes.IndexByte(form, '\\') < 0 {
		return append(dst, form...)
	}
	// A colon in a name stays escaped: nothing else keeps name and value apart.
	inName := true
	for i := 0; i < len(form); i++ {
		switch c := form[i]; {
		case c == ':':
			inName = false
		case c == '\n':
			inName = true
		case c == '\\' && i+1 < len(form):
			i++
			switch c := form[i]; {
			case c == 'n', c == 'r', c == 'c' && inName:
				dst = append(dst, '\\', c)
			default:
				dst = append(dst, unescaped(c))
			}
			continue
		}
		dst = append(dst, form[i])
	}
	return dst
}

// Reserved reports whether MESSAGE frames have a header called name of their
// own, or frames of clients one that says nothing of the message.
func Reserved(name string) bool {
	switch name {
	case "subscription", "message-id", "ack", "redelivered", "destination", "content-length", "receipt", "transaction":
		return true
	}
	return false
}

// HasNUL reports whether s cannot be said in a header.
func HasNUL(s string) bool { return strings.IndexByte(s, 0) >= 0 }
