package stomp

import (
	"net"
	"strconv"

	"leveret/core"
)

// The kinds of rows that operators see. A connection has one channel, as
// RabbitMQ shows it: its consumers hang on that.
const (
	RowConnection = "connection"
	RowChannel    = "channel"
)

// MeterName is what the meter is called that counts what STOMP clients do.
const MeterName = "stomp"

type rows struct{ connection, channel *core.Row }

// rowName is what operators call the connection.
func (c *conn) rowName() string { return c.peer + " -> " + c.nc.LocalAddr().String() }

// scope names what the consumers hang on.
func (c *conn) scope() string { return c.rowName() + " (1)" }

// addRows shows the connection to operators.
func (c *conn) addRows() {
	r := c.srv.broker.Registry()
	c.rows.connection = r.Add(core.RowOptions{
		Kind: RowConnection, Name: c.session.Name(), Session: c.session,
		Attributes: c.attributes, Counters: c.trafficCounters, Traffic: c.traffic,
		Close: func(reason string) { c.force(reason, forcedWithin) },
	})
	c.rows.channel = r.Add(core.RowOptions{
		Kind: RowChannel, Name: c.scope(), Session: c.session, Parent: c.rows.connection,
		Attributes: c.channelAttributes, Counters: c.channelCounters,
	})
}

func (c *conn) removeRows() {
	for _, r := range [...]*core.Row{c.rows.channel, c.rows.connection} {
		if r != nil {
			r.Remove()
		}
	}
	c.rows = rows{}
}

// protocol is what RabbitMQ calls it.
func (c *conn) protocol() string {
	if c.web != nil {
		return "Web STOMP " + c.version.String()
	}
	return "STOMP " + c.version.String()
}

// attributes uses what is fixed once the client has logged in.
func (c *conn) attributes() map[string]any {
	host, port := hostPort(c.nc.LocalAddr())
	peerHost, peerPort := hostPort(c.nc.RemoteAddr())
	state := "running"
	if c.paused.Load() {
		state = "blocked"
	}
	return map[string]any{
		"protocol": c.protocol(), "type": "network", "state": state, "user": c.user.Name, "vhost": c.vhost,
		"host": host, "port": port, "peer_host": peerHost, "peer_port": peerPort, "ssl": c.secure(),
		"channels": 1, "channel_max": 1, "frame_max": 0, "timeout": c.beat.receiveMS.Load() / 1000,
		"auth_mechanism": "STOMP login", "connected_at": c.since.UnixMilli(),
		"client_properties": map[string]any{"product": "STOMP client"}, "user_provided_name": "",
	}
}

// traffic is what the connection received and sent, in bytes.
func (c *conn) traffic() (received, sent uint64) {
	return uint64(c.in.Received()), uint64(c.out.Written())
}

func (c *conn) trafficCounters() map[string]uint64 {
	return map[string]uint64{"recv_oct": uint64(c.in.Received()), "send_oct": uint64(c.out.Written())}
}

func (c *conn) channelAttributes() map[string]any {
	c.confirms.mu.Lock()
	unconfirmed := len(c.confirms.entries) - c.confirms.head
	c.confirms.mu.Unlock()
	return map[string]any{
		"number": 1, "state": "running", "user": c.user.Name, "vhost": c.vhost,
		"prefetch_count": 0, "global_prefetch_count": 0,
		"messages_unacknowledged": c.outstanding(), "messages_unconfirmed": unconfirmed,
		"messages_uncommitted": 0, "acks_uncommitted": 0,
		"confirm": true, "transactional": c.counters.transactions.Load() > 0,
		"consumer_count": c.counters.subscriptions.Load(),
	}
}

func (c *conn) channelCounters() map[string]uint64 {
	c.out.Lock()
	defer c.out.Unlock()
	return map[string]uint64{
		"publish": c.counters.published.Load(), "return_unroutable": c.counters.unroutable.Load(),
		"deliver_get": c.counters.delivered, "ack": c.counters.acked,
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
