//go:build !race

package netx

import (
	"io"
	"net"
	"runtime"
	"testing"
	"time"
)

func TestAppendAndFlushAllocateNothing(t *testing.T) {
	body := pattern(64<<10, 1)
	marked := false
	for name, step := range map[string]func(o *Out){
		"128 bytes": func(o *Out) { o.B = append(o.B, body[:128]...) },
		"16 KiB":    func(o *Out) { o.Reserve(16 << 10); o.B = append(o.B, body[:16<<10]...) },
		"references": func(o *Out) {
			for range 3 {
				o.B = append(o.B, body[:20]...)
				o.AppendRef(body)
			}
		},
		"asked": func(o *Out) { o.B = append(o.B, body[:50]...); o.Asked(50) },
		"hook":  func(*Out) { marked = true },
	} {
		t.Run(name, func(t *testing.T) {
			ours, peer := tcpPair(t)
			go drain(peer)
			o := NewOut(ours, OutOptions{WriteTimeout: time.Minute})
			o.SetBeforeWrite(func() {
				if marked {
					marked = false
					o.B = append(o.B, 'c')
				}
			})
			defer o.Wait()
			wake := make(waker, 1)
			round := func() {
				for !o.Room(wake) {
					<-wake
				}
				o.Lock()
				step(o)
				o.Unlock()
				o.Flush()
			}
			for range 100 { // What grows grows now.
				round()
			}
			if n := testing.AllocsPerRun(2000, round); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}

func TestReadAllocatesNothing(t *testing.T) {
	ours, peer := tcpPair(t)
	in := NewIn(ours)
	msg := make([]byte, 100)
	if n := testing.AllocsPerRun(500, func() {
		if _, err := peer.Write(msg); err != nil {
			t.Fatal(err)
		}
		if _, _, err := in.Read(); err != nil {
			t.Fatal(err)
		}
		in.Discard(len(in.Bytes()))
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestIdleConnectionIsCheap holds heap and stack of connections that have seen
// traffic and are silent now: In, Out and the reader's goroutine.
func TestIdleConnectionIsCheap(t *testing.T) {
	const n, most = 300, 6 << 10
	type pair struct{ ours, peer *net.TCPConn }
	pairs := make([]pair, n)
	for i := range pairs {
		pairs[i].ours, pairs[i].peer = tcpPair(t)
	}
	echoed := make([]byte, 10_000)
	before := inUse()
	outs := make([]*Out, n)
	for i, p := range pairs {
		in, out := NewIn(p.ours), NewOut(p.ours, OutOptions{})
		outs[i] = out
		go func() {
			for {
				if _, _, err := in.Read(); err != nil {
					return
				}
				out.Lock()
				out.B = append(out.B, in.Bytes()...)
				out.Unlock()
				out.Flush()
				in.Discard(len(in.Bytes()))
			}
		}()
	}
	for _, p := range pairs {
		if _, err := p.peer.Write(echoed); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(p.peer, echoed); err != nil {
			t.Fatal(err)
		}
	}
	each := (int64(inUse()) - int64(before)) / n
	t.Logf("%d bytes for an idle connection", each)
	if each > most {
		t.Errorf("an idle connection takes %d bytes, more than %d", each, most)
	}
	runtime.KeepAlive(outs)
}

// inUse is the heap and the stacks after a collection that empties the pools.
func inUse() uint64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
