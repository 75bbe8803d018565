package netx

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

func TestWaitAskedCountsOnlyWhatWasAskedFor(t *testing.T) {
	conns(t, func(t *testing.T, ours, peer net.Conn) {
		o := NewOut(ours, OutOptions{Limit: 1 << 30, AskedLimit: 1000})
		deliveries := pattern(6<<20, 1)
		o.Lock()
		o.B = append(o.B, pattern(900, 2)...)
		o.Asked(900)
		o.AppendRef(deliveries)
		o.Unlock()
		if err := o.WaitAsked(t.Context()); err != nil {
			t.Fatal(err) // It would have hung: nobody reads the deliveries.
		}
		o.Lock()
		o.B = append(o.B, pattern(5000, 3)...)
		o.Asked(5000)
		o.Unlock()
		done := make(chan error, 1)
		go func() { done <- o.WaitAsked(context.Background()) }()
		expect(t, peer, pattern(900, 2))
		select {
		case <-done:
			t.Error("no wait behind 5,000 bytes asked for")
		default:
		}
		expect(t, peer, deliveries)
		expect(t, peer, pattern(5000, 3))
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("still waiting with nothing pending")
		}
		o.Wait()
		if o.mu.asked.unsent != 0 {
			t.Errorf("%d bytes asked for remain on the books", o.mu.asked.unsent)
		}
	})
}

// TestAskedBeforeAHugeDeliveryIsForgottenOnceSent guards against a standstill:
// the client does not read a huge delivery because it wants to be read first.
func TestAskedBeforeAHugeDeliveryIsForgottenOnceSent(t *testing.T) {
	ours, peer := tcpPair(t)
	o := NewOut(ours, OutOptions{AskedLimit: 10_000})
	asked := pattern(20_000, 1)
	o.Lock()
	for i := 0; i < len(asked); i += 100 {
		o.B = append(o.B, asked[i:i+100]...)
		o.Asked(100)
	}
	o.AppendRef(make([]byte, 32<<20))
	o.Unlock()
	o.Flush()
	expect(t, peer, asked)
	done := make(chan error, 1)
	go func() { done <- o.WaitAsked(t.Context()) }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("waits for a delivery to be read")
	}
	o.Abort(nil)
	o.Wait()
}

func TestWaitAskedEnds(t *testing.T) {
	for name, end := range map[string]func(o *Out, cancel context.CancelCauseFunc, why error){
		"with its context": func(_ *Out, cancel context.CancelCauseFunc, why error) { cancel(why) },
		"with Abort":       func(o *Out, _ context.CancelCauseFunc, why error) { o.Abort(why) },
	} {
		t.Run(name, func(t *testing.T) {
			ours, _ := net.Pipe()
			o := NewOut(ours, OutOptions{AskedLimit: 10})
			o.Lock()
			o.B = append(o.B, make([]byte, 100)...)
			o.Asked(100)
			o.Unlock()
			ctx, cancel := context.WithCancelCause(t.Context())
			done := make(chan error, 1)
			go func() { done <- o.WaitAsked(ctx) }()
			why := errors.New("why")
			end(o, cancel, why)
			select {
			case err := <-done:
				if err != why {
					t.Errorf("error %v, want %v", err, why)
				}
			case <-time.After(patience):
				t.Error("it waits on")
			}
			o.Abort(nil)
			o.Wait()
		})
	}
}

func TestCloseAfterFlushDeliversLastWords(t *testing.T) {
	conns(t, func(t *testing.T, ours, peer net.Conn) {
		o := NewOut(ours, OutOptions{})
		o.SetBeforeWrite(func() {})
		want := pattern(3<<20, 1)
		put(o, want[:1<<20])
		o.Lock()
		o.AppendRef(want[1<<20:])
		o.Unlock()

		// The peer has sent what we never read: a careless close would reset.
		if tc, ok := ours.(*net.TCPConn); ok {
			if _, err := peer.Write(pattern(1000, 9)); err != nil {
				t.Fatal(tc, err)
			}
		}
		done := make(chan error, 1)
		go func() { done <- o.CloseAfterFlush(patience) }()
		await(t, "closing began", func() bool { o.mu.Lock(); defer o.mu.Unlock(); return o.mu.closing })
		o.Lock()
		o.B = append(o.B, "too late"...)
		o.AppendRef(make([]byte, 100_000))
		if o.Unlock() {
			t.Error("a duty to flush while closing")
		}
		peer.SetReadDeadline(time.Now().Add(patience))
		got, err := io.ReadAll(peer)
		if err != nil {
			t.Errorf("the peer read %d bytes, then: %v", len(got), err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("got %d bytes, want %d", len(got), len(want))
		}
		peer.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if o.Err() != ErrClosed {
			t.Errorf("stopped for %v", o.Err())
		}
	})
}

func TestCloseAfterFlushIsBounded(t *testing.T) {
	conns(t, func(t *testing.T, ours, peer net.Conn) {
		o := NewOut(ours, OutOptions{})
		put(o, make([]byte, 12<<20))
		start := time.Now()
		if err := o.CloseAfterFlush(50 * time.Millisecond); err == nil {
			t.Error("no error though the peer has read nothing")
		}
		if d := time.Since(start); d > patience/2 {
			t.Errorf("took %v", d)
		}
		o.Wait()
		if o.Pending() != 0 {
			t.Error("bytes kept")
		}
	})
}

func TestAbortWhileOthersAppend(t *testing.T) {
	conns(t, func(t *testing.T, ours, peer net.Conn) {
		o := NewOut(ours, OutOptions{Limit: 10_000})
		go io.Copy(io.Discard, peer)
		var ended [4]chan struct{}
		for i := range ended {
			ended[i] = make(chan struct{})
			go func() {
				defer close(ended[i])
				wake := make(waker, 1)
				for o.Err() == nil {
					if !o.Room(wake) {
						<-wake // Also after Abort, or this test hangs.
						continue
					}
					o.Lock()
					o.B = append(o.B, make([]byte, 500)...)
					o.AppendRef(make([]byte, 70_000))
					if o.Unlock() {
						o.Flush()
					}
				}
			}()
		}
		await(t, "something flows", func() bool { return o.Written() > 1<<20 })
		o.Abort(nil)
		o.Abort(errors.New("a second time"))
		for _, e := range ended {
			<-e
		}
		o.Wait()
		if o.Err() != ErrClosed || o.Pending() != 0 {
			t.Errorf("error %v, pending %d", o.Err(), o.Pending())
		}
	})
}
