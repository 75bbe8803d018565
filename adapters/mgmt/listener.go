package mgmt

import (
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
}

func bounded(ln net.Listener, n int) *boundedListener {
	return &boundedListener{Listener: ln, places: make(chan struct{}, n), closed: make(chan struct{})}
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
	return &boundedConn{Conn: c, leave: func() { <-l.places }}, nil
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
}

func (c *boundedConn) Close() error {
	defer c.once.Do(c.leave)
	return c.Conn.Close()
}
