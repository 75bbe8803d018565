package websocket

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/gorilla/websocket"
)

// Opcodes and bits of a frame's header, RFC 6455 section 5.2.
const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10

	finalBit    = 0x80
	reserved    = 0x70
	opcodeBits  = 0x0f
	maskBit     = 0x80
	controlBit  = 0x08
	controlMax  = 125
	headerMax   = 2 + 8 + 4
	headerShort = 2
)

// Error is what a client did against RFC 6455. The close frame with its code is
// on its way when it is returned.
type Error struct {
	Code int // Of the close frame.
	Why  string
}

func (e *Error) Error() string { return fmt.Sprintf("websocket: %s (%d)", e.Why, e.Code) }

// decoder takes the frames of a client apart. It keeps what a read ended in the
// middle of: the header, or how much of a payload is missing.
//
//	 0               1               2               4               10
//	+-+---+-------+-+-------------+---------------+---------------+-----------+
//	|F|RSV|opcode |M| length      | 126: 16 bits, 127: 64 bits    | mask, 4   |
//	+-+---+-------+-+-------------+---------------+---------------+-----------+
type decoder struct {
	err error // Said once, repeated for ever.

	head    [headerMax]byte
	headLen uint8 // Bytes of head that are there.

	opcode   byte
	final    bool
	inside   bool   // A message has begun and not ended.
	maskAt   uint8  // Of the next byte of payload.
	mask     uint32 // As in memory, so that it fits wherever it is applied.
	left     int64  // Payload of the frame still to come.
	message  int64  // Payload of the message so far, the frame's included.
	payload  bool   // The header is complete.
	controls []byte // Payload of a control frame.
}

// Decode takes p, the next bytes from the socket, and leaves in its beginning
// what the client's messages carry, n bytes of it: none if p held headers and
// control frames only. The error io.EOF says that the client has closed,
// *Error that it broke the protocol. Both come again.
func (c *Conn) Decode(p []byte) (n int, err error) {
	d := &c.in
	if d.err != nil {
		return 0, d.err
	}
	for at := 0; at < len(p) && d.err == nil; {
		if !d.payload {
			if at += d.header(p[at:]); !d.payload {
				break
			}
			d.err = c.checkHeader()
		} else {
			part := p[at:]
			part = part[:min(d.left, int64(len(part)))]
			at += len(part)
			d.left -= int64(len(part))
			d.unmask(part)
			if d.opcode&controlBit != 0 {
				d.controls = append(d.controls, part...)
			} else {
				n += copy(p[n:], part)
			}
		}
		if d.err == nil && d.left == 0 {
			d.err = c.endFrame()
		}
	}
	return n, d.err
}

// header gathers the header from p and reports how much it took.
func (d *decoder) header(p []byte) (used int) {
	for used < len(p) {
		want := d.headerLen()
		n := copy(d.head[d.headLen:want], p[used:])
		d.headLen += uint8(n)
		used += n
		if d.headLen >= headerShort && int(d.headLen) == d.headerLen() {
			d.parse()
			break
		}
	}
	return used
}

// headerLen is how long the header is, as far as can be told.
func (d *decoder) headerLen() int {
	if d.headLen < headerShort {
		return headerShort
	}
	n := headerShort
	switch d.head[1] &^ maskBit {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if d.head[1]&maskBit != 0 {
		n += 4
	}
	return n
}

// parse reads the header, which is complete.
func (d *decoder) parse() {
	at := headerShort
	switch l := d.head[1] &^ maskBit; l {
	case 126:
		d.left = int64(binary.BigEndian.Uint16(d.head[at:]))
		at += 2
	case 127:
		d.left = int64(binary.BigEndian.Uint64(d.head[at:]))
		at += 8
	default:
		d.left = int64(l)
	}
	d.mask = binary.NativeEndian.Uint32(d.head[at:])
	d.opcode, d.final = d.head[0]&opcodeBits, d.head[0]&finalBit != 0
	d.payload, d.maskAt, d.headLen = true, 0, 0
}

// checkHeader refuses what may not be sent to us.
func (c *Conn) checkHeader() error {
	d := &c.in
	switch {
	case d.head[0]&reserved != 0:
		return c.fail(websocket.CloseProtocolError, "reserved bits are set")
	case d.head[1]&maskBit == 0:
		return c.fail(websocket.CloseProtocolError, "a frame is not masked")
	case d.left < 0:
		return c.fail(websocket.CloseProtocolError, "a length has its highest bit set")
	}
	switch d.opcode {
	case opClose, opPing, opPong:
		if !d.final || d.left > controlMax {
			return c.fail(websocket.CloseProtocolError, "a control frame is fragmented or longer than 125 bytes")
		}
		return nil
	case opContinuation:
		if !d.inside {
			return c.fail(websocket.CloseProtocolError, "a continuation without a beginning")
		}
	case opText, opBinary:
		if d.inside {
			return c.fail(websocket.CloseProtocolError, "a message begins inside another")
		}
		if d.opcode == opText && c.binaryOnly {
			return c.fail(websocket.CloseUnsupportedData, "text messages are not spoken here")
		}
		d.message = 0
	default:
		return c.fail(websocket.CloseProtocolError, "unknown opcode")
	}
	d.inside = !d.final
	if c.messageMax > 0 && d.left > c.messageMax-d.message {
		return c.fail(websocket.CloseMessageTooBig, fmt.Sprintf("a message is longer than %d bytes", c.messageMax))
	}
	d.message += d.left
	return nil
}

// endFrame acts on a frame that has been received whole.
func (c *Conn) endFrame() error {
	d := &c.in
	d.payload = false
	if d.opcode&controlBit == 0 {
		return nil
	}
	b := d.controls
	d.controls = nil
	switch d.opcode {
	case opPing:
		c.control.Lock()
		c.control.pong, c.control.wantPong = b, true
		c.control.Unlock()
		c.answer()
	case opClose:
		code := websocket.CloseNormalClosure
		if len(b) >= 2 {
			code = int(binary.BigEndian.Uint16(b))
		}
		c.sendClose(code, "")
		return io.EOF
	}
	return nil
}

// fail begins to close because of a breach of the protocol.
func (c *Conn) fail(code int, why string) error {
	c.sendClose(code, why)
	return &Error{Code: code, Why: why}
}

// sendClose notes that a close frame is to be sent, unless one was. Whoever
// writes sends it, Close at the latest.
func (c *Conn) sendClose(code int, reason string) {
	c.control.Lock()
	if !c.control.closing {
		c.control.closing, c.control.sendClose = true, true
		if !sendable(code) {
			code = websocket.CloseProtocolError
		}
		c.control.code, c.control.reason = code, reason
	}
	c.control.Unlock()
}

// sendable reports whether a close frame may carry code, RFC 6455 section 7.4.
func sendable(code int) bool {
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1011, code >= 3000 && code <= 4999:
		return true
	}
	return false
}

// unmask undoes the client's masking of the next bytes of its payload.
func (d *decoder) unmask(p []byte) {
	var key [4]byte
	binary.NativeEndian.PutUint32(key[:], d.mask)
	for len(p) > 0 && d.maskAt != 0 {
		p[0] ^= key[d.maskAt]
		d.maskAt = (d.maskAt + 1) & 3
		p = p[1:]
	}
	if len(p) >= 8 {
		wide := uint64(d.mask)<<32 | uint64(d.mask)
		for len(p) >= 8 {
			binary.NativeEndian.PutUint64(p, binary.NativeEndian.Uint64(p)^wide)
			p = p[8:]
		}
	}
	for i := range p {
		p[i] ^= key[d.maskAt]
		d.maskAt = (d.maskAt + 1) & 3
	}
}
