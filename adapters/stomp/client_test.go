package stomp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	gostomp "github.com/go-stomp/stomp/v3"
	"github.com/gorilla/websocket"
)

// TestGoStomp: go-stomp's client in all versions.
func TestGoStomp(t *testing.T) {
	s := newTestServer(t, nil)
	for _, v := range []gostomp.Version{gostomp.V10, gostomp.V11, gostomp.V12} {
		t.Run(v.String(), func(t *testing.T) {
			c, err := gostomp.Dial("tcp", s.addr, gostomp.ConnOpt.Host("/"), gostomp.ConnOpt.AcceptVersion(v), gostomp.ConnOpt.Login("guest", "guest"),
				gostomp.ConnOpt.UnsubscribeReceiptTimeout(5*time.Second))
			if err != nil {
				t.Fatal(err)
			}
			if c.Version() != v {
				t.Errorf("version %s", c.Version())
			}
			sub, err := c.Subscribe("/queue/go-"+v.String(), gostomp.AckClient)
			if err != nil {
				t.Fatal(err)
			}
			for i := range 5 {
				if err := c.Send("/queue/go-"+v.String(), "text/plain", fmt.Append(nil, i), gostomp.SendOpt.Receipt, gostomp.SendOpt.Header("k", "a:b")); err != nil {
					t.Fatal(err)
				}
			}
			tx := c.Begin()
			for i := range 5 {
				m := <-sub.C
				if m.Err != nil || string(m.Body) != fmt.Sprint(i) || m.ContentType != "text/plain" {
					t.Fatalf("message %d: %q, %v", i, m.Body, m.Err)
				}
				if v != gostomp.V10 && m.Header.Get("k") != "a:b" {
					t.Errorf("header %q", m.Header.Get("k"))
				}
				switch i {
				case 1:
					err = c.Ack(m)
				case 3:
					if v.SupportsNack() {
						err = c.Nack(m)
					}
				case 4:
					err = tx.Ack(m)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := tx.Abort(); err != nil {
				t.Fatal(err)
			}
			// The client may miss being woken by the RECEIPT, and notices only then.
			if err := sub.Unsubscribe(); err != nil && (!errors.Is(err, &gostomp.ErrUnsubscribeReceiptTimeout) || sub.Active()) {
				t.Fatal(err)
			}
			if err := c.Disconnect(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestHeartBeats: each side is dropped, or kept, by bytes.
func TestHeartBeats(t *testing.T) {
	s := newTestServer(t, nil)
	silent, talking, listening := s.dial(t), s.dial(t), s.dial(t)
	began := time.Now()
	silent.frames("CONNECT\naccept-version:1.2\nheart-beat:1000,0")
	silent.expect("CONNECTED", "heart-beat", "0,1000")
	talking.frames("CONNECT\naccept-version:1.2\nheart-beat:1000,0")
	talking.expect("CONNECTED", "heart-beat", "0,1000")
	listening.frames("CONNECT\naccept-version:1.2\nheart-beat:0,1000")
	listening.expect("CONNECTED", "heart-beat", "1000,0")
	done := make(chan struct{})
	go func() { // Ends with the test.
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		// A slow frame is a sign of life as well.
		for _, b := range []byte("SEND\ndestination:/queue/q\n" + strings.Repeat("x", 1000)) {
			select {
			case <-tick.C:
				talking.nc.Write([]byte{b})
			case <-done:
				return
			}
		}
	}()
	defer close(done)
	silent.expectEnd()
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("dropped after %v", took)
	}
	// Three bytes in a row, so that it is no accident.
	b := make([]byte, 1)
	for range 3 {
		if _, err := io.ReadFull(listening.nc, b); err != nil || b[0] != '\n' {
			t.Fatalf("%q, %v", b, err)
		}
	}
	waitFor(t, "the silent one to be gone", func() bool { return len(s.all(nil)) < 3 })
	if n := len(s.all(nil)); n != 2 {
		t.Errorf("%d connections are left, want 2", n)
	}
}

// dialSocket opens a WebSocket with these HTTP headers.
func (s *testServer) dialSocket(t *testing.T, h http.Header) (*websocket.Conn, *http.Response, error) {
	d := websocket.Dialer{HandshakeTimeout: patience, Subprotocols: []string{"v10.stomp", "v12.stomp"}}
	ws, resp, err := d.Dial("ws://"+s.web+"/ws", h)
	if ws != nil {
		t.Cleanup(func() { ws.Close() })
		ws.SetReadDeadline(time.Now().Add(patience))
	}
	return ws, resp, err
}

// TestWebSocketPieces: frames over several messages, several in one, text and
// binary, and what is no UTF-8 leaves as binary.
func TestWebSocketPieces(t *testing.T) {
	s := newTestServer(t, nil)
	ws, _, err := s.dialSocket(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	if ws.Subprotocol() != "v12.stomp" {
		t.Errorf("subprotocol %q", ws.Subprotocol())
	}
	write := func(stream string) {
		for i := range len(stream) {
			kind := websocket.BinaryMessage
			if stream[i] < 0x80 && i%2 == 0 {
				kind = websocket.TextMessage
			}
			if err := ws.WriteMessage(kind, []byte{stream[i]}); err != nil {
				t.Fatal(err)
			}
		}
	}
	var got []byte
	read := func(until string, want int) {
		from := len(got)
		for !bytes.Contains(got[from:], []byte(until)) {
			kind, b, err := ws.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			if kind != want {
				t.Errorf("%q came as %d", b, kind)
			}
			got = append(got, b...)
		}
	}
	write("CONNECT\naccept-version:1.2\n\n\x00\nSUBSCRIBE\nid:1\ndestination:/queue/q\n\n\x00\n\n" +
		"SEND\ndestination:/queue/q\ncontent-length:4\n\nk\xc3\xa4s\x00")
	read("k\xc3\xa4s\x00\n", websocket.TextMessage)
	write("SEND\ndestination:/queue/q\ncontent-length:2\n\n\xff\xfe\x00")
	read("\xff\xfe\x00\n", websocket.BinaryMessage)
	if err := ws.WriteMessage(websocket.TextMessage, []byte(strings.Repeat("SEND\ndestination:/queue/q\n\nx\x00", 20))); err != nil {
		t.Fatal(err)
	}
	read("@@22\n", websocket.TextMessage)
	if !bytes.HasPrefix(got, []byte("CONNECTED\n")) {
		t.Errorf("got %q", got)
	}
	if err := ws.WriteMessage(websocket.TextMessage, []byte("DISCONNECT\nreceipt:bye\n\n\x00")); err != nil {
		t.Fatal(err)
	}
	if _, b, err := ws.ReadMessage(); err != nil || !bytes.HasPrefix(b, []byte("RECEIPT\nreceipt-id:bye\n")) {
		t.Errorf("%q, %v", b, err)
	}
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		t.Errorf("ended with %v", err)
	}
}

func TestWebSocketCloseCodes(t *testing.T) {
	s := newTestServer(t, nil)
	for in, code := range map[string]int{
		"CONNECT\nbroken\n\n\x00":                  1007,
		"CONNECT\naccept-version:7\n\n\x00":        1000,
		strings.Repeat("A", 100):                   1007,
		"CONNECT\nx:" + strings.Repeat("y", 70000): 1007,
	} {
		ws, _, err := s.dialSocket(t, nil)
		if err != nil {
			t.Fatal(err)
		}
		ws.WriteMessage(websocket.TextMessage, []byte(in))
		_, b, err := ws.ReadMessage()
		if err != nil || !bytes.HasPrefix(b, []byte("ERROR\n")) {
			t.Errorf("%.40q: %q, %v", in, b, err)
		}
		if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, code) {
			t.Errorf("%.40q ended with %v, want %d", in, err, code)
		}
	}
}

func TestWebSocketOriginsAndBasicAuth(t *testing.T) {
	s := newTestServer(t, func(o *Options) {
		o.Web.Origins, o.Web.BasicAuth = []string{"https://shop.example"}, true
	})
	basic := func(user, password string) http.Header {
		r, _ := http.NewRequest("GET", "http://x/", nil)
		r.SetBasicAuth(user, password)
		return r.Header
	}
	foreign := basic("guest", "guest")
	foreign.Set("Origin", "https://evil.example")
	if _, resp, err := s.dialSocket(t, foreign); err == nil || resp == nil || resp.StatusCode != 403 {
		t.Errorf("a foreign page got %v, %v", resp, err)
	}
	for password, want := range map[string]string{"guest": "CONNECTED\n", "wrong": "ERROR\n"} {
		h := basic("guest", password)
		h.Set("Origin", "https://shop.example")
		ws, _, err := s.dialSocket(t, h)
		if err != nil {
			t.Fatal(err)
		}
		ws.WriteMessage(websocket.TextMessage, []byte("CONNECT\naccept-version:1.2\nlogin:guest\npasscode:nonsense\n\n\x00"))
		if _, b, err := ws.ReadMessage(); err != nil || !strings.HasPrefix(string(b), want) {
			t.Errorf("%s: %q, %v", password, b, err)
		}
	}
}

func TestNoDefaultUser(t *testing.T) {
	s := newTestServer(t, func(o *Options) { o.NoDefaultUser = true })
	c := s.dial(t)
	c.frames("CONNECT\naccept-version:1.2")
	c.expect("ERROR", "message", "Bad CONNECT")
	c.expectEnd()
}

// TestDeadLetter: what is nacked for good goes where the queue says.
func TestDeadLetter(t *testing.T) {
	s := newTestServer(t, nil)
	c := s.connect(t, "1.2")
	c.frames("SUBSCRIBE\nid:dead\ndestination:/queue/dead",
		"SUBSCRIBE\nid:1\ndestination:/queue/work\nack:client\nx-dead-letter-exchange:\nx-dead-letter-routing-key:dead",
		"SEND\ndestination:/queue/work\nk:v\n\nx")
	m := c.expect("MESSAGE", "subscription", "1")
	c.frames("NACK\nid:" + m.Header.Get("ack") + "\nrequeue:false")
	c.expect("MESSAGE", "subscription", "dead", "destination", "/queue/dead", "k", "v")
}

// TestDisconnectGivesBack: with the receipt of a DISCONNECT subscriptions are
// over, so nothing published after it is lost with them, and what was unacked is
// there again.
func TestDisconnectGivesBack(t *testing.T) {
	s := newTestServer(t, nil)
	v, _ := s.broker.VHost("/")
	for i := range 50 {
		c := s.connect(t, "1.2")
		held := fmt.Sprintf("held-%d", i)
		c.frames("SUBSCRIBE\nid:1\ndestination:/queue/auto",
			"SUBSCRIBE\nid:2\ndestination:/queue/"+held+"\nack:client",
			"SUBSCRIBE\nid:3\ndestination:/topic/x\nx-queue-name:own",
			"SEND\ndestination:/queue/"+held+"\n\nx")
		c.expect("MESSAGE", "subscription", "2")
		c.frames("DISCONNECT\nreceipt:bye")
		c.expect("RECEIPT")
		q, _ := v.Queue("auto")
		if n := q.Info().Consumers; n != 0 {
			t.Fatalf("%d consumers at the receipt", n)
		}
		q, _ = v.Queue(held)
		if i := q.Info(); i.Ready != 1 || i.Unacked != 0 {
			t.Fatalf("%d ready, %d unacked at the receipt", i.Ready, i.Unacked)
		}
		if _, ok := v.Queue("own"); ok {
			t.Fatal("the queue of its topic is there at the receipt")
		}
		c.expectEnd()
	}
}

// TestShutdownSaysGoodbye: clients get an ERROR and are closed.
func TestShutdownSaysGoodbye(t *testing.T) {
	s := newTestServer(t, nil)
	c := s.connect(t, "1.2")
	w := s.dialWeb(t)
	w.frames("CONNECT\naccept-version:1.2")
	w.expect("CONNECTED")
	s.sayGoodbye()
	for _, c := range []*client{c, w} {
		if f := c.expect("ERROR"); !strings.Contains(string(f.Body), "CONNECTION_FORCED") {
			t.Errorf("%s", show(f))
		}
		c.expectEnd()
	}
}

// TestRowsAreShownAndClosed: operators see connections and can end them.
func TestRowsAreShownAndClosed(t *testing.T) {
	s := newTestServer(t, nil)
	c := s.connect(t, "1.1")
	c.frames("SUBSCRIBE\nid:1\ndestination:/queue/q\nack:client\nreceipt:1", "SEND\ndestination:/queue/q\n\nx")
	c.expect("RECEIPT")
	c.expect("MESSAGE")
	for row := range s.broker.Registry().Rows(RowConnection) {
		if a := row.Attributes(); a["protocol"] != "STOMP 1.1" || a["user"] != "guest" || a["vhost"] != "/" {
			t.Errorf("%v", a)
		}
		for channel := range s.broker.Registry().Rows(RowChannel) {
			if a := channel.Attributes(); channel.Parent != row || a["messages_unacknowledged"] != 1 || a["consumer_count"] != int64(1) {
				t.Errorf("%v", a)
			}
		}
		row.Close("enough")
	}
	if f := c.expect("ERROR"); !strings.Contains(string(f.Body), "enough") {
		t.Errorf("%s", show(f))
	}
	c.expectEnd()
	waitNoSessions(t, s)
}

func waitNoSessions(t *testing.T, s *testServer) {
	t.Helper()
	late := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for s.broker.SessionCount() > 0 {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("a session is left")
		}
	}
}
