package persisttest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"leveret/core"
)

// TestDefinitions checks what every core.Definitions promises. open returns an
// empty store, which the suite closes; reopen closes one and returns it as it is
// after a restart.
func TestDefinitions(t *testing.T, open func(t *testing.T) core.Definitions,
	reopen func(t *testing.T, d core.Definitions) core.Definitions) {
	tests := []struct {
		name string
		run  func(t *testing.T, d *watched)
	}{
		{"every kind comes back as it was stored", everyKind},
		{"a wrong revision changes nothing", wrongRevision},
		{"a revision is never used again", revisionsAscend},
		{"what was deleted is gone", deleted},
		{"several changes are one", several},
		{"the watch sees commits before they return, in order", watchOrder},
		{"transient and durable replace each other", transientAndDurable},
		{"keys may hold any byte", anyByte},
		{"of those who expect the same revision one wins", oneWins},
		{"queue ids begin at 1 and are never given twice", queueIDs},
		{"random changes match a map", randomChanges},
		{"a restart keeps what is durable", restart},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := &watched{Definitions: open(t)}
			t.Cleanup(func() {
				if err := d.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			if err := d.Watch(d.see); err != nil {
				t.Fatal(err)
			}
			d.reopen = func() {
				d.Definitions = reopen(t, d.Definitions)
				if err := d.Watch(d.see); err != nil {
					t.Fatal(err)
				}
			}
			test.run(t, d)
		})
	}
}

// watched collects what the watch reports.
type watched struct {
	core.Definitions
	reopen func() // Restarts the store; the watch sees what it holds.

	mu struct {
		sync.Mutex
		seen []core.Change
	}
	inside atomic.Int32
}

func (d *watched) see(changes []core.Change) {
	if d.inside.Add(1) != 1 {
		panic("the watch is called twice at a time")
	}
	d.mu.Lock()
	d.mu.seen = append(d.mu.seen, changes...)
	d.mu.Unlock()
	d.inside.Add(-1)
}

func (d *watched) take() []core.Change {
	d.mu.Lock()
	defer d.mu.Unlock()
	seen := d.mu.seen
	d.mu.seen = nil
	return seen
}

func (d *watched) must(t *testing.T, changes ...core.Change) {
	t.Helper()
	if err := d.Commit(changes); err != nil {
		t.Fatal(err)
	}
}

func (d *watched) get(t *testing.T, kind core.DefinitionKind, key ...string) (any, uint64) {
	t.Helper()
	value, revision, err := d.Get(kind, key)
	if err != nil {
		t.Fatal(err)
	}
	if (value == nil) != (revision == 0) {
		t.Fatalf("value %v with revision %d", value, revision)
	}
	return value, revision
}

// Examples are definitions of every kind with every field set, as changes that
// store them.
func Examples() []core.Change {
	args := core.Table{
		{Name: "x-null", Value: nil}, {Name: "x-bool", Value: true},
		{Name: "x-int8", Value: int8(-8)}, {Name: "x-uint8", Value: uint8(200)},
		{Name: "x-int16", Value: int16(-1600)}, {Name: "x-uint16", Value: uint16(60000)},
		{Name: "x-int32", Value: int32(-320000)}, {Name: "x-uint32", Value: uint32(4e9)},
		{Name: "x-int64", Value: int64(-1 << 60)}, {Name: "x-float32", Value: float32(1.5)},
		{Name: "x-float64", Value: -2.25e100}, {Name: "x-string", Value: "a\x00\r\n\xff"},
		{Name: "x-bytes", Value: []byte{0, 255}}, {Name: "x-decimal", Value: core.Decimal{Scale: 2, Value: 314}},
		{Name: "x-time", Value: core.Timestamp(1 << 33)},
		{Name: "x-table", Value: core.Table{{Name: "in", Value: core.Table{{Name: "deep", Value: "yes"}}}}},
		{Name: "x-list", Value: []any{int32(1), "two", []any{true}}},
		{Name: "x-string", Value: "the same name again"},
	}
	permission := core.PermissionDef{VHost: "v", User: "u"}
	permission.Configure, permission.Write, permission.Read = "^c", "^w", "^r"
	topic := core.TopicPermissionDef{VHost: "v", User: "u"}
	topic.Exchange, topic.Write, topic.Read = "amq.topic", "^w", "^r"
	return []core.Change{
		{Kind: core.DefVHost, Key: []string{"v"}, Value: core.VHostDef{
			Name: "v", Description: "tést", Tags: []string{"a", "b"}, DefaultQueueType: "quorum", Tracing: true}},
		{Kind: core.DefUser, Key: []string{"u"}, Value: core.UserDef{
			Name: "u", PasswordHash: "aGFzaA==", Algorithm: "rabbit_password_hashing_sha512",
			Tags: []string{"administrator", ""}, Limits: map[string]int64{"max-channels": 10, "max-connections": -1}}},
		{Kind: core.DefPermission, Key: []string{"v", "u"}, Value: permission},
		{Kind: core.DefTopicPermission, Key: []string{"v", "u", "amq.topic"}, Value: topic},
		{Kind: core.DefExchange, Key: []string{"v", "x"}, Value: core.ExchangeDef{
			VHost: "v", Name: "x", Type: "topic", Durable: true, AutoDelete: true, Internal: true, Arguments: args}},
		{Kind: core.DefQueue, Key: []string{"v", "q"}, Value: core.QueueDef{
			VHost: "v", Name: "q", Type: core.QueueQuorum, Durable: true, Exclusive: true, AutoDelete: true,
			Arguments: args, ID: 1<<32 - 1, Shard: 1<<16 - 1, Owner: 1<<64 - 1}},
		{Kind: core.DefBinding, Key: []string{"v", "x", "x", "y", "k.#", "{}"}, Value: core.BindingDef{
			VHost: "v", Binding: core.Binding{Source: "x", Destination: "y", DestinationKind: core.ToExchange, Key: "k.#", Arguments: args}}},
		{Kind: core.DefPolicy, Key: []string{"v", "p"}, Value: core.PolicyDef{
			VHost: "v", Name: "p", Pattern: "^q", ApplyTo: "queues", Priority: -7, Definition: `{"max-length":1}`}},
		{Kind: core.DefOperatorPolicy, Key: []string{"v", "p"}, Value: core.PolicyDef{
			VHost: "v", Name: "p", Pattern: ".*", ApplyTo: "all", Priority: 1 << 40, Definition: `{}`}},
		{Kind: core.DefParameter, Key: []string{"shovel", "v", "s"}, Value: core.ParameterDef{
			Component: "shovel", VHost: "v", Name: "s", Value: `{"a":1}`, User: "u"}},
		{Kind: core.DefVHostLimit, Key: []string{"v", "max-queues"}, Value: core.VHostLimitDef{
			VHost: "v", Name: "max-queues", Value: -1}},
		{Kind: core.DefGlobal, Key: []string{"cluster_name"}, Value: core.GlobalDef{
			Name: "cluster_name", Value: `"rabbit@here"`}},
		{Kind: core.DefClient, Key: []string{"v", "c"}, Value: core.ClientDef{
			VHost: "v", ID: "c", Number: 1<<32 - 1, ExpiryMS: -1, KeepAliveMS: 60_000, Queue: "mine", DirectQueue: "mine too"}},
		{Kind: core.DefSubscription, Key: []string{"v", "c", "a/+"}, Value: core.SubscriptionDef{
			VHost: "v", Client: "c", Number: 7, Subscription: core.Subscription{
				Filter: "a/+", Exchange: "amq.topic", Key: "a.*", Shared: "ours", Grade: 2, NoLocal: true, AsPublished: true,
				Handling: 2, Identifier: 1<<28 - 1}}},
		{Kind: core.DefWill, Key: []string{"v", "c"}, Value: core.WillDef{
			VHost: "v", Client: "c", Number: 7, Author: core.WillAuthor{User: "u", Vouched: true, Directory: true, ExpiresMS: 1 << 41}, Vars: core.Table{{Name: "client_id", Value: "c"}}, Will: core.Will{
				Exchange: "amq.topic", RoutingKey: "gone.c", Form: core.FormMQTT, Encoded: []byte{1, 2}, Body: []byte("gone\x00"),
				Persistent: true, Retain: true, TTLMS: -1, DelayMS: 5000}}},
		{Kind: core.DefRetained, Key: []string{"v", "amq.topic"}, Value: core.RetainedDef{
			VHost: "v", Exchange: "amq.topic", ID: 9}},
	}
}

func everyKind(t *testing.T, d *watched) {
	for _, c := range Examples() {
		d.must(t, c)
		got, revision := d.get(t, c.Kind, c.Key...)
		if revision == 0 || !reflect.DeepEqual(got, c.Value) {
			t.Errorf("kind %d: stored\n%+v\nread\n%+v", c.Kind, c.Value, got)
		}
	}
}

func global(name, value string) core.Change {
	return core.Change{Kind: core.DefGlobal, Key: []string{name}, Value: core.GlobalDef{Name: name, Value: value}}
}

func wrongRevision(t *testing.T, d *watched) {
	d.must(t, global("a", "1"))
	_, revision := d.get(t, core.DefGlobal, "a")
	d.take()
	for _, was := range []uint64{0, revision + 1, revision - 1} {
		bad := global("a", "2")
		bad.Was = was
		if err := d.Commit([]core.Change{global("b", "1"), bad}); !errors.Is(err, core.ErrConflict) {
			t.Fatalf("revision %d expected, %d is there: %v", was, revision, err)
		}
	}
	if v, r := d.get(t, core.DefGlobal, "a"); v.(core.GlobalDef).Value != "1" || r != revision {
		t.Fatalf("a is %v, %d", v, r)
	}
	if v, _ := d.get(t, core.DefGlobal, "b"); v != nil {
		t.Fatal("half of a refused commit was made")
	}
	if seen := d.take(); len(seen) != 0 {
		t.Fatalf("the watch saw %v", seen)
	}
	good := global("a", "2")
	good.Was = revision
	d.must(t, good)
}

func revisionsAscend(t *testing.T, d *watched) {
	var last uint64
	for i := range 20 {
		c := global("a", fmt.Sprint(i))
		c.Was = core.AnyRevision
		c.Transient = i%3 == 0
		d.must(t, c)
		_, revision := d.get(t, core.DefGlobal, "a")
		if revision <= last {
			t.Fatalf("revision %d after %d", revision, last)
		}
		last = revision
		if i%5 == 4 {
			d.must(t, core.Change{Kind: core.DefGlobal, Key: []string{"a"}, Was: revision})
		}
	}
}

func deleted(t *testing.T, d *watched) {
	d.must(t, global("a", "1"))
	d.take()
	away := core.Change{Kind: core.DefGlobal, Key: []string{"a"}, Was: core.AnyRevision}
	d.must(t, away)
	if v, r := d.get(t, core.DefGlobal, "a"); v != nil || r != 0 {
		t.Fatalf("%v, revision %d", v, r)
	}
	if seen := d.take(); len(seen) != 1 || seen[0].Value != nil {
		t.Fatalf("the watch saw %v", seen)
	}
	d.must(t, away) // Deleting what is not there is nothing.
	d.must(t, global("a", "2"))
	if v, _ := d.get(t, core.DefGlobal, "a"); v.(core.GlobalDef).Value != "2" {
		t.Fatalf("%v", v)
	}
}

func several(t *testing.T, d *watched) {
	d.must(t, global("a", "1"), global("b", "1"))
	_, ra := d.get(t, core.DefGlobal, "a")
	away := core.Change{Kind: core.DefGlobal, Key: []string{"a"}, Was: ra}
	d.must(t, away, global("c", "1"), core.Change{Kind: core.DefGlobal, Key: []string{"b"}, Was: core.AnyRevision})
	for name, there := range map[string]bool{"a": false, "b": false, "c": true} {
		if v, _ := d.get(t, core.DefGlobal, name); (v != nil) != there {
			t.Errorf("%s: %v", name, v)
		}
	}
	// The later of two changes of a key counts.
	one, two := global("d", "1"), global("d", "2")
	d.must(t, one, two)
	if v, _ := d.get(t, core.DefGlobal, "d"); v.(core.GlobalDef).Value != "2" {
		t.Fatalf("%v", v)
	}
}

func watchOrder(t *testing.T, d *watched) {
	for i := range 50 {
		c := global("a", fmt.Sprint(i))
		c.Was, c.Transient = core.AnyRevision, i%2 == 0
		d.must(t, c)
		seen := d.take()
		if len(seen) != 1 || !reflect.DeepEqual(seen[0], c) {
			t.Fatalf("commit %d: the watch saw %v", i, seen)
		}
	}
	// However many commit, what the watch saw last of a key is what is stored.
	var committers sync.WaitGroup
	for g := range 8 {
		committers.Go(func() {
			for i := range 20 {
				c := global(fmt.Sprint("k", i%3), fmt.Sprint(g, " ", i))
				c.Was, c.Transient = core.AnyRevision, (g+i)%4 == 0
				if (g+i)%5 == 0 {
					c.Value = nil
				}
				if err := d.Commit([]core.Change{c}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	committers.Wait()
	last := make(map[string]any)
	seen := d.take()
	for _, c := range seen {
		last[c.Key[0]] = c.Value
	}
	if len(seen) != 160 {
		t.Errorf("the watch saw %d changes", len(seen))
	}
	for key, want := range last {
		if got, _ := d.get(t, core.DefGlobal, key); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the watch saw %v last, %v is stored", key, want, got)
		}
	}
}

func transientAndDurable(t *testing.T, d *watched) {
	for i, transient := range []bool{true, false, true, false} {
		c := global("a", fmt.Sprint(i))
		c.Was, c.Transient = core.AnyRevision, transient
		d.must(t, c)
		if v, _ := d.get(t, core.DefGlobal, "a"); v.(core.GlobalDef).Value != fmt.Sprint(i) {
			t.Fatalf("step %d: %v", i, v)
		}
	}
	// A deletion counts whatever it says of itself.
	d.must(t, core.Change{Kind: core.DefGlobal, Key: []string{"a"}, Was: core.AnyRevision, Transient: true})
	if v, _ := d.get(t, core.DefGlobal, "a"); v != nil {
		t.Fatalf("%v", v)
	}
}

func anyByte(t *testing.T, d *watched) {
	keys := [][]string{
		{"", "a\r\n$3\r\n"}, {"a\r\n$3\r\n", ""}, {"\x00", "\xff"}, {"\x00\xff", ""},
		{"*2\r\n$3\r\ndel\r\n$", "é"}, {"x", "yz"}, {"xy", "z"}, {string(make([]byte, 300)), "long"},
	}
	for i, k := range keys {
		d.must(t, core.Change{Kind: core.DefQueue, Key: k, Value: core.QueueDef{VHost: k[0], Name: k[1], ID: core.QueueID(i)}})
	}
	for i, k := range keys {
		v, _ := d.get(t, core.DefQueue, k...)
		if q := v.(core.QueueDef); q.VHost != k[0] || q.Name != k[1] || q.ID != core.QueueID(i) {
			t.Errorf("%q: %+v", k, q)
		}
	}
}

func oneWins(t *testing.T, d *watched) {
	const rounds, committers = 10, 8
	for round := range rounds {
		var won atomic.Int32
		var all sync.WaitGroup
		_, was := d.get(t, core.DefGlobal, "a")
		for i := range committers {
			all.Go(func() {
				c := global("a", fmt.Sprint(round, i))
				c.Was = was
				switch err := d.Commit([]core.Change{c}); {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, core.ErrConflict):
					t.Error(err)
				default:
					// Who lost finds the new revision at once.
					if _, now, _ := d.Get(core.DefGlobal, []string{"a"}); now == was {
						t.Error("conflict, but the revision is the same")
					}
				}
			})
		}
		all.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d of %d won", won.Load(), committers)
		}
	}
}

func queueIDs(t *testing.T, d *watched) {
	first, err := d.NextQueueID()
	if err != nil || first != 1 {
		t.Fatalf("first id %d, %v", first, err)
	}
	const takers, each = 4, 1500
	ids := make([][]core.QueueID, takers)
	var all sync.WaitGroup
	for i := range takers {
		all.Go(func() {
			for range each {
				id, err := d.NextQueueID()
				if err != nil {
					t.Error(err)
					return
				}
				ids[i] = append(ids[i], id)
			}
		})
	}
	all.Wait()
	together := slices.Concat(ids...)
	slices.Sort(together)
	if n := len(slices.Compact(together)); n != takers*each || together[0] != 2 {
		t.Fatalf("%d different ids of %d, lowest %d", n, takers*each, together[0])
	}
}

func randomChanges(t *testing.T, d *watched) {
	const seed = 7
	rng := rand.New(rand.NewPCG(seed, 0))
	model := make(map[string]string)
	names := []string{"a", "b", "c", "d", "e"}
	for step := range 300 {
		var changes []core.Change
		next := make(map[string]string)
		conflict := false
		for range 1 + rng.IntN(3) {
			name := names[rng.IntN(len(names))]
			c := global(name, fmt.Sprint(step))
			_, was := d.get(t, core.DefGlobal, name)
			switch rng.IntN(5) {
			case 0:
				c.Was = was + 1
				conflict = true
			case 1:
				c.Was = was
			default:
				c.Was = core.AnyRevision
			}
			c.Transient = rng.IntN(3) == 0
			next[name] = fmt.Sprint(step)
			if rng.IntN(3) == 0 {
				c.Value, next[name] = nil, ""
			}
			changes = append(changes, c)
		}
		err := d.Commit(changes)
		if conflict != errors.Is(err, core.ErrConflict) || !conflict && err != nil {
			t.Fatalf("seed %d step %d: %v, conflict expected: %t", seed, step, err, conflict)
		}
		if err == nil {
			for name, value := range next {
				model[name] = value
			}
		}
		for _, name := range names {
			v, _ := d.get(t, core.DefGlobal, name)
			got := ""
			if v != nil {
				got = v.(core.GlobalDef).Value
			}
			if got != model[name] {
				t.Fatalf("seed %d step %d: %s is %q, want %q", seed, step, name, got, model[name])
			}
		}
	}
}

// restart makes random changes, restarts and compares, several times.
func restart(t *testing.T, d *watched) {
	const seed = 11
	rng := rand.New(rand.NewPCG(seed, 0))
	examples := Examples()
	durable := make(map[int]bool)
	var last core.QueueID
	for round := range 4 {
		for range 40 {
			i := rng.IntN(len(examples))
			c := examples[i]
			c.Was, c.Transient = core.AnyRevision, rng.IntN(3) == 0
			durable[i] = !c.Transient
			if rng.IntN(3) == 0 {
				c.Value, durable[i] = nil, false
			}
			d.must(t, c)
		}
		id, err := d.NextQueueID()
		if err != nil || id <= last {
			t.Fatalf("round %d: id %d after %d, %v", round, id, last, err)
		}
		last = id
		d.take()
		d.reopen()
		var kind core.DefinitionKind
		seen := make(map[core.DefinitionKind]any)
		for _, c := range d.take() {
			if c.Kind < kind {
				t.Errorf("round %d: kind %d is reported after %d", round, c.Kind, kind)
			}
			kind = c.Kind
			seen[kind] = c.Value
		}
		for i, c := range examples {
			value, revision := d.get(t, c.Kind, c.Key...)
			if there := revision != 0; there != durable[i] || there && !reflect.DeepEqual(value, c.Value) || !reflect.DeepEqual(value, seen[c.Kind]) {
				t.Fatalf("seed %d round %d: kind %d is %+v, the watch saw %+v; durable: %t",
					seed, round, c.Kind, value, seen[c.Kind], durable[i])
			}
		}
	}
}
