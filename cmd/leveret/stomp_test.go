package main

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/go-stomp/stomp/v3/frame"
	"github.com/gorilla/websocket"
)

// TestSTOMPFlags holds that what the flags say reaches the adapter.
func TestSTOMPFlags(t *testing.T) {
	p := serving(t, "--stomp-addr", "127.0.0.1:0", "--web-stomp-addr", "127.0.0.1:0", "--stomp-implicit-connect", "--stomp-hide-server",
		"--stomp-nack-discards", "--stomp-topic-exchange", "amq.match", "--web-stomp-binary")
	nc, err := net.Dial("tcp", p.addrs["stomp"])
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	r := frame.NewReader(nc)
	expect := func(command, name, value string) *frame.Frame {
		t.Helper()
		for {
			f, err := r.Read()
			if err != nil {
				t.Fatal(err)
			}
			if f == nil {
				continue
			}
			if f.Command != command || f.Header.Get(name) != value {
				t.Fatalf("got %s %v %s, want %s with %s:%s", f.Command, f.Header, f.Body, command, name, value)
			}
			return f
		}
	}
	// Without CONNECT; topics are those of an exchange of headers, for which the
	// key does not matter; a NACK is the end of a message.
	io.WriteString(nc, "SUBSCRIBE\nid:1\ndestination:/topic/some\nack:client\n\n\x00SEND\ndestination:/topic/other\nreceipt:1\n\nx\x00")
	f := expect("MESSAGE", "destination", "/topic/other")
	expect("RECEIPT", "receipt-id", "1")
	io.WriteString(nc, "NACK\nmessage-id:"+f.Header.Get("message-id")+"\n\n\x00SEND\ndestination:/topic/next\nreceipt:2\n\nx\x00")
	expect("MESSAGE", "destination", "/topic/next")
	expect("RECEIPT", "receipt-id", "2")

	ws, _, err := websocket.DefaultDialer.Dial("ws://"+p.addrs["http/web-stomp"]+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	ws.SetReadDeadline(time.Now().Add(patience))
	ws.WriteMessage(websocket.TextMessage, []byte("CONNECT\naccept-version:1.2\n\n\x00"))
	kind, connected, err := ws.NextReader()
	if err != nil || kind != websocket.BinaryMessage {
		t.Fatalf("kind %d, %v", kind, err)
	}
	r = frame.NewReader(connected)
	expect("CONNECTED", "server", "")
}
