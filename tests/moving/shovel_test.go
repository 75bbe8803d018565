package moving

import (
	"net/url"
	"testing"
)

// shovelState is what is read of /api/shovels.
type shovelState struct {
	Name    string `json:"name"`
	State   string `json:"state"`
	Pending int    `json:"pending"`
}

// TestBothWaysThroughCrashes has one broker send to another, and fetch from it,
// while both are killed in turn.
func TestBothWaysThroughCrashes(t *testing.T) {
	const n = 12_000
	a, b := newBroker(t), newBroker(t)
	for _, q := range []struct {
		at    *broker
		queue string
	}{{a, "out"}, {b, "in"}} {
		ch := dial(t, q.at.url())
		if _, err := ch.QueueDeclare(q.queue, true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
		publish(t, ch, "", q.queue, 0, n)
	}
	put := func(name string, value map[string]any) {
		value["reconnect-delay"], value["src-prefetch-count"] = 0.1, 100
		api(t, a.HTTP, "PUT", "/parameters/shovel/%2F/"+url.PathEscape(name), map[string]any{"value": value}, nil)
	}
	put("send", map[string]any{"src-uri": "amqp://", "src-queue": "out", "dest-uri": b.url(), "dest-queue": "sent"})
	put("fetch", map[string]any{"src-uri": b.url(), "src-queue": "in", "dest-uri": "amqp:///%2F", "dest-queue": "fetched"})

	arrived := func(share int) {
		t.Helper()
		until(t, "messages arrive", func() bool {
			var there struct {
				Queues []struct {
					Name     string `json:"name"`
					Messages int    `json:"messages"`
				} `json:"items"`
			}
			api(t, b.HTTP, "GET", "/queues/%2F?page=1&columns=name,messages", nil, &there)
			for _, q := range there.Queues {
				if q.Name == "sent" && q.Messages >= share {
					return true
				}
			}
			return false
		})
	}
	arrived(n / 4)
	a.crash()
	arrived(n / 2)
	b.crash()
	arrived(n * 3 / 4)
	a.crash()
	until(t, "everything is moved", func() bool {
		var shovels []shovelState
		api(t, a.HTTP, "GET", "/shovels", nil, &shovels)
		for _, s := range shovels {
			if s.State != "running" || s.Pending > 0 {
				return false
			}
		}
		return len(shovels) == 2 && a.messages("out") == 0 && b.messages("in") == 0
	})
	for _, c := range []struct {
		at    *broker
		queue string
	}{{b, "sent"}, {a, "fetched"}} {
		again := collect(t, c.at.url(), c.queue, "", c.queue, n, nil)
		// What was under way, and acks that the crash took back.
		t.Logf("%s: %d came again", c.queue, again)
	}
}
