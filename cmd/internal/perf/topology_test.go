package perf

import (
	"bytes"
	"strings"
	"testing"
)

// matches is AMQP's rule for topics, word by word.
func matches(pattern, key []string) bool {
	switch {
	case len(pattern) == 0:
		return len(key) == 0
	case pattern[0] == "#":
		return matches(pattern[1:], key) || len(key) > 0 && matches(pattern, key[1:])
	}
	return len(key) > 0 && (pattern[0] == "*" || pattern[0] == key[0]) && matches(pattern[1:], key[1:])
}

func TestTopicKeysMatchTheirBindingsOnly(t *testing.T) {
	for _, line := range []string{
		"--exchange-type=topic --bindings=30",
		"--exchange-type=topic --bindings=60 --match=6 --keys=25 --queues=3",
		"--exchange-type=topic --bindings=12 --match=3 --keys=3 --queues=2 --fanout=2",
	} {
		o, err := parseOptions(t, line)
		if err != nil {
			t.Fatal(err)
		}
		topo, err := newTopology(o)
		if err != nil {
			t.Fatal(err)
		}
		if len(topo.keys) != o.keys || len(topo.bindings) != o.bindings*o.fanout {
			t.Errorf("%s: %d keys, %d bindings", line, len(topo.keys), len(topo.bindings))
		}
		for _, k := range topo.keys {
			hits := map[string]int{}
			for _, b := range topo.bindings {
				if matches(strings.Split(b.key, "."), strings.Split(k.key, ".")) {
					hits[b.queue]++
				}
			}
			if len(hits) != o.fanout {
				t.Errorf("%s: key %s reaches %d queues", line, k.key, len(hits))
			}
			for f := range o.fanout {
				if q := topo.queues[k.route*o.fanout+f]; hits[q] != o.match {
					t.Errorf("%s: key %s matches %d bindings of %s", line, k.key, hits[q], q)
				}
			}
		}
	}
}

func TestEveryQueueHasAConsumerAndEveryKeyAProducer(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 8, 20} {
		for _, queues := range []int{1, 2, 7, 10} {
			topo, err := newTopology(&options{exchangeType: "default", queues: queues, fanout: 1, queue: "q", match: 1})
			if err != nil {
				t.Fatal(err)
			}
			consumers, producers := map[int]int{}, map[int]int{}
			for i := range n {
				for _, q := range topo.queuesOf(i, n) {
					consumers[q]++
				}
				for _, k := range topo.keysOf(i, n) {
					producers[k.route]++
				}
			}
			if len(consumers) != queues || len(producers) != queues {
				t.Errorf("%d on %d queues: %d consumed, %d published to", n, queues, len(consumers), len(producers))
			}
		}
	}
}

// A producer patches addresses into one template, so any other key's template
// must be what patching gives.
func TestTemplatesDifferInTheAddressOnly(t *testing.T) {
	for _, line := range []string{
		"--queues=11 --persistent",
		"--queues=11 --fanout=2",
		"--exchange-type=direct --bindings=11",
		"--exchange-type=topic --bindings=11 --keys=200",
		"--exchange-type=headers --bindings=11 --persistent --size=10000",
	} {
		o, err := parseOptions(t, line)
		if err != nil {
			t.Fatal(err)
		}
		topo, err := newTopology(o)
		if err != nil {
			t.Fatal(err)
		}
		first := newTemplate(topo.keys[0], o.size, 4096, o.persistent)
		for _, k := range topo.keys {
			want := newTemplate(k, o.size, 4096, o.persistent)
			got := bytes.Clone(first.frames)
			if copy(got[first.addressAt:first.addressAt+first.address], k.address()) != first.address {
				t.Fatalf("%s: address %q has another length", line, k.address())
			}
			if !bytes.Equal(got, want.frames) {
				t.Fatalf("%s: patching %q gives\n%q, want\n%q", line, k.address(), got, want.frames)
			}
		}
		if body := first.frames[first.bodyAt:]; body[0] != '.' || first.frames[first.bodyAt-frameHead] != frameBody {
			t.Errorf("%s: the body does not begin at %d", line, first.bodyAt)
		}
	}
}
