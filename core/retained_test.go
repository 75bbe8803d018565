package core_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"leveret/core"
	"leveret/core/coretest"
	"leveret/core/topic"
)

// What a pattern finds among retained messages is what a binding with that
// pattern would have got.
func TestRetainedMatchesAsBindingsDo(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	words := func(choice ...string) string {
		parts := make([]string, 1+r.IntN(4))
		for i := range parts {
			parts[i] = choice[r.IntN(len(choice))]
		}
		return strings.Join(parts, ".")
	}
	e := coretest.NewEnv(t)
	held := make(map[string]string)
	for i := range 300 {
		key, body := words("a", "b", "c", ""), fmt.Sprint("m", i)
		if r.IntN(3) == 0 {
			body = `""`
		}
		e.Do(fmt.Sprintf("publish x=amq.topic key=%s %s retain", key, body))
		if held[key] = body; body == `""` {
			delete(held, key)
		}
	}
	for range 300 {
		pattern := words("a", "b", "", "*", "#")
		var patterns topic.Trie[int]
		patterns = *patterns.With(pattern, 1, 1)
		var want, got []string
		for key, body := range held {
			if len(patterns.Match(nil, key)) > 0 {
				want = append(want, key+" "+body)
			}
		}
		got = append(got, e.Do("retained "+pattern)...)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("%q: found %q, want %q", pattern, got, want)
		}
	}
	if n, _ := e.Session().VHost().RetainedCount(); n != len(held) {
		t.Errorf("counted %d, there are %d", n, len(held))
	}
}

// A walk goes on while messages are replaced, cleared and added, and those that
// it has not come to are given as they are then or were at its beginning.
func TestRetainedWalkIsNotDisturbed(t *testing.T) {
	e := coretest.NewEnv(t)
	for i := range 500 {
		e.Do(fmt.Sprintf("publish x=amq.topic key=k.%d old retain", i))
	}
	cursor := e.Session().Retained("amq.topic", "#", func(key string) bool { return key == "k.7" })
	defer cursor.Close()
	seen := make(map[string]int)
	n := 0
	for more := true; more; {
		more = cursor.Next(10, func(m *core.Message) {
			if !m.Retained {
				t.Error("not marked")
			}
			seen[strings.Clone(m.RoutingKey)]++
		})
		e.Do(fmt.Sprintf("publish x=amq.topic key=k.%d new retain", n))
		e.Do(fmt.Sprintf(`publish x=amq.topic key=k.%d "" retain`, 499-n))
		e.Do(fmt.Sprintf("publish x=amq.topic key=l.%d new retain", n))
		n++
	}
	for key, times := range seen {
		if times != 1 || key == "k.7" {
			t.Errorf("%s came %d times", key, times)
		}
	}
	if len(seen) < 440 {
		t.Errorf("only %d came", len(seen))
	}
}
