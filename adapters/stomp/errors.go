package stomp

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/go-stomp/stomp/v3/frame"

	"leveret/adapters/stomp/wire"
	"leveret/core"
)

// reply is how a core.Kind is said in STOMP.
type reply struct {
	message string // The header message.
	name    string // The body begins with it.
}

// replies is the whole translation of core's failures into STOMP, with the
// words RabbitMQ borrows from AMQP. All of them close the connection.
// TestEveryKindHasReply fails when core gains a Kind that is missing here.
var replies = map[core.Kind]reply{
	core.NotFound:       {"not_found", "NOT_FOUND"},
	core.AccessRefused:  {"access_refused", "ACCESS_REFUSED"},
	core.Locked:         {"resource_locked", "RESOURCE_LOCKED"},
	core.Mismatch:       {"precondition_failed", "PRECONDITION_FAILED"},
	core.Invalid:        {"precondition_failed", "PRECONDITION_FAILED"},
	core.InUse:          {"precondition_failed", "PRECONDITION_FAILED"},
	core.Full:           {"precondition_failed", "PRECONDITION_FAILED"},
	core.Limit:          {"precondition_failed", "PRECONDITION_FAILED"},
	core.NotAllowed:     {"not_allowed", "NOT_ALLOWED"},
	core.NotImplemented: {"not_implemented", "NOT_IMPLEMENTED"},
	core.Unavailable:    {"precondition_failed", "PRECONDITION_FAILED"},
	core.Internal:       {"internal_error", "INTERNAL_ERROR"},
}

// fault is what an ERROR frame says. It is an error so that it travels like
// one.
type fault struct {
	message string
	body    string
	close   bool   // The connection ends with it.
	drop    bool   // What follows in the stream cannot be understood, or need not be.
	sub     string // The subscription that it is about, or "".
}

func (e *fault) Error() string { return e.message + ": " + e.body }

// open makes a fault after which the session goes on.
func open(message, format string, args ...any) *fault {
	return &fault{message: message, body: fmt.Sprintf(format, args...)}
}

// closing makes one that ends the connection.
func closing(message, format string, args ...any) *fault {
	return &fault{message: message, body: fmt.Sprintf(format, args...), close: true}
}

// framing is the fault for what the scanner refuses.
func framing(err error) *fault {
	f := closing("Framing error", "%v", err)
	if errors.Is(err, wire.ErrBodyTooLong) || errors.Is(err, wire.ErrHeadersTooLong) || errors.Is(err, wire.ErrTooManyHeaders) || errors.Is(err, wire.ErrCommandTooLong) {
		f.message = "Frame too large"
	}
	f.drop = true
	return f
}

// faultOf translates an error of core.
func faultOf(err error) *fault {
	var f *fault
	if errors.As(err, &f) {
		return f
	}
	if errors.Is(err, wire.ErrEscape) {
		return framing(err)
	}
	var ce *core.Error
	if errors.As(err, &ce) {
		r, ok := replies[ce.Kind]
		if !ok {
			r = replies[core.Internal]
		}
		return closing(r.message, "%s - %s", r.name, ce.Why)
	}
	return closing(replies[core.Internal].message, "%v", err)
}

// supported are the versions, as ERROR and version negotiation name them.
const supported = "1.0,1.1,1.2"

// frame is the ERROR frame of e. receipt is the id of the receipt that the
// frame at fault asked for, as the client wrote it.
func (e *fault) frame(receipt string) *frame.Frame {
	f := frame.New(frame.ERROR, frame.Message, e.message, frame.ContentType, "text/plain", frame.Version, supported)
	if e.sub != "" {
		f.Header.Add(frame.Subscription, e.sub)
	}
	if receipt != "" {
		f.Header.Add(frame.ReceiptId, receipt)
	}
	f.Header.Add(frame.ContentLength, strconv.Itoa(len(e.body)))
	f.Body = []byte(e.body)
	return f
}
