package perf

import (
	"math/bits"
	"sync"
)

// Each body begins with a stamp of 16 bytes, both words big-endian:
//
//	0           2                         8           10                        16
//	+-----------+-------------------------+-----------+-------------------------+
//	| producer  | sequence number         | run       | time, ns, modulo 2^48   |
//	+-----------+-------------------------+-----------+-------------------------+
//
// Sequence numbers start at 0 and count the messages of one producer to one
// route, so each queue must see each number of each of its producers once and
// in order. The run is a random number: what an earlier run left behind in a
// queue is recognised by it.
const (
	stampLen   = 16
	seqBits    = 48
	seqMask    = 1<<seqBits - 1
	timeMask   = 1<<48 - 1
	seqJumpMax = 1 << 30 // A number this far ahead is a damaged body, not a gap.
)

// age returns how long before now (ns) the 48 bits of time in stamp word w were
// taken.
func age(now int64, w uint64) int64 { return int64((uint64(now)-w)<<16) >> 16 }

const blockLen = 1 << 15

// seenBlock marks which of blockLen consecutive numbers were seen.
type seenBlock struct {
	n    int
	bits [blockLen / 64]uint64
}

// allSeen stands for every block that is full, so that a message lost early
// does not make a long run hold a bit for each later one.
var allSeen = &seenBlock{n: blockLen}

// sequence knows exactly which numbers of one producer arrived at one queue.
// While they come in order it is a counter; with gaps, because several
// consumers share the queue or a message is missing, it adds bitmaps.
type sequence struct {
	next     uint64 // All numbers below were seen.
	top      uint64 // No number from here on was seen. Invariant: next <= top.
	received uint64 // Distinct numbers seen.

	blocks []*seenBlock // Cover first*blockLen up to top; empty while next == top.
	first  uint64
	spare  *seenBlock // The last block emptied, kept so that sharing a queue does not allocate.
}

// see notes number n and reports whether it is new.
func (s *sequence) see(n uint64) bool {
	if n == s.next && n == s.top {
		s.next++
		s.top++
		s.received++
		return true
	}
	return s.seeUnordered(n)
}

func (s *sequence) seeUnordered(n uint64) bool {
	if n < s.next {
		return false
	}
	if len(s.blocks) == 0 {
		s.first = s.next / blockLen
	}
	for n/blockLen-s.first >= uint64(len(s.blocks)) {
		s.blocks = append(s.blocks, nil)
	}
	at := &s.blocks[n/blockLen-s.first]
	if *at == nil {
		*at = s.newBlock()
		if n/blockLen == s.next/blockLen {
			(*at).n = int(s.next % blockLen)
		}
	}
	b := *at
	word, bit := n%blockLen/64, uint64(1)<<(n%64)
	if b == allSeen || b.bits[word]&bit != 0 {
		return false
	}
	b.bits[word] |= bit
	if b.n++; b.n == blockLen {
		*at = allSeen
		s.spare = b
	}
	s.top = max(s.top, n+1)
	s.received++
	if n == s.next {
		s.advance()
	}
	return true
}

// advance moves next over what was seen out of order and lets go of the blocks
// behind it.
func (s *sequence) advance() {
	for s.next < s.top {
		b := s.blocks[s.next/blockLen-s.first]
		if b == nil {
			break
		}
		if b == allSeen {
			s.next = (s.next/blockLen + 1) * blockLen
			continue
		}
		run := bits.TrailingZeros64(^(b.bits[s.next%blockLen/64] >> (s.next % 64)))
		if run == 0 {
			break
		}
		s.next += uint64(run)
	}

	behind := min(int(s.next/blockLen-s.first), len(s.blocks))
	if s.next == s.top {
		behind = len(s.blocks)
	}
	for _, b := range s.blocks[:behind] {
		if b != nil && b != allSeen {
			s.spare = b
		}
	}
	s.blocks = s.blocks[:copy(s.blocks, s.blocks[behind:])]
	s.first += uint64(behind)
}

func (s *sequence) newBlock() *seenBlock {
	b := s.spare
	if b == nil {
		return new(seenBlock)
	}
	s.spare = nil
	*b = seenBlock{}
	return b
}

// ledger is what arrived at one queue, by producer. Consumers that share the
// queue lock it for each read; a sole consumer does not.
type ledger struct {
	mu        sync.Mutex
	shared    bool // Fixed before consumers start: several consumers have this queue.
	adopt     bool // Fixed likewise: the producers are elsewhere, begin with their first number.
	producers []sequence
}

// of returns the sequence of producer id. The ledger must be locked if shared.
func (l *ledger) of(id int, n uint64) *sequence {
	if id < len(l.producers) {
		return &l.producers[id]
	}
	for id >= len(l.producers) {
		l.producers = append(l.producers, sequence{})
	}
	s := &l.producers[id]
	if l.adopt {
		s.next, s.top = n, n
	}
	return s
}

// distinct returns how many different messages arrived. The ledger's consumers
// must have ended.
func (l *ledger) distinct() (n uint64) {
	for i := range l.producers {
		n += l.producers[i].received
	}
	return n
}

// faults counts what a consumer found wrong with the deliveries it got.
type faults struct {
	duplicates  uint64 // Seen before and not marked redelivered.
	misordered  uint64 // Behind a later number of the same producer, queue and consumer, and not marked redelivered.
	redelivered uint64 // Marked redelivered: no fault, but not ordinary either.
	foreign     uint64 // No message of this run: another run's stamp, or a damaged one.
	missized    uint64 // A body of another length than was published.
}

func (f *faults) add(o *faults) {
	f.duplicates += o.duplicates
	f.misordered += o.misordered
	f.redelivered += o.redelivered
	f.foreign += o.foreign
	f.missized += o.missized
}

// verifier checks the deliveries of one consumer from one queue.
type verifier struct {
	ledger *ledger
	run    uint64   // Upper 16 bits of each stamp's second word.
	anyRun bool     // Take over the first stamp's run: the producers are elsewhere.
	ids    int      // Producers of this run; stamps with others are foreign. 0 if elsewhere.
	last   []uint64 // By producer: 1 + the last number delivered.
	faults faults
}

// check notes a delivery with stamp w0, w1 and reports whether it belongs to
// this run. It allocates only on the first message of a producer, and when
// a gap opens.
func (v *verifier) check(w0, w1 uint64, redelivered bool) bool {
	if w1&^timeMask != v.run {
		if !v.anyRun {
			v.faults.foreign++
			return false
		}
		v.run, v.anyRun = w1&^timeMask, false
	}
	id, n := int(w0>>seqBits), w0&seqMask
	if id >= len(v.last) && !v.admit(id) {
		return false
	}
	s := v.ledger.of(id, n)
	if n > s.next+seqJumpMax {
		v.faults.foreign++
		return false
	}
	fresh := s.see(n)
	switch {
	case redelivered:
		v.faults.redelivered++
	case !fresh:
		v.faults.duplicates++
	case n < v.last[id]:
		v.faults.misordered++
	default:
		v.last[id] = n + 1
	}
	return true
}

func (v *verifier) admit(id int) bool {
	if v.ids > 0 && id >= v.ids {
		v.faults.foreign++
		return false
	}
	v.last = append(v.last, make([]uint64, id+1-len(v.last))...)
	return true
}
