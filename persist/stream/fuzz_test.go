package stream

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"testing"

	"leveret/core"
)

var discard = slog.New(slog.DiscardHandler)

var testID = identity{queue: 7, first: 100, salt: 0x1122334455667788}

func testMessages() []core.StreamMessage {
	return []core.StreamMessage{
		{Offset: 100, Message: &core.Message{Exchange: "x", RoutingKey: "k", Form: core.FormAMQP091, Encoded: []byte{0, 0}, Body: []byte("one"), ArrivedMS: 5}},
		{Offset: 101, HasFilter: true, Filter: "f", Message: &core.Message{Exchange: "x", RoutingKey: "k2", Body: []byte("two"), ArrivedMS: 4, HasPriority: true, Priority: 9}},
		{Offset: 102, Message: &core.Message{Exchange: "y", RoutingKey: "k2", ArrivedMS: 7}},
	}
}

// FuzzMessages decodes the messages of a chunk whose checksum is right.
func FuzzMessages(f *testing.F) {
	s := &Stream{o: core.StreamOptions{FilterBytes: 16}}
	c := s.encode(testMessages(), 100)
	f.Add(s.buf[chunkBytes+int(c.filter):][:c.data], uint32(c.count))
	f.Fuzz(func(t *testing.T, data []byte, count uint32) {
		c := chunk{first: 100, baseMS: 5, count: count}
		ms, ok := appendDecoded(nil, &c, data)
		if !ok {
			if len(ms) != 0 {
				t.Fatalf("%d messages of what is none", len(ms))
			}
			return
		}
		if len(ms) != int(count) {
			t.Fatalf("%d messages, not %d", len(ms), count)
		}
		// What was decoded encodes to something that decodes to the same.
		var again []byte
		for i := range ms {
			var before *core.StreamMessage
			if i > 0 {
				before = &ms[i-1]
			}
			again = appendMessage(again, &ms[i], before, c.baseMS)
		}
		back, ok := appendDecoded(nil, &c, again)
		if !ok {
			t.Fatalf("%x became %x, which is nothing", data, again)
		}
		for i := range ms {
			a, b := &ms[i], &back[i]
			if a.Offset != b.Offset || a.Filter != b.Filter || a.HasFilter != b.HasFilter || a.Message.Exchange != b.Message.Exchange ||
				a.Message.RoutingKey != b.Message.RoutingKey || a.Message.ArrivedMS != b.Message.ArrivedMS || a.Message.Form != b.Message.Form ||
				!bytes.Equal(a.Message.Encoded, b.Message.Encoded) || !bytes.Equal(a.Message.Body, b.Message.Body) {
				t.Fatalf("%+v became %+v", a.Message, b.Message)
			}
		}
	})
}

// FuzzIndex decodes indexes whose checksum is right.
func FuzzIndex(f *testing.F) {
	x := index{next: 100, end: headerBytes}
	for i := range uint64(5) {
		x.add(&chunk{length: 100_000, first: 100 + 10*i, count: 10, baseMS: int64(i), lastMS: int64(2 * i), unfiltered: i%2 == 0}, []byte{byte(i), 2})
	}
	f.Add(appendIndex(nil, testID, &x)[32:])
	f.Fuzz(func(t *testing.T, rest []byte) {
		b := append(appendIndex(nil, testID, &index{})[:32], rest...)
		if len(b) >= indexBytes {
			binary.LittleEndian.PutUint32(b[68:], uint32(len(b)-indexBytes))
			binary.LittleEndian.PutUint32(b[76:], indexSum(b))
		}
		x, err := parseIndex(b, testID)
		if err != nil {
			return
		}
		for i := range x.blocks {
			end, next := x.bounds(i)
			if end <= x.blocks[i].at || next <= x.blocks[i].first {
				t.Fatalf("block %+v ends at %d, %d", x.blocks[i], end, next)
			}
			if x.blockOf(x.blocks[i].first) != i {
				t.Fatalf("block %d is not found by its first offset", i)
			}
		}
		if again, err := parseIndex(appendIndex(nil, testID, x), testID); err != nil || len(again.blocks) != len(x.blocks) {
			t.Fatalf("%+v became %+v: %v", x, again, err)
		}
	})
}

// memoryFile is a file to scan.
type memoryFile struct{ *bytes.Reader }

func (memoryFile) WriteAt([]byte, int64) (int, error)        { return 0, nil }
func (memoryFile) Write([]byte) (int, error)                 { return 0, nil }
func (memoryFile) Close() error                              { return nil }
func (memoryFile) Name() string                              { return "memory" }
func (f memoryFile) Size() (int64, error)                    { return f.Reader.Size(), nil }
func (memoryFile) Truncate(int64) error                      { return nil }
func (memoryFile) Sync() error                               { return nil }
func (memoryFile) Preallocate(int64, int64) error            { return nil }
func (f memoryFile) NextData(at int64) (int64, int64, error) { return at, f.Reader.Size(), nil }

// FuzzScan looks for chunks in rubbish: it ends, and what it finds is in the
// file.
func FuzzScan(f *testing.F) {
	s := &Stream{o: core.StreamOptions{FilterBytes: 16}}
	file := appendHeader(nil, testID)
	for range 3 {
		s.buf = s.buf[:0]
		c := s.encode(testMessages(), 100)
		c.first = 100 + uint64(len(file))
		c.put(s.buf, testID, int64(len(file)))
		file = append(file, s.buf...)
	}
	f.Add(file, uint16(0), false)
	f.Add(file, uint16(100), true)
	f.Fuzz(func(t *testing.T, file []byte, at uint16, last bool) {
		if n := int(at) &^ 7; n >= headerBytes && n+chunkBytes <= len(file) { // A header that passes.
			c := chunk{length: chunkBytes + 8, first: 100 + uint64(file[n]), synced: uint64(file[n+1]), count: 1 + uint32(file[n+2]), data: 8}
			if n+int(c.length) <= len(file) {
				c.put(file[n:], testID, int64(n))
			}
		}
		r, err := scan(memoryFile{bytes.NewReader(file)}, testID, int64(len(file)), last, true)
		if err != nil {
			t.Fatal(err)
		}
		if r.end > max(int64(len(file)), headerBytes) {
			t.Fatalf("ends at %d of %d", r.end, len(file))
		}
		st := &Stream{store: &Store{logger: discard}}
		st.store.mu.damage = map[string]struct{}{}
		if len(file) > headerBytes {
			st.decode(&segment{id: testID}, file[headerBytes:], headerBytes)
		}
		_, _ = parseHeader(file)
		_, _ = parseIndex(file, testID)
	})
}
