package core

import (
	"errors"
	"strconv"
	"testing"
)

func TestErlangTerms(t *testing.T) {
	for _, c := range []struct {
		v             any
		kind, in, out string // Type, as a term, between quotes.
	}{
		{nil, "void", "undefined", "undefined"},
		{true, "bool", "true", "true"},
		{int8(-1), "byte", "-1", "-1"},
		{uint8(1), "unsignedbyte", "1", "1"},
		{int16(-2), "short", "-2", "-2"},
		{uint16(2), "unsignedshort", "2", "2"},
		{int32(-3), "signedint", "-3", "-3"},
		{uint32(3), "unsignedint", "3", "3"},
		{int64(4), "long", "4", "4"},
		{float32(0.5), "float", "0.5", "0.5"},
		{float64(2), "double", "2.0", "2.0"},
		{1e30, "double", "1e+30", "1e+30"},
		{"s", "longstr", `<<"s">>`, "s"},
		{[]byte("b"), "binary", `<<"b">>`, `<<"b">>`},
		{Timestamp(5), "timestamp", "5", "5"},
		{Decimal{Scale: 2, Value: 314}, "decimal", "{2,314}", "{2,314}"},
		{table("k", int32(1)), "table", `[{<<"k">>,signedint,1}]`, `[{<<"k">>,signedint,1}]`},
		{[]any{"x", true}, "array", `[{longstr,<<"x">>},{bool,true}]`, `[{longstr,<<"x">>},{bool,true}]`},
	} {
		if got := TypeName(c.v); got != c.kind {
			t.Errorf("%v is of type %s, want %s", c.v, got, c.kind)
		}
		if got := erlangTerm(c.v); got != c.in {
			t.Errorf("%v as a term is %s, want %s", c.v, got, c.in)
		}
		if got := erlangText(c.v); got != c.out {
			t.Errorf("%v between quotes is %s, want %s", c.v, got, c.out)
		}
	}
}

func TestSameArgument(t *testing.T) {
	what := "queue 'q' in vhost '/'"
	for _, c := range []struct{ received, current any }{
		{int8(5), int64(5)}, {uint32(5), int16(5)}, {float32(0.5), 0.5}, {"a", "a"}, {true, true},
		{table("a", int8(1)), table("a", int64(1))}, {nil, nil},
	} {
		if err := sameArgument("k", what, table("k", c.received), table("k", c.current)); err != nil {
			t.Error(err)
		}
	}
	for _, c := range []struct {
		received, current Table
		why               string
	}{
		{table("k", int8(5)), table("k", 5.0), "received '5' but current is '5.0'"},
		{table("k", "5"), table("k", []byte("5")), `received '5' but current is '<<"5">>'`},
		{table("k", false), nil, "received the value 'false' of type 'bool' but current is none"},
		{nil, table("k", "v"), "received none but current is the value 'v' of type 'longstr'"},
	} {
		refused(t, sameArgument("k", what, c.received, c.current), Mismatch, "inequivalent arg 'k' for "+what+": "+c.why)
	}
}

func TestEveryQueueArgumentIsChecked(t *testing.T) {
	s := testSession(t, testBroker(t), "guest")
	for _, r := range queueArguments {
		if r.name == argDeadLetterExchange {
			continue // It has a text of its own.
		}
		err := s.declareQueue("q", QueueDeclare{}, r.name, table())
		switch e, ok := err.(*Error); {
		case r.name == "x-queue-mode":
			if err != nil {
				t.Errorf("%s is refused: %v", r.name, err)
			}
			_, err := s.DeleteQueue("q", false, false)
			must(t, err)
		case !ok || e.Kind != Invalid:
			t.Errorf("a table as %s: %v", r.name, err)
		}
	}
}

func TestArgumentsAreBounded(t *testing.T) {
	var many Table
	for i := range argumentsMax {
		many = append(many, Field{Name: strconv.Itoa(i), Value: int64(i)})
	}
	if err := boundedArguments("it", many); err != nil {
		t.Errorf("as many as may be: %v", err)
	}
	for _, args := range []Table{
		many.With("more", true),
		{{Name: "array", Value: make([]any, argumentsMax)}},
		{{Name: "nested", Value: []any{many}}},
	} {
		err := boundedArguments("it", args)
		var e *Error
		if !errors.As(err, &e) || e.Kind != Invalid || e.Why != "the arguments of it hold more than 1024 values" {
			t.Errorf("too many: %v", err)
		}
	}
}
