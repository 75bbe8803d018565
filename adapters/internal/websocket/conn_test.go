package websocket

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"leveret/adapters/internal/netx"
)

const patience = 30 * time.Second

// serve serves h with o on a free port and returns the endpoint's URL.
func serve(t *testing.T, o Options, h netx.Handler) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var served sync.WaitGroup
	served.Go(func() {
		if err := netx.Serve(ctx, ln, Handler(o, h), netx.ServeOptions{StopGrace: time.Second}); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); served.Wait() })
	return "ws://" + ln.Addr().String()
}

// echo sends back what it reads, through In and Out as an adapter does.
func echo(ctx context.Context, c net.Conn, loggedIn func()) {
	loggedIn()
	in, out := netx.NewIn(c), netx.NewOut(c, netx.OutOptions{})
	defer in.Release()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	for {
		if _, _, err := in.Read(); err != nil {
			out.CloseAfterFlush(patience)
			return
		}
		out.Lock()
		out.B = append(out.B, in.Bytes()...)
		out.Unlock()
		out.Flush()
		in.Discard(len(in.Bytes()))
	}
}

func dial(t *testing.T, url string, subprotocols ...string) *websocket.Conn {
	t.Helper()
	d := websocket.Dialer{Subprotocols: subprotocols, EnableCompression: true, HandshakeTimeout: patience}
	ws, resp, err := d.Dial(url, nil)
	if err != nil {
		t.Fatalf("dial: %v, %v", err, resp)
	}
	if e := resp.Header.Get("Sec-Websocket-Extensions"); e != "" {
		t.Errorf("extensions negotiated: %s", e)
	}
	t.Cleanup(func() { ws.Close() })
	ws.SetReadDeadline(time.Now().Add(patience))
	ws.SetWriteDeadline(time.Now().Add(patience))
	return ws
}

// read gathers n bytes of messages and the kinds they came in.
func read(t *testing.T, ws *websocket.Conn, n int) (got []byte, kinds []int) {
	t.Helper()
	for len(got) < n {
		kind, b, err := ws.ReadMessage()
		if err != nil {
			t.Fatalf("after %d of %d bytes: %v", len(got), n, err)
		}
		got, kinds = append(got, b...), append(kinds, kind)
	}
	return got, kinds
}

func TestStreamRegardlessOfMessages(t *testing.T) {
	url := serve(t, Options{Text: true, Subprotocols: []string{"v12.stomp", "v11.stomp"}}, echo)
	ws := dial(t, url+"/ws", "v10.stomp", "v11.stomp", "v12.stomp")
	if p := ws.Subprotocol(); p != "v12.stomp" {
		t.Errorf("subprotocol %q", p)
	}
	for i := range 300 {
		b := bytes.Repeat([]byte{byte('a' + i%26)}, i*i)
		if err := ws.WriteMessage(websocket.TextMessage+i%2, b); err != nil {
			t.Fatal(err)
		}
		if i%50 == 0 {
			if err := ws.WriteControl(websocket.PingMessage, []byte("are you there"), time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
		}
		got, kinds := read(t, ws, len(b))
		if !bytes.Equal(got, b) {
			t.Fatalf("message %d came back changed", i)
		}
		for _, k := range kinds {
			if k != websocket.TextMessage {
				t.Fatalf("message %d came back as kind %d", i, k)
			}
		}
	}
}

func TestTextIsAlwaysValid(t *testing.T) {
	text := []byte(strings.Repeat("käse, 日本, 🐇; ", 20_000)) // Pieces of 64 KiB end within characters.
	var mixed []byte
	for len(mixed) < 300_000 {
		mixed = append(mixed, "日本\xff"...)
	}
	for _, c := range []struct {
		body []byte
		text bool
	}{{text, true}, {mixed, false}, {[]byte{0xff}, false}, {[]byte("\xf0\x9f"), false}, {[]byte("plain"), true}} {
		body := append(bytes.Clone(c.body), 0, '\n')
		url := serve(t, Options{Text: true}, func(_ context.Context, c net.Conn, _ func()) {
			out := netx.NewOut(c, netx.OutOptions{})
			out.Lock()
			out.B = append(out.B, body...)
			out.Unlock()
			out.Flush()
			out.CloseAfterFlush(patience)
		})
		ws := dial(t, url+"/ws")
		// gorilla fails on text that is not UTF-8.
		got, kinds := read(t, ws, len(body))
		if !bytes.Equal(got, body) {
			t.Errorf("%d bytes came changed", len(body))
		}
		if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
			t.Errorf("ended with %v", err)
		}
		if slices.Contains(kinds, websocket.BinaryMessage) == c.text {
			t.Errorf("%.10q went out as %v", body, kinds)
		}
	}
}

func TestRefusedRequests(t *testing.T) {
	url := serve(t, Options{Origins: []string{"https://good.example"}, Subprotocols: []string{"mqtt"}, RequireSubprotocol: true}, echo)
	for _, c := range []struct {
		path, origin, subprotocol string
		status                    int
	}{
		{"/ws", "https://good.example", "mqtt", 101},
		{"/ws", "", "mqtt", 101},
		{"/ws", "https://evil.example", "mqtt", 403},
		{"/ws", "https://good.example", "", 400},
		{"/ws", "https://good.example", "chat", 400},
		{"/stomp/websocket", "", "mqtt", 404},
	} {
		h := http.Header{}
		if c.origin != "" {
			h.Set("Origin", c.origin)
		}
		d := websocket.Dialer{HandshakeTimeout: patience}
		if c.subprotocol != "" {
			d.Subprotocols = []string{c.subprotocol}
		}
		ws, resp, err := d.Dial(url+c.path, h)
		if resp == nil || resp.StatusCode != c.status {
			t.Errorf("%+v: %v, %v", c, resp, err)
		}
		if ws != nil {
			ws.Close()
		}
	}
	resp, err := http.Get("http" + strings.TrimPrefix(url, "ws") + "/ws")
	if err != nil || resp.StatusCode != 400 {
		t.Errorf("no websocket: %v, %v", resp, err)
	} else {
		resp.Body.Close()
	}
}

func TestBasicAuthIsHandedOn(t *testing.T) {
	got := make(chan string, 1)
	url := serve(t, Options{}, func(_ context.Context, c net.Conn, _ func()) {
		u, p, ok := c.(*Conn).BasicAuth()
		got <- fmt.Sprint(u, " ", p, " ", ok)
	})
	d := websocket.Dialer{HandshakeTimeout: patience}
	r, _ := http.NewRequest("GET", url, nil)
	r.SetBasicAuth("me", "secret")
	ws, _, err := d.Dial(url+"/ws", http.Header{"Authorization": r.Header["Authorization"]})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	if g := <-got; g != "me secret true" {
		t.Error(g)
	}
}

// frame makes a client's frame with a mask.
func frame(first byte, payload []byte) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, maskBit|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, maskBit|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, maskBit|127), uint64(n))
	}
	mask := []byte{0x12, 0x34, 0x56, 0x78}
	b = append(b, mask...)
	for i, c := range payload {
		b = append(b, c^mask[i%4])
	}
	return b
}

// sink is a connection to nowhere.
type sink struct {
	net.Conn
	mu sync.Mutex
	b  []byte
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b = append(s.b, p...)
	return len(p), nil
}
func (s *sink) Close() error                     { return nil }
func (s *sink) SetWriteDeadline(time.Time) error { return nil }

func TestDecodeCutAnywhere(t *testing.T) {
	var stream []byte
	long := bytes.Repeat([]byte("0123456789"), 7000)
	for _, f := range []struct {
		first   byte
		payload []byte
	}{
		{finalBit | opText, []byte("one")}, {finalBit | opBinary, nil}, {opBinary, []byte("two")},
		{finalBit | opPing, []byte("ping inside a message")}, {opContinuation, nil}, {opContinuation, []byte("three")},
		{finalBit | opPong, nil}, {finalBit | opContinuation, []byte("four")},
		{finalBit | opBinary, long[:300]}, {finalBit | opText, []byte{0}},
	} {
		stream = append(stream, frame(f.first, f.payload)...)
	}
	want := "onetwothreefour" + string(long[:300]) + "\x00"
	for size := 1; size < len(stream); size++ {
		c := newConn(&sink{}, &Options{})
		var got []byte
		for from := 0; from < len(stream); from += size {
			p := bytes.Clone(stream[from:min(from+size, len(stream))])
			n, err := c.Decode(p)
			if err != nil {
				t.Fatalf("cut every %d: %v", size, err)
			}
			got = append(got, p[:n]...)
		}
		if string(got) != want {
			t.Fatalf("cut every %d: %q", size, got)
		}
	}
	c := newConn(&sink{}, &Options{})
	p := frame(finalBit|opText, long)
	if n, err := c.Decode(p); err != nil || !bytes.Equal(p[:n], long) {
		t.Error("a frame with a length of 64 bits is misread")
	}
}

func TestBreachesOfProtocol(t *testing.T) {
	tooLong := append([]byte{finalBit | opBinary, maskBit | 127}, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4)
	negative := append([]byte{finalBit | opBinary, maskBit | 127}, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4)
	fragments := frame(opText, make([]byte, 60))
	for range 20 {
		fragments = append(fragments, frame(opContinuation, make([]byte, 50))...)
	}
	for name, tt := range map[string]struct {
		in   []byte
		code int
	}{
		"2^62 bytes announced":      {tooLong, 1009},
		"negative length":           {negative, 1002},
		"too many fragments":        {fragments, 1009},
		"compressed":                {frame(finalBit|0x40|opText, []byte("x")), 1002},
		"not masked":                {[]byte{finalBit | opText, 1, 'a'}, 1002},
		"unknown opcode":            {frame(finalBit|3, nil), 1002},
		"unknown control":           {frame(finalBit|11, nil), 1002},
		"fragmented ping":           {frame(opPing, nil), 1002},
		"long ping":                 {frame(finalBit|opPing, make([]byte, 126)), 1002},
		"continuation of nothing":   {frame(finalBit|opContinuation, nil), 1002},
		"message inside a message":  {append(frame(opText, nil), frame(finalBit|opText, nil)...), 1002},
		"text where binary is due":  {frame(finalBit|opText, []byte("x")), 1003},
		"close with a code of 1005": {frame(finalBit|opClose, []byte{0x03, 0xed}), 1002},
	} {
		s := &sink{}
		c := newConn(s, &Options{MessageMax: 1000, BinaryOnly: name == "text where binary is due"})
		_, err := c.Decode(tt.in)
		if _, again := c.Decode([]byte("anything")); err == nil || again != err {
			t.Errorf("%s: %v, then %v", name, err, again)
		}
		var e *Error
		if !errors.As(err, &e) && err != io.EOF {
			t.Errorf("%s: %v", name, err)
		}
		c.Close()
		if len(s.b) < 4 || s.b[0] != finalBit|opClose || int(binary.BigEndian.Uint16(s.b[2:])) != tt.code {
			t.Errorf("%s: closed with %x, want code %d", name, s.b, tt.code)
		}
	}
}

func TestCloseHandshake(t *testing.T) {
	url := serve(t, Options{}, echo)
	ws := dial(t, url+"/ws")
	if err := ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1001, "leaving"), time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, 1001) {
		t.Errorf("ended with %v", err)
	}
}

// A client that pings and reads nothing must not stop its reader: what it sends
// behind the pings still comes through.
func TestPingsOfOneWhoDoesNotRead(t *testing.T) {
	const n = 200_000
	got := make(chan int, 1)
	url := serve(t, Options{}, func(_ context.Context, c net.Conn, _ func()) {
		in := netx.NewIn(c)
		defer in.Release()
		sum := 0
		for sum < n/1000 {
			if _, _, err := in.Read(); err != nil {
				break
			}
			sum += len(in.Bytes())
			in.Discard(len(in.Bytes()))
		}
		got <- sum
	})
	nc := dial(t, url+"/ws").NetConn()
	nc.SetWriteDeadline(time.Now().Add(patience))
	ping := frame(finalBit|opPing, make([]byte, 125))
	for i := range n / 1000 {
		b := bytes.Repeat(ping, 1000)
		if i%2 == 0 {
			b = append(b, frame(finalBit|opText, []byte("ab"))...)
		}
		if _, err := nc.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case sum := <-got:
		if sum != n/1000 {
			t.Errorf("%d bytes came through", sum)
		}
	case <-time.After(patience):
		t.Error("the reader is stuck")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(append(frame(opText, []byte("ab")), frame(finalBit|opContinuation, []byte("c"))...), 3)
	f.Add(frame(finalBit|opPing, []byte("x")), 1)
	f.Add([]byte{0x82, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5}, 2)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		// However it is cut, the same comes out.
		whole := newConn(&sink{}, &Options{MessageMax: 1 << 20})
		p := bytes.Clone(b)
		n, err := whole.Decode(p)
		size := max(1, cut&0xff)
		c := newConn(&sink{}, &Options{MessageMax: 1 << 20})
		var got []byte
		var cutErr error
		for from := 0; from < len(b) && cutErr == nil; from += size {
			q := bytes.Clone(b[from:min(from+size, len(b))])
			var m int
			m, cutErr = c.Decode(q)
			got = append(got, q[:m]...)
		}
		if !bytes.Equal(got, p[:n]) || fmt.Sprint(err) != fmt.Sprint(cutErr) {
			t.Fatalf("whole %q %v, cut %q %v", p[:n], err, got, cutErr)
		}
	})
}
