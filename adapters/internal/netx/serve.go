package netx

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Handler serves one connection and returns when it has ended. It closes c
// (Serve does too, after it). It calls loggedIn, which any goroutine may call
// any number of times, when the client has shown who it is. When ctx ends it
// says goodbye and returns.
type Handler func(ctx context.Context, c net.Conn, loggedIn func())

// ServeOptions are the knobs of Serve. The zero value serves.
type ServeOptions struct {
	// Logger gets what the operator should know; nil: slog.Default().
	Logger *slog.Logger

	// MaxUnauthenticated bounds the connections that have not logged in. One
	// more closes the oldest of them: those who log in need a moment, those
	// who only hold a place are the old ones. 0: 4096.
	MaxUnauthenticated int

	// StopGrace is how long handlers have, once stopping, before their
	// connections are closed under them. 0: 10 s.
	StopGrace time.Duration
}

const (
	acceptPauseMin = 5 * time.Millisecond
	acceptPauseMax = 250 * time.Millisecond
	logEvery       = time.Second
)

// Serve accepts connections until ctx ends or ln fails, and starts a goroutine
// with handle for each. It closes ln, ends the context of those it has, and
// returns when the last handler has. A nil error means it was asked to stop.
//
// Without free descriptors or memory it pauses and tries again: connections
// wait in the kernel's queue meanwhile.
func Serve(ctx context.Context, ln net.Listener, handle Handler, o ServeOptions) error {
	s := &server{ln: ln, handle: handle, log: o.Logger, strangersMax: o.MaxUnauthenticated}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.strangersMax <= 0 {
		s.strangersMax = 4096
	}
	if o.StopGrace <= 0 {
		o.StopGrace = 10 * time.Second
	}
	s.mu.conns = make(map[net.Conn]struct{})

	closed := make(chan struct{})
	keepOpen := context.AfterFunc(ctx, func() { ln.Close(); close(closed) })
	connCtx, endConns := context.WithCancel(ctx)
	err := s.accept(ctx, connCtx)
	if keepOpen() {
		ln.Close()
	} else {
		<-closed // So that the port is free when we return.
	}
	endConns()
	late := time.AfterFunc(o.StopGrace, s.closeAll)
	s.handlers.Wait()
	late.Stop()
	return err
}

type server struct {
	// Fixed by Serve.
	ln           net.Listener
	handle       Handler
	log          *slog.Logger
	strangersMax int

	handlers sync.WaitGroup

	mu struct {
		sync.Mutex
		conns     map[net.Conn]struct{}
		strangers list.List // net.Conn that have not logged in, oldest first.
		turnedOut int       // Closed for that since logged.
		logged    time.Time // When turnedOut was last logged.
	}
}

// accept is the loop. A nil error means that ctx ended.
func (s *server) accept(ctx, connCtx context.Context) error {
	pause := acceptPauseMin
	var failures int
	var logged time.Time
	for {
		c, err := s.ln.Accept()
		if ctx.Err() != nil {
			if err == nil {
				c.Close()
			}
			return nil
		}
		if err == nil {
			pause = acceptPauseMin
			s.start(connCtx, c)
			continue
		}
		if !isPassing(err) {
			return fmt.Errorf("accept on %s: %w", s.ln.Addr(), err)
		}
		failures++
		if now := time.Now(); now.Sub(logged) >= logEvery {
			s.log.Error("cannot accept connections, trying again", "address", s.ln.Addr().String(), "error", err, "failures", failures)
			logged, failures = now, 0
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, acceptPauseMax)
	}
}

// isPassing reports whether accepting may work again later: what accept(2)
// reports of a single connection, and the lack of something.
func isPassing(err error) bool {
	for _, e := range passingErrors {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

var passingErrors = []error{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
	syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EINTR, syscall.EAGAIN,
	syscall.EPERM, syscall.EPROTO, syscall.ETIMEDOUT, syscall.ENETDOWN,
	syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.EHOSTUNREACH,
}

// start runs the handler of c, as a stranger at first.
func (s *server) start(ctx context.Context, c net.Conn) {
	s.mu.Lock()
	s.mu.conns[c] = struct{}{}
	place := s.mu.strangers.PushBack(c)
	var oldest net.Conn
	var turnedOut int
	if s.mu.strangers.Len() > s.strangersMax {
		oldest = s.mu.strangers.Remove(s.mu.strangers.Front()).(net.Conn)
		s.mu.turnedOut++
		if now := time.Now(); now.Sub(s.mu.logged) >= logEvery {
			turnedOut, s.mu.turnedOut, s.mu.logged = s.mu.turnedOut, 0, now
		}
	}
	s.mu.Unlock()

	if turnedOut > 0 {
		s.log.Warn("too many connections that have not logged in, closing the oldest",
			"address", s.ln.Addr().String(), "limit", s.strangersMax, "closed", turnedOut)
	}
	if oldest != nil {
		closeNow(oldest)
	}
	loggedIn := func() {
		s.mu.Lock()
		s.mu.strangers.Remove(place) // Nothing if it is not in the list any more.
		s.mu.Unlock()
	}
	s.handlers.Go(func() {
		defer func() {
			loggedIn()
			s.mu.Lock()
			delete(s.mu.conns, c)
			s.mu.Unlock()
			closeNow(c)
		}()
		if p := proxiedOf(c); p != nil {
			stop := context.AfterFunc(ctx, func() { closeNow(c) })
			err := p.header()
			if !stop() || err != nil {
				return
			}
		}
		s.handle(ctx, c, loggedIn)
	})
}

// closeAll closes the connections of handlers that have not come to an end.
func (s *server) closeAll() {
	s.mu.Lock()
	conns := slices.Collect(maps.Keys(s.mu.conns))
	s.mu.Unlock()
	if len(conns) == 0 {
		return
	}
	s.log.Warn("closing connections that did not end in time", "address", s.ln.Addr().String(), "connections", len(conns))
	for _, c := range conns {
		closeNow(c)
	}
}
