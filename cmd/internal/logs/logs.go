package logs

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
)

// The categories that have levels of their own.
const (
	Connection = "connection" // What adapters say of clients.
	Queue      = "queue"      // What the core says of queues and messages.
	Default    = "default"    // Everything else.
)

// Categories are those that Options.Levels may name.
var Categories = []string{Connection, Queue, Default}

// Options say what is written where.
type Options struct {
	Console      io.Writer // Nil for none.
	ConsoleLevel slog.Level
	ConsoleJSON  bool

	File      string // Its path; "" for none.
	FileLevel slog.Level
	FileJSON  bool
	Rotation  Rotation

	// Levels replace those above for the categories named.
	Levels map[string]slog.Level
}

// Logs writes what its loggers are given. Any goroutine may use it.
type Logs struct {
	state atomic.Pointer[state]
}

// state is one Options put to work; it is never changed.
type state struct {
	sinks  []sink
	levels map[string]slog.Level
	file   *file // Nil for none.
}

type sink struct {
	slog.Handler
	level slog.Level
}

// everything is below the levels of all records: handlers leave that decision
// to us.
const everything = slog.Level(-1 << 20)

func newSink(w io.Writer, level slog.Level, json bool) sink {
	o := &slog.HandlerOptions{Level: everything}
	if json {
		return sink{slog.NewJSONHandler(w, o), level}
	}
	return sink{slog.NewTextHandler(w, o), level}
}

// Open begins to log.
func Open(o Options) (*Logs, error) {
	l := new(Logs)
	l.state.Store(&state{})
	return l, l.Set(o)
}

// Set replaces the Options. After an error everything is as it was.
func (l *Logs) Set(o Options) error {
	s := &state{levels: o.Levels}
	if o.Console != nil {
		s.sinks = append(s.sinks, newSink(o.Console, o.ConsoleLevel, o.ConsoleJSON))
	}
	if o.File != "" {
		f, err := openFile(o.File, o.Rotation)
		if err != nil {
			return err
		}
		s.file = f
		s.sinks = append(s.sinks, newSink(f, o.FileLevel, o.FileJSON))
	}
	if old := l.state.Swap(s); old.file != nil {
		return old.file.Close()
	}
	return nil
}

// Close closes the file; what is logged afterwards goes to the console only.
func (l *Logs) Close() error {
	old := l.state.Load()
	if old.file == nil {
		return nil
	}
	l.state.Store(&state{levels: old.levels, sinks: old.sinks[:len(old.sinks)-1]}) // The file is the last.
	return old.file.Close()
}

// Logger returns the logger of a category.
func (l *Logs) Logger(category string) *slog.Logger {
	return slog.New(&handler{logs: l, category: category})
}

// threshold is the least level that k writes of a category.
func (s *state) threshold(k *sink, category string) slog.Level {
	if level, ok := s.levels[category]; ok {
		return level
	}
	return k.level
}

// handler hands records to whatever the state is when they come.
type handler struct {
	logs     *Logs
	category string
	derive   []func(slog.Handler) slog.Handler // What With and WithGroup have added, in order.
	built    atomic.Pointer[built]
}

// built are a state's sinks with what With has added.
type built struct {
	of    *state
	sinks []slog.Handler
}

func (h *handler) Enabled(_ context.Context, level slog.Level) bool {
	s := h.logs.state.Load()
	for i := range s.sinks {
		if level >= s.threshold(&s.sinks[i], h.category) {
			return true
		}
	}
	return false
}

func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	s := h.logs.state.Load()
	b := h.built.Load()
	if b == nil || b.of != s {
		b = &built{of: s}
		for _, k := range s.sinks {
			out := k.Handler
			for _, d := range h.derive {
				out = d(out)
			}
			b.sinks = append(b.sinks, out)
		}
		h.built.Store(b)
	}
	var errs []error
	for i := range s.sinks {
		if r.Level >= s.threshold(&s.sinks[i], h.category) {
			errs = append(errs, b.sinks[i].Handle(ctx, r.Clone()))
		}
	}
	err := errors.Join(errs...)
	if errors.Is(err, os.ErrClosed) && h.logs.state.Load() != s {
		return h.Handle(ctx, r) // Set has come in between. A line twice is better than none.
	}
	return err
}

func (h *handler) with(d func(slog.Handler) slog.Handler) slog.Handler {
	derive := append(append([]func(slog.Handler) slog.Handler(nil), h.derive...), d)
	return &handler{logs: h.logs, category: h.category, derive: derive}
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.with(func(out slog.Handler) slog.Handler { return out.WithAttrs(attrs) })
}

func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return h.with(func(out slog.Handler) slog.Handler { return out.WithGroup(name) })
}
