package core

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// A broker that finds a topology routes as the one that made it, and what it
// loaded does not change under those who read it.
func TestLoading(t *testing.T) {
	stored := NewMemoryDefinitions()
	open := func() (*Broker, *VHost, *Session) {
		t.Helper()
		b, err := New(Options{Definitions: stored, Now: func() int64 { return 1_000_000 }})
		if err != nil {
			t.Fatal(err)
		}
		v, ok := b.VHost("/")
		if !ok {
			t.Fatal("no virtual host")
		}
		return b, v, testSession(t, b, "guest")
	}
	b, v, s := open()
	types := []string{"direct", "topic", "fanout", "headers"}
	for _, typ := range types {
		must(t, s.DeclareExchange(ExchangeDeclare{Name: "my " + typ, Type: typ, Durable: true}))
	}
	const queues = 60
	for i := range queues {
		if _, err := s.DeclareQueue(QueueDeclare{Name: fmt.Sprint("q", i), Durable: true}); err != nil {
			t.Fatal(err)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		must(t, s.Bind(Binding{
			Source: "my " + types[rng.IntN(len(types))], Destination: fmt.Sprint("q", rng.IntN(queues)),
			Key: fmt.Sprintf("%d.%d", rng.IntN(40), rng.IntN(3)),
		}))
	}
	checkTopology(t, v)
	type answer struct{ exchange, key string }
	routes := func(v *VHost) map[answer]int {
		found := make(map[answer]int)
		for _, typ := range types[:3] {
			for i := range 40 {
				a := answer{"my " + typ, fmt.Sprintf("%d.1", i)}
				to, _ := v.exchange(a.exchange).table.match(nil, []string{a.key}, nil)
				found[a] = len(to)
			}
		}
		return found
	}
	want := routes(v)
	s.Close()
	must(t, b.Close())

	b, v, s = open()
	defer b.Close()
	checkTopology(t, v)
	for a, n := range routes(v) {
		if want[a] != n {
			t.Errorf("%v leads to %d queues, want %d", a, n, want[a])
		}
	}
	direct := v.exchange("my direct").table.(*directTable)
	patterns := v.exchange("my topic").table.(*topicTable)
	fanout := v.exchange("my fanout").table.(*fanoutTable)
	byKey, trie, all := direct.load(), patterns.patterns.Load(), fanout.load()
	keys, n, bound := byKey.Len(), trie.Len(), all.len()
	for i := range 200 {
		for _, typ := range types[:3] {
			to := fmt.Sprint("new", i)
			if _, err := s.DeclareQueue(QueueDeclare{Name: to}); err != nil {
				t.Fatal(err)
			}
			must(t, s.Bind(Binding{Source: "my " + typ, Destination: to, Key: fmt.Sprint("new.", i)}))
		}
	}
	checkTopology(t, v)
	count := 0
	for range byKey.All() {
		count++
	}
	for range trie.Patterns() {
		n--
	}
	if count != keys || n != 0 || len(all.appendTo(nil)) != bound {
		t.Error("what was loaded has changed under its readers")
	}
}
