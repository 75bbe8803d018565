package mgmt

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/go-chi/chi/v5"

	"leveret/adapters/internal/netx"
	"leveret/core"
)

// RabbitVersion is the version of RabbitMQ that clients may take us for: tools
// look at it to know which fields and endpoints to expect.
const RabbitVersion = "4.3.0"

// Options configures a Server.
type Options struct {
	Broker  *core.Broker // Required.
	Logger  *slog.Logger // [slog.Default()]
	Audit   *slog.Logger // Where administrative acts are written down. [Logger]
	Version string       // Our own, for people.
	// Listeners are the ports that are open, of every protocol.
	Listeners []Listener
	// Places say where each protocol is spoken ("port 5672"), by the API's name
	// of it, to tell in the log about clients that have come to the wrong port.
	Places map[string][]string
	// NoRates keeps no rates: message_stats and everything called _details is left
	// out of answers.
	NoRates bool
	// NoStats shows what is set and declared only, as disable_stats=true in a
	// request does; QueueTotals shows how many messages queues have nevertheless,
	// as enable_queue_totals=true.
	NoStats, QueueTotals bool
	// MaxBody bounds the bodies of requests in bytes, but not those of
	// definitions. [10 MiB]
	MaxBody int64
	// CertificateUser is the user that a client's certificate is for, which the
	// connection has verified: who shows no credentials is that user. [nil: nobody]
	CertificateUser func(*x509.Certificate) (string, error)
	DataDir         string // Where messages are kept, for people; empty for memory only.
	// Backup copies the broker's data directory to dir, which is absolute. Nil
	// if there is none.
	Backup func(dir string) error
	// SetMemoryLimit changes how much messages may take, in bytes, and what
	// follows from it. Nil changes the broker's account only.
	SetMemoryLimit func(n int64)
	// Certificates lists those that listeners show. Nil for none.
	Certificates func() []Certificate
	Web          WebOptions
	Control      Control // Nil if the process cannot be asked for anything.
	MachineBytes int64   // The memory that shares refer to; 0 if unknown.
	// FailedLoginDelay is how long who fails to log in waits for the answer.
	// [1 s]
	FailedLoginDelay time.Duration
	// Shovels are the dynamic shovels that run; nil if there are none.
	Shovels Shovels
	// Config returns the settings in force, to be encoded as JSON, without
	// secrets. Nil if there are none.
	Config func() any
}

// Certificate is a server's.
type Certificate struct {
	File, Subject string
	NotAfter      time.Time
}

// Listener is an open port.
type Listener struct {
	Protocol string // As the API calls it: "amqp", "http".
	Addr     net.Addr
}

// Server is the management API of one broker. Its methods may be called by any
// goroutine.
type Server struct {
	// Fixed by NewServer.
	opts    Options
	broker  *core.Broker
	log     *slog.Logger
	started time.Time
	handler http.Handler
	rates   *sampler
	audit   audit
	streams streams
	moves   moves
	guesses guesses
}

// NewServer makes a server; Serve or Handler put it to work, Run keeps its
// rates up to date.
func NewServer(o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.FailedLoginDelay == 0 {
		o.FailedLoginDelay = defaultFailedLoginDelay
	}
	if o.MaxBody == 0 {
		o.MaxBody = maxBody
	}
	s := &Server{opts: o, broker: o.Broker, log: o.Logger, started: time.Now()}
	s.rates = newSampler(s)
	if s.audit.log = o.Audit; s.audit.log == nil {
		s.audit.log = o.Logger
	}
	s.handler = s.routes()
	return s
}

// Listen opens a TCP listener; its error names the address and the flag that
// changes it.
func Listen(addr, protocol, flag string) (net.Listener, error) {
	return netx.Listen(addr, protocol, flag)
}

// Proxied makes of ln, for any protocol, a listener behind a proxy that begins
// every connection with a PROXY header, within timeout. TLS goes on top.
func Proxied(ln net.Listener, timeout time.Duration, log *slog.Logger) net.Listener {
	return netx.Proxied(ln, timeout, log)
}

// Handler is the API, for servers of the caller's own.
func (s *Server) Handler() http.Handler { return s.handler }

// stopGrace is how long requests under way may take when the server stops.
const stopGrace = 2 * time.Second

// transferMax is how long a request or an answer may take on its way: some are
// definitions of 100,000 queues, some clients have stopped reading.
const transferMax = 5 * time.Minute

// connectionsMax bounds the connections of one listener; the next ones wait in
// the kernel. It keeps HTTP clients from using up the descriptors of others.
const connectionsMax = 1000

// Serve answers requests from ln until ctx ends, lets those under way finish,
// and returns. A nil error means it was asked to stop.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	server := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       transferMax,
		WriteTimeout:      transferMax,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return context.WithValue(context.Background(), stopKey{}, ctx) },
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		// The address is looked at later: a proxy may still have to name it.
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
	}
	stopped := make(chan struct{})
	defer context.AfterFunc(ctx, func() {
		defer close(stopped)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
		defer cancel()
		if server.Shutdown(grace) != nil {
			server.Close()
		}
	})()
	err := server.Serve(bounded(ln, connectionsMax, s.noteForeign))
	if errors.Is(err, http.ErrServerClosed) {
		<-stopped
		return nil
	}
	return err
}

// connKey is where a request's context has its net.Conn.
type connKey struct{}

// noteForeign looks at the first bytes b of a connection, or the error of reading
// them, and reports whether they are no HTTP, in the log too.
func (s *Server) noteForeign(c net.Conn, b []byte, err error) bool {
	return netx.LogForeign(s.log, s.opts.Places, "http", c, b, err)
}

// call is one request on its way through.
type call struct {
	s    *Server
	w    http.ResponseWriter
	r    *http.Request
	user principal
	look *look // Who is answered instead of a client, or nil.

	spans spans // What the request wants samples of.

	bySession map[*core.Session]*core.Row // Made by rowOf when first asked.

	// For the audit: the request's body, if it is an object that was read, and why
	// it failed.
	sent   body
	reason string
}

func (s *Server) newCall(w http.ResponseWriter, r *http.Request) *call {
	l, _ := r.Context().Value(lookKey{}).(*look)
	return &call{s: s, w: w, r: r, look: l}
}

// param returns a path segment, decoded once.
func (c *call) param(name string) string {
	raw := chi.URLParam(c.r, name)
	if s, err := url.PathUnescape(raw); err == nil {
		return s
	}
	return raw
}

// flag reports whether the query says name=true.
func (c *call) flag(name string) bool { return c.r.URL.Query().Get(name) == "true" }

// noStats reports whether the answer is to have no statistics. Who runs the
// broker gets them over its socket whatever is set: ctl has no other way.
func (c *call) noStats() bool {
	return c.s.opts.NoStats && !c.overSocket() || c.flag("disable_stats")
}

// queueTotals reports whether such an answer has counts of messages.
func (c *call) queueTotals() bool { return c.s.opts.QueueTotals || c.flag("enable_queue_totals") }

// node is the name of the one node there is.
func (s *Server) node() string { return s.broker.NodeName() }
