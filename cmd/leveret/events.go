package main

import (
	"fmt"
	"log/slog"
	"os"

	"leveret/adapters/events"
	"leveret/cmd/internal/config"
	"leveret/cmd/internal/logs"
	"leveret/core"
)

// logTee returns what makes loggers of a category. If s asks for that, what they
// are given is published as well, by way of the tee, which is nil otherwise.
func logTee(s *config.Serve, written *logs.Logs) (logger func(category string) *slog.Logger, tee *events.LogTee) {
	if !s.LogExchange {
		return written.Logger, nil
	}
	tee = events.NewLogTee(slog.DiscardHandler, s.LogExchangeLevel)
	return func(category string) *slog.Logger { return slog.New(tee.Before(written.Logger(category).Handler())) }, tee
}

// logVHost is where the exchange of the log is, "" for nowhere.
func logVHost(s *config.Serve) string {
	if s.LogExchange {
		return s.DefaultVHost
	}
	return ""
}

// auditLog is where administrative acts are written down: in a file of their own,
// which end closes, or with everything else in log.
func auditLog(s *config.Serve, log *slog.Logger) (audit *slog.Logger, end func() error, err error) {
	if s.AuditLog == "" {
		return log, func() error { return nil }, nil
	}
	f, err := os.OpenFile(s.AuditLog, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("--audit-log: %w", err)
	}
	return slog.New(slog.NewJSONHandler(f, nil)), f.Close, nil
}

// newEvents makes what publishes events, traces and the log. log is what it
// writes to itself, which is not published.
func newEvents(s *config.Serve, broker *core.Broker, log *slog.Logger, tee *events.LogTee) *events.Publisher {
	return events.NewPublisher(events.Options{
		Broker: broker, Logger: log, EventVHost: s.EventExchangeVHost(), Log: tee, LogVHost: logVHost(s),
	})
}
