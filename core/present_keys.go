package core

// presentKeys are the deduplication keys of the messages that a queue holds,
// ready or unacked: what x-message-deduplication asks a queue to know. A message
// whose key is there already is taken and forgotten: for its publisher it is in
// the queue. After a restart the queue does not know the keys of what it held
// before.
//
// It hangs on the queue's entries, which tell it what comes and goes, and is
// guarded by the queue's lock.
type presentKeys struct {
	broker  *Broker
	next    string // The key of the entry that is about to be added, "" for none.
	keys    map[string]struct{}
	bySeq   map[Seq]string
	charged int64
}

// presentKeyBytes is about what one key takes in both maps.
const presentKeyBytes = 2*(seenKeyMax+32) + 16

func newPresentKeys(b *Broker) *presentKeys {
	return &presentKeys{broker: b, keys: make(map[string]struct{}), bySeq: make(map[Seq]string)}
}

// added is told of a new entry.
func (p *presentKeys) added(s Seq) {
	if p.next == "" {
		return
	}
	p.keys[p.next], p.bySeq[s] = struct{}{}, p.next
	p.next = ""
	p.charge(presentKeyBytes)
}

// removed is told of an entry that is gone.
func (p *presentKeys) removed(s Seq) {
	if key, ok := p.bySeq[s]; ok {
		delete(p.bySeq, s)
		delete(p.keys, key)
		p.charge(-presentKeyBytes)
	}
}

// clear forgets all.
func (p *presentKeys) clear() {
	clear(p.keys)
	clear(p.bySeq)
	p.charge(-p.charged)
}

func (p *presentKeys) charge(n int64) {
	p.charged += n
	p.broker.memory.charge(n)
}

// deduplicateLocked starts or ends deduplication. What is in the queue when it
// starts is not known.
func (q *classic) deduplicateLocked(on bool) {
	e := &q.mu.entries
	switch {
	case on && e.present == nil && !q.gone.Load():
		e.present = newPresentKeys(q.broker)
	case !on && e.present != nil:
		e.present.clear()
		e.present = nil
	}
}

// pushNewLocked is pushRunLocked without the messages that q holds already.
func (q *classic) pushNewLocked(p *Publisher, ms []Publication, t *Touched) {
	present := q.mu.entries.present
	for i := range ms {
		key, ok := deduplicationKey(&ms[i].Message)
		if _, there := present.keys[key]; ok && there {
			continue
		}
		if ok {
			present.next = key
		}
		q.pushRunLocked(p, ms[i:i+1], t)
		present.next = "" // It was handed to a consumer that does not ack, or refused.
	}
}
