// Package coretest runs scripts against a broker without any protocol.
//
// A script is a text file of steps. Each step is a block of commands, a line
// of four dashes, and what the broker was seen to do, up to an empty line:
//
//	# A rejected message goes back to the head and is marked.
//	queue orders
//	publish orders m1 m2
//	consume orders c1 prefetch=1
//	----
//	c1 <- m1
//
//	reject c1 m1 requeue
//	----
//	c1 <- m1 redelivered
//
// Run compares and reports the difference; with the flag -update it rewrites
// the file, to be reviewed as a diff. Time is virtual: only "advance" moves it.
//
// Commands (arguments in brackets may be left out; k=v arguments in any order):
//
//	session NAME [user=U] [vhost=V]     open one more session and use it from here on
//	use NAME                            use another session
//	close NAME                          end a session; what it holds is requeued
//	user NAME [tags]                    make a user
//	vhost NAME [default=TYPE]           make a virtual host
//	allow USER CONFIGURE WRITE READ     set permissions in the session's virtual host,
//	                                    or in vhost=NAME
//	allow-topic USER EXCHANGE WRITE READ
//	exchange NAME TYPE [durable] [auto-delete] [internal] [passive] [ARG=VALUE]
//	delete-exchange NAME [if-unused]
//	queue NAME [durable] [exclusive] [auto-delete] [passive] [ARG=VALUE]
//	delete NAME [if-unused] [if-empty]
//	purge NAME
//	bind SOURCE NAME [KEY] [to=exchange] [ARG=VALUE]
//	unbind SOURCE NAME [KEY] [to=exchange] [ARG=VALUE]
//	publish QUEUE BODY... [persistent] [expiration=MS] [priority=N]
//	publish x=EXCHANGE [key=KEY] BODY... [cc=KEY] [h:NAME=VALUE]
//	consume QUEUE TAG [prefetch=N] [noack] [exclusive] [priority=N] [shared=N] [room=N] [x-ARG=VALUE]
//	cancel TAG
//	room TAG N                          let the consumer's outlet take N more messages
//	prefetch TAG N
//	ack TAG BODY...  requeue TAG BODY...  reject TAG BODY... [requeue]
//	get QUEUE [noack]                   ack, requeue, reject with the tag "got"
//	peek QUEUE                          what is in it, whatever its state
//	move QUEUE to=QUEUE|x=EXCHANGE [key=KEY]|origin [match=TEXT] [limit=N] [preview]
//	advance DURATION                    move the clock
//	show QUEUE                          counts
//	consumers QUEUE                     its consumers
//	info QUEUE FIELD...                 type, arguments, stored, policy, operator-policy, effective
//	info-exchange NAME                  the policy in force
//	policy NAME PATTERN [to=KIND] [priority=N] KEY=VALUE...
//	operator-policy NAME PATTERN [to=KIND] [priority=N] KEY=VALUE...
//	limit NAME to=N                     of the virtual host; negative for none
//	limit-user USER NAME to=N
//	clear-policy NAME | clear-operator-policy NAME
//	queues | exchanges | bindings       what there is
//	attach ID [clean] [expiry=MS] [keepalive=MS] [will=KEY:BODY] [delay=MS] [retain] [persistent]
//	                                    make the session that of a client; its queues are "ID" and "ID-direct"
//	detach lost|left|stopped            end the client's connection, and the session with it
//	subscribe FILTER [grade=N] [shared=QUEUE] [x=EXCHANGE]
//	unsubscribe FILTER
//	hold TAG BODY...  release TAG BODY...
//	                                    note deliveries with the client; publish ... once=N likewise
//	retained PATTERN [x=EXCHANGE]       what publish ... retain left; feed PATTERN puts it into the client's queue
//	received  forget N                  what it published once
//	clients                             what there is of them
//	restart                             stop the broker and start it anew, with one session, main
//
// Values are integers where they look like it, true, false, else strings.
package coretest
