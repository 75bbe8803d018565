package wire

// The versions of the protocol, by the level that CONNECT carries.
const (
	V31  byte = 3
	V311 byte = 4
	V5   byte = 5
)

// The packet types.
const (
	Connect     byte = 1
	Connack     byte = 2
	Publish     byte = 3
	Puback      byte = 4
	Pubrec      byte = 5
	Pubrel      byte = 6
	Pubcomp     byte = 7
	Subscribe   byte = 8
	Suback      byte = 9
	Unsubscribe byte = 10
	Unsuback    byte = 11
	Pingreq     byte = 12
	Pingresp    byte = 13
	Disconnect  byte = 14
	Auth        byte = 15
)

var typeNames = [16]string{
	"reserved", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP",
	"SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH",
}

// TypeName is the name of a packet type.
func TypeName(t byte) string { return typeNames[t&15] }

// MaxLength is the largest remaining length that can be encoded.
const MaxLength = 268435455

// HeaderMax is the most bytes that a fixed header takes.
const HeaderMax = 5

var (
	errLength     = malformed("remaining length takes more than four bytes")
	errLongLength = malformed("remaining length is not encoded in the fewest bytes")
	errFlags      = malformed("reserved flags of the fixed header")
	errQoS3       = malformed("QoS 3")
	errDup        = violation("DUP without QoS")
	errType0      = malformed("packet type 0")
)

// Header is a fixed header (2.1).
type Header struct {
	First  byte // Type and flags.
	Length int  // Remaining length.
	Size   int  // Bytes the header itself takes.
}

// Type is the packet's type.
func (h Header) Type() byte { return h.First >> 4 }

// QoS is a PUBLISH's QoS.
func (h Header) QoS() byte { return h.First >> 1 & 3 }

// Retain is a PUBLISH's retain flag.
func (h Header) Retain() bool { return h.First&1 != 0 }

// Dup is a PUBLISH's DUP flag.
func (h Header) Dup() bool { return h.First&8 != 0 }

// ParseHeader reads the fixed header at the beginning of b. A Size of 0 means
// that it is not complete. Its flags are checked (2.2.2-2, 3.3.1-2, 3.3.1-4).
func ParseHeader(b []byte) (Header, error) {
	if len(b) == 0 {
		return Header{}, nil
	}
	h := Header{First: b[0]}
	switch h.Type() {
	case Publish:
		if h.QoS() == 3 {
			return h, errQoS3
		}
		if h.Dup() && h.QoS() == 0 {
			return h, errDup
		}
	case Pubrel, Subscribe, Unsubscribe:
		if h.First&15 != 2 {
			return h, errFlags
		}
	case 0:
		return h, errType0
	default:
		if h.First&15 != 0 {
			return h, errFlags
		}
	}
	n, used, err := varint(b[1:])
	if used == 0 || err != nil {
		return h, err
	}
	h.Length, h.Size = n, 1+used
	return h, nil
}

// varint reads a variable byte integer (1.5.5). 0 used bytes mean that it is
// not complete.
func varint(b []byte) (n, used int, err error) {
	for i := 0; i < 4; i++ {
		if i == len(b) {
			return 0, 0, nil
		}
		n |= int(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			if i > 0 && b[i] == 0 {
				return 0, i + 1, errLongLength
			}
			return n, i + 1, nil
		}
	}
	return 0, 4, errLength
}

// appendVarint appends n, which is at most MaxLength.
func appendVarint(dst []byte, n int) []byte {
	for n >= 0x80 {
		dst = append(dst, byte(n)|0x80)
		n >>= 7
	}
	return append(dst, byte(n))
}

// varintSize is how many bytes appendVarint appends.
func varintSize(n int) int {
	switch {
	case n < 1<<7:
		return 1
	case n < 1<<14:
		return 2
	case n < 1<<21:
		return 3
	}
	return 4
}

// AppendHeader appends a fixed header.
func AppendHeader(dst []byte, first byte, length int) []byte {
	return appendVarint(append(dst, first), length)
}

// AppendEmpty appends a packet without a body: PINGREQ, PINGRESP, DISCONNECT.
func AppendEmpty(dst []byte, typ byte) []byte { return append(dst, typ<<4, 0) }
