package core

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestRunFiresTimersUntilItIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := New(Options{})
		must(t, err)
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error)
		go func() { ran <- b.Run(ctx) }()
		u, _ := b.Auth().User("guest")
		s, err := b.OpenSession(SessionOptions{VHost: "/", User: u})
		must(t, err)
		must(t, s.declareQueue("q", QueueDeclare{}, "x-expires", int32(1000)))
		time.Sleep(900 * time.Millisecond) // In virtual time.
		must(t, s.declareQueue("q", QueueDeclare{Passive: true}))
		time.Sleep(900 * time.Millisecond)
		synctest.Wait()
		if s.vhost.QueueCount() != 1 {
			t.Error("a passive declare does not restart x-expires")
		}
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		if s.vhost.QueueCount() != 0 {
			t.Error("the queue does not expire")
		}
		s.Close()
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		must(t, b.Close())
		must(t, b.Close())
	})
}

func TestBrokerLists(t *testing.T) {
	b, err := New(Options{NodeName: "n1", DefaultUser: "boss", DefaultPassword: "secret", DefaultVHost: "main", LoopbackUsers: []string{}})
	must(t, err)
	defer b.Close()
	if _, err := login(b, "boss", "secret", false); err != nil {
		t.Error(err)
	}
	must(t, b.PutVHost(VHostDef{Name: "a"}))
	var names []string
	for _, v := range b.VHosts() {
		names = append(names, v.Name())
	}
	if !slices.Equal(names, []string{"a", "main"}) || b.NodeName() != "n1" {
		t.Errorf("virtual hosts %q of %s", names, b.NodeName())
	}
	if types := ExchangeTypes(); !slices.Equal(types, []string{
		"direct", "fanout", "headers", "topic",
		"x-consistent-hash", "x-delayed-message", "x-local-random", "x-message-deduplication", "x-modulus-hash", "x-random", "x-recent-history",
	}) {
		t.Errorf("exchange types %q", types)
	}
	v, _ := b.VHost("a")
	var xs []string
	for x := range v.Exchanges() {
		i := x.Info()
		if !i.Durable || i.AutoDelete || i.Internal != (i.Name == "amq.rabbitmq.trace") || x.VHost() != v {
			t.Errorf("predeclared exchange %+v", i)
		}
		xs = append(xs, x.Name()+":"+i.Type)
	}
	slices.Sort(xs)
	want := []string{":direct", "amq.direct:direct", "amq.fanout:fanout", "amq.headers:headers", "amq.match:headers", "amq.rabbitmq.trace:topic", "amq.topic:topic"}
	if !slices.Equal(xs, want) {
		t.Errorf("predeclared exchanges %q, want %q", xs, want)
	}

	u, _ := b.Auth().User("boss")
	s, err := b.OpenSession(SessionOptions{VHost: "main", User: u})
	must(t, err)
	internal, err := b.OpenSession(SessionOptions{VHost: "main", User: u, Internal: true})
	must(t, err)
	if ss := slices.Collect(b.Sessions()); len(ss) != 1 || ss[0] != s || s.ID() == internal.ID() {
		t.Errorf("sessions %v", ss)
	}
	internal.Close()
	s.Close()
	if n := b.SessionCount(); n != 0 {
		t.Errorf("%d sessions", n)
	}
}
