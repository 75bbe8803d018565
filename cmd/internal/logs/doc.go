// Package logs is where the broker's log goes: the console, a file that is
// turned over by size and date, or both, each with its level and form.
//
//	slog.Logger of a category ──▶ handler ──▶ state ──┬─▶ console
//	                                  (swapped whole) └─▶ file ──▶ file.0 ──▶ file.1 ...
//
// A category is what RabbitMQ's log.CATEGORY.level is about: "connection" is what
// the adapters say of clients, "queue" what the core says of messages, anything
// else has the level of where it is written. Logs.Set changes everything at once,
// for loggers that are in use too, and opens the file anew, so that a file that
// another program has moved away is let go of.
//
// It starts no goroutine. The file's lock is the only one; it is held while a
// line is written.
//
// Read logs.go, then file.go and date.go.
package logs
