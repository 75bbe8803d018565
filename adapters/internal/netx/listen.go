package netx

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// Listen opens a TCP listener on addr ("host:port", ":port") for protocol, an
// upper-case word for people ("AMQP"). Its error names the address and flag,
// the one that changes it ("--amqp-addr"):
//
//	cannot listen on 0.0.0.0:5672 for AMQP: address already in use (choose another address with --amqp-addr)
//
// Accepted connections have TCP_NODELAY and keep-alive set, as package net does
// by default.
func Listen(addr, protocol, flag string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, &ListenError{Addr: addr, Protocol: protocol, Flag: flag, Err: err}
	}
	return ln, nil
}

// ListenError is returned by Listen.
type ListenError struct {
	Addr     string
	Protocol string
	Flag     string // The option that chooses another address.
	Err      error
}

func (e *ListenError) Error() string {
	cause := e.Err
	var op *net.OpError
	if errors.As(cause, &op) {
		cause = op.Err // Without "listen tcp 0.0.0.0:5672", which we say better.
	}
	var errno syscall.Errno
	if errors.As(cause, &errno) {
		cause = errno // Without the name of the system call.
	}
	return fmt.Sprintf("cannot listen on %s for %s: %v (choose another address with %s)", e.Addr, e.Protocol, cause, e.Flag)
}

func (e *ListenError) Unwrap() error { return e.Err }

// IsLoopback reports whether a is an address of this machine's loopback
// interface, or of a Unix socket. An address that a proxy has named is one only
// if the proxy is on this machine too.
func IsLoopback(a net.Addr) bool {
	switch a := a.(type) {
	case *proxiedAddr:
		return a.near
	case *net.TCPAddr:
		return a.IP.IsLoopback()
	case *net.UnixAddr:
		return true
	}
	return false
}

// ConnName names a connection as RabbitMQ does, from the peer to us:
// "127.0.0.1:53412 -> 127.0.0.1:5672".
func ConnName(c net.Conn) string {
	return c.RemoteAddr().String() + " -> " + c.LocalAddr().String()
}
