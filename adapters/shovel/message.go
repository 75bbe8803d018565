package shovel

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"leveret/core"
)

// message is one message on its way. Nobody but the shovel holds it.
type message struct {
	*core.Message
	tag         uint64 // The source's own: a delivery tag, or a core.Seq.
	redelivered bool
	offset      int64 // In the stream that it comes from; -1 if that is none.
	// expiresMS is when its own expiration ends it, where the source knows when
	// it came; 0 if not.
	expiresMS int64

	sentTo, sentKey string // Exchange and key that a remote destination got it with.

	done   bool // The destination has said what became of it.
	failed error
}

// size is about what a message takes.
func (m *message) size() int { return len(m.Body) + len(m.Encoded) + 512 }

// headerStreamOffset tells consumers of a stream where a message stands. It is
// the queue's, not the message's.
const headerStreamOffset = "x-stream-offset"

// takeOffset removes the header of a message that comes from a stream.
func (m *message) takeOffset() {
	p := m.Properties()
	if v, ok := p.Headers.Get(headerStreamOffset); ok {
		if n, ok := core.Integer(v); ok {
			m.offset = n
			changed := *p
			changed.Headers = p.Headers.Without(headerStreamOffset)
			m.SetProperties(&changed)
		}
	}
}

// fromDelivery makes a message of what a remote broker delivered. What the wire
// can say and the library cannot (an empty string that is there, priority 0, the
// order of headers) is not kept; no client that we know of tells them apart.
func fromDelivery(d *amqp.Delivery) *message {
	p := &core.Properties{
		ContentType: d.ContentType, ContentEncoding: d.ContentEncoding, DeliveryMode: d.DeliveryMode,
		CorrelationID: present(d.CorrelationId), ReplyTo: present(d.ReplyTo), Expiration: present(d.Expiration),
		MessageID: present(d.MessageId), Type: present(d.Type), UserID: present(d.UserId), AppID: present(d.AppId),
	}
	if d.Headers != nil {
		p.Headers, p.HeadersSet = fromTable(d.Headers), true
		// A quorum queue adds it to what it delivers again; it counts there.
		if d.Redelivered {
			p.Headers = p.Headers.Without("x-delivery-count").Without("x-acquired-count")
		}
	}
	if d.Priority != 0 {
		p.Priority = &d.Priority
	}
	if !d.Timestamp.IsZero() {
		t := core.Timestamp(d.Timestamp.Unix())
		p.Timestamp = &t
	}
	m := &message{Message: &core.Message{Exchange: d.Exchange, RoutingKey: d.RoutingKey, Body: d.Body}, tag: d.DeliveryTag, redelivered: d.Redelivered, offset: -1}
	m.SetProperties(p)
	m.takeOffset()
	return m
}

func present(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// toPublishing is m as a remote broker gets it. What remains of its time to live
// is all that it gets there, where that is known.
func (m *message) toPublishing(nowMS int64) amqp.Publishing {
	p := m.Properties()
	out := amqp.Publishing{
		ContentType: p.ContentType, ContentEncoding: p.ContentEncoding, DeliveryMode: p.DeliveryMode,
		CorrelationId: text(p.CorrelationID), ReplyTo: text(p.ReplyTo), Expiration: text(p.Expiration),
		MessageId: text(p.MessageID), Type: text(p.Type), UserId: text(p.UserID), AppId: text(p.AppID), Body: m.Body,
	}
	if m.expiresMS != 0 {
		out.Expiration = strconv.FormatInt(max(m.expiresMS-nowMS, 0), 10)
	}
	if p.Priority != nil {
		out.Priority = *p.Priority
	}
	if p.Timestamp != nil {
		out.Timestamp = p.Timestamp.Time()
	}
	if len(p.Headers) > 0 || p.HeadersSet {
		out.Headers = toTable(p.Headers)
	}
	return out
}

func fromTable(t amqp.Table) core.Table {
	out := make(core.Table, 0, len(t))
	for k, v := range t {
		out = append(out, core.Field{Name: k, Value: fromValue(v)})
	}
	return out
}

func fromValue(v any) any {
	switch v := v.(type) {
	case amqp.Table:
		return fromTable(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = fromValue(v[i])
		}
		return out
	case time.Time:
		return core.Timestamp(v.Unix())
	case amqp.Decimal:
		return core.Decimal{Scale: v.Scale, Value: uint32(v.Value)}
	}
	return v
}

func toTable(t core.Table) amqp.Table {
	out := make(amqp.Table, len(t))
	for _, f := range t {
		if _, ok := out[f.Name]; !ok { // The first of a name wins.
			out[f.Name] = toValue(f.Value)
		}
	}
	return out
}

func toValue(v any) any {
	switch v := v.(type) {
	case core.Table:
		return toTable(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = toValue(v[i])
		}
		return out
	case core.Timestamp:
		return v.Time()
	case core.Decimal:
		return amqp.Decimal{Scale: v.Scale, Value: int32(v.Value)}
	}
	return v
}

// rewrite says what a shovel changes in messages that pass through.
type rewrite struct {
	shovelled  core.Table // To be put in front of x-shovelled; nil for nothing.
	timestamp  bool
	properties map[string]any
}

func (r *rewrite) none() bool { return r.shovelled == nil && !r.timestamp && len(r.properties) == 0 }

// apply changes m.
func (r *rewrite) apply(m *message, nowMS int64) {
	p := *m.Properties()
	if r.shovelled != nil {
		before, _ := p.Headers.Get("x-shovelled")
		list, _ := before.([]any)
		p.Headers, p.HeadersSet = p.Headers.With("x-shovelled", append([]any{r.shovelled}, list...)), true
	}
	if r.timestamp {
		p.Headers, p.HeadersSet = p.Headers.With("x-shovelled-timestamp", nowMS/1000), true
	}
	for name, v := range r.properties {
		if setProperty(&p, name, v) == nil && name == "expiration" {
			if ms, ok := expiration(&p); ok {
				m.expiresMS = nowMS + ms
			}
		}
	}
	m.SetProperties(&p)
}

// expiration reads a message's own time to live.
func expiration(p *core.Properties) (ms int64, ok bool) {
	if p.Expiration == nil {
		return 0, false
	}
	ms, err := strconv.ParseInt(*p.Expiration, 10, 64)
	return ms, err == nil && ms >= 0
}

// setProperty sets a property by the name that publish-properties have it under.
func setProperty(p *core.Properties, name string, v any) error {
	s, isText := v.(string)
	n, isNumber := int64(0), false
	if j, ok := v.(json.Number); ok {
		i, err := j.Int64()
		n, isNumber = i, err == nil && i >= 0
	}
	texts := map[string]**string{
		"correlation_id": &p.CorrelationID, "reply_to": &p.ReplyTo, "expiration": &p.Expiration, "message_id": &p.MessageID,
		"type": &p.Type, "user_id": &p.UserID, "app_id": &p.AppID, "cluster_id": &p.ClusterID,
	}
	at, known := texts[name]
	switch {
	case known || name == "content_type" || name == "content_encoding":
		if !isText || len(s) > math.MaxUint8 {
			return fmt.Errorf("%s should be binary, actually was %s", name, erlang(v))
		}
	case name == "delivery_mode" || name == "priority":
		if !isNumber || n > math.MaxUint8 {
			return fmt.Errorf("%s should be number, actually was %s", name, erlang(v))
		}
	case name == "timestamp":
		if !isNumber {
			return fmt.Errorf("%s should be number, actually was %s", name, erlang(v))
		}
	case name != "headers":
		return fmt.Errorf("unknown property %s", erlang(name))
	}
	switch name {
	case "content_type":
		p.ContentType, p.ContentTypeSet = s, true
	case "content_encoding":
		p.ContentEncoding, p.ContentEncodingSet = s, true
	case "delivery_mode":
		p.DeliveryMode = uint8(n)
	case "priority":
		v := uint8(n)
		p.Priority = &v
	case "timestamp":
		t := core.Timestamp(n)
		p.Timestamp = &t
	case "headers":
		raw, err := json.Marshal(v)
		var t core.Table
		if err == nil {
			err = t.UnmarshalJSON(raw)
		}
		if err != nil {
			return fmt.Errorf("headers should be a JSON object, actually was %s", erlang(v))
		}
		p.Headers, p.HeadersSet = t, true
	default:
		*at = &s
	}
	return nil
}
