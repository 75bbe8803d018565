package core_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"leveret/core"
	"leveret/core/coretest"
)

// The model is a slow, obvious broker: each queue a list of entries. It does
// not predict which consumer gets a message, but checks each delivery as it
// happens: it must be the first ready entry, not expired, to a consumer that
// has credit, with the right flag; and after every step nothing may be left
// waiting that some consumer has credit for.

type modelEntry struct {
	n           int // Ascending in each queue.
	priority    int
	body        string
	expires     int64
	out         *modelConsumer
	got         bool // Held by a get.
	redelivered bool
	due         int64 // Delayed until then; 0 for not at all.
	failed      int
}

type modelQueue struct {
	name      string
	ttl       int64
	priority  int   // x-max-priority
	single    bool  // x-single-active-consumer
	timeout   int64 // x-consumer-timeout
	active    *modelConsumer
	max       int               // x-max-length, 0 for none
	reject    bool              // x-overflow: reject-publish
	counts    bool              // It has
	limit     int               // x-delivery-limit, and
	retry     int64             // x-delayed-retry-min, 0 for none; the type is failed, the maximum 25.
	dead      string            // Where its dead go, "" if nowhere.
	deaths    map[string]string // What is there: the reasons, by body.
	entries   []*modelEntry     // As published; those that ended are removed.
	consumers []*modelConsumer  // As they came.
	delivered []*modelEntry     // What this step delivered.
}

type modelConsumer struct {
	m        *model
	q        *modelQueue
	c        *core.Consumer
	noAck    bool
	priority int
	prefetch int
	room     int
	waiter   *core.Waiter
	held     []modelHeld
	gone     bool
}

type modelHeld struct {
	e           *modelEntry
	h           *core.Holder
	seq         core.Seq
	at, timeout int64 // When it was delivered, and what it is given.
}

type model struct {
	t         *testing.T
	seed      uint64
	rng       *rand.Rand
	now       int64
	b         *core.Broker
	s         *core.Session
	p         *core.Publisher
	queues    []*modelQueue
	consumers []*modelConsumer
	got       []modelHeld
	lost      []modelHeld // Taken back: what is said about them must not count.
	next      int
	before    int // What next was when the step began.
	done      map[uint64]bool
	refused   map[uint64]bool
	number    uint64
	later     []modelLater // What the exchange "later" delays.
	stream    []string     // What the stream holds.
	readers   []*modelReader
	log       []string
	unordered bool // This step requeued twice: a later delivery may stand before an earlier return.
}

// modelReader reads the stream from its first message on: each must come, in
// order, and no more than prefetch and room allow.
type modelReader struct {
	m        *model
	c        *core.Consumer
	next     int // The offset that must come now.
	prefetch int
	room     int
	waiter   *core.Waiter
	held     []core.Seq
}

func (r *modelReader) Room(w *core.Waiter) bool {
	if r.room <= 0 {
		r.waiter = w
		return false
	}
	return true
}

func (r *modelReader) Flush() {}

func (r *modelReader) Deliver(_ *core.Consumer, ds []core.Delivery) bool {
	for _, d := range ds {
		if int(d.Seq) != r.next || r.next >= len(r.m.stream) || string(d.Message.Body) != r.m.stream[r.next] {
			r.m.failf("a reader of the stream got %d, %q, instead of %d of %d", d.Seq, d.Message.Body, r.next, len(r.m.stream))
		}
		r.next++
		r.held = append(r.held, d.Seq)
	}
	if r.room--; len(r.held) > r.prefetch {
		r.m.failf("a reader of the stream holds %d, its prefetch is %d", len(r.held), r.prefetch)
	}
	return false
}

// goOn gives r credit and room for n deliveries.
func (r *modelReader) goOn(credit, room int) {
	var t core.Touched
	n := min(credit, len(r.held))
	r.room = room
	done := slices.Clone(r.held[:n])
	r.held = slices.Delete(r.held, 0, n)
	r.c.Settle(core.Ack, done, &t)
	if w := r.waiter; w != nil && room > 0 {
		r.waiter = nil
		w.WakeInto(&t)
	}
	t.Flush()
	r.m.b.Advance(r.m.now)
}

// modelLater is a message that waits for its time.
type modelLater struct {
	due  int64
	n    int // Ascending.
	body string
}

func (m *model) failf(format string, args ...any) {
	m.t.Helper()
	from := max(0, len(m.log)-40)
	for _, l := range m.log[from:] {
		m.t.Log(l)
	}
	m.t.Fatalf("seed %d: %s", m.seed, fmt.Sprintf(format, args...))
}

func (m *model) note(format string, args ...any) {
	m.log = append(m.log, fmt.Sprintf(format, args...))
}

func (m *model) Completed(first, last uint64, k core.Kind) {
	for n := first; n <= last; n++ {
		if m.done[n] {
			m.failf("publish %d completed twice", n)
		}
		m.done[n] = true
		if k == core.Full {
			m.refused[n] = true
		} else if k != core.OK {
			m.failf("publish %d refused: %v", n, k)
		}
	}
}

func (c *modelConsumer) Room(w *core.Waiter) bool {
	if c.room <= 0 {
		c.waiter = w
		return false
	}
	return true
}

func (c *modelConsumer) Flush() {}

func (c *modelConsumer) Deliver(cc *core.Consumer, ds []core.Delivery) bool {
	m := c.m
	for _, d := range ds {
		body := string(d.Message.Body)
		m.note("  %s <- %s redelivered=%v", c.q.name, body, d.Redelivered)
		e := c.q.find(body)
		switch {
		case c.gone:
			m.failf("%s delivered to a cancelled consumer", body)
		case c.q.single && c.q.active != c:
			m.failf("%s delivered to a consumer that stands by", body)
		case e == nil:
			m.failf("%s delivered, which the model does not have", body)
		case e.out != nil || e.got:
			m.failf("%s delivered while it is out", body)
		case e.due != 0:
			m.failf("%s delivered while it is delayed", body)
		case e.redelivered != d.Redelivered:
			m.failf("%s redelivered=%v, want %v", body, d.Redelivered, e.redelivered)
		case e.expires != 0 && e.expires <= m.now:
			m.failf("%s delivered after its time", body)
		case !c.noAck && c.prefetch > 0 && len(c.held) >= c.prefetch:
			m.failf("%s delivered beyond the prefetch of %d", body, c.prefetch)
		}
		c.room--
		c.q.delivered = append(c.q.delivered, e)
		if c.noAck {
			c.q.remove(e)
			continue
		}
		e.out = c
		c.held = append(c.held, modelHeld{e, &cc.Holder, d.Seq, m.now, c.q.timeout})
	}
	return false
}

func (q *modelQueue) find(body string) *modelEntry {
	for _, e := range q.entries {
		if e.body == body {
			return e
		}
	}
	return nil
}

func (q *modelQueue) remove(e *modelEntry) {
	q.entries = slices.DeleteFunc(q.entries, func(o *modelEntry) bool { return o == e })
}

// ready returns what is ready in the order of its delivery.
func (q *modelQueue) ready() (es []*modelEntry) {
	for _, e := range q.entries {
		if e.out == nil && !e.got && e.due == 0 {
			es = append(es, e)
		}
	}
	slices.SortStableFunc(es, func(a, b *modelEntry) int { return b.priority - a.priority })
	return es
}

// passedOver returns an entry that was delivered in this step although ready
// should have come first. One that was published in this step may find that a
// lower one of the same batch was handed on before it.
func (m *model) passedOver(q *modelQueue, ready *modelEntry) *modelEntry {
	for _, e := range q.delivered {
		if ready.priority > e.priority && ready.n <= m.before || ready.priority == e.priority && ready.n < e.n {
			return e
		}
	}
	return nil
}

// expire ends what is due in the model.
func (m *model) expire() {
	for _, q := range m.queues {
		for _, e := range slices.Clone(q.entries) {
			if e.out == nil && !e.got && e.expires != 0 && e.expires <= m.now {
				q.die(e, "expired")
			}
		}
	}
}

// die ends e for reason.
func (q *modelQueue) die(e *modelEntry, reason string) {
	q.remove(e)
	if q.dead != "" && (q.dead[0] == 'd' || reason == "delivery_limit") {
		q.deaths[e.body] = reason
	}
}

// giveBack returns e, which is not out any more.
func (m *model) giveBack(q *modelQueue, e *modelEntry, failed bool) {
	switch {
	case e.expires != 0 && e.expires <= m.now:
		q.die(e, "expired")
		return
	case q.counts && failed:
		if e.failed++; e.failed > q.limit {
			q.die(e, "delivery_limit")
			return
		}
		if q.retry > 0 {
			e.due = m.now + min(q.retry*int64(e.failed), 25)
		}
	}
	e.redelivered = true
}

// revive makes ready what is due.
func (m *model) revive() {
	for _, q := range m.queues {
		for _, e := range q.entries {
			if e.due != 0 && e.due <= m.now {
				e.due, m.unordered = 0, true
			}
		}
	}
}

// dropHead makes room in q.
func (q *modelQueue) dropHead() {
	for ready := q.ready(); q.max > 0 && !q.reject && len(ready) > q.max; ready = ready[1:] {
		q.die(ready[0], "maxlen")
	}
}

// buried takes something from where the dead of q are.
func (m *model) buried(q *modelQueue) {
	if len(q.deaths) == 0 {
		return
	}
	_, err := m.s.Get(q.dead, true, func(_ *core.Holder, d *core.Delivery, _ int) {
		body := string(d.Message.Body)
		want := q.deaths[body]
		if got, _ := d.Message.Properties().Headers.Get("x-last-death-reason"); want == "" || got != want {
			m.failf("%s died for the reason %v, want %q", body, got, want)
		}
		delete(q.deaths, body)
	})
	if err != nil {
		m.failf("get the dead: %v", err)
	}
}

// takeBack takes from held what is overdue, and reports whether there was any.
func (m *model) takeBack(q *modelQueue, held *[]modelHeld) (late bool) {
	*held = slices.DeleteFunc(*held, func(h modelHeld) bool {
		if h.timeout == 0 || h.at+h.timeout > m.now || !slices.Contains(q.entries, h.e) {
			return false
		}
		m.note("  %s: %s is overdue", q.name, h.e.body)
		h.e.out, h.e.got, h.e.redelivered = nil, false, true
		m.lost = append(m.lost, h)
		late = true
		return true
	})
	return late
}

// timeOut ends who is late in the model.
func (m *model) timeOut() {
	for _, q := range m.queues {
		m.takeBack(q, &m.got)
		for _, c := range slices.Clone(q.consumers) {
			if m.takeBack(q, &c.held) {
				q.active = m.without(c)
				m.keep(c)
			}
		}
	}
	m.expire()
}

// settleLost says something about what was taken back.
func (m *model) settleLost(op core.Settlement) {
	var t core.Touched
	for _, h := range m.lost {
		h.h.Settle(op, []core.Seq{h.seq}, &t)
	}
	t.Flush()
	m.lost = nil
}

func (m *model) check() {
	m.b.Advance(m.now) // Waits for what reads cold messages.
	m.expire()
	for _, q := range m.queues {
		cq, ok := m.s.VHost().Queue(q.name)
		if !ok {
			m.failf("queue %s is gone", q.name)
		}
		i := cq.Info()
		ready := q.ready()
		if i.Ready != len(ready) || i.Ready+i.Unacked+i.Delayed != len(q.entries) || i.Leaving != 0 {
			m.failf("%s: ready %d unacked %d delayed %d leaving %d, want %d ready of %d", q.name, i.Ready, i.Unacked, i.Delayed, i.Leaving, len(ready), len(q.entries))
		}
		if q.dead != "" {
			dead, ok := m.s.VHost().Queue(q.dead)
			if n := len(q.deaths); ok && dead.Info().Ready != n || !ok && n > 0 {
				m.failf("%s: %d died, %s does not have as many", q.name, n, q.dead)
			}
		}
		if len(ready) == 0 {
			continue
		}
		for _, r := range ready {
			if e := m.passedOver(q, r); e != nil && !m.unordered {
				m.failf("%s: %s delivered before %s", q.name, e.body, r.body)
			}
		}
		for _, c := range q.consumers {
			if q.single && q.active != c {
				continue
			}
			if c.room > 0 && (c.noAck || c.prefetch == 0 || len(c.held) < c.prefetch) {
				m.failf("%s: %d ready and a consumer with credit", q.name, len(ready))
			}
		}
	}
	for n := uint64(1); n <= m.number; n++ {
		if !m.done[n] {
			m.failf("publish %d not completed", n)
		}
	}
}

// settle settles a random selection of what is held.
func (m *model) settle(held *[]modelHeld, op core.Settlement) {
	if len(*held) == 0 {
		return
	}
	n := 1 + m.rng.IntN(len(*held))
	at := m.rng.IntN(len(*held) - n + 1)
	some := slices.Clone((*held)[at : at+n])
	*held = slices.Delete(*held, at, at+n)
	var t core.Touched
	for len(some) > 0 {
		h := some[0].h
		var seqs []core.Seq
		k := 0
		for ; k < len(some) && some[k].h == h; k++ {
			e := some[k].e
			seqs = append(seqs, some[k].seq)
			q := m.queueOf(e)
			e.out, e.got = nil, false
			switch op {
			case core.Ack:
				q.remove(e)
			case core.Discard:
				q.die(e, "rejected")
			default:
				m.giveBack(q, e, op == core.Fail)
			}
		}
		q := m.queueCalled(h.QueueName())
		some = some[k:]
		h.Settle(op, seqs, &t)
		if op != core.Ack {
			q.dropHead()
		}
		m.unordered = m.unordered || len(some) > 0 && (op == core.Requeue || op == core.Fail)
	}
	t.Flush()
}

func (m *model) queueOf(e *modelEntry) *modelQueue {
	for _, q := range m.queues {
		if slices.Contains(q.entries, e) {
			return q
		}
	}
	m.failf("entry %s is in no queue", e.body)
	return nil
}

func (m *model) queueCalled(name string) *modelQueue {
	i := slices.IndexFunc(m.queues, func(q *modelQueue) bool { return q.name == name })
	return m.queues[i]
}

func (m *model) step() {
	m.unordered, m.before = false, m.next
	for _, q := range m.queues {
		q.delivered = q.delivered[:0]
	}
	q := m.queues[m.rng.IntN(len(m.queues))]
	var c *modelConsumer
	if len(m.consumers) > 0 {
		c = m.consumers[m.rng.IntN(len(m.consumers))]
	}
	switch k := m.rng.IntN(100); {
	case k < 31:
		m.publish(q)
	case k < 32:
		m.note("the readers of the stream go on")
		m.readers[m.rng.IntN(len(m.readers))].goOn(m.rng.IntN(10), m.rng.IntN(4))
	case k < 34:
		m.delay()
	case k < 35:
		m.policy()
	case k < 60 && c != nil:
		op := []core.Settlement{core.Ack, core.Ack, core.Requeue, core.Fail, core.Discard}[m.rng.IntN(5)]
		m.note("settle %v on %s", op, c.q.name)
		m.settle(&c.held, op)
	case k < 70 && c != nil:
		c.room = m.rng.IntN(12)
		m.note("room %d on %s", c.room, c.q.name)
		if w := c.waiter; w != nil && c.room > 0 {
			c.waiter = nil
			w.Wake()
		}
	case k < 76 && len(m.consumers) < 12:
		m.consume(q)
	case k < 78 && c != nil:
		m.cancel(c)
	case k < 79 && c != nil:
		m.leave(c)
	case k < 85:
		m.get(q)
	case k < 86:
		m.buried(q)
	case k < 87:
		m.settleLost(core.Settlement(m.rng.IntN(4)))
	case k < 90:
		m.note("settle what was got")
		m.settle(&m.got, core.Settlement(m.rng.IntN(4)))
	case k < 97:
		d := int64(m.rng.IntN(40))
		m.note("advance %d", d)
		m.now += d
		m.fire()
		m.revive()
		m.timeOut()
		m.b.Advance(m.now)
	case k < 98:
		m.note("purge %s", q.name)
		if _, err := m.s.PurgeQueue(q.name); err != nil {
			m.failf("purge: %v", err)
		}
		q.entries = slices.DeleteFunc(q.entries, func(e *modelEntry) bool { return e.out == nil && !e.got })
	case c != nil:
		n := m.rng.IntN(6)
		m.note("prefetch %d on %s", n, c.q.name)
		c.prefetch = n
		var t core.Touched
		c.c.SetPrefetch(n, &t)
		t.Flush()
	}
}

// policy puts the first queue under another policy, or under none.
func (m *model) policy() {
	q := m.queues[0]
	q.max, q.ttl = []int{0, 0, 4, 9}[m.rng.IntN(4)], []int64{-1, -1, 30, 80}[m.rng.IntN(4)]
	definition := ""
	if q.max > 0 {
		definition = fmt.Sprintf(`"max-length": %d`, q.max)
	}
	if q.ttl >= 0 {
		if definition != "" {
			definition += ", "
		}
		definition += fmt.Sprintf(`"message-ttl": %d`, q.ttl)
	}
	m.note("policy %s for %s", definition, q.name)
	if definition == "" {
		m.b.ClearPolicy("/", "p") // There may be none.
	} else if err := m.b.PutPolicy(core.PolicyDef{VHost: "/", Name: "p", Pattern: "^" + q.name + "$", Definition: "{" + definition + "}"}); err != nil {
		m.failf("policy: %v", err)
	}
	q.dropHead()
	m.b.Advance(m.now)
}

// delay publishes to the exchange that delays, which leads to two queues, or
// calls something off.
func (m *model) delay() {
	x, _ := m.s.VHost().Exchange("later")
	if len(m.later) > 0 && m.rng.IntN(4) == 0 {
		k := m.rng.IntN(len(m.later))
		list := x.Delayed(core.DelayedID{}, len(m.later))
		if len(list) != len(m.later) || list[k].ID.DueMS != m.later[k].due {
			m.failf("%d delayed, want %d; number %d is due at %d", len(list), len(m.later), k, m.later[k].due)
		}
		m.note("call off %s", m.later[k].body)
		if err := x.CancelDelayed(list[k].ID); err != nil {
			m.failf("cancel: %v", err)
		}
		m.later = slices.Delete(m.later, k, k+1)
		return
	}
	target, err := m.p.Target("later")
	if err != nil {
		m.failf("target: %v", err)
	}
	batch := make([]core.Publication, 1+m.rng.IntN(8))
	for i := range batch {
		msg := &batch[i]
		msg.Reset()
		m.next++
		m.number++
		body, delay := strconv.Itoa(m.next), int64(1+m.rng.IntN(120))
		msg.Body, msg.Number, msg.Persistent = []byte(body), m.number, m.rng.IntN(2) == 0
		msg.SetProperties(&core.Properties{Headers: core.Table{{Name: "x-delay", Value: delay}}, HeadersSet: true})
		if _, err := m.p.Route(target, msg); err != nil {
			m.failf("route: %v", err)
		}
		m.later = append(m.later, modelLater{m.now + delay, m.next, body})
	}
	slices.SortStableFunc(m.later, func(a, b modelLater) int { return int(a.due - b.due) })
	m.note("delay x%d", len(batch))
	var t core.Touched
	m.p.Publish(batch, &t)
	t.Flush()
	for i := range batch {
		clear(batch[i].Body)
	}
	m.b.Advance(m.now)
}

// fire moves what is due to where it goes.
func (m *model) fire() {
	for len(m.later) > 0 && m.later[0].due <= m.now {
		l := m.later[0]
		m.later = m.later[1:]
		m.next++
		for _, q := range []*modelQueue{m.queues[2], m.queues[3]} {
			q.entries = append(q.entries, &modelEntry{n: m.next, body: l.body})
		}
	}
}

func (m *model) publish(q *modelQueue) {
	n := 1 + m.rng.IntN(20)
	to := []*modelQueue{q}
	exchange := ""
	if m.rng.IntN(3) == 0 {
		exchange, to = "amq.fanout", m.queues
	}
	target, err := m.p.Target(exchange)
	if err != nil {
		m.failf("target: %v", err)
	}
	batch := make([]core.Publication, n)
	var atOnce []*modelEntry
	bounded := make(map[uint64]*modelEntry)
	for i := range batch {
		msg := &batch[i]
		msg.Reset()
		m.next++
		m.number++
		body := strconv.Itoa(m.next)
		if m.rng.IntN(20) == 0 {
			body += string(make([]byte, m.rng.IntN(20000)))
		}
		msg.RoutingKey, msg.Body, msg.Number = q.name, []byte(body), m.number
		msg.Persistent = m.rng.IntN(2) == 0
		if m.rng.IntN(2) == 0 {
			msg.Priority, msg.HasPriority = uint8(m.rng.IntN(12)), true
		}
		if m.rng.IntN(5) == 0 {
			// What expires at once may do so before or after there is room made.
			if msg.TTLMS = int64(2 + m.rng.IntN(100)); msg.TTLMS > 99 && len(to) == 1 && q.max == 0 {
				msg.TTLMS = 0
			}
		}
		if _, err := m.p.Route(target, msg); err != nil {
			m.failf("route: %v", err)
		}
		if exchange != "" {
			m.stream = append(m.stream, body)
		}
		for _, q := range to {
			ttl := q.ttl
			if msg.TTLMS >= 0 && (ttl < 0 || msg.TTLMS < ttl) {
				ttl = msg.TTLMS
			}
			e := &modelEntry{n: m.next, body: body, priority: min(int(msg.Priority), q.priority)}
			if ttl >= 0 {
				e.expires = m.now + ttl
				if ttl == 0 {
					e.expires = m.now + 1 // A waiting consumer may have it now.
					atOnce = append(atOnce, e)
				}
			}
			q.entries = append(q.entries, e)
			if q.reject {
				bounded[m.number] = e
			}
		}
	}
	m.note("publish %q %s x%d", exchange, q.name, n)
	var t core.Touched
	m.p.Publish(batch, &t)
	t.Flush()
	for i := range batch { // What rests must not alias the batch.
		clear(batch[i].Body)
	}
	for _, e := range atOnce {
		e.expires = m.now
	}
	for _, q := range to {
		q.dropHead()
		refused := 0
		for number, e := range bounded {
			if q.reject && m.refused[number] {
				refused++
				q.remove(e)
			}
		}
		// What was given back may have made it longer before.
		if n := len(q.ready()); refused > 0 && n < q.max {
			m.failf("%s: %d ready of %d, %d refused", q.name, n, q.max, refused)
		}
	}
	m.b.Advance(m.now)
}

func (m *model) consume(q *modelQueue) {
	c := &modelConsumer{m: m, q: q, noAck: m.rng.IntN(4) == 0, prefetch: m.rng.IntN(6), room: m.rng.IntN(20), priority: m.rng.IntN(3)}
	cc, err := m.s.Consume(core.ConsumeOptions{Queue: q.name, Tag: strconv.Itoa(m.next), NoAck: c.noAck, Prefetch: c.prefetch, Priority: c.priority, Outlet: c})
	if err != nil {
		m.failf("consume: %v", err)
	}
	m.note("consume %s noack=%v prefetch=%d room=%d", q.name, c.noAck, c.prefetch, c.room)
	c.c = cc
	m.consumers = append(m.consumers, c)
	q.consumers = append(q.consumers, c)
	if q.active == nil {
		q.active = c
	}
	var t core.Touched
	cc.Start(&t)
	t.Flush()
}

// without takes c off the model. next is who becomes active for it.
func (m *model) without(c *modelConsumer) (next *modelConsumer) {
	q := c.q
	c.gone = true
	m.consumers = slices.DeleteFunc(m.consumers, func(o *modelConsumer) bool { return o == c })
	q.consumers = slices.DeleteFunc(q.consumers, func(o *modelConsumer) bool { return o == c })
	if q.active != c {
		return q.active
	}
	for _, o := range q.consumers {
		if next == nil || o.priority > next.priority {
			next = o
		}
	}
	return next
}

// leave ends a consumer as the end of its channel does.
func (m *model) leave(c *modelConsumer) {
	m.note("leave %s", c.q.name)
	next := m.without(c)
	if c.q.active == c {
		if c.q.active = next; len(c.held) > 0 {
			c.q.active = nil // Nobody, until all is given back.
		}
	}
	var t core.Touched
	c.c.Leave(&t)
	var seqs []core.Seq
	for _, h := range c.held {
		seqs = append(seqs, h.seq)
		h.e.out = nil
		m.giveBack(c.q, h.e, true)
	}
	c.held, c.q.active = nil, next
	c.c.Settle(core.Fail, seqs, &t)
	c.q.dropHead()
	t.Flush()
}

func (m *model) cancel(c *modelConsumer) {
	m.note("cancel on %s", c.q.name)
	c.q.active = m.without(c)
	var t core.Touched
	c.c.Cancel(&t)
	t.Flush()
	m.keep(c)
}

// keep keeps what c, which is gone, holds, to be settled later like what was got.
func (m *model) keep(c *modelConsumer) {
	m.got = append(m.got, c.held...)
	for _, h := range c.held {
		h.e.out, h.e.got = nil, true
	}
	c.held = nil
}

func (m *model) get(q *modelQueue) {
	noAck := m.rng.IntN(2) == 0
	m.note("get %s noack=%v", q.name, noAck)
	m.expire()
	ready := q.ready()
	found, err := m.s.Get(q.name, noAck, func(h *core.Holder, d *core.Delivery, remaining int) {
		body := string(d.Message.Body)
		switch {
		case len(ready) == 0 || ready[0].body != body:
			m.failf("got %s, want the first ready of %d", body, len(ready))
		case ready[0].redelivered != d.Redelivered:
			m.failf("got %s redelivered=%v", body, d.Redelivered)
		case remaining != len(ready)-1:
			m.failf("remaining %d, want %d", remaining, len(ready)-1)
		}
		if noAck {
			q.remove(ready[0])
			return
		}
		ready[0].got = true
		m.got = append(m.got, modelHeld{e: ready[0], h: h, seq: d.Seq})
	})
	if err != nil || found != (len(ready) > 0) {
		m.failf("get: %v, %v with %d ready", found, err, len(ready))
	}
}

// TestModel runs random operations against the broker and the model. A
// failure prints its seed; LEVERET_SEED runs that one alone.
func TestModel(t *testing.T) {
	seeds := []uint64{1, 2, 3, 4, 5, 6, 7, 8}
	for range 8 {
		seeds = append(seeds, rand.Uint64())
	}
	if s := os.Getenv("LEVERET_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seeds = []uint64{n}
	}
	for _, seed := range seeds {
		runModel(t, seed, 400, core.MemoryLog{})
		runModel(t, seed, 400, coretest.NewLog()) // Queues leave memory at a few kilobytes.
	}
}

func runModel(t *testing.T, seed uint64, steps int, log core.MessageLog) {
	m := &model{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), now: 1_000_000, done: map[uint64]bool{}, refused: map[uint64]bool{}}
	b, err := core.New(core.Options{Log: log, QueueMemory: 8 << 10, Now: func() int64 { return m.now }})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	m.b = b
	user, _ := b.Auth().User("guest")
	if m.s, err = b.OpenSession(core.SessionOptions{VHost: "/", User: user, Loopback: true}); err != nil {
		t.Fatal(err)
	}
	m.p = m.s.NewPublisher(m)
	for i, q := range []*modelQueue{{ttl: -1}, {ttl: 50}, {ttl: -1}, {ttl: -1, priority: 9}, {ttl: 60, priority: 2, single: true}, {ttl: -1, single: true},
		{ttl: -1, max: 6, dead: "dead6", priority: 3}, {ttl: 50, max: 5, reject: true, dead: "dead7"},
		{ttl: 70, counts: true, limit: 2, retry: 10, dead: "dead8"}, {ttl: -1, counts: true, limit: 1, dead: "parked.q9"},
		{ttl: -1, single: true, timeout: 90}, {ttl: 45, timeout: 60}} {
		q.name = fmt.Sprintf("q%d", i)
		q.deaths = make(map[string]string)
		args := core.Table{}
		if q.max > 0 {
			args = args.With("x-max-length", int64(q.max))
		}
		if q.reject {
			args = args.With("x-overflow", "reject-publish")
		}
		if q.counts {
			args = args.With("x-delivery-limit", int64(q.limit))
		}
		if q.retry > 0 {
			args = args.With("x-delayed-retry-type", "failed").With("x-delayed-retry-min", q.retry).With("x-delayed-retry-max", int64(25))
		}
		if q.dead != "" && q.dead[0] == 'd' {
			args = args.With("x-dead-letter-exchange", "").With("x-dead-letter-routing-key", q.dead)
			if _, err := m.s.DeclareQueue(core.QueueDeclare{Name: q.dead, Durable: i != 6}); err != nil {
				t.Fatal(err)
			}
		}
		if q.ttl >= 0 {
			args = args.With("x-message-ttl", q.ttl)
		}
		if q.priority > 0 {
			args = args.With("x-max-priority", int64(q.priority))
		}
		if q.timeout > 0 {
			args = args.With("x-consumer-timeout", q.timeout)
		}
		if q.single {
			args = args.With("x-single-active-consumer", true)
		}
		if _, err := m.s.DeclareQueue(core.QueueDeclare{Name: q.name, Durable: i != 2, Arguments: args}); err != nil {
			t.Fatal(err)
		}
		if err := m.s.Bind(core.Binding{Source: "amq.fanout", Destination: q.name}); err != nil {
			t.Fatal(err)
		}
		m.queues = append(m.queues, q)
	}
	later := core.ExchangeDeclare{Name: "later", Type: "x-delayed-message", Durable: true, Arguments: core.Table{{Name: "x-delayed-type", Value: "fanout"}}}
	if err := m.s.DeclareExchange(later); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{2, 3} {
		if err := m.s.Bind(core.Binding{Source: "later", Destination: m.queues[i].name}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := m.s.DeclareQueue(core.QueueDeclare{Name: "stream", Durable: true, Arguments: core.Table{{Name: "x-queue-type", Value: "stream"}}}); err != nil {
		t.Fatal(err)
	}
	if err := m.s.Bind(core.Binding{Source: "amq.fanout", Destination: "stream"}); err != nil {
		t.Fatal(err)
	}
	for i, prefetch := range []int{1, 20} {
		r := &modelReader{m: m, prefetch: prefetch}
		r.c, err = m.s.Consume(core.ConsumeOptions{Queue: "stream", Tag: fmt.Sprint("reader", i), Prefetch: prefetch, Outlet: r,
			Arguments: core.Table{{Name: "x-stream-offset", Value: "first"}}})
		if err != nil {
			t.Fatal(err)
		}
		var touched core.Touched
		r.c.Start(&touched)
		m.readers = append(m.readers, r)
	}
	for range steps {
		m.step()
		m.check()
	}
	for _, r := range m.readers {
		for r.next < len(m.stream) {
			before := r.next
			r.goOn(r.prefetch, 1000)
			if r.goOn(0, 1000); r.next == before {
				m.failf("a reader of the stream stays at %d of %d", r.next, len(m.stream))
			}
		}
		var touched core.Touched
		r.c.Cancel(&touched)
	}
	if _, err := m.s.DeleteQueue("stream", false, false); err != nil {
		m.failf("delete: %v", err)
	}
	if err := m.s.DeleteExchange("later", false); err != nil {
		m.failf("delete: %v", err)
	}
	// Everything settled and purged, the account must be empty.
	for _, c := range slices.Clone(m.consumers) {
		m.cancel(c)
	}
	for len(m.got) > 0 {
		m.settle(&m.got, core.Ack)
	}
	m.settleLost(core.Requeue)
	for _, q := range m.queues {
		for _, name := range []string{q.name, q.dead} {
			if _, err := m.s.DeleteQueue(name, false, false); err != nil {
				m.failf("delete: %v", err)
			}
		}
	}
	b.Advance(m.now) // Waits for what gives memory back.
	if n := b.Memory().Live(); n != 0 {
		m.failf("%d bytes still on the account with every queue gone", n)
	}
}
