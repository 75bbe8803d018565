package mqtt

import (
	"sync"
	"sync/atomic"

	"leveret/adapters/mqtt/wire"
	"leveret/core"
)

// inPacket is a QoS 1 or 2 PUBLISH that awaits its PUBACK or PUBREC.
type inPacket struct {
	id   uint16
	qos  byte
	code wire.Code // If done.
	done bool
}

// inbound turns completions, which come as ranges of publish numbers in any
// order, into acknowledgements in the order of the PUBLISHes (4.6.0-2, 4.6.0-3).
//
// They wait in a ring: number n is at n modulo its length.
type inbound struct {
	pending idSet        // Identifiers of those in the ring.
	open    atomic.Int32 // QoS 1 and 2 flows the client has begun and we have not ended.

	mu struct {
		sync.Mutex
		ring  []inPacket
		first uint64 // Number of the oldest that is not answered.
		next  uint64 // Number the next one gets.
		ready bool   // Some answer is due.
		// attended is true while the reader will flush before it parks, so that
		// completions need not wake the writer.
		attended bool
	}
}

// add takes what is about to be published, in order.
func (in *inbound) add(ps []inPacket) {
	if len(ps) == 0 {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.mu.next == 0 {
		in.mu.first, in.mu.next = 1, 1
	}
	for need := int(in.mu.next-in.mu.first) + len(ps); need > len(in.mu.ring); {
		in.growLocked()
	}
	mask := uint64(len(in.mu.ring) - 1)
	for _, p := range ps {
		in.mu.ring[in.mu.next&mask] = p
		in.mu.next++
		in.mu.ready = in.mu.ready || p.done
	}
}

func (in *inbound) growLocked() {
	ring := make([]inPacket, max(16, 2*len(in.mu.ring)))
	for n := in.mu.first; n < in.mu.next; n++ {
		ring[n&uint64(len(ring)-1)] = in.mu.ring[n&uint64(len(in.mu.ring)-1)]
	}
	in.mu.ring = ring
}

// complete notes that the numbers first to last are done with. It reports
// whether the caller has to wake the writer.
func (in *inbound) complete(first, last uint64, code wire.Code) (wake bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	mask := uint64(len(in.mu.ring) - 1)
	for n := max(first, in.mu.first); n <= last && n < in.mu.next; n++ {
		if p := &in.mu.ring[n&mask]; !p.done {
			p.done, p.code = true, code
		}
	}
	if in.mu.ready {
		return false
	}
	in.mu.ready = true
	return !in.mu.attended
}

// attend promises that the reader flushes before it waits for anything.
func (in *inbound) attend() {
	in.mu.Lock()
	in.mu.attended = true
	in.mu.Unlock()
}

// unattended ends that promise and reports whether answers are due: what comes
// later wakes the writer.
func (in *inbound) unattended() (due bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.mu.attended = false
	return in.mu.ready
}

// Completed is part of core.Completer.
func (c *conn) Completed(first, last uint64, k core.Kind) {
	code := wire.Success
	if k != core.OK {
		code = codes[k]
		if c.version != wire.V5 {
			c.force(&failure{code, "a PUBLISH was refused: " + k.String()})
			return
		}
	}
	if c.inbound.complete(first, last, code) {
		c.out.Kick()
	}
}

// writeAcks turns completions into PUBACKs and PUBRECs. The out-buffer calls
// it, locked, before it writes.
func (c *conn) writeAcks() {
	in := &c.inbound
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.mu.ready {
		return
	}
	in.mu.ready = false
	before := len(c.out.B)
	mask := uint64(len(in.mu.ring) - 1)
	for in.mu.first < in.mu.next {
		p := &in.mu.ring[in.mu.first&mask]
		if !p.done {
			break
		}
		in.mu.first++
		in.pending.clear(p.id)
		typ := wire.Puback
		if p.qos == 2 {
			typ = wire.Pubrec
		}
		if p.qos == 1 || p.code.IsError() {
			in.open.Add(-1)
		}
		if !c.underOut.closed {
			c.out.B = wire.AppendAck(c.out.B, typ, p.id, p.code, c.version)
		}
	}
	if in.mu.first == in.mu.next && len(in.mu.ring) > 4096 {
		in.mu.ring = nil
	}
	if n := len(c.out.B) - before; n > 0 {
		c.out.Asked(n)
	}
}

// idSet is a set of packet identifiers. Its pages come with use. Set, by one
// goroutine, and clear, by another, may run at the same time.
type idSet struct {
	pages atomic.Pointer[[64]atomic.Pointer[idPage]]
}

type idPage [16]atomic.Uint64

func (s *idSet) page(id uint16) *idPage {
	if pages := s.pages.Load(); pages != nil {
		return pages[id>>10].Load()
	}
	return nil
}

func (s *idSet) has(id uint16) bool {
	p := s.page(id)
	return p != nil && p[id>>6&15].Load()&(1<<(id&63)) != 0
}

func (s *idSet) set(id uint16) {
	p := s.page(id)
	if p == nil {
		p = new(idPage)
		if s.pages.Load() == nil {
			s.pages.Store(new([64]atomic.Pointer[idPage]))
		}
		s.pages.Load()[id>>10].Store(p)
	}
	p[id>>6&15].Or(1 << (id & 63))
}

func (s *idSet) clear(id uint16) {
	if p := s.page(id); p != nil {
		p[id>>6&15].And(^(uint64(1) << (id & 63)))
	}
}
