package amqp

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"leveret/adapters/amqp/wire"
	"leveret/core"
)

// reply is how a core.Kind is said in AMQP.
type reply struct {
	code  uint16
	fatal bool // Closes the connection, not just the channel.
}

// replies is the whole translation of core's failures into AMQP.
// TestEveryKindHasReply fails when core gains a Kind that is missing here.
var replies = map[core.Kind]reply{
	core.NotFound:       {wire.ReplyNotFound, false},
	core.AccessRefused:  {wire.ReplyAccessRefused, false},
	core.Locked:         {wire.ReplyResourceLocked, false},
	core.Mismatch:       {wire.ReplyPreconditionFailed, false},
	core.Invalid:        {wire.ReplyPreconditionFailed, false},
	core.InUse:          {wire.ReplyPreconditionFailed, false},
	core.Full:           {wire.ReplyPreconditionFailed, false},
	core.Limit:          {wire.ReplyPreconditionFailed, false},
	core.NotAllowed:     {wire.ReplyNotAllowed, true},
	core.NotImplemented: {wire.ReplyNotImplemented, true},
	core.Unavailable:    {wire.ReplyPreconditionFailed, false},
	core.Internal:       {wire.ReplyInternalError, true},
}

// exception ends a channel or a connection: AMQP's channel.close and
// connection.close. It is an error so that it travels like one.
type exception struct {
	code   uint16
	fatal  bool
	text   string // Without the code's name in front.
	method uint32 // The offending method, 0 for none.

	// drop ends the connection without waiting for the client's close-ok:
	// what follows in the stream cannot be understood.
	drop bool
}

func (e *exception) Error() string { return e.replyText() }

// replyText is "NOT_FOUND - no queue 'q' in vhost '/'". What is longer than the
// 255 bytes there are is cut as RabbitMQ cuts it, to 252 and three dots.
func (e *exception) replyText() string {
	text := wire.ReplyName(e.code)
	if e.text != "" {
		text += " - " + e.text
	}
	if len(text) > 255 {
		text = text[:252]
		for i := 0; i < utf8.UTFMax && !utf8.ValidString(text); i++ {
			text = text[:len(text)-1]
		}
		text += "..."
	}
	return text
}

// raise makes the exception of a code; the protocol says whether it ends the
// channel or the connection.
func raise(code uint16, method uint32, format string, args ...any) *exception {
	return &exception{code: code, fatal: wire.ReplyIsHard(code), text: fmt.Sprintf(format, args...), method: method}
}

// exceptionOf translates an error of core, or of decoding a method.
func exceptionOf(err error, method uint32) *exception {
	var e *exception
	if errors.As(err, &e) {
		if e.method == 0 {
			e.method = method
		}
		return e
	}
	var ce *core.Error
	if errors.As(err, &ce) {
		r, ok := replies[ce.Kind]
		if !ok {
			r = replies[core.Internal]
		}
		return &exception{code: r.code, fatal: r.fatal, text: ce.Why, method: method}
	}
	return raise(wire.ReplyInternalError, method, "%v", err)
}
