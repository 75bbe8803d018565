package stomp

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"leveret/adapters/internal/netx"
	"leveret/adapters/internal/websocket"
	"leveret/core"
)

// Options configures a Server. Zero values mean the default in brackets.
type Options struct {
	Broker *core.Broker // Required.
	Logger *slog.Logger // [slog.Default()]

	// ServerName is the header server of CONNECTED, "name/version". It must not
	// contain a colon or a backslash. ["Leveret/0.1.0"]
	ServerName string
	// HideServer leaves that header out.
	HideServer bool

	// DefaultUser and DefaultPassword stand in for a login or passcode that a
	// CONNECT lacks. ["guest"]
	DefaultUser, DefaultPassword string
	// NoDefaultUser refuses such a CONNECT instead.
	NoDefaultUser bool
	// CertificateUser is the user that a client's certificate is for, which the
	// connection has verified: who has one and gives no login is that user. [nil:
	// certificates log nobody in]
	CertificateUser func(*x509.Certificate) (string, error)
	// DefaultVHost is entered by those who name no host. ["/"]
	DefaultVHost string
	// DefaultTopicExchange is behind /topic destinations. ["amq.topic"]
	DefaultTopicExchange string
	// NackDiscards makes a NACK that does not say so discard, or dead-letter,
	// the message instead of requeueing it.
	NackDiscards bool
	// ImplicitConnect logs clients that do not begin with CONNECT in as the
	// default user; over TCP only.
	ImplicitConnect bool
	// AckAcross lets a cumulative ACK settle the older deliveries of every
	// subscription of its connection, as RabbitMQ does, instead of those of its
	// own, as the specification says.
	AckAcross bool

	// MaxMessageSize bounds a message's body in bytes. [128 MiB]
	MaxMessageSize int64
	// MaxUnauthenticated bounds the connections that have not logged in. [1000]
	MaxUnauthenticated int

	LoginTimeout     time.Duration // From accept to CONNECT. [10 s]
	FailedLoginDelay time.Duration // How long a refused client is kept waiting. [3 s]
	ShutdownTimeout  time.Duration // How long clients may take to leave. [3 s]

	// Places say where each protocol is spoken ("port 1883"), by the API's name
	// of it, to tell in the log about clients that have come to the wrong port.
	Places map[string][]string

	// Web is for ServeWeb.
	Web WebOptions
}

// WebOptions is what concerns STOMP over WebSocket only.
type WebOptions struct {
	Path    string   // ["/ws"]
	Origins []string // Values of the Origin header that are taken. [all]

	// BasicAuth takes login and passcode from the HTTP request's
	// Authorization header instead of CONNECT.
	BasicAuth bool
	// Binary has all messages leave as binary. Otherwise those that are valid
	// UTF-8 are text, which every client takes.
	Binary bool
}

// The defaults of Options.
const (
	defaultMaxMessageSize     = 128 << 20
	defaultMaxUnauthenticated = 1000
	defaultLoginTimeout       = 10 * time.Second
	defaultFailedLoginDelay   = 3 * time.Second
	defaultShutdownTimeout    = 3 * time.Second
)

// tickEvery is how often a server looks at its connections' clocks: logins,
// heart-beats.
const tickEvery = 250 * time.Millisecond

// Server speaks STOMP for a broker. One Server may serve several listeners.
// Its methods may be called by any goroutine.
type Server struct {
	// Fixed by NewServer.
	opts       Options
	broker     *core.Broker
	log        *slog.Logger
	processors int32

	busy     atomic.Int32 // Connections whose reads come back full.
	batches  sync.Pool    // Of *batch: messages being published.
	lastConn atomic.Uint64

	ticking sync.Mutex // One look at the clocks at a time.

	mu struct {
		sync.Mutex
		conns   map[*conn]struct{}
		closing bool
	}
}

// NewServer makes a server; Serve and ServeWeb start it.
func NewServer(o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	setDefault(&o.ServerName, "Leveret/0.1.0")
	setDefault(&o.DefaultUser, "guest")
	setDefault(&o.DefaultPassword, "guest")
	setDefault(&o.DefaultVHost, "/")
	setDefault(&o.DefaultTopicExchange, "amq.topic")
	setDefault(&o.MaxMessageSize, defaultMaxMessageSize)
	setDefault(&o.MaxUnauthenticated, defaultMaxUnauthenticated)
	setDefault(&o.LoginTimeout, defaultLoginTimeout)
	setDefault(&o.FailedLoginDelay, defaultFailedLoginDelay)
	setDefault(&o.ShutdownTimeout, defaultShutdownTimeout)
	s := &Server{opts: o, broker: o.Broker, log: o.Logger, processors: int32(runtime.GOMAXPROCS(0))}
	s.batches.New = func() any { return new(batch) }
	s.mu.conns = make(map[*conn]struct{})
	return s
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Serve accepts STOMP clients from ln until ctx ends, then says goodbye to
// those it has with an ERROR and returns when the last has gone, within
// ShutdownTimeout. A nil error means it was asked to stop. It may be called
// for several listeners at a time; the first to end ends all connections.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	return s.serve(ctx, ln, s.serveConn)
}

// ServeWeb is Serve for STOMP over WebSocket.
func (s *Server) ServeWeb(ctx context.Context, ln net.Listener) error {
	return s.serve(ctx, ln, websocket.Handler(websocket.Options{
		Path:             s.opts.Web.Path,
		Origins:          s.opts.Web.Origins,
		Subprotocols:     []string{"v12.stomp", "v11.stomp", "v10.stomp"},
		Text:             !s.opts.Web.Binary,
		HandshakeTimeout: s.opts.LoginTimeout,
		Foreign: func(nc net.Conn, b []byte, err error) bool {
			return netx.LogForeign(s.log, s.opts.Places, "http/web-stomp", nc, b, err)
		},
	}, s.serveConn))
}

func (s *Server) serve(ctx context.Context, ln net.Listener, handle netx.Handler) error {
	s.mu.Lock()
	s.mu.closing = false
	s.mu.Unlock()
	tickCtx, stopTicking := context.WithCancel(context.WithoutCancel(ctx))
	var ticker sync.WaitGroup
	ticker.Go(func() { s.tick(tickCtx) })
	stopWatching := s.broker.Alarms().Watch(s.alarmsChanged)
	defer func() {
		stopWatching()
		stopTicking()
		ticker.Wait()
	}()
	defer context.AfterFunc(ctx, s.sayGoodbye)()
	err := netx.Serve(ctx, ln, handle, netx.ServeOptions{
		MaxUnauthenticated: s.opts.MaxUnauthenticated,
		Logger:             s.log,
	})
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return err
}

// sayGoodbye ends all connections. Those that do not leave in time are dropped
// by tick.
func (s *Server) sayGoodbye() {
	s.mu.Lock()
	s.mu.closing = true
	s.mu.Unlock()
	for _, c := range s.all(nil) {
		c.force("the broker is shutting down", s.opts.ShutdownTimeout)
	}
}

// all appends the connections there are.
func (s *Server) all(conns []*conn) []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.mu.conns {
		conns = append(conns, c)
	}
	return conns
}

// add lists c. It reports false if the server is shutting down.
func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closing {
		return false
	}
	s.mu.conns[c] = struct{}{}
	return true
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.conns, c)
}

// tick looks at every connection's clocks until ctx ends. One goroutine for
// all connections; a look costs a few atomic loads. Each listener has one.
func (s *Server) tick(ctx context.Context) {
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	var conns []*conn
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		conns = s.all(conns[:0])
		s.ticking.Lock()
		now := time.Now()
		for i, c := range conns {
			c.tick(now)
			conns[i] = nil
		}
		s.ticking.Unlock()
	}
}

// alarmsChanged lets the connections that were held back go on. Those to be
// held notice when they have published once more.
func (s *Server) alarmsChanged() {
	if s.broker.Alarms().Held() {
		return
	}
	for _, c := range s.all(nil) {
		if c.publishes.Load() {
			c.post(func() {})
		}
	}
}
