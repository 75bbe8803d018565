package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

var testID = Identity{Number: 7, Salt: 0x1122334455667788}

func TestHeader(t *testing.T) {
	b := AppendHeader(nil, testID)
	if len(b) != HeaderBytes {
		t.Fatalf("%d bytes", len(b))
	}
	id, err := ParseHeader(b)
	if err != nil || id != testID {
		t.Fatalf("%+v, %v", id, err)
	}
	for i := range b {
		c := bytes.Clone(b)
		c[i] ^= 4
		if _, err := ParseHeader(c); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
		if _, err := ParseHeader(b[:i]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%d bytes: %v", i, err)
		}
	}
}

func TestGroup(t *testing.T) {
	g := Group{Length: 1 << 20, Number: 1<<40 + 1, Synced: 1 << 40, Records: 99}
	b := make([]byte, GroupBytes)
	PutGroup(b, testID, 4096, g)
	if got, ok := ParseGroup(b, testID, 4096); !ok || got != g {
		t.Fatalf("%+v, %v", got, ok)
	}
	other := testID
	other.Salt++
	if _, ok := ParseGroup(b, other, 4096); ok {
		t.Fatal("a group of the file's former life passed")
	}
	if _, ok := ParseGroup(b, testID, 4104); ok {
		t.Fatal("a group somewhere else passed")
	}
	for i := range b {
		c := bytes.Clone(b)
		c[i] ^= 1
		if _, ok := ParseGroup(c, testID, 4096); ok {
			t.Fatalf("byte %d changed and passed", i)
		}
	}
}

// appendMessage is a record as the log writes it.
func appendMessage(dst []byte, offset int64, kind Kind, flags uint8, refs []Ref, content, body []byte) []byte {
	at := len(dst)
	n := RefBytes
	if flags&FlagTimed != 0 {
		n = TimedRefBytes
	}
	dst = AppendRecordHeader(dst, RecordBytes+n*len(refs)+len(content)+len(body), kind, flags, len(refs), uint32(len(body)))
	for _, r := range refs {
		dst = AppendRef(dst, flags, r.Queue, r.Seq, r.ExpiresMS)
	}
	dst = append(dst, content...)
	dst = append(dst, body...)
	SumRecord(dst[at:], nil, testID, offset)
	return dst
}

func TestMessage(t *testing.T) {
	for _, flags := range []uint8{FlagPersistent, FlagTransient | FlagTimed, FlagPersistent | FlagHasPriority | FlagTimed, FlagPersistent | FlagOrigin | FlagRetained} {
		origin := uint64(0)
		if flags&FlagOrigin != 0 {
			origin = 77
		}
		refs := []Ref{{1, 2, 3}, {1 << 31, 9<<56 | 77, 0}}
		if flags&FlagTimed == 0 {
			refs[0].ExpiresMS = 0
		}
		content := AppendContent(nil, 123, origin, 1, 5, "exchange", "routing.key", []byte("props"))
		b := appendMessage(nil, 88, KindMessage, flags, refs, content, []byte("body"))
		if Pad(int64(len(b))) != MessageBytes(flags, 2, len(content), 4) {
			t.Fatalf("%d bytes, said %d", len(b), MessageBytes(flags, 2, len(content), 4))
		}
		r, err := ParseRecord(append(b, "what follows"...), testID, 88)
		if err != nil || r.Kind != KindMessage || r.Flags != flags || r.Refs != 2 || r.Ref(0) != refs[0] || r.Ref(1) != refs[1] {
			t.Fatalf("%+v, %v", r, err)
		}
		c, err := r.Content()
		if err != nil || c.ArrivedMS != 123 || c.Origin != origin || c.Form != 1 || c.Priority != 5 || string(c.Exchange) != "exchange" ||
			string(c.RoutingKey) != "routing.key" || string(c.Properties) != "props" || string(c.Body) != "body" {
			t.Fatalf("%+v, %v", c, err)
		}
	}
}

func TestChanges(t *testing.T) {
	var b []byte
	b = AppendAck(b, 3, []uint64{5, 6, 7, 7, 100, 9<<56 | 1})
	b = AppendAck[uint64](b, 4, nil)
	var got []Range
	acks := Changes{Ack: func(queue uint32, ranges []Range) {
		if queue == 3 {
			got = slices.Clone(ranges)
		}
	}}
	if err := acks.Apply(&Record{Kind: KindAck, Data: b}); err != nil {
		t.Fatal(err)
	}
	if want := []Range{{5, 3}, {100, 1}, {9<<56 | 1, 1}}; !slices.Equal(got, want) {
		t.Fatalf("%v, want %v", got, want)
	}
	purged := 0
	purge := Changes{Purge: func(queue uint32, from, upTo uint64, survivors []Range) {
		purged++
		if queue != 9 || from != 3 || upTo != 1000 || !slices.Equal(survivors, []Range{{10, 1}, {12, 2}}) {
			t.Fatalf("%d %d %d %v", queue, from, upTo, survivors)
		}
	}}
	if err := purge.Apply(&Record{Kind: KindPurge, Data: AppendPurge(nil, 9, 3, 1000, []uint64{10, 12, 13})}); err != nil || purged != 1 {
		t.Fatalf("%d, %v", purged, err)
	}
	if err := acks.Apply(&Record{Kind: 99, Data: []byte{1, 2, 3}}); err != nil {
		t.Fatalf("a kind of a later version: %v", err)
	}
	// Nothing takes effect of a record that is not whole.
	got = nil
	if err := acks.Apply(&Record{Kind: KindAck, Data: b[:len(b)-1]}); !errors.Is(err, ErrCorrupt) || got != nil {
		t.Fatalf("%v, %v", got, err)
	}
}

func TestSidecar(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var w SidecarWriter
	var want []SidecarEntry
	offset := int64(HeaderBytes)
	seqs := make(map[uint32]uint64)
	for n := range 3000 {
		e := SidecarEntry{Offset: offset, BodyBytes: 1000, Flags: FlagPersistent}
		if n%7 == 0 {
			e.BodyBytes, e.Flags = rng.Uint32(), FlagTransient
		}
		timed := n%11 == 0
		var refs []Ref
		for range 1 + n%13/11 {
			q := uint32(5)
			if n%5 == 0 {
				q = rng.Uint32N(1000)
			}
			seqs[q]++
			r := Ref{Queue: q, Seq: seqs[q]}
			if n%17 == 0 {
				r.Seq = rng.Uint64()
			}
			if timed {
				e.Flags |= FlagTimed
				r.ExpiresMS = rng.Int64N(1 << 41)
			}
			refs = append(refs, r)
		}
		w.Begin(offset, e.Flags, e.BodyBytes, len(refs), refs[0])
		for _, r := range refs {
			w.Ref(r)
			e.Ref = r
			want = append(want, e)
		}
		offset += 1072
		if n%19 == 0 {
			offset += 8 * rng.Int64N(1000)
		}
	}
	info := SidecarInfo{Identity: testID, End: offset, First: 3, Last: 99, Entries: uint32(len(want)), Unknown: true}
	b := w.Append(nil, info)
	got, err := ParseSidecar(b)
	if err != nil || got != info {
		t.Fatalf("%+v, %v", got, err)
	}
	n := 0
	err = EachEntry(b, func(e *SidecarEntry) {
		if *e != want[n] {
			t.Fatalf("entry %d: %+v, want %+v", n, *e, want[n])
		}
		n++
	})
	if err != nil || n != len(want) {
		t.Fatalf("%d entries, %v", n, err)
	}
	b[len(b)/2] ^= 1
	if _, err := ParseSidecar(b); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("a bit flipped: %v", err)
	}
}

// A stretch of one queue and size takes about a byte for each message.
func TestSidecarIsSmall(t *testing.T) {
	var w SidecarWriter
	for n := range 10_000 {
		r := Ref{Queue: 1, Seq: uint64(n)}
		w.Begin(int64(HeaderBytes+n*1072), FlagPersistent, 1000, 1, r)
		w.Ref(r)
	}
	if n := len(w.Append(nil, SidecarInfo{})); n > 11_000 {
		t.Fatalf("%d bytes", n)
	}
}

func TestCheckpoint(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var w CheckpointWriter
		kept := binary.LittleEndian.AppendUint64(nil, 77)
		kept = binary.LittleEndian.AppendUint64(kept, 3)
		kept = append(kept, "abc"...)
		w.Begin(kept)
		var want []Level
		for q := range uint32(rng.IntN(10)) {
			l := Level{Queue: q, Priority: uint8(rng.IntN(3))}
			top := uint64(l.Priority) << 56
			l.Next, l.Mark = top|rng.Uint64N(1<<56), top|rng.Uint64N(1<<56)
			w.Level(q, l.Priority, l.Next, l.Mark)
			at := top
			for range rng.IntN(5) {
				b := Block{Base: at + rng.Uint64N(1<<30), Span: 1 + rng.Uint64N(5000)}
				if chance := rng.IntN(4); chance > 0 {
					b.Bits = make([]uint64, (b.Span+63)/64)
					for i := range b.Span {
						if rng.IntN(100) < []int{0, 3, 50, 97}[chance] {
							b.Bits[i/64] |= 1 << (i % 64)
						}
					}
				}
				w.Block(b.Base, b.Span, b.Bits)
				at = b.Base + b.Span
				l.Live = append(l.Live, b)
			}
			w.EndLevel()
			want = append(want, l)
		}
		info := CheckpointInfo{Number: 9, Group: 1 << 40, Segment: 3, Offset: 12345, Clean: true}
		b := bytes.Clone(w.Finish(info))
		if n := CheckpointLength(b); n != int64(len(b)) {
			t.Fatalf("%d bytes, says %d", len(b), n)
		}
		c, err := ParseCheckpoint(append(b, make([]byte, 100)...))
		if err != nil || c.CheckpointInfo != info || !bytes.Equal(c.Kept, kept) || len(c.Levels) != len(want) {
			t.Fatalf("%+v, %v", c, err)
		}
		for i, l := range c.Levels {
			if l.Queue != want[i].Queue || l.Priority != want[i].Priority || l.Next != want[i].Next || l.Mark != want[i].Mark || len(l.Live) != len(want[i].Live) {
				t.Fatalf("level %+v, want %+v", l, want[i])
			}
			for k, g := range l.Live {
				if v := want[i].Live[k]; g.Base != v.Base || g.Span != v.Span || !slices.Equal(g.Bits, v.Bits) {
					t.Fatalf("block %d: %+v, want %+v", k, g, v)
				}
			}
		}
		b[rng.IntN(len(b))] ^= 1
		if _, err := ParseCheckpoint(b); err == nil {
			t.Fatal("a bit flipped, and it passed")
		}
	}
}

// groups returns a segment of n groups of two messages.
func groups(n int) (file []byte, at []int64) {
	file = AppendHeader(nil, testID)
	for number := range uint64(n) {
		start := int64(len(file))
		at = append(at, start)
		file = append(file, make([]byte, GroupBytes)...)
		for range 2 {
			content := AppendContent(nil, 1, 0, 1, 0, "", "key", nil)
			file = appendMessage(file, int64(len(file)), KindMessage, FlagPersistent, []Ref{{Queue: 1, Seq: number}}, content, bytes.Repeat([]byte{9}, int(number)*5))
			for len(file)%8 != 0 {
				file = append(file, 0)
			}
		}
		PutGroup(file[start:], testID, start, Group{Length: uint32(int64(len(file)) - start), Number: number + 1, Records: 2})
	}
	return file, at
}

func TestScan(t *testing.T) {
	file, at := groups(20)
	file = append(file, make([]byte, 5000)...)
	w := NewWindow(bytes.NewReader(file), int64(len(file)))
	offset := int64(HeaderBytes)
	for i := range at {
		g, ok := w.GroupAt(testID, offset)
		if !ok || g.Number != uint64(i+1) || g.Offset != at[i] || !w.Verify(testID, &g) {
			t.Fatalf("group %d: %+v, %v", i, g, ok)
		}
		offset = g.End()
	}
	if _, ok := w.GroupAt(testID, offset); ok {
		t.Fatal("a group behind the last one")
	}
	// Behind a bad header the next good one is found.
	file[at[5]+9] ^= 1
	w = NewWindow(bytes.NewReader(file), int64(len(file)))
	if g, ok := w.Search(testID, at[5], 0); !ok || g.Offset != at[6] {
		t.Fatalf("%+v, %v", g, ok)
	}
	if g, ok := w.Search(testID, at[5], 15); !ok || g.Number != 15 {
		t.Fatalf("%+v, %v", g, ok)
	}
	// A bad record does not hide the others of its group.
	file[at[8]+GroupBytes+20] ^= 1
	w = NewWindow(bytes.NewReader(file), int64(len(file)))
	g, _ := w.GroupAt(testID, at[8])
	good, bad := 0, 0
	w.Records(testID, &g, func(*Record, int64) bool { good++; return true }, func(int64, int64, error) { bad++ })
	if good != 1 || bad != 1 || w.Verify(testID, &g) {
		t.Fatalf("%d good, %d bad", good, bad)
	}
}

// sparseFile is a file whose blocks of zeros were never written, and that
// counts how much of it is read.
type sparseFile struct {
	b    []byte
	read int
}

func (f *sparseFile) ReadAt(b []byte, offset int64) (int, error) {
	n, err := bytes.NewReader(f.b).ReadAt(b, offset)
	f.read += n
	return n, err
}

func (f *sparseFile) NextData(offset int64) (from, to int64, err error) {
	const block = 512
	size := int64(len(f.b))
	hole := func(at int64) bool {
		return len(bytes.Trim(f.b[at:min(at+block, size)], "\x00")) == 0
	}
	from = min(offset, size)
	if from < size && hole(from&^(block-1)) {
		for from &^= block - 1; from < size && hole(from); {
			from += block
		}
	}
	from = min(from, size)
	for to = from; to < size && !hole(to&^(block-1)); {
		to = to&^(block-1) + block
	}
	return from, min(to, size), nil
}

// What was never written is not read, wherever groups lie behind it.
func TestSearchPassesOverHoles(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		file := make([]byte, 4<<20)
		copy(file, AppendHeader(nil, testID))
		var want []int64
		for range 3 {
			at := HeaderBytes + rng.Int64N((4<<20-HeaderBytes-GroupBytes)/8)*8
			PutGroup(file[at:], testID, at, Group{Length: GroupBytes, Number: 5, Records: 1})
			want = append(want, at)
		}
		slices.Sort(want)
		want = slices.Compact(want)
		f := &sparseFile{b: file}
		w := NewWindow(f, int64(len(file)))
		var got []int64
		for at := int64(HeaderBytes); ; {
			g, ok := w.Search(testID, at, 0)
			if !ok {
				break
			}
			got = append(got, g.Offset)
			at = g.End()
		}
		if !slices.Equal(got, want) {
			t.Fatalf("groups at %d, want %d", got, want)
		}
		if f.read > 16<<10 {
			t.Fatalf("%d bytes read", f.read)
		}
	}
}

// What was in a recycled file before is looked through, at every place.
func TestSearchLooksEverywhere(t *testing.T) {
	const size = 600 << 10
	stale := make([]byte, size)
	rng := rand.New(rand.NewPCG(5, 6))
	for i := range stale {
		stale[i] = byte(rng.Uint32())
	}
	for range 300 {
		at := HeaderBytes + rng.Int64N((size-HeaderBytes-GroupBytes)/8)*8
		kept := bytes.Clone(stale[at : at+GroupBytes])
		PutGroup(stale[at:], testID, at, Group{Length: GroupBytes, Number: 5, Records: 1})
		w := NewWindow(bytes.NewReader(stale), size)
		if g, ok := w.Search(testID, HeaderBytes, 5); !ok || g.Offset != at {
			t.Fatalf("found %v at %d, want %d", ok, g.Offset, at)
		}
		copy(stale[at:], kept)
	}
}

// Whatever is damaged of a record, its header too, the others of its group are
// read, and one call of bad tells what is not.
func TestDamagedHeader(t *testing.T) {
	const records = 5
	file := AppendHeader(nil, testID)
	start := int64(len(file))
	file = append(file, make([]byte, GroupBytes)...)
	var at []int64
	for i := range uint64(records) {
		at = append(at, int64(len(file)))
		content := AppendContent(nil, 1, 0, 1, 0, "", "key", nil)
		// A body of what might be headers of long records.
		body := bytes.Repeat(binary.LittleEndian.AppendUint64(nil, 1<<8|200<<32), 500)
		file = appendMessage(file, int64(len(file)), KindMessage, FlagPersistent, []Ref{{Queue: 1, Seq: i}}, content, body)
		for len(file)%8 != 0 {
			file = append(file, 0)
		}
	}
	PutGroup(file[start:], testID, start, Group{Length: uint32(int64(len(file)) - start), Number: 1, Records: records})
	at = append(at, int64(len(file)))
	rng := rand.New(rand.NewPCG(7, 8))
	for n := range 400 {
		i := rng.IntN(records)
		b := bytes.Clone(file)
		b[at[i]+rng.Int64N(RecordBytes)] ^= byte(1 + rng.IntN(255))
		w := NewWindow(bytes.NewReader(b), int64(len(b)))
		g, ok := w.GroupAt(testID, start)
		if !ok {
			t.Fatal("no group")
		}
		var got []int64
		var bad [][2]int64
		w.Records(testID, &g, func(_ *Record, offset int64) bool { got = append(got, offset); return true },
			func(offset, length int64, _ error) { bad = append(bad, [2]int64{offset, length}) })
		want := slices.Delete(slices.Clone(at[:records]), i, i+1)
		if !slices.Equal(got, want) || len(bad) != 1 || bad[0] != [2]int64{at[i], at[i+1] - at[i]} || w.Verify(testID, &g) {
			t.Fatalf("%d: good at %d, want %d; bad: %d", n, got, want, bad)
		}
	}
}
