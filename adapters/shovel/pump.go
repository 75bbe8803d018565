package shovel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// inlet is the open end that messages come from. All but more is called by one
// goroutine.
type inlet interface {
	// more gets a value when take may have something.
	more() <-chan struct{}
	// take appends up to room messages, in order. It does not block. With an
	// error nothing more will come, nor can be acked.
	take(ms []*message, room int) ([]*message, error)
	// ack lets go of messages. through says that all that were taken before the
	// last of ms are among them, or have been acked.
	ack(ms []*message, through bool) error
	// length is how many messages are waiting at the source, false if it cannot
	// say.
	length() (int64, bool)
	// initial is how many were waiting when the end was opened, false if it could
	// not say.
	initial() (int64, bool)
	// close gives back what was taken and is not acked.
	close()
}

// outlet is the open end that messages go to. All but more is called by one
// goroutine.
type outlet interface {
	// publish sends messages in order, numbering them on from 1. It may block as
	// long as its context lives. It returns how many it has sent; those are
	// answered by take.
	publish(ms []*message) (int, error)
	more() <-chan struct{}
	// take appends what the destination has said. It does not block. With an
	// error it will say nothing more.
	take(as []answer) ([]answer, error)
	// blocked says why nothing is taken now, "" if it is.
	blocked() string
	close()
}

// answer is what became of messages sent.
type answer struct {
	first, last uint64
	err         error // nil if the destination has them.
	// returned, of an answer without numbers, is a message that went nowhere:
	// whichever was sent like it is not there, whatever is said later.
	returned *returned
}

// returned is a message that a remote destination sent back.
type returned struct {
	exchange, key, reason string
	body                  []byte
}

// Bounds of what is under way, of one shovel.
const (
	windowMax = 10_000   // Messages.
	bytesMax  = 32 << 20 // Of messages: it may be exceeded by one.
	takeMax   = 256      // Messages between two looks at what was answered.
)

// errDone is returned by run when as many messages were moved as were to be.
var errDone = errors.New("moved all that was asked for")

// refused is an error of the destination about a message.
type refused struct{ err error }

func (r *refused) Error() string { return r.err.Error() }
func (r *refused) Unwrap() error { return r.err }

// counters only grow, but for those that say so. Any goroutine may read them.
type counters struct {
	moved       atomic.Int64 // Confirmed, or what the ack mode takes for it.
	redelivered atomic.Int64 // Of those that came, how many had been handed out before.
	refused     atomic.Int64
	pending     atomic.Int64 // Sent and not answered; goes up and down.
	remaining   atomic.Int64 // Until it is deleted, negative if never; goes down.
	offset      atomic.Int64 // Next in the stream that is read, -1 for none yet.
}

// pump moves messages from in to out for as long as both are there.
type pump struct {
	in     inlet
	out    outlet
	ack    ackMode
	count  *counters
	change rewrite
	now    func() int64
	window int // Messages under way at most.
	// careful sends one message at a time until one has arrived: the last attempt
	// ended with a refusal.
	careful bool
	// grace is how long what is under way may take when the shovel is to end.
	grace time.Duration

	sent   []*message // Sent and not acked, the first of them numbered base.
	base   uint64
	bytes  int
	open   int   // Of sent, those not answered.
	left   int64 // To be sent until it is done; negative for no end.
	failed error // Why nothing more is sent.

	fresh   []*message
	answers []answer
}

// run moves messages until ctx ends, an end breaks, the destination refuses one,
// or all are moved. Where it can, it waits for the answers to what is under way,
// so that nothing is moved twice.
func (p *pump) run(ctx context.Context) error {
	p.base = 1
	p.left = p.count.remaining.Load()
	p.window = min(max(p.window, 1), windowMax)
	stop, stopping := ctx.Done(), false
	var late <-chan time.Time
	end := func() { stop, stopping, late = nil, true, time.After(p.grace) }
	for {
		if err := p.settle(); err != nil {
			return err
		}
		ended := stopping || p.failed != nil || p.left == 0
		if ended && p.open == 0 {
			return p.end(ctx)
		}
		if !ended {
			n, err := p.move()
			if err != nil {
				return err
			}
			if n > 0 {
				select {
				case <-stop:
					end()
				default:
				}
				continue
			}
		}
		var more <-chan struct{}
		if !ended && p.room() > 0 {
			more = p.in.more()
		}
		select {
		case <-more:
		case <-p.out.more():
		case <-stop:
			end()
		case <-late:
			return ctx.Err()
		}
	}
}

// end acks what is confirmed behind what was refused, and says why it is over.
func (p *pump) end(ctx context.Context) error {
	var ok []*message
	for _, m := range p.sent {
		if m.done && m.failed == nil {
			ok = append(ok, m)
		}
	}
	if len(ok) > 0 {
		p.moved(ok, false)
		if err := p.in.ack(ok, false); err != nil {
			return err
		}
	}
	switch {
	case p.failed != nil:
		return p.failed
	case p.left == 0:
		return errDone
	}
	return ctx.Err()
}

// room is how many more may be under way.
func (p *pump) room() int {
	room := min(p.window-len(p.sent), takeMax)
	if p.careful {
		room = 1 - len(p.sent)
	}
	if p.left >= 0 {
		room = int(min(int64(room), p.left))
	}
	if p.bytes >= bytesMax {
		return 0
	}
	return room
}

// move takes what has come and sends it.
func (p *pump) move() (int, error) {
	room := p.room()
	if room <= 0 {
		return 0, nil
	}
	var err error
	p.fresh, err = p.in.take(p.fresh[:0], room)
	if len(p.fresh) == 0 {
		return 0, err // With messages the error comes again, behind them.
	}
	for _, m := range p.fresh {
		if m.redelivered {
			p.count.redelivered.Add(1)
		}
		if !p.change.none() {
			p.change.apply(m, p.now())
		}
	}
	if p.ack == noAck {
		if err := p.in.ack(p.fresh, true); err != nil {
			return 0, err
		}
	}
	n, err := p.out.publish(p.fresh)
	if p.left > 0 {
		p.left -= int64(n)
	}
	if p.ack == onConfirm {
		p.sent = append(p.sent, p.fresh[:n]...)
		for _, m := range p.fresh[:n] {
			p.bytes += m.size()
		}
		p.open += n
		p.count.pending.Store(int64(p.open))
	} else {
		p.moved(p.fresh[:n], true)
		if p.ack == onPublish && n > 0 {
			if err := p.in.ack(p.fresh[:n], true); err != nil {
				return n, err
			}
		}
	}
	if r := (*refused)(nil); errors.As(err, &r) {
		p.count.refused.Add(1)
		p.failed = err
		return len(p.fresh), nil
	}
	return len(p.fresh), err
}

// moved counts what is at its destination for good. through says that all that
// came before is as well.
func (p *pump) moved(ms []*message, through bool) {
	if len(ms) == 0 {
		return
	}
	p.count.moved.Add(int64(len(ms)))
	if n := p.count.remaining.Load(); n > 0 {
		p.count.remaining.Store(n - int64(len(ms)))
	}
	if last := ms[len(ms)-1]; through && last.offset >= 0 {
		p.count.offset.Store(last.offset + 1)
	}
	p.careful = false
}

// settle takes in what the destination has said, and acks what it has.
func (p *pump) settle() error {
	var broken error
	p.answers, broken = p.out.take(p.answers[:0])
	for _, a := range p.answers {
		p.answer(a)
	}
	n := 0
	for n < len(p.sent) && p.sent[n].done && p.sent[n].failed == nil {
		p.bytes -= p.sent[n].size()
		n++
	}
	if n > 0 {
		p.moved(p.sent[:n], true)
		if err := p.in.ack(p.sent[:n], true); err != nil {
			return err
		}
		p.base += uint64(n)
		clear(p.sent[:n])
		if p.sent = p.sent[n:]; len(p.sent) == 0 {
			p.sent = nil
		}
	}
	p.count.pending.Store(int64(p.open))
	return broken
}

func (p *pump) answer(a answer) {
	if r := a.returned; r != nil {
		for _, m := range p.sent {
			if !m.done && m.failed == nil && m.sentTo == r.exchange && m.sentKey == r.key && bytes.Equal(m.Body, r.body) {
				m.failed = &refused{fmt.Errorf("unroutable: %s (exchange '%s', routing key '%s')", r.reason, r.exchange, r.key)}
			}
		}
		return
	}
	for n := max(a.first, p.base); n <= a.last && n < p.base+uint64(len(p.sent)); n++ {
		m := p.sent[n-p.base]
		if m.done {
			continue
		}
		m.done = true
		p.open--
		if a.err != nil && m.failed == nil {
			m.failed = &refused{a.err}
		}
		if m.failed != nil {
			p.count.refused.Add(1)
			if p.failed == nil {
				p.failed = m.failed
			}
		}
	}
}
