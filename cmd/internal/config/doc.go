// Package config says what a broker can be told and turns it into the Options
// of the packages that make one up.
//
//	defaults ─┐
//	flags ────┤ kong          files ──parseFile──▶ entries ──┐
//	LEVERET_ ─┴──────▶ Serve ◀────────── Load ◀── RABBITMQ_ ─┴─▶ Report: origins, what is
//	                     │                                       unknown, missing, idle
//	                  Resolve
//	                     ▼
//	                  Settings: sizes in bytes, addresses split, files read
//
// Each setting is named once, as a field of Serve whose tags have its flag, its
// variable, its default, its help and RabbitMQ's keys for it. What wins is
// decided in one place, loader.apply: flags, then LEVERET_ variables, then
// RABBITMQ_ variables, then the later line of the later file, then the default.
// Keys that make no setting have a rule in keys.go that says why, and a test
// walks all keys that RabbitMQ has had.
//
// Only cmd/leveret imports it; it starts no goroutine and opens no socket.
//
// Read serve.go first, then file.go (the format), load.go (who wins), special.go
// and translate.go (values that take more than a tag), keys.go, environment.go,
// plugins.go and print.go.
package config
