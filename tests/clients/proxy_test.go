//go:build clients

package clients

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// proxy stands between a program and the broker, so that a test can take the
// connection away from both.
type proxy struct {
	url string // The AMQP URL that goes through it.

	mu struct {
		sync.Mutex
		conns []net.Conn
	}
}

// newProxy starts a proxy to the broker that amqpURL names. It ends with t.
func newProxy(t *testing.T, amqpURL string) *proxy {
	t.Helper()
	u, err := url.Parse(amqpURL)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := u.Host
	u.Host = ln.Addr().String()
	p := &proxy{url: u.String()}

	var running sync.WaitGroup
	running.Go(func() { // Ends when ln is closed.
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				client.Close()
				continue
			}
			p.mu.Lock()
			p.mu.conns = append(p.mu.conns, client, server)
			p.mu.Unlock()
			pipe := func(to, from net.Conn) func() { // Ends when either side is closed.
				return func() {
					io.Copy(to, from)
					to.Close()
					from.Close()
				}
			}
			running.Go(pipe(server, client))
			running.Go(pipe(client, server))
		}
	})
	t.Cleanup(func() {
		ln.Close()
		p.cut()
		running.Wait()
	})
	return p
}

// cut breaks every connection; new ones go through.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.mu.conns {
		c.Close()
	}
	p.mu.conns = nil
}
