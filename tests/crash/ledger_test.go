package crash

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strconv"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// sure is how much the client knows about something it asked for.
type sure uint8

const (
	no    sure = iota
	maybe      // Asked for, nothing heard: it may have happened.
	yes        // The broker has promised it.
)

// copyOf is what the ledger knows about one message in one queue.
type copyOf struct {
	id        uint64
	stored    sure // yes: confirmed. maybe: sent.
	settled   sure // Acked or discarded. yes: a later publish was confirmed.
	purged    sure // The same with purges and deletes.
	transient bool
	wholly    bool   // Of a publish or transaction that is stored whole or not at all.
	seen      sure   // Delivered; yes: and a later publish by its receiver was confirmed.
	unit      uint64 // The publish or transaction it belongs to.
	round     int    // When it was published.
	acks      []int  // The rounds in which it was settled; for reports.
}

// ledger is what clients have sent and seen, over all rounds. Messages are
// numbered; the number decides about body and properties. A publisher's numbers
// ascend.
type ledger struct {
	mu struct {
		sync.Mutex
		queues map[string]map[uint64]*copyOf
		last   uint64
		round  int
		// unflagged are messages that came a second time without the redelivered
		// flag, where the first time was at the very moment of a kill.
		unflagged int
	}
}

func newLedger() *ledger {
	l := &ledger{}
	l.mu.queues = make(map[string]map[uint64]*copyOf)
	return l
}

// sending notes a message that is about to be published to queues and returns
// its number. unit is 0 for a publish of its own.
func (l *ledger) sending(transient, wholly bool, unit uint64, queues ...string) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.last++
	id := l.mu.last
	if unit == 0 {
		unit = id
	}
	for _, q := range queues {
		if l.mu.queues[q] == nil {
			l.mu.queues[q] = make(map[uint64]*copyOf)
		}
		l.mu.queues[q][id] = &copyOf{id: id, stored: maybe, transient: transient, wholly: wholly, unit: unit, round: l.mu.round}
	}
	return id
}

// unit returns a number for a transaction.
func (l *ledger) unit() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.last++
	return l.mu.last
}

// each calls fn for the copies of the messages ids that queues hold.
func (l *ledger) each(ids []uint64, fn func(q string, c *copyOf), queues ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, q := range queues {
		for _, id := range ids {
			if c := l.mu.queues[q][id]; c != nil {
				fn(q, c)
			}
		}
	}
}

// stored notes how publishes ended.
func (l *ledger) stored(how sure, ids []uint64, queues ...string) {
	l.each(ids, func(_ string, c *copyOf) { c.stored = how }, queues...)
}

// settling notes that acks are about to be sent.
func (l *ledger) settling(q string, ids ...uint64) {
	l.each(ids, func(_ string, c *copyOf) {
		c.settled = max(c.settled, maybe)
		c.acks = append(c.acks, l.mu.round)
	}, q)
}

// settled notes that acks are done for good.
func (l *ledger) settled(q string, ids ...uint64) {
	l.each(ids, func(_ string, c *copyOf) { c.settled = yes }, q)
}

// seen notes that what the broker knows about deliveries is safe.
func (l *ledger) seen(q string, ids ...uint64) {
	l.each(ids, func(_ string, c *copyOf) { c.seen = yes }, q)
}

// delivered notes and checks a delivery.
func (l *ledger) delivered(q string, d *amqp.Delivery, underLoad bool) (uint64, error) {
	id, err := checkMessage(d)
	if err != nil {
		return 0, fmt.Errorf("from %s: %w", q, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.mu.queues[q][id]
	switch {
	case c == nil:
		return 0, fmt.Errorf("message %d from %s was never sent there", id, q)
	case c.seen == yes && !d.Redelivered:
		return 0, fmt.Errorf("%s comes from %s a second time without the redelivered flag", c, q)
	case c.transient && c.round != l.mu.round:
		return 0, fmt.Errorf("transient %s has survived in %s", c, q)
	case c.settled == yes:
		return 0, fmt.Errorf("%s was settled and is back in %s", c, q)
	case c.purged == yes && !underLoad: // It may have been on its way already.
		return 0, fmt.Errorf("%s was purged and is back in %s", c, q)
	}
	if c.seen != no && !d.Redelivered {
		l.mu.unflagged++
	}
	c.seen = max(c.seen, maybe)
	return id, nil
}

func (c *copyOf) String() string {
	return fmt.Sprintf("message %d (unit %d, round %d, stored %d, settled %d in rounds %v, purged %d, seen %d)", c.id, c.unit, c.round, c.stored, c.settled, c.acks, c.purged, c.seen)
}

// purging notes that a purge of q is about to be sent, or a delete, which takes
// what is unacked too. The result is called when it has been done: after a
// delete-ok, or when a publish behind the purge is confirmed. If exact is set,
// what was there is gone for sure.
func (l *ledger) purging(q string, unacked bool) (done func(exact bool)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var there []*copyOf
	for _, c := range l.mu.queues[q] {
		c.purged = max(c.purged, maybe)
		if c.stored == yes && (c.seen == no || unacked) {
			there = append(there, c)
		}
	}
	return func(exact bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, c := range l.mu.queues[q] {
			c.purged = max(c.purged, maybe) // Published meanwhile.
		}
		if exact {
			for _, c := range there {
				c.purged = yes
			}
		}
	}
}

func (l *ledger) lastID() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.last
}

// promised returns the messages, by queue, that are confirmed and that nobody has
// begun to settle or purge.
func (l *ledger) promised() map[string][]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make(map[string][]uint64)
	for q, book := range l.mu.queues {
		for id, c := range book {
			if c.stored == yes && c.settled == no && c.purged == no && !c.transient {
				all[q] = append(all[q], id)
			}
		}
	}
	return all
}

// stillThere is that part of before that nobody has begun to settle or purge
// since.
func (l *ledger) stillThere(before map[string][]uint64) map[string][]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make(map[string][]uint64)
	for q, ids := range before {
		for _, id := range ids {
			if c := l.mu.queues[q][id]; c.settled == no && c.purged == no {
				all[q] = append(all[q], id)
			}
		}
	}
	return all
}

func (l *ledger) unflagged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.unflagged
}

// restarted begins a round. What was promised and is not in found, by queue,
// is lost. Queues that are not in found are not looked at.
func (l *ledger) restarted(found map[string]map[uint64]bool) (problems []error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	type part struct{ there, missing string }
	units := make(map[uint64]*part)
	for _, q := range sortedKeys(found) {
		book := l.mu.queues[q]
		lost := 0
		var example *copyOf
		for id, c := range book {
			there := found[q][id]
			switch {
			case there && c.stored == maybe: // It has made it.
				c.stored = yes
			case !there && !c.transient && c.stored == yes && c.settled == no && c.purged == no:
				if lost++; example == nil || c.id < example.id {
					example = c
				}
			}
			if c.wholly && c.stored != no && !c.transient && c.settled == no && c.purged == no {
				p := units[c.unit]
				if p == nil {
					p = &part{}
					units[c.unit] = p
				}
				if there {
					p.there = fmt.Sprint(c, " of ", q)
				} else {
					p.missing = fmt.Sprint(c, " of ", q)
				}
			}
			if !there {
				delete(book, id) // Nothing can be said about it any more, but that it must not come back:
				// that it would not be known then.
			}
		}
		if lost > 0 {
			problems = append(problems, fmt.Errorf("%d confirmed messages of %s are lost, the first is %v", lost, q, example))
		}
	}
	for u, p := range units {
		if p.there != "" && p.missing != "" {
			problems = append(problems, fmt.Errorf("unit %d is stored in part: %s is there, %s is not", u, p.there, p.missing))
		}
	}
	return problems
}

// beginRound counts rounds.
func (l *ledger) beginRound() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.round++
}

// waiting is how many messages should at least and at most be in q after a restart.
func (l *ledger) waiting(q string) (least, most int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.mu.queues[q] {
		if c.transient || c.settled == yes || c.purged == yes {
			continue
		}
		most++
		if c.stored == yes && c.settled == no && c.purged == no {
			least++
		}
	}
	return least, most
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// publishing is message id of publisher from: its number decides about all of
// it.
func publishing(id uint64, from string, transient bool, sizeMax int) amqp.Publishing {
	random := rand.New(rand.NewPCG(id, uint64(sizeMax)))
	size := random.IntN(64)
	switch random.IntN(8) {
	case 0:
		size = random.IntN(sizeMax + 1)
	case 1:
		size = 0
	case 2, 3, 4:
		size = random.IntN(min(sizeMax, 1500) + 1)
	}
	p := amqp.Publishing{
		MessageId: strconv.FormatUint(id, 10), AppId: from, Body: bodyOf(id, size),
		DeliveryMode: amqp.Persistent,
		Headers:      amqp.Table{"id": int64(id), "size": int32(size)},
	}
	if transient {
		p.DeliveryMode = amqp.Transient
	}
	decorate(id, &p)
	return p
}

// decorate sets the optional properties that message id has.
func decorate(id uint64, p *amqp.Publishing) {
	if id%2 == 0 {
		p.ContentType, p.Type = "application/x-crash", "t"+strconv.FormatUint(id%7, 10)
	}
	if id%3 == 0 {
		p.Timestamp = time.Unix(int64(1_000_000_000+id), 0)
		p.Headers["list"] = []any{int64(id), "x", true}
	}
	if id%5 == 0 {
		p.CorrelationId, p.ReplyTo = strconv.FormatUint(id*7, 36), "back"
		p.Headers["table"] = amqp.Table{"deep": amqp.Table{"id": int64(id)}}
		p.Priority = uint8(id % 10)
		p.ContentEncoding = "none"
	}
}

// bodyOf is the body of message id: its number again and again, each time with
// the place, so that nothing can be cut out or swapped unseen.
func bodyOf(id uint64, size int) []byte {
	b := make([]byte, 0, size+16)
	for len(b) < size {
		b = binary.LittleEndian.AppendUint64(b, id)
		b = binary.LittleEndian.AppendUint64(b, uint64(len(b))*0x9E3779B97F4A7C15)
	}
	return b[:size]
}

// checkMessage compares a delivery with what its number says it must be.
func checkMessage(d *amqp.Delivery) (uint64, error) {
	id, err := strconv.ParseUint(d.MessageId, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("message id %q: %w", d.MessageId, err)
	}
	size, ok := d.Headers["size"].(int32)
	if !ok || d.Headers["id"] != int64(id) {
		return id, fmt.Errorf("message %d has headers %v", id, d.Headers)
	}
	if want := bodyOf(id, int(size)); !bytes.Equal(d.Body, want) {
		return id, fmt.Errorf("message %d has a body of %d bytes that is not its own of %d", id, len(d.Body), len(want))
	}
	want := amqp.Publishing{Headers: amqp.Table{"id": int64(id), "size": size}}
	decorate(id, &want)
	same := d.ContentType == want.ContentType && d.Type == want.Type && d.Timestamp.Equal(want.Timestamp) &&
		d.CorrelationId == want.CorrelationId && d.ReplyTo == want.ReplyTo && d.Priority == want.Priority &&
		d.ContentEncoding == want.ContentEncoding && fmt.Sprint(d.Headers) == fmt.Sprint(want.Headers)
	if !same {
		return id, fmt.Errorf("message %d has properties %+v, want %+v", id, *d, want)
	}
	return id, nil
}

// inOrder checks that what comes from a queue comes in the order in which each
// publisher has sent it.
type inOrder map[string]uint64

func (o inOrder) next(q string, d *amqp.Delivery, id uint64) error {
	if last := o[d.AppId]; id <= last {
		return fmt.Errorf("from %s comes message %d of %s behind %d", q, id, d.AppId, last)
	}
	o[d.AppId] = id
	return nil
}

// window is a publisher's unconfirmed messages, in order.
type window struct {
	sent []pending
	next uint64 // The delivery tag of sent[0].
}

type pending struct {
	id     uint64
	queues []string
}

func (w *window) add(p pending) { w.sent = append(w.sent, p) }

// confirmed takes the one with tag, which is the oldest one.
func (w *window) confirmed(tag uint64) (pending, error) {
	if w.next == 0 {
		w.next = 1
	}
	if tag != w.next || len(w.sent) == 0 {
		return pending{}, fmt.Errorf("confirm of %d with %d outstanding from %d", tag, len(w.sent), w.next)
	}
	p := w.sent[0]
	w.sent = slices.Delete(w.sent, 0, 1)
	w.next++
	return p, nil
}
