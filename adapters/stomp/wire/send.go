package wire

import (
	"bytes"

	"github.com/go-stomp/stomp/v3/frame"
)

// SendHead is what the headers of a SEND say, apart from those that are only
// handed on. Slices lie in the buffer scanned, as the client wrote them; nil
// means that the header is absent.
type SendHead struct {
	Destination []byte
	Receipt     []byte
	Transaction []byte
	Priority    []byte // A number from 0 to 255.
	Expiration  []byte
	ReplyTo     []byte
	UserID      []byte

	Persistent bool
	HasID      bool // message-id, which only the broker may set.
	Declares   bool // There are headers that say how to declare a queue.

	// Form is the canonical form of what is handed on.
	Form []byte
}

// Send reads the headers of a SEND of version v in one pass, and appends their
// canonical form to arena, which it returns. It allocates only if arena is too
// small, or for names that are reserved.
func (s *Scanner) Send(b []byte, v Version, arena []byte, h *SendHead) ([]byte, error) {
	*h = SendHead{}
	start := len(arena)
	var reserved []byte
	for i := range s.fields {
		name, value := s.Name(b, i), s.Value(b, i)
		if v == V10 {
			value = bytes.TrimLeft(value, " ")
		}
		if value == nil {
			value = []byte{}
		}
		if s.repeated(b, i) {
			if !validEscapes(value, v) {
				return arena, ErrEscape
			}
			continue
		}
		line := value
		switch string(name) {
		case frame.Destination:
			h.Destination, line = value, nil
		case frame.Receipt:
			h.Receipt, line = value, nil
		case frame.Transaction:
			h.Transaction, line = value, nil
		case frame.ContentLength:
			line = nil
		case frame.MessageId:
			h.HasID, line = true, nil
		case "persistent":
			h.Persistent, line = isTrue(value), nil
			if h.Persistent {
				line = trueText
			}
		case "priority":
			if n, ok := number(value); ok && n <= 255 {
				h.Priority = value
			} else {
				line = nil
			}
		case "timestamp":
			if _, ok := number(bytes.TrimPrefix(value, []byte("-"))); !ok {
				line = nil
			}
		case "expiration":
			h.Expiration = value
		case "reply-to":
			h.ReplyTo = value
		case "user-id":
			h.UserID = value
		case frame.Subscription, "ack", "redelivered":
			var ok, ok2 bool
			reserved, ok = appendCanonical(reserved, name, v)
			reserved, ok2 = appendCanonical(append(reserved, ':'), value, v)
			if !ok || !ok2 {
				return arena, ErrEscape
			}
			reserved = append(reserved, '\n')
			continue
		case "durable", "auto-delete", "exclusive":
			h.Declares = true
		default:
			h.Declares = h.Declares || len(name) > 2 && name[0] == 'x' && name[1] == '-'
		}
		if line == nil {
			if !validEscapes(value, v) {
				return arena, ErrEscape
			}
			continue
		}
		if !s.escapes && bytes.IndexByte(line, ':') < 0 {
			arena = append(append(append(append(arena, name...), ':'), line...), '\n')
			continue
		}
		var ok, ok2 bool
		arena, ok = appendCanonical(arena, name, v)
		arena, ok2 = appendCanonical(append(arena, ':'), line, v)
		if !ok || !ok2 {
			return arena, ErrEscape
		}
		arena = append(arena, '\n')
	}
	if reserved != nil {
		lines := bytes.Clone(arena[start:])
		arena = append(append(append(arena[:start], '\n'), reserved...), '\n')
		arena = append(arena, lines...)
	}
	h.Form = arena[start:len(arena):len(arena)]
	return arena, nil
}

var trueText = []byte("true")

// isTrue reads a flag as RabbitMQ does.
func isTrue(b []byte) bool { return string(b) == "true" || string(b) == "True" }

// validEscapes reports whether b has none but escapes that exist.
func validEscapes(b []byte, v Version) bool {
	for v != V10 {
		i := bytes.IndexByte(b, '\\')
		if i < 0 {
			break
		}
		if i+1 == len(b) || unescaped(b[i+1]) == 0 {
			return false
		}
		b = b[i+2:]
	}
	return true
}

// repeated reports whether a header of the same name came before header i.
func (s *Scanner) repeated(b []byte, i int) bool {
	f := &s.fields[i]
	n := f.colon - f.from
	for j := range s.fields[:i] {
		g := &s.fields[j]
		if g.colon-g.from == n && bytes.Equal(b[f.from:f.colon], b[g.from:g.colon]) {
			return true
		}
	}
	return false
}

// SettleHead is what an ACK or NACK says, as SendHead has it.
type SettleHead struct {
	ID          []byte // The header id, or in 1.0 and 1.1 message-id.
	Receipt     []byte
	Transaction []byte
	Requeue     []byte
}

// Settle reads the headers of an ACK or NACK of version v.
func (s *Scanner) Settle(b []byte, v Version, h *SettleHead) error {
	*h = SettleHead{}
	key := frame.Id
	if v != V12 {
		key = frame.MessageId
	}
	for i := range s.fields {
		name, value := s.Name(b, i), s.value(b, i, v)
		if value == nil {
			value = []byte{}
		}
		if s.escapes && !validEscapes(value, v) {
			return ErrEscape
		}
		var to *[]byte
		switch string(name) {
		case key:
			to = &h.ID
		case frame.Receipt:
			to = &h.Receipt
		case frame.Transaction:
			to = &h.Transaction
		case "requeue":
			to = &h.Requeue
		default:
			continue
		}
		if *to == nil {
			*to = value
		}
	}
	return nil
}
