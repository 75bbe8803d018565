package netx

import (
	"net"
	"testing"
	"time"
)

func TestPeerGone(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if _, err := client.Write([]byte("unread")); err != nil {
		t.Fatal(err)
	}
	if PeerGone(server) {
		t.Error("gone while it is there")
	}
	client.Close()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(5 * time.Second); !PeerGone(server); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("not noticed, with unread bytes before the end")
		}
	}
}
