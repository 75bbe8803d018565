package core_test

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"leveret/core"
	"leveret/core/coretest"
)

// everything is a look that nothing bounds.
func everything(states core.PeekState) core.PeekOptions {
	return core.PeekOptions{
		States: states, Count: math.MaxInt, Bytes: math.MaxInt64, Keep: -1, Scan: math.MaxInt, ScanBytes: math.MaxInt64,
	}
}

// shown is a result as a line for each message.
func shown(r core.PeekResult) (lines []string) {
	for _, m := range r.Messages {
		line := fmt.Sprintf("%d %s %s", m.Index, m.State, m.Message.Body)
		if m.Redelivered {
			line += " redelivered"
		}
		lines = append(lines, line)
	}
	return lines
}

func peek(t *testing.T, s *core.Session, queue string, o core.PeekOptions) core.PeekResult {
	t.Helper()
	r, err := s.Peek(queue, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func sameLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func TestPeekChangesNothing(t *testing.T) {
	e := coretest.NewEnv(t)
	e.Do("queue q durable")
	e.Do("publish q a b c d e persistent")
	e.Do("consume q c1 prefetch=2")
	before := e.Do("show q")
	for range 3 {
		sameLines(t, shown(peek(t, e.Session(), "q", everything(core.PeekAll))),
			"0 unacked a", "1 unacked b", "2 ready c", "3 ready d", "4 ready e")
	}
	sameLines(t, shown(peek(t, e.Session(), "q", everything(core.PeekReady))), "0 ready c", "1 ready d", "2 ready e")
	sameLines(t, shown(peek(t, e.Session(), "q", everything(core.PeekUnacked))), "0 unacked a", "1 unacked b")
	sameLines(t, e.Do("show q"), before...)
	sameLines(t, e.Do("requeue c1 a b"), "c1 <- a redelivered", "c1 <- b redelivered")
	sameLines(t, e.Do("ack c1 a b"), "c1 <- c", "c1 <- d")
	sameLines(t, e.Do("get q noack"), "got e, 0 left")
}

func TestPeekGoesOnWhereItEnded(t *testing.T) {
	e := coretest.NewEnv(t)
	e.Do("queue q x-max-priority=5")
	for i := range 300 {
		e.Do(fmt.Sprintf("publish q m%d priority=%d", i, i%3))
	}
	o := everything(core.PeekReady)
	whole := peek(t, e.Session(), "q", o)
	if whole.Next != nil || whole.Total != 300 || len(whole.Messages) != 300 {
		t.Fatalf("%d of %d, then %v", len(whole.Messages), whole.Total, whole.Next)
	}
	if first, last := string(whole.Messages[0].Message.Body), string(whole.Messages[299].Message.Body); first != "m2" || last != "m297" {
		t.Errorf("%s .. %s", first, last)
	}
	for _, count := range []int{1, 7, 100, 299, 300} {
		o.Count, o.From = count, core.PeekPlace{}
		var lines []string
		for pages := 0; ; pages++ {
			r := peek(t, e.Session(), "q", o)
			lines = append(lines, shown(r)...)
			if r.Next == nil {
				break
			}
			if o.From = *r.Next; pages > 300 {
				t.Fatal("no end")
			}
		}
		sameLines(t, lines, shown(whole)...)
	}
	for _, from := range []int{0, 1, 99, 100, 101, 250, 299, 300, 1000} {
		o.Count, o.From = 300, core.PeekPlace{Index: from}
		if got, want := shown(peek(t, e.Session(), "q", o)), shown(whole)[min(from, 300):]; len(got)+len(want) > 0 {
			sameLines(t, got, want...)
		}
	}

	// What goes in between does not make it miss anything.
	o.Count, o.From = 50, core.PeekPlace{}
	r := peek(t, e.Session(), "q", o)
	e.Do("consume q c prefetch=20")
	o.From, o.Count = *r.Next, 1
	sameLines(t, shown(peek(t, e.Session(), "q", o)), shown(whole)[50])
}

func TestPeekBounds(t *testing.T) {
	e := coretest.NewEnv(t)
	e.Do("queue q")
	for range 100 {
		e.Do("publish q 0123456789 abcdefghij")
	}
	letters := func(m *core.Peeked) bool { return m.Message.Body[0] == 'a' }

	o := everything(core.PeekReady)
	o.Bytes = 95
	if r := peek(t, e.Session(), "q", o); len(r.Messages) != 10 {
		t.Errorf("%d messages of 10 bytes in 95", len(r.Messages))
	}
	o = everything(core.PeekReady)
	o.Keep = 3
	if m := peek(t, e.Session(), "q", o).Messages[1]; string(m.Message.Body) != "abc" || m.BodyBytes != 10 {
		t.Errorf("%q of %d", m.Message.Body, m.BodyBytes)
	}
	o = everything(core.PeekReady)
	o.Match, o.Scan = letters, 30
	r := peek(t, e.Session(), "q", o)
	if len(r.Messages) != 15 || r.Scanned != 30 || r.Next == nil || r.Next.Index != 30 {
		t.Errorf("%d of %d, then %v", len(r.Messages), r.Scanned, r.Next)
	}
	o.Scan, o.ScanBytes = math.MaxInt, 100
	if r := peek(t, e.Session(), "q", o); r.Scanned != 10 || r.Next == nil {
		t.Errorf("scanned %d, then %v", r.Scanned, r.Next)
	}
	o.ScanBytes = math.MaxInt64
	looks := 0
	o.Stop = func() bool { looks++; return looks > 5 }
	if r := peek(t, e.Session(), "q", o); r.Next == nil {
		t.Error("not stopped")
	}
	o.Stop = nil
	if r := peek(t, e.Session(), "q", o); len(r.Messages) != 100 || r.Next != nil {
		t.Errorf("%d letters", len(r.Messages))
	}
}

func TestPeekSeesDelayedAndExpired(t *testing.T) {
	e := coretest.NewEnv(t)
	e.Do("queue q durable x-queue-type=quorum x-delayed-retry-type=failed x-delayed-retry-min=60000")
	e.Do("publish q a b c persistent")
	e.Do("consume q c1 prefetch=1")
	e.Do("reject c1 a requeue")
	e.Do("cancel c1")
	r := peek(t, e.Session(), "q", everything(core.PeekAll))
	if len(r.Messages) != 3 {
		t.Fatalf("%v", shown(r))
	}
	for _, m := range r.Messages {
		if string(m.Message.Body) == "a" && (m.State != core.PeekDelayed || m.DueMS == 0 || m.Attempts != 1 || !m.Redelivered) {
			t.Errorf("%+v", m)
		}
	}
	e.Do("queue old x-message-ttl=1000")
	e.Do("publish old a")
	if m := peek(t, e.Session(), "old", everything(core.PeekReady)).Messages[0]; m.Message.ExpiresMS == 0 {
		t.Error("no expiry shown")
	}
}

func TestPeekReadsWhatIsOnDisk(t *testing.T) {
	log := coretest.NewLog()
	x := stored(t, core.NewMemoryDefinitions(), log)
	defer x.b.Close()
	if _, err := x.s.DeclareQueue(core.QueueDeclare{Name: "q", Durable: true}); err != nil {
		t.Fatal(err)
	}
	const n = 20_000
	x.fill("q", 0, n, true)
	before := x.info("q")
	if before.InMemory == n {
		t.Fatal("nothing is cold")
	}
	o := everything(core.PeekReady)
	o.Match = func(m *core.Peeked) bool { return strings.HasSuffix(string(m.Message.Body[:8]), "777") }
	r := peek(t, x.s, "q", o)
	if len(r.Messages) != n/1000 || r.Scanned != n {
		t.Errorf("%d of %d", len(r.Messages), r.Scanned)
	}
	for i, m := range r.Messages {
		if want := fmt.Sprintf("%08d", 1000*i+777); string(m.Message.Body[:8]) != want || m.Index != 1000*i+777 {
			t.Errorf("%d: %s, want %s", m.Index, m.Message.Body[:8], want)
		}
	}
	o = everything(core.PeekReady)
	o.From, o.Count = core.PeekPlace{Index: n - 2}, 10
	if r := peek(t, x.s, "q", o); len(r.Messages) != 2 || r.Next != nil {
		t.Errorf("%d at the end, then %v", len(r.Messages), r.Next)
	}
	if after := x.info("q"); !reflect.DeepEqual(after, before) {
		t.Errorf("before %+v\nafter  %+v", before, after)
	}
	x.take("q", 0, 10, false)
}

func TestPeekStream(t *testing.T) {
	b := newStreamBroker(t)
	for i := range 200 {
		b.publish(fmt.Sprintf("m%04d", i))
	}
	b.Advance(b.now)
	o := everything(core.PeekReady)
	o.From, o.Count = core.PeekPlace{Index: 150}, 3
	r := peek(t, b.session, "s", o)
	sameLines(t, shown(r), "150 ready m0150", "151 ready m0151", "152 ready m0152")
	if r.Next == nil || r.Next.Seq != 153 || r.Total != 200 {
		t.Errorf("%+v", r)
	}
	o.From, o.Count = *r.Next, 1000
	if r := peek(t, b.session, "s", o); len(r.Messages) != 47 || r.Next != nil {
		t.Errorf("%d messages, then %v", len(r.Messages), r.Next)
	}
}

func TestPeekNeedsReadPermission(t *testing.T) {
	e := coretest.NewEnv(t)
	e.Do("queue q exclusive")
	e.Do("publish q a")
	e.Do("user alice")
	e.Do("allow alice .* .* ^other")
	e.Do("session alices user=alice")
	e.Do("use alices")
	for _, queue := range []string{"q", "none"} {
		if _, err := e.Session().Peek(queue, everything(core.PeekAll)); err == nil || err.(*core.Error).Kind != core.AccessRefused {
			t.Errorf("%s: %v", queue, err)
		}
	}
	// Looking disturbs nobody: another session's queue can be looked into.
	e.Do("allow alice .* .* .*")
	sameLines(t, shown(peek(t, e.Session(), "q", everything(core.PeekAll))), "0 ready a")
	if _, err := e.Session().Peek("none", everything(core.PeekAll)); err == nil || err.(*core.Error).Kind != core.NotFound {
		t.Errorf("%v", err)
	}
}
