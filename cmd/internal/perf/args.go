package perf

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// target is where and as whom to connect.
type target struct {
	address        string // host:port
	user, password string
	vhost          string
}

// parseURL reads amqp://user:password@host:port/vhost. What is missing is
// guest, guest, 127.0.0.1, 5672 and "/"; parts may be percent-encoded.
func parseURL(s string) (*target, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("--url: %w", err)
	}
	if u.Scheme == "amqps" {
		return nil, fmt.Errorf("--url: amqps is not supported, the load is generated over plain TCP")
	}
	if u.Scheme != "amqp" {
		return nil, fmt.Errorf("--url: %q does not begin with amqp://", s)
	}
	t := &target{user: "guest", password: "guest", vhost: "/"}
	if u.User != nil {
		t.user = u.User.Username()
		t.password, _ = u.User.Password()
	}
	host, port := u.Hostname(), u.Port()
	if host == "" {
		host = "127.0.0.1"
	}
	if port == "" {
		port = "5672"
	}
	t.address = net.JoinHostPort(host, port)
	if v := strings.TrimPrefix(u.Path, "/"); v != "" {
		t.vhost = v
	}
	if len(t.vhost) > 255 {
		return nil, fmt.Errorf("--url: vhost is longer than 255 bytes")
	}
	return t, nil
}

// parseArguments reads queue arguments of the form key=value. A value that
// looks like an integer or is true or false gets that type, any other is a
// string; "key=string:5" forces a string.
func parseArguments(args []string) (table, error) {
	var t table
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok || key == "" || len(key) > 255 {
			return nil, fmt.Errorf("--args: %q is not of the form key=value", arg)
		}
		f := field{key: key, value: value}
		if forced, ok := strings.CutPrefix(value, "string:"); ok {
			f.value = forced
		} else if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			f.value = n
		} else if value == "true" || value == "false" {
			f.value = value == "true"
		}
		t = append(t, f)
	}
	return t, nil
}
