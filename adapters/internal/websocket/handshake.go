package websocket

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// requestMax bounds the HTTP request.
const requestMax = 16 << 10

// lingerMax is how long a refused client may take to read why.
const lingerMax = time.Second

// handshake reads the client's HTTP request and answers it. Nil means that it
// was refused; nc is closed, or will be by the caller.
func handshake(nc net.Conn, o *Options) *Conn {
	deadline := time.Now().Add(o.HandshakeTimeout)
	nc.SetDeadline(deadline)
	br := bufio.NewReaderSize(io.LimitReader(nc, requestMax), 1024)
	// No request is as short; what is not one may never come to a line's end.
	if first, err := br.Peek(len("CONNECT\n")); o.Foreign != nil && o.Foreign(nc, first, err) {
		answer(nc, nil, http.StatusBadRequest, "")
		return nil
	}
	r, err := http.ReadRequest(br)
	if err != nil {
		if !errors.Is(err, io.EOF) && !isTimeout(err) {
			answer(nc, nil, http.StatusBadRequest, "")
		}
		return nil
	}
	w := &response{conn: nc, br: br, header: make(http.Header)}
	if r.URL.Path != o.Path {
		answer(nc, r, http.StatusNotFound, "")
		return nil
	}
	subprotocol := choose(o.Subprotocols, websocket.Subprotocols(r))
	if subprotocol == "" && o.RequireSubprotocol && websocket.IsWebSocketUpgrade(r) {
		answer(nc, r, http.StatusBadRequest, "none of the subprotocols offered is spoken here")
		return nil
	}
	up := websocket.Upgrader{
		HandshakeTimeout: o.HandshakeTimeout,
		ReadBufferSize:   256, // Both go with gorilla's Conn, which is not used.
		WriteBufferSize:  256,
		CheckOrigin:      func(r *http.Request) bool { return allowed(o.Origins, r.Header.Get("Origin")) },
		Error: func(_ http.ResponseWriter, r *http.Request, status int, reason error) {
			answer(nc, r, status, reason.Error())
		},
	}
	chosen := http.Header{}
	if subprotocol != "" {
		chosen.Set("Sec-Websocket-Protocol", subprotocol)
	}
	if _, err := up.Upgrade(w, r, chosen); err != nil {
		return nil
	}
	c := newConn(nc, o)
	c.subprotocol = subprotocol
	c.user, c.password, c.authorized = r.BasicAuth()
	return c
}

// choose returns the best of ours that the client offers.
func choose(ours, offered []string) string {
	for _, p := range ours {
		if slices.Contains(offered, p) {
			return p
		}
	}
	return ""
}

func allowed(origins []string, origin string) bool {
	return len(origins) == 0 || origin == "" || slices.Contains(origins, origin)
}

// answer refuses a request and ends the connection in an orderly way, so that
// what the client still sends does not take the answer from it.
func answer(nc net.Conn, r *http.Request, status int, why string) {
	if why == "" {
		why = http.StatusText(status)
	}
	body := why + "\n"
	resp := http.Response{
		StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Request: r, Close: true,
		Header:        http.Header{"Content-Type": {"text/plain; charset=utf-8"}, "Sec-Websocket-Version": {"13"}},
		ContentLength: int64(len(body)), Body: io.NopCloser(strings.NewReader(body)),
	}
	if resp.Write(nc) != nil {
		return
	}
	if half, ok := nc.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		return
	}
	nc.SetReadDeadline(time.Now().Add(lingerMax))
	io.Copy(io.Discard, io.LimitReader(nc, 1<<20))
}

// response lets gorilla take the connection over.
type response struct {
	conn   net.Conn
	br     *bufio.Reader
	header http.Header
}

func (w *response) Header() http.Header         { return w.header }
func (w *response) Write(p []byte) (int, error) { return len(p), nil }
func (w *response) WriteHeader(int)             {}

func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.conn, bufio.NewReadWriter(w.br, bufio.NewWriterSize(w.conn, 16)), nil
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}
