package shovel

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"leveret/core"
	"leveret/core/auth"
)

// rig is a broker with a manager of shovels.
type rig struct {
	t       *testing.T
	broker  *core.Broker
	manager *Manager
	session *core.Session
	log     *logBuffer
}

type logBuffer struct {
	sync.Mutex
	strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.Lock()
	defer b.Unlock()
	return b.Builder.Write(p)
}

func (b *logBuffer) String() string {
	b.Lock()
	defer b.Unlock()
	return b.Builder.String()
}

func newRig(t *testing.T) *rig {
	t.Helper()
	b, err := core.New(core.Options{})
	if err != nil {
		t.Fatal(err)
	}
	log := &logBuffer{}
	r := &rig{t: t, broker: b, log: log, manager: NewManager(Options{Broker: b, Logger: slog.New(slog.NewTextHandler(log, nil))})}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { b.Run(ctx) })
	running.Go(func() { r.manager.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait(); b.Close() })
	u, _ := b.Auth().User("guest")
	if r.session, err = b.OpenSession(core.SessionOptions{VHost: "/", User: u, Internal: true}); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) queue(name string, args core.Table) {
	r.t.Helper()
	if _, err := r.session.DeclareQueue(core.QueueDeclare{Name: name, Durable: true, Arguments: args}); err != nil {
		r.t.Fatal(err)
	}
}

type completions chan core.Kind

func (c completions) Completed(first, last uint64, k core.Kind) {
	for ; first <= last; first++ {
		c <- k
	}
}

// publish puts messages into a queue, each with its number as the body.
func (r *rig) publish(exchange, key string, n int, p *core.Properties) {
	r.t.Helper()
	done := make(completions, n)
	pub := r.session.NewPublisher(done)
	target, err := pub.Target(exchange)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := range n {
		ms := make([]core.Publication, 1)
		m := &ms[0]
		m.Reset()
		m.RoutingKey, m.Body, m.Number = key, []byte(fmt.Sprint("m", i)), uint64(i+1)
		m.SetProperties(p)
		if _, err := pub.Route(target, m); err != nil {
			r.t.Fatal(err)
		}
		var t core.Touched
		pub.Publish(ms, &t)
		t.Flush()
		if k := <-done; k != core.OK {
			r.t.Fatal(k)
		}
	}
}

func (r *rig) put(name string, value map[string]any, user string) {
	r.t.Helper()
	raw, err := json.Marshal(value)
	if err == nil {
		err = r.broker.PutParameter(core.ParameterDef{Component: component, VHost: "/", Name: name, Value: string(raw), User: user})
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// until waits until ok, which is asked again and again.
func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			r.t.Fatalf("not %s\n%v\n%s", what, r.manager.Status(), r.log.String())
		}
	}
}

func (r *rig) ready(queue string) int {
	v, _ := r.broker.VHost("/")
	q, ok := v.Queue(queue)
	if !ok {
		return -1
	}
	return q.Info().Ready
}

func (r *rig) state(name string) map[string]any {
	for _, o := range r.manager.Status() {
		if o["name"] == name {
			return o
		}
	}
	return nil
}

// got is what get returned.
type got struct {
	body, exchange, key string
	redelivered         bool
	props               *core.Properties
	expires             int64
}

func (r *rig) get(queue string) *got {
	r.t.Helper()
	var g *got
	_, err := r.session.Get(queue, true, func(_ *core.Holder, d *core.Delivery, _ int) {
		m := d.Message.Clone()
		g = &got{string(m.Body), m.Exchange, m.RoutingKey, d.Redelivered, m.Properties(), m.ExpiresMS}
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return g
}

// move is what the management page "move messages" asks for.
func move(from, to string) map[string]any {
	return map[string]any{
		"src-uri": "amqp:///%2F", "src-queue": from, "src-protocol": "amqp091", "src-prefetch-count": 1000, "src-delete-after": "queue-length",
		"dest-protocol": "amqp091", "dest-uri": "amqp:///%2F", "dest-add-forward-headers": false, "ack-mode": "on-confirm", "dest-queue": to,
	}
}

func TestMoveMessages(t *testing.T) {
	r := newRig(t)
	r.queue("from", nil)
	priority, expiration := uint8(3), "600000"
	deaths := []any{core.Table{{Name: "queue", Value: "old"}, {Name: "count", Value: int64(2)}, {Name: "time", Value: core.Timestamp(7)}}}
	r.publish("", "from", 500, &core.Properties{
		ContentType: "text/x", ContentTypeSet: true, Priority: &priority, Expiration: &expiration,
		Headers: core.Table{{Name: "x-death", Value: deaths}, {Name: "n", Value: int8(1)}},
	})
	r.put("mv", move("from", "to"), "guest")
	r.until("moved and gone", func() bool {
		_, there := r.broker.Parameter(component, "/", "mv")
		return !there && r.ready("to") == 500 && r.state("mv") == nil
	})
	if n := r.ready("from"); n != 0 {
		t.Errorf("%d are left", n)
	}
	for i := range 500 {
		g := r.get("to")
		if g == nil || g.body != fmt.Sprint("m", i) || g.redelivered || g.exchange != "" || g.key != "to" {
			t.Fatalf("message %d is %+v", i, g)
		}
		if p := g.props; *p.Priority != 3 || *p.Expiration != expiration || p.ContentType != "text/x" || fmt.Sprint(p.Headers) != fmt.Sprint(core.Table{{Name: "x-death", Value: deaths}, {Name: "n", Value: int8(1)}}) {
			t.Fatalf("message %d has %+v", i, p)
		}
		if left := g.expires - r.broker.Now(); left <= 0 || left > 600000 {
			t.Fatalf("message %d expires in %d ms", i, left)
		}
	}
}

// TestKeepsWhereItCameFrom is what a migration asks for.
func TestKeepsWhereItCameFrom(t *testing.T) {
	r := newRig(t)
	r.queue("from", nil)
	if err := r.session.Bind(core.Binding{Source: "amq.topic", Destination: "from", Key: "a.*"}); err != nil {
		t.Fatal(err)
	}
	r.publish("amq.topic", "a.b", 1, &core.Properties{})
	v := move("from", "to")
	v["dest-keep-origin"] = true
	r.put("mv", v, "guest")
	r.until("moved", func() bool { return r.ready("to") == 1 })
	if g := r.get("to"); g.exchange != "amq.topic" || g.key != "a.b" {
		t.Errorf("%+v", g)
	}
}

func TestHeadersAndProperties(t *testing.T) {
	r := newRig(t)
	r.queue("from", nil)
	r.publish("", "from", 1, &core.Properties{})
	v := move("from", "to")
	v["dest-add-forward-headers"], v["dest-add-timestamp-header"] = true, true
	v["dest-publish-properties"] = map[string]any{"delivery_mode": 2, "type": "t"}
	v["src-uri"] = "amqp://guest:guest@/%2F"
	r.put("mv", v, "guest")
	r.until("moved", func() bool { return r.ready("to") == 1 })
	p := r.get("to").props
	shovelled, _ := p.Headers.Get("x-shovelled")
	if s := fmt.Sprint(shovelled); !strings.Contains(s, "shovel-name mv") || !strings.Contains(s, "amqp:///%2F") || strings.Contains(s, "guest") {
		t.Errorf("x-shovelled: %v", s)
	}
	if at, _ := p.Headers.Get("x-shovelled-timestamp"); at == nil || p.DeliveryMode != 2 || *p.Type != "t" {
		t.Errorf("%+v", p)
	}
}

// TestUnroutableWaits: a message that goes nowhere stays, keeps those behind it,
// and goes when there is somewhere to go.
func TestUnroutableWaits(t *testing.T) {
	r := newRig(t)
	r.queue("from", nil)
	r.queue("to", nil)
	r.publish("", "from", 20, &core.Properties{})
	v := move("from", "")
	delete(v, "dest-queue")
	delete(v, "src-delete-after")
	v["dest-exchange"], v["dest-exchange-key"], v["reconnect-delay"] = "amq.direct", "k", 0.01
	r.put("mv", v, "guest")
	r.until("refused", func() bool {
		s := r.state("mv")
		return s != nil && s["state"] == stateTerminated && strings.Contains(fmt.Sprint(s["reason"]), "unroutable")
	})
	if err := r.session.Bind(core.Binding{Source: "amq.direct", Destination: "to", Key: "k"}); err != nil {
		t.Fatal(err)
	}
	r.until("moved", func() bool { return r.ready("to") == 20 && r.ready("from") == 0 })
	for i := range 20 {
		if g := r.get("to"); g.body != fmt.Sprint("m", i) {
			t.Fatalf("message %d is %s", i, g.body)
		}
	}
}

// TestStreamIsRemembered reads a stream, and goes on from its offset in a shovel
// made anew from the parameter.
func TestStreamIsRemembered(t *testing.T) {
	r := newRig(t)
	r.queue("from", core.Table{{Name: "x-queue-type", Value: "stream"}})
	r.queue("to", nil)
	r.publish("", "from", 30, &core.Properties{})
	v := map[string]any{
		"src-uri": "amqp:///%2F", "src-queue": "from", "src-consumer-args": map[string]any{"x-stream-offset": "first"}, "src-remember-offset": true,
		"dest-uri": "amqp:///%2F", "dest-queue": "to",
	}
	r.put("copy", v, "guest")
	r.until("copied", func() bool { return r.ready("to") == 30 })
	r.until("remembered", func() bool {
		d, _ := r.broker.Parameter(component, "/", "copy")
		return strings.Contains(d.Value, `"x-stream-offset":30`) && d.User == "guest"
	})
	r.manager.Restart("/", "copy")
	r.publish("", "from", 5, &core.Properties{})
	r.until("copied on", func() bool { return r.ready("to") == 35 })
	if _, ok := r.get("to").props.Headers.Get(headerStreamOffset); ok {
		t.Error("the stream's header went along")
	}
}

// TestActsAsWhoPutIt: a local end may do what the user may who put the parameter.
func TestActsAsWhoPutIt(t *testing.T) {
	r := newRig(t)
	r.queue("from", nil)
	r.queue("to", nil)
	r.publish("", "from", 1, &core.Properties{})
	for _, err := range []error{
		r.broker.PutUser(auth.User{Name: "some", Tags: []string{auth.TagPolicymaker}}),
		r.broker.SetPermission("some", "/", auth.Permission{Configure: "", Write: ".*", Read: "nothing"}),
		r.broker.PutUser(auth.User{Name: "stranger"}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	r.put("mv", move("from", "to"), "some")
	r.until("refused", func() bool {
		s := r.state("mv")
		return s != nil && strings.Contains(fmt.Sprint(s["reason"]), "read access to queue 'from' in vhost '/' refused for user 'some'")
	})
	raw, _ := json.Marshal(move("from", "to"))
	err := r.broker.PutParameter(core.ParameterDef{Component: component, VHost: "/", Name: "x", Value: string(raw), User: "stranger"})
	if err == nil || !strings.Contains(err.Error(), `user "stranger" may not connect to vhost "/"`) {
		t.Errorf("stranger: %v", err)
	}
	// Put anew by somebody who may, it goes on at once.
	r.put("mv", move("from", "to"), "guest")
	r.until("moved", func() bool { return r.ready("to") == 1 })
}

// TestRemoteRefuses: an end that cannot be reached is a reason, without the
// password, in status and log.
func TestRemoteRefuses(t *testing.T) {
	r := newRig(t)
	v := move("from", "to")
	v["src-uri"], v["src-delete-after"] = "amqp://user:pa55@127.0.0.1:1/v", "never"
	r.put("mv", v, "guest")
	r.until("refused", func() bool { s := r.state("mv"); return s != nil && s["state"] == stateTerminated })
	shown := fmt.Sprint(r.state("mv"))
	if strings.Contains(shown+r.log.String(), "pa55") || !strings.Contains(shown, "amqp://127.0.0.1:1/v") {
		t.Errorf("shown: %s\nlogged: %s", shown, r.log.String())
	}
}
