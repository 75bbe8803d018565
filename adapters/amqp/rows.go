package amqp

import (
	"net"
	"strconv"
	"time"

	"leveret/core"
)

// The kinds of rows that operators see.
const (
	RowConnection = "connection"
	RowChannel    = "channel"
)

// MeterName is what the meter is called that counts what AMQP 0-9-1 clients do.
const MeterName = "amqp091"

// name is what operators call the connection.
func (c *conn) name() string { return c.peer + " -> " + c.nc.LocalAddr().String() }

// addRow shows the connection to operators.
func (c *conn) addRow() *core.Row {
	return c.srv.broker.Registry().Add(core.RowOptions{
		Kind: RowConnection, Name: c.session.Name(), Session: c.session,
		Attributes: c.attributes, Counters: c.counters, Traffic: c.traffic,
		Close: func(reason string) { c.force(reason, forcedWithin) },
	})
}

// attributes uses what is fixed once the connection is open, and counters.
func (c *conn) attributes() map[string]any {
	host, port := hostPort(c.nc.LocalAddr())
	peerHost, peerPort := hostPort(c.nc.RemoteAddr())
	state := "running"
	if c.paused.Load() {
		state = "blocked"
	}
	properties := jsonTable(c.client.properties)
	return map[string]any{
		"protocol": "AMQP 0-9-1", "type": "network", "state": state, "user": c.session.User().Name, "vhost": c.client.vhost,
		"host": host, "port": port, "peer_host": peerHost, "peer_port": peerPort, "ssl": c.secure(),
		"channels": c.channelCount.Load(), "channel_max": c.channelMax, "frame_max": c.frameMax, "timeout": c.heartbeat,
		"auth_mechanism": c.client.mechanism, "connected_at": c.since.UnixMilli(),
		"client_properties": properties, "user_provided_name": c.client.name,
	}
}

// traffic is what the connection received and sent, in bytes.
func (c *conn) traffic() (received, sent uint64) {
	return uint64(c.in.Received()), uint64(c.out.Written())
}

func (c *conn) counters() map[string]uint64 {
	return map[string]uint64{"recv_oct": uint64(c.in.Received()), "send_oct": uint64(c.out.Written())}
}

// addChannelRow shows a channel to operators.
func (c *conn) addChannelRow(ch *channel) *core.Row {
	return c.srv.broker.Registry().Add(core.RowOptions{
		Kind: RowChannel, Name: ch.scope(), Session: c.session, Parent: c.row,
		Attributes: ch.attributes, Counters: ch.counts,
	})
}

func (ch *channel) attributes() map[string]any {
	c := ch.conn
	c.out.Lock()
	unacked := ch.unacked.Count
	c.out.Unlock()
	c.confirms.mu.Lock()
	unconfirmed := uint64(0)
	if n := ch.counters.numbered.Load(); n > ch.tracker.sent {
		unconfirmed = n - ch.tracker.sent
	}
	c.confirms.mu.Unlock()
	return map[string]any{
		"number": ch.id, "state": "running", "user": c.session.User().Name, "vhost": c.client.vhost,
		"prefetch_count": ch.counters.prefetch.Load(), "global_prefetch_count": ch.counters.globalPrefetch.Load(),
		"messages_unacknowledged": unacked, "messages_unconfirmed": unconfirmed,
		"messages_uncommitted": ch.counters.txPublished.Load(), "acks_uncommitted": ch.counters.txAcked.Load(),
		"confirm": ch.counters.confirming.Load(), "transactional": ch.counters.tx.Load(),
		"consumer_count": ch.counters.consumers.Load(),
	}
}

func (ch *channel) counts() map[string]uint64 {
	ch.conn.out.Lock()
	defer ch.conn.out.Unlock()
	return map[string]uint64{
		"publish": ch.counters.published.Load(), "return_unroutable": ch.counters.returned.Load(),
		"deliver_get": ch.counters.delivered, "ack": ch.counters.acked,
	}
}

func hostPort(a net.Addr) (string, int) {
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String(), 0
	}
	n, _ := strconv.Atoi(port)
	return host, n
}

// jsonTable is t with values that JSON has.
func jsonTable(t core.Table) map[string]any {
	out := make(map[string]any, len(t))
	for i := len(t) - 1; i >= 0; i-- { // The first of a name wins.
		out[t[i].Name] = jsonValue(t[i].Value)
	}
	return out
}

func jsonValue(v any) any {
	switch v := v.(type) {
	case core.Table:
		return jsonTable(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = jsonValue(v[i])
		}
		return out
	case []byte:
		return string(v)
	case core.Timestamp:
		return v.Time().UTC().Format(time.RFC3339)
	case core.Decimal:
		return map[string]any{"scale": v.Scale, "value": v.Value}
	}
	return v
}
