package crash

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// streamArgs make a stream of many segments.
var streamArgs = amqp.Table{"x-queue-type": "stream", "x-stream-max-segment-size-bytes": int32(256 << 10)}

// streamHistory is what clients of a stream were told, over several brokers.
type streamHistory struct {
	mu        sync.Mutex
	confirmed map[string]bool
	seen      map[int64]string // By offset.
	ends      int              // How often checkStream has marked the end.
}

// TestStreamUnderKill kills brokers while a stream is published into and read:
// every confirmed message is there afterwards, once and in the order of its
// publisher, and what was seen at an offset is there for good.
func TestStreamUnderKill(t *testing.T) {
	t.Parallel()
	kills := 4
	if lasts > 0 {
		kills = 40
	}
	p := newPlace(t)
	h := &streamHistory{confirmed: map[string]bool{}, seen: map[int64]string{}}
	for n := range kills {
		b := p.start()
		ch := p.channel(b)
		_, err := ch.QueueDeclare("s", true, false, false, false, streamArgs)
		p.must(err)
		p.checkStream(ch, h)
		var load sync.WaitGroup
		for k := range 2 {
			pub := p.channel(b)
			p.must(pub.Confirm(false))
			load.Go(func() { h.publish(pub, fmt.Sprintf("%d.%d", n, k)) })
		}
		for range 2 {
			in := p.readStream(p.channel(b), "next")
			load.Go(func() { h.watch(t, in) })
		}
		<-time.After(time.Duration(100+rand.IntN(400)) * time.Millisecond)
		b.Kill()
		load.Wait()
	}
	b := p.start()
	p.checkStream(p.channel(b), h)
	p.must(b.Stop())
	if out, err := exec.Command(leveret, "ctl", "store", "check", p.dir).CombinedOutput(); err != nil {
		t.Errorf("store check: %v\n%s", err, out)
	}
	t.Logf("%d messages confirmed, %d offsets seen", len(h.confirmed), len(h.seen))
	if len(h.confirmed) == 0 || len(h.seen) == 0 {
		t.Error("the brokers were killed too early to show anything")
	}
}

// publish publishes until the broker is gone, some messages ahead of the
// confirms.
func (h *streamHistory) publish(ch *amqp.Channel, name string) {
	type sent struct {
		body string
		c    *amqp.DeferredConfirmation
	}
	var waits []sent
	for i := 0; ; i++ {
		body := fmt.Sprintf("%s.%06d", name, i)
		mode := uint8(1 + i%2) // Streams keep what is transient as well.
		c, err := ch.PublishWithDeferredConfirm("", "s", false, false, amqp.Publishing{DeliveryMode: mode, Body: []byte(body)})
		if err != nil {
			return
		}
		waits = append(waits, sent{body, c})
		for len(waits) >= 200 || len(waits) > 0 && isDone(waits[0].c) {
			if !waits[0].c.Wait() {
				return
			}
			h.mu.Lock()
			h.confirmed[waits[0].body] = true
			h.mu.Unlock()
			waits = waits[1:]
		}
	}
}

func isDone(c *amqp.DeferredConfirmation) bool {
	select {
	case <-c.Done():
		return true
	default:
		return false
	}
}

// watch notes what a reader is shown until the broker is gone.
func (h *streamHistory) watch(t *testing.T, in <-chan amqp.Delivery) {
	for d := range in {
		offset, body := d.Headers["x-stream-offset"].(int64), string(d.Body)
		h.mu.Lock()
		if old, ok := h.seen[offset]; ok && old != body {
			t.Errorf("offset %d is %s to one reader, %s to another", offset, old, body)
		}
		h.seen[offset] = body
		h.mu.Unlock()
		_ = d.Ack(false) // It fails when the broker is gone, and the loop ends.
	}
}

// readStream reads the stream from a place on.
func (p *place) readStream(ch *amqp.Channel, from any) <-chan amqp.Delivery {
	p.Helper()
	p.must(ch.Qos(500, 0, false))
	in, err := ch.Consume("s", "", false, false, false, false, amqp.Table{"x-stream-offset": from})
	p.must(err)
	return in
}

// checkStream reads all of the stream and holds it against what was promised.
func (p *place) checkStream(ch *amqp.Channel, h *streamHistory) {
	p.Helper()
	// What is copied in the background is there once a new message is.
	p.must(ch.Confirm(false))
	h.ends++ // A broker may be killed before it confirms anything.
	end := fmt.Sprintf("end %d", h.ends)
	c, err := ch.PublishWithDeferredConfirm("", "s", false, false, amqp.Publishing{Body: []byte(end)})
	p.must(err)
	p.confirmed(c)
	in := p.readStream(ch, "first")
	where := map[string]int64{}
	at := map[int64]string{}
	last, order := int64(-1), map[string]string{}
	for body := ""; body != end; {
		d := p.take(in, 1)[0]
		p.must(d.Ack(false))
		offset := d.Headers["x-stream-offset"].(int64)
		body = string(d.Body)
		if _, twice := where[body]; twice || offset <= last {
			p.Fatalf("%s is at offset %d, behind %d; and at %d", body, offset, last, where[body])
		}
		where[body], at[offset], last = offset, body, offset
		if n := len(body) - 7; n > 0 && body[n] == '.' {
			if order[body[:n]] > body {
				p.Errorf("%s comes behind %s", body, order[body[:n]])
			}
			order[body[:n]] = body
		}
	}
	for body := range h.confirmed {
		if _, there := where[body]; !there {
			p.Errorf("%s was confirmed and is lost", body)
		}
	}
	for offset, body := range h.seen {
		if at[offset] != body {
			p.Errorf("offset %d was %s and is %q", offset, body, at[offset])
		}
	}
}
