package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Method is a method of the protocol with its arguments. The types that
// implement it are pointers: *QueueDeclare, *BasicPublish. Reserved arguments
// ("ticket" and the like) are ignored when read and zero when written.
type Method interface {
	// ID is the class in the upper and the method in the lower 16 bits, one
	// of the constants IDConnectionStart and so on.
	ID() uint32

	// Append appends the payload of a method frame: class, method, arguments.
	// Short strings are cut to 255 bytes, before a rune rather than in it.
	Append(dst []byte) []byte

	decode(d *decoder)
}

// Errors of DecodeMethod. It may also return ErrTable and ErrTableDepth.
var (
	ErrArguments     = errors.New("method arguments too short or too long")
	ErrUTF8          = errors.New("malformed UTF-8 in shortstr")
	ErrUnknownMethod = errors.New("unknown method")
)

// MethodID returns class and method of a method frame's payload, as in
// Method.ID, and 0, which is no method, if the payload is too short.
func MethodID(payload []byte) uint32 {
	if len(payload) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(payload)
}

// ClassOf returns the class of a method id.
func ClassOf(id uint32) uint16 { return uint16(id >> 16) }

// MethodOf returns the method within its class of a method id.
func MethodOf(id uint32) uint16 { return uint16(id) }

// MethodName returns the name of a method as error texts print it,
// "queue.declare", or "50.99" if there is none with that id.
func MethodName(id uint32) string {
	if m, ok := methods[id]; ok {
		return m.name
	}
	return fmt.Sprintf("%d.%d", ClassOf(id), MethodOf(id))
}

// HasContent reports whether a header frame follows the method's frame.
func HasContent(id uint32) bool {
	switch id {
	case IDBasicPublish, IDBasicReturn, IDBasicDeliver, IDBasicGetOk:
		return true
	}
	return false
}

// DecodeMethod decodes the payload of a method frame, of either direction.
// Nothing of the result aliases payload. The error is, or wraps,
// ErrUnknownMethod, ErrArguments (too few bytes or some left over), ErrUTF8
// (in a short string, unless HasContent) or ErrTable. This is for the cold
// path; publish, deliver and the acks have parsers of their own.
func DecodeMethod(payload []byte) (Method, error) {
	if len(payload) < 4 {
		return nil, ErrArguments
	}
	id := MethodID(payload)
	kind, ok := methods[id]
	if !ok {
		return nil, fmt.Errorf("%w %s", ErrUnknownMethod, MethodName(id))
	}
	d := decoder{rest: payload[4:], anyBytes: HasContent(id)}
	m := kind.new()
	m.decode(&d)
	if d.err == nil && len(d.rest) > 0 {
		d.err = ErrArguments
	}
	if d.err != nil {
		return nil, fmt.Errorf("%s: %w", kind.name, d.err)
	}
	return m, nil
}

// decoder takes arguments off a payload. After the first error it yields
// zeros, so that only the end needs to ask.
type decoder struct {
	rest     []byte
	anyBytes bool // Short strings need not be UTF-8.
	err      error
}

// take returns the next n bytes, or nil if there are not as many.
func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.rest)) {
		d.fail(ErrArguments)
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.rest = nil
}

// octet also takes the bits of up to 8 adjacent flags; see bit.
func (d *decoder) octet() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) short() uint16 {
	if b := d.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (d *decoder) long() uint32 {
	if b := d.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (d *decoder) longlong() uint64 {
	if b := d.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) shortstr() string {
	b := d.take(uint64(d.octet()))
	if !d.anyBytes && !utf8.Valid(b) {
		d.fail(ErrUTF8)
	}
	return string(b)
}

func (d *decoder) longstr() []byte {
	return append([]byte(nil), d.take(uint64(d.long()))...)
}

func (d *decoder) table() Table {
	t, err := DecodeTable(d.take(uint64(d.long())))
	if err != nil {
		d.fail(err)
	}
	return t
}

// isSet reports whether bit n of flags is set. Adjacent flags of a method
// share an octet, the first of them at bit 0.
func isSet(flags byte, n uint) bool { return flags>>n&1 != 0 }

// bit is 1<<n if set, else 0.
func bit(set bool, n uint) byte {
	if set {
		return 1 << n
	}
	return 0
}

func appendID(dst []byte, id uint32) []byte { return binary.BigEndian.AppendUint32(dst, id) }

func appendShort(dst []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(dst, v) }

func appendLong(dst []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(dst, v) }

func appendLonglong(dst []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(dst, v) }

func appendShortstr(dst []byte, s string) []byte {
	if len(s) > shortstrMax {
		s = cutShortstr(s)
	}
	return append(append(dst, byte(len(s))), s...)
}

func appendLongstr[S string | []byte](dst []byte, s S) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(s))), s...)
}

const shortstrMax = 255

// cutShortstr returns the beginning of s that fits into a short string, with
// no rune cut in two.
func cutShortstr(s string) string {
	end := shortstrMax
	for end > shortstrMax-utf8.UTFMax+1 && !utf8.RuneStart(s[end]) {
		end--
	}
	if !utf8.RuneStart(s[end]) {
		end = shortstrMax // Not UTF-8 at all.
	}
	return s[:end]
}
