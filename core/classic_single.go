package core

import "slices"

// A queue with x-single-active-consumer serves one consumer at a time: the
// first that came, until it goes; then the one of the highest priority that has
// waited longest. So messages are worked on in their order, with consumers
// standing by.
//
// A consumer that leaves together with its channel gives back what it holds:
// only then is the next one served, or the order would be lost just when it
// matters. One that is cancelled alone may keep what it holds; the next one is
// served at once.
//
// In a quorum queue a consumer of a higher priority takes over from the active
// one, as soon as that has settled what it holds.

// singleActive is the part of a queue that such a queue has. The queue's lock guards
// it.
type singleActive struct {
	// active is nil when there is no consumer. It may be gone from the queue,
	// and still hold messages that it is about to give back.
	active *Consumer
	order  []*Consumer // All consumers, as they came.
}

// mayServeLocked reports whether c is one that messages may be handed to now.
func (q *classic) mayServeLocked(c *Consumer) bool {
	s := q.mu.single
	return s == nil || s.active == c && !q.yieldsLocked(c)
}

// yieldsLocked reports whether c, the active consumer, is to make way for
// another.
func (q *classic) yieldsLocked(c *Consumer) bool {
	return c.in.gone || q.opts.Type == QueueQuorum && q.mu.groups[0].priority > c.in.group.priority
}

// electLocked chooses the active consumer anew if the one there is has made way.
func (q *classic) electLocked() {
	s := q.mu.single
	if a := s.active; a != nil && q.yieldsLocked(a) {
		a.in.group.unlink(a)
		if a.in.unacked > 0 {
			return
		}
		s.active = nil
	}
	if s.active != nil || len(q.mu.groups) == 0 {
		return
	}
	highest := q.mu.groups[0]
	s.active = s.order[slices.IndexFunc(s.order, func(c *Consumer) bool { return c.in.group == highest })]
	q.relinkLocked(s.active)
}

// joinLocked notes a consumer that has come.
func (s *singleActive) joinLocked(c *Consumer) {
	s.order = append(s.order, c)
	if s.active == nil {
		s.active = c
	}
}

// leaveLocked notes that c is gone. Another one becomes active, unless c gives
// back what it holds first.
func (q *classic) leaveLocked(c *Consumer) {
	s := q.mu.single
	s.order = slices.DeleteFunc(s.order, func(o *Consumer) bool { return o == c })
	if s.active == c && !c.returns.Load() {
		s.active = nil
	}
	if !q.gone.Load() {
		q.electLocked()
		if a := s.active; a != nil {
			q.relinkLocked(a) // It need no longer make way, perhaps.
		}
	}
}
