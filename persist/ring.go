package persist

// ring remembers the references of a queue that are not yet written, in the
// order of their numbers. What was written or struck leaves when it comes to
// the front. The queue's lock guards it.
type ring struct {
	prio  uint8
	end   uint64     // Behind the last number added.
	floor uint64     // All added below it were written when the log last worked.
	items []ringItem // Its length is a power of two, or 0.
	head  int
	count int
}

type ringItem struct {
	seq  uint64
	word uint64 // Of ref while it is pending for this item.
	ref  *ref   // nil once struck.
}

const ringMin = 4

// ringKept is the largest ring that an empty queue keeps.
const ringKept = 1 << 10

// waiting reports whether i is neither struck nor written.
func (i *ringItem) waiting() bool {
	if i.ref == nil {
		return false
	}
	word := i.ref.word.Load()
	return word == i.word || word == i.word|refTaken
}

func (i *ringItem) strike() bool {
	if i.ref == nil || !i.ref.strike(i.word) {
		return false
	}
	i.ref = nil
	return true
}

func (r *ring) len() int { return r.count }

func (r *ring) at(n int) *ringItem { return &r.items[(r.head+n)&(len(r.items)-1)] }

func (r *ring) push(item ringItem) {
	r.trim()
	if r.count == len(r.items) {
		grown := make([]ringItem, max(ringMin, 2*len(r.items)))
		for n := range r.count {
			grown[n] = *r.at(n)
		}
		r.items, r.head = grown, 0
	}
	*r.at(r.count) = item
	r.end = item.seq + 1
	r.count++
}

// trim lets go of what no longer waits at the front.
func (r *ring) trim() {
	for r.count > 0 && !r.at(0).waiting() {
		*r.at(0) = ringItem{}
		r.head++
		r.count--
	}
	if r.count == 0 {
		r.head = 0
		if len(r.items) > ringKept {
			r.items = nil
		}
	}
}

// strike ends the reference of seq if it is still pending.
func (r *ring) strike(seq uint64) bool {
	i := r.find(seq)
	if i < 0 || !r.at(i).strike() {
		return false
	}
	if i == 0 {
		r.trim()
	}
	return true
}

// move ends the reference of seq, for another set, if it is still pending. It
// returns the reference, or nil.
func (r *ring) move(seq uint64) *ref {
	i := r.find(seq)
	if i < 0 {
		return nil
	}
	item := r.at(i)
	moved := item.ref
	if moved == nil || !moved.move(item.word) {
		return nil
	}
	item.ref = nil
	if i == 0 {
		r.trim()
	}
	return moved
}

// find returns the place of seq's item, or -1.
func (r *ring) find(seq uint64) int {
	if r.count == 0 || seq < r.at(0).seq {
		return -1
	}
	low, high := 0, r.count // The item of seq, if any, lies in [low, high).
	for low < high {
		mid := int(uint(low+high) >> 1)
		if r.at(mid).seq < seq {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low == r.count || r.at(low).seq != seq {
		return -1
	}
	return low
}
