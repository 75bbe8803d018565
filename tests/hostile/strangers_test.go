package hostile

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"leveret/adapters/amqp/wire"
)

// strangerMax is what one client that has not logged in may cost.
const strangerMax = 64 * kib

// TestGarbage: what is not AMQP gets AMQP's header as an answer and is closed.
// Those that are kept waiting before they are closed may still be there at the
// end.
func TestGarbage(t *testing.T) {
	attack(t, rules{growth: 48 * mib, left: 32 * mib}, func(a *arena) {
		hello := &helloRecorder{}
		tls.Client(hello, &tls.Config{ServerName: "localhost"}).Handshake() // Fails, with its hello recorded.
		random := rand.NewChaCha8([32]byte{1})
		noise := make([]byte, 100_000)
		random.Read(noise)
		for _, first := range [][]byte{
			[]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
			hello.sent.Bytes(),
			[]byte("AMQP\x00\x01\x00\x00"), // AMQP 1.0
			[]byte("AMQP\x00\x00\x08\x00"), // AMQP 0-8
			[]byte("AMQQ"),
			{0},
			noise,
		} {
			c := a.dial()
			// The rest of what is long meets a closed socket.
			c.write(first)
			c.nc.SetReadDeadline(time.Now().Add(ioTimeout))
			answer := make([]byte, len(wire.ProtocolHeader))
			if _, err := io.ReadFull(c.nc, answer); err != nil || string(answer) != wire.ProtocolHeader {
				t.Errorf("%.20q is answered with %q, %v", first, answer, err)
			}
			c.nc.CloseWrite()
		}
		each(4, func(i int) {
			random := rand.New(rand.NewPCG(2, uint64(i)))
			noise := make([]byte, 4096)
			for a.ctx.Err() == nil {
				c, err := dial(a.addr, dialOptions{})
				if err != nil {
					t.Errorf("connect: %v", err)
					return
				}
				for j := range noise {
					noise[j] = byte(random.Uint32())
				}
				switch random.IntN(3) {
				case 0:
					c.write(noise)
				case 1: // After the header.
					c.write(append([]byte(wire.ProtocolHeader), noise...))
				default: // In a frame of its own where start-ok is due.
					c.write(append([]byte(wire.ProtocolHeader), rawFrame(wire.FrameMethod, 0, noise)...))
				}
				c.crash()
			}
		})
	})
}

// helloRecorder is a connection that nobody answers.
type helloRecorder struct {
	net.Conn
	sent bytes.Buffer
}

func (h *helloRecorder) Write(p []byte) (int, error)      { return h.sent.Write(p) }
func (h *helloRecorder) Read([]byte) (int, error)         { return 0, io.EOF }
func (h *helloRecorder) SetDeadline(time.Time) error      { return nil }
func (h *helloRecorder) SetWriteDeadline(time.Time) error { return nil }

// TestGarbageAfterLogin: clients that have logged in and then send noise get
// connection.close with a code, or are closed; frames with a few bits wrong too.
func TestGarbageAfterLogin(t *testing.T) {
	attack(t, rules{growth: 48 * mib}, func(a *arena) {
		good := bytes.Join([][]byte{
			appendMethods(nil, 1, &wire.QueueDeclare{Queue: "q", AutoDelete: true, Arguments: wire.Table{{Name: "x-expires", Value: int32(1000)}}},
				&wire.QueueBind{Queue: "q", Exchange: "amq.topic", RoutingKey: "a.#"}, &wire.BasicConsume{Queue: "q", NoAck: true}),
			message(1, "amq.topic", "a.b", true, make([]byte, 100)),
			appendMethods(nil, 1, &wire.BasicGet{Queue: "q"}, &wire.BasicAck{DeliveryTag: 1}, &wire.QueueDelete{Queue: "q"}),
		}, nil)
		each(4, func(i int) {
			random := rand.New(rand.NewPCG(3, uint64(i)))
			for a.ctx.Err() == nil {
				c, err := open(a.addr, dialOptions{}, loginOptions{})
				if err != nil {
					t.Errorf("log in: %v", err)
					return
				}
				bad := bytes.Repeat(good, 3)
				for range 1 + random.IntN(4) {
					bad[random.IntN(len(bad))] ^= byte(1 << random.IntN(8))
				}
				c.write(bad)
				c.crash()
			}
		})
	})
}

// TestSlowHandshakes: hundreds of clients that log in a byte at a time, or stop
// half-way, cost little each and are thrown out in time.
func TestSlowHandshakes(t *testing.T) {
	t.Parallel()
	const each = 200
	startOk := appendMethods(nil, 0, &wire.ConnectionStartOk{Mechanism: "PLAIN", Response: []byte("\x00guest\x00guest"), Locale: "en_US", ClientProperties: capabilities})
	attack(t, rules{growth: 3*each*strangerMax + 4*mib, flags: []string{"--handshake-timeout", "500ms"}}, func(a *arena) {
		began := time.Now()
		dribbling := make([]*client, each)
		for i := range each {
			a.dial() // Says nothing at all.
			half := a.dial()
			a.must(half.write(append([]byte(wire.ProtocolHeader), wire.AppendFrameHeader(nil, wire.FrameMethod, 0, 8000)...)))
			dribbling[i] = a.dial()
			a.must(dribbling[i].write([]byte(wire.ProtocolHeader)))
		}
		all := a.mu.clients
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for sent := 0; sent < len(startOk); sent++ {
			var failed int
			for _, c := range dribbling {
				if _, err := c.nc.Write(startOk[sent:][:1]); err != nil {
					failed++
				}
			}
			if failed == len(dribbling) {
				break
			}
			<-tick.C
		}
		for _, c := range all {
			c.nc.SetReadDeadline(time.Now().Add(ioTimeout))
			if _, err := io.Copy(io.Discard, c.nc); errors.Is(err, net.ErrClosed) || isTimeout(err) {
				t.Fatalf("still there %v after the attack began: %v", time.Since(began), err)
			}
		}
		if took := time.Since(began); took > within(5*time.Second) {
			t.Errorf("the last was thrown out after %v", took)
		}
	})
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// TestStrangersAreCapped: of many connections that do not log in the oldest are
// closed, so that those who mean well always find a place.
func TestStrangersAreCapped(t *testing.T) {
	const strangers = 1500
	attack(t, rules{growth: 1000*strangerMax + 4*mib}, func(a *arena) {
		for range strangers {
			c := a.dial()
			a.must(c.write([]byte(wire.ProtocolHeader)))
		}
		gone := 0
		for _, c := range a.mu.clients[:strangers-1000] {
			c.nc.SetReadDeadline(time.Now().Add(ioTimeout))
			if _, err := io.Copy(io.Discard, c.nc); !isTimeout(err) {
				gone++
			}
		}
		if gone != strangers-1000 {
			t.Errorf("%d of %d old strangers were closed", gone, strangers-1000)
		}
		for range 20 {
			a.open(dialOptions{}, loginOptions{})
		}
	})
}

// voids is an array or table whose decoded form is many times as large as its
// encoded one. It takes size bytes.
func voids(size int) any { return make([]any, size-5) }

// TestHugeLogins: what a login carries is not held in a form many times larger
// while a wrong password is being punished. What is decoded and thrown away at
// once may come on top until it is collected.
func TestHugeLogins(t *testing.T) {
	t.Parallel()
	const clients = 300
	properties := wire.Table{capabilities[0], {Name: "v", Value: voids(7800)}}
	b := appendMethods([]byte(wire.ProtocolHeader), 0, &wire.ConnectionStartOk{
		Mechanism: "PLAIN", Response: []byte("\x00guest\x00wrong"), Locale: "en_US", ClientProperties: properties})
	attack(t, rules{growth: 4*clients*strangerMax + 4*mib}, func(a *arena) {
		before := a.heap()
		for range clients {
			a.must(a.dial().write(b))
		}
		for _, c := range a.mu.clients {
			if m, err := await[*wire.ConnectionClose](c, 0); err != nil || m.Code != wire.ReplyAccessRefused {
				t.Fatalf("a wrong password is answered with %+v, %v", m, err)
			}
		}
		if each := (a.heap() - before) / clients; each > strangerMax {
			t.Errorf("each holds %d bytes", each)
		}
	})
}

// TestPasswordGuessing: wrong passwords by the hundred are answered late, and
// a login beside them is not.
func TestPasswordGuessing(t *testing.T) {
	t.Parallel()
	attack(t, rules{growth: 400*strangerMax + 4*mib, left: 400 * strangerMax}, func(a *arena) {
		guess := appendMethods([]byte(wire.ProtocolHeader), 0, &wire.ConnectionStartOk{
			Mechanism: "PLAIN", Response: []byte("\x00guest\x00" + strings.Repeat("guess", 100)), Locale: "en_US"})
		for range 400 {
			a.must(a.dial().write(guess))
		}
		began := time.Now()
		a.open(dialOptions{}, loginOptions{})
		if took := time.Since(began); took > within(time.Second) {
			t.Errorf("a login beside the guesses took %v", took)
		}
		<-a.ctx.Done()
	})
}
