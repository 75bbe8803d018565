package persist_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"leveret/core"
	"leveret/persist"
	"leveret/persist/persisttest"
	"leveret/persist/vfs/faultfs"
)

// inbox is a core.Outlet that keeps what it gets: by queue, the body and token.
type inbox struct{ got chan taken }

type taken struct {
	consumer *core.Consumer
	seq      core.Seq
	body     string
}

func (*inbox) Room(*core.Waiter) bool { return true }
func (*inbox) Flush()                 {}
func (i *inbox) Deliver(c *core.Consumer, ds []core.Delivery) bool {
	for _, d := range ds {
		i.got <- taken{c, d.Seq, string(d.Message.Body)}
	}
	return false
}

// ledger is a core.Completer that notes how much had been done to the disk when
// each number was complete.
type ledger struct {
	disk *faultfs.FS
	done chan struct{ number, ops int }
}

func (l *ledger) Completed(first, last uint64, k core.Kind) {
	for n := first; n <= last; n++ {
		if k == core.OK {
			l.done <- struct{ number, ops int }{int(n), l.disk.Ops()}
		}
	}
}

// TestTransactions moves messages from one queue to another by transactions that
// ack and publish, some before the message itself was written, with purges in
// between, and looks at what is left after a kill or a power cut at any point:
// each message is in exactly one of the queues, and where its transaction was
// committed, in the second.
func TestTransactions(t *testing.T) {
	cuts := 150
	if *long {
		cuts = 1 << 30
	}
	const messages = 60
	disk := faultfs.New(faultfs.Options{})
	o := persist.LogOptions{SegmentBytes: 16 << 10}
	l := openLog(t, disk, "/log", o)
	b, err := core.New(core.Options{Log: l})
	if err != nil {
		t.Fatal(err)
	}
	user, _ := b.Auth().User("guest")
	s, err := b.OpenSession(core.SessionOptions{User: user, VHost: "/", Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	ids := make(map[string]core.QueueID)
	v, _ := b.VHost("/")
	for _, name := range []string{"work", "done"} {
		if _, err := s.DeclareQueue(core.QueueDeclare{Name: name, Durable: true}); err != nil {
			t.Fatal(err)
		}
		q, _ := v.Queue(name)
		ids[name] = q.Options().ID
	}
	var touched core.Touched
	in := &inbox{make(chan taken, messages)}
	c, err := s.Consume(core.ConsumeOptions{Queue: "work", Tag: "c", Outlet: in})
	if err != nil {
		t.Fatal(err)
	}
	c.Start(&touched)

	publication := func(p *core.Publisher, to, body string, number uint64) []core.Publication {
		target, err := p.Target("")
		if err != nil {
			t.Fatal(err)
		}
		ms := make([]core.Publication, 1)
		m := &ms[0]
		m.Reset()
		m.RoutingKey, m.Body, m.Persistent, m.TTLMS, m.Number = to, []byte(body), true, -1, number
		if _, err := p.Route(target, m); err != nil {
			t.Fatal(err)
		}
		return ms
	}
	stored := &ledger{disk, make(chan struct{ number, ops int }, messages)}
	committed := &ledger{disk, make(chan struct{ number, ops int }, 3*messages)}
	producer, worker := s.NewPublisher(stored), s.NewPublisher(committed)
	rng := rand.New(rand.NewPCG(1, 9))
	deadline := time.After(persisttest.Deadline)
	receive := func(from chan struct{ number, ops int }) (number, ops int) {
		select {
		case d := <-from:
			return d.number, d.ops
		case <-deadline:
			t.Fatal("nothing is complete")
			panic("unreachable")
		}
	}
	storedAt, committedAt := make([]int, messages), make([]int, messages)
	for i := range messages {
		producer.Publish(publication(producer, "work", fmt.Sprint(i, " ", strings.Repeat("x", rng.IntN(600))), uint64(i+1)), &touched)
		wait := rng.IntN(2) == 0
		if wait {
			_, storedAt[i] = receive(stored.done)
		}
		m := <-in.got
		worker.Commit(publication(worker, "done", m.body, uint64(2*i+1)),
			[]core.Acked{{Holder: &m.consumer.Holder, Seqs: []core.Seq{m.seq}}}, uint64(2*i+2), &touched)
		if rng.IntN(3) == 0 {
			if _, err := s.PurgeQueue("work"); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			_, ops := receive(committed.done)
			committedAt[i] = max(committedAt[i], ops)
		}
		if !wait {
			_, storedAt[i] = receive(stored.done)
		}
	}
	s.Close()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	ops := disk.Ops()
	check := func(what string, left *faultfs.FS, at int) {
		t.Helper()
		l := openLog(t, left, "/log", o)
		defer l.Close()
		r := persisttest.Recover(t, l, nil)
		where := make(map[int][]string)
		for name, id := range ids {
			l.Read(id, r.Seqs(id, 0), func(_ int, m *core.Message, err error) {
				if err != nil {
					t.Fatalf("%s after %d of %d operations: %v", what, at, ops, err)
				}
				n, _, _ := strings.Cut(string(m.Body), " ")
				i, err := strconv.Atoi(n)
				if err != nil {
					t.Fatal(err)
				}
				where[i] = append(where[i], name)
			})
		}
		for i := range messages {
			got := where[i]
			if len(got) > 1 || len(got) == 0 && storedAt[i] <= at || committedAt[i] <= at && (len(got) != 1 || got[0] != "done") {
				t.Fatalf("%s after %d of %d operations: message %d, stored after %d and moved after %d, is in %q",
					what, at, ops, i, storedAt[i], committedAt[i], got)
			}
		}
	}
	for at := 1; at <= ops; at += 1 + rng.IntN(max(1, ops/cuts)) {
		check("kill", disk.KillAt(at), at)
		check("power cut", disk.CrashAt(at, rng.Uint64()), at)
	}
}
