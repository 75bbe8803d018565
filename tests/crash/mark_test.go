package crash

import "testing"

// TestDeliveredAtTheMomentOfAKill: what a client has received when a broker is
// killed comes back with the redelivered flag, also if it was on disk before
// anyone asked for it.
func TestDeliveredAtTheMomentOfAKill(t *testing.T) {
	unflagged := 0
	for range 10 {
		p := newPlace(t)
		b := p.start()
		ch := p.channel(b)
		p.queue(ch, "q")
		p.fill(ch, "q", 0, 1, 10)
		c, err := dialRaw(b) // Keeps the disk busy.
		p.must(err)
		p.queue(ch, "other")
		go c.publish("other", 0, 1<<20, 4000, 100) // Ends with the broker.
		for p.depth(ch, "other") < 100 {
		}
		if _, ok, err := ch.Get("q", false); err != nil || !ok {
			t.Fatal(ok, err)
		}
		b.Kill()
		d, ok, err := p.channel(p.start()).Get("q", true)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		if !d.Redelivered {
			unflagged++
		}
	}
	if unflagged > 0 {
		t.Errorf("%d of 10 messages came a second time without the redelivered flag", unflagged)
	}
}
