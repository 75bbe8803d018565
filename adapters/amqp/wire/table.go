package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Table is a field table in the order it was written in. Names may repeat;
// the first of them counts.
type Table []Field

// Field is one entry of a Table.
//
// Value has one of these types, each with the letter it travels under:
//
//	nil V         bool t        string S      []byte x     Timestamp T
//	int8 b        int16 s       int32 I       int64 l      Decimal D
//	uint8 B       uint16 u      uint32 i      float32 f    float64 d
//	Table F       []any A, whose elements are of these types again
//
// Decoding also knows L, a second letter for int64. It is never written:
// amqp091-go, the Java client and amqplib give up on it.
type Field struct {
	Name  string // At most 255 bytes; not checked to be UTF-8.
	Value any
}

// Decimal is Value divided by ten to the power of Scale.
type Decimal struct {
	Scale uint8
	Value uint32
}

// Timestamp is in seconds since 1970.
type Timestamp int64

// Get returns the value of the first field called name.
func (t Table) Get(name string) (value any, ok bool) {
	for i := range t {
		if t[i].Name == name {
			return t[i].Value, true
		}
	}
	return nil, false
}

// MaxTableDepth is how deep tables and arrays may be nested in a table. The
// protocol sets no bound, but whatever walks a table recurses, and no stack
// should be at a stranger's mercy.
const MaxTableDepth = 128

// Errors of tables. ErrTableDepth is an ErrTable too.
var (
	ErrTable      = errors.New("broken field table")
	ErrTableDepth = fmt.Errorf("%w: nested too deep", ErrTable)
)

// DecodeTable decodes the fields of a table without the length in front of
// them: what a PropInfo's Headers span covers, and what AMQPLAIN sends as its
// response. Nothing of the result aliases b. Empty tables, arrays and byte
// strings come out nil. Errors are ErrTable or ErrTableDepth. The result
// takes no more than a fixed multiple of len(b).
func DecodeTable(b []byte) (Table, error) {
	return decodeFields(b, 0)
}

func decodeFields(b []byte, depth int) (t Table, err error) {
	for len(b) > 0 {
		name, value, ok := splitName(b)
		if !ok {
			return nil, ErrTable
		}
		f := Field{Name: string(name)}
		if f.Value, b, err = decodeValue(value, depth); err != nil {
			return nil, err
		}
		t = append(t, f)
	}
	return t, nil
}

func decodeArray(b []byte, depth int) (a []any, err error) {
	for len(b) > 0 {
		var v any
		if v, b, err = decodeValue(b, depth); err != nil {
			return nil, err
		}
		a = append(a, v)
	}
	return a, nil
}

// decodeValue decodes the type letter and value that b begins with, and
// returns what follows them. depth counts the tables and arrays around them.
func decodeValue(b []byte, depth int) (v any, rest []byte, err error) {
	start, end := valueSpan(b)
	if end == 0 {
		return nil, nil, ErrTable
	}
	letter := b[0]
	b, rest = b[start:end], b[end:]
	switch letter {
	case 'V':
	case 't':
		v = b[0] != 0
	case 'b':
		v = int8(b[0])
	case 'B':
		v = b[0]
	case 's':
		v = int16(binary.BigEndian.Uint16(b))
	case 'u':
		v = binary.BigEndian.Uint16(b)
	case 'I':
		v = int32(binary.BigEndian.Uint32(b))
	case 'i':
		v = binary.BigEndian.Uint32(b)
	case 'l', 'L':
		v = int64(binary.BigEndian.Uint64(b))
	case 'f':
		v = math.Float32frombits(binary.BigEndian.Uint32(b))
	case 'd':
		v = math.Float64frombits(binary.BigEndian.Uint64(b))
	case 'D':
		v = Decimal{Scale: b[0], Value: binary.BigEndian.Uint32(b[1:])}
	case 'T':
		v = Timestamp(binary.BigEndian.Uint64(b))
	case 'S':
		v = string(b)
	case 'x':
		v = append([]byte(nil), b...)
	case 'F', 'A':
		if depth == MaxTableDepth {
			return nil, nil, ErrTableDepth
		}
		if letter == 'F' {
			v, err = decodeFields(b, depth+1)
		} else {
			v, err = decodeArray(b, depth+1)
		}
	}
	return v, rest, err
}

// valueSize holds for each type letter 1 plus the size of its values in
// bytes, or sizePrefixed; 0 says that there is no such type.
var valueSize = [256]uint8{
	'V': 1, 't': 2, 'b': 2, 'B': 2, 's': 3, 'u': 3, 'I': 5, 'i': 5, 'l': 9, 'L': 9,
	'f': 5, 'd': 9, 'D': 6, 'T': 9, 'S': sizePrefixed, 'x': sizePrefixed, 'F': sizePrefixed, 'A': sizePrefixed,
}

const sizePrefixed = 255 // A length of 4 bytes, then as many bytes.

// splitName cuts the field name off the beginning of b, which is not empty.
// At least one byte follows it if ok.
func splitName(b []byte) (name, rest []byte, ok bool) {
	end := 1 + int(b[0])
	if end >= len(b) {
		return nil, nil, false
	}
	return b[1:end], b[end:], true
}

// valueSpan finds the value behind the type letter that b begins with; b is
// not empty. The value is b[start:end], with exactly the bytes of that type,
// no length in front; what follows it is b[end:]. end is 0 if there is no
// such type or not as many bytes. Decoding and scanning both begin here, so
// that they accept the same. It must stay small enough to be inlined.
func valueSpan(b []byte) (start, end int) {
	size := int(valueSize[b[0]])
	if size == sizePrefixed {
		if len(b) < 5 {
			return 0, 0
		}
		if n := binary.BigEndian.Uint32(b[1:]); uint64(n) <= uint64(len(b)-5) {
			return 5, 5 + int(n)
		}
		return 0, 0
	}
	if size > len(b) {
		return 0, 0
	}
	return 1, size
}

// AppendTable appends t with its length in front. It panics on a value that
// has none of the types listed at Field, since only a bug here can bring one
// about, except that an int is taken and written as I or l, as amqp091-go
// does it. Names are cut to 255 bytes.
func AppendTable(dst []byte, t Table) []byte {
	at := len(dst)
	dst = AppendTableFields(append(dst, 0, 0, 0, 0), t)
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}

// AppendTableFields is AppendTable without the length.
func AppendTableFields(dst []byte, t Table) []byte {
	for i := range t {
		dst = appendShortstr(dst, t[i].Name)
		dst = appendValue(dst, t[i].Value)
	}
	return dst
}

func appendValue(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, 'V')
	case bool:
		return append(dst, 't', bit(v, 0))
	case int8:
		return append(dst, 'b', byte(v))
	case uint8:
		return append(dst, 'B', v)
	case int16:
		return binary.BigEndian.AppendUint16(append(dst, 's'), uint16(v))
	case uint16:
		return binary.BigEndian.AppendUint16(append(dst, 'u'), v)
	case int32:
		return binary.BigEndian.AppendUint32(append(dst, 'I'), uint32(v))
	case uint32:
		return binary.BigEndian.AppendUint32(append(dst, 'i'), v)
	case int64:
		return binary.BigEndian.AppendUint64(append(dst, 'l'), uint64(v))
	case int:
		if int(int32(v)) == v {
			return appendValue(dst, int32(v))
		}
		return appendValue(dst, int64(v))
	case float32:
		return binary.BigEndian.AppendUint32(append(dst, 'f'), math.Float32bits(v))
	case float64:
		return binary.BigEndian.AppendUint64(append(dst, 'd'), math.Float64bits(v))
	case Decimal:
		return binary.BigEndian.AppendUint32(append(dst, 'D', v.Scale), v.Value)
	case Timestamp:
		return binary.BigEndian.AppendUint64(append(dst, 'T'), uint64(v))
	case string:
		return appendLongstr(append(dst, 'S'), v)
	case []byte:
		return appendLongstr(append(dst, 'x'), v)
	case Table:
		return AppendTable(append(dst, 'F'), v)
	case []any:
		dst = append(dst, 'A', 0, 0, 0, 0)
		at := len(dst)
		for _, element := range v {
			dst = appendValue(dst, element)
		}
		binary.BigEndian.PutUint32(dst[at-4:], uint32(len(dst)-at))
		return dst
	}
	panic(fmt.Sprintf("wire: a field table cannot hold a %T", v))
}
