package mgmt

import (
	"errors"
	"net"
	"sync"
)

// boundedListener lets only so many of its connections be open at a time; the
// next ones wait in the kernel.
type boundedListener struct {
	net.Listener
	places chan struct{} // As many as are taken.
	closed chan struct{}
	once   sync.Once
	began  func(c net.Conn, b []byte, err error) (foreign bool) // Called with what the first Read of each has brought.
}

func bounded(ln net.Listener, n int, began func(c net.Conn, b []byte, err error) (foreign bool)) *boundedListener {
	return &boundedListener{Listener: ln, places: make(chan struct{}, n), closed: make(chan struct{}), began: began}
}

func (l *boundedListener) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	return &boundedConn{Conn: c, leave: func() { <-l.places }, began: l.began}, nil
}

func (l *boundedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// boundedConn gives its place back when it is closed.
type boundedConn struct {
	net.Conn
	once  sync.Once
	leave func()
	began func(c net.Conn, b []byte, err error) (foreign bool) // Nil once it was called; the reader's.
}

func (c *boundedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if began := c.began; began != nil && (n > 1 || err != nil) {
		c.began = nil
		if began(c.Conn, p[:n], err) {
			return 0, errForeign
		}
	}
	return n, err
}

// NetConn is the connection below, which may have TLS.
func (c *boundedConn) NetConn() net.Conn { return c.Conn }

var errForeign = errors.New("this is no HTTP")

func (c *boundedConn) Close() error {
	defer c.once.Do(c.leave)
	return c.Conn.Close()
}
