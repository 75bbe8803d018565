package mgmt

import (
	"fmt"
	"net/url"
	"slices"
	"testing"
)

func TestConditionsChooseRows(t *testing.T) {
	things := []object{
		{"name": "a", "type": "classic", "messages": 0, "consumers": 0, "policy": nil},
		{"name": "b", "type": "classic", "messages": 7, "consumers": 0, "policy": "p"},
		{"name": "c", "type": "stream", "messages": uint64(9), "consumers": 2, "policy": nil, "stats": object{"rate": 1.5}},
		{"name": "d", "type": "quorum", "consumers": 1, "durable": true},
	}
	for _, c := range []struct {
		where []string
		want  string
	}{
		{nil, "[a b c d]"},
		{[]string{"type:eq:classic"}, "[a b]"},
		{[]string{"type:ne:classic"}, "[c d]"},
		{[]string{"type:has:REA"}, "[c]"},
		{[]string{"messages:gt:0"}, "[b c]"},
		{[]string{"messages:lt:8"}, "[a b d]"},
		{[]string{"messages:gt:0", "consumers:eq:0"}, "[b]"},
		{[]string{"policy:eq:"}, "[a c d]"},
		{[]string{"durable:eq:true"}, "[d]"},
		{[]string{"stats.rate:gt:1"}, "[c]"},
		{[]string{"name:eq:x:y"}, "[]"},
	} {
		p, err := parsePage(url.Values{"page": {"1"}, "where": c.where})
		if err != nil {
			t.Fatalf("%v: %v", c.where, err)
		}
		rows := []row{}
		for _, o := range things {
			rows = append(rows, row{"", o["name"].(string), func() object { return o }})
		}
		names := []string{}
		for _, r := range p.meeting(slices.Clone(rows)) {
			names = append(names, r.object()["name"].(string))
		}
		if got := fmt.Sprint(names); got != c.want {
			t.Errorf("%v: %v, want %v", c.where, got, c.want)
		}
	}
}

func TestBadConditionsAreRefused(t *testing.T) {
	for _, where := range []string{"", "type", "type:eq", ":eq:x", "type:like:x", "messages:gt:many"} {
		if _, err := parsePage(url.Values{"page": {"1"}, "where": {where}}); err == nil {
			t.Errorf("%q is taken", where)
		}
	}
	if _, err := parsePage(url.Values{"page": {"1"}, "where": slices.Repeat([]string{"a:eq:b"}, conditionsMax+1)}); err == nil {
		t.Error("any number of conditions is taken")
	}
}
