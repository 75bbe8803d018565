package amqp

import (
	"net"

	"leveret/adapters/internal/netx"
)

// Listen opens a TCP listener for Serve. Its error names the address and flag,
// the option that chooses another.
func Listen(addr, flag string) (net.Listener, error) { return netx.Listen(addr, "AMQP", flag) }
