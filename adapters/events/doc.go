// Package events publishes what the broker has to say about itself, to internal
// exchanges that clients bind their queues to:
//
//	core.EventStream --> eventMessage --+
//	core.Tap (tracer) -> traceMessage --+--> core.Announcer --> queues
//	LogTee (slog) ----> logMessage -----+
//	                                           amq.rabbitmq.event
//	                                           amq.rabbitmq.trace
//	                                           amq.rabbitmq.log
//
// The messages are those of RabbitMQ's event exchange, firehose and log
// exchange: names, header names and types are theirs.
//
// Nobody in the broker waits for this. What comes faster than it can be
// published is lost, and the log says how much.
//
// Goroutines: Publisher.Run, which publishes everything. Locks: logInbox.mu, a
// leaf.
//
// Read publisher.go, then event.go, trace.go and log.go, one for each exchange.
package events
