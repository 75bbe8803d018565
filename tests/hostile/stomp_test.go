package hostile

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// stompClient is a raw socket whose deadline is the end of the attack.
type stompClient struct {
	*testing.T
	nc net.Conn
}

// stomp connects and sends nothing.
func (a *arena) stomp() *stompClient {
	nc, err := net.DialTimeout("tcp", a.broker.STOMP, ioTimeout)
	if err != nil {
		a.Fatal(err)
	}
	context.AfterFunc(a.ctx, func() { nc.Close() })
	return &stompClient{a.T, nc}
}

// stompLogin connects and logs in.
func (a *arena) stompLogin() *stompClient {
	c := a.stomp()
	c.nc.SetDeadline(time.Now().Add(ioTimeout))
	c.send("CONNECT\naccept-version:1.2\n\n\x00")
	if got := c.until("\x00\n"); !strings.HasPrefix(got, "CONNECTED\n") {
		a.Fatalf("login: %q", got)
	}
	return c
}

// web opens a WebSocket and takes its stream of bytes.
func (a *arena) web() (*stompClient, *websocket.Conn) {
	d := websocket.Dialer{HandshakeTimeout: ioTimeout, EnableCompression: true}
	ws, _, err := d.Dial("ws://"+a.broker.WebSTOMP+"/ws", nil)
	if err != nil {
		a.Fatal(err)
	}
	context.AfterFunc(a.ctx, func() { ws.Close() })
	return &stompClient{a.T, ws.NetConn()}, ws
}

func (c *stompClient) send(s string) error {
	_, err := io.WriteString(c.nc, s)
	return err
}

// until reads until it has seen end, or the connection's end.
func (c *stompClient) until(end string) string {
	var got []byte
	b := make([]byte, 4096)
	for !bytes.HasSuffix(got, []byte(end)) {
		n, err := c.nc.Read(b)
		got = append(got, b[:n]...)
		if err != nil {
			break
		}
	}
	return string(got)
}

// flood sends text over and over, without reading, until it fails or the attack
// is over. It reports how much went out.
func (a *arena) flood(c *stompClient, text string) (sent int64) {
	deadline, _ := a.ctx.Deadline()
	c.nc.SetDeadline(deadline)
	b := []byte(strings.Repeat(text, max(1, 256<<10/len(text))))
	for a.ctx.Err() == nil {
		n, err := c.nc.Write(b)
		sent += int64(n)
		if err != nil {
			break
		}
	}
	return sent
}

// TestSTOMPFloods: what a stranger, or one who has logged in, can send without
// end. RabbitMQ takes gigabytes for each.
func TestSTOMPFloods(t *testing.T) {
	for _, test := range []struct {
		name         string
		login        bool
		first, again string
		takes        int64 // Bytes the broker may take from one that does not read; 0 for no limit.
		growth       int64
	}{
		{name: "header line before login", first: "CONNECT\nx:", again: strings.Repeat("y", 4096)},
		{name: "header line", login: true, first: "SEND\nx:", again: strings.Repeat("y", 4096)},
		{name: "command", again: strings.Repeat("A", 4096)},
		{name: "headers before login", first: "CONNECT\n", again: "a:b\n"},
		{name: "headers", login: true, first: "SEND\ndestination:/queue/q\n", again: "a:b\n"},
		{name: "body without its end before login", first: "CONNECT\n\n", again: strings.Repeat("x", 4096)},
		{name: "body without its end", login: true, first: "SEND\ndestination:/queue/q\n\n", again: strings.Repeat("x", 4096), growth: 128 * mib},
		{name: "announced body", login: true, first: "SEND\ndestination:/queue/q\ncontent-length:4000000\n\n", again: ""},
		{name: "body of 2^62 bytes", login: true, first: "SEND\ndestination:/queue/q\ncontent-length:4611686018427387904\n\n", again: "x"},
		{name: "ends of lines before login", again: "\n"},
		{name: "ends of lines", login: true, again: "\r\n\x00"},
		{name: "unknown commands", login: true, again: "NONSENSE\n\n\x00", takes: 64 * mib},
		{name: "acks of nothing", login: true, again: "ACK\nid:T_1@@session-x@@1\n\n\x00", takes: 64 * mib},
		{name: "transactions", login: true, again: "BEGIN\ntransaction:1\n\n\x00BEGIN\ntransaction:2\n\n\x00", takes: 64 * mib},
		{name: "endless transaction", login: true, first: "BEGIN\ntransaction:1\n\n\x00",
			again: "SEND\ndestination:/queue/q\ntransaction:1\n\n" + strings.Repeat("x", 100_000) + "\x00", growth: 448 * mib},
		{name: "receipts", login: true, again: "SEND\ndestination:/topic/nowhere\nreceipt:" + strings.Repeat("r", 1000) + "\n\nx\x00", takes: 64 * mib, growth: 96 * mib},
		{name: "subscriptions", login: true, again: "SUBSCRIBE\nid:1\ndestination:/queue/s\n\n\x00UNSUBSCRIBE\nid:1\nreceipt:1\n\n\x00", takes: 64 * mib},
		{name: "reply queues", login: true, again: "SEND\ndestination:/topic/x\nreply-to:/temp-queue/a\n\n\x00"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.growth == 0 {
				test.growth = 48 * mib
			}
			r := rules{growth: test.growth, left: 32 * mib, flags: []string{"--max-message-size", "4MiB"}}
			attack(t, r, func(a *arena) {
				each(4, func(int) {
					c := a.stomp
					if test.login {
						c = a.stompLogin
					}
					k := c()
					k.send(test.first)
					if test.again == "" {
						<-a.ctx.Done()
						return
					}
					if sent := a.flood(k, test.again); test.takes > 0 && sent > test.takes {
						t.Errorf("the broker has taken %d bytes", sent)
					}
				})
			})
		})
	}
}

// TestSTOMPNeverReads: subscribers that read nothing of what a publisher sends
// to a topic. It waits in their queues, below the limit of memory.
func TestSTOMPNeverReads(t *testing.T) {
	r := rules{growth: 512 * mib, left: 64 * mib, alone: true, flags: []string{"--memory-limit", "128MiB"}}
	attack(t, r, func(a *arena) {
		for range 10 {
			c := a.stompLogin()
			c.send("SUBSCRIBE\nid:1\ndestination:/topic/t\nreceipt:1\n\n\x00")
			c.until("\x00\n")
		}
		each(2, func(int) {
			a.flood(a.stompLogin(), "SEND\ndestination:/topic/t\n\n"+strings.Repeat("x", 1000)+"\x00")
		})
	})
}

// TestWebSTOMP: WebSockets that are opened and left alone, frames announced with
// 2^62 bytes, fragments and pings without end.
func TestWebSTOMP(t *testing.T) {
	for _, test := range []struct {
		name  string
		count int
		bytes string // After the handshake, in frames.
		again string
	}{
		{name: "left alone", count: 300},
		{name: "2^62 bytes announced", count: 4, bytes: "\x82\xff\x40\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", again: strings.Repeat("x", 1000)},
		{name: "fragments", count: 4, bytes: "\x02\x80\x00\x00\x00\x00", again: "\x00\x80\x00\x00\x00\x00"},
		{name: "fragments of a header", count: 4, bytes: "\x02\x8a\x00\x00\x00\x00CONNECT\nx:", again: "\x00\x81\x00\x00\x00\x00y"},
		{name: "pings", count: 4, again: "\x89\xfd\x00\x00\x00\x00" + strings.Repeat("p", 125)},
		{name: "compressed", count: 4, bytes: "\xc2\x81\x00\x00\x00\x00x", again: "x"},
	} {
		t.Run(test.name, func(t *testing.T) {
			attack(t, rules{growth: 96 * mib, left: 32 * mib}, func(a *arena) {
				each(min(test.count, 10), func(int) {
					for range max(1, test.count/10) {
						c, _ := a.web()
						c.send(test.bytes)
						if test.again != "" {
							a.flood(c, test.again)
						}
					}
					<-a.ctx.Done()
				})
			})
		})
	}
	t.Run("requests", func(t *testing.T) {
		attack(t, rules{growth: 96 * mib, left: 32 * mib}, func(a *arena) {
			each(4, func(int) {
				for i := 0; a.ctx.Err() == nil; i++ {
					nc, err := net.Dial("tcp", a.broker.WebSTOMP)
					if err != nil {
						t.Error(err)
						return
					}
					k := &stompClient{t, nc}
					fmt.Fprintf(nc, "GET /%d HTTP/1.1\r\nHost: x\r\n", i)
					if i%2 == 0 {
						fmt.Fprintf(nc, "\r\n")
					} else {
						nc.SetDeadline(time.Now().Add(ioTimeout))
						for k.send("X: "+strings.Repeat("y", 1000)+"\r\n") == nil {
						}
					}
					nc.Close()
				}
			})
		})
	})
}
