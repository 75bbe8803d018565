package mgmt

import (
	"net"
	"testing"
)

func TestBoundedListener(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := bounded(inner, 1, nil)
	accepted := make(chan net.Conn)
	failed := make(chan error)
	go func() { // Ends when the listener is closed.
		for {
			c, err := ln.Accept()
			if err != nil {
				failed <- err
				return
			}
			accepted <- c
		}
	}()
	for range 2 {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	first := <-accepted
	if n := len(ln.places); n != 1 {
		t.Errorf("%d places are taken, want 1", n)
	}
	select {
	case <-accepted:
		t.Fatal("a second connection came in")
	default:
	}
	first.Close()
	first.Close() // Gives one place back, not two.
	second := <-accepted
	ln.Close()
	if err := <-failed; err == nil {
		t.Error("Accept goes on after Close")
	}
	second.Close()
}
