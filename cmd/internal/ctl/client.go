package ctl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const defaultURL = "http://guest:guest@127.0.0.1:15672"

// maxAnswer bounds what is read of one answer.
const maxAnswer = 1 << 30

// client speaks to the management API.
type client struct {
	base       string // Without a slash at the end.
	socket     string // The Unix socket it is reached by, or "".
	origin     string // How the address came to be, for error texts.
	user, pass string
	http       http.Client
}

// apiError is an answer that is not a success.
type apiError struct {
	status int
	word   string
	reason string
}

func (e *apiError) Error() string { return fmt.Sprintf("%s (%s)", e.reason, e.word) }

// newClient works out where to go and as whom.
func newClient(o *Connection) (*client, error) {
	c := &client{origin: "--url or LEVERET_URL"}
	c.http.Timeout = time.Duration(o.Timeout) * time.Second
	c.user, c.pass = o.User, o.Password
	if o.Socket != "" && o.Socket != "none" && o.URL == "" {
		c.overSocket(o.Socket, "--socket or LEVERET_CTL_SOCKET")
		return c, nil
	}
	if o.URL == "" && o.Node == "" && o.User == "" {
		if path := findSocket(); path != "" {
			c.overSocket(path, "where data directories usually are")
			return c, nil
		}
	}
	addr := o.URL
	switch {
	case addr != "":
	case o.Node != "":
		_, host, ok := strings.Cut(o.Node, "@")
		if !ok {
			host = o.Node
		}
		u := url.URL{Scheme: "http", User: url.UserPassword("guest", "guest"), Host: net.JoinHostPort(host, "15672")}
		addr, c.origin = u.String(), "--node "+o.Node
	default:
		addr, c.origin = defaultURL, "the default"
	}
	if !strings.Contains(addr, "://") {
		addr = "http://" + addr
	}
	u, err := url.Parse(addr)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, exitf(exitUsage, "%q is not the address of a management API; write for example %s", addr, defaultURL)
	}
	c.user, c.pass = "guest", "guest"
	if u.User != nil {
		c.user = u.User.Username()
		c.pass, _ = u.User.Password()
		u.User = nil
	}
	if o.User != "" {
		c.user = o.User
	}
	if o.Password != "" {
		c.pass = o.Password
	}
	c.base = strings.TrimSuffix(strings.TrimSuffix(u.String(), "/"), "/api")
	return c, nil
}

// path joins segments below /api, each escaped as one.
func path(segments ...string) string {
	var b strings.Builder
	for _, s := range segments {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(s))
	}
	return b.String()
}

// call sends in, if not nil, as JSON and decodes the answer into out, if not
// nil. An answer that is no success is an *apiError; everything else that can
// go wrong is an exitError ready to be shown.
func (c *client) call(method, path string, in, out any, headers ...string) error {
	var body []byte
	if raw, ok := in.(json.RawMessage); ok {
		body = raw
	} else if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	req, err := http.NewRequest(method, c.base+"/api"+path, bytes.NewReader(body))
	if err != nil {
		return exitf(exitUsage, "%v", err)
	}
	if c.user != "" {
		req.SetBasicAuth(c.user, c.pass)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "leveret-ctl")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := c.http.Do(req)
	if err != nil {
		return c.unreachable(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return c.unreachable(err)
	}
	if res.StatusCode >= 300 {
		return c.refused(res.StatusCode, b)
	}
	if out == nil || len(b) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(out); err != nil {
		return exitf(exitUnavailable, "%s answers, but not as a management API does: %v", c.base, err)
	}
	return nil
}

// refused reads RabbitMQ's error body.
func (c *client) refused(status int, b []byte) error {
	var answer struct {
		Error  string `json:"error"`
		Reason any    `json:"reason"`
	}
	json.Unmarshal(b, &answer) // A proxy in between may answer anything.
	e := &apiError{status: status, word: answer.Error}
	if s, ok := answer.Reason.(string); ok {
		e.reason = s
	} else if answer.Reason != nil {
		list, _ := json.Marshal(answer.Reason)
		e.reason = string(list)
	}
	if e.word == "" && e.reason != "" {
		e.word = http.StatusText(status) // A health check that does not hold.
	} else if e.word == "" {
		e.word, e.reason = http.StatusText(status), fmt.Sprintf("%s answered with status %d", c.base, status)
	}
	return e
}

// unreachable explains that no broker answered.
func (c *client) unreachable(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		return exitf(exitTimeout, "%s did not answer within %v (--timeout)", c.where(), c.http.Timeout)
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	if c.socket != "" {
		return exitf(exitUnavailable, "no broker answers at %s: %v\n\n"+
			"Is leveret running with that data directory, as this user? The path comes from %s; --url asks over the network instead.", c.socket, err, c.origin)
	}
	return exitf(exitUnavailable, "no broker answers at %s: %v\n\n"+
		"Is leveret running there? Looked for a socket in "+strings.Join(socketPaths(), ", ")+" too. The address comes from %s; give another one with --url or LEVERET_URL.\n"+
		"leveret serves the management API where --http-addr says, port 15672 by default.", c.base, err, c.origin)
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// statusOf returns the HTTP status that err stands for, 0 if it is no answer.
func statusOf(err error) int {
	var e *apiError
	if errors.As(err, &e) {
		return e.status
	}
	return 0
}

// explain turns an apiError into what the operator reads; code is the exit
// code unless the login itself was refused.
func (c *client) explain(err error, code int) error {
	var e *apiError
	if !errors.As(err, &e) {
		return err
	}
	if e.status == http.StatusUnauthorized {
		return exitf(exitUnavailable, "the broker at %s refuses user '%s': %s\nGive another user with --user and --password, or LEVERET_USER and LEVERET_PASSWORD.", c.where(), c.user, e.reason)
	}
	return exitf(code, "%s", e.reason)
}

func (c *client) get(path string, out any) error { return c.call(http.MethodGet, path, nil, out) }

func (c *client) put(path string, in any) error { return c.call(http.MethodPut, path, in, nil) }

func (c *client) post(path string, in, out any) error { return c.call(http.MethodPost, path, in, out) }

// gone waits until the broker, called node, answers no longer.
func (c *client) gone(node string) error {
	for began := time.Now(); ; {
		err := c.get("/version", nil)
		var e *exitError
		if errors.As(err, &e) {
			return nil
		}
		if c.http.Timeout > 0 && time.Since(began) > c.http.Timeout {
			return exitf(exitTimeout, "%s is still running after %v", node, c.http.Timeout)
		}
		time.Sleep(retryEvery)
	}
}

func (c *client) delete(path string, headers ...string) error {
	return c.call(http.MethodDelete, path, nil, nil, headers...)
}

// exists asks whether path names something.
func (c *client) exists(path string) (bool, error) {
	err := c.get(path, nil)
	if statusOf(err) == http.StatusNotFound {
		return false, nil
	}
	return err == nil, err
}
