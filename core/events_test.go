package core_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"leveret/core"
	"leveret/core/auth"
)

// eventLog is what a stream has told, one line an event.
func eventLog(s *core.EventStream) []string {
	var lines []string
	for _, e := range s.Take() {
		line := string(e.Kind)
		for _, part := range []string{"by=" + e.By, "vhost=" + e.VHost, "name=" + e.Name} {
			if !strings.HasSuffix(part, "=") {
				line += " " + part
			}
		}
		if e.Fields != nil {
			b, err := json.Marshal(e.Fields)
			if err != nil {
				b = []byte(err.Error())
			}
			line += " " + string(b)
		}
		if e.AtMS == 0 {
			line += " at no time"
		}
		lines = append(lines, line)
	}
	return lines
}

func wantEvents(t *testing.T, s *core.EventStream, want ...string) {
	t.Helper()
	if got := eventLog(s); !slices.Equal(got, want) {
		t.Errorf("events:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func openSession(t testing.TB, b *core.Broker, user, vhost string) *core.Session {
	t.Helper()
	u, ok := b.Auth().User(user)
	if !ok {
		t.Fatalf("no user %s", user)
	}
	s, err := b.OpenSession(core.SessionOptions{VHost: vhost, User: u, Loopback: true, Name: "here -> there"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func newBroker(t testing.TB, o core.Options) *core.Broker {
	t.Helper()
	b, err := core.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestEventsOfTopology(t *testing.T) {
	b := newBroker(t, core.Options{})
	s := openSession(t, b, "guest", "/")
	events := b.Events(nil)
	defer events.Close()

	check(t, s.DeclareExchange(core.ExchangeDeclare{Name: "x", Type: "topic", Durable: true}))
	check(t, s.DeclareExchange(core.ExchangeDeclare{Name: "x", Type: "topic", Durable: true}))
	_, err := s.DeclareQueue(core.QueueDeclare{Name: "q", Durable: true, Arguments: core.Table{{Name: "x-max-length", Value: int64(5)}}})
	check(t, err)
	_, err = s.DeclareQueue(core.QueueDeclare{Name: "q", Durable: true, Arguments: core.Table{{Name: "x-max-length", Value: int64(5)}}})
	check(t, err)
	bind := core.Binding{Source: "x", Destination: "q", Key: "a.#"}
	check(t, s.Bind(bind))
	check(t, s.Bind(bind))
	wantEvents(t, events,
		`exchange.created by=guest vhost=/ name=x {"arguments":{},"auto_delete":false,"durable":true,"internal":false,"type":"topic"}`,
		`queue.created by=guest vhost=/ name=q {"arguments":{"x-max-length":5},"auto_delete":false,"durable":true,"exclusive":false,"type":"classic"}`,
		`binding.created by=guest vhost=/ {"arguments":{},"destination_kind":"queue","destination_name":"q","routing_key":"a.#","source_kind":"exchange","source_name":"x"}`,
	)

	var touched core.Touched
	c, err := s.Consume(core.ConsumeOptions{Queue: "q", Tag: "t", Scope: "here (1)", Prefetch: 3, Outlet: &sink{}})
	check(t, err)
	c.Cancel(&touched)
	c.Cancel(&touched)
	wantEvents(t, events,
		`consumer.created by=guest vhost=/ {"ack_required":true,"arguments":{},"connection":"here -\u003e there","exclusive":false,"prefetch_count":3,"queue":"q","scope":"here (1)","tag":"t"}`,
		`consumer.deleted by=guest vhost=/ {"connection":"here -\u003e there","queue":"q","scope":"here (1)","tag":"t"}`,
	)

	check(t, s.Unbind(bind))
	check(t, s.Unbind(bind))
	check(t, s.DeleteExchange("x", false))
	if _, err := s.DeleteQueue("q", false, false); err != nil {
		t.Fatal(err)
	}
	_, err = s.DeclareQueue(core.QueueDeclare{Name: "mine", Exclusive: true})
	check(t, err)
	s.Close()
	wantEvents(t, events,
		`binding.deleted by=guest vhost=/ {"arguments":{},"destination_kind":"queue","destination_name":"q","routing_key":"a.#","source_kind":"exchange","source_name":"x"}`,
		`exchange.deleted by=guest vhost=/ name=x`,
		`queue.deleted by=guest vhost=/ name=q`,
		`queue.created by=guest vhost=/ name=mine {"arguments":{},"auto_delete":false,"durable":false,"exclusive":true,"type":"classic"}`,
		`queue.deleted by=guest vhost=/ name=mine`,
	)
}

func TestEventsOfOperators(t *testing.T) {
	b := newBroker(t, core.Options{})
	events := b.Events(nil)
	defer events.Close()
	root := b.As("root")
	hash := func(password string) string {
		h, err := auth.HashPassword(password, "")
		check(t, err)
		return h
	}

	u := auth.User{Name: "u", PasswordHash: hash("one"), Tags: []string{"monitoring"}}
	check(t, root.PutUser(u))
	u.PasswordHash = hash("two")
	check(t, root.PutUser(u))
	u.PasswordHash, u.Tags = "", nil
	check(t, root.PutUser(u))
	check(t, root.SetUserLimit("u", auth.LimitConnections, 7))
	check(t, root.ClearUserLimit("u", auth.LimitConnections))
	wantEvents(t, events,
		`user.created by=root name=u`,
		`user.tags.set by=root name=u {"tags":["monitoring"]}`,
		`user.password.changed by=root name=u`,
		`user.password.cleared by=root name=u`,
		`user.tags.set by=root name=u {"tags":[]}`,
		`user.limits.set by=root name=u {"limits":{"max-connections":7}}`,
		`user.limits.cleared by=root name=u {"limits":"max-connections"}`,
	)

	check(t, root.PutVHost(core.VHostDef{Name: "v", Description: "d", Tags: []string{"a"}}))
	check(t, root.SetPermission("u", "v", auth.Permission{Configure: "c", Write: "w", Read: "r"}))
	check(t, root.SetTopicPermission("u", "v", auth.TopicPermission{Exchange: "amq.topic", Write: "w", Read: "r"}))
	check(t, root.ClearTopicPermissions("u", "v"))
	check(t, root.SetVHostLimit("v", core.LimitQueues, 9))
	check(t, root.ClearVHostLimit("v", core.LimitQueues))
	check(t, root.PutParameter(core.ParameterDef{Component: "shovel", VHost: "v", Name: "s", Value: `{"src-uri":"amqp://u:secret@h"}`}))
	check(t, root.ClearParameter("shovel", "v", "s"))
	check(t, root.SetGlobal("g", json.RawMessage(`1`)))
	wantEvents(t, events,
		`vhost.created by=root name=v {"description":"d","tags":["a"]}`,
		`permission.created by=root vhost=v {"configure":"c","read":"r","user":"u","write":"w"}`,
		`topic.permission.created by=root vhost=v {"exchange":"amq.topic","read":"r","user":"u","write":"w"}`,
		`topic.permission.deleted by=root vhost=v {"exchange":"amq.topic","user":"u"}`,
		`vhost.limits.set by=root name=v {"limits":{"max-queues":9}}`,
		`vhost.limits.cleared by=root name=v {"limits":{"max-queues":-1}}`,
		`parameter.set by=root vhost=v name=s {"component":"shovel"}`,
		`parameter.cleared by=root vhost=v name=s {"component":"shovel"}`,
		`parameter.set by=root name=g`,
	)

	check(t, root.DeleteVHost("v"))
	check(t, root.DeleteUser("u"))
	wantEvents(t, events,
		`permission.deleted by=root vhost=v {"user":"u"}`,
		`vhost.deleted by=root name=v`,
		`user.deleted by=root name=u`,
	)
}

func TestEventsOfPolicies(t *testing.T) {
	b := newBroker(t, core.Options{})
	s := openSession(t, b, "guest", "/")
	_, err := s.DeclareQueue(core.QueueDeclare{Name: "q", Durable: true})
	check(t, err)
	events := b.Events(nil)
	defer events.Close()
	check(t, b.As("root").PutPolicy(core.PolicyDef{VHost: "/", Name: "p", Pattern: "q", Priority: 2, Definition: `{"max-length":3}`}))
	check(t, b.As("root").ClearPolicy("/", "p"))
	wantEvents(t, events,
		`policy.set by=root vhost=/ name=p {"apply-to":"all","definition":{"max-length":3},"pattern":"q","priority":2}`,
		`queue.policy.updated vhost=/ name=q {"operator_policy":"","policy":"p"}`,
		`policy.cleared by=root vhost=/ name=p`,
		`queue.policy.cleared vhost=/ name=q`,
	)
}

// Rows are what adapters call their connections and what hangs on them.
func TestEventsOfRows(t *testing.T) {
	b := newBroker(t, core.Options{})
	s := openSession(t, b, "guest", "/")
	events := b.Events(nil)
	defer events.Close()
	parent := b.Registry().Add(core.RowOptions{Kind: "connection", Name: "c", Session: s, Attributes: func() map[string]any {
		return map[string]any{"port": uint16(5), "ssl": false, "properties": map[string]any{"a": []any{1, "x"}}, "nothing": nil}
	}})
	child := b.Registry().Add(core.RowOptions{Kind: "channel", Name: "c (1)", Session: s, Parent: parent})
	child.Remove()
	parent.Remove()
	parent.Remove()
	wantEvents(t, events,
		`connection.created by=guest vhost=/ name=c {"port":5,"properties":{"a":[1,"x"]},"ssl":false}`,
		`channel.created by=guest vhost=/ name=c (1) {"connection":"c"}`,
		`channel.closed by=guest vhost=/ name=c (1) {"connection":"c"}`,
		`connection.closed by=guest vhost=/ name=c`,
	)
}

// A listener that does not listen loses events, counted; nobody waits for it.
func TestEventsAreBounded(t *testing.T) {
	b := newBroker(t, core.Options{})
	events := b.Events(nil)
	defer events.Close()
	const n = 70_000
	for i := range n {
		b.Emit(core.Event{Kind: core.AlarmSet, Name: fmt.Sprint(i)})
	}
	kept := len(events.Take())
	if lost := events.Lost(); kept+int(lost) != n || lost == 0 || kept < 10_000 {
		t.Errorf("%d kept, %d lost of %d", kept, lost, n)
	}
	var deaf bool
	second := b.Events(func() bool { return !deaf })
	deaf = true
	b.Emit(core.Event{Kind: core.AlarmSet})
	if es := second.Take(); len(es) != 0 || second.Lost() != 0 {
		t.Errorf("a listener that wants none got %d events, lost %d", len(es), second.Lost())
	}
	second.Close()
	second.Close()
	events.Close()
	b.Emit(core.Event{Kind: core.AlarmSet})
}

func TestEventsFromManySides(t *testing.T) {
	b := newBroker(t, core.Options{})
	s := openSession(t, b, "guest", "/")
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 50 {
				name := fmt.Sprintf("q%d.%d", g, i)
				if _, err := s.DeclareQueue(core.QueueDeclare{Name: name}); err != nil {
					t.Error(err)
				}
				events := b.Events(nil)
				if _, err := s.DeleteQueue(name, false, false); err != nil {
					t.Error(err)
				}
				found := false
				for _, e := range events.Take() {
					found = found || e.Kind == core.QueueDeleted && e.Name == name
				}
				if !found {
					t.Errorf("the end of %s was not told", name)
				}
				events.Close()
			}
		})
	}
	all.Wait()
}

// What is there at the start has not happened.
func TestEventsDoNotRepeatAtStart(t *testing.T) {
	defs := core.NewMemoryDefinitions()
	b := newBroker(t, core.Options{Definitions: defs})
	check(t, b.PutVHost(core.VHostDef{Name: "/", Tracing: true}))
	v, _ := b.VHost("/")
	if !v.Definition().Tracing {
		t.Error("not traced")
	}
	check(t, b.Close())
	b = newBroker(t, core.Options{Definitions: defs})
	if v, _ = b.VHost("/"); v.Definition().Tracing {
		t.Error("still traced after a restart")
	}
}

func TestEventsOfLogins(t *testing.T) {
	b := newBroker(t, core.Options{})
	events := b.Events(nil)
	defer events.Close()
	login := func(password, protocol string) {
		b.Login(t.Context(), core.Credentials{User: "guest", Password: password, Protocol: protocol, Peer: "::1", Loopback: true})
	}
	login("guest", core.ProtocolAMQP)
	login("wrong", core.ProtocolMQTT)
	login("guest", core.ProtocolHTTP)
	wantEvents(t, events,
		`user.authentication.success by=guest name=guest {"peer_host":"::1","protocol":"`+core.ProtocolAMQP+`"}`,
		`user.authentication.failure by=guest name=guest {"error":"wrong password","peer_host":"::1","protocol":"`+core.ProtocolMQTT+`"}`,
	)
}

func TestEventsOfAlarms(t *testing.T) {
	b := newBroker(t, core.Options{NodeName: "n"})
	events := b.Events(nil)
	defer events.Close()
	ctx, stop := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { b.Run(ctx) })
	b.Alarms().SetDiskLimit(100)
	b.Alarms().SetDiskFree(50)
	<-events.Ready()
	wantEvents(t, events, `alarm.set {"node":"n","source":"disk"}`)
	b.Alarms().SetDiskFree(500)
	<-events.Ready()
	wantEvents(t, events, `alarm.cleared {"node":"n","source":"disk"}`)
	stop()
	run.Wait()
}
