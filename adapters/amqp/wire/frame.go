package wire

import (
	"encoding/binary"
	"fmt"
	"strconv"
)

// Frame types.
const (
	FrameMethod    byte = 1
	FrameHeader    byte = 2
	FrameBody      byte = 3
	FrameHeartbeat byte = 8
)

// Sizes of a frame, in bytes.
//
//	0      1         3                 7             7+size
//	+------+---------+-----------------+--- ... ---+------+
//	| type | channel | size of payload |  payload  | 0xCE |
//	+------+---------+-----------------+--- ... ---+------+
const (
	FrameHeaderSize = 7 // What lies before the payload.
	FrameOverhead   = 8 // What a frame is longer than its payload; frame_max counts it.
	FrameMinSize    = 4096

	FrameEnd byte = 0xCE
)

// frameTypes has a bit set for each known frame type.
const frameTypes uint64 = 1<<FrameMethod | 1<<FrameHeader | 1<<FrameBody | 1<<FrameHeartbeat

// Frame is one frame as it lies in a read buffer.
type Frame struct {
	Type    byte
	Channel uint16
	Payload []byte // Aliases the buffer that was parsed; capped, so that appending to it copies.
}

// FrameErrorKind says what is wrong with a frame.
type FrameErrorKind uint8

// The ways in which a frame can be wrong. After any of them the place where
// the next frame begins is unknown or not to be trusted.
const (
	FrameTooLarge FrameErrorKind = iota + 1
	FrameBadEnd
	FrameUnknownType
)

// FrameError is the error of ParseFrame. Its text is the explanation that
// RabbitMQ gives in the 501 it closes the connection with.
type FrameError struct {
	Kind    FrameErrorKind
	Type    byte
	Channel uint16
	Size    uint32 // Of the payload, as the frame claims.
	Max     uint32 // The maxPayload that ParseFrame was called with.
	End     byte   // What stood where FrameEnd should.
	Payload []byte // A copy of at most the first 17 bytes; nil if FrameTooLarge.
}

// Error returns, for instance, "type 3, all octets = <<>>: {frame_too_large,140000,131064}".
func (e *FrameError) Error() string {
	why := "unknown_frame"
	switch e.Kind {
	case FrameTooLarge:
		// The limit printed is the one a client can keep: frame_max less the overhead.
		why = fmt.Sprintf("{frame_too_large,%d,%d}", e.Size, max(e.Max, FrameOverhead)-FrameOverhead)
	case FrameBadEnd:
		why = fmt.Sprintf("{invalid_frame_end_marker,%d}", e.End)
	}
	return fmt.Sprintf("type %d, %s: %s", e.Type, Octets(e.Payload), why)
}

// ParseFrame takes one frame from the beginning of b and returns it with the
// number of bytes it takes up. If b does not hold a whole frame yet, n is 0
// and err nil: FrameSize then tells how much is needed. An error is always
// a *FrameError, and a frame that is too large is one as soon as its first 7
// bytes are there, so that no reader waits for, or makes room for, the rest.
//
// maxPayload is the longest payload accepted. RabbitMQ passes the negotiated
// frame_max, which forgives peers that forget to count the 8 bytes of
// overhead; so should a broker, since FrameError prints maxPayload less 8.
//
// Cost: a few ns, no allocation unless there is an error.
func ParseFrame(b []byte, maxPayload uint32) (f Frame, n int, err error) {
	if len(b) >= FrameOverhead {
		// One load for type, channel, size and the first byte of what follows.
		h := binary.BigEndian.Uint64(b)
		size := uint32(h >> 8)
		end := FrameHeaderSize + uint64(size)
		if size <= maxPayload && end < uint64(len(b)) && b[end] == FrameEnd && frameTypes>>(h>>56)&1 != 0 {
			return Frame{Type: byte(h >> 56), Channel: uint16(h >> 40), Payload: b[FrameHeaderSize:end:end]}, int(end) + 1, nil
		}
	}
	return Frame{}, 0, frameError(b, maxPayload)
}

// FrameSize returns how many bytes the frame at the beginning of b takes up,
// of which b may hold only some, or 0 if not even its 7 byte header is there.
// ParseFrame checks the size against a limit; FrameSize does not, so ask it
// only after ParseFrame has returned no error.
func FrameSize(b []byte) int {
	if len(b) < FrameHeaderSize {
		return 0
	}
	return int(binary.BigEndian.Uint32(b[3:7])) + FrameOverhead
}

// frameError says why there is no frame at the beginning of b: nil if it is
// only not there as a whole, which happens at the end of nearly every read.
func frameError(b []byte, maxPayload uint32) error {
	if len(b) < FrameHeaderSize {
		return nil
	}
	size, rest := binary.BigEndian.Uint32(b[3:7]), b[FrameHeaderSize:]
	if size <= maxPayload && uint64(len(rest)) <= uint64(size) {
		return nil
	}
	e := &FrameError{Kind: FrameTooLarge, Type: b[0], Channel: binary.BigEndian.Uint16(b[1:3]), Size: size, Max: maxPayload}
	if size > maxPayload {
		return e
	}
	e.Kind = FrameUnknownType
	e.End = rest[size]
	if e.End != FrameEnd {
		e.Kind = FrameBadEnd
	}
	e.Payload = append(e.Payload, rest[:min(size, octetsShown+1)]...)
	return e
}

// octetsShown is how much of a payload RabbitMQ quotes in an error text.
const octetsShown = 16

// Octets quotes the beginning of a payload as RabbitMQ's error texts do:
// "all octets = <<1,2>>" or "first 16 octets = <<...>>".
func Octets(payload []byte) string {
	if len(payload) <= octetsShown {
		return "all octets = " + ErlangBinary(payload)
	}
	return "first 16 octets = " + ErlangBinary(payload[:octetsShown])
}

// ErlangBinary prints b as Erlang does: <<"text">> if all of it is printable
// ASCII, else the bytes as decimal numbers, <<0,17,255>>.
func ErlangBinary(b []byte) string {
	if len(b) == 0 {
		return "<<>>"
	}
	out := make([]byte, 0, 4+4*len(b))
	out = append(out, "<<"...)
	if isPrintable(b) {
		out = append(out, '"')
		for _, c := range b {
			if c == '"' || c == '\\' {
				out = append(out, '\\')
			}
			out = append(out, c)
		}
		out = append(out, '"')
	} else {
		for i, c := range b {
			if i > 0 {
				out = append(out, ',')
			}
			out = strconv.AppendUint(out, uint64(c), 10)
		}
	}
	return string(append(out, ">>"...))
}

func isPrintable(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}
