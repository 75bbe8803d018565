// Package shovel moves messages: out of a queue, an exchange or a stream, here or
// at another broker, into a queue or an exchange, here or at another broker. It
// does RabbitMQ's dynamic shovels, parameters of the component "shovel", and is
// the engine below `leveret ctl migrate`.
//
//	parameters -> Manager -> shovel (connects, again and again) -> pump
//	                                                                |
//	    inlet  --- messages, in order, a window at most ------------+--> outlet
//	      ^                                                         |       |
//	      +--- ack: what is confirmed there, and not before --------+<------+
//	                                                            confirms
//
// An end is local (a session of core: no socket, the message is handed over in
// the form it came in) or remote (AMQP 0-9-1 by github.com/rabbitmq/amqp091-go).
//
// # What is promised
//
// With ack mode on-confirm a message leaves its source only when the destination
// has confirmed it: none is lost, whatever dies in between. What was under way
// when something died is sent again, so it may be there twice; it is redelivered
// then and counted as such. Messages leave in the order in which they came. When
// the destination refuses one, the shovel stops, gives back what it holds, and
// tries again later one by one: nothing is moved past a message that nobody
// wants, but for what was under way behind it to a remote broker.
//
// # Goroutines
//
// Manager.Run has one for each shovel. A remote end has one that takes what
// arrives, which ends with its connection. Nothing else is started.
//
// # Locks
//
// An end's lock and a shovel's status lock are leaves: nothing is called with one
// held. Core calls a local inlet with a queue's lock held.
//
// Read config.go, pump.go, local.go and remote.go, then shovel.go and manager.go.
package shovel
