package netx

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"
)

// TestReadUnitsInPlace parses units of all sizes where they lie.
func TestReadUnitsInPlace(t *testing.T) {
	conns(t, func(t *testing.T, ours, peer net.Conn) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		rnd := rand.New(rand.NewPCG(seed, 0))
		sizes := make([]int, 120)
		for i := range sizes {
			sizes[i] = rnd.IntN([]int{1, 200, 5000, 70_000, 600_000}[rnd.IntN(5)])
		}
		sizes[60] = 3 << 20
		go func() {
			var stream []byte
			for i, n := range sizes {
				stream = binary.BigEndian.AppendUint32(stream, uint32(n))
				stream = append(stream, pattern(n, byte(i))...)
			}
			for len(stream) > 0 { // In pieces that have nothing to do with units.
				n := min(len(stream), 1+rnd.IntN(100_000))
				if _, err := peer.Write(stream[:n]); err != nil {
					t.Error(err)
				}
				stream = stream[n:]
			}
			peer.Close()
		}()

		in := NewIn(ours)
		total, read := 0, 0
		for i := 0; i < len(sizes); {
			n, _, err := in.Read()
			if err != nil {
				t.Fatalf("unit %d of size %d: %v", i, sizes[i], err)
			}
			read += n
			for b := in.Bytes(); len(b) >= 4; b = in.Bytes() {
				n := 4 + int(binary.BigEndian.Uint32(b))
				if len(b) < n {
					in.Grow(n)
					break
				}
				if want := pattern(sizes[i], byte(i)); !bytes.Equal(b[4:n], want) {
					t.Fatalf("unit %d of size %d is damaged", i, sizes[i])
				}
				in.Discard(n)
				total += n
				i++
			}
		}
		if _, _, err := in.Read(); err != io.EOF {
			t.Errorf("at the end: %v, want EOF", err)
		}
		if in.buf != nil {
			t.Error("a buffer is held after the end")
		}
		if in.Received() != int64(total) || read != total {
			t.Errorf("received %d, read %d, want %d", in.Received(), read, total)
		}
	})
}

// parked reads until the reader would wait and calls f in that moment.
func parked(t *testing.T, in *In, f func()) {
	t.Helper()
	for again := true; again; {
		in.makeRoom()
		in.n, in.errno = 0, 0
		if err := in.raw.Read(func(fd uintptr) bool {
			again = in.readFD(fd)
			return true
		}); err != nil {
			t.Fatal(err)
		}
		if again {
			in.w += in.n
		}
	}
	f()
}

func TestParkedReaderHoldsNoBuffer(t *testing.T) {
	ours, peer := tcpPair(t)
	in := NewIn(ours)
	in.level = in.topLevel
	if _, err := peer.Write([]byte("abcdef")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := in.Read(); err != nil {
		t.Fatal(err)
	}
	in.Discard(2)
	parked(t, in, func() {
		if len(in.buf) != size4K || string(in.Bytes()) != "cdef" {
			t.Errorf("holds %d bytes for %q", len(in.buf), in.Bytes())
		}
	})
	in.Discard(4)
	parked(t, in, func() {
		if in.buf != nil {
			t.Errorf("holds %d bytes for nothing", len(in.buf))
		}
	})
}

func TestReadSizesFollowTheTraffic(t *testing.T) {
	ours, peer := tcpPair(t)
	in := NewIn(ours)
	go func() {
		peer.Write(make([]byte, 4<<20))
	}()
	for got := 0; got < 4<<20; {
		n, _, err := in.Read()
		if err != nil {
			t.Fatal(err)
		}
		got += n
		in.Discard(n)
	}
	if in.level == 0 {
		t.Error("still small reads after 4 MiB")
	}
	in.level = in.topLevel
	for range 2*smallRunDown + 1 {
		peer.Write([]byte("x"))
		if _, _, err := in.Read(); err != nil {
			t.Fatal(err)
		}
		in.Discard(1)
	}
	if in.level != 0 {
		t.Errorf("level %d after many small reads", in.level)
	}
}

func TestFullBufferNeedsGrow(t *testing.T) {
	ours, peer := tcpPair(t)
	in := NewIn(ours)
	go peer.Write(pattern(2<<20, 1))
	var err error
	for err == nil {
		_, _, err = in.Read()
	}
	if err != ErrBufferFull {
		t.Fatalf("error %v", err)
	}
	in.Grow(2 << 20)
	for len(in.Bytes()) < 2<<20 {
		if _, _, err := in.Read(); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(in.Bytes(), pattern(2<<20, 1)) {
		t.Error("damaged")
	}
	in.Discard(2 << 20)
	parked(t, in, func() {
		if in.buf != nil {
			t.Errorf("%d bytes kept", len(in.buf))
		}
	})
}

// TestCarriedOutputIsFlushedBeforeParking is the trap of the read that fills
// the buffer exactly and is the last.
func TestCarriedOutputIsFlushedBeforeParking(t *testing.T) {
	conns(t, func(t *testing.T, ours, peer net.Conn) {
		in, out := NewIn(ours), NewOut(ours, OutOptions{})
		in.SetBeforePark(out.Flush)
		ended := make(chan error, 1)
		go func() {
			for {
				n, full, err := in.Read()
				if err != nil {
					ended <- err
					return
				}
				out.Lock()
				out.B = append(out.B, in.Bytes()...)
				out.Unlock()
				in.Discard(n)
				if !full {
					out.Flush()
				}
			}
		}()
		for i, n := range []int{1, size4K, size64K, size16K, 1, size4K, 3 * size64K, size4K + 1} {
			want := pattern(n, byte(i))
			go peer.Write(want)
			expect(t, peer, want)
		}
		peer.Close()
		if err := <-ended; !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Error(err)
		}
	})
}

func TestBeforeParkMayCloseTheConnection(t *testing.T) {
	ours, peer := tcpPair(t)
	in := NewIn(ours)
	in.SetBeforePark(func() { closeNow(ours) })
	if _, err := peer.Write(make([]byte, size4K)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		for {
			n, _, err := in.Read()
			if err != nil {
				done <- err
				return
			}
			in.Discard(n)
			in.full = true // However the bytes came.
		}
	}()
	select {
	case err := <-done:
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("error %v", err)
		}
	case <-time.After(patience):
		t.Fatal("Close and Read wait for each other")
	}
}

func TestReadEnds(t *testing.T) {
	conns(t, func(t *testing.T, ours, peer net.Conn) {
		in := NewIn(ours)
		ours.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
		if _, _, err := in.Read(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after a deadline: %v", err)
		}
		ours.SetReadDeadline(time.Time{})
		go peer.Write([]byte("on"))
		if n, _, err := in.Read(); n == 0 || err != nil {
			t.Errorf("after the deadline was lifted: %d, %v", n, err)
		}
		in.Discard(len(in.Bytes()))
		done := make(chan error, 1)
		go func() {
			for {
				n, _, err := in.Read()
				if err != nil {
					done <- err
					return
				}
				in.Discard(n)
			}
		}()
		closeNow(ours)
		select {
		case err := <-done:
			if !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("after a close: %v", err)
			}
		case <-time.After(patience):
			t.Error("a close does not end Read")
		}
	})
}
