package stomp

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

// FuzzConnection: whatever a client sends once it has logged in, cut wherever,
// it is answered with frames, or the end, and the connection goes with it.
func FuzzConnection(f *testing.F) {
	for _, s := range []string{
		"SUBSCRIBE\nid:1\ndestination:/queue/q\nack:client\n\n\x00SEND\ndestination:/queue/q\nreceipt:1\n\nx\x00ACK\nid:T_1@@S@@1\n\n\x00",
		"BEGIN\ntransaction:t\n\n\x00SEND\ndestination:/topic/t\ntransaction:t\n\nx\x00COMMIT\ntransaction:t\nreceipt:c\n\n\x00",
		"SUBSCRIBE\nid:1\ndestination:/topic/#\ndurable:true\n\n\x00SEND\ndestination:/topic/a\nreply-to:/temp-queue/x\n\n\x00UNSUBSCRIBE\nid:1\ndurable:true\n\n\x00",
		"SEND\ndestination:/queue/q\ncontent-length:20000\n\n" + string(make([]byte, 20001)) + "NACK\nid:x\nrequeue:false\n\n\x00",
		"\n\r\n\x00DISCONNECT\nreceipt:bye\n\n\x00SEND\n",
		"SEND\ndestination:/queue/a%2Fb\nexpiration:1\npriority:9\n\n\x00SEND\ndestination:/queue/a%2Fb\nexpiration:1\npriority:9\n\n\x00",
	} {
		f.Add([]byte(s), uint8(0))
		f.Add([]byte(s), uint8(7))
	}
	s := newTestServer(f, nil)
	f.Fuzz(func(t *testing.T, b []byte, cut uint8) {
		nc, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		nc.SetDeadline(time.Now().Add(patience))
		hello := []byte("CONNECT\naccept-version:1." + string('0'+cut%3) + "\n\n\x00")
		if _, err := nc.Write(hello); err != nil {
			t.Fatal(err)
		}
		go func() { // Ends with the connection.
			for len(b) > 0 {
				n := len(b)
				if cut >= 8 {
					n = min(n, int(cut))
				}
				if _, err := nc.Write(b[:n]); err != nil {
					return
				}
				b = b[n:]
			}
			nc.(*net.TCPConn).CloseWrite()
		}()
		answer, err := io.ReadAll(nc)
		if err != nil {
			if e, ok := err.(net.Error); ok && e.Timeout() {
				t.Fatal("the connection does not end")
			}
			return
		}
		if !bytes.HasPrefix(answer, []byte("CONNECTED\n")) || !bytes.HasSuffix(answer, []byte("\x00\n")) {
			t.Fatalf("answered with %.200q", answer)
		}
	})
}
