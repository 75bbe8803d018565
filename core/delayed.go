package core

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/tidwall/btree"

	"leveret/core/wheel"
)

// delayer is the hidden queue of an exchange that delays messages: ordered by
// due time, without consumers. A message that is due is routed by the exchange
// as if it were published then; it leaves the log with the change set that
// brings it to its queues, so that a crash finds it in one of the two.
//
//	publish ──▶ tree, by due time ──▶ fire: read, route, publish + settle
//	            │ message, until the log has it
//	            └ afterwards 32 bytes and a place in the log
//
// A pending message is named by when it is due and its number in the log.
type delayer struct {
	broker *Broker
	x      *Exchange
	opts   *QueueOptions
	log    QueueLog // nil unless the exchange is durable.

	gone  atomic.Bool // Written under mu.
	timer wheel.Timer

	mu struct {
		sync.Mutex
		pending *btree.BTreeG[delayed]
		charged int64 // What the tree takes, as far as Memory knows.
		next    Seq
		resting resting
		// kept are the messages in memory, in the order of their numbers, some of
		// which have left already. Those before keptFrom have.
		kept     []DelayedID
		keptFrom int
		bytes    int64 // Bodies of pending messages.
		firing   bool
		dueAtMS  int64 // When timer is set to fire; 0 for not at all.
	}
}

// DelayedID names a message that waits for its time, in its exchange.
type DelayedID struct {
	DueMS int64 // When it is due, ms since 1970.
	Seq   Seq
}

// String returns the id as DUE-NUMBER, both decimal.
func (d DelayedID) String() string { return fmt.Sprintf("%d-%d", d.DueMS, uint64(d.Seq)) }

// ParseDelayedID reads what String wrote.
func ParseDelayedID(s string) (DelayedID, error) {
	due, number, ok := strings.Cut(s, "-")
	ms, err1 := strconv.ParseInt(due, 10, 64)
	n, err2 := strconv.ParseUint(number, 10, 64)
	if !ok || err1 != nil || err2 != nil {
		return DelayedID{}, errorf(Invalid, "'%s' does not name a delayed message", s)
	}
	return DelayedID{ms, Seq(n)}, nil
}

// DelayedMessage is a message that waits for its time.
type DelayedMessage struct {
	ID        DelayedID
	BodyBytes int
}

type delayed struct {
	DelayedID
	bytes   uint32
	message *Message // nil if it is in the log only.
}

const (
	delayedBytes = int64(unsafe.Sizeof(delayed{}))
	// delayMaxMS is the longest delay, ten years; longer ones are cut to it.
	delayMaxMS = 10 * 366 * 24 * 3600_000
	// delayKeepMS is how soon a message must be due to stay in memory.
	delayKeepMS = 2000
	// fireAtOnce is how many messages are routed in one change set.
	fireAtOnce = 256
	// fireBytesAtOnce bounds their bodies, but for one larger than that.
	fireBytesAtOnce = 1 << 20
	// fireRetryMS is when to try again what could not be read.
	fireRetryMS = 1000
)

func newDelayer(x *Exchange, id QueueID) *delayer {
	b := x.vhost.broker
	d := &delayer{broker: b, x: x, opts: &QueueOptions{
		Name: x.name, VHost: x.vhost.name, Type: QueueClassic, Durable: x.durable, ID: id, hidden: true,
	}}
	if x.durable {
		d.log = b.log.OpenQueue(id)
	}
	d.mu.pending = newPending()
	d.timer.Init(delayerTask{d})
	return d
}

func newPending() *btree.BTreeG[delayed] {
	return btree.NewBTreeGOptions(func(a, b delayed) bool {
		return a.DueMS < b.DueMS || a.DueMS == b.DueMS && a.Seq < b.Seq
	}, btree.Options{NoLocks: true})
}

// unlock ends a pass under the lock.
func (d *delayer) unlock() {
	if n := int64(d.mu.pending.Len())*delayedBytes - d.mu.charged; n != 0 {
		d.mu.charged += n
		d.mu.resting.pending += n
	}
	if d.mu.resting.pending != 0 {
		d.broker.memory.charge(d.mu.resting.pending)
		d.mu.resting.pending = 0
	}
	d.mu.Unlock()
}

// push takes messages that the exchange has found to be delayed.
func (d *delayer) push(p *Publisher, ms []Publication, runs []run, _ *Touched) {
	d.mu.Lock()
	defer d.unlock()
	if d.gone.Load() {
		return
	}
	for _, r := range runs {
		for i := r.from; i < r.to; i++ {
			d.addLocked(p, &ms[i])
		}
	}
	d.leaveMemoryLocked(p.nowMS)
	d.setTimerLocked()
}

// addLocked keeps m until its delay is over.
func (d *delayer) addLocked(p *Publisher, m *Publication) {
	delay, _ := delayOf(&m.Message)
	r := d.mu.resting.rest(withExtraKeys(&m.Message, m.extra))
	r.ExpiresMS = p.nowMS + delay
	e := delayed{DelayedID{r.ExpiresMS, d.mu.next}, uint32(len(r.Body)), r}
	d.mu.next++
	d.mu.bytes += int64(e.bytes)
	d.mu.pending.Set(e)
	if d.log == nil {
		return
	}
	set := ChangeSet(nil)
	if r.Persistent {
		m.logged = true
		set = p.changeSet()
	} else {
		set = p.pagingSet()
	}
	origin := &m.Message
	if len(m.extra) != 0 {
		origin = r // With the further keys it is another message.
	}
	d.log.Add(set, e.Seq, r, origin)
	d.mu.kept = append(d.mu.kept, e.DelayedID)
}

// leaveMemoryLocked drops messages that the log has written and that are not
// due soon.
func (d *delayer) leaveMemoryLocked(now int64) {
	if d.log == nil {
		return
	}
	written := d.log.Written(0)
	for d.mu.keptFrom < len(d.mu.kept) && d.mu.kept[d.mu.keptFrom].Seq < written {
		id := d.mu.kept[d.mu.keptFrom]
		d.mu.keptFrom++
		if id.DueMS-now <= delayKeepMS && !d.broker.memory.pressed() {
			continue
		}
		if e, ok := d.mu.pending.Get(delayed{DelayedID: id}); ok && e.message != nil {
			d.mu.resting.release(e.message)
			e.message = nil
			d.mu.pending.Set(e)
		}
	}
	if d.mu.keptFrom > len(d.mu.kept)/2 {
		n := copy(d.mu.kept, d.mu.kept[d.mu.keptFrom:])
		d.mu.kept, d.mu.keptFrom = d.mu.kept[:n], 0
		if cap(d.mu.kept) > 1024 && n < cap(d.mu.kept)/8 {
			d.mu.kept = slices.Clip(slices.Clone(d.mu.kept))
		}
	}
}

func (d *delayer) setTimerLocked() {
	if e, ok := d.mu.pending.Min(); ok && !d.mu.firing && (d.mu.dueAtMS == 0 || e.DueMS < d.mu.dueAtMS) {
		d.mu.dueAtMS = e.DueMS
		d.broker.wheel.Schedule(&d.timer, e.DueMS)
	}
}

type delayerTask struct{ d *delayer }

// Fire routes what is due, beside the wheel: reading waits for the disk.
func (t delayerTask) Fire(int64) {
	d := t.d
	d.mu.Lock()
	defer d.unlock()
	d.mu.dueAtMS = 0
	if d.gone.Load() || d.mu.firing {
		return
	}
	d.mu.firing = true
	d.broker.spawn(d.fire)
}

// fire routes what is due, in order of due times, until nothing is.
func (d *delayer) fire() {
	p := &Publisher{broker: d.broker}
	var t Touched
	for again := true; again; {
		var notNow error
		if p.logAhead {
			p.Pace(d.broker.stopping)
		}
		due := d.takeDue()
		if len(due) != 0 {
			notNow = d.fireThese(p, due, &t)
			t.Flush()
		}
		d.mu.Lock()
		d.leaveMemoryLocked(d.broker.now())
		if again = len(due) != 0 && notNow == nil && !d.gone.Load(); !again {
			d.mu.firing = false
			if notNow != nil {
				d.mu.dueAtMS = d.broker.now() + fireRetryMS
				d.broker.wheel.Schedule(&d.timer, d.mu.dueAtMS)
			}
			d.setTimerLocked()
		}
		d.unlock()
	}
}

// takeDue removes the next messages that are due.
func (d *delayer) takeDue() (due []delayed) {
	now := d.broker.now()
	d.mu.Lock()
	defer d.unlock()
	bytes := 0
	for len(due) < fireAtOnce && bytes < fireBytesAtOnce && !d.gone.Load() {
		e, ok := d.mu.pending.Min()
		if !ok || e.DueMS > now {
			break
		}
		d.mu.pending.PopMin()
		d.mu.bytes -= int64(e.bytes)
		bytes += int(e.bytes)
		due = append(due, e)
	}
	return due
}

// fireThese publishes due, which nobody else has. Those that cannot be read
// now are pending again.
func (d *delayer) fireThese(p *Publisher, due []delayed, t *Touched) (notNow error) {
	cold, notNow := d.read(due)
	seqs := make([]Seq, 0, len(due))
	ms := make([]Publication, 0, len(due))
	for i := range due {
		m := due[i].message
		if m == nil {
			m = cold[due[i].Seq]
		}
		if m == nil {
			continue // Lost, and settled below; or pending again.
		}
		ms = append(ms, Publication{})
		d.refill(&ms[len(ms)-1], m)
	}
	for i := range ms {
		p.routeAlone(d.x, &ms[i])
	}
	if d.log != nil {
		for i := range due {
			if due[i].Seq != noSeq {
				seqs = append(seqs, due[i].Seq)
			}
		}
		slices.Sort(seqs)
		d.mu.Lock()
		if !d.gone.Load() && len(seqs) != 0 {
			d.log.SettleIn(p.changeSet(), seqs)
		}
		d.mu.Unlock()
	}
	if len(ms) != 0 {
		p.Publish(ms, t)
		d.countRefused(ms)
	} else {
		p.complete(nil)
	}
	d.mu.Lock()
	for i := range due {
		if due[i].message != nil {
			d.mu.resting.release(due[i].message)
		}
	}
	d.unlock()
	return notNow
}

// countRefused reports messages that a queue did not take: nobody waits for
// them any more.
func (d *delayer) countRefused(ms []Publication) {
	n, why := 0, OK
	for i := range ms {
		if ms[i].Refused != OK {
			n, why = n+1, ms[i].Refused
		}
	}
	if n > 0 {
		d.broker.logger.Warn("delayed messages refused by a queue", "exchange", d.x.name, "vhost", d.opts.VHost, "messages", n, "reason", why)
	}
}

// noSeq marks an entry of a batch that is not the batch's any more.
const noSeq = ^Seq(0)

// read gets the messages of due that are in the log only. Those that cannot be
// read now are made pending again and marked in due.
func (d *delayer) read(due []delayed) (found map[Seq]*Message, notNow error) {
	var seqs []Seq
	for i := range due {
		if due[i].message == nil {
			seqs = append(seqs, due[i].Seq)
		}
	}
	if len(seqs) == 0 {
		return nil, nil
	}
	slices.Sort(seqs)
	found = make(map[Seq]*Message, len(seqs))
	later := make(map[Seq]bool)
	d.broker.log.Read(d.opts.ID, seqs, func(i int, m *Message, err error) {
		switch {
		case err == nil:
			found[seqs[i]] = m.Clone()
		case errors.Is(err, ErrNotNow):
			later[seqs[i]], notNow = true, err
		default:
			d.broker.logger.Error("delayed message lost: it cannot be read back from the log", "exchange", d.x.name, "vhost", d.opts.VHost, "error", err)
		}
	})
	if notNow == nil {
		return found, nil
	}
	d.broker.logger.Warn("delayed messages cannot be read now, trying again", "exchange", d.x.name, "vhost", d.opts.VHost, "error", notNow)
	d.mu.Lock()
	defer d.unlock()
	for i := range due {
		if later[due[i].Seq] && due[i].message == nil {
			if !d.gone.Load() {
				d.mu.pending.Set(due[i])
				d.mu.bytes += int64(due[i].bytes)
			}
			due[i].Seq = noSeq
		}
	}
	return found, notNow
}

// refill makes m a publication again, as its publisher would send it now: the
// delay is negated, its own time to live begins.
func (d *delayer) refill(to *Publication, m *Message) {
	to.Reset()
	to.cloneFields(m)
	to.ExpiresMS = 0
	props := *m.Properties()
	if v, ok := props.Headers.Get(headerDelay); ok {
		props.Headers = props.Headers.With(headerDelay, negated(v))
	}
	if keys, ok := props.Headers.Get(headerDelayedKeys); ok {
		props.Headers = props.Headers.Without(headerDelayedKeys)
		list, _ := keys.([]any)
		for _, k := range list {
			if s, ok := k.(string); ok {
				to.extra = append(to.extra, s)
			}
		}
	}
	to.SetProperties(&props)
	if props.Expiration != nil {
		if ttl, err := strconv.ParseInt(*props.Expiration, 10, 64); err == nil && ttl >= 0 {
			to.TTLMS = ttl
		}
	}
}

// withExtraKeys returns m with its further routing keys in a header, since they
// are not kept with a message; m itself if there are none.
func withExtraKeys(m *Message, extra []string) *Message {
	if len(extra) == 0 {
		return m
	}
	list := make([]any, len(extra))
	for i, k := range extra {
		list[i] = strings.Clone(k)
	}
	props := *m.Properties()
	props.Headers, props.HeadersSet = props.Headers.With(headerDelayedKeys, list), true
	c := &Message{}
	c.cloneFields(m)
	c.SetProperties(&props)
	if codecs[FormAMQP091] != nil {
		c.Form, c.Encoded = FormAMQP091, codecs[FormAMQP091].AppendProperties(nil, &props)
	}
	return c
}

// list calls fn for pending messages behind after, by due time, until it
// returns false.
func (d *delayer) list(after DelayedID, fn func(DelayedMessage) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.pending.Ascend(delayed{DelayedID: after}, func(e delayed) bool {
		return e.DelayedID == after || fn(DelayedMessage{e.DelayedID, int(e.bytes)})
	})
}

// take removes the pending message called id, keeping its place in the log.
func (d *delayer) take(id DelayedID) (delayed, error) {
	d.mu.Lock()
	defer d.unlock()
	e, ok := d.mu.pending.Delete(delayed{DelayedID: id})
	if !ok {
		return e, errorf(NotFound, "no delayed message '%s' in %s", id, d.x.vhost.exchangeText(d.x.name))
	}
	d.mu.bytes -= int64(e.bytes)
	return e, nil
}

// cancel drops the pending message called id.
func (d *delayer) cancel(id DelayedID) error {
	e, err := d.take(id)
	if err != nil {
		return err
	}
	d.drop(e)
	return nil
}

// drop ends e, which is pending no more.
func (d *delayer) drop(e delayed) {
	d.mu.Lock()
	defer d.unlock()
	if e.message != nil {
		d.mu.resting.release(e.message)
	}
	if d.log != nil && !d.gone.Load() {
		d.log.Settle([]Seq{e.Seq})
	}
}

// retime gives the pending message called id another due time, and with it
// another name. It waits for the disk.
func (d *delayer) retime(id DelayedID, dueMS int64) (DelayedID, error) {
	now := d.broker.now()
	if dueMS > now+delayMaxMS {
		return id, errorf(Invalid, "a delay may be 10 years at most")
	}
	e, err := d.take(id)
	if err != nil {
		return id, err
	}
	m := e.message
	if m == nil {
		found, notNow := d.read([]delayed{e})
		if m = found[e.Seq]; m == nil {
			if notNow != nil {
				return id, errorf(Unavailable, "the message cannot be read now: %v", notNow)
			}
			d.drop(e)
			return id, errorf(NotFound, "the message cannot be read back from the log")
		}
	}
	set := d.broker.log.Begin()
	done := make(chan error, 1)
	d.mu.Lock()
	if d.gone.Load() {
		d.mu.Unlock()
		set.Close(func(error) {})
		return id, d.x.vhost.noExchange(d.x.name)
	}
	if e.message == nil {
		m = d.mu.resting.rest(m)
	}
	m.ExpiresMS = dueMS
	old := e.Seq
	e = delayed{DelayedID{dueMS, d.mu.next}, e.bytes, m}
	d.mu.next++
	d.mu.bytes += int64(e.bytes)
	d.mu.pending.Set(e)
	if d.log != nil {
		d.log.Add(set, e.Seq, m, m)
		d.log.SettleIn(set, []Seq{old})
		d.mu.kept = append(d.mu.kept, e.DelayedID)
	}
	d.setTimerLocked()
	d.unlock()
	set.Close(func(err error) { done <- err })
	if err := <-done; err != nil {
		return e.DelayedID, errorf(Unavailable, "the new time could not be stored: %v", err)
	}
	return e.DelayedID, nil
}

// forget drops everything, as the exchange is deleted.
func (d *delayer) forget() {
	d.mu.Lock()
	defer d.unlock()
	if d.gone.Swap(true) {
		return
	}
	d.broker.wheel.Stop(&d.timer)
	d.mu.pending.Scan(func(e delayed) bool {
		if e.message != nil {
			d.mu.resting.release(e.message)
		}
		return true
	})
	d.mu.pending = newPending()
	d.mu.kept, d.mu.keptFrom, d.mu.bytes = nil, 0, 0
	d.mu.resting.trim()
	if d.log != nil {
		d.log.Drop()
	}
}

// recover gives d what the log held when the broker started.
func (d *delayer) recover(r RecoveredLevel) {
	d.mu.Lock()
	defer d.unlock()
	entries := slices.Clone(r.Entries)
	slices.SortFunc(entries, func(a, b RecoveredEntry) int {
		return cmp.Or(cmp.Compare(a.ExpiresMS, b.ExpiresMS), cmp.Compare(a.Seq, b.Seq))
	})
	for _, e := range entries {
		d.mu.pending.Load(delayed{DelayedID{e.ExpiresMS, e.Seq}, e.BodyBytes, nil})
		d.mu.bytes += int64(e.BodyBytes)
	}
	d.mu.next = max(d.mu.next, r.Next)
	d.setTimerLocked()
}

// pendingCount returns how many messages are pending, and their bodies' bytes.
func (d *delayer) pendingCount() (n int, bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mu.pending.Len(), d.mu.bytes
}

// trim gives back what is not needed for now.
func (d *delayer) trim() {
	d.mu.Lock()
	defer d.unlock()
	d.leaveMemoryLocked(d.broker.now())
	if d.mu.pending.Len() == 0 {
		d.mu.resting.trim()
	}
}

func (d *delayer) Options() *QueueOptions { return d.opts }
func (d *delayer) closed() bool           { return d.gone.Load() }
func (d *delayer) stop()                  {}
func (d *delayer) touch()                 {}
func (d *delayer) applyRules(queueRules)  {}

// Nobody can reach a delayer to consume from it: what follows is Queue's.

func (d *delayer) addConsumer(*Consumer) error {
	return errorf(NotFound, "no queue '%s' in vhost '%s'", d.opts.Name, d.opts.VHost)
}
func (d *delayer) startConsumer(*Consumer, *Touched)                  {}
func (d *delayer) removeConsumer(*Consumer, *Touched) (last bool)     { return false }
func (d *delayer) credit(*Consumer, *Touched)                         {}
func (d *delayer) setPrefetch(*Consumer, int, *Touched)               {}
func (d *delayer) settle(*Holder, Settlement, []Seq, *Touched)        {}
func (d *delayer) purge(*Touched) int                                 { return 0 }
func (d *delayer) dropConsumers(string, *Touched)                     {}
func (d *delayer) closeIf(func(QueueInfo) error) (ready int, _ error) { return 0, nil }

func (d *delayer) get(*tally, bool, func(*Holder, *Delivery, int)) (bool, error) {
	return false, d.addConsumer(nil)
}

func (d *delayer) Summary() QueueInfo { return d.Info() }

// Info has the counts.
func (d *delayer) Info() QueueInfo {
	n, bytes := d.pendingCount()
	return QueueInfo{Options: d.opts, Ready: n, ReadyBytes: bytes}
}

func (d *delayer) counts() (ready, consumers int) {
	ready, _ = d.pendingCount()
	return ready, 0
}
