package hostile

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"leveret/adapters/amqp/wire"
)

// TestAnnouncedContent announces 128 MiB on each of a thousand channels of
// several connections and sends a few bytes of each.
func TestAnnouncedContent(t *testing.T) {
	t.Parallel()
	attack(t, rules{growth: 64 * mib}, func(a *arena) {
		each(5, func(int) {
			c := a.open(dialOptions{}, loginOptions{})
			var b []byte
			for id := uint16(2); id < 1000; id++ {
				b = appendMethods(b, id, &wire.ChannelOpen{}, &wire.BasicPublish{RoutingKey: bystanderQueue})
				b = wire.AppendContentHeader(b, id, 128<<20, &wire.Properties{})
				b = append(b, rawFrame(wire.FrameBody, id, []byte("just this"))...)
			}
			a.must(c.write(b))
			a.sync(c)
		})
		<-a.ctx.Done()
	})
}

// TestHalfSentContent sends half of a large body on one channel after the
// other: the connection is closed before it holds more than it may.
func TestHalfSentContent(t *testing.T) {
	attack(t, rules{growth: 96 * mib, flags: []string{"--max-message-size", "16MiB"}}, func(a *arena) {
		half := make([]byte, 8<<20)
		c := a.open(dialOptions{}, loginOptions{})
		closed := make(chan uint16, 1)
		go func() { // Ends with the connection.
			code, _ := c.closedWith()
			closed <- code
		}()
		for id := uint16(2); id < 100; id++ {
			b := appendMethods(nil, id, &wire.ChannelOpen{}, &wire.BasicPublish{RoutingKey: bystanderQueue})
			b = wire.AppendContentHeader(b, id, 16<<20, &wire.Properties{})
			if c.write(wire.AppendBody(b, id, half, 131072)) != nil {
				break
			}
		}
		select {
		case code := <-closed:
			if code != wire.ReplyResourceError {
				t.Errorf("closed with %d", code)
			}
		case <-time.After(patience):
			t.Error("not closed")
		}
	})
}

// TestBodyByteByByte sends bodies in frames of one byte, and with frames of
// none between them.
func TestBodyByteByByte(t *testing.T) {
	attack(t, rules{growth: 24 * mib}, func(a *arena) {
		const size = 10_000
		b := wire.AppendMethod(nil, 1, &wire.BasicPublish{RoutingKey: "crumbs"})
		b = wire.AppendContentHeader(b, 1, size, &wire.Properties{})
		for i := range size {
			if i%2 == 0 {
				b = append(b, rawFrame(wire.FrameBody, 1, nil)...)
			}
			b = append(b, rawFrame(wire.FrameBody, 1, []byte{byte(i)})...)
		}
		each(2, func(i int) {
			c := a.open(dialOptions{}, loginOptions{})
			if i == 0 {
				a.queue(c, "crumbs")
				a.must(c.methods(1, &wire.BasicConsume{Queue: "crumbs", NoAck: true}))
				go c.discard(a.ctx) // Ends with the attack.
			}
			if sent, err := c.flood(a.ctx, b); err != nil {
				t.Errorf("after %d bytes: %v", sent, err)
			}
		})
		// The same in segments of one byte.
		c := a.open(dialOptions{}, loginOptions{})
		for _, x := range message(1, "", "crumbs", false, []byte("one at a time")) {
			a.must(c.write([]byte{x}))
		}
		a.sync(c)
	})
}

// TestEndlessTransactions publishes in transactions that never end, on many
// channels. A transaction has a limit, and all of them count as memory.
func TestEndlessTransactions(t *testing.T) {
	attack(t, rules{growth: 160 * mib, flags: []string{"--memory-limit", "64MiB"}, alone: true}, func(a *arena) {
		each(3, func(int) {
			c := a.open(dialOptions{}, loginOptions{})
			var b []byte
			for id := uint16(2); id < 500; id++ {
				b = appendMethods(b, id, &wire.ChannelOpen{}, &wire.TxSelect{})
			}
			a.must(c.write(b))
			go c.discard(a.ctx) // Ends with the attack.
			b = b[:0]
			for id := uint16(2); id < 500; id++ {
				b = append(b, message(id, "", "never", false, make([]byte, 1000))...)
			}
			c.flood(a.ctx, b)
		})
	})
}

// TestTransactionIsLimited: a single one that grows too large closes its channel.
func TestTransactionIsLimited(t *testing.T) {
	attack(t, rules{growth: 128 * mib}, func(a *arena) {
		c := a.open(dialOptions{}, loginOptions{})
		a.must(c.methods(1, &wire.TxSelect{}))
		enough, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		go func() { // Ends with the connection.
			if _, err := await[*wire.ChannelClose](c, 1); err != nil {
				t.Error(err)
			}
			cancel()
		}()
		c.flood(enough, repeat(message(1, "", "never", false, make([]byte, 1000)), 256<<10))
		if enough.Err() != context.Canceled {
			t.Error("the channel is still open")
		}
	})
}

// TestMemoryLimit publishes to a queue that nobody consumes from until the
// broker holds its publishers, and then consumes: publishers are told, memory
// stays at the limit, consumers go on meanwhile, all messages come, in order.
func TestMemoryLimit(t *testing.T) {
	const publishers, messages = 3, 60_000
	attack(t, rules{growth: 160 * mib, flags: []string{"--memory-limit", "64MiB"}, alone: true}, func(a *arena) {
		c := a.open(dialOptions{}, loginOptions{})
		a.queue(c, "backlog")
		var held [publishers]*client
		finished := make(chan error, publishers)
		for i := range publishers {
			p := a.open(dialOptions{}, loginOptions{})
			held[i] = p
			go func() { finished <- p.publishNumbered("backlog", byte(i), messages) }() // Ends with the connection.
		}
		for i, p := range held {
			m, err := await[*wire.ConnectionBlocked](p, 0)
			if err != nil {
				t.Fatalf("publisher %d is not told that it is blocked: %v", i, err)
			}
			if m.Reason != "low on memory" {
				t.Errorf("blocked because of %q", m.Reason)
			}
		}
		// No publisher gets further while none consumes; one who consumes is served.
		var next [publishers]uint32
		a.must(c.methods(1, &wire.BasicQos{PrefetchCount: 100}, &wire.BasicConsume{Queue: "backlog"}))
		for n := 0; n < publishers*messages; n++ {
			tag, body, err := c.delivery()
			if err != nil {
				t.Fatalf("after %d messages: %v", n, err)
			}
			from, number := body[0], binary.BigEndian.Uint32(body[1:])
			if number != next[from] {
				t.Fatalf("message %d of publisher %d came, want %d", number, from, next[from])
			}
			next[from]++
			if n%50 == 49 {
				a.must(c.write(wire.AppendAck(nil, 1, tag, true)))
			}
		}
		for i, p := range held {
			a.must(<-finished)
			if _, err := await[*wire.ConnectionUnblocked](p, 0); err != nil {
				t.Errorf("publisher %d is not told that it may go on: %v", i, err)
			}
		}
	})
}

// publishNumbered publishes n messages of 1,000 bytes that begin with from and
// their number. It blocks for as long as the broker does not read.
func (c *client) publishNumbered(queue string, from byte, n uint32) error {
	body := make([]byte, 1000)
	body[0] = from
	var b []byte
	for i := range n {
		binary.BigEndian.PutUint32(body[1:], i)
		b = wire.AppendPublish(b, 1, "", queue, false, noProperties, body, 131072)
		if len(b) > 64<<10 || i == n-1 {
			if _, err := c.nc.Write(b); err != nil {
				return err
			}
			b = b[:0]
		}
	}
	return nil
}

// delivery reads the next delivery of a message with a small body.
func (c *client) delivery() (tag uint64, body []byte, err error) {
	c.nc.SetReadDeadline(time.Now().Add(ioTimeout))
	for {
		f, err := c.frame()
		if err != nil {
			return 0, nil, err
		}
		switch {
		case f.Type == wire.FrameBody:
			return tag, f.Payload, nil
		case f.Type == wire.FrameMethod && wire.MethodID(f.Payload) == wire.IDBasicDeliver:
			if _, tag, _, _, _, err = wire.ParseDeliver(f.Payload); err != nil {
				return 0, nil, err
			}
		}
	}
}

// TestPublishToEachOther: two clients, each a single thread that publishes with
// blocking writes for a while and only then reads what the other sent. With a
// broker that waits for either of them both would stand still for ever.
func TestPublishToEachOther(t *testing.T) {
	attack(t, rules{growth: 160 * mib}, func(a *arena) {
		const rounds, burst = 5, 3000
		ready := make(chan struct{}, 2)
		start := make(chan struct{})
		go func() { // Ends when both are ready, or the test is over.
			for range 2 {
				<-ready
			}
			close(start)
		}()
		each(2, func(i int) {
			mine, other := fmt.Sprint("to", i), fmt.Sprint("to", 1-i)
			c := a.open(dialOptions{receiveBuffer: 8 << 10}, loginOptions{})
			c.nc.SetWriteBuffer(8 << 10)
			a.queue(c, mine)
			a.must(c.methods(1, &wire.BasicConsume{Queue: mine, NoAck: true}))
			_, err := await[*wire.BasicConsumeOk](c, 1)
			a.must(err)
			ready <- struct{}{}
			<-start
			m := message(1, "", other, false, make([]byte, 1000))
			for range rounds {
				for range burst {
					if err := c.write(m); err != nil { // Blocks, but not for ioTimeout.
						t.Errorf("client %d cannot publish: %v", i, err)
						return
					}
				}
				for n := 0; n < burst; {
					c.nc.SetReadDeadline(time.Now().Add(ioTimeout))
					f, err := c.frame()
					if err != nil {
						t.Errorf("client %d got %d of %d: %v", i, n, burst, err)
						return
					}
					if f.Type == wire.FrameBody {
						n++
					}
				}
			}
		})
	})
}

// TestPublishRacesChannelClose publishes to exchanges that do not exist, in
// bulk: the channel is closed in the midst, and what was under way is swallowed.
func TestPublishRacesChannelClose(t *testing.T) {
	attack(t, rules{growth: 32 * mib}, func(a *arena) {
		each(3, func(i int) {
			random := rand.New(rand.NewPCG(4, uint64(i)))
			c := a.open(dialOptions{}, loginOptions{})
			for n := 0; a.ctx.Err() == nil; n++ {
				b := repeat(message(1, "", "nowhere", true, make([]byte, 100)), 4<<10)
				b = append(b, repeat(message(1, "no such exchange", "k", false, make([]byte, random.IntN(40_000))), 200<<10)...)
				b = appendMethods(b, 1, &wire.BasicConsume{Queue: "nothing", NoWait: true}, &wire.BasicAck{DeliveryTag: 7})
				if n%2 == 0 { // Both sides close at once.
					b = appendMethods(b, 1, &wire.ChannelClose{Code: 200})
				}
				if err := c.write(b); err != nil {
					t.Errorf("write: %v", err)
					return
				}
				if _, err := await[*wire.ChannelClose](c, 1); err != nil {
					t.Error(err)
					return
				}
				if err := c.methods(1, &wire.ChannelCloseOk{}, &wire.ChannelOpen{}); err != nil {
					t.Errorf("write: %v", err)
					return
				}
				if _, err := await[*wire.ChannelOpenOk](c, 1); err != nil {
					t.Error(err)
					return
				}
			}
		})
	})
}

// TestPublishFlood: many publishers send as fast as they can to nobody.
func TestPublishFlood(t *testing.T) {
	many := 40
	if lasts >= 5*time.Second {
		many = 100
	}
	for _, publishers := range []int{4, many} {
		t.Run(fmt.Sprint(publishers), func(t *testing.T) {
			attack(t, rules{growth: 96 * mib}, func(a *arena) {
				b := repeat(message(1, "", "nowhere", false, nil), 256<<10)
				each(publishers, func(int) {
					c := a.open(dialOptions{}, loginOptions{})
					c.flood(a.ctx, b)
				})
			})
		})
	}
}
