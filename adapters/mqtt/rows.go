package mqtt

import (
	"strconv"

	"leveret/adapters/mqtt/wire"
	"leveret/core"
)

// RowConnection is the kind of rows that operators see for connections.
const RowConnection = "connection"

// protocolNames are what operators read.
var protocolNames = map[byte]string{wire.V31: "MQTT 3.1.0", wire.V311: "MQTT 3.1.1", wire.V5: "MQTT 5.0"}

// meterNames are what the meters are called that count what clients do.
var meterNames = map[byte]string{wire.V31: "mqtt310", wire.V311: "mqtt311", wire.V5: "mqtt50"}

// addRow shows the connection to operators.
func (c *conn) addRow() *core.Row {
	return c.srv.broker.Registry().Add(core.RowOptions{
		Kind: RowConnection, Name: c.session.Name(), Session: c.session,
		Attributes: c.attributes, Counters: c.counters, Traffic: c.traffic,
		Close: func(reason string) { c.force(&failure{wire.AdministrativeAction, reason}) },
	})
}

// attributes uses what is fixed once the connection is open, and what is
// guarded.
func (c *conn) attributes() map[string]any {
	host, port := hostPort(c.nc.LocalAddr())
	peerHost, peerPort := hostPort(c.nc.RemoteAddr())
	state := "running"
	if c.paused.Load() {
		state = "blocked"
	}
	c.out.Lock()
	unacked, filters := c.underOut.ring.live, len(c.underOut.filters.byName)
	c.out.Unlock()
	name := protocolNames[c.version]
	if c.ws {
		name = "Web " + name
	}
	return map[string]any{
		"protocol": name, "type": "network", "state": state, "user": c.session.User().Name, "vhost": c.client.vhost,
		"host": host, "port": number(port), "peer_host": peerHost, "peer_port": number(peerPort), "ssl": c.secure(),
		"channels": 0, "channel_max": 0, "frame_max": 0, "timeout": c.client.keepAlive,
		"auth_mechanism": "MQTT", "connected_at": c.since.UnixMilli(),
		"client_properties": map[string]any{"client_id": c.client.id, "product": "MQTT client"},
		"variable_map":      map[string]any{"client_id": c.client.id}, "user_provided_name": c.client.id,
		"client_id": c.client.id, "clean_session": !c.client.lasting, "clean_start": c.client.clean,
		"will": c.client.will, "messages_unacknowledged": unacked, "subscriptions": filters,
	}
}

// traffic is what the connection received and sent, in bytes.
func (c *conn) traffic() (received, sent uint64) {
	return uint64(c.in.Received()), uint64(c.out.Written())
}

func (c *conn) counters() map[string]uint64 {
	c.out.Lock()
	sent := c.underOut.packets
	c.out.Unlock()
	return map[string]uint64{"recv_oct": uint64(c.in.Received()), "send_oct": uint64(c.out.Written()), "deliver_get": sent}
}

func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
