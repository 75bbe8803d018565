package hostile

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// TestSTOMPIdleClients: thousands of clients, half of them over WebSocket, each
// with a subscription of its own, of which hardly one says anything. What they
// take together is bounded, and those that talk are served.
func TestSTOMPIdleClients(t *testing.T) {
	n := int64(2000)
	if strict {
		n = 10_000
	}
	// Buffers that come and go with logging in are garbage beside what lives.
	r := rules{growth: 32*mib + n*40*kib, left: 32 * mib}
	attack(t, r, func(a *arena) {
		before := a.heap()
		clients := make([]*idleClient, n)
		defer func() {
			for _, c := range clients {
				if c != nil {
					c.nc.Close()
				}
			}
		}()
		const dialers = 4
		each(dialers, func(k int) {
			for i := k; i < len(clients) && !t.Failed(); i += dialers {
				clients[i] = a.idle(i)
			}
		})
		if t.Failed() {
			return
		}
		heap := (a.heap() - before) / n
		t.Logf("%d clients live on %d bytes of heap each", n, heap)
		if limit := 12 * kib; heap > limit && !withRace {
			t.Errorf("each takes %d bytes of heap, the limit is %d", heap, limit)
		}
		for i := 0; i < len(clients); i += 20 {
			c := clients[(i*7+3)%len(clients)]
			text := fmt.Sprintf("from %d", i)
			clients[i].send(fmt.Sprintf("SEND\ndestination:%s\n\n%s\x00", c.topic, text))
			if got := c.until("\x00\n"); !strings.Contains(got, text) {
				t.Fatalf("client %d got %q, want %q", i, got, text)
			}
		}
		if spoke := (a.heap() - before) / n; spoke > heap+2*kib && !withRace {
			t.Errorf("after a few have spoken each takes %d bytes of heap, before that %d", spoke, heap)
		}
	})
}

// idleClient has a subscription and is silent.
type idleClient struct {
	stompClient
	web   bool
	topic string
}

// idle logs client i in, every other one over WebSocket, and subscribes.
func (a *arena) idle(i int) *idleClient {
	addr := a.broker.STOMP
	web := i%2 == 1
	if web {
		addr = a.broker.WebSTOMP
	}
	nc, err := net.DialTimeout("tcp", addr, ioTimeout)
	if err != nil {
		a.Errorf("client %d: %v", i, err)
		return nil
	}
	nc.SetDeadline(time.Now().Add(10 * time.Minute))
	c := &idleClient{stompClient{a.T, nc}, web, fmt.Sprintf("/topic/idle.%d", i)}
	if web {
		io.WriteString(nc, "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OTAxMjM0NQ==\r\n\r\n")
		if got := c.until("\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 101 ") {
			a.Errorf("client %d: %q", i, got)
			return c
		}
	}
	c.send("CONNECT\naccept-version:1.2\n\n\x00")
	if got := c.until("\x00\n"); !strings.Contains(got, "CONNECTED\n") {
		a.Errorf("client %d: %q", i, got)
		return c
	}
	c.send("SUBSCRIBE\nid:1\ndestination:" + c.topic + "\nreceipt:1\n\n\x00")
	if got := c.until("\x00\n"); !strings.Contains(got, "RECEIPT\n") {
		a.Errorf("client %d: %q", i, got)
	}
	return c
}

// send sends s, over WebSocket in one frame whose mask is 0.
func (c *idleClient) send(s string) {
	if c.web {
		s = string([]byte{0x81, 0x80 | byte(len(s)), 0, 0, 0, 0}) + s
	}
	c.stompClient.send(s)
}
