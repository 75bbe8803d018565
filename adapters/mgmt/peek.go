package mgmt

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"leveret/core"
)

// What one look into a queue may show and cost. A search that ends early says
// where to go on.
const (
	peekMax       = 500
	peekMaxBytes  = 8 << 20  // Of bodies shown.
	peekScan      = 50_000   // Messages searched,
	peekScanBytes = 64 << 20 // and their bodies.
	peekScanFor   = 2 * time.Second
	peekTruncate  = 50_000
	maxSearch     = 1024
)

// peekMessages shows what is in a queue and leaves it as it is.
func (c *call) peekMessages() error {
	o, err := c.peekOptions()
	if err != nil {
		return err
	}
	s, err := c.session()
	if err != nil {
		return err
	}
	defer s.Close()
	r, err := s.Peek(c.param("queue"), o)
	if err != nil {
		return err
	}
	rows := []object{}
	for i := range r.Messages {
		rows = append(rows, peekedObject(&r.Messages[i]))
	}
	var next any
	if r.Next != nil {
		next = placeText(r.Next)
		if _, q, err := c.queue(); err == nil && q.Options().Type == core.QueueStream {
			next = uint64(r.Next.Seq)
		}
	}
	return c.ok(object{"messages": rows, "next_offset": next, "total": r.Total, "scanned": r.Scanned})
}

// peekOptions reads the query.
func (c *call) peekOptions() (o core.PeekOptions, err error) {
	q := body{}
	for name, values := range c.r.URL.Query() {
		q[name] = values[0]
	}
	number := func(name string, absent, low, high int64) int64 {
		n := absent
		if q.has(name) && err == nil {
			n, err = q.integer(name)
			if err == nil && (n < low || n > high) {
				err = badRequest([]any{"not_in_range", name})
			}
		}
		return n
	}
	o = core.PeekOptions{Bytes: peekMaxBytes, Scan: peekScan, ScanBytes: peekScanBytes}
	o.Count = int(number("count", 50, 1, peekMax))
	o.Keep = int(number("truncate", peekTruncate, 0, math.MaxInt32))
	if err != nil {
		return o, err
	}
	offset, _ := q.text("offset")
	if o.From, err = parsePlace(offset); err != nil {
		return o, err
	}
	state, _ := q.text("state")
	switch state {
	case "", "ready":
		o.States = core.PeekReady
	case "unacked":
		o.States = core.PeekUnacked
	case "delayed":
		o.States = core.PeekDelayed
	case "all":
		o.States = core.PeekAll
	default:
		return o, badRequest("Unknown state. Please use ready, unacked, delayed or all.")
	}
	search, _ := q.text("search")
	in, _ := q.text("in")
	find, err := newSearch(search, in)
	if err != nil {
		return o, err
	}
	if find != nil {
		o.Match = func(m *core.Peeked) bool { return find.matches(m.Message) }
	}
	until := time.Now().Add(peekScanFor)
	o.Stop = func() bool { return time.Now().After(until) || c.r.Context().Err() != nil }
	return o, nil
}

// parsePlace reads an offset: so many messages from the head, of a stream its
// offset, or what next_offset said.
func parsePlace(s string) (p core.PeekPlace, err error) {
	index, seq, known := strings.Cut(s, "@")
	if s == "" {
		return p, nil
	}
	if p.Index, err = strconv.Atoi(index); err == nil && p.Index >= 0 {
		if p.Known = known; !known {
			return p, nil
		}
		if p.Seq, err = parseMessageID(seq); err == nil {
			return p, nil
		}
	}
	return p, badRequest([]any{"not_an_offset", s})
}

func placeText(p *core.PeekPlace) string { return fmt.Sprintf("%d@%s", p.Index, messageID(p.Seq)) }

// messageID names a message in its queue, as PRIORITY-NUMBER: as one number it
// would be more than JavaScript can count to.
func messageID(s core.Seq) string {
	return fmt.Sprintf("%d-%d", uint64(s)>>56, uint64(s)&(1<<56-1))
}

func parseMessageID(s string) (core.Seq, error) {
	prio, number, _ := strings.Cut(s, "-")
	p, err1 := strconv.ParseUint(prio, 10, 8)
	n, err2 := strconv.ParseUint(number, 10, 56)
	if err1 != nil || err2 != nil {
		return 0, badRequest([]any{"not_a_message", s})
	}
	return core.Seq(p<<56 | n), nil
}

// peekedObject is a message as it lies in its queue in JSON.
func peekedObject(p *core.Peeked) object {
	out := messageRow(p.Message, p.BodyBytes)
	out["id"], out["position"], out["state"], out["redelivered"] = messageID(p.Seq), p.Index, p.State.String(), p.Redelivered
	out["delivery_count"], out["due_at"] = nil, nil
	if p.Attempts >= 0 {
		out["delivery_count"] = p.Attempts
	}
	if p.DueMS != 0 {
		out["due_at"] = p.DueMS
	}
	return out
}

// messageRow is what a message is wherever it lies, in JSON. Its body may be the
// beginning of one of size bytes. It keeps nothing of m.
func messageRow(m *core.Message, size int) object {
	truncated := size > len(m.Body)
	payload := m.Body
	if truncated {
		// What is cut off in the middle of a letter is still a text.
		for range utf8.UTFMax - 1 {
			if r, n := utf8.DecodeLastRune(payload); r == utf8.RuneError && n == 1 {
				payload = payload[:len(payload)-1]
			}
		}
		if !utf8.Valid(payload) {
			payload = m.Body
		}
	}
	encoding, shown := "string", ""
	if utf8.Valid(payload) {
		shown = string(payload)
	} else {
		encoding, shown = "base64", base64.StdEncoding.EncodeToString(payload)
	}
	var expires, arrived any
	if m.ExpiresMS != 0 {
		expires = m.ExpiresMS
	}
	if m.ArrivedMS != 0 {
		arrived = m.ArrivedMS
	}
	// Properties may alias the message.
	props, err := json.Marshal(propertiesJSON(m.Properties()))
	if err != nil {
		props = []byte("{}")
	}
	return object{
		"exchange": strings.Clone(m.Exchange), "routing_key": strings.Clone(m.RoutingKey), "enqueued_at": arrived, "expires_at": expires,
		"priority": m.Priority, "size": size, "properties": json.RawMessage(props),
		"payload": shown, "payload_encoding": encoding, "truncated": truncated,
	}
}

// search finds a text in messages, whatever its case.
type search struct {
	text               []byte
	body, headers, key bool
}

// newSearch returns nil for no text. in lists the parts of messages to look at,
// nothing for all of them.
func newSearch(text, in string) (*search, error) {
	if text == "" {
		return nil, nil
	}
	if len(text) > maxSearch {
		return nil, badRequest([]any{"too_long", "search"})
	}
	s := &search{text: []byte(strings.ToLower(text))}
	if in == "" {
		in = "body,headers,key"
	}
	for part := range strings.SplitSeq(in, ",") {
		switch strings.TrimSpace(part) {
		case "body":
			s.body = true
		case "headers":
			s.headers = true
		case "key":
			s.key = true
		default:
			return nil, badRequest("Unknown part of messages to search in. Please use body, headers and key.")
		}
	}
	return s, nil
}

func (s *search) matches(m *core.Message) bool {
	contains := func(b []byte) bool { return bytes.Contains(bytes.ToLower(b), s.text) }
	switch {
	case s.key && (contains([]byte(m.RoutingKey)) || contains([]byte(m.Exchange))):
	case s.body && contains(m.Body):
	case s.headers && inProperties(m.Properties(), contains):
	default:
		return false
	}
	return true
}

// inProperties reports whether any name or value among p has what contains
// looks for.
func inProperties(p *core.Properties, contains func([]byte) bool) bool {
	var inside func(v any) bool
	inside = func(v any) bool {
		switch v := v.(type) {
		case string:
			return contains([]byte(v))
		case object:
			for name, e := range v {
				if contains([]byte(name)) || inside(e) {
					return true
				}
			}
			return false
		case []any:
			return slices.ContainsFunc(v, inside)
		}
		return contains(fmt.Append(nil, v))
	}
	for _, v := range propertiesJSON(p) {
		if inside(v) {
			return true
		}
	}
	return false
}
