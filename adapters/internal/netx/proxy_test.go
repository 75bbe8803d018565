package netx

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"
)

// proxy2 is a header of version 2.
func proxy2(versionCommand, family byte, rest ...byte) string {
	b := append([]byte(proxySignature2), versionCommand, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(rest)))
	return string(append(b, rest...))
}

// unixEnds are the addresses of two paths.
func unixEnds(src, dst string) []byte {
	b := make([]byte, 2*proxyUnixLen)
	copy(b, src)
	copy(b[proxyUnixLen:], dst)
	return b
}

var (
	inetEnds  = []byte{192, 0, 2, 1, 198, 51, 100, 7, 0xDC, 0x04, 0x16, 0x28}
	inet6Ends = append(append(net.ParseIP("2001:db8::1"), net.ParseIP("::1")...), 0xDC, 0x04, 0x16, 0x28)
	proxyTLVs = []byte{0x04, 0, 3, 'x', 'y', 'z', 0x20, 0, 1, 7}
)

func TestReadProxyHeader(t *testing.T) {
	const line = "PROXY TCP4 192.0.2.1 198.51.100.7 56324 5672\r\n"
	for _, c := range []struct {
		name, header string
		peer, here   string // "" for the connection's own.
		local        bool
		fails        string
	}{
		{name: "TCP4", header: line, peer: "192.0.2.1:56324", here: "198.51.100.7:5672"},
		{name: "TCP6", header: "PROXY TCP6 2001:db8::1 ::1 56324 5672\r\n", peer: "[2001:db8::1]:56324", here: "[::1]:5672"},
		{name: "unknown", header: "PROXY UNKNOWN\r\n"},
		{name: "unknown with addresses", header: "PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n"},
		{name: "as long as may be", header: "PROXY UNKNOWN " + strings.Repeat("f", proxyLineMax-16) + "\r\n"},
		{name: "too long", header: "PROXY UNKNOWN " + strings.Repeat("f", proxyLineMax) + "\r\n", fails: "more than 107 bytes"},
		{name: "v4 called TCP6", header: "PROXY TCP6 192.0.2.1 198.51.100.7 1 2\r\n", fails: "not an address of TCP6"},
		{name: "v6 called TCP4", header: "PROXY TCP4 ::1 ::1 1 2\r\n", fails: "not an address of TCP4"},
		{name: "zone", header: "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", fails: "not an address"},
		{name: "port too large", header: "PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n", fails: "not a port"},
		{name: "leading zero", header: "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", fails: "not a port"},
		{name: "signed port", header: "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", fails: "not a port"},
		{name: "a word too few", header: "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", fails: "is not PROXY"},
		{name: "no CR", header: "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", fails: "does not end in CR LF"},
		{name: "cut off", header: line[:20], fails: "ended within the header"},
		{name: "nothing", header: "", fails: "EOF"},
		{name: "AMQP", header: "AMQP\x00\x00\x09\x01AMQP", fails: "seems to be a client of AMQP 0-9-1"},
		{name: "a short stranger", header: "hello", fails: `it began with "hello"`},
		{name: "TLS", header: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03xx", fails: "client of TLS"},

		{name: "v2 TCP4", header: proxy2(0x21, 0x11, inetEnds...), peer: "192.0.2.1:56324", here: "198.51.100.7:5672"},
		{name: "v2 TCP6", header: proxy2(0x21, 0x21, inet6Ends...), peer: "[2001:db8::1]:56324", here: "[::1]:5672"},
		{name: "v2 unix", header: proxy2(0x21, 0x31, unixEnds("/run/a", "\x00b")...), peer: "unix:/run/a", here: "unix:@b"},
		{name: "v2 TLVs", header: proxy2(0x21, 0x11, append(bytes.Clone(inetEnds), proxyTLVs...)...), peer: "192.0.2.1:56324", here: "198.51.100.7:5672"},
		{name: "v2 64 KiB of TLVs", header: proxy2(0x21, 0x11, append(bytes.Clone(inetEnds), make([]byte, 65535-12)...)...), peer: "192.0.2.1:56324", here: "198.51.100.7:5672"},
		{name: "v2 LOCAL", header: proxy2(0x20, 0x00), local: true},
		{name: "v2 LOCAL with addresses", header: proxy2(0x20, 0x11, inetEnds...), local: true},
		{name: "v2 unspecified", header: proxy2(0x21, 0x00, proxyTLVs...)},
		{name: "v2 datagrams", header: proxy2(0x21, 0x12, inetEnds...)},
		{name: "v2 too short", header: proxy2(0x21, 0x21, inetEnds...), fails: "36 are needed"},
		{name: "v2 version 3", header: proxy2(0x31, 0x11, inetEnds...), fails: "version 3"},
		{name: "v2 command 2", header: proxy2(0x22, 0x11, inetEnds...), fails: "command 2"},
		{name: "v2 family 4", header: proxy2(0x21, 0x41, inetEnds...), fails: "family 0x41"},
		{name: "v2 cut off in its length", header: proxy2(0x21, 0x11, inetEnds...)[:15], fails: "ended within"},
		{name: "v2 cut off in its addresses", header: proxy2(0x21, 0x11, inetEnds...)[:20], fails: "ended within"},
		{name: "v2 cut off in its TLVs", header: proxy2(0x21, 0x11, append(bytes.Clone(inetEnds), proxyTLVs...)...)[:30], fails: "ended within"},
	} {
		t.Run(c.name, func(t *testing.T) {
			const rest = "the client's"
			r := bytes.NewBufferString(c.header)
			if c.fails == "" {
				r.WriteString(rest)
			}
			h, err := readProxyHeader(r)
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Fatalf("error %v, want one with %q", err, c.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if r.String() != rest {
				t.Errorf("%q is left for the client, want %q", r, rest)
			}
			if h.local != c.local {
				t.Errorf("local is %v", h.local)
			}
			name := func(a net.Addr) string {
				if a == nil {
					return ""
				}
				return (&proxiedAddr{Addr: a}).String()
			}
			if name(h.src) != c.peer || name(h.dst) != c.here {
				t.Errorf("from %s to %s, want %s and %s", name(h.src), name(h.dst), c.peer, c.here)
			}
		})
	}
}

func FuzzReadProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.1 198.51.100.7 56324 5672\r\nrest"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte(proxy2(0x21, 0x21, append(bytes.Clone(inet6Ends), proxyTLVs...)...)))
	f.Add([]byte(proxy2(0x21, 0x31, unixEnds("/a", "/b")...)))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		h, err := readProxyHeader(r)
		if err != nil {
			return
		}
		if (h.src == nil) != (h.dst == nil) {
			t.Errorf("one address without the other: %v", h)
		}
		used := len(b) - r.Len()
		if line := string(b[:used]); strings.HasPrefix(line, "PROXY ") {
			if used > proxyLineMax || strings.Index(line, "\n") != used-1 {
				t.Errorf("took %q for a line", line)
			}
		} else if want := 16 + int(binary.BigEndian.Uint16(b[14:])); used != want {
			t.Errorf("took %d bytes, want %d", used, want)
		}
		if h.src == nil {
			return
		}
		if a, ok := h.src.(*net.TCPAddr); ok {
			again := "PROXY TCP4 "
			if a.IP.To4() == nil {
				again = "PROXY TCP6 "
			}
			d := h.dst.(*net.TCPAddr)
			if (d.IP.To4() == nil) != (a.IP.To4() == nil) {
				return // Version 2 has v4 addresses in those of v6.
			}
			host := func(a *net.TCPAddr) string { h, _, _ := net.SplitHostPort(a.String()); return h }
			port := func(a *net.TCPAddr) string { _, p, _ := net.SplitHostPort(a.String()); return p }
			again += host(a) + " " + host(d) + " " + port(a) + " " + port(d) + "\r\n"
			h2, err := readProxyHeader(strings.NewReader(again))
			if err != nil || h2.src.String() != h.src.String() || h2.dst.String() != h.dst.String() {
				t.Errorf("%q reads as %v, %v", again, h2, err)
			}
		}
	})
}

// proxied serves h behind Proxied, over TLS if secure is not nil.
func proxied(t *testing.T, h Handler, secure *tls.Config, log *slog.Logger, timeout time.Duration) (addr string) {
	t.Helper()
	ln, err := Listen("127.0.0.1:0", "AMQP", "--amqp-addr")
	if err != nil {
		t.Fatal(err)
	}
	addr = ln.Addr().String()
	ln = Proxied(ln, timeout, log)
	if secure != nil {
		ln = tls.NewListener(ln, secure)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, ln, h, ServeOptions{Logger: log}) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("Serve does not stop")
		}
	})
	return addr
}

// whoami answers with what the connection is called and whether it is local,
// then echoes, all through In and Out.
func whoami(ctx context.Context, c net.Conn, _ func()) {
	defer context.AfterFunc(ctx, func() { c.Close() })()
	in, out := NewIn(c), NewOut(c, OutOptions{})
	defer in.Release()
	near := " far\n"
	if IsLoopback(c.RemoteAddr()) {
		near = " near\n"
	}
	put(out, []byte(ConnName(c)+near))
	for {
		if _, _, err := in.Read(); err != nil {
			out.Abort(nil)
			return
		}
		put(out, in.Bytes())
		in.Discard(len(in.Bytes()))
	}
}

func TestProxiedConnections(t *testing.T) {
	cert, err := testCert()
	if err != nil {
		t.Fatal(err)
	}
	for name, secure := range map[string]*tls.Config{"plain": nil, "TLS": {Certificates: []tls.Certificate{cert}}} {
		t.Run(name, func(t *testing.T) {
			var log lines
			addr := proxied(t, whoami, secure, slog.New(slog.NewTextHandler(&log, nil)), patience)
			for header, want := range map[string]string{
				"PROXY TCP4 192.0.2.1 198.51.100.7 56324 5672\r\n":       "192.0.2.1:56324 -> 198.51.100.7:5672 far",
				"PROXY TCP4 127.0.0.1 127.0.0.1 56324 5672\r\n":          "127.0.0.1:56324 -> 127.0.0.1:5672 near",
				"PROXY TCP6 ::1 ::1 56324 5672\r\n":                      "[::1]:56324 -> [::1]:5672 near",
				"PROXY UNKNOWN\r\n":                                      "SELF -> " + addr + " far",
				proxy2(0x20, 0):                                          "SELF -> " + addr + " near",
				proxy2(0x21, 0x11, inetEnds...):                          "192.0.2.1:56324 -> 198.51.100.7:5672 far",
				proxy2(0x21, 0x31, unixEnds("/run/app", "/run/mq")...):   "unix:/run/app -> unix:/run/mq near",
				proxy2(0x21, 0x00):                                       "SELF -> " + addr + " far",
				proxy2(0x20, 0x11, append(inetEnds[:12:12], 4, 0, 0)...): "SELF -> " + addr + " near",
			} {
				nc := dial(t, addr)
				// In pieces, and the client's first words behind it.
				for i := 0; i < len(header); i += 7 {
					io.WriteString(nc, header[i:min(i+7, len(header))])
				}
				self := nc.LocalAddr().String()
				if secure != nil {
					nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
				}
				want = strings.Replace(want, "SELF", self, 1) + "\n"
				io.WriteString(nc, "and more")
				got := make([]byte, len(want)+len("and more"))
				if _, err := io.ReadFull(nc, got); err != nil {
					t.Fatalf("%q: %v after %q", header, err, got)
				}
				if string(got) != want+"and more" {
					t.Errorf("%q: %q, want %q", header, got, want)
				}
			}
			nc := dial(t, addr)
			io.WriteString(nc, "AMQP\x00\x00\x09\x01\x01\x00\x00\x00\x00")
			if b, err := io.ReadAll(nc); len(b) > 0 {
				t.Errorf("a client without a header got %q, %v", b, err)
			}
			await(t, "a line in the log", func() bool { return strings.Contains(log.String(), "seems to be a client of AMQP 0-9-1") })
		})
	}
}

func TestProxyHeaderMustComeInTime(t *testing.T) {
	var log lines
	addr := proxied(t, whoami, nil, slog.New(slog.NewTextHandler(&log, nil)), time.Millisecond)
	nc := dial(t, addr)
	io.WriteString(nc, "PROXY ")
	if b, err := io.ReadAll(nc); len(b) > 0 {
		t.Errorf("got %q, %v", b, err)
	}
	await(t, "a line in the log", func() bool { return strings.Contains(log.String(), "i/o timeout") })
}

// A connection whose header has not come yet does not hold up the end.
func TestServeStopsWhileAHeaderIsAwaited(t *testing.T) {
	ln, err := Listen("127.0.0.1:0", "AMQP", "--amqp-addr")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- Serve(ctx, Proxied(ln, time.Hour, slog.New(slog.DiscardHandler)), whoami, ServeOptions{StopGrace: time.Hour})
	}()
	nc := dial(t, ln.Addr().String())
	io.WriteString(nc, "PRO")
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("Serve does not stop")
	}
}

// What a proxy says of a client on its own machine does not make it one on ours.
func TestOnlyALocalProxyHasLocalClients(t *testing.T) {
	from := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	for proxy, near := range map[string]bool{"127.0.0.1": true, "::1": true, "192.0.2.9": false} {
		c := addrConn{&net.TCPAddr{IP: net.ParseIP(proxy), Port: 2}}
		peer, _ := (&proxyHeader{src: from, dst: from}).addresses(c)
		if IsLoopback(peer) != near {
			t.Errorf("a local client of a proxy at %s is local: %v", proxy, !near)
		}
	}
}

type addrConn struct{ peer net.Addr }

func (c addrConn) Read([]byte) (int, error)         { return 0, io.EOF }
func (c addrConn) Write(b []byte) (int, error)      { return len(b), nil }
func (c addrConn) Close() error                     { return nil }
func (c addrConn) LocalAddr() net.Addr              { return c.peer }
func (c addrConn) RemoteAddr() net.Addr             { return c.peer }
func (c addrConn) SetDeadline(time.Time) error      { return nil }
func (c addrConn) SetReadDeadline(time.Time) error  { return nil }
func (c addrConn) SetWriteDeadline(time.Time) error { return nil }
