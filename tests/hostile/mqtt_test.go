package hostile

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"leveret/adapters/mqtt/wire"
)

// mqttConnect is the CONNECT of a clean session, or of whatever change makes it.
func mqttConnect(version byte, id string, change func(*wire.ConnectPacket)) []byte {
	p := &wire.ConnectPacket{Version: version, Clean: true, ClientID: id, ReceiveMaximum: 65535}
	if change != nil {
		change(p)
	}
	return wire.AppendConnect(nil, p)
}

// mqtt connects and sends b, which is answered by nothing.
func (a *arena) mqtt(b []byte) (net.Conn, error) {
	nc, err := net.DialTimeout("tcp", a.broker.MQTT, ioTimeout)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(a.ctx, func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(ioTimeout))
	_, err = nc.Write(b)
	return nc, err
}

// mqttLogin connects with a CONNECT and reads the answer.
func (a *arena) mqttLogin(connect []byte) (net.Conn, error) {
	nc, err := a.mqtt(connect)
	if err != nil {
		return nc, err
	}
	h, body, err := mqttPacket(nc)
	if err == nil && (h.Type() != wire.Connack || body[1] != 0) {
		err = fmt.Errorf("%s % x instead of CONNACK", wire.TypeName(h.Type()), body)
	}
	return nc, err
}

// mqttPacket reads one packet.
func mqttPacket(r io.Reader) (h wire.Header, body []byte, err error) {
	var b []byte
	for h.Size == 0 {
		b = append(b, 0)
		if _, err := io.ReadFull(r, b[len(b)-1:]); err != nil {
			return h, nil, err
		}
		if h, err = wire.ParseHeader(b); err != nil {
			return h, nil, err
		}
	}
	body = make([]byte, h.Length)
	_, err = io.ReadFull(r, body)
	return h, body, err
}

func mqttPublish(topic string, payload []byte, qos byte, id uint16) []byte {
	o := wire.OutPublish{Key: topic, Payload: len(payload), QoS: qos, ID: id}
	return append(wire.AppendPublish(nil, &o, wire.V311), payload...)
}

func mqttSubscribe(filter string, qos byte) []byte {
	p := &wire.SubscribePacket{ID: 1, Filters: []wire.Subscription{{Filter: filter, QoS: qos}}}
	return wire.AppendSubscribe(nil, p, wire.V311)
}

// device is a well-behaved MQTT client: it publishes to itself, a message after
// the other, until the attack is over. It must get each.
func (a *arena) device() (done <-chan error) {
	a.Helper()
	nc, err := a.mqttLogin(mqttConnect(wire.V311, "device", nil))
	a.must(err)
	out := make(chan error, 1)
	go func() { // Ends with the attack.
		defer nc.Close()
		if _, err := nc.Write(mqttSubscribe("device/own", 1)); err != nil {
			out <- err
			return
		}
		for i := uint16(1); a.ctx.Err() == nil; i = max(1, i+1) {
			nc.SetDeadline(time.Now().Add(ioTimeout))
			payload := binary.BigEndian.AppendUint16(nil, i)
			_, err := nc.Write(mqttPublish("device/own", payload, 1, i))
			for came, acked := false, false; err == nil && !(came && acked); {
				var h wire.Header
				var body []byte
				switch h, body, err = mqttPacket(nc); h.Type() {
				case wire.Publish:
					p, bad := wire.ParsePublish(h, body, wire.V311)
					if err == nil && (bad != nil || !bytes.Equal(p.Payload, payload)) {
						err = fmt.Errorf("got %q, want %q: %v", p.Payload, payload, bad)
					} else if err == nil {
						_, err = nc.Write(wire.AppendAck(nil, wire.Puback, p.ID, 0, wire.V311))
					}
					came = true
				case wire.Puback:
					acked = true
				}
			}
			if err != nil && a.ctx.Err() == nil {
				out <- err
				return
			}
		}
		out <- nil
	}()
	return out
}

// mqttFlood sends b over and over, without reading, until it fails or the attack
// is over. It reports how much went out.
func (a *arena) mqttFlood(nc net.Conn, b []byte) (sent int64) {
	deadline, _ := a.ctx.Deadline()
	nc.SetDeadline(deadline)
	b = repeat(b, 256<<10)
	for a.ctx.Err() == nil {
		n, err := nc.Write(b)
		sent += int64(n)
		if err != nil {
			break
		}
	}
	return sent
}

// announce is the beginning of a packet of n bytes.
func announce(first byte, n int) []byte {
	b := []byte{first}
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// TestMQTTFloods: what a stranger, or one who has logged in, can send without
// end, with a new connection whenever the broker has closed the last one.
func TestMQTTFloods(t *testing.T) {
	deep := strings.Repeat("a/", 30_000)
	topic := []byte("\x00\x01t")
	var ids []byte // A QoS 2 flow with each identifier, none of which goes on.
	for id := range 65535 {
		ids = append(ids, mqttPublish("t", nil, 2, uint16(id+1))...)
	}
	var filters []byte
	for i := range 20_000 {
		filters = append(filters, mqttSubscribe(fmt.Sprintf("%d/+/x", i), 1)...)
	}
	for _, test := range []struct {
		name         string
		login        bool
		first, again []byte
		takes        int64 // Bytes the broker may take from one connection that does not read; 0 for no limit.
		growth       int64
	}{
		{name: "200 MB announced before login", first: announce(0x10, 200<<20), again: []byte("x")},
		{name: "64 KiB announced before login", first: announce(0x10, 64<<10-8), again: []byte("\x00")},
		{name: "200 MB announced", login: true, first: announce(0x30, 200<<20), again: []byte("x")},
		{name: "16 MiB announced and left", login: true, first: append(announce(0x30, 16<<20-16), topic...)},
		{name: "packets of 15 MiB", login: true, again: append(append(announce(0x30, 15<<20), topic...), make([]byte, 15<<20-3)...), growth: 256 * mib},
		{name: "length without end", again: []byte("\x30\xff\xff\xff\xff\xff")},
		{name: "topics of 30000 levels", login: true, again: mqttPublish(deep, []byte("x"), 0, 0)},
		{name: "filters of 30000 levels", login: true, again: mqttSubscribe(deep, 0)},
		{name: "filters of 30000 wildcards", login: true, again: mqttSubscribe(strings.Repeat("+/", 30_000)+"#", 0)},
		{name: "malformed before login", again: []byte("\x82\x01\x00nonsense")},
		{name: "malformed", login: true, again: []byte("\x36\x02\x00\x00\xf3\x00")},
		{name: "malformed subscriptions", login: true, again: []byte("\x82\x03\x00\x01\x00")},
		{name: "pings", login: true, again: []byte("\xc0\x00"), takes: 64 * mib},
		{name: "releases of nothing", login: true, again: []byte("\x62\x02\x00\x07"), takes: 64 * mib},
		{name: "acks of nothing", login: true, again: []byte("\x40\x02\x00\x07\x50\x02\x00\x07\x70\x02\x00\x07")},
		{name: "QoS 1, acks unread", login: true, again: mqttPublish("t", nil, 1, 1)},
		{name: "QoS 2 never released", login: true, again: ids},
		{name: "subscribing and unsubscribing", login: true, takes: 64 * mib, again: append(mqttSubscribe("x", 1),
			wire.AppendUnsubscribe(nil, &wire.UnsubscribePacket{ID: 1, Filters: []string{"x"}}, wire.V311)...)},
		{name: "filters", login: true, again: filters, growth: 256 * mib},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.growth == 0 {
				test.growth = 64 * mib
			}
			attack(t, rules{growth: test.growth, left: 32 * mib}, func(a *arena) {
				device := a.device()
				each(4, func(i int) {
					for n := 0; a.ctx.Err() == nil; n++ {
						var connect []byte
						if test.login {
							connect = mqttConnect(wire.V311, fmt.Sprint("flood", i), nil)
						}
						nc, err := a.mqtt(append(connect, test.first...))
						if err != nil {
							continue
						}
						if test.again == nil {
							<-a.ctx.Done()
						} else if sent := a.mqttFlood(nc, test.again); test.takes > 0 && sent > test.takes {
							t.Errorf("the broker has taken %d bytes", sent)
						}
						nc.Close()
					}
				})
				if err := <-device; err != nil {
					t.Errorf("a well-behaved device: %v", err)
				}
			})
		})
	}
}

// TestMQTTNeverReads: subscribers that read nothing of what a publisher sends.
// At QoS 1 it waits in their queues, below the limit of memory; at QoS 0 it is
// dropped.
func TestMQTTNeverReads(t *testing.T) {
	for qos := byte(0); qos <= 1; qos++ {
		t.Run(fmt.Sprint("QoS ", qos), func(t *testing.T) {
			r := rules{growth: 512 * mib, left: 64 * mib, alone: true, flags: []string{"--memory-limit", "128MiB"}}
			attack(t, r, func(a *arena) {
				for i := range 10 {
					nc, err := a.mqttLogin(mqttConnect(wire.V311, fmt.Sprint("deaf", i), nil))
					a.must(err)
					_, err = nc.Write(mqttSubscribe("t/#", qos))
					a.must(err)
					_, _, err = mqttPacket(nc)
					a.must(err)
				}
				var messages []byte
				for id := range uint16(1000) {
					messages = append(messages, mqttPublish("t/x", make([]byte, 1000), qos, id+1)...)
				}
				each(2, func(i int) {
					nc, err := a.mqttLogin(mqttConnect(wire.V311, fmt.Sprint("mouth", i), nil))
					if err != nil {
						t.Error(err)
						return
					}
					a.mqttFlood(nc, messages)
				})
			})
		})
	}
}

// TestMQTTWills: sessions that are to last, each with a large will, until the
// broker takes no more of them.
func TestMQTTWills(t *testing.T) {
	for name, flag := range map[string][]string{
		"few sessions":  {"--mqtt-max-sessions", "100"},
		"little memory": {"--memory-limit", "8MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			attack(t, rules{growth: 96 * mib, left: 24 * mib, alone: true, flags: flag}, func(a *arena) {
				var taken atomic.Int32
				each(4, func(i int) {
					for n := 0; a.ctx.Err() == nil; n++ {
						nc, err := a.mqttLogin(mqttConnect(wire.V5, fmt.Sprint("will", i, ".", n), func(p *wire.ConnectPacket) {
							p.SessionExpiry, p.HasSessionExpiry = 3600, true
							p.Will = &wire.Will{Topic: "t", Payload: bytes.Repeat([]byte("w"), 60_000), Props: []byte{wire.PropWillDelay, 0, 0, 14, 16}}
						}))
						if err == nil {
							taken.Add(1)
						}
						if nc != nil {
							nc.Close()
						}
						var ne net.Error
						if errors.As(err, &ne) && ne.Timeout() && a.ctx.Err() == nil {
							t.Errorf("CONNECT %d gets no answer: %v", n, err)
							return
						}
					}
				})
				if n := taken.Load(); n == 0 || n > 200 {
					t.Errorf("%d wills were taken", n)
				}
			})
		})
	}
}

// TestMQTTHandshakes: connections that say nothing, or a byte now and then.
func TestMQTTHandshakes(t *testing.T) {
	t.Run("idle", func(t *testing.T) {
		attack(t, rules{growth: 64 * mib, left: 16 * mib}, func(a *arena) {
			device := a.device()
			for range 500 {
				if _, err := a.mqtt(nil); err != nil {
					t.Fatal(err)
				}
			}
			if err := <-device; err != nil {
				t.Errorf("a well-behaved device: %v", err)
			}
		})
	})
	t.Run("slow", func(t *testing.T) {
		flags := []string{"--handshake-timeout", "400ms"}
		attack(t, rules{growth: 64 * mib, left: 16 * mib, flags: flags}, func(a *arena) {
			device := a.device()
			connect := mqttConnect(wire.V5, strings.Repeat("i", 200), nil)
			each(100, func(int) {
				nc, err := a.mqtt(nil)
				if err != nil {
					t.Error(err)
					return
				}
				tick := time.NewTicker(20 * time.Millisecond)
				defer tick.Stop()
				for i := 0; a.ctx.Err() == nil; i++ { // Sooner or later the broker closes it.
					if _, err := nc.Write(connect[i%100:][:1]); err != nil {
						return
					}
					select {
					case <-tick.C:
					case <-a.ctx.Done():
					}
				}
			})
			if err := <-device; err != nil {
				t.Errorf("a well-behaved device: %v", err)
			}
		})
	})
}

// TestWebMQTT: WebSockets that are opened and left alone, frames announced with
// 2^62 bytes, fragments and pings without end, and what is said to be
// compressed though that was not agreed on.
func TestWebMQTT(t *testing.T) {
	for _, test := range []struct {
		name  string
		count int
		bytes string // After the handshake, in frames.
		again string
	}{
		{name: "left alone", count: 300},
		{name: "2^62 bytes announced", count: 4, bytes: "\x82\xff\x40\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", again: strings.Repeat("x", 1000)},
		{name: "fragments", count: 4, bytes: "\x02\x80\x00\x00\x00\x00", again: "\x00\x80\x00\x00\x00\x00"},
		{name: "fragments of a CONNECT", count: 4, bytes: "\x02\x83\x00\x00\x00\x00\x10\xff\x7f", again: "\x00\x81\x00\x00\x00\x00y"},
		{name: "pings", count: 4, again: "\x89\xfd\x00\x00\x00\x00" + strings.Repeat("p", 125)},
		{name: "compressed", count: 4, bytes: "\xc2\x81\x00\x00\x00\x00x", again: "x"},
		{name: "malformed", count: 4, again: "\x82\x82\x00\x00\x00\x00\xf3\x00"},
	} {
		t.Run(test.name, func(t *testing.T) {
			attack(t, rules{growth: 96 * mib, left: 32 * mib}, func(a *arena) {
				device := a.device()
				each(min(test.count, 10), func(int) {
					for range max(1, test.count/10) {
						nc := a.webMQTT()
						io.WriteString(nc, test.bytes)
						if test.again != "" {
							a.mqttFlood(nc, []byte(test.again))
						}
					}
					<-a.ctx.Done()
				})
				if err := <-device; err != nil {
					t.Errorf("a well-behaved device: %v", err)
				}
			})
		})
	}
	t.Run("handshakes", func(t *testing.T) {
		attack(t, rules{growth: 96 * mib, left: 32 * mib}, func(a *arena) {
			device := a.device()
			each(4, func(i int) {
				for a.ctx.Err() == nil {
					nc, err := net.DialTimeout("tcp", a.broker.WebMQTT, ioTimeout)
					if err != nil {
						t.Error(err)
						return
					}
					context.AfterFunc(a.ctx, func() { nc.Close() })
					nc.SetDeadline(time.Now().Add(ioTimeout))
					io.WriteString(nc, "GET /ws HTTP/1.1\r\nHost: x\r\n")
					if i%2 == 0 {
						a.mqttFlood(nc, []byte("X: "+strings.Repeat("y", 1000)+"\r\n"))
					} else {
						<-a.ctx.Done()
					}
					nc.Close()
				}
			})
			if err := <-device; err != nil {
				t.Errorf("a well-behaved device: %v", err)
			}
		})
	})
}

// webMQTT opens a WebSocket, with compression offered, and takes its stream of
// bytes.
func (a *arena) webMQTT() net.Conn {
	d := websocket.Dialer{HandshakeTimeout: ioTimeout, EnableCompression: true, Subprotocols: []string{"mqtt"}}
	ws, resp, err := d.Dial("ws://"+a.broker.WebMQTT+"/ws", nil)
	if err != nil {
		a.Error(err)
		nc, _ := net.Pipe()
		nc.Close()
		return nc
	}
	if e := resp.Header.Get("Sec-Websocket-Extensions"); e != "" {
		a.Errorf("the broker agrees to %q", e)
	}
	context.AfterFunc(a.ctx, func() { ws.Close() })
	return ws.NetConn()
}
