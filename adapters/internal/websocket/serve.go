package websocket

import (
	"context"
	"net"
	"time"

	"leveret/adapters/internal/netx"
)

// Options say what a WebSocket endpoint takes. Zero values mean the default in
// brackets.
type Options struct {
	// Path is the only path served; others get 404. ["/ws"]
	Path string

	// Subprotocols are those spoken, the best first. A client that offers none
	// of them is accepted without one, unless RequireSubprotocol.
	Subprotocols       []string
	RequireSubprotocol bool

	// Origins are the values of the Origin header that are taken, as browsers
	// send them ("https://example.org"). [all] A request without Origin is not
	// a browser's and always taken.
	Origins []string

	// Text has messages that are valid UTF-8 leave as text and the others as
	// binary. Otherwise all are binary.
	Text bool
	// BinaryOnly refuses text messages.
	BinaryOnly bool

	// MessageMax bounds a message from the client, over all its fragments, in
	// bytes. [no limit: a message is a piece of a stream]
	MessageMax int64

	// Foreign is called with the first bytes of a connection, or with the error of
	// reading them, such as a failed TLS handshake. True means that what comes is
	// no HTTP; the connection is closed then.
	Foreign func(nc net.Conn, first []byte, err error) bool

	// HandshakeTimeout is how long the HTTP request may take. [10 s]
	HandshakeTimeout time.Duration
}

const (
	defaultPath             = "/ws"
	defaultHandshakeTimeout = 10 * time.Second
)

// Handler makes of h, which gets a *Conn for each client that has completed
// the handshake, a handler for netx.Serve.
func Handler(o Options, h netx.Handler) netx.Handler {
	if o.Path == "" {
		o.Path = defaultPath
	}
	if o.HandshakeTimeout <= 0 {
		o.HandshakeTimeout = defaultHandshakeTimeout
	}
	return func(ctx context.Context, nc net.Conn, loggedIn func()) {
		// HTTP needs a deep stack, which a goroutine keeps: the one that stays
		// with an idle client shall not have been there.
		accepted := make(chan *Conn)
		go func() {
			defer close(accepted)
			stop := context.AfterFunc(ctx, func() { nc.Close() })
			defer stop()
			if c := handshake(nc, &o); c != nil {
				accepted <- c
			}
		}()
		if c := <-accepted; c != nil {
			h(ctx, c, loggedIn)
		}
	}
}
