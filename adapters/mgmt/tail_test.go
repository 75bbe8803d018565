package mgmt

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"

	"leveret/core/auth"
)

// tail opens a stream of messages. When it returns, what passes is seen.
func (f *fixture) tail(base, user, path string) *liveClient {
	f.t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), liveWait)
	req, err := http.NewRequestWithContext(ctx, "GET", base+path, nil)
	f.must(err)
	req.SetBasicAuth(user, user+"pw")
	res, err := http.DefaultClient.Do(req)
	f.must(err)
	c := &liveClient{f.t, res, bufio.NewReader(res.Body), stop}
	f.t.Cleanup(c.close)
	if res.StatusCode != http.StatusOK {
		f.t.Fatalf("%s: %s", path, res.Status)
	}
	return c
}

func shown(m map[string]any) string {
	return fmt.Sprint(m["what"], " ", m["exchange"], ":", m["routing_key"], " ", m["payload"], "/", m["size"], " ", m["queues"], " ", m["redelivered"])
}

func TestTailOfAQueue(t *testing.T) {
	f := newFixture(t)
	f.want(201, "PUT", "/api/queues/%2F/q", `{}`)
	f.want(201, "PUT", "/api/queues/%2F/other", `{}`)
	c := f.tail(f.url, "admin", "/api/queues/%2F/q/tail?truncate=3")
	f.put("other", "elsewhere", `{}`)
	f.put("q", "hello", `{"headers":{"h":1}}`)
	f.want(200, "POST", "/api/queues/%2F/q/get", `{"count":1,"ackmode":"ack_requeue_true","encoding":"auto"}`)
	m := c.want("message")
	if got := shown(m); got != "publish :q hel/5 [q] false" || fmt.Sprint(m["properties"]) != "map[headers:map[h:1]]" || m["truncated"] != true || m["user"] != "admin" {
		t.Errorf("%s: %v", got, m)
	}
	if got := shown(c.want("message")); got != "deliver :q hel/5 [q] false" {
		t.Error(got)
	}
	if o := f.want(200, "GET", "/api/queues/%2F/q/messages", ""); o.(map[string]any)["total"] != 1.0 {
		t.Errorf("the message is gone: %v", o)
	}
	f.want(204, "DELETE", "/api/queues/%2F/q", "")
	if event, data := c.next(); event != "" {
		t.Errorf("after the queue's end: %s %v", event, data)
	}
}

func TestTailOfAnExchange(t *testing.T) {
	f := newFixture(t)
	f.want(201, "PUT", "/api/exchanges/%2F/x", `{"type":"topic"}`)
	c := f.tail(f.url, "admin", "/api/exchanges/%2F/x/tail?routing_key=a.%23")
	publish := func(key, payload string) {
		f.want(200, "POST", "/api/exchanges/%2F/x/publish", fmt.Sprintf(`{"properties":{},"routing_key":%q,"payload":%q,"payload_encoding":"string"}`, key, payload))
	}
	publish("b", "no")
	publish("a.b.c", "nobody has it")
	if got := shown(c.want("message")); got != "publish x:a.b.c nobody has it/13 [] false" {
		t.Error(got)
	}
	f.want(204, "DELETE", "/api/exchanges/%2F/x", "")
	if event, data := c.next(); event != "" {
		t.Errorf("after the exchange's end: %s %v", event, data)
	}
	c = f.tail(f.url, "admin", "/api/exchanges/%2F/amq.default/tail")
	f.want(201, "PUT", "/api/queues/%2F/q", `{}`)
	f.put("q", "m", `{}`)
	if got := shown(c.want("message")); got != "publish :q m/1 [q] false" {
		t.Error(got)
	}
}

func TestTailSaysWhatItDoesNotShow(t *testing.T) {
	f := newFixtureAt(t, func() int64 { return 5_000 }) // All of it is in one second.
	f.want(201, "PUT", "/api/queues/%2F/q", `{}`)
	c := f.tail(f.url, "admin", "/api/queues/%2F/q/tail?limit_per_second=3")
	const n = 20
	for range n {
		f.put("q", "m", `{}`)
	}
	messages, skipped := 0, 0
	for messages+skipped < n {
		switch event, data := c.next(); event {
		case "message":
			messages++
		case "skipped":
			skipped += int(data["count"].(float64))
		default:
			t.Fatalf("%s %v", event, data)
		}
	}
	if messages != 3 || skipped != n-3 {
		t.Errorf("%d messages, %d skipped of %d", messages, skipped, n)
	}
}

// Tags give nobody a look at messages.
func TestTailNeedsWhatConsumingNeeds(t *testing.T) {
	f := newFixture(t)
	f.want(201, "PUT", "/api/queues/%2F/q", `{}`)
	f.user("boss", "administrator")
	f.must(f.broker.SetPermission("boss", "/", auth.Permission{Configure: ".*", Write: ".*", Read: "^$"}))
	for _, path := range []string{"/api/queues/%2F/q/tail", "/api/exchanges/%2F/amq.topic/tail", "/api/exchanges/%2F/amq.default/tail"} {
		if a := f.do("GET", path, "boss", ""); a.status != 401 {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	f.must(f.broker.SetPermission("boss", "/", all))
	c := f.tail(f.url, "boss", "/api/queues/%2F/q/tail")
	f.put("q", "m", `{}`)
	c.want("message")
	f.must(f.broker.ClearPermission("boss", "/"))
	if event, data := c.next(); event != "" {
		t.Errorf("without permission: %s %v", event, data)
	}
	for path, want := range map[string]int{
		"/api/queues/%2F/nope/tail": 404, "/api/queues/nope/q/tail": 404, "/api/exchanges/%2F/nope/tail": 404,
		"/api/queues/%2F/q/tail?limit_per_second=0": 400, "/api/queues/%2F/q/tail?truncate=x": 400,
	} {
		if a := f.do("GET", path, "admin", ""); a.status != want {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	if a := f.do("HEAD", "/api/queues/%2F/q/tail", "admin", ""); a.status != 200 {
		t.Errorf("HEAD: %d", a.status)
	}
}

func TestTailEndsWhenTheServerStops(t *testing.T) {
	f := newFixture(t)
	f.want(201, "PUT", "/api/queues/%2F/q", `{}`)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	f.must(err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.server.Serve(ctx, ln) }()
	c := f.tail("http://"+ln.Addr().String(), "admin", "/api/queues/%2F/q/tail")
	stop()
	if event, data := c.next(); event != "" {
		t.Errorf("%s %v", event, data)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
