package mgmt

import (
	"context"
	"fmt"
	"testing"

	"leveret/core"
)

// move asks for a move and waits for its end.
func (f *fixture) move(queue, body string) map[string]any {
	f.t.Helper()
	id := f.want(202, "POST", "/api/queues/%2F/"+queue+"/move", body).(map[string]any)["id"].(string)
	f.server.moves.wait.Wait()
	return f.want(200, "GET", "/api/moves/"+id, "").(map[string]any)
}

// payloads are those in a queue.
func (f *fixture) payloads(queue string) string {
	f.t.Helper()
	var all []any
	for _, m := range f.want(200, "GET", "/api/queues/%2F/"+queue+"/messages?state=all", "").(map[string]any)["messages"].([]any) {
		all = append(all, m.(map[string]any)["payload"])
	}
	return fmt.Sprint(all)
}

func TestMoveOverHTTP(t *testing.T) {
	f := newFixture(t)
	for _, q := range []string{"a", "b", "c"} {
		f.want(201, "PUT", "/api/queues/%2F/"+q, `{}`)
	}
	f.want(201, "PUT", "/api/exchanges/%2F/x", `{"type":"direct"}`)
	f.want(201, "POST", "/api/bindings/%2F/e/x/q/c", `{"routing_key":"k"}`)
	for i := range 4 {
		f.put("a", fmt.Sprint("red", i), `{"delivery_mode":2,"headers":{"tenant":"acme"}}`)
		f.put("a", fmt.Sprint("blue", i), `{"delivery_mode":2}`)
	}
	p := f.want(200, "POST", "/api/queues/%2F/a/move", `{"to":{"queue":"b"},"filter":{"search":"RED","in":["body"]},"preview":true}`).(map[string]any)
	if fmt.Sprint(p["matched"], p["total"], p["complete"], p["destinations"]) != "4 8 true [map[count:4 exchange: queue:b queues:[b] routing_key:b]]" {
		t.Errorf("%v", p)
	}
	o := f.move("a", `{"to":{"queue":"b"},"filter":{"search":"acme","in":"headers"},"limit":"3"}`)
	if fmt.Sprint([]any{o["state"], o["moved"], o["matched"], o["skipped"], o["total"], o["error"], o["queue"], o["vhost"], o["to"], o["user"]}) !=
		"[done 3 3 0 8 <nil> a / map[queue:b] admin]" || o["ended_at"] == nil {
		t.Errorf("%v", o)
	}
	if a, b := f.payloads("a"), f.payloads("b"); a != "[blue0 blue1 blue2 red3 blue3]" || b != "[red0 red1 red2]" {
		t.Errorf("%s %s", a, b)
	}
	if o := f.move("b", `{"to":{"exchange":"x","routing_key":"k"},"filter":{"newer_than_ms":3600000}}`); o["moved"] != 3.0 {
		t.Errorf("%v", o)
	}
	if o := f.move("c", `{"to":{"queue":"b"},"filter":{"older_than_ms":3600000}}`); o["matched"] != 0.0 {
		t.Errorf("%v", o)
	}
	ids := f.want(200, "GET", "/api/queues/%2F/c/messages", "").(map[string]any)["messages"].([]any)
	if o := f.move("c", fmt.Sprintf(`{"to":{"exchange":"amq.default","routing_key":"b"},"filter":{"ids":[%q]}}`, ids[1].(map[string]any)["id"])); o["moved"] != 1.0 {
		t.Errorf("%v", o)
	}
	if b, c := f.payloads("b"), f.payloads("c"); b != "[red1]" || c != "[red0 red2]" {
		t.Errorf("%s %s", b, c)
	}
	list := f.want(200, "GET", "/api/moves", "").([]any)
	if len(list) != 4 || list[3].(map[string]any)["id"] != "4" {
		t.Errorf("%v", list)
	}
	f.want(204, "DELETE", "/api/moves/1", "")
	f.want(404, "GET", "/api/moves/9", "")
	f.want(404, "DELETE", "/api/moves/x", "")

	for _, body := range []string{
		`{}`, `{"to":"home"}`, `{"to":{}}`, `{"to":{"queue":"b","exchange":"x"}}`, `{"to":{"queue":""}}`, `{"to":{"queue":"a"}}`, `{"to":[1]}`,
		`{"to":"origin","limit":0}`, `{"to":"origin","limit":"x"}`, `{"to":"origin","preview":"perhaps"}`, `{"to":"origin","filter":[]}`,
		`{"to":"origin","filter":{"search":"x","in":"soul"}}`, `{"to":"origin","filter":{"search":"x","in":[1]}}`,
		`{"to":"origin","filter":{"older_than_ms":"x"}}`, `{"to":"origin","filter":{"ids":"1"}}`, `{"to":"origin","filter":{"ids":["x"]}}`,
	} {
		f.want(400, "POST", "/api/queues/%2F/a/move", body)
	}
	f.want(404, "POST", "/api/queues/%2F/a/move", `{"to":{"queue":"none"}}`)
	f.want(404, "POST", "/api/queues/%2F/a/move", `{"to":{"exchange":"none"}}`)
	f.want(404, "POST", "/api/queues/%2F/none/move", `{"to":"origin"}`)
}

func TestRedriveOverHTTP(t *testing.T) {
	f := newFixture(t)
	f.want(201, "PUT", "/api/queues/%2F/dead", `{}`)
	f.want(201, "PUT", "/api/queues/%2F/work", `{"arguments":{"x-dead-letter-exchange":"","x-dead-letter-routing-key":"dead","x-max-length":2}}`)
	f.want(201, "POST", "/api/bindings/%2F/e/amq.direct/q/work", `{"routing_key":"jobs"}`)
	for i := range 3 {
		f.want(200, "POST", "/api/exchanges/%2F/amq.direct/publish",
			fmt.Sprintf(`{"properties":{"headers":{"n":%d}},"routing_key":"jobs","payload":"job%d","payload_encoding":"string"}`, i, i))
	}
	f.want(200, "POST", "/api/queues/%2F/work/get", `{"count":1,"ackmode":"reject_requeue_false","encoding":"auto"}`)
	f.settled("dead", 2)
	if s := f.payloads("dead"); s != "[job0 job1]" {
		t.Fatal(s)
	}
	f.user("eve", "management")
	f.must(f.broker.SetPermission("eve", "/", permission("", "^amq.default$", ".*")))
	if a := f.do("POST", "/api/queues/%2F/dead/move", "eve", `{"to":"origin","preview":true}`); a.status != 401 {
		t.Errorf("%d %s", a.status, a.body)
	}
	p := f.want(200, "POST", "/api/queues/%2F/dead/move", `{"to":"origin","filter":{"reason":"rejected"},"preview":true}`).(map[string]any)
	if fmt.Sprint(p["destinations"]) != "[map[count:1 exchange:amq.direct queue:work queues:[work] routing_key:jobs]]" {
		t.Errorf("%v", p)
	}
	if o := f.move("dead", `{"to":"origin","filter":{"reason":"rejected"}}`); o["moved"] != 1.0 || o["to"] != "origin" {
		t.Errorf("%v", o)
	}
	if dead, work := f.payloads("dead"), f.payloads("work"); dead != "[job0]" || work != "[job2 job1]" {
		t.Errorf("%s %s", dead, work)
	}
	m := f.want(200, "GET", "/api/queues/%2F/work/messages?offset=1", "").(map[string]any)["messages"].([]any)[0].(map[string]any)
	if m["exchange"] != "amq.direct" || m["routing_key"] != "jobs" || fmt.Sprint(m["properties"]) != "map[headers:map[n:1]]" {
		t.Errorf("%v", m)
	}
	// A job of somebody else's is not to be seen, and not to be cancelled.
	if a := f.do("GET", "/api/moves/1", "eve", ""); a.status != 404 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := f.do("GET", "/api/moves", "eve", ""); string(a.body) != "[]" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// settled checks that so many messages are in a queue, where they were on their way.
func (f *fixture) settled(queue string, n int) {
	f.t.Helper()
	v, _ := f.broker.VHost("/")
	q, _ := v.Queue(queue)
	f.broker.Advance(f.broker.Now()) // Waits for what is on its way.
	if got := q.Info().Ready; got != n {
		f.t.Fatalf("%d messages in %s", got, queue)
	}
}

func TestMovesEndWithTheServer(t *testing.T) {
	f := newFixture(t)
	f.want(201, "PUT", "/api/queues/%2F/a", `{}`)
	f.want(201, "PUT", "/api/queues/%2F/b", `{}`)
	f.put("a", "x", `{}`)
	hold, held := make(chan struct{}), make(chan struct{})
	s := f.session("admin", "/")
	j := &moveJob{vhost: "/", queue: "a", user: "admin", to: "origin"}
	f.must(f.server.moves.start(f.server, j, s, core.MoveOptions{Queue: "a", To: core.MoveTo{Queue: "b"}, Match: func(*core.Peeked) bool {
		close(held)
		<-hold
		return false
	}}))
	<-held
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { f.server.Run(ctx); close(done) }()
	stop()
	go close(hold)
	<-done // Which waits for the job.
	if j.running() {
		t.Error("still running")
	}
	f.want(503, "POST", "/api/queues/%2F/a/move", `{"to":{"queue":"b"}}`)
}

func TestMovesAreBounded(t *testing.T) {
	f := newFixture(t)
	f.want(201, "PUT", "/api/queues/%2F/a", `{}`)
	f.want(201, "PUT", "/api/queues/%2F/b", `{}`)
	f.put("a", "x", `{}`)
	hold := make(chan struct{})
	for range movesRunning {
		j := &moveJob{vhost: "/", queue: "a", user: "admin", to: "origin"}
		f.must(f.server.moves.start(f.server, j, f.session("admin", "/"), core.MoveOptions{Queue: "a", To: core.MoveTo{Queue: "b"}, Match: func(*core.Peeked) bool {
			<-hold
			return false
		}}))
	}
	if a := f.do("POST", "/api/queues/%2F/a/move", "admin", `{"to":{"queue":"b"}}`); a.status != 429 {
		t.Errorf("%d %s", a.status, a.body)
	}
	for id := range movesRunning {
		f.want(204, "DELETE", fmt.Sprint("/api/moves/", id+1), "")
	}
	close(hold)
	f.server.moves.wait.Wait()
	for range 2 * movesKept {
		f.move("a", `{"to":{"queue":"b"},"limit":1,"filter":{"search":"nothing"}}`)
	}
	if n := len(f.server.moves.list()); n > movesKept+movesRunning {
		t.Errorf("%d jobs are remembered", n)
	}
}
