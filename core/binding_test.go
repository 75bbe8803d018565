package core

import (
	"fmt"
	"slices"
	"testing"
)

func TestPropertiesKey(t *testing.T) {
	for _, c := range []struct {
		b    Binding
		want string
	}{
		{Binding{}, "~"},
		{Binding{Key: "fan.*"}, "fan.%2A"},
		{Binding{Key: "order.#"}, "order.%23"},
		{Binding{Key: "a b~c/ü"}, "a+b%7Ec%2F%C3%BC"},
	} {
		if got := c.b.PropertiesKey(); got != c.want {
			t.Errorf("%q has properties key %q, want %q", c.b.Key, got, c.want)
		}
	}
	with := func(args ...any) string {
		b := toQueue("", "k", "q", args...)
		return b.PropertiesKey()
	}
	if a, b := with("x", int32(1), "y", "v"), with("y", []byte("v"), "x", uint8(1)); a != b || len(a) != len("k~2pnG8w") {
		t.Errorf("equal arguments are called %q and %q", a, b)
	}
	if a, b := with("x", int32(1)), with("x", int32(2)); a == b {
		t.Errorf("unlike arguments are both called %q", a)
	}
}

func TestArgumentsID(t *testing.T) {
	unlike := []Table{
		table("a", nil), table("a", ""), table("a", false), table("a", int32(0)), table("a", 0.0), table("a", Timestamp(0)),
		table("a", "0"), table("a", Decimal{0, 0}), table("a", Decimal{1, 0}), table("a", Table{}), table("a", []any{}), table("a", []any{nil}),
		table("a", int8(1), "b", int8(2)), table("a", int8(2), "b", int8(1)), table("a", `1,"b":2`),
		table("a", []any{"x", "y"}), table("a", []any{"x,y"}), table("a", table("b", "c")), table("b", nil),
	}
	seen := map[string]Table{}
	for _, u := range unlike {
		id := argumentsID(u)
		if other, ok := seen[id]; ok {
			t.Errorf("%v and %v are the same", u, other)
		}
		seen[id] = u
	}
	if a, b := argumentsID(table("a", 1, "b", "x")), argumentsID(table("b", []byte("x"), "a", uint16(1), "a", int8(9))); a != b {
		t.Errorf("%s is not %s", a, b)
	}
}

func TestListBindings(t *testing.T) {
	s := testSession(t, testBroker(t), "guest")
	declare(t, s, "q", "r")
	exchange(t, s, "q", "fanout") // Of the same name as the queue.
	bind(t, s, "amq.direct", "1", "q")
	bind(t, s, "amq.direct", "2", "r")
	must(t, s.Bind(toExchange("amq.direct", "3", "q")))
	bind(t, s, "q", "4", "q")
	str := func(s string) *string { return &s }
	kind := func(k DestinationKind) *DestinationKind { return &k }
	for _, c := range []struct {
		f    BindingFilter
		want string
	}{
		{BindingFilter{}, "[->q:q ->r:r amq.direct->q:1 amq.direct->r:2 amq.direct=>q:3 q->q:4]"},
		{BindingFilter{Source: str("amq.direct")}, "[amq.direct->q:1 amq.direct->r:2 amq.direct=>q:3]"},
		{BindingFilter{Source: str("")}, "[->q:q ->r:r]"},
		{BindingFilter{Destination: str("q")}, "[->q:q amq.direct->q:1 amq.direct=>q:3 q->q:4]"},
		{BindingFilter{Destination: str("q"), DestinationKind: kind(ToQueue)}, "[->q:q amq.direct->q:1 q->q:4]"},
		{BindingFilter{Destination: str("q"), DestinationKind: kind(ToExchange)}, "[amq.direct=>q:3]"},
		{BindingFilter{DestinationKind: kind(ToExchange)}, "[amq.direct=>q:3]"},
		{BindingFilter{Source: str("amq.direct"), Destination: str("q"), DestinationKind: kind(ToQueue)}, "[amq.direct->q:1]"},
		{BindingFilter{Source: str("none")}, "[]"},
		{BindingFilter{Destination: str("none")}, "[]"},
	} {
		var got []string
		for _, b := range s.vhost.Bindings(c.f) {
			arrow := "->"
			if b.DestinationKind == ToExchange {
				arrow = "=>"
			}
			got = append(got, b.Source+arrow+b.Destination+":"+b.Key)
		}
		slices.Sort(got)
		if fmt.Sprint(got) != c.want {
			t.Errorf("%+v lists %v, want %s", c.f, got, c.want)
		}
	}
}
