package core_test

import (
	"fmt"
	"testing"

	"leveret/core"
	"leveret/core/coretest"
)

// stored is a broker over a log that outlives it.
func stored(t *testing.T, defs core.Definitions, log core.MessageLog) *bench {
	t.Helper()
	b, err := core.New(core.Options{Definitions: defs, Log: log, QueueMemory: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	user, _ := b.Auth().User("guest")
	s, err := b.OpenSession(core.SessionOptions{VHost: "/", User: user, Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	return &bench{tb: t, b: b, s: s, p: s.NewPublisher(ignore{})}
}

func (x *bench) fill(queue string, from, to int, persistent bool) {
	x.ms = make([]core.Publication, 100)
	for from < to {
		n := min(len(x.ms), to-from)
		for i := range x.ms[:n] {
			x.ms[i].Reset()
			x.ms[i].Body = fmt.Appendf(nil, "%08d%0100d", from+i, 0)
			x.ms[i].Persistent = persistent
		}
		from += n
		x.ms = x.ms[:n]
		x.publish("", []string{queue}, 0)
		x.ms = x.ms[:cap(x.ms)]
	}
}

func (x *bench) info(queue string) core.QueueInfo {
	q, ok := x.s.VHost().Queue(queue)
	if !ok {
		x.tb.Fatalf("no queue %s", queue)
	}
	return q.Info()
}

// take gets n messages and checks that they are numbered from first on.
func (x *bench) take(queue string, first, n int, redelivered bool) {
	x.tb.Helper()
	for i := range n {
		found, err := x.s.Get(queue, true, func(_ *core.Holder, d *core.Delivery, _ int) {
			if got, want := string(d.Message.Body[:8]), fmt.Sprintf("%08d", first+i); got != want || d.Redelivered != redelivered {
				x.tb.Fatalf("got %s redelivered=%v, want %s %v", got, d.Redelivered, want, redelivered)
			}
		})
		if err != nil || !found {
			x.tb.Fatalf("message %d: %v %v", first+i, found, err)
		}
	}
}

func TestLongQueueLeavesMemory(t *testing.T) {
	for _, persistent := range []bool{true, false} {
		t.Run(fmt.Sprintf("persistent=%v", persistent), func(t *testing.T) {
			log := coretest.NewLog()
			x := stored(t, core.NewMemoryDefinitions(), log)
			defer x.b.Close()
			if _, err := x.s.DeclareQueue(core.QueueDeclare{Name: "q", Durable: true}); err != nil {
				t.Fatal(err)
			}
			const n = 20000
			x.fill("q", 0, n, persistent)
			if i := x.info("q"); i.Ready != n || i.InMemory > 2000 || i.ReadyBytes != n*108 {
				t.Fatalf("ready %d, in memory %d, bytes %d", i.Ready, i.InMemory, i.ReadyBytes)
			}
			if live := x.b.Memory().Live(); live > 512<<10 {
				t.Errorf("%d bytes on the account", live)
			}
			x.take("q", 0, 1000, false)
			x.fill("q", n, n+100, persistent)

			// A consumer gets the rest in order, behind it what came meanwhile.
			k := x.consume("q", false, 0)
			x.b.Advance(x.b.Now()) // Waits for the fetches.
			if k.n != n-900 {
				t.Fatalf("consumer got %d", k.n)
			}
			for i := 1; i < len(k.seqs); i++ {
				if k.seqs[i] <= k.seqs[i-1] {
					t.Fatal("out of order")
				}
			}
			k.c.Settle(core.Ack, k.seqs, &x.t)
			if i := x.info("q"); i.Ready+i.Unacked != 0 || i.ReadyBytes != 0 || i.Persistent != 0 || log.Len(i.Options.ID) != 0 {
				t.Errorf("left over: %+v, %d in the log", i, log.Len(i.Options.ID))
			}
		})
	}
}

func TestRestartBringsBackWhatWasStored(t *testing.T) {
	defs, log := coretest.NewDefinitions(), coretest.NewLog()
	x := stored(t, defs, log)
	if _, err := x.s.DeclareQueue(core.QueueDeclare{Name: "q", Durable: true}); err != nil {
		t.Fatal(err)
	}
	x.fill("q", 0, 5000, true)
	x.fill("q", 5000, 5100, false)
	x.take("q", 0, 10, false)
	log.Hold(true)
	x.fill("q", 6000, 6010, true) // Never written: the crash takes them.

	after, err := defs.Restarted()
	if err != nil {
		t.Fatal(err)
	}
	y := stored(t, after, log)
	defer y.b.Close()
	if i := y.info("q"); i.Ready != 4990 || i.InMemory != 0 {
		t.Fatalf("ready %d, in memory %d", i.Ready, i.InMemory)
	}
	// The flag may be set too often after a crash, never too seldom: it is
	// reserved ahead.
	y.take("q", 10, 4086, true)
	y.take("q", 4096, 904, false)
	log.Hold(false)
	y.fill("q", 7000, 7010, true)
	y.take("q", 7000, 1, false)

	// A clean stop takes back what was reserved.
	y.b.Close()
	if after, err = after.Restarted(); err != nil {
		t.Fatal(err)
	}
	z := stored(t, after, log)
	defer z.b.Close()
	z.take("q", 7001, 9, false)
}

func TestDamagedMessageIsSetAside(t *testing.T) {
	log := coretest.NewLog()
	x := stored(t, core.NewMemoryDefinitions(), log)
	defer x.b.Close()
	if _, err := x.s.DeclareQueue(core.QueueDeclare{Name: "q", Durable: true}); err != nil {
		t.Fatal(err)
	}
	x.fill("q", 0, 5000, true)
	log.Damage(x.info("q").Options.ID)
	x.fill("q", 5000, 5100, true)
	got, last := 0, ""
	for {
		found, err := x.s.Get("q", true, func(_ *core.Holder, d *core.Delivery, _ int) {
			if n := string(d.Message.Body[:8]); n <= last {
				t.Fatalf("got %s after %s", n, last)
			} else {
				last = n
			}
			got++
		})
		if err != nil {
			t.Fatal(err)
		}
		if !found {
			break
		}
	}
	i := x.info("q")
	if damaged := int(i.Counters.Damaged); damaged < 4000 || got+damaged != 5100 || last != "00005099" || i.ReadyBytes != 0 {
		t.Errorf("got %d up to %s, %d damaged, %d bytes", got, last, damaged, i.ReadyBytes)
	}
}

func TestUnreadableForNowIsReadLater(t *testing.T) {
	log := coretest.NewLog()
	x := stored(t, core.NewMemoryDefinitions(), log)
	defer x.b.Close()
	if _, err := x.s.DeclareQueue(core.QueueDeclare{Name: "q", Durable: true}); err != nil {
		t.Fatal(err)
	}
	x.fill("q", 0, 5000, true)
	log.Busy(true)
	k := x.consume("q", false, 0)
	x.b.Advance(x.b.Now())
	got := k.n
	if got == 0 || got == 5000 {
		t.Fatalf("%d messages delivered, want those in memory", got)
	}
	if _, err := x.s.Get("q", true, func(*core.Holder, *core.Delivery, int) {}); err == nil {
		t.Error("a get of what cannot be read succeeded")
	}
	log.Busy(false)
	x.b.Advance(x.b.Now() + 2000)
	x.b.Advance(x.b.Now() + 2001) // Waits for the fetch that the clock began.
	if i := x.info("q"); k.n != 5000 || i.Counters.Damaged != 0 {
		t.Errorf("%d delivered, %d damaged", k.n, i.Counters.Damaged)
	}
}

func TestMessagesOfLostDefinitionsAreKept(t *testing.T) {
	for _, keep := range []bool{true, false} {
		log := coretest.NewLog()
		x := stored(t, core.NewMemoryDefinitions(), log)
		if _, err := x.s.DeclareQueue(core.QueueDeclare{Name: "q", Durable: true}); err != nil {
			t.Fatal(err)
		}
		x.fill("q", 0, 10, true)
		id := x.info("q").Options.ID

		b, err := core.New(core.Options{Log: log, KeepUnknownQueues: func() bool { return keep }}) // Knows no queue.
		if err != nil {
			t.Fatal(err)
		}
		b.Close()
		if n := log.Len(id); keep != (n == 10) {
			t.Errorf("keep=%v: %d messages in the log", keep, n)
		}
	}
}

// What was on disk before anyone wanted it is not handed out before the disk
// says that it may be: else it came back after a crash as if it never was.
func TestFirstDeliveryWaitsForItsMark(t *testing.T) {
	log := coretest.NewLog()
	x := stored(t, core.NewMemoryDefinitions(), log)
	defer x.b.Close()
	if _, err := x.s.DeclareQueue(core.QueueDeclare{Name: "q", Durable: true}); err != nil {
		t.Fatal(err)
	}
	x.fill("q", 0, 5, true)
	x.fill("q", 5, 7, false)
	log.HoldMarks(true)
	k := x.consume("q", false, 0)
	got := make(chan error)
	go func() {
		_, err := x.s.Get("q", true, func(*core.Holder, *core.Delivery, int) {})
		got <- err
	}()
	x.b.Advance(x.b.Now())
	if k.n != 0 {
		t.Fatalf("consumer got %d messages whose mark is not written", k.n)
	}
	// What is published now stands in the log behind the mark.
	log.HoldMarks(false)
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	x.b.Advance(x.b.Now())
	if i := x.info("q"); i.Ready != 0 || k.n+int(i.Counters.GotAuto+i.Counters.GetEmpty) < 7 {
		t.Fatalf("consumer got %d, %+v", k.n, i)
	}
	log.HoldMarks(true)
	x.fill("q", 7, 10, true)
	if i := x.info("q"); i.Ready != 0 {
		t.Fatalf("%d messages wait for a mark that stands before them", i.Ready)
	}
}
