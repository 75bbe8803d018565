package amqp

import (
	"encoding/binary"
	"unsafe"

	"leveret/adapters/amqp/wire"
	"leveret/core"
)

func init() { core.RegisterForm(core.FormAMQP091, propertyCodec{}) }

// propertyCodec translates property flags and list, as they travel behind the
// body size of a content header, into core's properties and back.
type propertyCodec struct{}

// DecodeProperties fails for bytes that wire.ScanProperties refuses.
func (propertyCodec) DecodeProperties(b []byte) (*core.Properties, error) {
	w, err := wire.ParseProperties(b)
	if err != nil {
		return nil, err
	}
	p := &core.Properties{
		ContentType:        w.ContentType,
		ContentEncoding:    w.ContentEncoding,
		Headers:            tableFromWire(w.Headers),
		DeliveryMode:       w.DeliveryMode,
		ContentTypeSet:     w.Flags&wire.FlagContentType != 0,
		ContentEncodingSet: w.Flags&wire.FlagContentEncoding != 0,
		HeadersSet:         w.Flags&wire.FlagHeaders != 0,
	}
	text := func(flag uint16, s string) *string {
		if w.Flags&flag == 0 {
			return nil
		}
		return &s
	}
	p.CorrelationID = text(wire.FlagCorrelationID, w.CorrelationID)
	p.ReplyTo = text(wire.FlagReplyTo, w.ReplyTo)
	p.Expiration = text(wire.FlagExpiration, w.Expiration)
	p.MessageID = text(wire.FlagMessageID, w.MessageID)
	p.Type = text(wire.FlagType, w.Type)
	p.UserID = text(wire.FlagUserID, w.UserID)
	p.AppID = text(wire.FlagAppID, w.AppID)
	p.ClusterID = text(wire.FlagClusterID, w.ClusterID)
	if w.Flags&wire.FlagPriority != 0 {
		p.Priority = &w.Priority
	}
	if w.Flags&wire.FlagTimestamp != 0 {
		t := core.Timestamp(w.Timestamp)
		p.Timestamp = &t
	}
	return p, nil
}

// AppendProperties cuts strings to the 255 bytes that AMQP has room for.
func (propertyCodec) AppendProperties(dst []byte, p *core.Properties) []byte {
	w := wire.Properties{
		ContentType:     p.ContentType,
		ContentEncoding: p.ContentEncoding,
		Headers:         tableToWire(p.Headers),
		DeliveryMode:    p.DeliveryMode,
	}
	set := func(is bool, flag uint16) {
		if is {
			w.Flags |= flag
		}
	}
	text := func(flag uint16, s *string) string {
		if s == nil {
			return ""
		}
		w.Flags |= flag
		return *s
	}
	set(p.ContentTypeSet, wire.FlagContentType)
	set(p.ContentEncodingSet, wire.FlagContentEncoding)
	set(p.HeadersSet, wire.FlagHeaders)
	w.CorrelationID = text(wire.FlagCorrelationID, p.CorrelationID)
	w.ReplyTo = text(wire.FlagReplyTo, p.ReplyTo)
	w.Expiration = text(wire.FlagExpiration, p.Expiration)
	w.MessageID = text(wire.FlagMessageID, p.MessageID)
	w.Type = text(wire.FlagType, p.Type)
	w.UserID = text(wire.FlagUserID, p.UserID)
	w.AppID = text(wire.FlagAppID, p.AppID)
	w.ClusterID = text(wire.FlagClusterID, p.ClusterID)
	if p.Priority != nil {
		w.Flags |= wire.FlagPriority
		w.Priority = *p.Priority
	}
	if p.Timestamp != nil {
		w.Flags |= wire.FlagTimestamp
		w.Timestamp = wire.Timestamp(*p.Timestamp)
	}
	return wire.AppendProperties(dst, &w)
}

// tableFromWire turns a table of the codec into one of core's, in place: t must
// not be used any more. Fields are the same in both; only tables, decimals and
// timestamps among the values are of other types.
func tableFromWire(t wire.Table) core.Table {
	if len(t) == 0 {
		return nil
	}
	out := unsafe.Slice((*core.Field)(unsafe.Pointer(unsafe.SliceData(t))), len(t))
	for i := range out {
		switch out[i].Value.(type) {
		case wire.Table, wire.Decimal, wire.Timestamp, []any:
			out[i].Value = valueFromWire(out[i].Value)
		}
	}
	return out
}

// The two kinds of field must have the same layout.
var _ = core.Field(wire.Field{})

func valueFromWire(v any) any {
	switch v := v.(type) {
	case wire.Table:
		return tableFromWire(v)
	case wire.Decimal:
		return core.Decimal(v)
	case wire.Timestamp:
		return core.Timestamp(v)
	case []any:
		for i := range v {
			v[i] = valueFromWire(v[i])
		}
	}
	return v
}

// tableToWire is the inverse of tableFromWire.
func tableToWire(t core.Table) wire.Table {
	if t == nil {
		return nil
	}
	out := make(wire.Table, len(t))
	for i, f := range t {
		out[i] = wire.Field{Name: f.Name, Value: valueToWire(f.Value)}
	}
	return out
}

func valueToWire(v any) any {
	switch v := v.(type) {
	case core.Table:
		return tableToWire(v)
	case core.Decimal:
		return wire.Decimal(v)
	case core.Timestamp:
		return wire.Timestamp(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = valueToWire(v[i])
		}
		return out
	}
	return v
}

// AddHeader is core.HeaderAdder: it puts one field more at the end of the
// table of headers, and makes one if there is none.
func (propertyCodec) AddHeader(dst, b []byte, name string, value int64) []byte {
	if len(b) < 2 {
		b = []byte{0, 0}
	}
	flags := binary.BigEndian.Uint16(b)
	at := 2
	for _, f := range [...]uint16{wire.FlagContentType, wire.FlagContentEncoding} {
		if flags&f != 0 {
			at += 1 + int(b[at])
		}
	}
	dst = binary.BigEndian.AppendUint16(dst, flags|wire.FlagHeaders)
	dst = append(dst, b[2:at]...)
	length := 0
	if flags&wire.FlagHeaders != 0 {
		length = int(binary.BigEndian.Uint32(b[at:]))
		at += 4
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(length+1+len(name)+1+8))
	dst = append(dst, b[at:at+length]...)
	dst = append(append(dst, byte(len(name))), name...)
	dst = binary.BigEndian.AppendUint64(append(dst, 'l'), uint64(value))
	return append(dst, b[at+length:]...)
}
