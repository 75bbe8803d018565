package websocket

import (
	"crypto/tls"
	"encoding/binary"
	"net"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// Conn is a byte stream over WebSocket. It is a net.Conn for netx.In, which
// reads the socket itself and has Decode take the frames off, and netx.Out.
//
// One goroutine reads; any may write.
type Conn struct {
	net.Conn // The socket, or TLS over it.

	// Fixed by handshake.
	subprotocol    string
	user, password string
	authorized     bool
	text           bool
	binaryOnly     bool
	messageMax     int64

	in decoder

	// writing is held by whoever writes a frame. The fields behind it are its.
	writing sync.Mutex
	head    [2 + 8]byte
	tail    [utf8.UTFMax]byte // The beginning of a character that the last text ended in.
	tailLen int
	vec     [3][]byte
	bufs    net.Buffers

	control struct {
		sync.Mutex
		pong      []byte // To be sent; the last ping's payload.
		wantPong  bool
		closing   bool // A close frame was sent, or will be before anything else.
		sendClose bool
		code      int
		reason    string
		answering bool // A goroutine is at it.
	}
}

func newConn(nc net.Conn, o *Options) *Conn {
	c := &Conn{Conn: nc, text: o.Text, binaryOnly: o.BinaryOnly, messageMax: o.MessageMax}
	c.control.code = websocket.CloseNormalClosure
	return c
}

// Subprotocol is the one agreed upon, or "".
func (c *Conn) Subprotocol() string { return c.subprotocol }

// BasicAuth returns what the request's Authorization header says.
func (c *Conn) BasicAuth() (user, password string, ok bool) {
	return c.user, c.password, c.authorized
}

// NetConn is the connection below.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// Read reads what the client's messages carry. netx.In does without it where
// it can.
func (c *Conn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		m, decodeErr := c.Decode(p[:n])
		if m > 0 {
			return m, nil // An error will come again.
		}
		if decodeErr != nil {
			return 0, decodeErr
		}
		if err != nil {
			return 0, err
		}
	}
}

// Write sends p as one message. With Options.Text a character that p ends in
// the middle of is kept for the next one: p is a piece of a stream.
func (c *Conn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.endWriting()
	if c.closing() {
		return 0, net.ErrClosed
	}
	opcode := byte(opBinary)
	body, cut := p, 0
	head := c.tail[:c.tailLen]
	if c.text {
		if cut = incomplete(p); c.validText(p[:len(p)-cut]) {
			opcode = opText
		} else {
			cut = 0
		}
		body = p[:len(p)-cut]
	}
	if len(head)+len(body) > 0 {
		if err := c.writeFrame(opcode, head, body); err != nil {
			return 0, err
		}
	}
	c.tailLen = copy(c.tail[:], p[len(p)-cut:])
	return len(p), nil
}

// validText reports whether what was kept and p are text together.
func (c *Conn) validText(p []byte) bool {
	if c.tailLen == 0 {
		return utf8.Valid(p)
	}
	var first [utf8.UTFMax]byte
	n := copy(first[:], c.tail[:c.tailLen])
	n += copy(first[n:], p)
	_, size := utf8.DecodeRune(first[:n])
	if size <= c.tailLen {
		return false
	}
	return utf8.Valid(p[size-c.tailLen:])
}

// incomplete is how many bytes at the end of p begin a character that does not
// end in p.
func incomplete(p []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		if b := p[len(p)-n]; utf8.RuneStart(b) {
			if b >= utf8.RuneSelf && !utf8.FullRune(p[len(p)-n:]) {
				return n
			}
			return 0
		}
	}
	return 0
}

// writeFrame sends a final frame whose payload is a and b. c.writing is held.
func (c *Conn) writeFrame(opcode byte, a, b []byte) error {
	c.head[0] = finalBit | opcode
	header := c.head[:2]
	switch n := len(a) + len(b); {
	case n < 126:
		c.head[1] = byte(n)
	case n < 1<<16:
		c.head[1] = 126
		header = binary.BigEndian.AppendUint16(header, uint16(n))
	default:
		c.head[1] = 127
		header = binary.BigEndian.AppendUint64(header, uint64(n))
	}
	c.vec = [...][]byte{header, a, b}
	c.bufs = c.vec[:]
	_, err := c.bufs.WriteTo(c.Conn)
	c.vec = [...][]byte{nil, nil, nil}
	return err
}

func (c *Conn) closing() bool {
	c.control.Lock()
	defer c.control.Unlock()
	return c.control.closing
}

// endWriting lets others write, after what is to be answered.
func (c *Conn) endWriting() {
	c.writeControl()
	c.writing.Unlock()
	c.answer() // What came in between.
}

// writeControl sends what is to be answered. c.writing is held.
func (c *Conn) writeControl() {
	c.control.Lock()
	pong, wantPong := c.control.pong, c.control.wantPong && !c.control.closing
	sendClose := c.control.sendClose
	code, reason := c.control.code, c.control.reason
	c.control.wantPong, c.control.sendClose, c.control.pong = false, false, nil
	c.control.Unlock()
	if wantPong {
		c.writeFrame(opPong, pong, nil)
	}
	if sendClose {
		c.writeFrame(opClose, websocket.FormatCloseMessage(code, reason), nil)
	}
}

// answer has a goroutine send what is to be answered, if nobody is writing who
// will do it. It ends when that is sent or the connection closed.
func (c *Conn) answer() {
	c.control.Lock()
	defer c.control.Unlock()
	if !c.control.wantPong && !c.control.sendClose || c.control.answering {
		return
	}
	c.control.answering = true
	go func() {
		c.writing.Lock()
		c.control.Lock()
		c.control.answering = false
		c.control.Unlock()
		c.endWriting()
	}()
}

// SetCloseStatus chooses what CloseWrite tells the client, 1000 otherwise. Any
// goroutine may call it. reason is cut to what fits.
func (c *Conn) SetCloseStatus(code int, reason string) {
	const room = 123
	for len(reason) > room || !utf8.ValidString(reason) {
		reason = reason[:min(len(reason)-1, room)]
	}
	c.control.Lock()
	c.control.code, c.control.reason = code, reason
	c.control.Unlock()
}

// CloseWrite sends a close frame, if none was sent: nothing follows it. The
// client answers with its own, which ends Read. It may block as Write may.
func (c *Conn) CloseWrite() error {
	c.control.Lock()
	if !c.control.closing {
		c.control.closing, c.control.sendClose = true, true
	}
	c.control.Unlock()
	c.writing.Lock()
	c.endWriting()
	return nil
}

// lastWord is how long Close may wait for the socket to take a close frame.
const lastWord = 100 * time.Millisecond

// Close closes the connection below. Only a client that has sent its close
// frame, or is cut off for a breach of the protocol, gets one first.
func (c *Conn) Close() error {
	c.control.Lock()
	owed := c.control.sendClose
	c.control.Unlock()
	if owed && c.writing.TryLock() {
		c.Conn.SetWriteDeadline(time.Now().Add(lastWord))
		c.writeControl()
		c.writing.Unlock()
	}
	if t, ok := c.Conn.(*tls.Conn); ok {
		return t.NetConn().Close() // Its own Close may wait for seconds.
	}
	return c.Conn.Close()
}
