package perf

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"leveret/adapters/stomp"
	"leveret/core"
)

// stompBroker is a broker of ours.
func stompBroker(t *testing.T) (url string) {
	t.Helper()
	broker, err := core.New(core.Options{Logger: slog.New(slog.DiscardHandler), DefaultUser: "guest", DefaultPassword: "guest", DefaultVHost: "/"})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := stomp.NewServer(stomp.Options{Broker: broker, Logger: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.Serve(ctx, ln) })
	running.Go(func() { broker.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait(); broker.Close() })
	return "stomp://guest:guest@" + ln.Addr().String() + "/"
}

func TestSTOMPLoad(t *testing.T) {
	for name, c := range map[string]STOMPCmd{
		"auto":       {Producers: 2, Consumers: 2, Destination: "/queue/q", Ack: "auto"},
		"individual": {Producers: 1, Consumers: 1, Destination: "/queue/q", Ack: "client-individual", Prefetch: 100},
		"client":     {Producers: 1, Consumers: 1, Destination: "/queue/q", Ack: "client", AckEvery: 10, Prefetch: 100},
		"receipts":   {Producers: 2, Consumers: 1, Destination: "/queue/q", Ack: "auto", Receipts: 100},
		"fanout":     {Producers: 1, Consumers: 3, Destination: "/topic/t", Ack: "auto"},
		"send only":  {Producers: 1, Consumers: 0, Destination: "/topic/t", Ack: "auto", Receipts: 10},
	} {
		t.Run(name, func(t *testing.T) {
			c.URL = stompBroker(t)
			c.Size, c.Batch, c.Count, c.DrainTimeout, c.JSON, c.Quiet = 100, 16<<10, 5000, time.Minute, true, true
			c.AckEvery = max(1, c.AckEvery)
			var out strings.Builder
			if err := c.run(t.Context(), &out, io.Discard); err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
			var rep Report
			if err := json.Unmarshal([]byte(out.String()), &rep); err != nil {
				t.Fatal(err)
			}
			v := rep.Verification
			if rep.Published.Messages != 5000 || !v.OK || v.Lost > 0 || c.Consumers > 0 && (!v.Complete || v.Received != v.Expected) {
				t.Errorf("%s", out.String())
			}
			if c.Receipts > 0 && rep.ConfirmLatency.Samples != 5000 {
				t.Errorf("%d receipts", rep.ConfirmLatency.Samples)
			}
		})
	}
}

func TestSTOMPIdle(t *testing.T) {
	c := STOMPCmd{URL: stompBroker(t), IdleConnections: 20, Duration: 10 * time.Millisecond, AckEvery: 1, Batch: 1, Consumers: 1,
		Destination: "/queue/q", Ack: "auto", DrainTimeout: time.Second}
	var out strings.Builder
	if err := c.run(t.Context(), &out, io.Discard); err != nil || !strings.Contains(out.String(), "20 idle connections") {
		t.Errorf("%v: %s", err, out.String())
	}
}

func TestSTOMPRefusal(t *testing.T) {
	c := STOMPCmd{URL: strings.Replace(stompBroker(t), "guest:guest", "guest:wrong", 1), Producers: 1, Consumers: 1, AckEvery: 1, Batch: 1,
		Destination: "/queue/q", Ack: "auto", DrainTimeout: time.Second}
	if err := c.run(t.Context(), io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "Access refused") {
		t.Errorf("%v", err)
	}
}
