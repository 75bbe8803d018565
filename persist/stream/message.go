package stream

import (
	"encoding/binary"
	"unsafe"

	"leveret/core"
)

// Flags of a message. The upper four bits are its form.
const (
	flagPriority     = 1 << 0
	flagSameExchange = 1 << 1 // As the message before it in the chunk.
	flagSameKey      = 1 << 2
	flagFilter       = 1 << 3
)

// ownBodyBytes is the least body that consumers' connections may refer to
// instead of copying it. Blocks are never reused.
const ownBodyBytes = 16 << 10

// appendMessage appends s, which stands behind before in its chunk.
func appendMessage(dst []byte, s, before *core.StreamMessage, baseMS int64) []byte {
	m := s.Message
	form, properties := m.Stored(nil)
	flags := byte(form) << 4
	if m.HasPriority {
		flags |= flagPriority
	}
	if before != nil && before.Message.Exchange == m.Exchange {
		flags |= flagSameExchange
	}
	if before != nil && before.Message.RoutingKey == m.RoutingKey {
		flags |= flagSameKey
	}
	if s.HasFilter {
		flags |= flagFilter
	}
	var scratch [64]byte
	head := append(scratch[:0], flags)
	if m.HasPriority {
		head = append(head, m.Priority)
	}
	head = binary.AppendVarint(head, m.ArrivedMS-baseMS)
	n := len(head) + uvarintBytes(len(properties)) + len(properties) + len(m.Body)
	if flags&flagSameExchange == 0 {
		n += uvarintBytes(len(m.Exchange)) + len(m.Exchange)
	}
	if flags&flagSameKey == 0 {
		n += uvarintBytes(len(m.RoutingKey)) + len(m.RoutingKey)
	}
	if s.HasFilter {
		n += uvarintBytes(len(s.Filter)) + len(s.Filter)
	}
	dst = binary.AppendUvarint(dst, uint64(n))
	dst = append(dst, head...)
	if flags&flagSameExchange == 0 {
		dst = appendString(dst, m.Exchange)
	}
	if flags&flagSameKey == 0 {
		dst = appendString(dst, m.RoutingKey)
	}
	if s.HasFilter {
		dst = appendString(dst, s.Filter)
	}
	dst = binary.AppendUvarint(dst, uint64(len(properties)))
	dst = append(dst, properties...)
	return append(dst, m.Body...)
}

func uvarintBytes(n int) int {
	var b [binary.MaxVarintLen64]byte
	return binary.PutUvarint(b[:], uint64(n))
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// decoder takes values off b; bad is set, for good, when there are none.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) byte() byte {
	if b := d.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	b := d.b[:n:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

// sized takes bytes with their length before them.
func (d *decoder) sized() []byte { return d.bytes(d.uvarint()) }

// appendDecoded appends the messages of a chunk, whose bytes they alias. It
// appends none, and reports false, if data is not what appendMessage wrote.
func appendDecoded(dst []core.StreamMessage, c *chunk, data []byte) ([]core.StreamMessage, bool) {
	if uint64(c.count) > uint64(len(data)) {
		return dst, false
	}
	whole := len(dst)
	ms := make([]core.Message, c.count)
	d := decoder{b: data}
	exchange, key := "", ""
	for i := range ms {
		e := decoder{b: d.sized()}
		m := &ms[i]
		s := core.StreamMessage{Offset: c.first + uint64(i), Message: m}
		flags := e.byte()
		m.Form, m.Persistent = core.Form(flags>>4), true
		if m.HasPriority = flags&flagPriority != 0; m.HasPriority {
			m.Priority = e.byte()
		}
		m.ArrivedMS = c.baseMS + e.varint()
		if flags&flagSameExchange == 0 {
			exchange = string(e.sized()) // Core keeps it by reference.
		}
		if flags&flagSameKey == 0 {
			key = alias(e.sized())
		}
		m.Exchange, m.RoutingKey = exchange, key
		if s.HasFilter = flags&flagFilter != 0; s.HasFilter {
			s.Filter = alias(e.sized())
		}
		m.Encoded = e.sized()
		m.Body = e.b
		m.OwnBody = len(m.Body) >= ownBodyBytes
		if e.bad {
			d.bad = true
		}
		if d.bad {
			return dst[:whole], false
		}
		dst = append(dst, s)
	}
	if len(d.b) != 0 {
		return dst[:whole], false
	}
	return dst, true
}

func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
