package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"

	"leveret/cmd/internal/certs"
	"leveret/cmd/internal/config"
	"leveret/cmd/internal/logs"
	"leveret/core"
)

// reloader reads the configuration again when it is told to.
type reloader struct {
	hangups chan os.Signal
	log     *slog.Logger
	read    func() (*serveCmd, error)
	secure  *certs.Store // Nil without TLS.
	// apply puts the settings that the flags name into force. What several flags
	// decide together is called once.
	apply []liveSetting

	mu struct {
		sync.Mutex
		values []config.Value // What is in force.
	}
}

// liveSetting is what SIGHUP can change; a test holds it against the tags live.
type liveSetting struct {
	flags []string
	set   func(s *serveCmd, set *config.Settings) error
}

// openLogs begins to log where s says.
func (s *serveCmd) openLogs(io streams) (*logs.Logs, error) {
	o, err := s.LogOptions(io.out, io.err)
	if err != nil {
		return nil, err
	}
	return logs.Open(o)
}

// setMemoryLimit changes what messages may take, and Go's own limit with it.
func setMemoryLimit(b *core.Broker, n, machineBytes int64) {
	b.Memory().SetLimit(n)
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(config.GoMemory(n, machineBytes))
	}
}

// reloader makes what SIGHUP calls.
func (s *serveCmd) reloader(b *core.Broker, written *logs.Logs, secure *certs.Store, log *slog.Logger, io streams) *reloader {
	r := &reloader{hangups: make(chan os.Signal, 1), log: log, read: s.reload, secure: secure, apply: liveSettings(b, written, io)}
	r.mu.values = s.Values(s.report)
	signal.Notify(r.hangups, syscall.SIGHUP) // Before anybody is told that we serve: it would end the process.
	return r
}

// liveSettings are those with the tag live.
func liveSettings(b *core.Broker, written *logs.Logs, io streams) []liveSetting {
	return []liveSetting{
		{[]string{
			"log-console", "log-level", "log-format", "log-file", "log-dir", "log-file-level", "log-file-format",
			"log-rotate-size", "log-rotate-date", "log-rotate-count", "log-levels",
		}, func(s *serveCmd, _ *config.Settings) error {
			o, err := s.LogOptions(io.out, io.err)
			if err != nil {
				return err
			}
			return written.Set(o)
		}},
		{[]string{"memory-limit", "total-memory"}, func(_ *serveCmd, set *config.Settings) error {
			setMemoryLimit(b, set.MemoryBytes, set.MachineBytes)
			return nil
		}},
		{[]string{"disk-free-limit"}, func(s *serveCmd, set *config.Settings) error {
			if s.DataDir != config.InMemory {
				b.Alarms().SetDiskLimit(set.DiskFreeBytes)
			}
			return nil
		}},
		{[]string{"consumer-timeout"}, func(s *serveCmd, _ *config.Settings) error {
			b.SetConsumerTimeout(s.ConsumerTimeout.Milliseconds())
			return nil
		}},
	}
}

// values are what is in force, for the API.
func (r *reloader) values() []config.Value {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.values
}

// watch calls reload at each SIGHUP until ctx ends.
func (r *reloader) watch(ctx context.Context) {
	defer signal.Stop(r.hangups)
	for {
		select {
		case <-r.hangups:
			r.reload()
		case <-ctx.Done():
			return
		}
	}
}

// reload reads files and variables again and says of each setting that has
// changed whether it is in force now. Anything wrong leaves all as it was.
func (r *reloader) reload() {
	r.log.Info("reading the configuration again")
	s, err := r.read()
	var set *config.Settings
	if err == nil {
		if set, err = s.Resolve(); err != nil {
			err = s.report.Explain(err)
		}
	}
	if err != nil {
		r.log.Error("the configuration stays as it was: what there is now is not accepted", slog.Any("error", err))
		return
	}
	s.report.Log(r.log)
	r.mu.Lock()
	defer r.mu.Unlock()
	before, wanted := r.mu.values, s.Values(s.report)
	changed := map[string]bool{}
	for _, v := range changes(before, wanted) {
		changed[v.Flag] = true
	}
	inForce, failed := map[string]bool{}, map[string]bool{}
	for _, a := range r.apply {
		any := false
		for _, flag := range a.flags {
			any = any || changed["--"+flag] || flag == "log-file" // Which is opened anew.
		}
		if !any {
			continue
		}
		if err := a.set(s, set); err != nil {
			r.log.Error("settings stay as they were", slog.Any("error", err))
			for _, flag := range a.flags {
				failed["--"+flag] = true
			}
			continue
		}
		for _, flag := range a.flags {
			inForce["--"+flag] = true
		}
	}
	var now []config.Value
	for i, v := range wanted {
		switch {
		case v.Flag == "": // default_users and the like are for what is new.
			now = append(now, v)
			continue
		case inForce[v.Flag] || !changed[v.Flag]:
			now = append(now, v)
		default:
			now = append(now, r.mu.values[i]) // Flags have the same places in both.
		}
		if changed[v.Flag] {
			what := "needs a restart"
			switch {
			case inForce[v.Flag]:
				what = "in force"
			case failed[v.Flag]:
				what = "failed"
			}
			r.log.Info("setting changed", slog.String("key", v.Key), slog.String("from", r.mu.values[i].Value), slog.String("to", v.Value), slog.String("effect", what))
		}
	}
	for _, v := range changes(before, wanted) {
		if v.Flag == "" {
			r.log.Info("setting changed", slog.String("key", v.Key), slog.String("effect", "needs a restart"))
		}
	}
	r.mu.values = now
	r.log.Info("configuration read again", slog.Int("settings_changed", len(changes(before, wanted))))
	if r.secure != nil {
		r.secure.Reload() // An error is logged.
	}
}

// changes are the values in b that are not those of a; what is only in a too.
func changes(a, b []config.Value) []config.Value {
	had := map[string]config.Value{}
	for _, v := range a {
		had[v.Key] = v
	}
	var out []config.Value
	for _, v := range b {
		old, ok := had[v.Key]
		delete(had, v.Key)
		if !ok || !v.Same(old) {
			out = append(out, v)
		}
	}
	for _, v := range a {
		if _, gone := had[v.Key]; gone {
			out = append(out, v)
		}
	}
	return out
}
