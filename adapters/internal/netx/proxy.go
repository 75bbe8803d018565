package netx

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Proxied makes of ln a listener behind a proxy that begins every connection
// with a header of the PROXY protocol, version 1 or 2: it says from where the
// client has connected to the proxy, and to what. RemoteAddr and LocalAddr of
// its connections are those addresses.
//
// A connection that does not begin with a header, or not within timeout (0:
// 10 s), is closed, with a line in log (nil: slog.Default()): everybody who
// reaches such a port can say who he is, so only proxies must.
//
// The header is read by the connection's own goroutine: Serve does it before
// it calls the handler, elsewhere the first RemoteAddr, LocalAddr or Read does.
// TLS goes on top: the header comes before it.
func Proxied(ln net.Listener, timeout time.Duration, log *slog.Logger) net.Listener {
	if timeout <= 0 {
		timeout = 10 * time.Second
	}
	if log == nil {
		log = slog.Default()
	}
	return &proxiedListener{ln, timeout, log}
}

type proxiedListener struct {
	net.Listener
	timeout time.Duration
	log     *slog.Logger
}

func (l *proxiedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &proxiedConn{Conn: c, from: l}, nil
}

// proxiedConn is a connection from a proxy. In and Out use the socket below it
// directly once the header is read.
type proxiedConn struct {
	net.Conn
	from *proxiedListener

	// once guards what follows.
	once       sync.Once
	err        error
	peer, here net.Addr // Nil for those of the connection itself.
}

// NetConn is the connection below.
func (c *proxiedConn) NetConn() net.Conn { return c.Conn }

func (c *proxiedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (c *proxiedConn) Read(p []byte) (int, error) {
	if err := c.header(); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *proxiedConn) RemoteAddr() net.Addr {
	if c.header(); c.peer != nil {
		return c.peer
	}
	return c.Conn.RemoteAddr()
}

func (c *proxiedConn) LocalAddr() net.Addr {
	if c.header(); c.here != nil {
		return c.here
	}
	return c.Conn.LocalAddr()
}

// header reads the header, the first time. It fails always if it has failed
// once; the connection is closed then.
func (c *proxiedConn) header() error {
	c.once.Do(func() {
		c.Conn.SetReadDeadline(time.Now().Add(c.from.timeout))
		h, err := readProxyHeader(c.Conn)
		if err != nil {
			c.err = fmt.Errorf("read the PROXY header: %w", err)
			defer c.Conn.Close()
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) { // Health checks come and go.
				c.from.log.Warn("connection closed: the proxy sent no good PROXY header",
					"peer", c.Conn.RemoteAddr().String(), "address", c.from.Addr().String(), "error", err)
			}
			return
		}
		c.Conn.SetReadDeadline(time.Time{})
		if h.local {
			return
		}
		c.peer, c.here = h.addresses(c.Conn)
	})
	return c.err
}

// proxiedOf finds the connection from a proxy below c.
func proxiedOf(c net.Conn) *proxiedConn {
	for {
		if p, ok := c.(*proxiedConn); ok {
			return p
		}
		below, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		c = below.NetConn()
	}
}

// proxiedAddr is an address that a proxy has named.
type proxiedAddr struct {
	net.Addr
	near bool // On this machine.
}

func (a *proxiedAddr) String() string {
	if u, ok := a.Addr.(*net.UnixAddr); ok {
		return "unix:" + u.Name
	}
	return a.Addr.String()
}

// proxyHeader is what a header says.
type proxyHeader struct {
	local    bool     // The proxy speaks for itself, as for a health check.
	src, dst net.Addr // Nil if it does not know, or cannot say.
}

// addresses are what a connection from a proxy is to be called. Its client is
// on this machine if it is on the proxy's and the proxy is on this one; a proxy
// that does not know its client speaks for one that is not.
func (h *proxyHeader) addresses(c net.Conn) (peer, here net.Addr) {
	if h.src == nil {
		return &proxiedAddr{Addr: c.RemoteAddr()}, nil
	}
	return &proxiedAddr{h.src, IsLoopback(c.RemoteAddr()) && IsLoopback(h.src)}, &proxiedAddr{Addr: h.dst}
}

// Sizes of headers.
const (
	proxySignature1 = "PROXY "
	proxySignature2 = "\r\n\r\n\x00\r\nQUIT\n"
	proxyLineMax    = 107 // Version 1, with its CR LF.
	proxyUnixLen    = 108 // Of a path in version 2.
)

// readProxyHeader takes a header off r and not a byte more.
//
// Version 1 is a line:
//
//	PROXY TCP4 192.0.2.1 198.51.100.7 56324 5672 CR LF
//
// Version 2:
//
//	 0                    12        13       14        16
//	+--------------------+---------+--------+---------+-----------+------+
//	| signature          | version | family | length  | addresses | TLVs |
//	|                    | command |        |         |           |      |
//	+--------------------+---------+--------+---------+-----------+------+
func readProxyHeader(r io.Reader) (proxyHeader, error) {
	var b [216]byte // The longest addresses, two paths.
	first := b[:len(proxySignature2)]
	// A client that connects without a proxy may say less than this and wait.
	for n := 0; n < len(first); {
		m, err := r.Read(first[n:])
		if n += m; n > 0 && !beginsProxy(first[:n]) {
			return proxyHeader{}, notProxy(first[:n])
		} else if n < len(first) && err != nil {
			if n > 0 {
				err = unexpectedEnd(err)
			}
			return proxyHeader{}, err
		}
	}
	if string(first) == proxySignature2 {
		return readProxyHeader2(r, &b)
	}
	// What follows the line belongs to the client, so its end is looked for
	// byte by byte; once a connection that is nothing.
	n := len(first)
	for b[n-1] != '\n' {
		if n == proxyLineMax {
			return proxyHeader{}, fmt.Errorf("a line of more than %d bytes", proxyLineMax)
		}
		if _, err := io.ReadFull(r, b[n:n+1]); err != nil {
			return proxyHeader{}, unexpectedEnd(err)
		}
		n++
	}
	return parseProxyLine(string(b[:n]))
}

// beginsProxy reports whether b may be the beginning of a header.
func beginsProxy(b []byte) bool {
	return strings.HasPrefix(proxySignature2, string(b)) || strings.HasPrefix(proxySignature1, string(b)) ||
		bytes.HasPrefix(b, []byte(proxySignature1))
}

func notProxy(b []byte) error {
	if name := Spoken(b); name != "" {
		return fmt.Errorf("no header: it seems to be a client of %s that connects without a proxy (it began with %q)", name, b)
	}
	return fmt.Errorf("no header: it began with %q", b)
}

func unexpectedEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the connection ended within the header")
	}
	return err
}

// parseProxyLine reads a header of version 1.
func parseProxyLine(line string) (h proxyHeader, err error) {
	line, ok := strings.CutSuffix(line, "\r\n")
	if !ok {
		return h, fmt.Errorf("the line %q does not end in CR LF", line)
	}
	f := strings.Split(line, " ")
	if f[1] == "UNKNOWN" {
		return h, nil
	}
	if len(f) != 6 || f[1] != "TCP4" && f[1] != "TCP6" {
		return h, fmt.Errorf("%q is not PROXY TCP4 or TCP6, two addresses and two ports", line)
	}
	var ends [2]*net.TCPAddr
	for i := range ends {
		a, err := netip.ParseAddr(f[2+i])
		if err != nil || a.Zone() != "" || a.Is4() != (f[1] == "TCP4") {
			return h, fmt.Errorf("%q is not an address of %s", f[2+i], f[1])
		}
		port, err := strconv.ParseUint(f[4+i], 10, 16)
		if err != nil || len(f[4+i]) > 1 && f[4+i][0] == '0' {
			return h, fmt.Errorf("%q is not a port", f[4+i])
		}
		ends[i] = net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, uint16(port)))
	}
	return proxyHeader{src: ends[0], dst: ends[1]}, nil
}

// Nibbles of version 2.
const (
	proxyVersion2 = 2
	proxyLocal    = 0
	proxyProxy    = 1

	proxyUnspec = 0
	proxyInet   = 1
	proxyInet6  = 2
	proxyUnix   = 3

	proxyStream = 1
	proxyDgram  = 2
)

// readProxyHeader2 reads a header of version 2 behind its signature. What is
// behind the addresses is read and forgotten.
func readProxyHeader2(r io.Reader, b *[216]byte) (h proxyHeader, err error) {
	if _, err := io.ReadFull(r, b[:4]); err != nil {
		return h, unexpectedEnd(err)
	}
	version, command := b[0]>>4, b[0]&0xf
	family, transport := b[1]>>4, b[1]&0xf
	left := int(binary.BigEndian.Uint16(b[2:]))
	switch {
	case version != proxyVersion2:
		return h, fmt.Errorf("version %d", version)
	case command > proxyProxy:
		return h, fmt.Errorf("command %d", command)
	case family > proxyUnix || transport > proxyDgram:
		return h, fmt.Errorf("family %#02x", b[1])
	}
	// Addresses that are not of a stream say nothing of this connection.
	need := 0
	if command == proxyProxy && transport == proxyStream {
		need = [...]int{proxyUnspec: 0, proxyInet: 12, proxyInet6: 36, proxyUnix: 2 * proxyUnixLen}[family]
	}
	if left < need {
		return h, fmt.Errorf("%d bytes of addresses, %d are needed", left, need)
	}
	if _, err := io.ReadFull(r, b[:need]); err != nil {
		return h, unexpectedEnd(err)
	}
	h.local = command == proxyLocal
	if need > 0 {
		h.src, h.dst = proxyAddresses(family, b[:need])
	}
	for left -= need; left > 0; {
		n, err := io.ReadFull(r, b[:min(left, len(b))])
		if left -= n; err != nil {
			return h, unexpectedEnd(err)
		}
	}
	return h, nil
}

func proxyAddresses(family byte, b []byte) (src, dst net.Addr) {
	if family == proxyUnix {
		path := func(b []byte) net.Addr {
			if b[0] == 0 { // One without a name, or of the abstract space.
				b = append([]byte("@"), b[1:]...)
			}
			name, _, _ := bytes.Cut(b, []byte{0})
			return &net.UnixAddr{Name: strings.ToValidUTF8(string(name), "?"), Net: "unix"}
		}
		return path(b[:proxyUnixLen]), path(b[proxyUnixLen:])
	}
	size := (len(b) - 4) / 2
	ports := b[2*size:]
	end := func(i int) net.Addr {
		a, _ := netip.AddrFromSlice(b[i*size : (i+1)*size])
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, binary.BigEndian.Uint16(ports[2*i:])))
	}
	return end(0), end(1)
}
