package amqp

import (
	"net"
	"testing"
	"time"

	"leveret/adapters/amqp/wire"
	"leveret/core"
)

// fuzzOps are the steps that FuzzConnection puts together; arg varies them.
var fuzzOps = []func(channel uint16, arg byte) []byte{
	func(ch uint16, _ byte) []byte { return methodFrame(ch, &wire.ChannelOpen{}) },
	func(ch uint16, _ byte) []byte { return methodFrame(ch, &wire.ChannelClose{}) },
	func(ch uint16, _ byte) []byte { return methodFrame(ch, &wire.ChannelCloseOk{}) },
	func(ch uint16, a byte) []byte {
		return methodFrame(ch, &wire.QueueDeclare{Queue: fuzzQueue(a), Exclusive: a&8 != 0, AutoDelete: a&16 != 0, NoWait: a&32 != 0, Passive: a&64 != 0})
	},
	func(ch uint16, a byte) []byte {
		return methodFrame(ch, &wire.QueueDelete{Queue: fuzzQueue(a), NoWait: a&32 != 0})
	},
	func(ch uint16, a byte) []byte {
		return methodFrame(ch, &wire.BasicConsume{Queue: fuzzQueue(a), ConsumerTag: string('a' + rune(a&3)), NoAck: a&8 != 0, Exclusive: a&16 != 0, NoWait: a&32 != 0})
	},
	func(ch uint16, a byte) []byte {
		return methodFrame(ch, &wire.BasicConsume{Queue: replyToName, NoAck: a&1 != 0})
	},
	func(ch uint16, a byte) []byte {
		return methodFrame(ch, &wire.BasicCancel{ConsumerTag: string('a' + rune(a&3))})
	},
	func(ch uint16, a byte) []byte {
		return methodFrame(ch, &wire.BasicGet{Queue: fuzzQueue(a), NoAck: a&8 != 0})
	},
	func(ch uint16, a byte) []byte {
		return methodFrame(ch, &wire.BasicQos{PrefetchCount: uint16(a & 7), Global: a&8 != 0})
	},
	func(ch uint16, a byte) []byte {
		return methodFrame(ch, &wire.BasicAck{DeliveryTag: uint64(a & 7), Multiple: a&8 != 0})
	},
	func(ch uint16, a byte) []byte {
		return methodFrame(ch, &wire.BasicNack{DeliveryTag: uint64(a & 7), Multiple: a&8 != 0, Requeue: a&16 != 0})
	},
	func(ch uint16, a byte) []byte { return methodFrame(ch, &wire.BasicRecover{Requeue: a&1 == 0}) },
	func(ch uint16, a byte) []byte { return methodFrame(ch, &wire.ConfirmSelect{NoWait: a&1 == 0}) },
	func(ch uint16, _ byte) []byte { return methodFrame(ch, &wire.TxSelect{}) },
	func(ch uint16, _ byte) []byte { return methodFrame(ch, &wire.TxCommit{}) },
	func(ch uint16, _ byte) []byte { return methodFrame(ch, &wire.TxRollback{}) },
	func(ch uint16, a byte) []byte { return publishFrames(ch, "", fuzzQueue(a), "hello", nil) },
	func(ch uint16, a byte) []byte {
		return wire.AppendPublish(nil, ch, "", fuzzQueue(a), a&8 != 0, wire.AppendProperties(nil, &wire.Properties{ReplyTo: replyToName}), make([]byte, int(a)*200), 4096)
	},
	func(ch uint16, a byte) []byte { return methodFrame(ch, &wire.BasicPublish{RoutingKey: fuzzQueue(a)}) },
	func(ch uint16, a byte) []byte { return header(ch, uint64(a), &wire.Properties{DeliveryMode: a & 3}) },
	func(ch uint16, a byte) []byte { return frame(wire.FrameBody, ch, make([]byte, int(a))) },
	func(ch uint16, a byte) []byte { return frame(a&15, ch, []byte{a}) },
	func(_ uint16, a byte) []byte { return []byte{a} },
	func(_ uint16, a byte) []byte {
		if a == 7 {
			return methodFrame(0, &wire.ConnectionClose{})
		}
		return frame(wire.FrameHeartbeat, 0, nil)
	},
}

func fuzzQueue(a byte) string { return []string{"", "q", "r", "s"}[a&3] }

// FuzzConnection runs random methods and frames on a connection. Whatever
// comes, the connection ends, and leaves nothing behind.
func FuzzConnection(f *testing.F) {
	f.Add([]byte{0, 1, 0, 3, 1, 1, 5, 1, 1, 17, 1, 1, 10, 1, 1, 1, 1, 0})
	f.Add([]byte{0, 1, 0, 3, 1, 1, 13, 1, 0, 18, 1, 255, 8, 1, 1, 12, 1, 0})
	f.Add([]byte{0, 1, 0, 14, 1, 0, 3, 1, 1, 17, 1, 1, 15, 1, 0, 8, 1, 1, 10, 1, 1, 16, 1, 0})
	f.Add([]byte{0, 1, 0, 19, 1, 1, 20, 1, 5, 21, 1, 5, 0, 2, 0, 21, 2, 3})
	f.Add([]byte{0, 1, 0, 6, 1, 1, 18, 1, 1, 24, 0, 7})
	s := newTestServer(f, func(o *Options, _ *core.Options) { o.FailedLoginDelay = time.Millisecond })
	f.Fuzz(func(t *testing.T, script []byte) {
		var sent []byte
		for i := 0; i+2 < len(script) && i < 300; i += 3 {
			op := fuzzOps[int(script[i])%len(fuzzOps)]
			sent = append(sent, op(uint16(script[i+1]%4), script[i+2])...)
		}
		r := s.dialRaw(t)
		r.login(nil)
		r.method(0, &wire.ConnectionTuneOk{ChannelMax: 10, FrameMax: 4096}, &wire.ConnectionOpen{VirtualHost: "/"})
		r.write(sent)
		r.nc.(*net.TCPConn).CloseWrite()
		b := make([]byte, 64<<10)
		for {
			if _, err := r.nc.Read(b); err != nil {
				if ne, ok := err.(net.Error); ok && ne.Timeout() {
					t.Fatal("the connection does not end")
				}
				break
			}
		}
		r.nc.Close()
		waitFor(t, func() bool { return s.broker.SessionCount() == 0 })
		v := mustVHost(t, s)
		for q := range v.Queues() {
			if i := q.Info(); i.Unacked != 0 || i.Consumers != 0 || i.Options.Exclusive {
				t.Fatalf("queue %s is left with %d unacked, %d consumers, exclusive=%v", i.Options.Name, i.Unacked, i.Consumers, i.Options.Exclusive)
			}
		}
		if n := s.broker.Registry().Count(RowConnection) + s.broker.Registry().Count(RowChannel); n != 0 {
			t.Fatalf("%d rows are left", n)
		}
	})
}

// FuzzHandshake sends anything as the first bytes.
func FuzzHandshake(f *testing.F) {
	f.Add([]byte(wire.ProtocolHeader))
	f.Add(join([]byte(wire.ProtocolHeader), methodFrame(0, &wire.ConnectionStartOk{Mechanism: "PLAIN", Response: []byte("\x00guest\x00guest")},
		&wire.ConnectionTuneOk{ChannelMax: 1, FrameMax: 4096}, &wire.ConnectionOpen{VirtualHost: "/"}), methodFrame(1, &wire.ChannelOpen{})))
	f.Add(join([]byte(wire.ProtocolHeader), methodFrame(0, &wire.ConnectionStartOk{Mechanism: "AMQPLAIN"})))
	s := newTestServer(f, func(o *Options, _ *core.Options) { o.FailedLoginDelay = time.Millisecond })
	f.Fuzz(func(t *testing.T, sent []byte) {
		r := s.dialRaw(t)
		r.nc.Write(sent)
		r.nc.(*net.TCPConn).CloseWrite()
		b := make([]byte, 64<<10)
		for {
			if _, err := r.nc.Read(b); err != nil {
				break
			}
		}
		r.nc.Close()
		waitFor(t, func() bool { return s.broker.SessionCount() == 0 })
	})
}
