package netx

import "net"

// IP is the address that a connection comes from without its port, as
// administrators and backends of logins are told it; "" for one that has none, as
// of a Unix socket.
func IP(a net.Addr) string {
	if a == nil {
		return ""
	}
	host, _, err := net.SplitHostPort(a.String())
	if err != nil || a.Network() == "unix" {
		return ""
	}
	return host
}
