package core

import (
	"errors"
	"testing"

	"leveret/core/auth"
)

func TestMemoryDefinitions(t *testing.T) {
	d := NewMemoryDefinitions()
	var seen []Change
	must(t, d.Watch(func(cs []Change) { seen = append(seen, cs...) }))
	if d.Watch(func([]Change) {}) == nil {
		t.Error("two watches")
	}
	put := func(name string, was uint64) Change {
		return Change{Kind: DefVHost, Key: []string{name}, Value: VHostDef{Name: name}, Was: was}
	}
	must(t, d.Commit([]Change{put("a", 0), put("b", AnyRevision)}))
	_, rev, err := d.Get(DefVHost, []string{"a"})
	must(t, err)
	if rev == 0 || len(seen) != 2 {
		t.Fatalf("revision %d, seen %v", rev, seen)
	}
	if err := d.Commit([]Change{put("c", 0), put("a", 0)}); !errors.Is(err, ErrConflict) {
		t.Errorf("a new a: %v", err)
	}
	if v, rev, _ := d.Get(DefVHost, []string{"c"}); v != nil || rev != 0 || len(seen) != 2 {
		t.Error("half of a refused commit is there")
	}
	must(t, d.Commit([]Change{put("a", rev), {Kind: DefVHost, Key: []string{"b"}, Was: AnyRevision}}))
	if err := d.Commit([]Change{put("a", rev)}); !errors.Is(err, ErrConflict) {
		t.Errorf("an old revision of a: %v", err)
	}
	if v, _, _ := d.Get(DefVHost, []string{"b"}); v != nil {
		t.Error("b is not deleted")
	}
	// Parts of keys are told apart, whatever they hold.
	must(t, d.Commit([]Change{{Kind: DefQueue, Key: []string{"a", "bc"}, Value: QueueDef{}}, {Kind: DefQueue, Key: []string{"ab", "c"}, Value: QueueDef{}}}))
	one, err := d.NextQueueID()
	must(t, err)
	two, err := d.NextQueueID()
	must(t, err)
	if one == 0 || one == two {
		t.Errorf("queue ids %d, %d", one, two)
	}
}

// failingDefinitions fails the next commit if fail is set.
type failingDefinitions struct {
	*MemoryDefinitions
	fail error
}

func (d *failingDefinitions) Commit(cs []Change) error {
	if err := d.fail; err != nil {
		d.fail = nil
		return err
	}
	return d.MemoryDefinitions.Commit(cs)
}

func TestRestart(t *testing.T) {
	store := NewMemoryDefinitions()
	start := func() (*Broker, *Session) {
		b, err := New(Options{Definitions: store})
		must(t, err)
		u, _ := b.Auth().User("guest")
		s, err := b.OpenSession(SessionOptions{VHost: "/", User: u})
		must(t, err)
		return b, s
	}
	b, s := start()
	must(t, b.PutUser(auth.User{Name: "u"}))
	must(t, b.SetPermission("u", "/", auth.Permission{Read: "x"}))
	must(t, b.SetVHostLimit("/", LimitQueues, 10))
	must(t, b.SetGlobal("cluster_name", []byte(`"c"`)))
	must(t, s.declareQueue("durable", QueueDeclare{Durable: true}, "x-message-ttl", int32(5)))
	must(t, s.declareQueue("transient", QueueDeclare{}))
	must(t, s.declareQueue("exclusive", QueueDeclare{Durable: true, Exclusive: true}))
	must(t, s.DeclareExchange(ExchangeDeclare{Name: "d", Type: "direct", Durable: true, Arguments: table("alternate-exchange", "t")}))
	must(t, s.DeclareExchange(ExchangeDeclare{Name: "t", Type: "direct"}))
	for _, x := range []string{"d", "t", "amq.direct"} {
		for _, q := range []string{"durable", "transient", "exclusive"} {
			bind(t, s, x, "k", q)
		}
	}
	must(t, s.Bind(toExchange("amq.topic", "#", "d")))
	must(t, s.Bind(toExchange("amq.topic", "#", "t")))
	id := s.vhost.queue("durable").Options().ID

	must(t, b.Close())
	b, s = start()
	if len(b.Auth().Users()) != 2 || !b.Auth().Allowed("u", "/", auth.Read, "x") || s.vhost.Limits()[LimitQueues] != 10 || string(b.Global("cluster_name")) != `"c"` {
		t.Error("users, permissions, limits or parameters are lost")
	}
	if q := s.vhost.queue("durable"); q == nil || q.Options().ID != id || rulesOf(q.Options()).ttlMS != 5 {
		t.Error("the durable queue is another one, or lost")
	}
	if s.vhost.QueueCount() != 1 || s.vhost.exchange("t") != nil {
		t.Error("transient things came back")
	}
	wantRouted(t, s, "durable", "d", nil, "k")
	wantRouted(t, s, "durable", "amq.direct", nil, "k")
	wantRouted(t, s, "durable", "amq.topic", nil, "k")
	if n := len(s.vhost.Bindings(BindingFilter{})); n != 4 { // One of them implicit.
		t.Errorf("%d bindings", n)
	}
	// Declared again it is the same.
	must(t, s.declareQueue("durable", QueueDeclare{Durable: true}, "x-message-ttl", int32(5)))
}

func TestStoreThatFails(t *testing.T) {
	store := &failingDefinitions{MemoryDefinitions: NewMemoryDefinitions()}
	b, err := New(Options{Definitions: store})
	must(t, err)
	defer b.Close()
	s := testSession(t, b, "guest")
	declare(t, s, "q", "r")
	bind(t, s, "amq.direct", "k", "r")
	full := errors.New("disk full")
	const why = "the broker cannot store definitions now: disk full"

	for _, change := range []func() error{
		func() error { return s.declareQueue("new", QueueDeclare{}) },
		func() error { return s.DeclareExchange(ExchangeDeclare{Name: "x", Type: "direct"}) },
		func() error { return s.Bind(toQueue("amq.direct", "k", "q")) },
		func() error { return s.Unbind(toQueue("amq.direct", "k", "r")) },
		func() error { return b.PutUser(auth.User{Name: "u"}) },
		func() error { return b.DeleteVHost("/") },
	} {
		store.fail = full
		refused(t, change(), Unavailable, why)
	}
	wantRouted(t, s, "r", "amq.direct", nil, "k")
	if s.vhost.QueueCount() != 2 {
		t.Errorf("%d queues", s.vhost.QueueCount())
	}
	store.fail = ErrConflict
	refused(t, s.declareQueue("new", QueueDeclare{}), Unavailable, "the definition was changed by someone else at the same time, try again")

	// A queue whose definition cannot be deleted takes nothing any more.
	store.fail = full
	_, err = s.DeleteQueue("r", false, false)
	refused(t, err, Unavailable, why)
	wantRouted(t, s, "", "amq.direct", nil, "k")
	if s.vhost.queue("r") != nil {
		t.Error("a closed queue is still there")
	}
	must(t, s.declareQueue("r", QueueDeclare{}))
}
