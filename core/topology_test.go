package core

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"leveret/core/auth"
)

// testBroker returns a broker in memory whose clock stands still.
func testBroker(t testing.TB) *Broker {
	t.Helper()
	b, err := New(Options{Now: func() int64 { return 1_000_000 }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// testSession opens a session of a user in "/".
func testSession(t testing.TB, b *Broker, user string) *Session {
	t.Helper()
	u, ok := b.Auth().User(user)
	if !ok {
		t.Fatalf("no user %s", user)
	}
	s, err := b.OpenSession(SessionOptions{VHost: "/", User: u, Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// testUser creates a user with permissions in "/" and opens a session for it.
func testUser(t testing.TB, b *Broker, name, configure, write, read string) *Session {
	t.Helper()
	must(t, b.PutUser(auth.User{Name: name}))
	must(t, b.SetPermission(name, "/", auth.Permission{Configure: configure, Write: write, Read: read}))
	return testSession(t, b, name)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused checks kind and text of an error.
func refused(t testing.TB, err error, k Kind, why string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v, want %v: %s", err, k, why)
	}
	if e.Kind != k || e.Why != why {
		t.Errorf("refused with %v: %s\nwant %v: %s", e.Kind, e.Why, k, why)
	}
}

func declare(t testing.TB, s *Session, queues ...string) {
	t.Helper()
	for _, q := range queues {
		if _, err := s.DeclareQueue(QueueDeclare{Name: q}); err != nil {
			t.Fatal(err)
		}
	}
}

func exchange(t testing.TB, s *Session, name, typ string, args ...any) {
	t.Helper()
	must(t, s.DeclareExchange(ExchangeDeclare{Name: name, Type: typ, Arguments: table(args...)}))
}

// table makes a Table of names and values in turn.
func table(args ...any) Table {
	var t Table
	for i := 0; i < len(args); i += 2 {
		t = append(t, Field{args[i].(string), args[i+1]})
	}
	return t
}

func bind(t testing.TB, s *Session, source, key, dest string, args ...any) {
	t.Helper()
	must(t, s.Bind(toQueue(source, key, dest, args...)))
}

func toQueue(source, key, dest string, args ...any) Binding {
	return Binding{Source: source, Key: key, Destination: dest, Arguments: table(args...)}
}

func toExchange(source, key, dest string, args ...any) Binding {
	b := toQueue(source, key, dest, args...)
	b.DestinationKind = ToExchange
	return b
}

// routed returns the names of the queues that a message goes to, sorted.
func routed(t testing.TB, s *Session, x string, headers Table, keys ...string) string {
	t.Helper()
	ex := s.vhost.exchange(x)
	if ex == nil {
		t.Fatalf("no exchange %s", x)
	}
	m := &Message{}
	m.SetProperties(&Properties{Headers: headers})
	var names []string
	for _, q := range ex.resolve(nil, keys, m) {
		names = append(names, q.Options().Name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func wantRouted(t testing.TB, s *Session, want, x string, headers Table, keys ...string) {
	t.Helper()
	if got := routed(t, s, x, headers, keys...); got != want {
		t.Errorf("%s %q %v goes to %q, want %q", x, keys, headers, got, want)
	}
}

func TestRouting(t *testing.T) {
	s := testSession(t, testBroker(t), "guest")
	declare(t, s, "a", "b", "c")

	// The default exchange knows every queue by its name.
	wantRouted(t, s, "a", "", nil, "a")
	wantRouted(t, s, "", "", nil, "x")
	wantRouted(t, s, "a b", "", nil, "a", "b", "a", "x")

	bind(t, s, "amq.direct", "k", "a")
	bind(t, s, "amq.direct", "k", "b")
	bind(t, s, "amq.direct", "k", "b", "x", int32(1)) // Another binding, no second copy.
	wantRouted(t, s, "a b", "amq.direct", nil, "k")
	wantRouted(t, s, "a b", "amq.direct", nil, "k", "k")
	must(t, s.Unbind(toQueue("amq.direct", "k", "b")))
	wantRouted(t, s, "a b", "amq.direct", nil, "k")
	must(t, s.Unbind(toQueue("amq.direct", "k", "b", "x", int64(1))))
	wantRouted(t, s, "a", "amq.direct", nil, "k")

	bind(t, s, "amq.fanout", "1", "a")
	bind(t, s, "amq.fanout", "2", "a")
	bind(t, s, "amq.fanout", "", "c")
	wantRouted(t, s, "a c", "amq.fanout", nil, "whatever")
	must(t, s.Unbind(toQueue("amq.fanout", "1", "a")))
	wantRouted(t, s, "a c", "amq.fanout", nil, "")
	must(t, s.Unbind(toQueue("amq.fanout", "2", "a")))
	wantRouted(t, s, "c", "amq.fanout", nil, "")

	bind(t, s, "amq.topic", "#", "a")
	bind(t, s, "amq.topic", "x.*", "a")
	bind(t, s, "amq.topic", "x.*", "b")
	bind(t, s, "amq.topic", "*", "c")
	bind(t, s, "amq.topic", strings.Repeat("#.", 60)+"end", "b")
	for key, want := range map[string]string{"x.y": "a b", "x": "a c", "": "a", "x..": "a", "x.": "a b", "1.2.3.end": "a b"} {
		wantRouted(t, s, want, "amq.topic", nil, key)
	}
	wantRouted(t, s, "a b c", "amq.topic", nil, "x.y", "x")
}

func TestHeadersRouting(t *testing.T) {
	s := testSession(t, testBroker(t), "guest")
	for _, c := range []struct {
		binding, headers []any
		want             bool
	}{
		{[]any{"a", "1", "b", int32(2)}, []any{"a", "1", "b", int64(2), "c", true}, true},
		{[]any{"a", "1", "b", int32(2)}, []any{"a", "1"}, false},
		{[]any{"x-match", "any", "a", "1", "b", int32(2)}, []any{"a", "1"}, true},
		{[]any{"x-match", "any", "a", "1", "b", int32(2)}, []any{"a", "2"}, false},
		{[]any{"x-match", "any"}, []any{"a", "2"}, false},
		{nil, nil, true},
		{[]any{"x-match", "all"}, []any{"a", "2"}, true},
		{[]any{"x-a", "1"}, nil, true},
		{[]any{"x-match", "all-with-x", "x-a", "1"}, nil, false},
		{[]any{"x-match", "all-with-x", "x-a", "1"}, []any{"x-a", "1"}, true},
		{[]any{"x-match", "any-with-x", "x-a", "1"}, []any{"x-a", "1"}, true},
		{[]any{"x-match", "any", "x-a", "1"}, []any{"x-a", "1"}, false},
		{[]any{"a", nil}, []any{"a", "anything"}, true},
		{[]any{"a", nil}, []any{"b", "anything"}, false},
		{[]any{"a", int32(5)}, []any{"a", float64(5)}, false},
		{[]any{"a", int32(5)}, []any{"a", Timestamp(5)}, true},
		{[]any{"a", "s"}, []any{"a", []byte("s")}, true},
		{[]any{"a", []byte("s")}, []any{"a", "s"}, true},
		{[]any{"a", float32(0.5)}, []any{"a", 0.5}, true},
		{[]any{"a", true}, []any{"a", true}, true},
		{[]any{"a", true}, []any{"a", int8(1)}, false},
		{[]any{"a", []any{int8(1), "x"}}, []any{"a", []any{int64(1), "x"}}, true},
		{[]any{"a", table("k", "v")}, []any{"a", table("k", "w")}, false},
		{[]any{"a", "first", "a", "second"}, []any{"a", "first"}, true},
	} {
		declare(t, s, "q")
		bind(t, s, "amq.headers", "", "q", c.binding...)
		want := ""
		if c.want {
			want = "q"
		}
		if got := routed(t, s, "amq.headers", table(c.headers...), ""); got != want {
			t.Errorf("binding %v, headers %v: routed to %q, want %q", c.binding, c.headers, got, want)
		}
		if _, err := s.DeleteQueue("q", false, false); err != nil {
			t.Fatal(err)
		}
	}
	declare(t, s, "q")
	refused(t, s.Bind(toQueue("amq.match", "", "q", "x-match", "foo")), Invalid, `Invalid x-match field value <<"foo">>; expected all, any, all-with-x, or any-with-x`)
	refused(t, s.Bind(toQueue("amq.match", "", "q", "x-match", int32(1))), Invalid, `Invalid x-match field type signedint (value 1); expected longstr`)
}

// The index of a headers table against the plain rule, at random.
func TestHeadersIndex(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	values := []any{nil, "a", "b", int32(1), int64(2), true, 0.5, []any{"a"}}
	modes := []string{"all", "any", "all-with-x", "any-with-x"}
	headers := func(max int) Table {
		var h Table
		for range rnd.IntN(max) {
			name := fmt.Sprint([]string{"h", "x-"}[rnd.IntN(2)], rnd.IntN(3))
			h = append(h, Field{name, values[rnd.IntN(len(values))]})
		}
		return h
	}
	satisfied := func(args, headers Table) bool {
		mode, _ := args.Get("x-match")
		anyOf, withX := strings.HasPrefix(mode.(string), "any"), strings.HasSuffix(mode.(string), "x")
		seen := map[string]bool{"x-match": true}
		for _, a := range args {
			if seen[a.Name] || !withX && strings.HasPrefix(a.Name, "x-") {
				continue
			}
			seen[a.Name] = true
			v, ok := headers.Get(a.Name)
			if ok = ok && (a.Value == nil || argumentsID(table("v", v)) == argumentsID(table("v", a.Value))); ok == anyOf {
				return anyOf
			}
		}
		return !anyOf
	}

	table := headersType{}.newTable(nil)
	var bound []*binding
	for step := range 3000 {
		switch {
		case len(bound) < 60 && rnd.IntN(3) == 0:
			b := &binding{
				dest: &destination{id: destinationIDs.Add(1)},
				args: append(Table{{"x-match", modes[rnd.IntN(len(modes))]}}, headers(4)...),
			}
			bound = append(bound, b)
			table.add(b, true)
		case len(bound) > 0 && rnd.IntN(4) == 0:
			i := rnd.IntN(len(bound))
			table.remove(bound[i], true)
			bound = slices.Delete(bound, i, i+1)
		}
		m := &Message{}
		h := headers(6)
		if rnd.IntN(20) == 0 {
			for i := range 50 { // Odd, but must not go unseen.
				h = append(h, Field{fmt.Sprint("filler", i), "a"})
			}
			h = append(h, headers(6)...)
		}
		m.SetProperties(&Properties{Headers: h})
		got, distinct := table.match(nil, nil, m)
		if distinct && len(uniqueDestinations(slices.Clone(got))) != len(got) {
			t.Fatal("match repeats itself and does not say so")
		}
		for _, b := range bound {
			if want := satisfied(b.args, h); want != slices.Contains(got, b.dest) {
				t.Fatalf("step %d: headers %v, binding %v: want %v", step, h, b.args, want)
			}
		}
	}
	for _, b := range bound {
		table.remove(b, true)
	}
	x := table.(*headersTable).index.Load()
	if x.byHeader.Len() != 0 || x.always.len() != 0 || x.presence != 0 {
		t.Errorf("left over: %+v", x)
	}
}

func TestExchangeToExchange(t *testing.T) {
	s := testSession(t, testBroker(t), "guest")
	declare(t, s, "q", "r", "lost")
	exchange(t, s, "x", "direct")
	exchange(t, s, "y", "topic")
	exchange(t, s, "z", "fanout")
	must(t, s.Bind(toExchange("x", "k", "y")))
	must(t, s.Bind(toExchange("y", "#", "z")))
	must(t, s.Bind(toExchange("z", "", "x")))  // A circle.
	must(t, s.Bind(toExchange("x", "k", "x"))) // A small one.
	wantRouted(t, s, "", "x", nil, "k")
	bind(t, s, "z", "", "q")
	bind(t, s, "y", "*", "q")
	bind(t, s, "x", "k", "r")
	for _, x := range []string{"x", "y", "z"} {
		wantRouted(t, s, "q r", x, nil, "k")
	}

	// Twenty more exchanges behind x, all to q: still once.
	for i := range 20 {
		name := fmt.Sprint("more", i)
		exchange(t, s, name, "fanout")
		must(t, s.Bind(toExchange("z", "", name)))
		bind(t, s, name, "", "q")
	}
	wantRouted(t, s, "q r", "x", nil, "k")
	must(t, s.DeleteExchange("z", false))
	wantRouted(t, s, "q r", "x", nil, "k")
	must(t, s.Unbind(toExchange("x", "k", "y")))
	wantRouted(t, s, "r", "x", nil, "k")
}

func TestAlternateExchange(t *testing.T) {
	s := testSession(t, testBroker(t), "guest")
	declare(t, s, "q", "lost", "k")
	exchange(t, s, "x", "direct", "alternate-exchange", "ae")
	wantRouted(t, s, "", "x", nil, "k") // It need not exist.
	exchange(t, s, "ae", "fanout")
	bind(t, s, "ae", "", "lost")
	wantRouted(t, s, "lost", "x", nil, "k")
	bind(t, s, "x", "k", "q")
	wantRouted(t, s, "q", "x", nil, "k")

	// A match that leads nowhere is a match all the same.
	exchange(t, s, "empty", "fanout")
	must(t, s.Bind(toExchange("x", "e", "empty")))
	wantRouted(t, s, "", "x", nil, "e")

	exchange(t, s, "d", "direct", "alternate-exchange", "")
	wantRouted(t, s, "k", "d", nil, "k") // The default exchange.

	exchange(t, s, "a1", "direct", "alternate-exchange", "a2")
	exchange(t, s, "a2", "direct", "alternate-exchange", "a1")
	wantRouted(t, s, "", "a1", nil, "k")
}

func TestVersionsFollowEveryWay(t *testing.T) {
	b := testBroker(t)
	s := testSession(t, b, "guest")
	v := s.vhost
	declare(t, s, "q")
	exchange(t, s, "x", "direct", "alternate-exchange", "ae")
	exchange(t, s, "y", "direct")
	exchange(t, s, "z", "direct")
	exchange(t, s, "far", "direct")
	must(t, s.Bind(toExchange("x", "k", "y")))
	must(t, s.Bind(toExchange("y", "k", "z")))
	must(t, s.Bind(toExchange("far", "k", "far")))

	version := func(names ...string) (n []uint64) {
		for _, name := range names {
			n = append(n, v.exchange(name).version.Load())
		}
		return n
	}
	changes := func(what string, do func() error, moved, still []string) {
		t.Helper()
		m, st := version(moved...), version(still...)
		must(t, do())
		for i, n := range version(moved...) {
			if n == m[i] {
				t.Errorf("%s: the version of %q stands still", what, moved[i])
			}
		}
		if !slices.Equal(st, version(still...)) {
			t.Errorf("%s: versions of %q moved", what, still)
		}
	}
	changes("bind behind", func() error { return s.Bind(toQueue("z", "k", "q")) }, []string{"x", "y", "z"}, []string{"far", ""})
	changes("bind again", func() error { return s.Bind(toQueue("z", "k", "q")) }, nil, []string{"x", "y", "z", "far", ""})
	changes("alternate appears", func() error {
		return s.DeclareExchange(ExchangeDeclare{Name: "ae", Type: "direct", Arguments: table("alternate-exchange", "")})
	}, []string{"x"}, []string{"y", "z", "far", ""})
	changes("queue of the alternate's alternate", func() error {
		_, err := s.DeclareQueue(QueueDeclare{Name: "new"})
		return err
	}, []string{"x", "ae", ""}, []string{"y", "z", "far"})
	changes("queue goes", func() error { _, err := s.DeleteQueue("q", false, false); return err }, []string{"x", "y", "z", ""}, []string{"far"})
	changes("way cut", func() error { return s.Unbind(toExchange("y", "k", "z")) }, []string{"x", "y"}, []string{"z", "far"})
	changes("no way any more", func() error { return s.Bind(toQueue("z", "k", "new")) }, []string{"z"}, []string{"x", "y", "far"})
	changes("alternate goes", func() error { return s.DeleteExchange("ae", false) }, []string{"x"}, []string{"y", "z", "far"})
}

func TestNeedsMessage(t *testing.T) {
	s := testSession(t, testBroker(t), "guest")
	needs := func(want string) {
		t.Helper()
		var got []string
		for _, x := range []string{"x", "y", "h", "ae", ""} {
			if e := s.vhost.exchange(x); e != nil && e.needsMessage() {
				got = append(got, x)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("messages are read behind %q, want %q", got, want)
		}
	}
	exchange(t, s, "y", "direct", "alternate-exchange", "ae")
	exchange(t, s, "x", "direct")
	exchange(t, s, "h", "headers")
	must(t, s.Bind(toExchange("x", "k", "y")))
	needs("h")
	exchange(t, s, "ae", "headers")
	needs("x y h ae")
	must(t, s.DeleteExchange("ae", false))
	needs("h")
	must(t, s.Bind(toExchange("y", "k", "h")))
	must(t, s.Bind(toExchange("y", "k2", "h")))
	needs("x y h")
	must(t, s.Unbind(toExchange("y", "k", "h")))
	needs("x y h")
	must(t, s.DeleteExchange("h", false))
	needs("")
	declare(t, s, "q")
	if qs := s.vhost.exchange("amq.headers").resolve(nil, []string{""}, nil); len(qs) != 0 {
		t.Errorf("without a message the headers exchange found %v", qs)
	}
}
