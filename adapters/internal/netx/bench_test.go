package netx

import (
	"fmt"
	"net"
	"testing"
)

// drain reads and forgets what comes from c.
func drain(c net.Conn) {
	b := make([]byte, 256<<10)
	for {
		if _, err := c.Read(b); err != nil {
			return
		}
	}
}

func BenchmarkOut(b *testing.B) {
	body := pattern(64<<10, 1)
	for _, bench := range []struct {
		name string
		size int
		step func(o *Out)
	}{
		{"flush/128", 128, func(o *Out) { o.B = append(o.B, body[:128]...) }},
		{"flush/16384", 16 << 10, func(o *Out) { o.B = append(o.B, body[:16<<10]...) }},
		{"flush/65536", 64 << 10, func(o *Out) { o.B = append(o.B, body...) }},
		{"flush/ref=65536", 64<<10 + 20, func(o *Out) { o.B = append(o.B, body[:20]...); o.AppendRef(body) }},
		{"flush/ref=16384x4", 64<<10 + 80, func(o *Out) {
			for range 4 {
				o.B = append(o.B, body[:20]...)
				o.AppendRef(body[:16<<10])
			}
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			ours, peer := tcpPair(b)
			go drain(peer)
			o := NewOut(ours, OutOptions{})
			wake := make(waker, 1)
			b.ReportAllocs()
			b.SetBytes(int64(bench.size))
			for b.Loop() {
				for !o.Room(wake) {
					<-wake
				}
				o.Lock()
				bench.step(o)
				if o.Unlock() {
					o.Flush()
				}
			}
			o.Wait()
		})
	}
	b.Run("append/128", func(b *testing.B) { // Without the system call.
		ours, _ := tcpPair(b)
		o := NewOut(ours, OutOptions{})
		b.ReportAllocs()
		for b.Loop() {
			o.Lock()
			o.B = append(o.B[:0], body[:128]...)
			o.Unlock()
		}
		o.Abort(nil)
	})
	b.Run("lock/empty", func(b *testing.B) { // Acks: nothing is appended.
		ours, _ := tcpPair(b)
		o := NewOut(ours, OutOptions{})
		for b.Loop() {
			o.Lock()
			o.Unlock()
		}
	})
}

// BenchmarkPingPong is a message there and back, each side with In and Out.
func BenchmarkPingPong(b *testing.B) {
	for _, size := range []int{128, 16 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			ours, peer := tcpPair(b)
			go func() {
				in, out := NewIn(ours), NewOut(ours, OutOptions{})
				for {
					if _, _, err := in.Read(); err != nil {
						return
					}
					put(out, in.Bytes())
					in.Discard(len(in.Bytes()))
				}
			}()
			in, out := NewIn(peer), NewOut(peer, OutOptions{})
			msg := make([]byte, size)
			b.ReportAllocs()
			for b.Loop() {
				put(out, msg)
				for got := 0; got < size; {
					n, _, err := in.Read()
					if err != nil {
						b.Fatal(err)
					}
					in.Discard(n)
					got += n
				}
			}
		})
	}
}
