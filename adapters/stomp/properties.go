package stomp

import (
	"strconv"

	"leveret/adapters/stomp/wire"
	"leveret/core"
)

func init() { core.RegisterForm(core.FormSTOMP, propertyCodec{}) }

// propertyCodec translates header lines in the canonical form (see package
// wire) into core's properties and back.
type propertyCodec struct{}

// DecodeProperties never fails: what is not a property is a header.
func (propertyCodec) DecodeProperties(b []byte) (*core.Properties, error) {
	p := &core.Properties{}
	wire.CanonicalLines(b, func(name, value string) {
		text := func(to **string) { *to = &value }
		switch name {
		case "content-type":
			p.ContentType, p.ContentTypeSet = value, true
		case "content-encoding":
			p.ContentEncoding, p.ContentEncodingSet = value, true
		case "persistent":
			if value == "true" {
				p.DeliveryMode = 2
			}
		case "priority":
			if n, err := strconv.ParseUint(value, 10, 8); err == nil {
				priority := uint8(n)
				p.Priority = &priority
			}
		case "timestamp":
			if n, err := strconv.ParseInt(value, 10, 64); err == nil {
				t := core.Timestamp(n)
				p.Timestamp = &t
			}
		case "correlation-id":
			text(&p.CorrelationID)
		case "reply-to":
			// Queues are called by their names elsewhere.
			if len(value) > len(prefixReply) && value[:len(prefixReply)] == prefixReply {
				value = value[len(prefixReply):]
			}
			text(&p.ReplyTo)
		case "expiration":
			text(&p.Expiration)
		case "amqp-message-id":
			text(&p.MessageID)
		case "type":
			text(&p.Type)
		case "user-id":
			text(&p.UserID)
		case "app-id":
			text(&p.AppID)
		default:
			p.Headers = append(p.Headers, core.Field{Name: name, Value: value})
		}
	})
	p.HeadersSet = len(p.Headers) > 0
	return p, nil
}

// AppendProperties leaves out headers that STOMP cannot say: those whose value
// is no text, number or truth, that hold a NUL, and what a MESSAGE has of its
// own or is the name of a property.
func (propertyCodec) AppendProperties(dst []byte, p *core.Properties) []byte {
	line := func(name, value string) {
		if !wire.HasNUL(name) && !wire.HasNUL(value) {
			dst = wire.AppendCanonicalLine(dst, name, value)
		}
	}
	text := func(name string, s *string) {
		if s != nil {
			line(name, *s)
		}
	}
	if p.ContentTypeSet || p.ContentType != "" {
		line("content-type", p.ContentType)
	}
	if p.ContentEncodingSet || p.ContentEncoding != "" {
		line("content-encoding", p.ContentEncoding)
	}
	if p.DeliveryMode == 2 {
		line("persistent", "true")
	}
	if p.Priority != nil {
		line("priority", strconv.Itoa(int(*p.Priority)))
	}
	text("correlation-id", p.CorrelationID)
	if p.ReplyTo != nil {
		if to := *p.ReplyTo; to != "" && !hasPrefix(to) {
			line("reply-to", prefixReply+to)
		} else {
			line("reply-to", to)
		}
	}
	text("expiration", p.Expiration)
	text("amqp-message-id", p.MessageID)
	if p.Timestamp != nil {
		line("timestamp", strconv.FormatInt(int64(*p.Timestamp), 10))
	}
	text("type", p.Type)
	text("user-id", p.UserID)
	text("app-id", p.AppID)
	for i, f := range p.Headers {
		value, ok := headerText(f.Value)
		if !ok || f.Name == "" || wire.Reserved(f.Name) || isProperty(f.Name) {
			continue
		}
		if first, _ := p.Headers[:i].Get(f.Name); first != nil {
			continue
		}
		line(f.Name, value)
	}
	return dst
}

// headerText is a header's value as text.
func headerText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case []byte:
		return string(v), true
	case bool:
		return strconv.FormatBool(v), true
	case core.Timestamp:
		return strconv.FormatInt(int64(v), 10), true
	}
	if n, ok := core.Integer(v); ok {
		return strconv.FormatInt(n, 10), true
	}
	return "", false
}

// isProperty reports whether a header called name would be taken for a
// property of the message.
func isProperty(name string) bool {
	switch name {
	case "content-type", "content-encoding", "persistent", "priority", "timestamp", "correlation-id", "reply-to",
		"expiration", "amqp-message-id", "type", "user-id", "app-id":
		return true
	}
	return false
}
