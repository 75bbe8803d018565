package mgmt

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
)

// GET /live?path=P&every=S sends what GET /api+P answers, and then what has
// changed about it, every S seconds, until the client goes, may not see it any
// more, or the server stops.
//
//	every S seconds: look --> the resource's own handler, with the user's rights
//	                            | value
//	                  compare with the last one, row by row
//	                            | full, patch, rows, error
//	                          client
//
// A stream costs at most one part in lookShare of a processor: if a look takes
// long, the next one waits for longer.

const (
	liveEvery    = 2
	liveEveryMax = 60
	// loginFor is how long a stream relies on who its client was found to be, as
	// long as no user and no permission changes.
	loginFor  = 10 * time.Second
	lookShare = 25
)

// look has a resource's handler answer somebody who is not asking just now.
// It belongs to one goroutine.
type look struct {
	// Of the client, from look to look.
	user  principal
	epoch uint64
	since time.Time // When it was last asked who it is; zero for not yet.

	// The answer.
	status int
	value  any
	header http.Header
}

type lookKey struct{}

// Header, Write and WriteHeader make a look a ResponseWriter.
func (l *look) Header() http.Header { return l.header }

func (l *look) Write(b []byte) (int, error) { return len(b), nil }

func (l *look) WriteHeader(status int) { l.status = status }

// admit checks the rights of c's user as every request does; who it is, that
// only now and then.
func (l *look) admit(c *call, need right) bool {
	epoch := c.s.broker.Auth().Epoch()
	if l.since.IsZero() || l.epoch != epoch || time.Since(l.since) > loginFor || expired(l.user.ExpiresAt) {
		if !c.admit(need) {
			return false
		}
		l.user, l.epoch, l.since = c.user, epoch, time.Now()
		return true
	}
	c.user = l.user
	if err := c.authorise(need); err != nil {
		c.fail(err)
		return false
	}
	return true
}

// expired reports whether a time that may be zero, which is never, is over.
func expired(at time.Time) bool { return !at.IsZero() && !time.Now().Before(at) }

// at has the server answer GET u with what c's client may see.
func (l *look) at(c *call, u *url.URL) {
	l.status, l.value, l.header = http.StatusOK, nil, make(http.Header)
	r := c.r.Clone(context.WithValue(c.r.Context(), lookKey{}, l))
	r.Method, r.URL, r.RequestURI, r.Body = http.MethodGet, u, "", http.NoBody
	r.Header.Del("Accept-Encoding")
	r.Header.Set("Accept", "application/json")
	// The router notes in a request's context where it has got to.
	r = r.WithContext(context.WithValue(r.Context(), chi.RouteCtxKey, (*chi.Context)(nil)))
	c.s.handler.ServeHTTP(l, r)
}

// live is GET /live.
func (c *call) live() error {
	if c.look != nil {
		return badRequest("a stream cannot be looked at")
	}
	q := c.r.URL.Query()
	u, err := url.Parse("/api" + q.Get("path"))
	if err != nil || !strings.HasPrefix(q.Get("path"), "/") || u.Host != "" || strings.HasSuffix(u.Path, "/tail") {
		return badRequest([]any{"not_a_path", q.Get("path")})
	}
	every := int64(liveEvery)
	if q.Has("every") {
		if every, err = (body{"every": q.Get("every")}).integer("every"); err != nil {
			return err
		}
		if every < 1 || every > liveEveryMax {
			return badRequest([]any{"not_in_range", "every"})
		}
	}
	l := &look{}
	began := time.Now()
	l.at(c, u)
	if l.status != http.StatusOK || l.value == nil {
		if l.value != nil {
			c.json(l.status, l.value)
		} else {
			c.w.WriteHeader(l.status)
		}
		return nil
	}
	s, err := c.stream()
	if err != nil {
		return err
	}
	defer s.close()
	c.follow(s, l, u, time.Duration(every)*time.Second, time.Since(began))
	return nil
}

// follow sends what is there now and what becomes of it, until the stream ends.
// took is how long the first look did.
func (c *call) follow(s *eventStream, l *look, u *url.URL, every, took time.Duration) {
	shown, err := newSnapshot(l.value)
	if err != nil || s.send("full", l.value) != nil {
		return
	}
	if shown.rows != nil && s.send("rows", shown.change(shown)) != nil {
		return
	}
	var failed any
	spoke := time.Now()
	t := time.NewTimer(max(every, took*lookShare))
	defer t.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-t.C:
		}
		began := time.Now()
		l.at(c, u)
		event, data := "", any(nil)
		if l.status != http.StatusOK {
			if event = "error"; reflect.DeepEqual(failed, l.value) {
				event = ""
			}
			data, failed = l.value, l.value
		} else {
			is, err := newSnapshot(l.value)
			if err != nil {
				return
			}
			switch {
			case failed != nil || (is.rows == nil) != (shown.rows == nil):
				event, data = "full", l.value
			case is.rows != nil:
				if event, data = "rows", is.change(shown); data == nil {
					event = ""
				}
			case !bytes.Equal(is.whole, shown.whole):
				event, data = "patch", json.RawMessage(mergePatch(shown.whole, is.whole))
			}
			shown, failed = is, nil
		}
		began, took = time.Now(), time.Since(began)
		switch {
		case event != "":
			if s.send(event, data) != nil {
				return
			}
			if event == "full" && shown.rows != nil && s.send("rows", shown.change(shown)) != nil {
				return
			}
			spoke = began
		case began.Sub(spoke) >= streamQuiet:
			if s.comment() != nil {
				return
			}
			spoke = began
		}
		if l.status == http.StatusUnauthorized {
			return
		}
		t.Reset(min(max(every, took*lookShare), streamQuiet+every))
	}
}

// snapshot is an answer as it was sent.
type snapshot struct {
	whole []byte // Of what is no list.

	head  object // Of a list: the counts.
	order []string
	rows  map[string][]byte // nil for what is no list.
}

// counts are what a page has besides its rows.
var pageCounts = []string{"total_count", "filtered_count", "item_count", "page", "page_count"}

func newSnapshot(v any) (s *snapshot, err error) {
	s = &snapshot{head: object{}}
	rows, ok := v.([]object)
	if page, paged := v.(object); paged {
		if rows, ok = page["items"].([]object); ok {
			for _, name := range pageCounts {
				if n, has := page[name]; has {
					s.head[name] = n
				}
			}
		}
	}
	if !ok {
		s.whole, err = json.Marshal(v)
		return s, err
	}
	s.rows = make(map[string][]byte, len(rows))
	for i, r := range rows {
		key := rowKey(r, i)
		for n := 2; s.rows[key] != nil; n++ {
			key = fmt.Sprintf("%s#%d", rowKey(r, i), n)
		}
		b, err := json.Marshal(r)
		if err != nil {
			return nil, err
		}
		s.order, s.rows[key] = append(s.order, key), b
	}
	return s, nil
}

// change is what a client that has shown must know to have s: nil for nothing.
// Compared with itself it is the order of the rows.
func (s *snapshot) change(shown *snapshot) any {
	changed := map[string]json.RawMessage{}
	for key, is := range s.rows {
		was, there := shown.rows[key]
		switch {
		case !there:
			changed[key] = is
		case !bytes.Equal(was, is):
			changed[key] = mergePatch(was, is)
		}
	}
	if len(changed) == 0 && s != shown && slices.Equal(s.order, shown.order) && reflect.DeepEqual(s.head, shown.head) {
		return nil
	}
	out := object{"order": append([]string{}, s.order...), "changed": changed}
	for name, n := range s.head {
		out[name] = n
	}
	return out
}

// rowKey names a row among those of its list: by what makes up its identity,
// joined with '|', the virtual host first. A row without any is named by its
// place.
func rowKey(o object, i int) string {
	in := func(o object, names ...string) (parts []string) {
		for _, name := range names {
			v, ok := o[name]
			if !ok {
				return nil
			}
			parts = append(parts, fmt.Sprint(v))
		}
		return parts
	}
	inner := func(name string) object { v, _ := o[name].(object); return v }
	var parts []string
	switch {
	case o["consumer_tag"] != nil:
		parts = append(in(inner("queue"), "vhost", "name"), in(inner("channel_details"), "name")...)
		parts = append(parts, fmt.Sprint(o["consumer_tag"]))
	case o["source"] != nil && o["destination"] != nil:
		parts = in(o, "vhost", "source", "destination_type", "destination", "properties_key")
	default:
		for _, names := range [][]string{
			{"act", "id"}, {"vhost", "component", "name"}, {"vhost", "client_id"}, {"vhost", "user", "exchange"}, {"vhost", "name"}, {"vhost", "user"},
			{"id"}, {"name"}, {"topic"}, {"user"}, {"vhost"},
		} {
			if parts = in(o, names...); parts != nil {
				break
			}
		}
	}
	if parts == nil {
		return fmt.Sprintf("#%d", i)
	}
	return strings.Join(parts, "|")
}

// mergePatch returns what turns the JSON was into is, as RFC 7396 has it: what
// is null afterwards is not told from what is not there.
func mergePatch(was, is []byte) json.RawMessage {
	a, ok1 := members(was)
	b, ok2 := members(is)
	if !ok1 || !ok2 {
		return is
	}
	p := map[string]json.RawMessage{}
	for name, v := range b {
		if old, there := a[name]; !there {
			p[name] = v
		} else if !bytes.Equal(old, v) {
			p[name] = mergePatch(old, v)
		}
	}
	for name := range a {
		if _, there := b[name]; !there {
			p[name] = json.RawMessage("null")
		}
	}
	out, err := json.Marshal(p)
	if err != nil {
		return is
	}
	return out
}

// members takes a JSON object apart, if it is one.
func members(b []byte) (m map[string]json.RawMessage, ok bool) {
	if len(b) == 0 || b[0] != '{' {
		return nil, false
	}
	return m, json.Unmarshal(b, &m) == nil
}
