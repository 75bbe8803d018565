package wire

import (
	"strconv"

	"github.com/go-stomp/stomp/v3/frame"
)

// MessageHead is what precedes the body of a MESSAGE.
type MessageHead struct {
	// Prefix is the command with the headers that are the subscription's, from
	// AppendPrefix.
	Prefix []byte
	// Destination is escaped.
	Destination []byte
	// ID is the message-id without its number, escaped.
	ID     []byte
	Number uint64
	Ack    bool // There is a header ack.

	Redelivered bool
	Form        []byte // Canonical.
	BodyLen     int
}

// AppendPrefix appends what all MESSAGE frames of a subscription begin with. A
// subscription without an id has none to show.
func AppendPrefix(dst []byte, subscription string, v Version) []byte {
	dst = append(dst, "MESSAGE\n"...)
	if subscription != "" {
		dst = append(AppendEscaped(append(dst, "subscription:"...), subscription, v), '\n')
	}
	return dst
}

// AppendMessageHead appends a MESSAGE up to where its body begins. The body and
// FrameEnd follow. It allocates nothing.
func AppendMessageHead(dst []byte, h *MessageHead, v Version) []byte {
	dst = append(append(append(dst, h.Prefix...), "destination:"...), h.Destination...)
	dst = append(append(dst, "\nmessage-id:"...), h.ID...)
	dst = strconv.AppendUint(dst, h.Number, 10)
	if h.Ack {
		dst = append(append(dst, "\nack:"...), h.ID...)
		dst = strconv.AppendUint(dst, h.Number, 10)
	}
	if h.Redelivered {
		dst = append(dst, "\nredelivered:true\n"...)
	} else {
		dst = append(dst, "\nredelivered:false\n"...)
	}
	dst = appendLines(dst, h.Form, v)
	dst = strconv.AppendUint(append(dst, "content-length:"...), uint64(h.BodyLen), 10)
	return append(dst, "\n\n"...)
}

// MessageHeadSize is no less than what AppendMessageHead appends, unless there
// is much to escape.
func MessageHeadSize(h *MessageHead) int {
	return len(h.Prefix) + len(h.Destination) + 2*(len(h.ID)+20) + len(h.Form) + messageFixed
}

const messageFixed = len("destination:\nmessage-id:\nack:\nredelivered:false\ncontent-length:\n\n") + 20 + len(FrameEnd)

// FrameEnd ends every frame we send. The line feed is no part of it: clients
// that read lines like it.
const FrameEnd = "\x00\n"

// AppendReceipt appends a RECEIPT for a receipt id as the client wrote it.
func AppendReceipt(dst, id []byte) []byte {
	dst = append(append(dst, "RECEIPT\nreceipt-id:"...), id...)
	return append(dst, "\n\n"+FrameEnd...)
}

// AppendFrame appends a frame that is not a hot one. Only CONNECTED is not
// escaped: its values must need none.
func AppendFrame(dst []byte, f *frame.Frame, v Version) []byte {
	if f.Command == frame.CONNECTED {
		v = V10
	}
	dst = append(append(dst, f.Command...), '\n')
	for i := range f.Header.Len() {
		name, value := f.Header.GetAt(i)
		dst = append(AppendEscaped(dst, name, v), ':')
		dst = append(AppendEscaped(dst, value, v), '\n')
	}
	dst = append(append(dst, '\n'), f.Body...)
	return append(dst, FrameEnd...)
}
