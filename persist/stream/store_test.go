package stream_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"leveret/core"
	"leveret/persist/stream"
	"leveret/persist/vfs"
	"leveret/persist/vfs/faultfs"
)

func open(t testing.TB, fs vfs.FS, logger *slog.Logger) *stream.Store {
	t.Helper()
	st, err := stream.Open(fs, "/streams", logger)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func openStream(t testing.TB, st *stream.Store, segmentBytes int64) core.StreamLog {
	t.Helper()
	s, err := st.OpenStream(7, core.StreamOptions{SegmentBytes: segmentBytes, FilterBytes: 16})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// messages returns n messages from offset first on, which arrived at their
// offsets.
func messages(first uint64, n int) []core.StreamMessage {
	ms := make([]core.StreamMessage, n)
	for i := range ms {
		offset := first + uint64(i)
		m := &core.Message{
			Exchange: "amq.topic", RoutingKey: fmt.Sprintf("key.%d", offset/3), Form: core.FormAMQP091, Encoded: []byte{0, byte(offset)},
			Body: fmt.Appendf(nil, "body of %d %s", offset, strings.Repeat("b", int(offset%100))), ArrivedMS: int64(offset), Persistent: true,
		}
		if offset%5 == 0 {
			m.HasPriority, m.Priority = true, uint8(offset)
		}
		ms[i] = core.StreamMessage{Offset: offset, Message: m}
		if offset%10 != 9 {
			ms[i].HasFilter, ms[i].Filter = true, fmt.Sprintf("value %d", offset/1000)
		}
	}
	return ms
}

// holds checks that s has exactly want, from their first offset on.
func holds(t testing.TB, s core.StreamLog, want []core.StreamMessage, filter *core.StreamFilter) (blocks int) {
	t.Helper()
	offset := uint64(0)
	for {
		b, next, err := s.Read(offset, filter)
		if err != nil {
			t.Fatal(err)
		}
		if b == nil {
			break
		}
		if b.Next <= offset || b.First > b.Messages[0].Offset || next != b.Next {
			t.Fatalf("asked for offset %d: block of [%d, %d), then %d", offset, b.First, b.Next, next)
		}
		blocks++
		for i := range b.Messages {
			got := &b.Messages[i]
			if !filter.Wants(got) || got.Offset < offset {
				continue
			}
			if len(want) == 0 {
				t.Fatalf("offset %d is too much", got.Offset)
			}
			w := &want[0]
			want = want[1:]
			g, m := got.Message, w.Message
			if got.Offset != w.Offset || got.Filter != w.Filter || got.HasFilter != w.HasFilter || g.Exchange != m.Exchange || g.RoutingKey != m.RoutingKey ||
				g.Form != m.Form || !bytes.Equal(g.Encoded, m.Encoded) || !bytes.Equal(g.Body, m.Body) || g.ArrivedMS != m.ArrivedMS ||
				g.Priority != m.Priority || g.HasPriority != m.HasPriority || !g.Persistent {
				t.Fatalf("got offset %d, %+v\nwant offset %d, %+v", got.Offset, g, w.Offset, m)
			}
		}
		offset = b.Next
	}
	if len(want) != 0 {
		t.Fatalf("%d messages from offset %d on are missing", len(want), want[0].Offset)
	}
	return blocks
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestStreamIsAsItWas: what is appended in any portions comes back, now and
// after opening it again, with the indexes of its segments and without.
func TestStreamIsAsItWas(t *testing.T) {
	fs := faultfs.New(faultfs.Options{})
	st := open(t, fs, quiet)
	s := openStream(t, st, 20_000)
	all := messages(3, 5000)
	// A hole: publishers died with numbers that nobody ever saw.
	all = slices.Delete(all, 1200, 1210)
	rng := rand.New(rand.NewPCG(1, 2))
	for rest := all; len(rest) > 0; {
		n := min(len(rest), 1+rng.IntN(400))
		must(t, s.Append(rest[:n]))
		rest = rest[n:]
	}
	must(t, s.Append(all[len(all)-5:])) // They are there already.
	check := func(s core.StreamLog) {
		t.Helper()
		holds(t, s, all, nil)
		if b := s.Bounds(); b.First != 3 || b.Next != 5003 || b.Segments < 10 {
			t.Fatalf("bounds %+v", b)
		}
		for _, ms := range []int64{0, 3, 4, 999, 1205, 2500, 5002, 5003, 1 << 50} {
			offset, err := s.Since(ms)
			must(t, err)
			if int64(offset) > max(ms, 3) && ms < 5003 || ms >= 5003 && offset != 5003 {
				t.Errorf("since %d is offset %d", ms, offset)
			}
		}
	}
	check(s)
	must(t, st.Close())
	if _, _, err := s.Read(3, nil); !errors.Is(err, stream.ErrClosed) {
		t.Errorf("reading a closed stream: %v", err)
	}
	st = open(t, fs, quiet)
	check(openStream(t, st, 20_000))
	must(t, st.Close())
	names, err := fs.ReadDir("/streams")
	must(t, err)
	for _, name := range names {
		if strings.HasSuffix(name, ".stx") {
			must(t, fs.Remove("/streams/"+name))
		}
	}
	st = open(t, fs, quiet)
	check(openStream(t, st, 20_000))
	must(t, st.Close())
	reports, err := stream.Check(fs, "/streams")
	must(t, err)
	if len(reports) != 1 || reports[0].Messages != int64(len(all)) || reports[0].First != 3 || reports[0].Next != 5003 || len(reports[0].Damage) != 0 {
		t.Fatalf("reports %+v", reports)
	}
	var dump bytes.Buffer
	must(t, stream.Dump(fs, "/streams", &dump))
	if !strings.Contains(dump.String(), `4000: exchange "amq.topic" key "key.1333" arrived 4000 filter "value 4", 2 bytes of properties`) {
		t.Errorf("dump:\n%s", dump.String()[:2000])
	}
}

// TestFilter: a reader with a filter gets what it wants and does not read the
// rest.
func TestFilter(t *testing.T) {
	fs := faultfs.New(faultfs.Options{})
	st := open(t, fs, quiet)
	s := openStream(t, st, 1<<20)
	all := messages(0, 20_000)
	for i := 0; i < len(all); i += 500 {
		must(t, s.Append(all[i:i+500]))
	}
	for _, f := range []*core.StreamFilter{
		{Values: []string{"value 3"}}, {Values: []string{"value 3", "value 17"}}, {Values: []string{"value 5"}, Unfiltered: true}, {Values: []string{"none"}},
	} {
		var want []core.StreamMessage
		for i := range all {
			if f.Wants(&all[i]) {
				want = append(want, all[i])
			}
		}
		blocks := holds(t, s, want, f)
		if whole := holds(t, s, all, nil); !f.Unfiltered && blocks > whole/2 {
			t.Errorf("%v: %d blocks of %d were read", f, blocks, whole)
		}
	}
	must(t, st.Close())
}

// TestRetain: whole segments go from the front, never the last one, and no
// offset comes back.
func TestRetain(t *testing.T) {
	fs := faultfs.New(faultfs.Options{})
	st := open(t, fs, quiet)
	s := openStream(t, st, 10_000)
	all := messages(0, 3000)
	for i := 0; i < len(all); i += 50 {
		must(t, s.Append(all[i:i+50]))
	}
	before := s.Bounds()
	must(t, s.Retain(before.Bytes/2, 0))
	b := s.Bounds()
	if b.Bytes > before.Bytes/2 || b.Bytes < before.Bytes/2-20_000 || b.First == 0 {
		t.Fatalf("%+v became %+v", before, b)
	}
	holds(t, s, all[b.First:], nil)
	must(t, s.Retain(0, 2500))
	if b = s.Bounds(); b.First < 2300 || b.First > 2500 {
		t.Fatalf("%+v", b)
	}
	holds(t, s, all[b.First:], nil)
	must(t, s.Retain(1, 0))
	if b = s.Bounds(); b.Segments != 1 || b.First == b.Next {
		t.Fatalf("%+v", b)
	}
	// Everything is too old.
	must(t, s.Retain(0, 1<<40))
	if b = s.Bounds(); b.First != 3000 || b.Next != 3000 {
		t.Fatalf("%+v", b)
	}
	must(t, st.Close())
	st = open(t, fs, quiet)
	s = openStream(t, st, 10_000)
	if b = s.Bounds(); b.Next != 3000 {
		t.Fatalf("%+v", b)
	}
	more := messages(3000, 10)
	must(t, s.Append(more))
	holds(t, s, more, nil)
	must(t, s.Delete())
	if names, err := fs.ReadDir("/streams"); err != nil || len(names) != 0 {
		t.Errorf("left after delete: %v %v", names, err)
	}
}

// TestForget: what belongs to no queue goes.
func TestForget(t *testing.T) {
	fs := faultfs.New(faultfs.Options{})
	st := open(t, fs, quiet)
	must(t, openStream(t, st, 1000).Append(messages(0, 100)))
	must(t, st.Close())
	st = open(t, fs, quiet)
	must(t, st.Forget(func(core.QueueID) bool { return false }))
	if names, err := fs.ReadDir("/streams"); err != nil || len(names) != 0 {
		t.Errorf("left: %v %v", names, err)
	}
}

// TestFullDisk: nothing is lost or there twice when the disk is full for a
// while, whatever was written by then.
func TestFullDisk(t *testing.T) {
	for size := int64(200); size < 12_000; size += 397 {
		fs := faultfs.New(faultfs.Options{})
		st := open(t, fs, quiet)
		s := openStream(t, st, 4000)
		fs.SetSize(size)
		all := messages(0, 200)
		full := false
		for i := 0; i < len(all); i += 20 {
			err := s.Append(all[i : i+20])
			if err != nil {
				full = true
				if !errors.Is(err, core.ErrStreamFull) {
					t.Fatalf("disk of %d bytes: %v", size, err)
				}
				fs.SetSize(0)
				must(t, s.Append(all[i:i+20]))
			}
		}
		if !full && size < 8000 {
			t.Errorf("a disk of %d bytes was large enough", size)
		}
		holds(t, s, all, nil)
		must(t, st.Close())
		st = open(t, fs, quiet)
		holds(t, openStream(t, st, 4000), all, nil)
		must(t, st.Close())
	}
}

// TestFailedSync: after a sync that failed nothing more is written.
func TestFailedSync(t *testing.T) {
	disk := faultfs.New(faultfs.Options{})
	fs := faultfs.Inject(disk)
	st := open(t, fs, quiet)
	s := openStream(t, st, 1<<20)
	all := messages(0, 30)
	must(t, s.Append(all[:10]))
	fs.Add(faultfs.Fault{Op: faultfs.OpSync, Err: syscall.EIO})
	for range 2 {
		if err := s.Append(all[10:20]); !errors.Is(err, stream.ErrFailed) || errors.Is(err, core.ErrStreamFull) {
			t.Fatalf("append: %v", err)
		}
		fs.Clear()
	}
	holds(t, s, all[:10], nil)
	must(t, st.Close())
}

// TestDamage: a flipped bit costs the messages of its chunk, is reported, and
// nothing else is lost.
func TestDamage(t *testing.T) {
	disk := faultfs.New(faultfs.Options{})
	st := open(t, disk, quiet)
	s := openStream(t, st, 8000)
	all := messages(0, 1000)
	for i := 0; i < len(all); i += 20 {
		must(t, s.Append(all[i:i+20]))
	}
	must(t, st.Close())
	names, err := disk.ReadDir("/streams")
	must(t, err)
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		fs := disk.KillAt(disk.Ops())
		name := "/streams/" + names[rng.IntN(len(names))]
		f, err := fs.OpenFile(name, os.O_RDWR, 0)
		must(t, err)
		size, err := f.Size()
		must(t, err)
		// The very end may have been cut off by a crash: nothing can tell.
		at := rng.Int64N(size)
		b := make([]byte, 1)
		f.ReadAt(b, at)
		b[0] ^= 1 << rng.IntN(8)
		_, err = f.WriteAt(b, at)
		must(t, err)
		must(t, f.Close())

		var logged bytes.Buffer
		st := open(t, fs, slog.New(slog.NewTextHandler(&logged, nil)))
		s := openStream(t, st, 8000)
		got := make(map[uint64]bool)
		for offset := uint64(0); ; {
			b, _, err := s.Read(offset, nil)
			must(t, err)
			if b == nil {
				break
			}
			for _, m := range b.Messages {
				if !bytes.Equal(m.Message.Body, all[m.Offset].Message.Body) {
					t.Fatalf("%s, byte %d: offset %d is %q", name, at, m.Offset, m.Message.Body)
				}
				got[m.Offset] = true
			}
			offset = b.Next
		}
		lost := 1000 - len(got)
		header := at < 64 && strings.HasSuffix(name, ".str")
		if lost > 20 && !header {
			t.Errorf("%s, byte %d: %d messages are lost", name, at, lost)
		}
		if lost > 0 && logged.Len() == 0 {
			t.Errorf("%s, byte %d: %d messages are lost and nobody was told", name, at, lost)
		}
		// It takes messages all the same.
		next := s.Bounds().Next
		must(t, s.Append(messages(next, 5)))
		must(t, st.Close())
	}
}

// TestBackup: a copy taken from a stream in use is a stream, and what happens
// to the one leaves the other alone.
func TestBackup(t *testing.T) {
	fs := faultfs.New(faultfs.Options{})
	st := open(t, fs, quiet)
	s := openStream(t, st, 5000)
	all := messages(0, 600)
	must(t, s.Append(all[:300]))
	must(t, fs.MkdirAll("/copy", 0o700))
	must(t, st.Backup("/copy/streams"))
	must(t, s.Append(all[300:]))
	copied, err := stream.Open(fs, "/copy/streams", quiet)
	must(t, err)
	c := openStream(t, copied, 5000)
	holds(t, c, all[:300], nil)
	other := messages(300, 50)
	must(t, c.Append(other))
	must(t, c.Retain(1, 0))
	holds(t, s, all, nil)
	must(t, copied.Close())
	must(t, st.Close())
}
