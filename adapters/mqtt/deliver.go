package mqtt

import (
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"leveret/adapters/mqtt/wire"
	"leveret/core"
)

// outlet consumes one queue for a connection: the session's own, or that of a
// shared subscription. It is core's outlet.
type outlet struct {
	conn   *conn
	core   *core.Consumer
	queue  string
	direct bool   // Nothing to be settled: QoS 0 only.
	share  *grant // Of a shared subscription; nil: the session's filters say.
	hides  bool   // With share: topics that begin with '$' are not sent.

	ending   atomic.Bool                // It is being unsubscribed.
	pace     atomic.Pointer[directPace] // Made when a direct queue is first without room.
	hasLater atomic.Bool                // Something is in later.

	// Guarded by out's lock.
	settling bool // Somebody is in settleLater.
	later    later
	staged   []*stagedBatch // Handed to core, in order; sent in that order.
}

// stagedBatch is PUBLISHes that wait until their identifiers are on disk.
type stagedBatch struct {
	packets []byte
	n       uint64
	stored  bool
}

// later is what Deliver must leave to Flush, because it would call core.
type later struct {
	done    []core.Seq  // Sent at QoS 0, or for nobody here: settled.
	failed  []core.Seq  // What this client can never take: discarded.
	back    []core.Seq  // What came while the connection was ending: requeued.
	noted   []core.Slot // Identifiers of QoS 1, to be remembered.
	staged  []core.Slot // Of QoS 2 in a lasting session: the PUBLISHes in packets
	packets []byte      // are sent once these are on disk.
	waiting uint64      // How many that are.
}

func (l *later) empty() bool {
	return len(l.done) == 0 && len(l.failed) == 0 && len(l.back) == 0 && len(l.noted) == 0 && l.waiting == 0
}

// Room is part of core.Outlet.
func (k *outlet) Room(w *core.Waiter) bool {
	if k.conn.out.Room(w) {
		return true
	}
	if k.direct {
		if k.pace.Load() == nil {
			k.pace.CompareAndSwap(nil, &directPace{turn: make(chan struct{}, 1)})
		}
		k.conn.srv.full.Store(k)
	}
	return false
}

// Deliver encodes deliveries into the out-buffer, gives them packet identifiers
// and notes those that will be acknowledged. It is called under a queue's lock:
// one copy of each message, no allocation but for growing the buffer and the
// ring.
func (k *outlet) Deliver(_ *core.Consumer, ds []core.Delivery) (flush bool) {
	c := k.conn
	size := 0
	for i := range ds {
		m := ds[i].Message
		if m == nil {
			continue
		}
		size += len(m.Encoded) + len(m.RoutingKey) + deliveryOverhead
		if len(m.Body) < ownBodyMin || !m.OwnBody {
			size += len(m.Body)
		}
	}
	o := c.out
	o.Lock()
	o.Reserve(size)
	for i := range ds {
		if ds[i].Resumed {
			k.resumeLocked(&ds[i])
		} else {
			k.deliverLocked(&ds[i])
		}
	}
	if c.underOut.unheld && c.underOut.ring.live > 0 {
		c.underOut.unheld = false
		c.wakeUp()
	}
	if !k.later.empty() {
		k.hasLater.Store(true)
		flush = true
	}
	return o.Unlock() || flush
}

// deliveryOverhead is about what a PUBLISH takes beside topic, properties and
// payload.
const deliveryOverhead = 32

// deliverLocked handles one new delivery. out is locked.
func (k *outlet) deliverLocked(d *core.Delivery) {
	c := k.conn
	m := d.Message
	if c.underOut.leaving && !k.direct {
		k.later.back = append(k.later.back, d.Seq)
		return
	}
	e, ok := c.encodingLocked(m)
	if !ok {
		c.srv.stats.dropped.Add(1)
		k.failLocked(d.Seq)
		return
	}
	g := k.share
	own := m.Origin != 0 && m.Origin == c.client.origin
	if g == nil {
		g = c.underOut.filters.of(m.RoutingKey, own)
	} else if k.hides && strings.HasPrefix(m.RoutingKey, "$") {
		g = &nothing
	}
	if !g.send {
		k.doneLocked(d.Seq)
		return
	}
	p := wire.OutPublish{
		Key: m.RoutingKey, Props: e.props, Payload: len(m.Body), SubIDs: g.ids,
		QoS: min(e.flags&flagQoS, g.qos), Retain: m.Retained || g.asPub && e.flags&flagRetain != 0,
	}
	if k.direct {
		p.QoS = 0
	}
	if !c.expiryLeft(&p, e, m) {
		k.doneLocked(d.Seq)
		return
	}
	// Behind a QoS 2 message that waits, all others wait too: order.
	staged := c.client.lasting && !k.direct && (p.QoS == 2 || k.later.waiting > 0 || len(k.staged) > 0)
	if c.underOut.alias.max > 0 && !staged {
		c.underOut.alias.use(&p)
	}
	if limit := c.client.maxPacket; limit > 0 && p.Size(c.version) > int(limit) {
		k.failLocked(d.Seq)
		return
	}
	if p.QoS > 0 {
		id, ok := c.underOut.ring.add(k, d.Seq, p.QoS)
		if !ok {
			k.failLocked(d.Seq) // Limits see to it that this does not happen.
			return
		}
		p.ID = id
		if c.client.lasting {
			s := core.Slot{Seq: d.Seq, Data: slotData(id, p.QoS)}
			if p.QoS == 2 {
				k.later.staged = append(k.later.staged, s)
			} else {
				k.later.noted = append(k.later.noted, s)
			}
		}
	} else {
		k.doneLocked(d.Seq)
	}
	if staged {
		k.later.packets = append(wire.AppendPublish(k.later.packets, &p, c.version), m.Body...)
		k.later.waiting++
		return
	}
	c.sendLocked(&p, m)
}

// sendLocked appends a PUBLISH. out is locked.
func (c *conn) sendLocked(p *wire.OutPublish, m *core.Message) {
	if c.underOut.closed {
		return
	}
	o := c.out
	o.B = wire.AppendPublish(o.B, p, c.version)
	if len(m.Body) >= ownBodyMin && m.OwnBody {
		o.AppendRef(m.Body)
	} else {
		o.B = append(o.B, m.Body...)
	}
	c.underOut.packets++
}

// resumeLocked sends again what an earlier connection was sent, with the same
// packet identifier (4.4.0-1). out is locked.
func (k *outlet) resumeLocked(d *core.Delivery) {
	c := k.conn
	if c.underOut.leaving {
		if d.Message == nil {
			k.doneLocked(d.Seq) // The client has it.
		} else {
			k.later.back = append(k.later.back, d.Seq)
		}
		return
	}
	s := slot{outlet: k, seq: d.Seq, id: uint16(d.Slot()), qos: byte(d.Slot() >> 16), released: d.Message == nil}
	if s.qos == 0 || !c.underOut.ring.restore(s) {
		if d.Message == nil {
			k.doneLocked(d.Seq)
			return
		}
		k.deliverLocked(d)
		return
	}
	if s.released {
		if !c.underOut.closed {
			c.out.B = wire.AppendAck(c.out.B, wire.Pubrel, s.id, wire.Success, c.version)
		}
		return
	}
	m := d.Message
	e, ok := c.encodingLocked(m)
	if !ok {
		return // It was said before.
	}
	g := k.share
	if g == nil {
		g = c.underOut.filters.of(m.RoutingKey, false)
	}
	p := wire.OutPublish{
		Key: m.RoutingKey, Props: e.props, Payload: len(m.Body), SubIDs: g.ids, QoS: s.qos, ID: s.id, Dup: true,
		Retain: m.Retained || g.asPub && e.flags&flagRetain != 0,
	}
	if !c.expiryLeft(&p, e, m) {
		p.Expiry, p.HasExpiry = 0, true // Its flow has begun, and is brought to its end.
	}
	c.sendLocked(&p, m)
}

// slotData is what a holder remembers of a delivery.
func slotData(id uint16, qos byte) uint32 { return uint32(qos)<<16 | uint32(id) }

// encodingLocked returns a message as MQTT has it. It reports false for what
// has no topic name in MQTT. out is locked.
func (c *conn) encodingLocked(m *core.Message) (e encoded, ok bool) {
	if m.Form == core.FormMQTT {
		return splitEncoded(m.Encoded), true
	}
	if !sayable(m.RoutingKey) {
		return e, false
	}
	c.underOut.scratch = m.EncodedAs(core.FormMQTT, c.underOut.scratch[:0])
	e = splitEncoded(c.underOut.scratch)
	if cap(c.underOut.scratch) > 4<<10 {
		c.underOut.scratch = nil
	}
	return e, true
}

// sayable reports whether a routing key is a topic name.
func sayable(key string) bool {
	if key == "" || len(key) > 65535 {
		return false
	}
	for i := range len(key) {
		switch c := key[i]; {
		case c == '+', c == '#', c == '*', c == 0:
			return false
		case c >= utf8.RuneSelf:
			return !strings.ContainsAny(key, "+#*\x00") && utf8.ValidString(key)
		}
	}
	return true
}

// doneLocked has Flush settle a delivery that needs no acknowledgement.
func (k *outlet) doneLocked(seq core.Seq) {
	if !k.direct {
		k.later.done = append(k.later.done, seq)
	}
}

// failLocked has Flush discard a delivery that this client cannot take: it is
// dead-lettered or dropped, as the queue says.
func (k *outlet) failLocked(seq core.Seq) {
	if !k.direct {
		k.later.failed = append(k.later.failed, seq)
	}
}

// Flush is part of core.Outlet.
func (k *outlet) Flush() {
	if k.hasLater.Load() {
		k.settleLater()
	}
	k.conn.out.Flush()
}

// Pending is how many bytes the client's connection has to send.
func (k *outlet) Pending() int {
	if k.hasLater.Load() {
		return carryMax // It wants its Flush.
	}
	return k.conn.out.Pending()
}

// settleLater does what Deliver has left.
func (k *outlet) settleLater() {
	c := k.conn
	var spare later
	for first := true; ; first = false {
		c.out.Lock()
		if first && k.settling {
			c.out.Unlock()
			return // Whoever it is looks again; it may be our caller's caller.
		}
		l := k.later
		k.later = spare
		var b *stagedBatch
		if l.waiting > 0 {
			b = &stagedBatch{l.packets, l.waiting, len(l.staged) == 0}
			k.staged = append(k.staged, b)
		}
		k.settling = !l.empty()
		k.hasLater.Store(false)
		c.out.Unlock()
		if l.empty() {
			return
		}
		var t core.Touched
		k.core.Settle(core.Ack, l.done, &t)
		k.core.Settle(core.Discard, l.failed, &t)
		k.core.Settle(core.Requeue, l.back, &t)
		if len(l.noted) > 0 {
			k.core.Hold(l.noted, nil)
		}
		if b != nil && !b.stored {
			k.core.Hold(l.staged, func(err error) { k.sendStaged(b, err) })
		} else if b != nil {
			k.sendStaged(b, nil)
		}
		t.Flush()
		spare = later{done: l.done[:0], failed: l.failed[:0], noted: l.noted[:0]}
		if cap(l.done)+cap(l.failed)+cap(l.noted) > 4096 {
			spare = later{}
		}
	}
}

// sendStaged sends PUBLISHes whose identifiers are on disk, and those behind
// them that have waited only for these.
func (k *outlet) sendStaged(b *stagedBatch, err error) {
	c := k.conn
	if err != nil {
		c.notStored(err)
		return
	}
	c.out.Lock()
	b.stored = true
	for len(k.staged) > 0 && k.staged[0].stored {
		b := k.staged[0]
		k.staged[0] = nil
		k.staged = k.staged[1:]
		if !c.underOut.closed {
			c.out.Reserve(len(b.packets))
			c.out.B = append(c.out.B, b.packets...)
			c.underOut.packets += b.n
		}
	}
	if len(k.staged) == 0 {
		k.staged = nil
	}
	c.out.Unlock()
	c.out.Kick()
}

// notStored ends the connection because its session's state cannot be kept.
func (c *conn) notStored(err error) {
	c.force(&failure{wire.ServerUnavailable, "the session cannot be stored: " + err.Error()})
}

// outAliases are the topic aliases used towards a client: the first topics get
// one each.
type outAliases struct {
	max   int
	known map[string]uint16
}

// use puts an alias in p, with the topic when it is new.
func (a *outAliases) use(p *wire.OutPublish) {
	if len(p.Key) < 4 {
		return
	}
	if n, ok := a.known[p.Key]; ok {
		p.Alias, p.NoTopic = n, true
		return
	}
	if len(a.known) >= a.max {
		return
	}
	if a.known == nil {
		a.known = make(map[string]uint16)
	}
	n := uint16(len(a.known) + 1)
	a.known[strings.Clone(p.Key)] = n
	p.Alias = n
}

// acknowledged takes a PUBACK, PUBREC, PUBREL or PUBCOMP.
func (c *conn) acknowledged(typ byte, body []byte) error {
	id, code, err := wire.ParseAck(typ, body, c.version)
	if err != nil {
		return err
	}
	w := &c.work
	if len(w.acks) >= acksMax {
		c.finishWork()
	}
	w.acks = append(w.acks, ackOp{id, typ, code})
	return nil
}

// settleAcks does what the client's acknowledgements ask for.
func (c *conn) settleAcks() {
	w := &c.work
	var forget []uint16
	type release struct {
		k *outlet
		s core.Slot
	}
	var releases []release
	c.out.Lock()
	before := len(c.out.B)
	for _, a := range w.acks {
		if a.typ == wire.Pubrel {
			forget = append(forget, a.id)
			continue
		}
		s := c.underOut.ring.get(a.id)
		switch {
		case a.typ == wire.Pubrec && (s == nil || s.qos != 2):
			if !a.code.IsError() {
				c.ackLocked(wire.Pubrel, a.id, wire.PacketIDNotFound)
			}
		case s == nil:
		case a.typ == wire.Pubrec && a.code.IsError():
			w.settles.Add(&s.outlet.core.Holder, core.Discard, s.seq)
			c.underOut.ring.free(s)
		case a.typ == wire.Pubrec:
			s.released = true
			if c.client.lasting {
				releases = append(releases, release{s.outlet, core.Slot{Seq: s.seq, Data: slotData(s.id, 2), Released: true}})
			} else {
				c.ackLocked(wire.Pubrel, a.id, wire.Success)
			}
		case a.typ == wire.Pubcomp && s.qos == 2 && s.released, a.typ == wire.Puback && s.qos == 1:
			op := core.Ack
			if a.code.IsError() && a.typ == wire.Puback {
				op = core.Discard
			}
			w.settles.Add(&s.outlet.core.Holder, op, s.seq)
			c.underOut.ring.free(s)
		}
	}
	if n := len(c.out.B) - before; n > 0 {
		c.out.Asked(n)
	}
	if c.out.Unlock() {
		w.flushOwn = true
	}
	w.acks = w.acks[:0]
	w.settles.Settle(&w.touched)
	for len(releases) > 0 { // Of one outlet each, which is nearly always the only one.
		k := releases[0].k
		var slots []core.Slot
		rest := releases[:0]
		for _, r := range releases {
			if r.k == k {
				slots = append(slots, r.s)
			} else {
				rest = append(rest, r)
			}
		}
		releases = rest
		k.core.Hold(slots, func(err error) { c.sendReleases(slots, err) })
	}
	if len(forget) > 0 {
		c.release(forget)
	}
}

// sendReleases sends PUBRELs for messages whose release is on disk.
func (c *conn) sendReleases(slots []core.Slot, err error) {
	if err != nil {
		c.notStored(err)
		return
	}
	c.out.Lock()
	for _, s := range slots {
		c.ackLocked(wire.Pubrel, uint16(s.Data), wire.Success)
	}
	c.out.Unlock()
	c.out.Kick()
}

// release ends inbound QoS 2 flows: the identifiers may be used anew.
func (c *conn) release(ids []uint16) {
	known := ids[:0:len(ids)]
	var unknown []uint16
	for _, id := range ids {
		if c.holds.HasReceived(id) {
			known = append(known, id)
		} else {
			unknown = append(unknown, id)
		}
	}
	if !c.client.lasting {
		c.holds.Forget(known, func(error) {})
		c.inbound.open.Add(int32(-len(known)))
		c.appendComps(known, unknown)
		c.work.flushOwn = true
		return
	}
	if len(unknown) > 0 {
		c.appendComps(nil, unknown)
		c.work.flushOwn = true
	}
	if len(known) > 0 {
		c.holds.Forget(known, func(err error) {
			if err != nil {
				c.notStored(err)
				return
			}
			c.inbound.open.Add(int32(-len(known)))
			c.appendComps(known, nil)
			c.out.Kick()
		})
	}
}

// appendComps appends PUBCOMPs, which the caller flushes.
func (c *conn) appendComps(known, unknown []uint16) {
	c.out.Lock()
	defer c.out.Unlock()
	before := len(c.out.B)
	for _, id := range known {
		c.ackLocked(wire.Pubcomp, id, wire.Success)
	}
	for _, id := range unknown {
		c.ackLocked(wire.Pubcomp, id, wire.PacketIDNotFound)
	}
	c.out.Asked(len(c.out.B) - before)
}

// ackLocked appends an acknowledgement. out is locked.
func (c *conn) ackLocked(typ byte, id uint16, code wire.Code) {
	if !c.underOut.closed {
		c.out.B = wire.AppendAck(c.out.B, typ, id, code, c.version)
	}
}

// outstanding is the number of deliveries that wait for an acknowledgement.
func (c *conn) outstanding() int {
	c.out.Lock()
	defer c.out.Unlock()
	return c.underOut.ring.live
}
