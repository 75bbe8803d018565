package events

import (
	"strconv"
	"strings"

	"leveret/core"
)

// traceMessage is what the firehose publishes of a message: its body, and in the
// headers what it was and where it was seen.
func traceMessage(node string, t *core.Tapped) core.Announcement {
	m := t.Message
	connection, channel := placeOf(t)
	keys := t.Keys
	if t.Delivered {
		keys = []string{m.RoutingKey}
	}
	headers := core.Table{
		{Name: "exchange_name", Value: m.Exchange},
		{Name: "routing_keys", Value: list(keys)},
		{Name: "properties", Value: propertiesTable(m.Properties())},
		{Name: "node", Value: node},
		{Name: "vhost", Value: t.VHost},
		{Name: "connection", Value: connection},
		{Name: "channel", Value: channel},
		{Name: "user", Value: t.User},
	}
	key := "publish." + m.Exchange
	if t.Delivered {
		key = "deliver." + t.Queues[0]
		redelivered := int32(0)
		if t.Redelivered {
			redelivered = 1
		}
		headers = append(headers, core.Field{Name: "redelivered", Value: redelivered})
	} else {
		headers = append(headers, core.Field{Name: "routed_queues", Value: list(t.Queues)})
	}
	return core.Announcement{
		VHost: t.VHost, Exchange: core.TraceExchange, Key: key, Body: m.Body,
		Properties: &core.Properties{Headers: headers, HeadersSet: true},
	}
}

// placeOf is where a message came from or went to: a connection by its name, and
// the channel's number there, which adapters put in brackets behind it; 0 where
// there are none, or it is not known.
func placeOf(t *core.Tapped) (connection string, channel int32) {
	rest, found := strings.CutPrefix(t.Scope, t.Connection+" (")
	if found && strings.HasSuffix(rest, ")") {
		if n, err := strconv.ParseInt(rest[:len(rest)-1], 10, 32); err == nil {
			return t.Connection, int32(n)
		}
	}
	return t.Connection, 0
}

func list(ss []string) []any {
	out := make([]any, len(ss))
	for i, s := range ss {
		out[i] = s
	}
	return out
}

// propertiesTable has the properties that a message has, in RabbitMQ's types:
// all numbers are signed 32-bit ones.
func propertiesTable(p *core.Properties) core.Table {
	out := core.Table{}
	text := func(name string, s *string) {
		if s != nil {
			out = append(out, core.Field{Name: name, Value: *s})
		}
	}
	if p.ContentType != "" || p.ContentTypeSet {
		text("content_type", &p.ContentType)
	}
	if p.ContentEncoding != "" || p.ContentEncodingSet {
		text("content_encoding", &p.ContentEncoding)
	}
	if p.Headers != nil || p.HeadersSet {
		headers := p.Headers
		if headers == nil {
			headers = core.Table{}
		}
		out = append(out, core.Field{Name: "headers", Value: headers})
	}
	if p.DeliveryMode != 0 {
		out = append(out, core.Field{Name: "delivery_mode", Value: int32(p.DeliveryMode)})
	}
	if p.Priority != nil {
		out = append(out, core.Field{Name: "priority", Value: int32(*p.Priority)})
	}
	text("correlation_id", p.CorrelationID)
	text("reply_to", p.ReplyTo)
	text("expiration", p.Expiration)
	text("message_id", p.MessageID)
	if p.Timestamp != nil {
		// RabbitMQ cuts it to 32 bits, which ends in 2038.
		out = append(out, core.Field{Name: "timestamp", Value: int64(*p.Timestamp)})
	}
	text("type", p.Type)
	text("user_id", p.UserID)
	text("app_id", p.AppID)
	text("cluster_id", p.ClusterID)
	return out
}
