package mgmt

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"

	"leveret/core"
)

// object is one JSON object on its way out.
type object = map[string]any

// failure is an answer other than success: a status and RabbitMQ's pair of a
// machine's word and a reason, which is text or, in places, a list.
type failure struct {
	status int
	word   string
	reason any
}

func (f *failure) Error() string { return fmt.Sprintf("%d %s: %v", f.status, f.word, f.reason) }

// Failures that more than one resource gives.
var (
	errNotFound      = &failure{http.StatusNotFound, "Object Not Found", "Not Found"}
	errVHostNotFound = &failure{http.StatusNotFound, "not_found", "vhost_not_found"}
	errNotJSON       = badRequest("not_json")
	errAccessRefused = notAuthorised("Access refused.")
)

// badRequest makes a 400.
func badRequest(reason any) *failure {
	return &failure{http.StatusBadRequest, "bad_request", reason}
}

// notAuthorised makes what RabbitMQ answers where others say 403.
func notAuthorised(reason string) *failure {
	return &failure{http.StatusUnauthorized, "not_authorised", reason}
}

// statuses is the whole translation of core's failures into HTTP.
// TestEveryKindHasStatus fails when core gains a Kind that is missing here.
var statuses = map[core.Kind]struct {
	status int
	word   string
}{
	core.NotFound:       {http.StatusNotFound, "not_found"},
	core.AccessRefused:  {http.StatusUnauthorized, "not_authorised"},
	core.Locked:         {http.StatusBadRequest, "bad_request"},
	core.Mismatch:       {http.StatusBadRequest, "bad_request"},
	core.Invalid:        {http.StatusBadRequest, "bad_request"},
	core.InUse:          {http.StatusBadRequest, "bad_request"},
	core.Full:           {http.StatusBadRequest, "bad_request"},
	core.Limit:          {http.StatusBadRequest, "bad_request"},
	core.NotAllowed:     {http.StatusUnauthorized, "not_authorised"},
	core.NotImplemented: {http.StatusBadRequest, "bad_request"},
	core.Unavailable:    {http.StatusServiceUnavailable, "unavailable"},
	core.Internal:       {http.StatusInternalServerError, "internal_server_error"},
}

// asFailure translates err. What is no client's fault is logged here, the only
// place that sees it, and told to the client without its details.
func (c *call) asFailure(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	var ce *core.Error
	if errors.As(err, &ce) {
		s, ok := statuses[ce.Kind]
		if !ok {
			s = statuses[core.Internal]
		}
		if s.status == http.StatusUnauthorized {
			// The reason would tell of objects the user may not see.
			return errAccessRefused
		}
		return &failure{s.status, s.word, ce.Why}
	}
	c.s.log.Error("management request failed", slog.String("method", c.r.Method), slog.String("path", c.r.URL.Path), slog.Any("error", err))
	return &failure{http.StatusInternalServerError, "internal_server_error", "internal error; the broker's log has it"}
}

// fail answers with err.
func (c *call) fail(err error) {
	f := c.asFailure(err)
	c.reason = fmt.Sprint(f.reason)
	c.json(f.status, object{"error": f.word, "reason": f.reason})
}

// survive turns a panic of ours into a 500 and a line in the log.
func (c *call) survive() {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler {
		panic(p) // net/http's own way to end a connection.
	}
	c.s.log.Error("management request panicked", slog.String("method", c.r.Method), slog.String("path", c.r.URL.Path),
		slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
	c.json(http.StatusInternalServerError, object{"error": "internal_server_error", "reason": "internal error; the broker's log has it"})
}

// json answers with status and v.
func (c *call) json(status int, v any) {
	if c.look != nil {
		c.look.status, c.look.value = status, v
		return
	}
	b, err := json.Marshal(v)
	if err != nil {
		// Only a value that JSON has no word for gets here: NaN, a func.
		c.s.log.Error("management answer cannot be encoded", slog.String("path", c.r.URL.Path), slog.Any("error", err))
		status, b = http.StatusInternalServerError, []byte(`{"error":"internal_server_error","reason":"answer cannot be encoded"}`)
	}
	c.w.Header().Set("Content-Type", "application/json")
	c.w.WriteHeader(status)
	if c.r.Method != http.MethodHead {
		c.w.Write(b)
	}
}

// ok answers 200 with v.
func (c *call) ok(v any) error {
	c.json(http.StatusOK, v)
	return nil
}

// done answers a change: 201 if it made something new, 204 if not.
func (c *call) done(created bool) error {
	if created {
		c.w.WriteHeader(http.StatusCreated)
	} else {
		c.w.WriteHeader(http.StatusNoContent)
	}
	return nil
}
