package mqtt

import (
	"net"

	"leveret/adapters/internal/netx"
)

// Listen opens a TCP listener for Serve. Its error names the address and flag,
// the option that chooses another.
func Listen(addr, flag string) (net.Listener, error) { return netx.Listen(addr, "MQTT", flag) }

// ListenWebSocket opens a TCP listener for ServeWebSocket.
func ListenWebSocket(addr, flag string) (net.Listener, error) {
	return netx.Listen(addr, "MQTT over WebSocket", flag)
}
