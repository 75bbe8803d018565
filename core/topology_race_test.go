package core

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"leveret/core/invariant"
)

// checkTopology fails if the tables of v contradict each other or what is
// stored. Nothing changes meanwhile.
func checkTopology(t testing.TB, v *VHost) {
	t.Helper()
	stored := map[DefinitionKind]int{}
	d := v.broker.definitions.(*MemoryDefinitions)
	for _, m := range d.mu.stored {
		switch m.change.Value.(type) {
		case ExchangeDef:
			stored[DefExchange]++
		case QueueDef:
			stored[DefQueue]++
		case BindingDef:
			stored[DefBinding]++
		}
	}

	ends := map[*destination]bool{}
	queues := 0
	for i := range v.queues {
		for name, d := range v.queues[i].byName {
			if d.queue.closed() {
				t.Errorf("queue %s is closed and still there", name)
			}
			if !d.queue.Options().hidden {
				queues++
			}
			ends[d] = true
		}
	}
	exchanges := 0
	for x := range v.Exchanges() {
		ends[x.self] = true
		if reservedName("exchange", x.name) == nil && x.name != "" {
			exchanges++
		}
		if x.deleted.Load() {
			t.Errorf("exchange %s is deleted and still there", x.name)
		}
	}
	fromSources := map[*binding]bool{}
	upstream := map[string]map[*Exchange]int{}
	lead := func(x *Exchange, to string) {
		if upstream[to] == nil {
			upstream[to] = map[*Exchange]int{}
		}
		upstream[to][x]++
	}
	for x := range v.Exchanges() {
		if alternate := x.alternate.Load(); alternate != nil {
			lead(x, *alternate)
		}
		next := map[*Exchange]int{}
		for b := range x.sourceOf.all() {
			fromSources[b] = true
			if !ends[b.dest] || b.source != x {
				t.Errorf("binding %v leads nowhere", b.public())
			}
			if b.dest.exchange != nil {
				lead(x, b.dest.name)
				next[b.dest.exchange]++
			}
			if found, _ := x.table.match(nil, []string{b.key}, nil); x.typ != "headers" && !slices.Contains(found, b.dest) {
				t.Errorf("binding %v does not route", b.public())
			}
		}
		if len(next) > 0 && !maps.Equal(next, x.next) {
			t.Errorf("exchanges behind %s are %v, want %v", x.name, x.next, next)
		}
		if x.table != nil && x.typ == "fanout" {
			found, _ := x.table.match(nil, nil, nil)
			want := map[*destination]bool{}
			for b := range x.sourceOf.all() {
				want[b.dest] = true
			}
			if len(found) != len(want) {
				t.Errorf("fanout exchange %s routes to %d, want %d", x.name, len(found), len(want))
			}
		}
	}
	fromEnds := 0
	for d := range ends {
		n := 0
		for b := range d.bindings.all() {
			n++
			if !fromSources[b] {
				t.Errorf("binding %v is unknown to its source", b.public())
			}
		}
		if n != d.bindings.n {
			t.Errorf("%s counts %d bindings, has %d", d.name, d.bindings.n, n)
		}
		fromEnds += n
	}
	if !maps.EqualFunc(upstream, v.tables.upstream, maps.Equal) {
		t.Errorf("ways upstream are %v, want %v", v.tables.upstream, upstream)
	}
	if queues != stored[DefQueue] || queues != v.QueueCount() || exchanges != stored[DefExchange] ||
		fromEnds != stored[DefBinding] || fromEnds != len(fromSources) {
		t.Errorf("%d queues (counted %d), %d exchanges, %d bindings (%d by source); stored are %v",
			queues, v.QueueCount(), exchanges, fromEnds, len(fromSources), stored)
	}
}

// Sessions change one small topology at random while others route through it.
func TestTopologyUnderConcurrentChange(t *testing.T) {
	b := testBroker(t)
	watcher := testSession(t, b, "guest")
	v := watcher.vhost
	stop := make(chan struct{})
	var routers, changers sync.WaitGroup
	for range 2 {
		routers.Go(func() {
			m := &Message{}
			m.SetProperties(&Properties{Headers: table("k", "v")})
			var qs []Queue
			for {
				select {
				case <-stop:
					return
				default:
				}
				for x := range v.Exchanges() {
					qs = x.resolve(qs[:0], []string{"k.1"}, m)
				}
			}
		})
	}
	for seed := range 6 {
		changers.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(seed)))
			user, _ := b.Auth().User("guest")
			s, err := b.OpenSession(SessionOptions{VHost: "/", User: user})
			if err != nil {
				t.Error(err)
				return
			}
			name := func(kind string) string { return fmt.Sprint(kind, rnd.IntN(6)) }
			binding := func() Binding {
				bi := Binding{Source: name("x"), Destination: name("q"), Key: fmt.Sprint("k.", rnd.IntN(3)), Arguments: table("k", "v")}
				if rnd.IntN(3) == 0 {
					bi.DestinationKind, bi.Destination = ToExchange, name("x")
				}
				return bi
			}
			types := []string{"direct", "fanout", "topic", "headers"}
			for range 600 {
				var err error
				switch rnd.IntN(10) {
				case 0, 1:
					n := rnd.IntN(6)
					err = s.DeclareExchange(ExchangeDeclare{
						Name: fmt.Sprint("x", n), Type: types[n%4], AutoDelete: n > 3,
						Arguments: table("alternate-exchange", name("x")),
					})
				case 2:
					err = s.DeleteExchange(name("x"), rnd.IntN(2) == 0)
				case 3, 4:
					_, err = s.DeclareQueue(QueueDeclare{Name: name("q")})
				case 5:
					_, err = s.DeleteQueue(name("q"), false, false)
				case 6, 7, 8:
					err = s.Bind(binding())
				case 9:
					err = s.Unbind(binding())
				}
				if rnd.IntN(50) == 0 {
					s.declareQueue("", QueueDeclare{Exclusive: true})
					s.declareQueue(name("e"), QueueDeclare{Exclusive: true})
				}
				if rnd.IntN(100) == 0 {
					s.Close()
					if s, err = b.OpenSession(SessionOptions{VHost: "/", User: user}); err != nil {
						t.Error(err)
						return
					}
				}
				var e *Error
				if err != nil && (!errors.As(err, &e) || e.Kind == Unavailable || e.Kind == Internal) {
					t.Errorf("changed under each other's hands: %v", err)
				}
			}
			s.Close()
		})
	}
	changers.Wait()
	close(stop)
	routers.Wait()
	checkTopology(t, v)
	if n := len(b.sessionsOf(func(*Session) bool { return true })); n != 1 {
		t.Errorf("%d sessions left", n)
	}
}

func TestResolveDoesNotAllocate(t *testing.T) {
	s := testSession(t, testBroker(t), "guest")
	exchange(t, s, "via", "topic")
	must(t, s.Bind(toExchange("amq.direct", "a.b", "via")))
	for i := range 10 {
		q := fmt.Sprint("q", i)
		declare(t, s, q)
		for _, x := range []string{"amq.direct", "amq.fanout", "amq.topic", "via"} {
			bind(t, s, x, "a.b", q)
		}
		bind(t, s, "amq.topic", "*.b", q)
		bind(t, s, "amq.headers", "", q, "h", "v", "n", int32(i%2))
	}
	declare(t, s, "a.b")
	m := &Message{}
	m.SetProperties(&Properties{Headers: table("h", "v", "n", int64(1))})
	keys := []string{"a.b"}
	dst := make([]Queue, 0, 64)
	for x, want := range map[string]int{"": 1, "amq.direct": 10, "amq.fanout": 10, "amq.topic": 10, "amq.headers": 5} {
		ex := s.vhost.exchange(x)
		if n := len(ex.resolve(dst, keys, m)); n != want {
			t.Errorf("%q routes to %d queues, want %d", x, n, want)
		}
		n := testing.AllocsPerRun(100, func() { ex.resolve(dst, keys, m) })
		if n > 0 && !invariant.Enabled { // The race detector makes sync.Pool forget.
			t.Errorf("%q allocates %v times a message", x, n)
		}
	}
}

func TestWideFanout(t *testing.T) {
	s := testSession(t, testBroker(t), "guest")
	const n = 500
	for i := range n {
		q := fmt.Sprint("q", i)
		declare(t, s, q)
		bind(t, s, "amq.direct", "k", q)
		bind(t, s, "amq.topic", "#", q)
		bind(t, s, "amq.topic", "*", q)
		bind(t, s, "amq.headers", "", q, "h", "v")
		bind(t, s, "amq.headers", "", q, "x-match", "any", "h", "v", "i", nil)
	}
	m := &Message{}
	m.SetProperties(&Properties{Headers: table("i", int32(1), "h", "v")})
	for left := n; left >= 0; left -= 50 {
		for _, x := range []string{"amq.direct", "amq.topic", "amq.headers"} {
			if got := len(s.vhost.exchange(x).resolve(nil, []string{"k"}, m)); got != left {
				t.Fatalf("%s routes to %d queues, want %d", x, got, left)
			}
		}
		for i := range min(left, 50) {
			_, err := s.DeleteQueue(fmt.Sprint("q", left-1-i), false, false)
			must(t, err)
		}
	}
	checkTopology(t, s.vhost)
}

// One queue with many bindings, of which some differ in arguments only.
func TestManyBindingsOfOneQueue(t *testing.T) {
	s := testSession(t, testBroker(t), "guest")
	declare(t, s, "q")
	for i := range 40 {
		for arg := range 3 {
			bind(t, s, "amq.direct", fmt.Sprint(i), "q", "n", int64(arg))
		}
	}
	checkTopology(t, s.vhost)
	for i := range 40 {
		for arg := range 3 {
			wantRouted(t, s, "q", "amq.direct", nil, fmt.Sprint(i))
			must(t, s.Unbind(toQueue("amq.direct", fmt.Sprint(i), "q", "n", int8((arg+i)%3))))
		}
		wantRouted(t, s, "", "amq.direct", nil, fmt.Sprint(i))
	}
	checkTopology(t, s.vhost)
}

func BenchmarkBind(b *testing.B) {
	for _, c := range []struct{ exchange, shape string }{
		{"amq.topic", "own"}, {"amq.topic", "shared"}, {"amq.direct", "own"}, {"amq.direct", "shared"},
		{"amq.fanout", "shared"}, {"amq.headers", "own"},
	} {
		b.Run(c.exchange+"/key="+c.shape, func(b *testing.B) {
			s := testSession(b, testBroker(b), "guest")
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				q := fmt.Sprint("device", i)
				key := "dev.same.key"
				if c.shape == "own" {
					key = "dev." + q
				}
				if _, err := s.DeclareQueue(QueueDeclare{Name: q}); err != nil {
					b.Fatal(err)
				}
				if err := s.Bind(toQueue(c.exchange, key, q)); err != nil {
					b.Fatal(err)
				}
				i++
			}
			b.ReportMetric(float64(i), "queues")
		})
	}
}

// BenchmarkSession is what an MQTT session costs here: connect, queue, bind, end.
func BenchmarkSession(b *testing.B) {
	br := testBroker(b)
	u, _ := br.Auth().User("guest")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s, err := br.OpenSession(SessionOptions{VHost: "/", User: u})
		if err != nil {
			b.Fatal(err)
		}
		q := fmt.Sprint("device", i)
		if err := s.declareQueue(q, QueueDeclare{Exclusive: true}); err != nil {
			b.Fatal(err)
		}
		if err := s.Bind(toQueue("amq.topic", "dev."+q, q)); err != nil {
			b.Fatal(err)
		}
		s.Close()
	}
}

func BenchmarkResolve(b *testing.B) {
	s := testSession(b, testBroker(b), "guest")
	declare(b, s, "q")
	for _, n := range []int{10, 1000, 100_000} {
		x := fmt.Sprint("topic", n)
		exchange(b, s, x, "topic")
		for i := range n {
			bind(b, s, x, fmt.Sprintf("dev.%d.*", i), "q")
		}
		ex := s.vhost.exchange(x)
		dst := make([]Queue, 0, 8)
		keys := make([][]string, 512)
		for i := range keys {
			keys[i] = []string{fmt.Sprintf("dev.%d.temp", i*n/512)}
		}
		b.Run(fmt.Sprintf("topic/bindings=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if len(ex.resolve(dst, keys[i%512], nil)) != 1 {
					b.Fatal("not routed")
				}
			}
		})
	}
	for i := range 1000 {
		q := fmt.Sprint("f", i)
		declare(b, s, q)
		bind(b, s, "amq.fanout", "", q)
		bind(b, s, "amq.headers", "", q, "n", int32(i), "h", "v")
	}
	b.Run("fanout/queues=1000", func(b *testing.B) {
		ex, dst := s.vhost.exchange("amq.fanout"), make([]Queue, 0, 1000)
		b.ReportAllocs()
		for b.Loop() {
			ex.resolve(dst, nil, nil)
		}
	})
	b.Run("headers/bindings=1000", func(b *testing.B) {
		ex, dst := s.vhost.exchange("amq.headers"), make([]Queue, 0, 1000)
		m := &Message{}
		m.SetProperties(&Properties{Headers: table("n", int32(500), "h", "v")})
		b.ReportAllocs()
		for b.Loop() {
			ex.resolve(dst, nil, m)
		}
	})
}
