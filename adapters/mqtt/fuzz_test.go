package mqtt

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"

	"leveret/adapters/mqtt/wire"
	"leveret/core"
)

// FuzzProperties holds the property codec to what it promises: nothing it is
// given makes it panic, and what it makes can be read again.
func FuzzProperties(f *testing.F) {
	f.Add([]byte{0})
	f.Add([]byte{flagExpiry | 1, 0, 0, 0, 9})
	f.Add(append([]byte{2}, wire.AppendUser(wire.AppendString(nil, wire.PropContentType, "text"), "k", "v")...))
	f.Add([]byte{flagExpiry, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := propertyCodec{}.DecodeProperties(b)
		if err != nil {
			return
		}
		again := propertyCodec{}.AppendProperties(nil, p)
		q, err := propertyCodec{}.DecodeProperties(again)
		if err != nil {
			t.Fatalf("%v in % x, made of % x", err, again, b)
		}
		if q.ContentType != p.ContentType || q.DeliveryMode != p.DeliveryMode || (q.CorrelationID == nil) != (p.CorrelationID == nil) {
			t.Errorf("%+v comes back as %+v", p, q)
		}
	})
}

// FuzzConnection sends arbitrary bytes behind a CONNECT, or instead of one, in
// one piece and byte by byte. The server must answer or close, and go on
// serving others.
func FuzzConnection(f *testing.F) {
	broker, err := core.New(core.Options{})
	if err != nil {
		f.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := NewServer(Options{Broker: broker, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), FailedLoginDelay: 1, ShutdownTimeout: 1})
	s.begin()
	f.Cleanup(func() {
		s.finish()
		cancel()
		broker.Close()
	})
	_ = ctx
	for _, v := range []byte{wire.V311, wire.V5} {
		connect := wire.AppendConnect(nil, &wire.ConnectPacket{Version: v, Clean: true, ClientID: "f", ReceiveMaximum: 9})
		b := append([]byte(nil), connect...)
		b = wire.AppendSubscribe(b, &wire.SubscribePacket{ID: 1, Filters: []wire.Subscription{{Filter: "#", QoS: 2}}}, v)
		b = append(b, pub{topic: "a/b", payload: "x", qos: 2, id: 3, retain: true}.bytes(v)...)
		b = wire.AppendAck(b, wire.Pubrel, 3, 0, v)
		b = wire.AppendAck(b, wire.Pubrec, 1, 0, v)
		b = wire.AppendUnsubscribe(b, &wire.UnsubscribePacket{ID: 4, Filters: []string{"#"}}, v)
		f.Add(b, false)
		f.Add(b, true)
	}
	f.Fuzz(func(t *testing.T, b []byte, slow bool) {
		ours, theirs := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.serveConn(ctx, theirs, func() {})
		}()
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			io.Copy(io.Discard, ours)
		}()
		if slow {
			for i := range min(len(b), 2000) {
				if _, err := ours.Write(b[i : i+1]); err != nil {
					break
				}
			}
		} else {
			ours.Write(b) // It fails if the server has closed.
		}
		ours.Close()
		<-done
		<-drained
	})
}
