package amqp

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

	"leveret/adapters/amqp/wire"
	"leveret/adapters/internal/netx"
	"leveret/core"
	"leveret/core/auth"
)

// Options configures a Server. Zero values mean the default in brackets.
type Options struct {
	Broker *core.Broker // Required.
	Logger *slog.Logger // [slog.Default()]

	// ServerProduct and ServerVersion are what server-properties call us
	// ["Leveret", the build's version]. Some clients look: kombu sends
	// basic.qos with global=true only to "RabbitMQ" of a version below 4.
	ServerProduct string
	ServerVersion string
	ClusterName   string // Shown as cluster_name. ["leveret"]
	// Places say where each protocol is spoken ("port 1883"), by the API's name
	// of it, to tell in the log about clients that have come to the wrong port.
	Places map[string][]string

	// Mechanisms are the authentication mechanisms that are offered, of PLAIN,
	// AMQPLAIN, ANONYMOUS (as guest) and EXTERNAL. [all]
	Mechanisms []string
	// CertificateUser is the user that a client's certificate is for, which the
	// connection has verified. [nil: EXTERNAL is not offered]
	CertificateUser func(*x509.Certificate) (string, error)

	ChannelMax uint16 // Channels a connection may have open at a time. [2047]
	FrameMax   uint32 // Bytes of the longest frame. [131072]
	Heartbeat  uint16 // Seconds, proposed to clients. [60]; NoHeartbeat proposes none.

	NoHeartbeat bool

	// MaxChannels is how many channels all connections together may have open;
	// 0 for any number.
	MaxChannels int

	// MaxConsumers is how many consumers a channel may have; 0 for any number.
	MaxConsumers int

	// MaxMessageSize bounds a message's body in bytes. [128 MiB]
	MaxMessageSize uint64
	// MaxUnauthenticated bounds the connections that have not logged in. [1000]
	MaxUnauthenticated int

	HandshakeTimeout time.Duration // From accept to connection.open. [10 s]
	FailedLoginDelay time.Duration // How long a refused client is kept waiting. [3 s]
	ShutdownTimeout  time.Duration // How long clients may take to say goodbye. [3 s]
}

// The defaults of Options.
const (
	defaultChannelMax         = 2047
	defaultFrameMax           = 131072
	defaultHeartbeat          = 60
	defaultMaxMessageSize     = 128 << 20
	defaultMaxUnauthenticated = 1000
	defaultHandshakeTimeout   = 10 * time.Second
	defaultFailedLoginDelay   = 3 * time.Second
	defaultShutdownTimeout    = 3 * time.Second
)

// tickEvery is how often a server looks at its connections' clocks:
// handshakes, close handshakes, heartbeats.
const tickEvery = 250 * time.Millisecond

// Server speaks AMQP 0-9-1 for a broker. One Server may serve several
// listeners. Its methods may be called by any goroutine.
type Server struct {
	// Fixed by NewServer.
	opts       Options
	broker     *core.Broker
	log        *slog.Logger
	processors int32

	busy     atomic.Int32 // Connections whose reads come back full.
	batches  sync.Pool    // Of *batch: messages being published.
	replyTo  sync.Map     // Direct reply-to queues that are alive, by virtual host and name.
	lastConn atomic.Uint64

	ticking sync.Mutex // One look at the clocks at a time.

	mu struct {
		sync.Mutex
		conns    map[*conn]struct{}
		channels map[string]int64 // Open channels by user.
		open     int64            // All of them.
		closing  bool
	}
}

// NewServer makes a server; Serve starts it.
func NewServer(o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	setDefault(&o.ServerProduct, "Leveret")
	setDefault(&o.ServerVersion, "0.1.0")
	setDefault(&o.ClusterName, "leveret")
	if o.Mechanisms == nil {
		o.Mechanisms = []string{"PLAIN", "AMQPLAIN", "ANONYMOUS", external}
	}
	setDefault(&o.ChannelMax, defaultChannelMax)
	setDefault(&o.FrameMax, defaultFrameMax)
	setDefault(&o.Heartbeat, defaultHeartbeat)
	if o.NoHeartbeat {
		o.Heartbeat = 0
	}
	setDefault(&o.MaxMessageSize, defaultMaxMessageSize)
	setDefault(&o.MaxUnauthenticated, defaultMaxUnauthenticated)
	setDefault(&o.HandshakeTimeout, defaultHandshakeTimeout)
	setDefault(&o.FailedLoginDelay, defaultFailedLoginDelay)
	setDefault(&o.ShutdownTimeout, defaultShutdownTimeout)
	s := &Server{opts: o, broker: o.Broker, log: o.Logger, processors: int32(runtime.GOMAXPROCS(0))}
	s.batches.New = func() any { return new(batch) }
	s.mu.conns = make(map[*conn]struct{})
	s.mu.channels = make(map[string]int64)
	return s
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// platform is what server-properties call the platform.
func platform() string { return runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH }

// Serve accepts connections from ln until ctx ends, then says goodbye to those
// it has (320 CONNECTION_FORCED) and returns when the last has gone, within
// ShutdownTimeout. A nil error means it was asked to stop. It may be called
// for several listeners at a time; the first to end ends all connections.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
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
	err := netx.Serve(ctx, ln, s.serveConn, netx.ServeOptions{
		MaxUnauthenticated: s.opts.MaxUnauthenticated,
		Logger:             s.log,
	})
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return err
}

// Shutdown closes every connection as if Serve's context had ended, and
// returns when the last has gone or ctx ends. It does not close listeners.
func (s *Server) Shutdown(ctx context.Context) error {
	s.sayGoodbye()
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	for {
		s.mu.Lock()
		n := len(s.mu.conns)
		s.mu.Unlock()
		if n == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}

// sayGoodbye sends connection.close to all clients. Those that do not answer
// in time are dropped by tick.
func (s *Server) sayGoodbye() {
	s.mu.Lock()
	s.mu.closing = true
	conns := make([]*conn, 0, len(s.mu.conns))
	for c := range s.mu.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		c.force("broker forced connection closure with reason 'shutdown'", s.opts.ShutdownTimeout)
	}
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

// addChannel counts one more channel of a user, if its limit and that of the
// node allow it.
func (s *Server) addChannel(user string) *exception {
	u, _ := s.broker.Auth().User(user)
	limit, limited := u.Limit(auth.LimitChannels)
	s.mu.Lock()
	defer s.mu.Unlock()
	if limited && s.mu.channels[user] >= limit {
		return raise(wire.ReplyNotAllowed, 0,
			"number of channels opened for user '%s' has reached the maximum allowed user limit of %d", user, limit)
	}
	if most := int64(s.opts.MaxChannels); most > 0 && s.mu.open >= most {
		return raise(wire.ReplyNotAllowed, 0,
			"number of channels opened on node '%s' has reached the maximum allowed limit of %d", s.broker.NodeName(), most)
	}
	s.mu.channels[user]++
	s.mu.open++
	return nil
}

func (s *Server) removeChannel(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.open--
	if s.mu.channels[user]--; s.mu.channels[user] == 0 {
		delete(s.mu.channels, user)
	}
}

// tick looks at every connection's clocks until ctx ends. One goroutine for
// all connections; a look costs a few atomic loads. Each Serve has one.
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
		s.mu.Lock()
		for c := range s.mu.conns {
			conns = append(conns, c)
		}
		s.mu.Unlock()
		s.ticking.Lock()
		now := time.Now()
		for i, c := range conns {
			c.tick(now)
			conns[i] = nil
		}
		s.ticking.Unlock()
		conns = conns[:0]
	}
}

// alarmsChanged tells the connections that were held back that they may go on.
// Those to be held notice when they have published once more.
func (s *Server) alarmsChanged() {
	if s.broker.Alarms().Held() {
		return
	}
	s.mu.Lock()
	conns := make([]*conn, 0, len(s.mu.conns))
	for c := range s.mu.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		if c.publishes.Load() {
			c.post(c.noteAlarms)
		}
	}
}
