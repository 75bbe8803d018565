// Package mgmt is the operators' way in: RabbitMQ's HTTP API, translated into
// calls of core. It holds no state of the broker's; what it adds are rates,
// worked out from two looks at core's counters (rates.go), and their history
// (history.go).
//
//	request -> escape -> route -> method -> login -> right -> handler -> core
//	             |         |        405      401      401        |
//	             raw path  404                                  reply: JSON, core.Kind -> status
//
// A resource (one URL pattern) is a row in routes.go: who may use it and what
// each method does. Handlers return errors; reply.go alone knows what those are
// called on the wire. Lists go through list.go, which filters, sorts and pages
// on keys first and builds JSON only for the rows that leave.
//
// What RabbitMQ has no API for is here under names of our own: the messages that
// an exchange of type x-delayed-message keeps (delayed.go), and of queues
// messages_delayed (given back, ready again later) and messages_leaving (on
// their way to another queue); a look into a queue (peek.go); where a message
// would go (route.go); messages moved elsewhere or home (moves.go); what an import
// of definitions would do (definitions.go); sessions and retained messages of MQTT; and any answer as a stream of its changes (live.go over
// sse.go), which has the resource's own handler answer again and again.
//
// What is changed is written down and listed (audit.go); messages are shown as
// they pass (tail.go).
//
// Goroutines: net/http's, one for each connection, and the sampler of
// Server.Run, which ends with its context. Locks: sampler.mu, streams.mu
// and audit.mu, all leaves.
//
// Read routes.go, then server.go, auth.go, reply.go, list.go; after that each
// file is one kind of object.
package mgmt
