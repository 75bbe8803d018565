package netx

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
)

// Names of what clients speak, as Spoken returns them.
const (
	SpeaksAMQP   = "AMQP 0-9-1"
	SpeaksAMQP10 = "AMQP 1.0"
	SpeaksMQTT   = "MQTT"
	SpeaksSTOMP  = "STOMP"
	SpeaksHTTP   = "HTTP"
	SpeaksTLS    = "TLS"
	SpeaksProxy  = "the PROXY protocol"
)

// Spoken guesses from the first bytes of a connection what its client speaks:
// one of the constants, or "" if that is not clear. A few bytes suffice.
func Spoken(b []byte) string {
	has := func(prefix string) bool { return bytes.HasPrefix(b, []byte(prefix)) }
	switch {
	case len(b) == 0:
	case has("AMQP\x00\x01") || has("AMQP\x02") || has("AMQP\x03"):
		return SpeaksAMQP10
	case has("AMQP"):
		return SpeaksAMQP
	case has("PROXY ") || has("\r\n\r\n\x00"):
		return SpeaksProxy
	case has("CONNECT\n") || has("CONNECT\r\n") || has("STOMP"):
		return SpeaksSTOMP
	case b[0] == 0x16 && len(b) >= 3 && b[1] == 3:
		return SpeaksTLS // A handshake's record, and its version.
	case b[0] == 0x10:
		// CONNECT, its length, the protocol's name.
		for i := 1; i < len(b) && i < 5; i++ {
			if b[i]&0x80 != 0 {
				continue
			}
			if name := b[i+1:]; len(name) >= 3 && binary.BigEndian.Uint16(name) <= 6 && name[2] == 'M' {
				return SpeaksMQTT
			}
			return ""
		}
	}
	for _, method := range [...]string{"GET ", "POST ", "PUT ", "HEAD ", "DELETE ", "OPTIONS ", "PATCH ", "CONNECT ", "PRI * HTTP"} {
		if has(method) {
			return SpeaksHTTP
		}
	}
	return ""
}

// Places are where listeners are open ("port 5672") by what is spoken there, in
// the words of the management API: "amqp", "mqtt/ssl", "https".
type Places map[string][]string

// Advice is a sentence about what a client speaks, beginning with its name, and
// where that is spoken here, for the log. here is the API's name of the
// listener it has come to.
func (p Places) Advice(spoken, here string) string {
	plain, secured := strings.CutSuffix(here, "/ssl")
	secured = secured || strings.HasPrefix(here, "https")
	without := ""
	if secured {
		without = " without TLS"
	}
	switch spoken {
	case "":
		return ""
	case SpeaksAMQP10:
		return "AMQP 1.0, which is not spoken here: let the client speak AMQP 0-9-1, for which there is a library in every language, or MQTT or STOMP"
	case SpeaksAMQP:
		return p.advise(spoken+without, "amqp", "--amqp-addr")
	case SpeaksMQTT:
		return p.advise(spoken+without, "mqtt", "--mqtt-addr")
	case SpeaksSTOMP:
		return p.advise(spoken+without, "stomp", "--stomp-addr")
	case SpeaksHTTP:
		return p.advise(spoken+without, "http", "--http-addr")
	case SpeaksTLS:
		secure := plain + "/ssl"
		switch plain {
		case "http":
			secure = "https"
		case "http/web-mqtt", "http/web-stomp":
			secure = "https" + strings.TrimPrefix(plain, "http")
		}
		name := strings.TrimPrefix(plain, "http/")
		return p.advise(spoken, secure, "--"+name+map[bool]string{true: "s-addr", false: "-tls-addr"}[name == "http"])
	case SpeaksProxy:
		return spoken + ", which --proxy-protocol turns on for the ports behind a proxy"
	}
	return spoken
}

func (p Places) advise(spoken, protocol, flag string) string {
	if at := p[protocol]; len(at) > 0 {
		return fmt.Sprintf("%s, which is spoken at %s", spoken, strings.Join(at, " and "))
	}
	return fmt.Sprintf("%s, for which no port is open here (%s)", spoken, flag)
}

// Explain is Advice for what has come to a listener of the protocol here, made a
// sentence of the log: after err, an error of a read from it, or for the first
// bytes b if err is nil. It is "" if nothing is known.
func (p Places) Explain(err error, b []byte, here string) string {
	if err != nil {
		var e tls.RecordHeaderError
		if !errors.As(err, &e) || e.Conn == nil {
			return ""
		}
		// The first five bytes of what is no TLS.
		b = e.RecordHeader[:]
		if bytes.HasPrefix(b, []byte("CONNE")) {
			b = []byte("STOMP")
		}
	}
	if advice := p.Advice(Spoken(b), here); advice != "" {
		return fmt.Sprintf("it seems to speak %s (it began with %q)", advice, b[:min(len(b), 8)])
	}
	return ""
}

// LogForeign is for listeners of HTTP, here being the protocol's name without
// TLS: it logs that c began with b, or its first read failed with err, if that
// tells something. It reports whether b is of another protocol.
func LogForeign(log *slog.Logger, p Places, here string, c net.Conn, b []byte, err error) (foreign bool) {
	tc, secure := c.(*tls.Conn)
	if secure {
		here = "https" + strings.TrimPrefix(here, "http")
	}
	if err == nil && Spoken(b) == SpeaksHTTP {
		return false
	}
	what := p.Explain(err, b, here)
	foreign = what != "" && err == nil
	if what == "" && err != nil && secure && !tc.ConnectionState().HandshakeComplete && !isQuiet(err) {
		what = err.Error()
	}
	if what != "" {
		log.Warn("a client was refused: "+what, "protocol", here, "peer", c.RemoteAddr().String())
	}
	return foreign
}

// isQuiet reports whether err is of a peer that has said nothing, or nothing
// more.
func isQuiet(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, os.ErrDeadlineExceeded)
}
