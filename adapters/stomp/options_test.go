package stomp

import (
	"bytes"
	"testing"

	"github.com/gorilla/websocket"

	"leveret/core"
)

func TestHideServer(t *testing.T) {
	for _, hide := range []bool{false, true} {
		s := newTestServer(t, func(o *Options) { o.HideServer = hide })
		c := s.dial(t)
		c.frames("CONNECT\naccept-version:1.2")
		f := c.expect("CONNECTED")
		if _, ok := f.Header.Contains("server"); ok == hide {
			t.Errorf("hidden %t: %s", hide, show(f))
		}
	}
}

// TestTopicExchange: /topic means the exchange that the options name, both ways;
// amq.topic is one like any other then.
func TestTopicExchange(t *testing.T) {
	s := newTestServer(t, func(o *Options) { o.DefaultTopicExchange = "news" })
	user, _ := s.broker.Auth().User("guest")
	session, err := s.broker.OpenSession(core.SessionOptions{VHost: "/", User: user, Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if err := session.DeclareExchange(core.ExchangeDeclare{Name: "news", Type: "topic"}); err != nil {
		t.Fatal(err)
	}
	c := s.connect(t, "1.2")
	c.frames("SUBSCRIBE\nid:1\ndestination:/topic/a.*", "SUBSCRIBE\nid:2\ndestination:/exchange/amq.topic/a.*",
		"SEND\ndestination:/topic/a.b\n\nx")
	c.expect("MESSAGE", "subscription", "1", "destination", "/topic/a.b")
	c.frames("SEND\ndestination:/exchange/amq.topic/a.b\n\nx")
	c.expect("MESSAGE", "subscription", "2", "destination", "/exchange/amq.topic/a.b")
	c.frames("SEND\ndestination:/exchange/news/a.c\n\nx")
	c.expect("MESSAGE", "subscription", "1", "destination", "/topic/a.c")
}

func TestWebBinary(t *testing.T) {
	for binary, want := range map[bool]int{false: websocket.TextMessage, true: websocket.BinaryMessage} {
		s := newTestServer(t, func(o *Options) { o.Web.Binary = binary })
		ws, _, err := s.dialSocket(t, nil)
		if err != nil {
			t.Fatal(err)
		}
		ws.WriteMessage(websocket.TextMessage, []byte("CONNECT\naccept-version:1.2\n\n\x00"))
		if kind, b, err := ws.ReadMessage(); err != nil || kind != want || !bytes.HasPrefix(b, []byte("CONNECTED\n")) {
			t.Errorf("binary %t: kind %d, %q, %v", binary, kind, b, err)
		}
	}
}
