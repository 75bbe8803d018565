package netx

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const patience = 20 * time.Second

// tcpPair returns both ends of a TCP connection over loopback.
func tcpPair(tb testing.TB) (ours, peer *net.TCPConn) {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	s, err := ln.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close(); s.Close() })
	return s.(*net.TCPConn), c.(*net.TCPConn)
}

// narrow makes the socket take very little at a time. (With a small receive
// buffer too, the kernel's delayed acknowledgements make it a crawl.)
func narrow(tb testing.TB, ours *net.TCPConn) {
	tb.Helper()
	if err := ours.SetWriteBuffer(1); err != nil {
		tb.Fatal(err)
	}
}

// conns runs f over each kind of connection that Out distinguishes.
func conns(t *testing.T, f func(t *testing.T, ours, peer net.Conn)) {
	t.Run("tcp", func(t *testing.T) {
		ours, peer := tcpPair(t)
		f(t, ours, peer)
	})
	t.Run("narrow", func(t *testing.T) {
		ours, peer := tcpPair(t)
		narrow(t, ours)
		f(t, ours, peer)
	})
	t.Run("tls", func(t *testing.T) {
		ours, peer := tlsPair(t)
		f(t, ours, peer)
	})
	t.Run("pipe", func(t *testing.T) {
		ours, peer := net.Pipe()
		t.Cleanup(func() { ours.Close(); peer.Close() })
		f(t, ours, peer)
	})
}

// put appends p and flushes if that is our duty.
func put(o *Out, p []byte) {
	o.Lock()
	o.B = append(o.B, p...)
	if o.Unlock() {
		o.Flush()
	}
}

// expect reads exactly want.
func expect(t *testing.T, c net.Conn, want []byte) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(patience))
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil {
		t.Fatalf("after %d of %d bytes: %v", n, len(want), err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("bytes differ: got %.40q, want %.40q", got, want)
	}
}

// await returns when cond holds.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("waited too long until %s", what)
		}
	}
}

func pattern(n int, seed byte) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i*7) ^ byte(i>>8) ^ seed
	}
	return p
}

func TestOnlyTheFirstAppenderHasToFlush(t *testing.T) {
	ours, peer := tcpPair(t)
	o := NewOut(ours, OutOptions{})
	appendOne := func(s string) bool {
		o.Lock()
		o.B = append(o.B, s...)
		return o.Unlock()
	}
	if !appendOne("a") {
		t.Error("first append: no duty to flush")
	}
	if appendOne("b") {
		t.Error("second append: a second duty")
	}
	o.Lock()
	if o.Unlock() {
		t.Error("duty without bytes appended")
	}
	o.Flush()
	expect(t, peer, []byte("ab"))
	if o.Pending() != 0 || o.Written() != 2 {
		t.Errorf("pending %d, written %d", o.Pending(), o.Written())
	}
	if !appendOne("c") {
		t.Error("append after a flush: no duty")
	}
}

func TestIdleHoldsNoBuffer(t *testing.T) {
	conns(t, func(t *testing.T, ours, peer net.Conn) {
		o := NewOut(ours, OutOptions{})
		go put(o, pattern(100_000, 1))
		expect(t, peer, pattern(100_000, 1))
		o.Wait()
		o.Lock()
		o.Unlock()
		if o.B != nil || o.w.buf != nil || o.mu.refs != nil {
			t.Error("a dry Out holds a buffer")
		}
	})
}

func TestReferencesKeepTheirPlace(t *testing.T) {
	conns(t, func(t *testing.T, ours, peer net.Conn) {
		o := NewOut(ours, OutOptions{})
		var want []byte
		o.Lock()
		for i := range 40 {
			head := fmt.Appendf(nil, "<head %d>", i)
			body := pattern([]int{0, 100, 16 << 10, 70_000, 300_000}[i%5], byte(i))
			if i%3 > 0 { // Sometimes two references with nothing between.
				o.B = append(o.B, head...)
				want = append(want, head...)
			}
			o.AppendRef(body)
			want = append(want, body...)
		}
		if got := o.pendingLocked(); got != len(want) {
			t.Errorf("pending %d, want %d", got, len(want))
		}
		if o.Unlock() {
			o.Flush()
		}
		expect(t, peer, want)
		o.Wait()
		if o.Written() != int64(len(want)) || o.Pending() != 0 {
			t.Errorf("written %d, pending %d", o.Written(), o.Pending())
		}
	})
}

// TestStress has many goroutines append numbered records at random, some by
// reference, some through Kick and the hook, against a reader of changing
// speed, and checks each stream's content and order.
func TestStress(t *testing.T) {
	conns(t, func(t *testing.T, ours, peer net.Conn) {
		const writers = 6
		records := 1500
		if testing.Short() {
			records = 300
		}
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		o := NewOut(ours, OutOptions{Limit: 64 << 10, OnError: func(err error) { t.Error(err) }})

		// Writer number `writers` is the hook, which encodes what was marked.
		var marks atomic.Int64
		var hooked uint32
		o.SetBeforeWrite(func() {
			for range marks.Swap(0) {
				o.B = appendRecord(o.B, writers, hooked, nil)
				hooked++
			}
		})

		var wg sync.WaitGroup
		for id := range writers {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(seed, uint64(id)))
				wake := make(waker, 1)
				for i := range records {
					for !o.Room(wake) {
						<-wake
					}
					body := pattern(rnd.IntN(200), byte(i))
					if rnd.IntN(100) == 0 {
						body = pattern(16<<10+rnd.IntN(100_000), byte(i))
					}
					o.Lock()
					o.B = appendHead(o.B, id, uint32(i), body)
					if rnd.IntN(2) == 0 {
						o.AppendRef(body)
					} else {
						o.B = append(o.B, body...)
					}
					duty := o.Unlock()
					if rnd.IntN(4) == 0 {
						runtime.Gosched() // Somebody else may flush it now.
					}
					if duty {
						o.Flush()
					}
					if rnd.IntN(3) == 0 {
						marks.Add(1)
						if rnd.IntN(2) == 0 {
							o.Kick()
						} else {
							o.Flush()
						}
					}
				}
			})
		}
		finished := make(chan struct{})
		go func() {
			wg.Wait()
			o.Wait() // The hook runs no more once closing.
			if err := o.CloseAfterFlush(patience); err != nil {
				t.Errorf("close: %v", err)
			}
			close(finished)
		}()

		next := make([]uint32, writers+1)
		rnd := rand.New(rand.NewPCG(seed, 99))
		peer.SetReadDeadline(time.Now().Add(6 * patience))
		r := &fitfulReader{c: peer, rnd: rnd}
		for {
			id, n, body, err := readRecord(r)
			if err != nil {
				break
			}
			if n != next[id] {
				t.Fatalf("writer %d: record %d, want %d", id, n, next[id])
			}
			next[id]++
			_ = body
		}
		peer.Close()
		<-finished
		for id := range writers {
			if next[id] != uint32(records) {
				t.Errorf("writer %d: %d records arrived, want %d", id, next[id], records)
			}
		}
		if next[writers] != hooked || marks.Load() != 0 {
			t.Errorf("hook: %d of %d records arrived, %d marks left", next[writers], hooked, marks.Load())
		}
	})
}

// waker is a Waker that fills a channel.
type waker chan struct{}

func (w waker) Wake() {
	select {
	case w <- struct{}{}:
	default:
	}
}

// Records of the stress test: writer, number, length, hash of the body, body.

func appendHead(b []byte, id int, n uint32, body []byte) []byte {
	b = append(b, byte(id))
	b = binary.BigEndian.AppendUint32(b, n)
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	sum := sha256.Sum256(body)
	return append(b, sum[:8]...)
}

func appendRecord(b []byte, id int, n uint32, body []byte) []byte {
	return append(appendHead(b, id, n, body), body...)
}

func readRecord(r io.Reader) (id int, n uint32, body []byte, err error) {
	var h [17]byte
	if _, err = io.ReadFull(r, h[:]); err != nil {
		return
	}
	body = make([]byte, binary.BigEndian.Uint32(h[5:]))
	if _, err = io.ReadFull(r, body); err != nil {
		return
	}
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:8], h[9:]) {
		err = errors.New("body damaged")
	}
	return int(h[0]), binary.BigEndian.Uint32(h[1:]), body, err
}

// fitfulReader reads a little or much at a time, and sometimes lets others run
// for a while first.
type fitfulReader struct {
	c    net.Conn
	rnd  *rand.Rand
	buf  [64 << 10]byte
	left []byte
}

func (r *fitfulReader) Read(p []byte) (int, error) {
	if len(r.left) == 0 {
		size := []int{100, 5000, len(r.buf)}[r.rnd.IntN(3)]
		for range r.rnd.IntN(4) * r.rnd.IntN(50) {
			runtime.Gosched()
		}
		n, err := r.c.Read(r.buf[:size])
		if err != nil {
			return 0, err
		}
		r.left = r.buf[:n]
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

func TestFlushNeverBlocks(t *testing.T) {
	conns(t, func(t *testing.T, ours, peer net.Conn) {
		o := NewOut(ours, OutOptions{})
		want := pattern(8<<20, 3)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for p := range slices.Chunk(want, 1<<20) {
				put(o, p)
			}
		}()
		select { // The peer reads nothing yet.
		case <-done:
		case <-time.After(patience):
			t.Fatal("Flush waits for the peer")
		}
		if o.Pending() == 0 {
			t.Fatal("8 MiB vanished into the socket: the test tests nothing")
		}
		expect(t, peer, want)
	})
}

func TestRoomIsGivenBackInTurn(t *testing.T) {
	ours, _ := tcpPair(t)
	o := NewOut(ours, OutOptions{Limit: 1000})
	var order []int
	greedy := make([]*greedyWaker, 4)
	for i := range greedy {
		greedy[i] = &greedyWaker{o: o, id: i, order: &order}
	}
	o.Lock()
	o.B = append(o.B, pattern(1000, 0)...)
	o.Unlock()
	for range 2 { // Registering twice counts once.
		for _, w := range greedy {
			if o.Room(w) {
				t.Fatal("room in a full buffer")
			}
		}
	}
	o.Flush()
	o.Wait()
	want := []int{0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3}
	if !slices.Equal(order, want) {
		t.Errorf("woken in the order %v, want %v", order, want)
	}
	if o.mu.waiting.len() != 0 || o.Pending() != 0 {
		t.Errorf("%d still waiting, %d bytes pending", o.mu.waiting.len(), o.Pending())
	}
}

// greedyWaker takes all the room there is, three times.
type greedyWaker struct {
	o     *Out
	id    int
	order *[]int
	turns int
}

func (w *greedyWaker) Wake() {
	*w.order = append(*w.order, w.id)
	if w.turns++; w.turns == 3 {
		return
	}
	for w.o.Room(w) {
		put(w.o, make([]byte, 400))
	}
}

// TestHookSeesEveryMark marks and kicks while the writer is about to go idle.
func TestHookSeesEveryMark(t *testing.T) {
	conns(t, func(t *testing.T, ours, peer net.Conn) {
		o := NewOut(ours, OutOptions{})
		var mark atomic.Bool
		o.SetBeforeWrite(func() {
			if mark.Swap(false) {
				o.B = append(o.B, 'c')
			}
		})
		b := make([]byte, 1)
		peer.SetReadDeadline(time.Now().Add(patience))
		for i := range 2000 {
			mark.Store(true)
			if i%2 == 0 {
				o.Kick()
			} else {
				o.Flush()
			}
			// The next mark comes as soon as this one's byte is out, which is
			// when its writer is going idle.
			if _, err := io.ReadFull(peer, b); err != nil {
				t.Fatalf("mark %d: %v", i, err)
			}
		}
	})
}

func TestWriteTimeout(t *testing.T) {
	conns(t, func(t *testing.T, ours, _ net.Conn) {
		failed := make(chan error, 2)
		o := NewOut(ours, OutOptions{WriteTimeout: 30 * time.Millisecond, OnError: func(err error) { failed <- err }})
		wake := make(waker, 1)
		put(o, pattern(16<<20, 1))
		if o.Room(wake) {
			t.Error("room behind 16 MiB")
		}
		select {
		case err := <-failed:
			if !errors.Is(err, errWriteStalled) {
				t.Errorf("error %v", err)
			}
		case <-time.After(patience):
			t.Fatal("no timeout")
		}
		<-wake
		o.Wait()
		if o.Room(wake) || o.Pending() != 0 {
			t.Error("room, or bytes, after the end")
		}
		put(o, []byte("more"))
		if o.Pending() != 0 {
			t.Error("bytes kept after the end")
		}
	})
}

func TestOldDeadlineDoesNotHitLaterFlushes(t *testing.T) {
	ours, peer := tcpPair(t)
	o := NewOut(ours, OutOptions{WriteTimeout: 50 * time.Millisecond, OnError: func(err error) { t.Error(err) }})
	o.Lock()
	o.B = append(o.B, 'x')
	o.Unlock()
	o.Kick() // Through the writer goroutine, which sets the deadline.
	o.Wait()
	<-time.After(60 * time.Millisecond)
	put(o, []byte("y"))
	expect(t, peer, []byte("xy"))
}

func TestPeerGoneIsToldOnce(t *testing.T) {
	ours, peer := tcpPair(t)
	var told atomic.Int64
	o := NewOut(ours, OutOptions{OnError: func(error) { told.Add(1) }})
	peer.SetLinger(0)
	peer.Close()
	await(t, "the reset arrives", func() bool { put(o, []byte("x")); return o.Err() != nil })
	put(o, []byte("x"))
	o.Kick()
	o.Wait()
	if told.Load() != 1 {
		t.Errorf("told %d times", told.Load())
	}
	if !errors.Is(o.Err(), syscall.ECONNRESET) && !errors.Is(o.Err(), syscall.EPIPE) {
		t.Errorf("error %v", o.Err())
	}
}
