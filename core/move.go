package core

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"leveret/core/auth"
)

// Moving messages takes them from where they lie in a queue, wherever that is,
// and publishes them elsewhere. What is not wanted is not touched.
//
//	look (peek.go): who matches, where would it go        nothing has changed
//	     |
//	still ready? -> leaving -> Publisher.Publish
//	                   ^            | one change set: references there,
//	     refused: back |            v settled here
//	     in its place  +---- gone when that is durable
//
// One log holds both ends, so that a crash finds a message in one of the two
// queues: none is lost and none is doubled. What the broker does not store is
// lost in a crash wherever it is.

// MoveTo says where messages are moved: to a queue, an exchange, or home.
type MoveTo struct {
	// Queue takes them as they are, with the exchange and routing key that they
	// were published with.
	Queue string
	// Exchange, unless nil, routes them as if they were published to it now, with
	// Key or, if that is nil, their own key and CC.
	Exchange *string
	Key      *string
	// Origin takes each back to the queue in which it first died or was given
	// back too often, as it was before: exchange and routing key are the first
	// ones again, and nothing tells of its deaths any more. If that queue is gone,
	// the exchange that it was first published to has it.
	Origin bool
}

// MoveOptions are the arguments of Session.Move.
type MoveOptions struct {
	Queue string
	To    MoveTo
	Match func(*Peeked) bool // nil moves all.
	Limit int                // Messages at most; 0 for no limit.
}

// MoveProgress is how far a move has come.
type MoveProgress struct {
	Total   int // Messages that were ready when it began.
	Scanned int // Of those looked at,
	Matched int // those that matched.
	Moved   int
	// Skipped matched and stayed where they are: there is nowhere for them to go,
	// a queue refused them, or a consumer was faster.
	Skipped int
	// Refused is why a queue refused some of them, if one did.
	Refused Kind
}

// MoveDestination is where some messages would go.
type MoveDestination struct {
	Exchange, Key string
	Queues        []string // None: they would stay.
	Count         int
}

// MovePreview is what a move would do now.
type MovePreview struct {
	MoveProgress
	Destinations []MoveDestination
	// Complete says that everything was looked at, and every destination is
	// listed.
	Complete bool
}

const (
	// moveAtOnce and moveBytesAtOnce bound what is moved in one change set.
	moveAtOnce      = 512
	moveBytesAtOnce = 4 << 20
	// moveScan and moveScanBytes bound what is looked at in one go.
	moveScan      = 4096
	moveScanBytes = 16 << 20
	// moveDestinations bounds the destinations that a preview tells apart.
	moveDestinations = 200
)

// Move moves ready messages of a queue, in order, as far as they were there when
// it began. It needs read permission on the queue, and write permission on the
// exchange: that of To, the default one for a queue, or the one that a message
// first came from. Those are asked for each batch. progress, which may be nil, is
// called between batches.
//
// It ends early when ctx does, or with an error; what is moved by then is moved.
func (s *Session) Move(ctx context.Context, o MoveOptions, progress func(MoveProgress)) (MoveProgress, error) {
	m, err := s.newMover(&o)
	if err != nil {
		return MoveProgress{}, err
	}
	stop := s.broker.stopping
	for {
		switch {
		case ctx.Err() != nil:
			return m.done, ctx.Err()
		case s.broker.closing.Load():
			return m.done, errorf(Unavailable, "the broker stops")
		case s.broker.alarms.Held(), s.broker.alarms.LogError() != nil:
			return m.done, errorf(Unavailable, "publishing is blocked: %s", s.broker.alarms.Reason())
		}
		rows, more, err := m.next()
		if err == nil && len(rows) > 0 {
			err = m.move(rows, stop)
		}
		if progress != nil {
			progress(m.done)
		}
		if err != nil || !more {
			return m.done, err
		}
	}
}

// MayMove returns the error that Move would begin with, if any.
func (s *Session) MayMove(o MoveOptions) error {
	_, err := s.newMover(&o)
	return err
}

// PreviewMove says what Move would do, and does nothing. It looks until stop,
// which may be nil, says otherwise.
func (s *Session) PreviewMove(o MoveOptions, stop func() bool) (MovePreview, error) {
	m, err := s.newMover(&o)
	if err != nil {
		return MovePreview{}, err
	}
	r := MovePreview{Complete: true}
	at := make(map[string]int)
	for more := true; more; {
		if stop != nil && stop() {
			r.Complete = false
			break
		}
		var rows []Peeked
		if rows, more, err = m.next(); err != nil {
			return r, err
		}
		for i := range rows {
			pub := &Publication{}
			goes, err := m.address(pub, &rows[i])
			if err != nil {
				return r, err
			}
			d := MoveDestination{Exchange: pub.Exchange, Key: pub.RoutingKey}
			if goes {
				for _, q := range pub.Route.queues {
					d.Queues = append(d.Queues, q.Options().Name)
				}
				m.done.Moved++
			} else {
				m.done.Skipped++
			}
			if m.o.To.Queue != "" {
				d.Exchange, d.Key = "", m.o.To.Queue
			}
			id := d.Exchange + "\x00" + d.Key + "\x00" + strings.Join(d.Queues, "\x00")
			k, known := at[id]
			switch {
			case known:
				r.Destinations[k].Count++
			case len(r.Destinations) < moveDestinations:
				at[id] = len(r.Destinations)
				d.Count = 1
				r.Destinations = append(r.Destinations, d)
			default:
				r.Complete = false
			}
		}
		m.p.Discard()
	}
	r.MoveProgress = m.done
	return r, nil
}

// mover is a move on its way. It belongs to one goroutine.
type mover struct {
	s    *Session
	q    *classic
	o    *MoveOptions
	p    *Publisher
	look PeekOptions
	done MoveProgress

	route *Route // That straight to a queue which was taken last.
}

func (s *Session) newMover(o *MoveOptions) (*mover, error) {
	q, err := s.queueFor(o.Queue, auth.Read)
	if err != nil {
		return nil, err
	}
	c, ok := q.(*classic)
	if !ok {
		return nil, errorf(NotImplemented, "messages cannot be moved out of %s of type %s", s.vhost.queueText(o.Queue), q.Options().Type)
	}
	m := &mover{s: s, q: c, o: o, p: &Publisher{broker: s.broker}}
	m.look = PeekOptions{
		States: PeekReady, Bytes: moveBytesAtOnce, Keep: -1, Scan: moveScan, ScanBytes: moveScanBytes, Match: o.Match, ends: c.ends(),
	}
	m.done.Total, _ = c.counts()
	return m, m.check()
}

// ends are the first numbers that nothing has yet.
func (q *classic) ends() map[uint8]Seq {
	q.mu.Lock()
	defer q.mu.Unlock()
	ends := make(map[uint8]Seq)
	for l := range q.mu.entries.levels() {
		ends[l.prio] = l.next
	}
	return ends
}

// check refuses what the user may not do, or what makes no sense.
func (m *mover) check() error {
	s, to := m.s, &m.o.To
	if _, err := s.queueFor(m.o.Queue, auth.Read); err != nil {
		return err
	}
	switch {
	case to.Origin:
		return nil // Asked for each message.
	case to.Exchange != nil:
		if err := s.permitExchange(auth.Write, *to.Exchange); err != nil {
			return err
		}
		switch x := s.vhost.exchange(*to.Exchange); {
		case x == nil:
			return s.vhost.noExchange(*to.Exchange)
		case x.internal:
			return errorf(AccessRefused, "cannot publish to internal %s", s.vhost.exchangeText(x.name))
		}
		return nil
	}
	if err := s.permitExchange(auth.Write, ""); err != nil {
		return err
	}
	d := s.vhost.declared(to.Queue)
	if d == nil {
		return s.vhost.noQueue(to.Queue)
	}
	if d.queue == Queue(m.q) {
		return errorf(Invalid, "%s is where the messages are already", s.vhost.queueText(to.Queue))
	}
	return s.exclusiveTo(d)
}

// next finds the next messages to move. more says that there may be others.
func (m *mover) next() (rows []Peeked, more bool, err error) {
	if err := m.check(); err != nil {
		return nil, false, err
	}
	m.look.Count = moveAtOnce
	if m.o.Limit > 0 {
		if m.look.Count = min(moveAtOnce, m.o.Limit-m.done.Moved); m.look.Count <= 0 {
			return nil, false, nil
		}
	}
	r, err := m.q.peek(&m.look)
	if err != nil {
		return nil, false, err
	}
	m.done.Scanned += r.Scanned
	m.done.Matched += len(r.Messages)
	if r.Next != nil {
		m.look.From = *r.Next
	}
	return r.Messages, r.Next != nil, nil
}

// move moves those of rows that can be. It returns when that is durable.
func (m *mover) move(rows []Peeked, stop <-chan struct{}) error {
	q := m.q
	ms := make([]Publication, len(rows))
	of := make([]*Peeked, 0, len(rows))
	n := 0
	for i := range rows {
		goes, err := m.address(&ms[n], &rows[i])
		if err != nil {
			m.p.Discard()
			return err
		}
		if goes {
			of = append(of, &rows[i])
			n++
		} else {
			m.done.Skipped++
		}
	}
	ms, taken := m.take(ms[:n], of)
	if len(ms) == 0 {
		m.p.Discard()
		return nil
	}
	var t Touched
	var arrived []takenEntry
	done := make(chan error, 1)
	p := m.p
	p.moves = func() {
		var refused []takenEntry
		for k := range ms {
			if ms[k].Refused == OK {
				arrived = append(arrived, taken[k])
				continue
			}
			refused = append(refused, taken[k])
			m.done.Refused = ms[k].Refused
			m.done.Skipped++
		}
		q.settleMoved(p, arrived, refused, &t)
	}
	p.moved = func(err error) {
		if err == nil {
			q.hasMoved(arrived)
		}
		done <- err
	}
	p.Publish(ms, &t)
	p.moves, p.moved = nil, nil
	t.Flush()
	p.ahead = nil // Consumers elsewhere are not to be waited for.
	select {
	case err := <-done:
		if err != nil {
			return errorf(Unavailable, "the messages could not be stored: %v", err)
		}
	case <-stop:
		return errorf(Unavailable, "the broker stops")
	}
	m.done.Moved += len(arrived)
	if len(arrived) == 0 {
		return errorf(m.done.Refused, "all messages were refused: %v", m.done.Refused)
	}
	if p.Ahead() || p.AheadOfLog() {
		p.Pace(stop)
	}
	return nil
}

// address makes a publication of a message and routes it. It reports whether
// there is anywhere to go.
func (m *mover) address(pub *Publication, from *Peeked) (bool, error) {
	pub.Reset()
	pub.cloneFields(from.Message)
	pub.ExpiresMS, pub.Retained = 0, false
	to, v := &m.o.To, m.s.vhost
	if e := from.Message.Properties().Expiration; e != nil {
		if ttl, err := strconv.ParseInt(*e, 10, 64); err == nil && ttl >= 0 {
			pub.TTLMS = ttl
		}
	}
	switch {
	case to.Origin:
		return m.sendHome(pub, from.Message)
	case to.Exchange != nil:
		if to.Key != nil {
			pub.RoutingKey = *to.Key
		} else {
			pub.extra = textsOf(from.Message.Properties().Headers, headerCC)
		}
		return m.routeTo(pub, *to.Exchange)
	}
	d := v.declared(to.Queue)
	if d == nil {
		return false, v.noQueue(to.Queue)
	}
	m.straightTo(pub, d.queue)
	return true, nil
}

// straightTo gives pub to q, whatever it was published to.
func (m *mover) straightTo(pub *Publication, q Queue) {
	if r := m.route; r == nil || r.queues[0] != q {
		m.route = &Route{x: m.s.vhost.nobody, queues: []Queue{q}, stores: q.Options().storesAll()}
	}
	pub.Route = m.route
}

// routeTo publishes pub to an exchange anew.
func (m *mover) routeTo(pub *Publication, exchange string) (bool, error) {
	v := m.s.vhost
	x := v.exchange(exchange)
	if x == nil {
		return false, nil
	}
	if err := m.s.permitTopic(x, auth.Write, pub.RoutingKey); err != nil {
		return false, err
	}
	pub.Exchange = x.name
	return len(m.p.routeAlone(x, pub).queues) > 0, nil
}

// home is where a message came from before it died.
type home struct {
	queue, exchange string
	keys            []string // The routing keys that it had.
}

// homeOf finds out where m, which lies in the queue called in, first died. Here
// headers count that a publisher wrote, as another broker does of which this one
// took over: whoever moves messages may publish to where they say.
func homeOf(m *Message, in string) (h home, ok bool) {
	headers := m.Properties().Headers
	text := func(name string) string {
		v, _ := headers.Get(name)
		s, _ := v.(string)
		return s
	}
	v, _ := headers.Get(headerDeaths)
	rows, _ := v.([]any)
	h.queue = text(headerFirstDeath + "queue")
	for i := len(rows) - 1; i >= 0; i-- {
		if h.queue == "" || rowText(rows[i], "queue") == h.queue {
			t, _ := rows[i].(Table)
			h.queue, h.exchange, h.keys = rowText(t, "queue"), rowText(t, "exchange"), textsOf(t, "routing-keys")
			return h, h.queue != ""
		}
	}
	if h.queue == "" {
		h.queue, _ = strings.CutPrefix(in, parkedPrefix)
		h.exchange, h.keys = m.Exchange, []string{m.RoutingKey}
		return h, h.queue != in
	}
	h.exchange, h.keys = text(headerFirstDeath+"exchange"), []string{m.RoutingKey}
	return h, true
}

// DeathReason is why m died last, as its headers tell; "" if they do not.
func (m *Message) DeathReason() string {
	headers := m.Properties().Headers
	v, _ := headers.Get(headerDeaths)
	if rows, _ := v.([]any); len(rows) > 0 {
		return rowText(rows[0], "reason")
	}
	v, _ = headers.Get(headerLastDeath + "reason")
	s, _ := v.(string)
	return s
}

// sendHome takes a message back to where it came from, as it was then.
func (m *mover) sendHome(pub *Publication, from *Message) (bool, error) {
	v := m.s.vhost
	h, ok := homeOf(from, m.q.opts.Name)
	if !ok || h.queue == m.q.opts.Name {
		return false, nil
	}
	if err := m.s.permitExchange(auth.Write, h.exchange); err != nil {
		return false, err
	}
	props := *from.Properties()
	props.Headers = slices.DeleteFunc(slices.Clone(props.Headers), func(f Field) bool {
		return f.Name == headerDeaths || strings.HasPrefix(f.Name, headerFirstDeath) || strings.HasPrefix(f.Name, headerLastDeath)
	})
	pub.SetProperties(&props)
	pub.Died, pub.Exchange = false, h.exchange
	if len(h.keys) > 0 {
		pub.RoutingKey = h.keys[0]
	}
	if d := v.declared(h.queue); d != nil {
		if err := m.s.exclusiveTo(d); err != nil {
			return false, nil // Somebody else's queue of the same name.
		}
		m.straightTo(pub, d.queue)
		return true, nil
	}
	if x := v.exchange(h.exchange); x == nil || x.internal || h.exchange == "" {
		return false, nil
	}
	if len(h.keys) > 1 {
		pub.extra = h.keys[1:]
	}
	return m.routeTo(pub, h.exchange)
}

// takenEntry is an entry that is leaving, and what it was before.
type takenEntry struct {
	seq       Seq
	flags     uint8
	expiresMS int64
	body      int64
}

// take makes those of ms leaving that are ready still, and returns them with
// their entries. of is where they lay.
func (m *mover) take(ms []Publication, of []*Peeked) ([]Publication, []takenEntry) {
	q := m.q
	q.mu.Lock()
	defer q.unlock()
	var taken []takenEntry
	n := 0
	for i, from := range of {
		s := from.Seq
		c, slot := q.mu.entries.find(s), s.slot()
		if q.gone.Load() || c == nil || c.state[slot]&stateMask != stateReady {
			releaseClaims(ms[i].Route.claims)
			ms[i].Route.claims = nil
			m.done.Skipped++
			continue
		}
		e := takenEntry{seq: s, flags: c.state[slot] &^ stateMask, expiresMS: from.Message.ExpiresMS, body: int64(from.BodyBytes)}
		q.leaveReadyLocked(c, slot)
		q.mu.entries.set(c, slot, stateLeaving)
		taken = append(taken, e)
		if n != i {
			ms[n].Reset()
			ms[n].cloneFields(&ms[i].Message)
			ms[n].Route, ms[n].TTLMS, ms[n].extra = ms[i].Route, ms[i].TTLMS, ms[i].extra
		}
		n++
	}
	return ms[:n], taken
}

// settleMoved ends arrived in p's change set, and has refused be ready again
// where they were.
func (q *classic) settleMoved(p *Publisher, arrived, refused []takenEntry, t *Touched) {
	q.mu.Lock()
	defer q.unlock()
	var stored []Seq
	for _, e := range arrived {
		if e.flags&flagLogged != 0 {
			stored = append(stored, e.seq)
		}
	}
	if len(stored) > 0 {
		slices.Sort(stored)
		q.log.SettleIn(p.changeSet(), stored)
	}
	for _, e := range refused {
		q.stayLocked(e)
	}
	if len(refused) > 0 {
		q.afterLeavingLocked()
		if !q.gone.Load() {
			q.setExpiryTimerLocked()
			q.deliverLocked(t)
		}
	}
}

// stayLocked makes an entry that was to leave ready again. In a queue that is
// gone it ends.
func (q *classic) stayLocked(e takenEntry) {
	if q.gone.Load() {
		q.leftLocked(e.seq)
		return
	}
	c, i := q.mu.entries.find(e.seq), e.seq.slot()
	q.mu.entries.stay(c, i, e.flags, e.body)
	q.mu.readyBytes += e.body
	if e.expiresMS != 0 && e.flags&flagTimed != 0 {
		c.state[i] |= flagTimed
		q.addTimedLocked(e.expiresMS, e.seq)
	}
}

// hasMoved ends entries whose messages are elsewhere now.
func (q *classic) hasMoved(arrived []takenEntry) {
	q.mu.Lock()
	defer q.unlock()
	for _, e := range arrived {
		q.leftLocked(e.seq)
	}
	q.afterLeavingLocked()
}
