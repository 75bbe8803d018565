package mqtt

import (
	"bytes"
	"encoding/binary"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"leveret/adapters/mqtt/wire"
	"leveret/core"
)

func init() { core.RegisterForm(core.FormMQTT, propertyCodec{}) }

// What a message carries in core.FormMQTT:
//
//	 0        1                     (5)
//	+--------+---------------------+--------------------------------------+
//	| flags  | expiry, if it has   | properties of MQTT 5 that are handed |
//	|        | one: seconds, BE    | on unchanged, as on the wire         |
//	+--------+---------------------+--------------------------------------+
//
// Bits 0 and 1 of the flags are the QoS, as published.
const (
	flagQoS    = 3
	flagRetain = 1 << 2 // RETAIN was set when it was published.
	flagExpiry = 1 << 3 // A Message Expiry Interval follows.
)

// plain are the encodings without expiry and properties, by flags: what all
// messages of older clients have, and most of the others.
var plain = func() (p [8][]byte) {
	for i := range p {
		p[i] = []byte{byte(i)}
	}
	return p
}()

// encoded takes core.FormMQTT apart.
type encoded struct {
	flags  byte
	expiry uint32
	props  []byte
}

// splitEncoded reads b. What is not in this form is an empty message of QoS 0.
func splitEncoded(b []byte) (e encoded) {
	if len(b) == 0 {
		return e
	}
	e.flags, e.props = b[0], b[1:]
	if e.flags&flagExpiry != 0 {
		if len(e.props) < 4 {
			return encoded{}
		}
		e.expiry, e.props = binary.BigEndian.Uint32(e.props), e.props[4:]
	}
	return e
}

// propertyCodec translates core.FormMQTT into core's properties and back, as
// RabbitMQ maps MQTT 5 to AMQP 0-9-1.
type propertyCodec struct{}

// The headers that stand for what AMQP 0-9-1 has no property for.
const (
	headerReplyTo     = "x-reply-to-topic"
	headerCorrelation = "x-correlation-id"
)

// shortMax is what a short string of AMQP holds.
const shortMax = 255

// DecodeProperties is part of core.PropertyCodec.
func (propertyCodec) DecodeProperties(b []byte) (*core.Properties, error) {
	e := splitEncoded(b)
	parsed, err := wire.ParsePublishProps(e.props, false)
	if err != nil {
		return nil, err
	}
	p := &core.Properties{DeliveryMode: 1}
	if e.flags&flagQoS != 0 {
		p.DeliveryMode = 2
	}
	if e.flags&flagExpiry != 0 {
		ms := strconv.FormatInt(int64(e.expiry)*1000, 10)
		p.Expiration = &ms
	}
	if ct := parsed.ContentType; parsed.HasContentType && len(ct) <= shortMax && isASCII(ct) {
		p.ContentType, p.ContentTypeSet = string(ct), true
	}
	if parsed.Users > 0 {
		p.Headers = userHeaders(e.props, parsed.Users)
	}
	if parsed.Correlation != nil {
		id := string(parsed.Correlation)
		if len(id) <= shortMax && utf8.ValidString(id) {
			p.CorrelationID = &id
		} else {
			p.Headers = append(p.Headers, core.Field{Name: headerCorrelation, Value: []byte(id)})
		}
	}
	if parsed.ResponseTopic != nil {
		key := bytes.Clone(parsed.ResponseTopic)
		wire.KeyInPlace(key)
		p.Headers = append(p.Headers, core.Field{Name: headerReplyTo, Value: string(key)})
	}
	p.HeadersSet = len(p.Headers) > 0
	return p, nil
}

// userHeaders are user properties as headers: sorted, the first of a name, none
// with a name that AMQP has no room for.
func userHeaders(props []byte, n int) core.Table {
	t := make(core.Table, 0, n)
	seen := make(map[string]bool, n)
	wire.UserProperties(props, func(name, value []byte) {
		if len(name) > shortMax || seen[string(name)] {
			return
		}
		f := core.Field{Name: string(name), Value: string(value)}
		seen[f.Name] = true
		t = append(t, f)
	})
	sort.SliceStable(t, func(i, j int) bool { return t[i].Name < t[j].Name })
	return t
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// AppendProperties is part of core.PropertyCodec.
func (propertyCodec) AppendProperties(dst []byte, p *core.Properties) []byte {
	at := len(dst)
	dst = append(dst, 0)
	if p.DeliveryMode == 2 {
		dst[at] |= 1
	}
	if p.Expiration != nil {
		if ms, err := strconv.ParseInt(strings.TrimSpace(*p.Expiration), 10, 64); err == nil && ms >= 0 {
			dst[at] |= flagExpiry
			dst = binary.BigEndian.AppendUint32(dst, uint32(min((ms+999)/1000, 1<<32-1)))
		}
	}
	if p.ContentType != "" && wire.ValidString(p.ContentType) {
		dst = wire.AppendString(dst, wire.PropContentType, p.ContentType)
	}
	if key, ok := text(p.Headers, headerReplyTo); ok {
		if topic := wire.TopicOf(key); topic != "" && wire.ValidString(topic) && !strings.ContainsAny(topic, "+#") {
			dst = wire.AppendString(dst, wire.PropResponseTopic, topic)
		}
	}
	if p.CorrelationID != nil {
		dst = wire.AppendString(dst, wire.PropCorrelationData, *p.CorrelationID)
	} else if id, ok := text(p.Headers, headerCorrelation); ok {
		dst = wire.AppendString(dst, wire.PropCorrelationData, id)
	}
	for _, f := range p.Headers {
		if f.Name == headerReplyTo || f.Name == headerCorrelation || !wire.ValidString(f.Name) {
			continue
		}
		if s, ok := headerText(f.Value); ok {
			dst = wire.AppendUser(dst, f.Name, s)
		}
	}
	return dst
}

// text is a header that is a string or bytes.
func text(t core.Table, name string) (string, bool) {
	v, _ := t.Get(name)
	switch v := v.(type) {
	case string:
		return v, true
	case []byte:
		return string(v), true
	}
	return "", false
}

// headerText says a header in a user property, if that can be.
func headerText(v any) (string, bool) {
	switch v := v.(type) {
	case nil:
		return "", true
	case string:
		return v, wire.ValidString(v)
	case bool:
		return strconv.FormatBool(v), true
	case float32:
		return strconv.FormatFloat(float64(v), 'g', -1, 32), true
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), true
	case core.Timestamp:
		return strconv.FormatInt(int64(v), 10), true
	}
	if n, ok := core.Integer(v); ok {
		return strconv.FormatInt(n, 10), true
	}
	return "", false
}

// propsCache is what the properties of a connection's last PUBLISH came to.
// Publishers tend to send the same bytes again: then nothing is looked at.
type propsCache struct {
	known  bool
	raw    []byte // As the client sent them.
	parsed wire.PublishProps
	// forwarded is what is handed on: expiry and properties, without flags.
	forwarded []byte
	flags     byte   // flagExpiry or 0.
	inArena   []byte // The whole encoding in the arena of the batch under way,
	arenaWith byte   // with these flags.
}

// rawMax bounds the properties that are remembered.
const rawMax = 1 << 10

// check reads the properties of a PUBLISH, or recognises them.
func (p *propsCache) check(props []byte) error {
	if p.known && bytes.Equal(p.raw, props) {
		return nil
	}
	p.known, p.inArena = false, nil
	p.raw = append(p.raw[:0], props...)
	parsed, err := wire.ParsePublishProps(p.raw, false)
	if err != nil {
		return err
	}
	p.parsed, p.flags, p.forwarded = parsed, 0, p.forwarded[:0]
	if parsed.HasExpiry {
		p.flags = flagExpiry
		p.forwarded = binary.BigEndian.AppendUint32(p.forwarded, parsed.Expiry)
	}
	p.forwarded = wire.AppendForwarded(p.forwarded, p.raw)
	p.known = len(props) <= rawMax
	return nil
}

// encode returns the encoding with flags in the arena of the batch.
func (p *propsCache) encode(b *batch, flags byte) []byte {
	flags |= p.flags
	if p.inArena != nil && p.arenaWith == flags {
		return p.inArena
	}
	at := len(b.arena)
	b.arena = append(append(b.arena, flags), p.forwarded...)
	p.inArena, p.arenaWith = b.arena[at:len(b.arena):len(b.arena)], flags
	return p.inArena
}
