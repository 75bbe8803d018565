package core

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

type noCompleter struct{}

func (noCompleter) Completed(uint64, uint64, Kind) {}

// publishBodies publishes messages, which are their bodies, in one batch.
func publishBodies(t testing.TB, p *Publisher, x, key string, bodies ...string) {
	t.Helper()
	target, err := p.Target(x)
	must(t, err)
	ms := make([]Publication, len(bodies))
	for i, body := range bodies {
		ms[i].Reset()
		ms[i].RoutingKey, ms[i].Body = key, []byte(body)
		_, err := p.Route(target, &ms[i])
		must(t, err)
	}
	var touched Touched
	p.Publish(ms, &touched)
	touched.Flush()
}

// drain empties a queue.
func drain(t testing.TB, s *Session, queue string) (bodies []string) {
	t.Helper()
	for {
		found, err := s.Get(queue, true, func(_ *Holder, d *Delivery, _ int) {
			bodies = append(bodies, string(d.Message.Body))
		})
		must(t, err)
		if !found {
			return bodies
		}
	}
}

// ready is how many messages wait in a queue.
func ready(s *Session, queue string) int {
	n, _ := s.vhost.queue(queue).counts()
	return n
}

// placement returns where x sends each of n keys.
func placement(t testing.TB, s *Session, x string, n int) []string {
	t.Helper()
	out := make([]string, n)
	for i := range out {
		out[i] = routed(t, s, x, nil, fmt.Sprintf("key.%d", i))
		if out[i] == "" || strings.Contains(out[i], " ") {
			t.Fatalf("key %d goes to %q, want one queue", i, out[i])
		}
	}
	return out
}

func TestConsistentHashWeights(t *testing.T) {
	s := testSession(t, testBroker(t), "guest")
	exchange(t, s, "ch", "x-consistent-hash")
	weights := map[string]int{"a": 1, "b": 1, "c": 3, "d": 10, "e": 10}
	sum := 0
	for q, w := range weights {
		declare(t, s, q)
		bind(t, s, "ch", strconv.Itoa(w), q)
		sum += w
	}
	const keys = 100_000
	got := map[string]int{}
	for _, q := range placement(t, s, "ch", keys) {
		got[q]++
	}
	for q, w := range weights {
		if want := float64(keys*w) / float64(sum); float64(got[q]) < 0.97*want || float64(got[q]) > 1.03*want {
			t.Errorf("queue %s of weight %d got %d of %d messages, want %.0f within 3 %%", q, w, got[q], keys, want)
		}
	}
}

// A destination that comes takes its share from the others, one that goes
// leaves its share to them, and nothing else moves.
func TestConsistentHashMoves(t *testing.T) {
	const queues, keys = 10, 20_000
	for _, c := range []struct {
		name   string
		weight func(i int) int
	}{
		{"equal weights", func(int) int { return 7 }},
		{"many weights", func(i int) int { return 1 + i%4 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := testSession(t, testBroker(t), "guest")
			exchange(t, s, "ch", "x-consistent-hash")
			sum := 0
			for i := range queues {
				q := fmt.Sprint("q", i)
				declare(t, s, q)
				bind(t, s, "ch", strconv.Itoa(c.weight(i)), q)
				sum += c.weight(i)
			}
			before := placement(t, s, "ch", keys)
			declare(t, s, "new")
			weight := c.weight(queues)
			bind(t, s, "ch", strconv.Itoa(weight), "new")
			after := placement(t, s, "ch", keys)
			moved := 0
			for i := range keys {
				if before[i] != after[i] {
					moved++
					if after[i] != "new" {
						t.Fatalf("key %d moved from %s to %s", i, before[i], after[i])
					}
				}
			}
			if want := float64(keys*weight) / float64(sum+weight); float64(moved) < 0.9*want || float64(moved) > 1.1*want {
				t.Errorf("%d of %d keys moved, want about %.0f", moved, keys, want)
			}
			_, err := s.DeleteQueue("new", false, false)
			must(t, err)
			if !slices.Equal(placement(t, s, "ch", keys), before) {
				t.Error("keys moved for good when a queue came and went")
			}
		})
	}
}

func TestHashesDoNotHangOnTheOrderOfBindings(t *testing.T) {
	const queues, keys = 12, 2000
	for _, typ := range []string{"x-consistent-hash", "x-modulus-hash"} {
		var want []string
		for seed := range uint64(4) {
			s := testSession(t, testBroker(t), "guest")
			rng := rand.New(rand.NewPCG(seed, 0))
			exchange(t, s, "x", typ)
			for _, i := range rng.Perm(queues) {
				q := fmt.Sprint("q", i)
				declare(t, s, q)
				for _, w := range rng.Perm(1 + i%3) { // Further bindings change nothing.
					bind(t, s, "x", strconv.Itoa(i%3-w+1), q)
				}
			}
			got := placement(t, s, "x", keys)
			if want == nil {
				want = got
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: placement differs with the order of bindings", typ)
			}
		}
	}
}

func TestConsistentHashOf(t *testing.T) {
	s := testSession(t, testBroker(t), "guest")
	text := func(i int) *string { v := fmt.Sprint("v", i); return &v }
	for _, c := range []struct {
		arg, name string
		set       func(p *Properties, i int)
	}{
		{"hash-header", "device", func(p *Properties, i int) { p.Headers = table("device", int32(i)) }},
		{"hash-header", "device", func(p *Properties, i int) { p.Headers = table("device", *text(i)) }},
		{"hash-property", "message_id", func(p *Properties, i int) { p.MessageID = text(i) }},
		{"hash-property", "correlation_id", func(p *Properties, i int) { p.CorrelationID = text(i) }},
		{"hash-property", "timestamp", func(p *Properties, i int) { v := Timestamp(i); p.Timestamp = &v }},
	} {
		exchange(t, s, "x", "x-consistent-hash", c.arg, c.name)
		x := s.vhost.exchange("x")
		if !x.needsMessage() {
			t.Errorf("%s %s: routes would be remembered by key", c.arg, c.name)
		}
		queues := []string{"a", "b", "c", "d"}
		declare(t, s, queues...)
		for _, q := range queues {
			bind(t, s, "x", "5", q)
		}
		to := func(set func(*Properties)) string {
			m, p := &Message{}, &Properties{}
			set(p)
			m.SetProperties(p)
			key := fmt.Sprint(rand.Int())
			qs := x.resolve(nil, []string{key}, m)
			if len(qs) != 1 {
				t.Fatalf("%s %s: routed to %d queues", c.arg, c.name, len(qs))
			}
			return qs[0].Options().Name
		}
		used := map[string]int{}
		for i := range 400 {
			q := to(func(p *Properties) { c.set(p, i) })
			used[q]++
			if again := to(func(p *Properties) { c.set(p, i) }); again != q {
				t.Errorf("%s %s: value %d went to %s, then to %s", c.arg, c.name, i, q, again)
			}
		}
		for _, q := range queues {
			if used[q] < 60 || used[q] > 140 {
				t.Errorf("%s %s: queue %s got %d of 400", c.arg, c.name, q, used[q])
			}
		}
		one, other := to(func(*Properties) {}), to(func(*Properties) {})
		if one != other {
			t.Errorf("%s %s: messages without it go to several queues", c.arg, c.name)
		}
		must(t, s.DeleteExchange("x", false))
	}
	exchange(t, s, "x", "x-consistent-hash")
	if s.vhost.exchange("x").needsMessage() {
		t.Error("routes by routing key are not remembered")
	}
}

// Each message goes its own way, whatever was remembered for its key, and also
// if the exchange that it was published to leads to one of this type.
func TestRandomSpreads(t *testing.T) {
	for _, typ := range []string{"x-random", "x-local-random"} {
		t.Run(typ, func(t *testing.T) {
			s := testSession(t, testBroker(t), "guest")
			p := s.NewPublisher(noCompleter{})
			exchange(t, s, "r", typ)
			declare(t, s, "a", "b", "c")
			publishBodies(t, p, "amq.direct", "k", "routed nowhere, and remembered so")
			for _, q := range []string{"a", "b", "c"} {
				bind(t, s, "r", "", q)
			}
			must(t, s.Bind(toExchange("amq.direct", "k", "r")))
			for _, x := range []string{"r", "amq.direct"} {
				const n = 3000
				for i := range n / 10 {
					publishBodies(t, p, x, "k", strings.Split(strings.Repeat(fmt.Sprint(i)+" ", 10), " ")[:10]...)
				}
				total := 0
				for _, q := range []string{"a", "b", "c"} {
					got := len(drain(t, s, q))
					total += got
					if got < n/3-200 || got > n/3+200 { // Eight standard deviations.
						t.Errorf("through %s: queue %s got %d of %d", x, q, got, n)
					}
				}
				if total != n {
					t.Errorf("through %s: %d messages of %d arrived", x, total, n)
				}
			}
		})
	}
}

// Binding a queue again and again under other keys hands it the history each
// time, which must not fill memory.
func TestRecentHistoryIsNotHandedWithoutMemory(t *testing.T) {
	b := testBroker(t)
	s := testSession(t, b, "guest")
	p := s.NewPublisher(noCompleter{})
	b.Memory().SetLimit(1 << 20)
	exchange(t, s, "h", "x-recent-history", "x-recent-history-length", 1000)
	declare(t, s, "q")
	for range 100 {
		publishBodies(t, p, "h", "k", strings.Repeat("x", 1000))
	}
	var err error
	for i := 0; err == nil; i++ {
		if i == 100 {
			t.Fatalf("%d binds, %d bytes, none refused", i, b.Memory().Live())
		}
		err = s.Bind(toQueue("h", strconv.Itoa(i), "q"))
	}
	refused(t, err, Unavailable, "the broker is out of memory and cannot hand on what exchange 'h' in vhost '/' remembers; try again later")
	if live := b.Memory().Live(); live > 1<<20+1<<19 {
		t.Errorf("%d bytes are live at a limit of 1 MiB", live)
	}
	bind(t, s, "h", "0", "q") // It is there already.
	drain(t, s, "q")
	bind(t, s, "h", "new", "q")
}

// What an exchange remembers is in the account, has bounds, and goes with it.
func TestRecentHistoryIsAccounted(t *testing.T) {
	b, err := New(Options{QueueMemory: 64 << 10})
	must(t, err)
	defer b.Close()
	s := testSession(t, b, "guest")
	p := s.NewPublisher(noCompleter{})
	start := b.Memory().Live()

	exchange(t, s, "h", "x-recent-history", "x-recent-history-length", int64(1)<<40)
	body := strings.Repeat("x", 1000)
	for range 200 {
		publishBodies(t, p, "h", "k", body)
	}
	if live := b.Memory().Live() - start; live < 50<<10 || live > 64<<10 {
		t.Errorf("a history that may take 64 KiB is charged with %d bytes", live)
	}
	publishBodies(t, p, "h", "k", strings.Repeat("y", 70<<10))
	declare(t, s, "q")
	bind(t, s, "h", "", "q")
	if got := drain(t, s, "q"); len(got) < 50 || slices.ContainsFunc(got, func(s string) bool { return s != body }) {
		t.Errorf("the history has %d messages", len(got))
	}
	_, err = s.DeleteQueue("q", false, false)
	must(t, err)
	must(t, s.DeleteExchange("h", false))
	if live := b.Memory().Live() - start; live != 0 || b.remembered.Load() != 0 {
		t.Errorf("%d bytes stay charged for a deleted exchange, %d as remembered", live, b.remembered.Load())
	}

	// All histories together leave most of the limit to queues.
	b.Memory().SetLimit(256 << 10)
	for i := range 4 {
		x := fmt.Sprint("h", i)
		exchange(t, s, x, "x-recent-history", "x-recent-history-length", 1000)
		for range 40 {
			publishBodies(t, p, x, "k", body)
		}
	}
	if live := b.remembered.Load(); live < 28<<10 || live > 32<<10 {
		t.Errorf("histories take %d bytes of a limit of 256 KiB", live)
	}

	must(t, b.PutVHost(VHostDef{Name: "v"}))
	must(t, b.DeleteVHost("/"))
	if n := b.remembered.Load(); n != 0 {
		t.Errorf("%d bytes are remembered after their virtual host", n)
	}
}

func TestRecentHistoryKeepsMessagesWhole(t *testing.T) {
	s := testSession(t, testBroker(t), "guest")
	p := s.NewPublisher(noCompleter{})
	exchange(t, s, "h", "x-recent-history")
	target, err := p.Target("h")
	must(t, err)
	ms := make([]Publication, 1)
	m := &ms[0]
	m.Reset()
	buf := []byte("key body")
	m.RoutingKey, m.Body = bytesString(buf[:3]), buf[4:]
	m.Persistent, m.HasPriority, m.Priority, m.TTLMS = true, true, 7, 5000
	m.SetExtraKeys([]string{"further"})
	m.SetProperties(&Properties{Headers: table("a", "b")})
	_, err = p.Route(target, m)
	must(t, err)
	p.Publish(ms, &Touched{})
	copy(buf, "XXXXXXXX") // The publisher's buffer is used again.

	declare(t, s, "q", "byKey")
	bind(t, s, "h", "", "q")
	bind(t, s, "amq.direct", "further", "byKey")
	must(t, s.Bind(toExchange("h", "", "amq.direct")))
	for _, q := range []string{"q", "byKey"} {
		found, err := s.Get(q, true, func(_ *Holder, d *Delivery, _ int) {
			got := d.Message
			if got.Exchange != "h" || got.RoutingKey != "key" || string(got.Body) != "body" || !got.Persistent || got.Priority != 7 ||
				got.ExpiresMS != 1_005_000 || len(got.Properties().Headers) != 1 || d.Redelivered {
				t.Errorf("%s: got %s %s %q %+v", q, got.Exchange, got.RoutingKey, got.Body, got.Properties())
			}
		})
		if must(t, err); !found {
			t.Errorf("%s is empty", q)
		}
	}
}

// Queues are bound while publishers publish: each message comes to each queue
// once, those of one publisher in order.
func TestRecentHistoryWhileBinding(t *testing.T) {
	const publishers, messages, queues = 3, 160, 20
	s := testSession(t, testBroker(t), "guest")
	exchange(t, s, "h", "x-recent-history", "x-recent-history-length", publishers*messages)
	var wg sync.WaitGroup
	progress := make(chan struct{}, publishers*messages)
	for i := range publishers {
		p := s.NewPublisher(noCompleter{})
		wg.Go(func() {
			for n := 0; n < messages; n += 4 {
				var bodies []string
				for k := range 4 {
					bodies = append(bodies, fmt.Sprintf("%d %d", i, n+k))
				}
				publishBodies(t, p, "h", "k", bodies...)
				progress <- struct{}{}
			}
		})
	}
	for i := range queues {
		q := fmt.Sprint("q", i)
		declare(t, s, q)
		for range publishers * messages / 4 / (queues + 1) { // So that binds are spread over the publishes.
			<-progress
		}
		bind(t, s, "h", "", q)
	}
	wg.Wait()
	for i := range queues {
		var next [publishers]int
		for _, body := range drain(t, s, fmt.Sprint("q", i)) {
			var p, n int
			if _, err := fmt.Sscan(body, &p, &n); err != nil {
				t.Fatal(err)
			}
			if n != next[p] {
				t.Fatalf("queue %d: message %d of publisher %d where %d belongs", i, n, p, next[p])
			}
			next[p]++
		}
		for p, n := range next {
			if n != messages {
				t.Errorf("queue %d has %d messages of publisher %d, want %d", i, n, p, messages)
			}
		}
	}
}

// A transaction routes messages that it may never publish.
func TestDiscard(t *testing.T) {
	s := testSession(t, testBroker(t), "guest")
	p := s.NewPublisher(noCompleter{})
	exchange(t, s, "h", "x-recent-history")
	target, err := p.Target("h")
	must(t, err)
	for range 5000 {
		var m Publication
		m.Reset()
		_, err := p.Route(target, &m)
		must(t, err)
		p.Discard()
	}
	if len(p.spare) > 1 {
		t.Errorf("%d routes are kept for a batch of one", len(p.spare))
	}
	declare(t, s, "q")
	bind(t, s, "h", "", "q")
	if n := ready(s, "q"); n != 0 {
		t.Errorf("%d messages remembered that were never published", n)
	}
}

func TestImportRefusesArgumentsOfExchanges(t *testing.T) {
	b := testBroker(t)
	_, err := b.ImportDefinitions([]byte(`{"exchanges":[{"vhost":"/","name":"x","type":"x-consistent-hash","arguments":{"hash-property":"type"}}]}`), "")
	refused(t, err, Invalid, "Unsupported property: type")
	_, err = b.ImportDefinitions([]byte(`{"exchanges":[{"vhost":"/","name":"x","type":"x-consistent-hash"}],"queues":[{"vhost":"/","name":"q"}],
		"bindings":[{"vhost":"/","source":"x","destination":"q","destination_type":"queue","routing_key":"many"}]}`), "")
	refused(t, err, Invalid, `The binding key must be an integer: <<"many">>`)
}

func TestImportHandsTheHistory(t *testing.T) {
	b := testBroker(t)
	s := testSession(t, b, "guest")
	exchange(t, s, "h", "x-recent-history")
	publishBodies(t, s.NewPublisher(noCompleter{}), "h", "k", "m1", "m2")
	_, err := b.ImportDefinitions([]byte(`{"queues":[{"vhost":"/","name":"q"},{"vhost":"/","name":"r"}],"exchanges":[{"vhost":"/","name":"f","type":"fanout"}],
		"bindings":[{"vhost":"/","source":"f","destination":"r","destination_type":"queue"},
		{"vhost":"/","source":"h","destination":"q","destination_type":"queue"},
		{"vhost":"/","source":"h","destination":"f","destination_type":"exchange"}]}`), "")
	must(t, err)
	for _, q := range []string{"q", "r"} {
		if got := drain(t, s, q); !slices.Equal(got, []string{"m1", "m2"}) {
			t.Errorf("queue %s has %q", q, got)
		}
	}
}
