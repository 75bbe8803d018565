package mgmt

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// Answers that do not end: text/event-stream. Each is a request's goroutine,
// which writes for one client only: a slow one is waited for, and what it missed
// meanwhile is for its sender to sum up.

const (
	// streamsMax bounds the streams of all users, streamsPerUser those of one.
	streamsMax     = 256
	streamsPerUser = 32
	// streamWriteMax is how long a client may take to read one event.
	streamWriteMax = 30 * time.Second
	// streamQuiet is after how much silence a comment shows that all is well.
	streamQuiet = 15 * time.Second
)

// streams counts the streams that are open.
type streams struct {
	mu struct {
		sync.Mutex
		open   int
		byUser map[string]int
	}
}

// admit takes a place for one stream more of user. release gives it back.
func (s *streams) admit(user string) (release func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.open >= streamsMax || s.mu.byUser[user] >= streamsPerUser {
		return nil, false
	}
	if s.mu.byUser == nil {
		s.mu.byUser = make(map[string]int)
	}
	s.mu.open++
	s.mu.byUser[user]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.mu.open--
		if s.mu.byUser[user]--; s.mu.byUser[user] == 0 {
			delete(s.mu.byUser, user)
		}
	}, true
}

// stopKey finds, in a request's context, the one that ends when the server is to
// stop: a stream must not make it wait.
type stopKey struct{}

// eventStream is an open text/event-stream. Its methods belong to the request's
// goroutine.
type eventStream struct {
	// ctx ends with the client's connection, and when the server stops.
	ctx   context.Context
	w     http.ResponseWriter
	rc    *http.ResponseController
	close func()
}

// stream begins to answer with events. The caller closes it. Too many streams
// are a 429; a look on somebody else's behalf cannot have one.
func (c *call) stream() (*eventStream, error) {
	if c.look != nil {
		return nil, badRequest("a stream cannot be looked at")
	}
	release, ok := c.s.streams.admit(c.user.Name)
	if !ok {
		return nil, &failure{http.StatusTooManyRequests, "too_many_streams", "too many streams are open; close some pages"}
	}
	ctx, cancel := context.WithCancel(c.r.Context())
	if stop, ok := c.r.Context().Value(stopKey{}).(context.Context); ok {
		context.AfterFunc(stop, cancel)
	}
	e := &eventStream{ctx: ctx, w: c.w, rc: http.NewResponseController(c.w), close: func() { cancel(); release() }}
	h := c.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")  // nginx would keep events back.
	e.rc.SetReadDeadline(time.Time{}) // There is nothing more to be read.
	c.w.WriteHeader(http.StatusOK)
	return e, nil
}

// send writes one event with v as its data. An error ends the stream.
func (e *eventStream) send(event string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	b := make([]byte, 0, len(event)+len(data)+32)
	b = append(append(b, "event: "...), event...)
	b = append(append(b, "\ndata: "...), data...)
	return e.write(append(b, "\n\n"...))
}

// comment writes what clients skip, to see whether one is still there.
func (e *eventStream) comment() error { return e.write([]byte(": still here\n\n")) }

func (e *eventStream) write(b []byte) error {
	if e.ctx.Err() != nil {
		return e.ctx.Err()
	}
	e.rc.SetWriteDeadline(time.Now().Add(streamWriteMax))
	if _, err := e.w.Write(b); err != nil {
		return err
	}
	return e.rc.Flush()
}
