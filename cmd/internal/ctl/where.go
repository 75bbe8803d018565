package ctl

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"leveret/cmd/internal/config"
)

// socketPaths are where a broker's socket is looked for when nobody says where
// it is.
func socketPaths() []string {
	var paths []string
	if dir := os.Getenv("LEVERET_DATA_DIR"); dir != "" && dir != config.InMemory {
		paths = append(paths, filepath.Join(dir, config.SocketName))
	}
	return append(paths, filepath.Join("leveret-data", config.SocketName), filepath.Join("/var/lib/leveret", config.SocketName))
}

// findSocket returns the first of socketPaths behind which a broker is, or "".
func findSocket() string {
	for _, path := range socketPaths() {
		nc, err := net.Dial("unix", path)
		if err == nil {
			nc.Close()
			return path
		}
	}
	return ""
}

// overSocket makes the client speak to the socket at path.
func (c *client) overSocket(path, origin string) {
	c.base, c.socket, c.origin = "http://localhost", path, origin
	dialer := net.Dialer{}
	c.http.Transport = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dialer.DialContext(ctx, "unix", path) },
	}
}

// where names the broker for people.
func (c *client) where() string {
	if c.socket != "" {
		return c.socket
	}
	return c.base
}

// hostFor is where this machine reaches a listener of the broker on addr.
func (c *client) hostFor(addr string) string {
	if ip := net.ParseIP(addr); ip != nil && !ip.IsUnspecified() {
		return addr
	}
	if c.socket != "" {
		return "localhost"
	}
	if u, err := url.Parse(c.base); err == nil {
		return u.Hostname()
	}
	return "localhost"
}
