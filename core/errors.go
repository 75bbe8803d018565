package core

import "fmt"

// Kind says what went wrong in the broker's own terms. Each adapter has one
// table from Kind to what its wire calls it.
type Kind uint8

// The kinds of failure. The zero Kind means that nothing failed.
const (
	OK             Kind = iota
	NotFound            // An exchange, queue, virtual host or user that does not exist.
	AccessRefused       // A permission is missing, or the object is reserved.
	Locked              // An exclusive queue of another session.
	Mismatch            // A redeclaration that differs from what is there.
	Invalid             // An argument or property that cannot be honoured.
	InUse               // A conditional delete whose condition does not hold.
	Full                // A length limit refused the message.
	Limit               // A configured limit on connections, channels, queues is reached.
	NotAllowed          // The act is never allowed here (virtual host access, reused consumer tag).
	NotImplemented      // A feature that this kind of object does not have.
	Unavailable         // The broker cannot do this now: log poisoned, disk full, memory at its margin.
	Internal            // Our own fault.
	kindCount
)

var kindNames = [kindCount]string{
	"ok", "not found", "access refused", "locked", "mismatch", "invalid", "in use", "full",
	"limit reached", "not allowed", "not implemented", "unavailable", "internal",
}

// String names k for logs.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Kinds lists every kind but OK, for tests that hold an adapter's table against it.
func Kinds() []Kind {
	var ks []Kind
	for k := OK + 1; k < kindCount; k++ {
		ks = append(ks, k)
	}
	return ks
}

// Error is what core returns when a client, not the broker, is at fault.
//
// Why is a whole explanation in RabbitMQ's words, ready to be shown to the
// client: "no queue 'jobs' in vhost '/'".
type Error struct {
	Kind Kind
	Why  string
}

func (e *Error) Error() string { return e.Why }

// errorf makes an Error; its text is shown to clients.
func errorf(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Why: fmt.Sprintf(format, args...)}
}

// Errorf makes an Error of kind k, for adapters that refuse something
// themselves and want it to travel the same way.
func Errorf(k Kind, format string, args ...any) *Error { return errorf(k, format, args...) }
