package perf

import "encoding/binary"

// Frame types, and the octet each frame ends with (AMQP 0-9-1, 4.2.3).
const (
	frameMethod    = 1
	frameHeader    = 2
	frameBody      = 3
	frameHeartbeat = 8
	frameEnd       = 0xCE

	frameHead     = 7 // Type, channel, size.
	frameOverhead = 8 // The same and the end octet.
)

// Methods that the generator sends or understands, class in the upper half.
const (
	connectionStart     = 10<<16 | 10
	connectionStartOK   = 10<<16 | 11
	connectionTune      = 10<<16 | 30
	connectionTuneOK    = 10<<16 | 31
	connectionOpen      = 10<<16 | 40
	connectionOpenOK    = 10<<16 | 41
	connectionClose     = 10<<16 | 50
	connectionCloseOK   = 10<<16 | 51
	connectionBlocked   = 10<<16 | 60
	connectionUnblocked = 10<<16 | 61
	channelOpen         = 20<<16 | 10
	channelOpenOK       = 20<<16 | 11
	channelFlow         = 20<<16 | 20
	channelFlowOK       = 20<<16 | 21
	channelClose        = 20<<16 | 40
	channelCloseOK      = 20<<16 | 41
	exchangeDeclare     = 40<<16 | 10
	exchangeDeclareOK   = 40<<16 | 11
	exchangeDelete      = 40<<16 | 20
	exchangeDeleteOK    = 40<<16 | 21
	queueDeclare        = 50<<16 | 10
	queueDeclareOK      = 50<<16 | 11
	queueBind           = 50<<16 | 20
	queueBindOK         = 50<<16 | 21
	queuePurge          = 50<<16 | 30
	queuePurgeOK        = 50<<16 | 31
	queueDelete         = 50<<16 | 40
	queueDeleteOK       = 50<<16 | 41
	basicQos            = 60<<16 | 10
	basicQosOK          = 60<<16 | 11
	basicConsume        = 60<<16 | 20
	basicConsumeOK      = 60<<16 | 21
	basicCancel         = 60<<16 | 30
	basicCancelOK       = 60<<16 | 31
	basicPublish        = 60<<16 | 40
	basicDeliver        = 60<<16 | 60
	basicAck            = 60<<16 | 80
	basicNack           = 60<<16 | 120
	confirmSelect       = 85<<16 | 10
	confirmSelectOK     = 85<<16 | 11
)

// longString is encoded with a length of 32 bits, a plain string with one of 8.
type longString string

// table is a field table; its values are bool, int64, string or table.
type table []field

type field struct {
	key   string
	value any
}

// appendMethod appends a method frame. The arguments' Go types are their wire
// types: byte, uint16, uint32, uint64, string, longString, table. Bits are
// packed into a byte by the caller.
func appendMethod(b []byte, channel uint16, method uint32, args ...any) []byte {
	start := len(b)
	b = appendFrameHead(b, frameMethod, channel)
	b = binary.BigEndian.AppendUint32(b, method)
	for _, arg := range args {
		b = appendValue(b, arg)
	}
	return endFrame(b, start)
}

func appendFrameHead(b []byte, kind byte, channel uint16) []byte {
	return append(b, kind, byte(channel>>8), byte(channel), 0, 0, 0, 0)
}

// endFrame completes the frame that begins at start.
func endFrame(b []byte, start int) []byte {
	binary.BigEndian.PutUint32(b[start+3:], uint32(len(b)-start-frameHead))
	return append(b, frameEnd)
}

func appendValue(b []byte, value any) []byte {
	switch v := value.(type) {
	case byte:
		return append(b, v)
	case uint16:
		return binary.BigEndian.AppendUint16(b, v)
	case uint32:
		return binary.BigEndian.AppendUint32(b, v)
	case uint64:
		return binary.BigEndian.AppendUint64(b, v)
	case string:
		return append(append(b, byte(len(v))), v...)
	case longString:
		return append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
	case table:
		start := len(b)
		b = append(b, 0, 0, 0, 0)
		for _, f := range v {
			b = appendValue(b, f.key)
			b = appendField(b, f.value)
		}
		binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4))
		return b
	}
	panic("perf: no wire form for this type")
}

// appendField appends a table's value with the letter of its type.
func appendField(b []byte, value any) []byte {
	switch v := value.(type) {
	case bool:
		if v {
			return append(b, 't', 1)
		}
		return append(b, 't', 0)
	case int64:
		return appendValue(append(b, 'l'), uint64(v))
	case string:
		return appendValue(append(b, 'S'), longString(v))
	case table:
		return appendValue(append(b, 'F'), v)
	}
	panic("perf: no field type for this type")
}

// cursor reads a method's arguments. After an overrun it yields zeros and bad
// is set.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n int) []byte {
	if n > len(c.b) {
		c.bad, c.b = true, nil
		return nil
	}
	t := c.b[:n]
	c.b = c.b[n:]
	return t
}

func (c *cursor) u8() byte {
	if t := c.take(1); t != nil {
		return t[0]
	}
	return 0
}

func (c *cursor) u16() uint16 {
	if t := c.take(2); t != nil {
		return binary.BigEndian.Uint16(t)
	}
	return 0
}

func (c *cursor) u32() uint32 {
	if t := c.take(4); t != nil {
		return binary.BigEndian.Uint32(t)
	}
	return 0
}

func (c *cursor) u64() uint64 {
	if t := c.take(8); t != nil {
		return binary.BigEndian.Uint64(t)
	}
	return 0
}

func (c *cursor) short() string { return string(c.take(int(c.u8()))) }

func (c *cursor) long() []byte { return c.take(int(c.u32())) }

// stringField returns the string under key in the encoded table t, which may
// hold values of other types too, or "".
func stringField(t []byte, key string) string {
	c := cursor{b: t}
	for len(c.b) > 0 && !c.bad {
		name := c.short()
		switch c.u8() {
		case 'S', 'x':
			if v := c.long(); name == key {
				return string(v)
			}
		case 'F', 'A':
			c.long()
		case 't', 'b', 'B':
			c.take(1)
		case 's', 'u':
			c.take(2)
		case 'I', 'i', 'f':
			c.take(4)
		case 'D':
			c.take(5)
		case 'l', 'L', 'd', 'T':
			c.take(8)
		case 'V':
		default:
			return ""
		}
	}
	return ""
}
