package wire

import (
	"strconv"

	"github.com/go-stomp/stomp/v3/frame"
)

// MessageHead is what precedes the body of a MESSAGE.
type MessageHead struct {
	// Lead is what messages of one subscription and destination have in common,
	// from AppendLead.
	Lead []byte
	// ID is the message-id without its number, escaped, for the header ack; nil
	// for none.
	ID     []byte
	Number uint64

	Redelivered bool
	Form        []byte // Canonical.
	BodyLen     int
}

// AppendLead appends the beginning of a MESSAGE, up to the number in its
// message-id. A subscription without an id has none to show. destination and
// id are escaped.
func AppendLead(dst []byte, subscription string, destination, id []byte, v Version) []byte {
	dst = append(dst, "MESSAGE\n"...)
	if subscription != "" {
		dst = append(AppendEscaped(append(dst, "subscription:"...), subscription, v), '\n')
	}
	dst = append(append(dst, "destination:"...), destination...)
	return append(append(dst, "\nmessage-id:"...), id...)
}

// AppendMessageHead appends a MESSAGE up to where its body begins. The body and
// FrameEnd follow. It allocates nothing.
func AppendMessageHead(dst []byte, h *MessageHead, v Version) []byte {
	dst = append(dst, h.Lead...)
	digits := len(dst)
	dst = strconv.AppendUint(dst, h.Number, 10)
	if h.ID != nil {
		end := len(dst)
		dst = append(append(dst, "\nack:"...), h.ID...)
		dst = append(dst, dst[digits:end]...)
	}
	if h.Redelivered {
		dst = append(dst, "\nredelivered:true\n"...)
	} else {
		dst = append(dst, "\nredelivered:false\n"...)
	}
	if len(h.Form) > 0 {
		dst = appendLines(dst, h.Form, v)
	}
	dst = strconv.AppendUint(append(dst, "content-length:"...), uint64(h.BodyLen), 10)
	return append(dst, "\n\n"...)
}

// MessageHeadSize is no less than what AppendMessageHead appends, unless there
// is much to escape, and FrameEnd.
func MessageHeadSize(h *MessageHead) int {
	return len(h.Lead) + len(h.ID) + 2*20 + len(h.Form) + messageFixed
}

const messageFixed = len("\nack:\nredelivered:false\ncontent-length:\n\n") + 20 + len(FrameEnd)

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
