package shovel

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// URI says where an end is: amqp://user:password@host:port/vhost?parameters.
// Without a host it is this broker.
type URI struct {
	Host     string // "" for this broker.
	Port     int
	VHost    string
	User     string // "" where none is given.
	Password string
	TLS      bool

	caFile, certFile, keyFile, serverName string
	noVerify, external                    bool
	heartbeat                             time.Duration // 0: 10 s; negative: none.
	connectTimeout                        time.Duration
}

// Local reports whether u is this broker.
func (u *URI) Local() bool { return u.Host == "" }

// connectTimeout is how long connecting and logging in may take.
const defaultConnectTimeout = 30 * time.Second

// errNoURI is what every URI that cannot be read gets: what is wrong with it
// may be a password.
var errNoURI = errors.New("write amqp://user:password@host:port/vhost, amqps://... or amqp:///vhost for this broker")

// ParseURI reads an AMQP URI with the query parameters of RabbitMQ's. Its errors
// do not have the password in them.
func ParseURI(s string) (URI, error) {
	p, err := url.Parse(s)
	if err != nil || p.Opaque != "" {
		return URI{}, errNoURI
	}
	u := URI{Host: p.Hostname(), Port: 5672, VHost: "/", connectTimeout: defaultConnectTimeout}
	switch p.Scheme {
	case "amqp":
	case "amqps":
		u.TLS, u.Port = true, 5671
	default:
		return URI{}, errNoURI
	}
	if port := p.Port(); port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return URI{}, fmt.Errorf("port %s is not between 0 and 65535", port)
		}
		u.Port = int(n)
	}
	if u.Host == "" && (u.TLS || p.Port() != "") {
		return URI{}, errNoURI
	}
	if path := p.EscapedPath(); len(path) > 1 {
		if u.VHost, err = url.PathUnescape(path[1:]); err != nil || strings.Contains(path[1:], "/") {
			return URI{}, errors.New("the virtual host is one path segment, with / in its name written %2F")
		}
	}
	if p.User != nil {
		u.User = p.User.Username()
		u.Password, _ = p.User.Password()
	}
	query, err := url.ParseQuery(p.RawQuery)
	if err != nil {
		return URI{}, errNoURI
	}
	return u, u.readQuery(query)
}

func (u *URI) readQuery(query url.Values) error {
	for name := range query {
		v := query.Get(name)
		var err error
		switch name {
		case "cacertfile":
			u.caFile = v
		case "certfile":
			u.certFile = v
		case "keyfile":
			u.keyFile = v
		case "server_name_indication":
			u.serverName = v
		case "verify":
			switch v {
			case "verify_peer":
			case "verify_none":
				u.noVerify = true
			default:
				err = errors.New("it is verify_peer or verify_none")
			}
		case "auth_mechanism":
			switch strings.ToLower(v) {
			case "plain", "amqplain":
			case "external":
				u.external = true
			default:
				err = errors.New("it is plain or external")
			}
		case "heartbeat":
			var n uint64
			if n, err = strconv.ParseUint(v, 10, 16); err == nil {
				if u.heartbeat = time.Duration(n) * time.Second; n == 0 {
					u.heartbeat = -1
				}
			}
		case "connection_timeout":
			var n uint64
			if n, err = strconv.ParseUint(v, 10, 31); err == nil && n > 0 {
				u.connectTimeout = time.Duration(n) * time.Millisecond
			}
		}
		if err != nil {
			return fmt.Errorf("parameter %s: %w", name, err)
		}
	}
	return nil
}

// String is u as anybody may see it: without user, password and parameters.
func (u *URI) String() string {
	var b strings.Builder
	b.WriteString("amqp")
	if u.TLS {
		b.WriteByte('s')
	}
	b.WriteString("://")
	if u.Host != "" {
		b.WriteString(u.addr())
	}
	b.WriteByte('/')
	b.WriteString(url.PathEscape(u.VHost))
	return b.String()
}

func (u *URI) addr() string { return net.JoinHostPort(u.Host, strconv.Itoa(u.Port)) }

// tlsConfig reads the files that u names. Unlike RabbitMQ's, an amqps end is
// verified unless the URI says verify=verify_none.
func (u *URI) tlsConfig() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Host, InsecureSkipVerify: u.noVerify}
	if u.serverName != "" && u.serverName != "disable" {
		c.ServerName = u.serverName
	}
	if u.caFile != "" {
		pem, err := os.ReadFile(u.caFile)
		if err != nil {
			return nil, fmt.Errorf("cacertfile: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("cacertfile: %s holds no certificate", u.caFile)
		}
	}
	if u.certFile != "" || u.keyFile != "" {
		pair, err := tls.LoadX509KeyPair(u.certFile, u.keyFile)
		if err != nil {
			return nil, fmt.Errorf("certfile and keyfile: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
