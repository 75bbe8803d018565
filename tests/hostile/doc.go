// Package hostile holds no code but tests: clients that break the protocol,
// flood, stall, or never read, against a real leveret process each. A test says
// what one kind of attacker does; the arena around it says what must hold:
//
//		            ┌─ attackers (raw sockets, frames by adapters/amqp/wire)
//		leveret ◀───┼─ well-behaved clients, 100 messages a second with confirm, declares
//		            └─ /proc/PID/status, heap after garbage collection
//		leveret ◀───── more of them, on a broker that nobody attacks
//
//	  - the well-behaved clients get every message and every confirm, within 100 ms;
//	  - the process stays below a stated growth of its resident memory;
//	  - when the attackers have gone, their connections and their memory have too;
//	  - the broker still takes new clients, ends with 0 when asked, and has logged
//	    no panic and no race.
//
// The attackers run in this process and share its processors with the brokers,
// and in "make test" with other packages' tests, the race detector in them, on
// machines that may be throttled: there only a client that is as good as
// forgotten fails a test. "make hostile" judges strictly, beside what the
// clients of the quiet broker measured in the same moment, with ten times the
// patience while others use the machine too, and fails a test only when it is
// too long three times in a row.
//
// Each attack lasts half a second. LEVERET_HOSTILE gives it another duration
// ("make hostile" has 10s); LEVERET_HOSTILE_RACE builds the brokers with the race
// detector and judges neither time nor memory.
//
// Reading order: arena_test.go (what must hold), bystander_test.go (the
// well-behaved clients), client_test.go (raw sockets), then the attacks, a file
// for each kind.
package hostile
