package netx

import (
	"crypto/tls"
	"crypto/x509"
	"net"
)

// TLSOf finds the TLS of c, which may be below a WebSocket; nil if there is none.
func TLSOf(c net.Conn) *tls.Conn {
	for {
		if t, ok := c.(*tls.Conn); ok {
			return t
		}
		below, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		c = below.NetConn()
	}
}

// PeerCertificate is the certificate that the client of c has shown and that was
// verified, nil if there is none. Something must have been read from c.
func PeerCertificate(c net.Conn) *x509.Certificate {
	t := TLSOf(c)
	if t == nil {
		return nil
	}
	if s := t.ConnectionState(); len(s.VerifiedChains) > 0 {
		return s.PeerCertificates[0]
	}
	return nil
}
