package amqp

import (
	"math/rand/v2"
	"testing"

	"leveret/adapters/amqp/wire"
	"leveret/core"
)

type confirmation struct {
	number   uint64
	multiple bool
	ack      bool
}

func (t *tracker) all() (out []confirmation) {
	t.emit(func(number uint64, multiple, ack bool) { out = append(out, confirmation{number, multiple, ack}) })
	return out
}

func TestTracker(t *testing.T) {
	type step struct {
		first, last uint64
		refused     bool
	}
	tests := []struct {
		name  string
		steps []step
		want  []confirmation
	}{
		{"in order is one ack", []step{{1, 3, false}, {4, 9, false}}, []confirmation{{9, true, true}}},
		{"a single one is not multiple", []step{{1, 1, false}}, []confirmation{{1, false, true}}},
		{"above an open one singly", []step{{1, 2, false}, {4, 5, false}}, []confirmation{{2, true, true}, {4, false, true}, {5, false, true}}},
		{"filled gaps join", []step{{3, 4, false}, {1, 2, false}}, []confirmation{{4, true, true}}},
		{"a refusal splits", []step{{1, 2, false}, {3, 3, true}, {4, 6, false}}, []confirmation{{2, true, true}, {3, false, false}, {6, true, true}}},
		{"refused first", []step{{1, 1, true}}, []confirmation{{1, false, false}}},
		{"refused above an open one", []step{{2, 2, true}}, []confirmation{{2, false, false}}},
		{"twice is once", []step{{1, 2, false}, {1, 2, false}}, []confirmation{{2, true, true}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var tr tracker
			for _, s := range test.steps {
				tr.complete(s.first, s.last, !s.refused)
			}
			got := tr.all()
			if len(got) != len(test.want) {
				t.Fatalf("got %v, want %v", got, test.want)
			}
			for i := range got {
				if got[i] != test.want[i] {
					t.Fatalf("got %v, want %v", got, test.want)
				}
			}
			if again := tr.all(); len(again) != 0 {
				t.Errorf("and again %v", again)
			}
		})
	}
}

// TestTrackerRandomly completes numbers in random order, as a client sees it
// that keeps confirms in order: each number gets exactly one meaning.
func TestTrackerRandomly(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 1))
	for range 300 {
		n := uint64(1 + rnd.IntN(200))
		refused := make(map[uint64]bool)
		told := make(map[uint64]bool) // ack or nack
		var tr tracker
		var lowest uint64 = 1
		hear := func() {
			for _, c := range tr.all() {
				from := c.number
				if c.multiple {
					from = lowest
				}
				for i := from; i <= c.number; i++ {
					if was, ok := told[i]; ok && was != c.ack {
						t.Fatalf("seed %d: %d was told %v, now %v", seed, i, was, c.ack)
					}
					told[i] = c.ack
				}
				for {
					if _, ok := told[lowest]; !ok {
						break
					}
					lowest++
				}
			}
		}
		order := rnd.Perm(int(n))
		for _, i := range order {
			number := uint64(i + 1)
			refused[number] = rnd.IntN(4) == 0
			tr.complete(number, number, !refused[number])
			if rnd.IntN(3) == 0 {
				hear()
			}
		}
		hear()
		for i := uint64(1); i <= n; i++ {
			if ack, ok := told[i]; !ok || ack == refused[i] {
				t.Fatalf("seed %d: %d refused=%v told=%v (%v)", seed, i, refused[i], ack, ok)
			}
		}
		if len(tr.above) != 0 {
			t.Fatalf("seed %d: %d states left", seed, len(tr.above))
		}
	}
}

func TestConfirms(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.openRaw(t)
	r.method(1, &wire.QueueDeclare{Queue: "q"}, &wire.ConfirmSelect{}, &wire.ConfirmSelect{NoWait: true})
	expect[*wire.QueueDeclareOk](r, 1)
	expect[*wire.ConfirmSelectOk](r, 1)
	// What is read at once is confirmed at once, if the reads are lucky.
	var all []byte
	for range 100 {
		all = append(all, publishFrames(1, "", "q", "hello", nil)...)
	}
	r.write(all)
	for last := uint64(0); last < 100; {
		a := expect[*wire.BasicAck](r, 1)
		if a.DeliveryTag <= last || a.DeliveryTag > 100 || a.DeliveryTag > last+1 && !a.Multiple {
			t.Fatalf("after %d came %+v", last, a)
		}
		last = a.DeliveryTag
	}
	// The return stands before the ack; what is not mandatory is just confirmed.
	r.write(join(
		wire.AppendPublish(nil, 1, "", "none", true, wire.AppendProperties(nil, &wire.Properties{ContentType: "text/plain"}), []byte("back"), 131072),
		publishFrames(1, "", "none", "dropped", nil)))
	ret := expect[*wire.BasicReturn](r, 1)
	if ret.Code != 312 || ret.Text != "NO_ROUTE" || ret.RoutingKey != "none" {
		t.Errorf("got %+v", ret)
	}
	props, body := r.expectContent(1)
	if p, err := wire.ParseProperties(props); err != nil || p.ContentType != "text/plain" || body != "back" {
		t.Errorf("returned %+v %q", p, body)
	}
	for last := uint64(100); last < 102; {
		last = expect[*wire.BasicAck](r, 1).DeliveryTag
	}
}

// TestCompletedElsewhere: a completion from another goroutine is written
// although the reader sleeps.
func TestCompletedElsewhere(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.openRaw(t)
	r.method(1, &wire.ConfirmSelect{})
	expect[*wire.ConfirmSelectOk](r, 1)
	var ch *channel
	s.mu.Lock()
	for c := range s.mu.conns {
		ch = &channel{conn: c, id: 1}
	}
	s.mu.Unlock()
	ch.Completed(1, 5, core.OK)
	if a := expect[*wire.BasicAck](r, 1); a.DeliveryTag != 5 || !a.Multiple {
		t.Errorf("got %+v", a)
	}
	ch.Completed(7, 7, core.Full)
	if a := expect[*wire.BasicNack](r, 1); a.DeliveryTag != 7 || a.Multiple || a.Requeue {
		t.Errorf("got %+v", a)
	}
}
