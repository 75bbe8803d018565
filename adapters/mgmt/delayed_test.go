package mgmt

import (
	"fmt"
	"sync/atomic"
	"testing"

	"leveret/core/auth"
)

// delayedFixture has an exchange "later" that delays messages to the queue
// "due", and a clock that stands still.
func delayedFixture(t *testing.T) (f *fixture, at string) {
	var clock atomic.Int64
	clock.Store(1_800_000_000_000)
	f = newFixtureAt(t, clock.Load)
	at = "/api/exchanges/%2F/later"
	f.want(201, "PUT", at, `{"type":"x-delayed-message","arguments":{"x-delayed-type":"direct"}}`)
	f.want(201, "PUT", "/api/queues/%2F/due", `{}`)
	f.want(201, "POST", "/api/bindings/%2F/e/later/q/due", `{"routing_key":"k"}`)
	return f, at
}

// delay publishes a message to it.
func (f *fixture) delay(payload string, ms int) {
	f.t.Helper()
	f.want(200, "POST", "/api/exchanges/%2F/later/publish",
		fmt.Sprintf(`{"properties":{"delivery_mode":2,"headers":{"x-delay":%d}},"routing_key":"k","payload":%q,"payload_encoding":"string"}`, ms, payload))
}

// page is an answer of GET …/delayed.
func (f *fixture) delayed(path string) (ids []string, next any) {
	f.t.Helper()
	o := f.want(200, "GET", path, "").(map[string]any)
	for _, i := range o["items"].([]any) {
		ids = append(ids, i.(map[string]any)["id"].(string))
	}
	if o["item_count"] != float64(len(ids)) {
		f.t.Errorf("item_count %v of %d", o["item_count"], len(ids))
	}
	return ids, o["next"]
}

func TestDelayedMessages(t *testing.T) {
	f, at := delayedFixture(t)
	if o := f.want(200, "GET", at, "").(map[string]any); o["messages_delayed"] != 0.0 || o["message_bytes_delayed"] != 0.0 {
		t.Errorf("%v", o)
	}
	if o := f.want(200, "GET", "/api/exchanges/%2F/amq.topic", "").(map[string]any); o["messages_delayed"] != nil {
		t.Errorf("%v", o)
	}
	for i := range 5 {
		f.delay(fmt.Sprint("message ", i), 60_000*(5-i)) // The last is the first to be due.
	}
	if o := f.want(200, "GET", at, "").(map[string]any); o["messages_delayed"] != 5.0 || o["message_bytes_delayed"] != 45.0 {
		t.Errorf("%v", o)
	}

	first, next := f.delayed(at + "/delayed?page_size=2")
	if len(first) != 2 || next != first[1] {
		t.Fatalf("%v, then %v", first, next)
	}
	second, next := f.delayed(fmt.Sprint(at, "/delayed?page_size=3&after=", next))
	if len(second) != 3 || next != nil {
		t.Fatalf("%v, then %v", second, next)
	}
	all, _ := f.delayed(at + "/delayed")
	if fmt.Sprint(all) != fmt.Sprint(append(first, second...)) {
		t.Errorf("%v, in pages %v and %v", all, first, second)
	}
	o := f.want(200, "GET", at+"/delayed?page_size=1", "").(map[string]any)
	if o["total_count"] != 5.0 || o["total_payload_bytes"] != 45.0 {
		t.Errorf("%v", o)
	}
	if m := o["items"].([]any)[0].(map[string]any); m["due_ms"] != 1_800_000_060_000.0 || m["payload_bytes"] != 9.0 {
		t.Errorf("%v", m)
	}

	f.want(204, "DELETE", at+"/delayed/"+all[0], "")
	f.want(404, "DELETE", at+"/delayed/"+all[0], "")
	last := f.want(200, "PUT", at+"/delayed/"+all[1], `{"delay_ms":1000000}`).(map[string]any)
	if last["due_ms"] != 1_800_001_000_000.0 {
		t.Errorf("%v", last)
	}
	f.want(404, "PUT", at+"/delayed/"+all[1], `{"delay_ms":1}`)
	soon := f.want(200, "PUT", at+"/delayed/"+all[4], `{"due_ms":"1800000000001"}`).(map[string]any)
	if now, _ := f.delayed(at + "/delayed"); fmt.Sprint(now) != fmt.Sprint([]any{soon["id"], all[2], all[3], last["id"]}) {
		t.Errorf("%v of %v", now, all)
	}
}

func TestDelayedMessagesWrong(t *testing.T) {
	f, at := delayedFixture(t)
	f.delay("x", 60_000)
	ids, _ := f.delayed(at + "/delayed")
	for _, body := range []string{`{}`, `{"due_ms":1,"delay_ms":1}`, `{"due_ms":"soon"}`, `{"delay_ms":-1}`, `{"delay_ms":9223372036854775807}`, `{"delay_ms":400000000000}`, `[`} {
		f.want(400, "PUT", at+"/delayed/"+ids[0], body)
	}
	for _, id := range []string{"x", "1", "1-", "-1-1-1", "99999999999999999999-1"} {
		f.want(400, "DELETE", at+"/delayed/"+id, "")
		f.want(400, "GET", at+"/delayed?after="+id, "")
	}
	for _, size := range []string{"0", "501", "-1", "x", ""} {
		f.want(400, "GET", at+"/delayed?page_size="+size, "")
	}
	f.want(400, "GET", "/api/exchanges/%2F/amq.topic/delayed", "")
	f.want(404, "GET", "/api/exchanges/%2F/missing/delayed", "")
	f.want(404, "DELETE", "/api/exchanges/%2F/missing/delayed/1-1", "")
	f.want(405, "POST", at+"/delayed", "")
	if now, _ := f.delayed(at + "/delayed"); fmt.Sprint(now) != fmt.Sprint(ids) {
		t.Errorf("%v, were %v", now, ids)
	}
}

// TestDelayedMessagesRights: reading the exchange shows its messages,
// configuring it is what changes need. Without either nobody learns whether an
// exchange is there.
func TestDelayedMessagesRights(t *testing.T) {
	f, at := delayedFixture(t)
	f.delay("x", 60_000)
	ids, _ := f.delayed(at + "/delayed")
	f.user("reader", "management")
	f.must(f.broker.SetPermission("reader", "/", auth.Permission{Configure: "^$", Write: "^$", Read: "later"}))
	f.user("owner", "management")
	f.must(f.broker.SetPermission("owner", "/", auth.Permission{Configure: "later", Write: "^$", Read: "^$"}))
	f.user("stranger", "management")
	for _, c := range []struct {
		user, method, path string
		want               int
	}{
		{"reader", "GET", at + "/delayed", 200},
		{"reader", "DELETE", at + "/delayed/" + ids[0], 401},
		{"reader", "PUT", at + "/delayed/" + ids[0], 401},
		{"reader", "GET", "/api/exchanges/%2F/missing/delayed", 401},
		{"owner", "GET", at + "/delayed", 401},
		{"stranger", "GET", at + "/delayed", 401},
		{"stranger", "DELETE", at + "/delayed/" + ids[0], 401},
		{"", "GET", at + "/delayed", 401},
		{"owner", "PUT", at + "/delayed/" + ids[0], 200},
	} {
		if a := f.do(c.method, c.path, c.user, `{"due_ms":1800000070000}`); a.status != c.want {
			t.Errorf("%s %s as %q: %d %s, want %d", c.method, c.path, c.user, a.status, a.body, c.want)
		}
	}
	moved, _ := f.delayed(at + "/delayed")
	if a := f.do("DELETE", at+"/delayed/"+moved[0], "owner", ""); a.status != 204 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestQueueStates shows what is neither ready nor unacked, and what died.
func TestQueueStates(t *testing.T) {
	f := newFixture(t)
	f.want(201, "PUT", "/api/queues/%2F/retried", `{"arguments":{"x-delayed-retry-type":"all","x-delayed-retry-min":3600000}}`)
	f.want(201, "PUT", "/api/queues/%2F/full", `{"arguments":{"x-max-length":0,"x-overflow":"reject-publish"}}`)
	f.want(201, "PUT", "/api/queues/%2F/surely", `{"arguments":{"x-queue-type":"quorum","x-dead-letter-exchange":"","x-dead-letter-routing-key":"full",
		"x-dead-letter-strategy":"at-least-once","x-overflow":"reject-publish"}}`)
	f.want(201, "PUT", "/api/queues/%2F/short", `{"arguments":{"x-max-length":1}}`)
	for _, queue := range []string{"retried", "retried", "surely", "short", "short"} {
		f.want(200, "POST", "/api/exchanges/%2F/amq.default/publish", `{"properties":{},"routing_key":"`+queue+`","payload":"x","payload_encoding":"string"}`)
	}
	f.want(200, "POST", "/api/queues/%2F/retried/get", `{"count":1,"ackmode":"reject_requeue_true","encoding":"auto"}`)
	f.want(200, "POST", "/api/queues/%2F/surely/get", `{"count":1,"ackmode":"reject_requeue_false","encoding":"auto"}`)
	for _, c := range []struct {
		queue          string
		ready          float64
		delayed, leave float64
		died           string
	}{
		{"retried", 1, 1, 0, ""},
		{"surely", 0, 0, 1, "rejected"},
		{"short", 1, 0, 0, "maxlen"},
	} {
		o := f.want(200, "GET", "/api/queues/%2F/"+c.queue, "").(map[string]any)
		if o["messages_ready"] != c.ready || o["messages_delayed"] != c.delayed || o["messages_leaving"] != c.leave {
			t.Errorf("%s: %v ready, %v delayed, %v leaving", c.queue, o["messages_ready"], o["messages_delayed"], o["messages_leaving"])
		}
		stats := o["message_stats"].(map[string]any)
		for _, reason := range []string{"rejected", "expired", "maxlen", "delivery_limit"} {
			want := 0.0
			if reason == c.died {
				want = 1
			}
			if got := stats["dead_lettered_"+reason]; got != want {
				t.Errorf("%s: dead_lettered_%s is %v", c.queue, reason, got)
			}
		}
	}
}
