package hostile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"leveret/adapters/amqp/wire"
)

// ioTimeout bounds every single read and write of a client that expects an
// answer.
const ioTimeout = 20 * time.Second

// client is one raw connection. Its methods return errors and never fail a
// test: an attacker has to expect to be thrown out.
type client struct {
	nc  *net.TCPConn
	buf []byte
	n   int // Bytes of buf already taken.
}

// dialOptions are what a socket can be told before it connects.
type dialOptions struct {
	receiveBuffer int // Bytes the kernel may hold for a client that does not read; 0 for its default.
}

// dial connects and sends nothing.
func dial(addr string, o dialOptions) (*client, error) {
	d := net.Dialer{Timeout: ioTimeout}
	if o.receiveBuffer > 0 {
		d.Control = func(_, _ string, c syscall.RawConn) error {
			var err error
			if e := c.Control(func(fd uintptr) {
				err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, o.receiveBuffer)
			}); e != nil {
				return e
			}
			return err
		}
	}
	nc, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &client{nc: nc.(*net.TCPConn)}, nil
}

// capabilities are what a modern client says it understands.
var capabilities = wire.Table{{Name: "capabilities", Value: wire.Table{
	{Name: "consumer_cancel_notify", Value: true},
	{Name: "connection.blocked", Value: true},
	{Name: "authentication_failure_close", Value: true},
}}}

// loginOptions are what differs between clients; the zero value is guest
// with everything the broker offers.
type loginOptions struct {
	heartbeat  uint16 // Seconds; 0 for none.
	frameMax   uint32 // 0 for 131072.
	properties wire.Table
}

// login goes through the handshake and opens channel 1.
func (c *client) login(o loginOptions) error {
	if o.frameMax == 0 {
		o.frameMax = 131072
	}
	if o.properties == nil {
		o.properties = capabilities
	}
	if err := c.write([]byte(wire.ProtocolHeader)); err != nil {
		return err
	}
	if _, err := await[*wire.ConnectionStart](c, 0); err != nil {
		return err
	}
	err := c.methods(0, &wire.ConnectionStartOk{Mechanism: "PLAIN", Response: []byte("\x00guest\x00guest"), Locale: "en_US", ClientProperties: o.properties})
	if err != nil {
		return err
	}
	if _, err := await[*wire.ConnectionTune](c, 0); err != nil {
		return err
	}
	b := appendMethods(nil, 0, &wire.ConnectionTuneOk{ChannelMax: 2047, FrameMax: o.frameMax, Heartbeat: o.heartbeat}, &wire.ConnectionOpen{VirtualHost: "/"})
	if err := c.write(appendMethods(b, 1, &wire.ChannelOpen{})); err != nil {
		return err
	}
	if _, err := await[*wire.ConnectionOpenOk](c, 0); err != nil {
		return err
	}
	_, err = await[*wire.ChannelOpenOk](c, 1)
	return err
}

// open is a client that has logged in and has channel 1.
func open(addr string, d dialOptions, l loginOptions) (*client, error) {
	c, err := dial(addr, d)
	if err != nil {
		return nil, err
	}
	if err := c.login(l); err != nil {
		c.nc.Close()
		return nil, fmt.Errorf("log in: %w", err)
	}
	return c, nil
}

func (c *client) write(b []byte) error {
	c.nc.SetWriteDeadline(time.Now().Add(ioTimeout))
	_, err := c.nc.Write(b)
	return err
}

func (c *client) methods(channel uint16, ms ...wire.Method) error {
	return c.write(appendMethods(nil, channel, ms...))
}

// flood writes b again and again, without reading, until ctx ends. It returns
// how many bytes the broker took, and nil if that was all that stopped it.
func (c *client) flood(ctx context.Context, b []byte) (sent int64, err error) {
	defer context.AfterFunc(ctx, func() { c.nc.SetWriteDeadline(time.Unix(1, 0)) })()
	c.nc.SetWriteDeadline(time.Time{})
	for ctx.Err() == nil {
		n, err := c.nc.Write(b)
		sent += int64(n)
		if err != nil && ctx.Err() == nil {
			return sent, err
		}
	}
	return sent, nil
}

// discard reads and forgets until ctx ends or the broker closes the connection.
func (c *client) discard(ctx context.Context) (received int64, err error) {
	defer context.AfterFunc(ctx, func() { c.nc.SetReadDeadline(time.Unix(1, 0)) })()
	c.nc.SetReadDeadline(time.Time{})
	received, err = io.Copy(io.Discard, struct{ io.Reader }{c.nc})
	if ctx.Err() != nil {
		err = nil
	}
	return received, err
}

// frame returns the next frame but for heartbeats. It is good until the next call.
func (c *client) frame() (wire.Frame, error) {
	for {
		f, n, err := wire.ParseFrame(c.buf[c.n:], 1<<20)
		if err != nil {
			return f, err
		}
		if n > 0 {
			c.n += n
			if f.Type == wire.FrameHeartbeat {
				continue
			}
			return f, nil
		}
		rest := copy(c.buf, c.buf[c.n:])
		c.buf, c.n = c.buf[:rest], 0
		if cap(c.buf)-rest < 4<<10 {
			c.buf = append(make([]byte, 0, 2*cap(c.buf)+16<<10), c.buf...)
		}
		m, err := c.nc.Read(c.buf[rest:cap(c.buf)])
		if err != nil {
			return f, err
		}
		c.buf = c.buf[:rest+m]
	}
}

// method reads until a method frame comes; content is passed over.
func (c *client) method() (channel uint16, m wire.Method, err error) {
	for {
		f, err := c.frame()
		if err != nil {
			return 0, nil, err
		}
		if f.Type == wire.FrameMethod {
			m, err := wire.DecodeMethod(f.Payload)
			return f.Channel, m, err
		}
	}
}

// await reads until a method of type M comes on a channel. A close meanwhile is
// an error that quotes it.
func await[M wire.Method](c *client, channel uint16) (M, error) {
	c.nc.SetReadDeadline(time.Now().Add(ioTimeout))
	defer c.nc.SetReadDeadline(time.Time{})
	var none M
	for {
		got, m, err := c.method()
		if err != nil {
			return none, fmt.Errorf("waiting for %T: %w", none, err)
		}
		if m, ok := m.(M); ok && got == channel {
			return m, nil
		}
		switch m := m.(type) {
		case *wire.ConnectionClose:
			return none, fmt.Errorf("waiting for %T: connection.close %d %s", none, m.Code, m.Text)
		case *wire.ChannelClose:
			return none, fmt.Errorf("waiting for %T: channel.close %d %s", none, m.Code, m.Text)
		}
	}
}

// closedWith reads until the broker closes the connection and returns the
// reply code, 0 if the socket was closed without one.
func (c *client) closedWith() (uint16, error) {
	m, err := await[*wire.ConnectionClose](c, 0)
	switch {
	case err == nil:
		c.methods(0, &wire.ConnectionCloseOk{})
		return m.Code, nil
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return 0, nil
	}
	return 0, err
}

// crash ends the connection as the kernel does for a process that was killed
// with bytes unread: with a reset.
func (c *client) crash() {
	c.nc.SetLinger(0)
	c.nc.Close()
}

func appendMethods(b []byte, channel uint16, ms ...wire.Method) []byte {
	for _, m := range ms {
		b = wire.AppendMethod(b, channel, m)
	}
	return b
}

func rawFrame(frameType byte, channel uint16, payload []byte) []byte {
	b := wire.AppendFrameHeader(nil, frameType, channel, uint32(len(payload)))
	return append(append(b, payload...), wire.FrameEnd)
}

// noProperties are the properties of a message that has none.
var noProperties = wire.AppendProperties(nil, &wire.Properties{})

// message is the frames of a publish.
func message(channel uint16, exchange, key string, mandatory bool, body []byte) []byte {
	return wire.AppendPublish(nil, channel, exchange, key, mandatory, noProperties, body, 131072)
}

// repeat is b as often as fits into about size bytes, at least once.
func repeat(b []byte, size int) []byte {
	var out []byte
	for len(out) == 0 || len(out)+len(b) <= size {
		out = append(out, b...)
	}
	return out
}
