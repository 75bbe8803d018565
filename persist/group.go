package persist

import (
	"slices"

	"leveret/core"
	"leveret/persist/segment"
)

// group is what the writer is about to write at once: moved records, then
// notes, then sets. In that order: a note may be about a message that is moved,
// never about one of a set, which would have been struck from it.
type group struct {
	id      segment.Identity
	offset  int64 // In the segment.
	buf     []byte
	pieces  []piece
	from    int   // Where in buf the last piece begins.
	length  int64 // Of all pieces and what follows.
	records uint32

	moves  []*moveRecord
	notes  []note
	sets   []*changeSet
	seqs   []core.Seq // Of the notes.
	synced bool       // It has something that must be on disk.
	noted  int        // How many of seqs are in it.
	change int        // Where the open record of changes begins, -1 for none.
	kind   segment.Kind
}

// piece is a stretch of a group: bytes of buf, or a body by reference.
type piece struct {
	from, to int
	own      []byte
}

const (
	// groupBytesMax bounds a group of more than one set, changeBytes a record
	// of more than one change, ackSeqsMax the numbers in a change.
	groupBytesMax = 4 << 20
	changeBytes   = 64 << 10
	ackSeqsMax    = 128
	// notedMax bounds the numbers in all notes of a group: the index is locked
	// while it is told of them, for a millisecond or two.
	notedMax = 32 << 10
)

func (g *group) begin(id segment.Identity, offset int64) {
	if cap(g.buf) > 2*groupBytesMax {
		g.buf = nil
	}
	clear(g.pieces)
	clear(g.moves)
	clear(g.sets)
	clear(g.notes)
	*g = group{id: id, offset: offset, buf: append(g.buf[:0], make([]byte, segment.GroupBytes)...), pieces: g.pieces[:0],
		length: segment.GroupBytes, moves: g.moves[:0], notes: g.notes[:0], sets: g.sets[:0], change: -1}
}

// size is how long the group is with what is in it.
func (g *group) size() int64 { return segment.Pad(g.length) }

// pad fills up to where a record may begin.
func (g *group) pad() {
	for g.length%8 != 0 {
		g.buf = append(g.buf, 0)
		g.length++
	}
}

// endChange completes the open record of changes.
func (g *group) endChange() {
	if g.change < 0 {
		return
	}
	head := g.buf[g.change:]
	at := g.offset + g.length - int64(len(head))
	segment.AppendRecordHeader(head[:0], len(head), g.kind, 0, 0, 0)
	segment.SumRecord(head, nil, g.id, at)
	g.change = -1
	g.records++
	g.pad()
}

// beginChange opens a record of changes of kind, unless one is open.
func (g *group) beginChange(kind segment.Kind) {
	if g.change >= 0 && g.kind == kind && len(g.buf)-g.change < changeBytes {
		return
	}
	g.endChange()
	g.change, g.kind = len(g.buf), kind
	g.buf = append(g.buf, make([]byte, segment.RecordBytes)...)
	g.length += segment.RecordBytes
}

// changeMax bounds what one change takes in a group, with a record of its own.
const changeMax = 2*segment.RecordBytes + 64

// addAck adds the settlement of seqs, which ascend and are few.
func (g *group) addAck(q *queueLog, seqs []core.Seq) {
	g.beginChange(segment.KindAck)
	n := len(g.buf)
	g.buf = segment.AppendAck(g.buf, uint32(q.id), seqs)
	g.length += int64(len(g.buf) - n)
}

func (g *group) addMark(q *queueLog, upTo uint64) {
	g.beginChange(segment.KindMark)
	n := len(g.buf)
	g.buf = segment.AppendMark(g.buf, uint32(q.id), upTo)
	g.length += int64(len(g.buf) - n)
}

func (g *group) addPurge(q *queueLog, from, upTo uint64, survivors []core.Seq) {
	g.beginChange(segment.KindPurge)
	n := len(g.buf)
	g.buf = segment.AppendPurge(g.buf, uint32(q.id), from, upTo, survivors)
	g.length += int64(len(g.buf) - n)
	g.synced = true
}

func (g *group) addDrop(q *queueLog) {
	g.beginChange(segment.KindDrop)
	n := len(g.buf)
	g.buf = segment.AppendDrop(g.buf, uint32(q.id))
	g.length += int64(len(g.buf) - n)
	g.synced = true
}

// addSet takes what is still wanted of s. It reports whether that is anything.
func (g *group) addSet(s *changeSet) bool {
	wanted := len(s.acks) > 0
	for _, a := range s.acks {
		for from := a.from; from < a.to; from += ackSeqsMax {
			g.addAck(a.queue, s.seqs[from:min(from+ackSeqsMax, a.to)])
		}
		g.synced = true
	}
	g.endChange()
	for i := range s.messages {
		m := &s.messages[i]
		// Refs that are struck leave the list.
		refs := 0
		link := &m.first
		for r := m.first; r != nil; r = r.next {
			switch r.take() {
			case refTaken:
				*link = r
				link = &r.next
				refs++
			case refMoved:
				s.waits++
			}
		}
		*link = nil
		m.refs = refs
		if refs == 0 {
			continue
		}
		wanted = true
		r := m.first
		for refs > 0 {
			n := min(refs, segment.RefsMax)
			r = g.addMessage(s, m, r, n)
			refs -= n
		}
	}
	return g.addClients(s) || wanted
}

// addMessage adds a record for n refs of m, from r on, and returns the next.
func (g *group) addMessage(s *changeSet, m *message, r *ref, n int) *ref {
	start := len(g.buf)
	at := g.offset + g.length
	refBytes := segment.RefBytes
	if m.flags&segment.FlagTimed != 0 {
		refBytes = segment.TimedRefBytes
	}
	length := segment.RecordBytes + n*refBytes + m.to - m.from + len(m.own)
	g.buf = slices.Grow(g.buf, length-len(m.own)+8)
	g.buf = segment.AppendRecordHeader(g.buf, length, segment.KindMessage, m.flags, n, m.body)
	for range n {
		r.place = uint32(at / 8)
		g.buf = segment.AppendRef(g.buf, m.flags, uint32(r.queue.id), r.seq, r.expiresMS)
		r = r.next
	}
	g.buf = append(g.buf, s.buf[m.from:m.to]...)
	segment.SumRecord(g.buf[start:], m.own, g.id, at)
	g.length += int64(length)
	if m.own != nil {
		g.pieces = append(g.pieces, piece{from: g.from, to: len(g.buf)}, piece{own: m.own})
		g.from = len(g.buf)
	}
	g.records++
	g.pad()
	if m.flags&segment.FlagPersistent != 0 {
		g.synced = true
	}
	return r
}

// addMove adds the copy of a record for the refs that are still there.
func (g *group) addMove(m *moveRecord) {
	g.endChange()
	start := len(g.buf)
	at := g.offset + g.length
	length := m.bytes()
	g.buf = segment.AppendRecordHeader(g.buf, length, segment.KindMove, m.flags, len(m.refs), m.body)
	for _, r := range m.refs {
		g.buf = segment.AppendRef(g.buf, m.flags, r.Queue, r.Seq, r.ExpiresMS)
	}
	g.buf = append(g.buf, m.content...)
	segment.SumRecord(g.buf[start:], nil, g.id, at)
	m.offset = at
	g.length += int64(length)
	g.records++
	g.pad()
	g.moves = append(g.moves, m)
}

// finish completes the group as number and returns its length.
func (g *group) finish(number, synced uint64) int64 {
	g.endChange()
	g.pieces = append(g.pieces, piece{from: g.from, to: len(g.buf)})
	segment.PutGroup(g.buf, g.id, g.offset, segment.Group{Length: uint32(g.length), Number: number, Synced: synced, Records: g.records})
	return g.length
}
