package stomp

import (
	"net"

	"leveret/adapters/internal/netx"
)

// Listen opens a TCP listener for Serve or ServeWeb, which protocol names for
// people. Its error names the address and flag, the option that chooses
// another.
func Listen(addr, protocol, flag string) (net.Listener, error) {
	return netx.Listen(addr, protocol, flag)
}
