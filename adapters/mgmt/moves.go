package mgmt

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"leveret/core"
)

// Moving messages of a queue elsewhere, or home, takes a while and is a job: it
// runs on behind the answer, in a session of the user's own, until it is done,
// the user stops it or the server does. What it has moved stays moved; it can be
// asked for again to go on. Jobs are remembered, but not over a restart.

const (
	// movesRunning bounds the jobs that run, movesKept those that are over and
	// still listed.
	movesRunning = 16
	movesKept    = 200
	// previewFor bounds how long a preview looks.
	previewFor = 5 * time.Second
)

// moves are the jobs of a server.
type moves struct {
	wait sync.WaitGroup

	mu struct {
		sync.Mutex
		last    uint64
		jobs    []*moveJob // The oldest first.
		running int
		stopped bool
	}
}

// moveJob is a move under way, or over.
type moveJob struct {
	// Fixed by start.
	id           uint64
	vhost, queue string
	user         string
	to           any
	started      int64
	cancel       context.CancelFunc

	mu struct {
		sync.Mutex
		state    string // running, done, failed or cancelled.
		progress core.MoveProgress
		ended    int64
		why      string
	}
}

// start runs a job on a session, which it closes.
func (m *moves) start(s *Server, j *moveJob, session *core.Session, o core.MoveOptions) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.mu.stopped:
		return core.Errorf(core.Unavailable, "the broker stops")
	case m.mu.running >= movesRunning:
		return &failure{http.StatusTooManyRequests, "too_many_moves", "too many moves are running; wait for one to end"}
	}
	m.mu.last++
	m.mu.running++
	j.id, j.started, j.mu.state = m.mu.last, s.broker.Now(), "running"
	ctx, cancel := context.WithCancel(context.Background())
	j.cancel = cancel
	session.OnClose(func(string) { cancel() })
	m.mu.jobs = append(m.mu.jobs, j)
	for over := len(m.mu.jobs) - movesKept - movesRunning; over > 0; over-- {
		if i := slices.IndexFunc(m.mu.jobs, func(j *moveJob) bool { return !j.running() }); i >= 0 {
			m.mu.jobs = slices.Delete(m.mu.jobs, i, i+1)
		}
	}
	m.wait.Go(func() {
		defer cancel()
		defer session.Close()
		p, err := session.Move(ctx, o, j.note)
		j.end(p, err, s.broker.Now())
		s.log.Info("messages moved", slog.Uint64("id", j.id), slog.String("vhost", j.vhost), slog.String("queue", j.queue), slog.Any("to", j.to),
			slog.String("user", j.user), slog.Int("moved", p.Moved), slog.Int("skipped", p.Skipped), slog.Any("error", err))
		m.mu.Lock()
		m.mu.running--
		m.mu.Unlock()
	})
	return nil
}

// stop ends what runs, and waits for it. No job is started any more.
func (m *moves) stop() {
	m.mu.Lock()
	m.mu.stopped = true
	for _, j := range m.mu.jobs {
		j.cancel()
	}
	m.mu.Unlock()
	m.wait.Wait()
}

func (m *moves) list() []*moveJob {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.mu.jobs)
}

func (j *moveJob) note(p core.MoveProgress) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.mu.progress = p
}

func (j *moveJob) end(p core.MoveProgress, err error, now int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.mu.progress, j.mu.ended, j.mu.state = p, now, "done"
	if errors.Is(err, context.Canceled) {
		j.mu.state = "cancelled"
	} else if err != nil {
		j.mu.state, j.mu.why = "failed", err.Error()
	}
}

func (j *moveJob) running() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.mu.state == "running"
}

func (j *moveJob) object() object {
	j.mu.Lock()
	defer j.mu.Unlock()
	p := &j.mu.progress
	out := object{
		"id": strconv.FormatUint(j.id, 10), "vhost": j.vhost, "queue": j.queue, "to": j.to, "user": j.user, "state": j.mu.state,
		"moved": p.Moved, "matched": p.Matched, "skipped": p.Skipped, "scanned": p.Scanned, "total": p.Total,
		"started_at": j.started, "ended_at": nil, "error": nil,
	}
	if j.mu.ended != 0 {
		out["ended_at"] = j.mu.ended
	}
	if j.mu.why != "" {
		out["error"] = j.mu.why
	} else if p.Refused != core.OK {
		out["error"] = "some were refused: " + p.Refused.String()
	}
	return out
}

// moveMessages starts a job, or says what it would do.
func (c *call) moveMessages() error {
	b, err := c.body()
	if err != nil {
		return err
	}
	o := core.MoveOptions{Queue: c.param("queue")}
	if o.To, err = moveTo(b); err != nil {
		return err
	}
	if o.Match, err = c.moveFilter(b); err != nil {
		return err
	}
	if b.has("limit") {
		n, err := b.integer("limit")
		if err != nil {
			return err
		}
		if n < 1 {
			return badRequest([]any{"not_in_range", "limit"})
		}
		o.Limit = int(n)
	}
	preview, err := b.boolean("preview", false)
	if err != nil {
		return err
	}
	s, err := c.session()
	if err != nil {
		return err
	}
	if preview {
		defer s.Close()
		return c.previewMove(s, o)
	}
	if err := s.MayMove(o); err != nil {
		s.Close()
		return err
	}
	j := &moveJob{vhost: c.param("vhost"), queue: o.Queue, user: c.user.Name, to: b["to"]}
	if err := c.s.moves.start(c.s, j, s, o); err != nil {
		s.Close()
		return err
	}
	id := strconv.FormatUint(j.id, 10)
	c.w.Header().Set("Location", "/api/moves/"+id)
	c.json(http.StatusAccepted, object{"id": id})
	return nil
}

func (c *call) previewMove(s *core.Session, o core.MoveOptions) error {
	until := time.Now().Add(previewFor)
	p, err := s.PreviewMove(o, func() bool { return time.Now().After(until) || c.r.Context().Err() != nil })
	if err != nil {
		return err
	}
	destinations := []object{}
	for _, d := range p.Destinations {
		var queue any
		if len(d.Queues) == 1 {
			queue = d.Queues[0]
		}
		destinations = append(destinations, object{
			"exchange": d.Exchange, "routing_key": d.Key, "queue": queue, "queues": append([]string{}, d.Queues...), "count": d.Count,
		})
	}
	return c.ok(object{
		"matched": p.Matched, "scanned": p.Scanned, "total": p.Total, "skipped": p.Skipped, "destinations": destinations, "complete": p.Complete,
	})
}

// moveTo reads where messages are to go.
func moveTo(b body) (to core.MoveTo, err error) {
	if err := b.need("to"); err != nil {
		return to, err
	}
	if s, ok := b["to"].(string); ok && s == "origin" {
		to.Origin = true
		return to, nil
	}
	o, ok := b["to"].(map[string]any)
	where := body(o)
	if !ok || where.has("queue") == where.has("exchange") {
		return to, badRequest(`"to" must be {"queue":NAME}, {"exchange":NAME,"routing_key":KEY} or "origin".`)
	}
	if where.has("queue") {
		if to.Queue, err = where.text("queue"); err == nil && to.Queue == "" {
			err = badRequest([]any{"not_a_queue", "to"})
		}
		return to, err
	}
	x, err := where.text("exchange")
	if err != nil {
		return to, err
	}
	if x == "amq.default" {
		x = ""
	}
	to.Exchange = &x
	if where.has("routing_key") {
		key, err := where.text("routing_key")
		if err != nil {
			return to, err
		}
		to.Key = &key
	}
	return to, nil
}

// moveFilter reads which messages are meant; nil is all.
func (c *call) moveFilter(b body) (func(*core.Peeked) bool, error) {
	inner, ok := b["filter"].(map[string]any)
	if !ok && b["filter"] != nil {
		return nil, badRequest([]any{"not_an_object", "filter"})
	}
	f := body(inner)
	var all []func(*core.Peeked) bool
	text, err := f.text("search")
	if err != nil {
		return nil, err
	}
	in, err := parts(f["in"])
	if err != nil {
		return nil, err
	}
	find, err := newSearch(text, in)
	if err != nil {
		return nil, err
	}
	if find != nil {
		all = append(all, func(m *core.Peeked) bool { return find.matches(m.Message) })
	}
	reason, err := f.text("reason")
	if err != nil {
		return nil, err
	}
	if reason != "" {
		all = append(all, func(m *core.Peeked) bool { return m.Message.DeathReason() == reason })
	}
	now := c.s.broker.Now()
	for name, keep := range map[string]func(at, limit int64) bool{
		"older_than_ms": func(at, limit int64) bool { return at < now-limit },
		"newer_than_ms": func(at, limit int64) bool { return at > now-limit },
	} {
		if !f.has(name) {
			continue
		}
		limit, err := f.integer(name)
		if err != nil {
			return nil, err
		}
		all = append(all, func(m *core.Peeked) bool { return keep(m.Message.ArrivedMS, limit) })
	}
	if f.has("ids") {
		list, ok := f["ids"].([]any)
		if !ok {
			return nil, badRequest([]any{"not_a_list", "ids"})
		}
		ids := make(map[core.Seq]bool, len(list))
		for _, v := range list {
			s, _ := v.(string)
			id, err := parseMessageID(s)
			if err != nil {
				return nil, err
			}
			ids[id] = true
		}
		all = append(all, func(m *core.Peeked) bool { return ids[m.Seq] })
	}
	if len(all) == 0 {
		return nil, nil
	}
	return func(m *core.Peeked) bool {
		for _, match := range all {
			if !match(m) {
				return false
			}
		}
		return true
	}, nil
}

// parts reads what a search looks into: a list, or names with commas between.
func parts(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case []any:
		var names []string
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return "", badRequest([]any{"not_a_list", "in"})
			}
			names = append(names, s)
		}
		return strings.Join(names, ","), nil
	}
	return "", badRequest([]any{"not_a_list", "in"})
}

// maySeeMove reports whether the user may see a job: its own, or as a monitor.
func (c *call) maySeeMove(j *moveJob) bool { return c.user.isMonitor() || j.user == c.user.Name }

func (c *call) listMoves() error {
	rows := []row{}
	for _, j := range c.s.moves.list() {
		if c.maySeeMove(j) {
			// The newest last, whatever the number of digits.
			name := strconv.FormatUint(j.id, 10)
			rows = append(rows, row{"", strings.Repeat(" ", 20-len(name)) + name, j.object})
		}
	}
	return c.list(rows)
}

// move finds the job of the path.
func (c *call) move() (*moveJob, error) {
	for _, j := range c.s.moves.list() {
		if strconv.FormatUint(j.id, 10) == c.param("id") && c.maySeeMove(j) {
			return j, nil
		}
	}
	return nil, errNotFound
}

func (c *call) getMove() error {
	j, err := c.move()
	if err != nil {
		return err
	}
	return c.one(j.object())
}

// cancelMove ends a job; what it has moved stays moved.
func (c *call) cancelMove() error {
	j, err := c.move()
	if err != nil {
		return err
	}
	if j.user != c.user.Name && !c.user.isAdministrator() {
		return errAccessRefused
	}
	j.cancel()
	return c.done(false)
}
