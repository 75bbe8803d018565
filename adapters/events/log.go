package events

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"leveret/core"
)

// LogTee is a slog.Handler that hands every line on to another one, and keeps it
// for the exchange of the log. It never blocks: past a thousand lines, or two
// hundred within a second, what comes is not published, and counted. The latter
// also ends what would go round in circles, should publishing a line bring about
// another one.
type LogTee struct {
	next  slog.Handler
	text  slog.Handler // Writes one line into text.buf.
	line  *lineBuffer
	inbox *logInbox // Shared by all handlers made of one.
	least slog.Level
}

const (
	linesMax       = 1000
	linesPerSecond = 200
)

// logLine is a line of the log.
type logLine struct {
	level slog.Level
	at    time.Time
	text  []byte
}

// lineBuffer is what a text handler writes into, guarded by its own lock.
type lineBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer; mu is held by whoever made the handler write.
func (b *lineBuffer) Write(p []byte) (int, error) { return b.buf.Write(p) }

// logInbox is what waits to be published.
type logInbox struct {
	ready chan struct{}
	lost  atomic.Uint64
	mu    struct {
		sync.Mutex
		lines  []logLine
		second int64
		taken  int
	}
}

// NewLogTee makes a handler in front of next that publishes lines of the level
// least and above.
func NewLogTee(next slog.Handler, least slog.Level) *LogTee {
	line := new(lineBuffer)
	return &LogTee{
		next: next, line: line, text: slog.NewTextHandler(line, &slog.HandlerOptions{Level: slog.Level(-128)}),
		inbox: &logInbox{ready: make(chan struct{}, 1)}, least: least,
	}
}

// Before returns a LogTee of the same lines in front of another handler.
func (t *LogTee) Before(next slog.Handler) *LogTee {
	return &LogTee{next, t.text, t.line, t.inbox, t.least}
}

// Enabled implements slog.Handler: what the other one takes is published.
func (t *LogTee) Enabled(ctx context.Context, l slog.Level) bool { return t.next.Enabled(ctx, l) }

// WithAttrs implements slog.Handler.
func (t *LogTee) WithAttrs(as []slog.Attr) slog.Handler {
	return &LogTee{t.next.WithAttrs(as), t.text.WithAttrs(as), t.line, t.inbox, t.least}
}

// WithGroup implements slog.Handler.
func (t *LogTee) WithGroup(name string) slog.Handler {
	return &LogTee{t.next.WithGroup(name), t.text.WithGroup(name), t.line, t.inbox, t.least}
}

// Handle implements slog.Handler.
func (t *LogTee) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= t.least && t.inbox.admit(r.Time) {
		t.line.mu.Lock()
		t.line.buf.Reset()
		if t.text.Handle(ctx, r) == nil {
			text := bytes.TrimSuffix(bytes.Clone(t.line.buf.Bytes()), []byte("\n"))
			t.inbox.put(logLine{r.Level, r.Time, text})
		}
		t.line.mu.Unlock()
	}
	return t.next.Handle(ctx, r)
}

// Lost is how many lines were not published.
func (t *LogTee) Lost() uint64 { return t.inbox.lost.Load() }

// admit reports whether a line of that time is one too many.
func (b *logInbox) admit(at time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if second := at.Unix(); second != b.mu.second {
		b.mu.second, b.mu.taken = second, 0
	}
	if b.mu.taken++; b.mu.taken > linesPerSecond || len(b.mu.lines) >= linesMax {
		b.lost.Add(1)
		return false
	}
	return true
}

func (b *logInbox) put(l logLine) {
	b.mu.Lock()
	b.mu.lines = append(b.mu.lines, l)
	b.mu.Unlock()
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

func (b *logInbox) take() []logLine {
	b.mu.Lock()
	defer b.mu.Unlock()
	lines := b.mu.lines
	b.mu.lines = nil
	return lines
}

// levelKey is what RabbitMQ calls a level.
func levelKey(l slog.Level) string {
	switch {
	case l < slog.LevelInfo:
		return "debug"
	case l < slog.LevelWarn:
		return "info"
	case l < slog.LevelError:
		return "warning"
	}
	return "error"
}

// logMessage is a line as RabbitMQ publishes it.
func logMessage(vhost, node string, l logLine) core.Announcement {
	at := core.Timestamp(l.at.Unix())
	return core.Announcement{
		VHost: vhost, Exchange: LogExchange, Key: levelKey(l.level), Body: l.text,
		Properties: &core.Properties{
			ContentType: "text/plain", ContentTypeSet: true, Timestamp: &at,
			Headers: core.Table{{Name: "node", Value: node}}, HeadersSet: true,
		},
	}
}
