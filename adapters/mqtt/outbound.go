package mqtt

import (
	"slices"

	"leveret/core"
)

// slot is a QoS 1 or 2 PUBLISH that we have sent and the client has not
// acknowledged.
type slot struct {
	outlet   *outlet
	seq      core.Seq
	order    uint32 // Of sending, for what is sent again.
	id       uint16 // 0: the slot is free.
	qos      byte
	released bool // PUBREC has come: only PUBREL is sent again.
}

// ring holds them by packet identifier: id is at id modulo its length, so that
// identifiers whose place is taken are skipped. At least half of it is free, so
// that few are. Guarded by the connection's out-buffer lock.
type ring struct {
	slots []slot // Length 0 or a power of two up to 65536.
	live  int
	last  uint16 // Identifier given last.
	order uint32
}

// ringMax is how many messages may be outstanding: half of the identifiers.
const ringMax = 32768

// add takes an identifier for a delivery. It reports false if none is free.
func (r *ring) add(o *outlet, seq core.Seq, qos byte) (id uint16, ok bool) {
	if r.live >= ringMax {
		return 0, false
	}
	if 2*(r.live+1) > len(r.slots) {
		r.resize(max(16, 2*len(r.slots)))
	}
	mask := uint16(len(r.slots) - 1)
	for {
		if r.last++; r.last == 0 {
			r.last = 1
		}
		if r.slots[r.last&mask].id == 0 {
			break
		}
	}
	r.put(slot{outlet: o, seq: seq, id: r.last, qos: qos})
	return r.last, true
}

// put makes s outstanding, behind all others. Its place is free.
func (r *ring) put(s slot) {
	r.order++
	s.order = r.order
	r.slots[s.id&uint16(len(r.slots)-1)] = s
	r.live++
}

// restore takes an identifier from an earlier connection. It reports false if
// it is in use.
func (r *ring) restore(s slot) bool {
	if s.id == 0 || r.get(s.id) != nil || r.live >= ringMax {
		return false
	}
	for len(r.slots) == 0 || 2*(r.live+1) > len(r.slots) || r.slots[s.id&uint16(len(r.slots)-1)].id != 0 {
		r.resize(max(16, 2*len(r.slots)))
	}
	r.put(s)
	if s.id > r.last {
		r.last = s.id
	}
	return true
}

// get finds an outstanding identifier, or returns nil.
func (r *ring) get(id uint16) *slot {
	if len(r.slots) == 0 || id == 0 {
		return nil
	}
	if s := &r.slots[id&uint16(len(r.slots)-1)]; s.id == id {
		return s
	}
	return nil
}

// free gives s back.
func (r *ring) free(s *slot) {
	*s = slot{}
	r.live--
	if r.live == 0 && len(r.slots) > 1024 {
		r.slots = nil
	}
}

func (r *ring) resize(n int) {
	old := r.slots
	r.slots = make([]slot, n)
	for _, s := range old {
		if s.id != 0 {
			r.slots[s.id&uint16(n-1)] = s
		}
	}
}

// ordered returns the slots of o, or all if o is nil, in the order of sending,
// and frees them.
func (r *ring) ordered(o *outlet) []slot {
	var out []slot
	for i := range r.slots {
		if s := &r.slots[i]; s.id != 0 && (o == nil || s.outlet == o) {
			out = append(out, *s)
			r.free(s)
			if r.slots == nil {
				break
			}
		}
	}
	slices.SortFunc(out, func(a, b slot) int { return int(int32(a.order - b.order)) })
	return out
}
