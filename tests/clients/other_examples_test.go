//go:build clients

package clients

import (
	"path/filepath"
	"testing"
)

func TestNode(t *testing.T) {
	for _, tt := range []struct {
		script string
		args   []string
		want   []string
	}{
		{"confirms.js", []string{"5000"}, []string{"confirmed 5000 of 5000", "in the queue: 5000"}},
		{"returns.js", nil, []string{
			"confirmed first",
			"returned 312 NO_ROUTE nowhere second 1099511627776",
			"confirmed second",
			"confirmed third",
		}},
		{"cancel_notify.js", nil, []string{"got the last message", "cancelled by the broker"}},
		{"prefetch.js", []string{"50"}, []string{"did 50 jobs in order, at most 3 at once"}},
		{"rpc.js", []string{"3", "12", "100"}, []string{"square(3) = 9", "square(12) = 144", "square(100) = 10000"}},
	} {
		t.Run(tt.script, func(t *testing.T) {
			t.Parallel()
			wantLines(t, node(t, tt.script, tt.args...).run(t, newVhost(t)), tt.want...)
		})
	}
}

// TestNodeSmallFrames asks for the smallest frames, as the URLs of many
// amqplib users do.
func TestNodeSmallFrames(t *testing.T) {
	t.Parallel()
	url := newVhost(t) + "?frameMax=4096&heartbeat=5"
	wantLines(t, node(t, "confirms.js", "100").run(t, url), "confirmed 100 of 100", "in the queue: 100")
}

func TestGo(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		want []string
	}{
		{"hello", nil, []string{
			"received Hello World! map[big:1099511627776 int:42 list:[a 1] nothing:<nil> table:map[deep:1.5] yes:true]",
		}},
		{"confirms", []string{"20000"}, []string{"acked 20000 of 20000", "in the queue: 20000"}},
		{"returns", nil, []string{"taken", "returned 312 NO_ROUTE nowhere m-1 to nowhere", "taken"}},
		{"cancelnotify", nil, []string{"watcher cancelled by the broker", "no more deliveries"}},
		{"prefetch", nil, []string{
			"global false: 20 jobs, at most 8 unacked",
			"global true: 20 jobs, at most 4 unacked",
		}},
		{"rpc", nil, []string{"callback queue: 328350", "direct reply-to: 328350"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			wantLines(t, golang(t, tt.name, tt.args...).run(t, newVhost(t)), tt.want...)
		})
	}
}

// reconnecting are the programs that consume "steady" over and over.
var reconnecting = map[string]func(t *testing.T, args ...string) program{
	"node": func(t *testing.T, args ...string) program { return node(t, "reconnect.js", args...) },
	"go":   func(t *testing.T, args ...string) program { return golang(t, "reconnect", args...) },
}

func TestReconnectAfterTheConnectionBroke(t *testing.T) {
	for name, reconnect := range reconnecting {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := newVhost(t)
			ch := dial(t, url)
			proxy := newProxy(t, url)
			p := reconnect(t).start(t, proxy.url)
			p.waitLine("^consuming$")
			for _, body := range []string{"one", "two"} {
				publish(t, ch, "steady", body)
				p.waitLine("^got " + body + "$")
			}

			proxy.cut()
			p.waitLine("^connection lost")
			// Published while the consumer may be away: it waits in the queue.
			publish(t, ch, "steady", "three")
			p.waitLine("^got three")
			publish(t, ch, "steady", "four")
			p.waitLine("^got four$")
		})
	}
}

// TestReconnectAfterTheBrokerRestarted is about our own process: it tells its
// clients that it goes, ends at once and with 0, and a new one has the ports.
func TestReconnectAfterTheBrokerRestarted(t *testing.T) {
	binary := broker.binary
	if binary == "" {
		t.Log("the broker under test is not ours to restart: a leveret is built")
		var err error
		if binary, err = buildLeveret(t.TempDir()); err != nil {
			t.Fatal(err)
		}
	}
	log := filepath.Join(t.TempDir(), "broker.log")
	b, err := startLeveret(binary, log, ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	clients := make(map[string]*process)
	for name, reconnect := range reconnecting {
		clients[name] = reconnect(t, "1").start(t, b.amqp.String())
		clients[name].waitLine("^consuming$")
	}

	if err := b.stop(); err != nil {
		t.Fatalf("leveret after SIGTERM: %v\n%s", err, b.logTail(4<<10))
	}
	clients["go"].waitLine(`^connection lost: Exception \(320\) Reason: "CONNECTION_FORCED - `)
	clients["node"].waitLine("^connection lost")

	b, err = startLeveretOn(binary, log, ":memory:", []string{b.amqp.Host, b.http.Host, b.stomp, b.webSTOMP, b.mqtt})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range clients {
		p.waitLine("^consuming$")
	}
	ch := dial(t, b.amqp.String())
	for range clients {
		publish(t, ch, "steady", "after the restart")
	}
	for _, p := range clients {
		// "again" if the other one had been given both and ended after its first.
		p.waitLine("^got after the restart( again)?$")
		p.finish()
	}
	if err := b.stop(); err != nil {
		t.Fatalf("leveret after SIGTERM: %v\n%s", err, b.logTail(4<<10))
	}
	if err := b.checkLog(); err != nil {
		t.Error(err)
	}
}
