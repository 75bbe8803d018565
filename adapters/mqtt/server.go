package mqtt

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
	"leveret/core/wheel"
)

// Options configures a Server. Zero values mean the default in brackets.
type Options struct {
	Broker *core.Broker // Required.
	Logger *slog.Logger // [slog.Default()]

	Exchange string // The topic exchange of all topics, looked up in the client's virtual host. ["amq.topic"]
	VHost    string // Of clients that name none. ["/"]

	// AnonymousUser is who a client without credentials is, as far as that user
	// may log in from where it is. ["guest"]; NoAnonymous refuses such clients.
	AnonymousUser string
	NoAnonymous   bool
	// CertificateUser is the user that a client's certificate is for, which the
	// connection has verified: who has one and gives neither name nor password is
	// that user. [nil: certificates log nobody in]
	CertificateUser func(*x509.Certificate) (string, error)
	// IgnoreColons takes user names as they are: "a:b" is no user b in virtual
	// host a.
	IgnoreColons bool
	// KeepUnauthorized leaves a connection open whose publish or subscription
	// was refused.
	KeepUnauthorized bool

	// MaxPacket bounds a packet in bytes once the client has logged in. [16 MiB]
	MaxPacket int
	// MaxUnauthenticated bounds the connections that have not logged in. [1000]
	MaxUnauthenticated int
	// MaxSubscriptions bounds the filters of one session. [65536]
	MaxSubscriptions int
	// Prefetch bounds what is sent to a client and not yet acknowledged; its
	// Receive Maximum counts if it is smaller. [256]
	Prefetch int
	// ReceiveMaximum is how many QoS 1 and 2 messages a client may have
	// unacknowledged. [2048]
	ReceiveMaximum int
	// TopicAliasMax is how many topic aliases a client may use, and how many are
	// used towards it. [16]; negative for none.
	TopicAliasMax int
	// SessionExpiryMax bounds how long sessions outlive their connections.
	// [24 h]; negative for no bound.
	SessionExpiryMax time.Duration
	// KeepAliveMax is the longest keep alive, in seconds; clients of MQTT 5 that
	// ask for more, or for none, are given this. [none]
	KeepAliveMax uint16

	WebSocketPath    string   // ["/ws"]
	WebSocketOrigins []string // Origins of browsers that are let in. [all]

	// Places say where each protocol is spoken ("port 5672"), by the API's name
	// of it, to tell in the log about clients that have come to the wrong port.
	Places map[string][]string

	// SysInterval is how often $SYS topics are published. [never]
	SysInterval time.Duration
	SysUser     string // Who publishes them. ["guest"]
	Version     string // What they say of it.

	ConnectTimeout   time.Duration // From accept to CONNECT. [10 s]
	FailedLoginDelay time.Duration // How long a refused client is kept waiting. [1 s]
	ShutdownTimeout  time.Duration // How long clients may take to close. [3 s]
	WriteTimeout     time.Duration // A client that takes not a byte for so long is dropped. [15 s]
}

// The defaults of Options.
const (
	defaultMaxPacket          = 16 << 20
	defaultMaxUnauthenticated = 1000
	defaultMaxSubscriptions   = 65536
	defaultPrefetch           = 256
	defaultReceiveMaximum     = 2048
	defaultTopicAliasMax      = 16
	defaultSessionExpiryMax   = 24 * time.Hour
	defaultConnectTimeout     = 10 * time.Second
	defaultFailedLoginDelay   = time.Second
	defaultShutdownTimeout    = 3 * time.Second
	defaultWriteTimeout       = 15 * time.Second
)

// connectMax bounds a packet before the client has logged in.
const connectMax = 64 << 10

// Server speaks MQTT for a broker. One Server may serve several listeners. Its
// methods may be called by any goroutine.
type Server struct {
	// Fixed by NewServer.
	opts       Options
	broker     *core.Broker
	log        *slog.Logger
	processors int32
	began      time.Time
	clocks     *wheel.Wheel

	busy     atomic.Int32 // Connections whose reads come back full.
	batches  sync.Pool    // Of *batch: messages being published.
	lastConn atomic.Uint64
	stopping atomic.Bool // Saying goodbye: sessions are neither ended nor their wills sent.
	stats    stats

	// full is an outlet that has just run out of room for QoS 0 messages, for the
	// publisher that has lost some there though it sent them to others too.
	// Whoever finds it takes it: it is a hint.
	full atomic.Pointer[outlet]

	mu struct {
		sync.Mutex
		conns   map[*conn]struct{}
		serving int
		stop    context.CancelFunc // Ends what runs while serving.
		ended   sync.WaitGroup
	}
}

// stats are counters for operators and $SYS.
type stats struct {
	received, sent             atomic.Uint64 // PUBLISHes; sent ones of connections that have ended.
	connections                atomic.Int64
	dropped                    atomic.Uint64 // Messages not sent because they cannot be said in MQTT.
	bytesReceived, bytesSent   atomic.Uint64 // Of connections that have ended.
	connectsTotal, connectsMax atomic.Int64
}

// NewServer makes a server; Serve starts it.
func NewServer(o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	setDefault(&o.Exchange, "amq.topic")
	setDefault(&o.VHost, "/")
	setDefault(&o.AnonymousUser, "guest")
	setDefault(&o.SysUser, "guest")
	setDefault(&o.MaxPacket, defaultMaxPacket)
	setDefault(&o.MaxUnauthenticated, defaultMaxUnauthenticated)
	setDefault(&o.MaxSubscriptions, defaultMaxSubscriptions)
	setDefault(&o.Prefetch, defaultPrefetch)
	setDefault(&o.ReceiveMaximum, defaultReceiveMaximum)
	o.ReceiveMaximum = min(o.ReceiveMaximum, 65535)
	setDefault(&o.TopicAliasMax, defaultTopicAliasMax)
	o.TopicAliasMax = min(max(o.TopicAliasMax, 0), 65535)
	setDefault(&o.SessionExpiryMax, defaultSessionExpiryMax)
	setDefault(&o.ConnectTimeout, defaultConnectTimeout)
	setDefault(&o.FailedLoginDelay, defaultFailedLoginDelay)
	setDefault(&o.ShutdownTimeout, defaultShutdownTimeout)
	setDefault(&o.WriteTimeout, defaultWriteTimeout)
	s := &Server{opts: o, broker: o.Broker, log: o.Logger, processors: int32(runtime.GOMAXPROCS(0)), began: time.Now()}
	s.clocks = wheel.New(s.now())
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

// now is the clock of the server's timers: ms since it was made.
func (s *Server) now() int64 { return int64(time.Since(s.began) / time.Millisecond) }

// Serve accepts connections from ln until ctx ends, then says goodbye to those
// it has (MQTT 5: DISCONNECT 0x8B) and returns when the last has gone, within
// ShutdownTimeout. A nil error means it was asked to stop. It may be called
// for several listeners at a time; the first to end ends all connections.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	return s.serve(ctx, ln, s.serveConn)
}

// ServeWebSocket does the same for MQTT over WebSocket (6.0.0 of MQTT 5), at
// Options.WebSocketPath and with one of the subprotocols mqtt and mqttv3.1.
func (s *Server) ServeWebSocket(ctx context.Context, ln net.Listener) error {
	return s.serve(ctx, ln, websocket.Handler(websocket.Options{
		Path: s.opts.WebSocketPath, Subprotocols: []string{"mqtt", "mqttv3.1"}, RequireSubprotocol: true, BinaryOnly: true,
		Origins: s.opts.WebSocketOrigins, HandshakeTimeout: s.opts.ConnectTimeout,
		Foreign: func(nc net.Conn, b []byte, err error) bool {
			return netx.LogForeign(s.log, s.opts.Places, "http/web-mqtt", nc, b, err)
		},
	}, s.serveConn))
}

func (s *Server) serve(ctx context.Context, ln net.Listener, h netx.Handler) error {
	s.begin()
	defer s.finish()
	defer context.AfterFunc(ctx, s.sayGoodbye)()
	err := netx.Serve(ctx, ln, h, netx.ServeOptions{
		MaxUnauthenticated: s.opts.MaxUnauthenticated,
		Logger:             s.log,
		StopGrace:          s.opts.ShutdownTimeout + time.Second,
	})
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return err
}

// begin starts what runs while anything is served.
func (s *Server) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.serving++
	if s.mu.serving > 1 {
		return
	}
	s.stopping.Store(false)
	ctx, stop := context.WithCancel(context.Background())
	s.mu.stop = stop
	s.mu.ended.Go(func() { s.clocks.Run(ctx, s.now) })
	stopWatching := s.broker.Alarms().Watch(s.alarmsChanged)
	s.mu.ended.Go(func() {
		<-ctx.Done()
		stopWatching()
	})
	if s.opts.SysInterval > 0 {
		s.mu.ended.Go(func() { s.publishSys(ctx) })
	}
}

// finish ends it with the last Serve.
func (s *Server) finish() {
	s.mu.Lock()
	s.mu.serving--
	last := s.mu.serving == 0
	stop := s.mu.stop
	s.mu.Unlock()
	if last {
		stop()
		s.mu.ended.Wait()
	}
}

// sayGoodbye ends all connections. Those that do not close in time are dropped.
func (s *Server) sayGoodbye() {
	s.stopping.Store(true)
	for _, c := range s.connections() {
		c.force(&failure{codeShutdown, "the broker is stopping"})
	}
}

func (s *Server) connections() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	conns := make([]*conn, 0, len(s.mu.conns))
	for c := range s.mu.conns {
		conns = append(conns, c)
	}
	return conns
}

// add lists c. It reports false if the server is shutting down.
func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping.Load() {
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

// alarmsChanged tells the connections that were held back that they may go on.
// Those to be held notice when they have published once more.
func (s *Server) alarmsChanged() {
	if s.broker.Alarms().Held() {
		return
	}
	for _, c := range s.connections() {
		if c.publishes.Load() {
			c.wakeUp()
		}
	}
}
