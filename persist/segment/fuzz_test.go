package segment

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"testing"
)

// The fuzzers put right checksums on what they are given, so that the decoders
// behind them are reached.

func FuzzRecord(f *testing.F) {
	content := AppendContent(nil, 123, 0, 1, 5, "exchange", "key", []byte("props"))
	f.Add(appendMessage(nil, 64, KindMessage, FlagTimed, []Ref{{1, 2, 3}}, content, []byte("body")))
	content = AppendContent(nil, 123, 7, 1, 5, "exchange", "key", []byte("props"))
	f.Add(appendMessage(nil, 64, KindMessage, FlagOrigin|FlagRetained, []Ref{{1, 2, 0}}, content, []byte("body")))
	f.Add(appendMessage(nil, 64, KindAck, 0, nil, AppendAck(nil, 1, []uint64{1, 2, 5}), nil))
	f.Add(appendMessage(nil, 64, KindPurge, 0, nil, AppendPurge(nil, 1, 0, 50, []uint64{1, 2, 5}), nil))
	f.Add(appendMessage(nil, 64, KindMark, 0, nil, AppendMark(nil, 1, 99), nil))
	f.Add(appendMessage(nil, 64, KindHold, 0, nil, AppendHold(nil, Hold{1, 2, 3<<56 | 4, 5}), nil))
	f.Add(appendMessage(nil, 64, KindReceive, 0, nil, AppendReceive(nil, Receive{1, 65535, Remembered}), nil))
	f.Add(appendMessage(nil, 64, KindDrop, 0, nil, AppendDrop(nil, 1), nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = bytes.Clone(b)
		if len(b) >= RecordBytes {
			binary.LittleEndian.PutUint32(b[4:], uint32(len(b)))
			SumRecord(b, nil, testID, 64)
		}
		r, err := ParseRecord(b, testID, 64)
		if err != nil {
			return
		}
		if r.IsMessage() {
			refs := make([]Ref, r.Refs)
			for i := range refs {
				refs[i] = r.Ref(i)
			}
			c, err := r.Content()
			if err != nil {
				return
			}
			content := AppendContent(nil, c.ArrivedMS, c.Origin, c.Form, c.Priority, string(c.Exchange), string(c.RoutingKey), c.Properties)
			if again := appendMessage(nil, 64, r.Kind, r.Flags, refs, content, c.Body); !bytes.Equal(again, b) {
				t.Fatalf("%x became %x", b, again)
			}
			return
		}
		check := func(ranges []Range) {
			end := uint64(0)
			for i, a := range ranges {
				if a.Len == 0 || a.From+a.Len < a.From || a.From < end || i > 0 && a.From == end {
					t.Fatalf("ranges %v", ranges)
				}
				end = a.From + a.Len
			}
		}
		changes := Changes{
			Ack:  func(_ uint32, ranges []Range) { check(ranges) },
			Mark: func(uint32, uint64) {},
			Purge: func(_ uint32, from, upTo uint64, survivors []Range) {
				check(survivors)
				if from > upTo {
					t.Fatalf("purge from %d to %d", from, upTo)
				}
			},
			Drop: func(uint32) {},
			Hold: func(h Hold) {
				var got Hold
				again := Changes{Hold: func(h Hold) { got = h }}
				if err := again.Apply(&Record{Kind: KindHold, Data: AppendHold(nil, h)}); err != nil || got != h {
					t.Fatalf("%+v became %+v, %v", h, got, err)
				}
			},
			Retry: func(r Retry) {
				var got Retry
				again := Changes{Retry: func(r Retry) { got = r }}
				if err := again.Apply(&Record{Kind: KindRetry, Data: AppendRetry(nil, r)}); err != nil || got != r {
					t.Fatalf("%+v became %+v, %v", r, got, err)
				}
			},
			Receive: func(r Receive) {
				var got Receive
				again := Changes{Receive: func(r Receive) { got = r }}
				if err := again.Apply(&Record{Kind: KindReceive, Data: AppendReceive(nil, r)}); err != nil || got != r {
					t.Fatalf("%+v became %+v, %v", r, got, err)
				}
			},
		}
		_ = changes.Apply(&r)
	})
}

func FuzzSidecar(f *testing.F) {
	var w SidecarWriter
	for n := range 20 {
		r := Ref{Queue: uint32(n % 3), Seq: uint64(n), ExpiresMS: int64(n)}
		w.Begin(int64(HeaderBytes+n*64), FlagPersistent|FlagTimed*uint8(n%2), 100, 1, r)
		w.Ref(r)
	}
	f.Add(w.Append(nil, SidecarInfo{Identity: testID})[sidecarHeader:])
	f.Fuzz(func(t *testing.T, payload []byte) {
		b := w.Append(nil, SidecarInfo{Identity: testID})[:sidecarHeader]
		b = append(b, payload...)
		binary.LittleEndian.PutUint32(b[56:], uint32(len(payload)))
		binary.LittleEndian.PutUint32(b[sidecarHeader-4:], sidecarSum(b))
		if _, err := ParseSidecar(b); err != nil {
			t.Fatal(err)
		}
		n := 0
		err := EachEntry(b, func(e *SidecarEntry) {
			n++
			if e.Offset < HeaderBytes {
				t.Fatalf("entry at %d", e.Offset)
			}
		})
		if n > len(payload) {
			t.Fatalf("%d entries in %d bytes, %v", n, len(payload), err)
		}
	})
}

// retriesOf decodes what a checkpoint says of messages that were given back.
func retriesOf(c *Checkpoint) (retries []Retry) {
	changes := Changes{Retry: func(r Retry) { retries = append(retries, r) }}
	changes.Apply(&c.Retries)
	return retries
}

// clientsOf decodes what a checkpoint says of clients.
func clientsOf(c *Checkpoint) (holds []Hold, received []Receive) {
	changes := Changes{
		Hold:    func(h Hold) { holds = append(holds, h) },
		Receive: func(r Receive) { received = append(received, r) },
	}
	changes.Apply(&c.Holds)
	changes.Apply(&c.Received)
	return holds, received
}

func FuzzCheckpoint(f *testing.F) {
	var w CheckpointWriter
	w.Begin(nil)
	w.Level(1, 2, 100, 50)
	w.Block(5, 10, nil)
	w.Block(20, 100, []uint64{1, 2})
	w.Block(200, 100, []uint64{0xaaaaaaaaaaaaaaaa, 0xaaaaaaaaaaaaaaaa})
	w.EndLevel()
	w.Clients([]Hold{{1, 2, 3, 4}, {5, 6, 7<<56 | 8, 1 << 33}}, []Receive{{9, 10, Remembered}})
	w.Retries([]Retry{{1, 2, 3, 4, 1 << 40}, {5, 6<<56 | 7, 8, 0, 0}})
	f.Add(bytes.Clone(w.Finish(CheckpointInfo{}))[checkpointHeader:])
	f.Fuzz(func(t *testing.T, content []byte) {
		var w CheckpointWriter
		w.Begin(nil)
		b := bytes.Clone(w.Finish(CheckpointInfo{Number: 1}))[:checkpointHeader]
		b = append(b, content...)
		binary.LittleEndian.PutUint64(b[48:], uint64(len(content)))
		binary.LittleEndian.PutUint32(b[76:], checkpointSum(b))
		c, err := ParseCheckpoint(b)
		if err != nil {
			return
		}
		// What was read is written again the same, in the same ranges.
		w.Begin(c.Kept)
		for _, l := range c.Levels {
			w.Level(l.Queue, l.Priority, l.Next, l.Mark)
			for _, block := range l.Live {
				w.Block(block.Base, block.Span, block.Bits)
			}
			w.EndLevel()
		}
		holds, received := clientsOf(c)
		w.Clients(holds, received)
		w.Retries(retriesOf(c))
		again, err := ParseCheckpoint(w.Finish(c.CheckpointInfo))
		if err != nil {
			t.Fatal(err)
		}
		holds2, received2 := clientsOf(again)
		if len(again.Levels) != len(c.Levels) || !slices.Equal(holds, holds2) || !slices.Equal(received, received2) || !slices.Equal(retriesOf(c), retriesOf(again)) {
			t.Fatalf("%+v became %+v: %v", c, again, err)
		}
	})
}

// FuzzScan looks for groups in rubbish.
func FuzzScan(f *testing.F) {
	file, _ := groups(5)
	f.Add(file, uint16(40))
	f.Add(file[100:], uint16(8))
	f.Fuzz(func(t *testing.T, file []byte, at uint16) {
		if n := int(at) &^ 7; n+GroupBytes <= len(file) { // A header that passes.
			length := binary.LittleEndian.Uint32(file[n+4:]) &^ 7
			PutGroup(file[n:], testID, int64(n), Group{Length: length, Number: 5, Records: 1})
			if n+GroupBytes+RecordBytes <= len(file) {
				r := file[n+GroupBytes:]
				if l := RecordLength(r); l >= RecordBytes && l <= int64(len(r)) {
					SumRecord(r[:l], nil, testID, int64(n+GroupBytes))
				}
			}
		}
		w := NewWindow(bytes.NewReader(file), int64(len(file)))
		for offset := int64(0); ; {
			g, ok := w.Search(testID, offset, 0)
			if !ok {
				return
			}
			if g.End() > int64(len(file)) || g.Offset < offset {
				t.Fatalf("group %+v in %d bytes", g, len(file))
			}
			w.Records(testID, &g, func(r *Record, offset int64) bool {
				if offset+int64(len(r.Data)) > g.End() {
					t.Fatalf("record at %d behind the end of its group", offset)
				}
				return true
			}, nil)
			offset = g.Offset + 8
		}
	})
}

// FuzzHeaders has no checksum put right: nothing that is not ours passes.
func FuzzHeaders(f *testing.F) {
	f.Add(AppendHeader(nil, testID))
	f.Fuzz(func(t *testing.T, b []byte) {
		if id, err := ParseHeader(b); err == nil && !bytes.Equal(AppendHeader(nil, id), b[:HeaderBytes]) &&
			crc32.Checksum(b[:28], castagnoli) != binary.LittleEndian.Uint32(b[28:]) {
			t.Fatalf("%x passed", b)
		}
		_, _ = ParseSidecar(b)
		_, _ = ParseCheckpoint(b)
		_, _ = ParseGroup(b, testID, 0)
		_, _ = ParseRecord(b, testID, 0)
	})
}
