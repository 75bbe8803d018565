package core

import (
	"strings"
	"testing"
)

// TestFits looks ahead, by number and by bytes, for what a queue would refuse;
// only for those that refuse. It is held against what Publish then does.
func TestFits(t *testing.T) {
	b := testBroker(t)
	s := testSession(t, b, "guest")
	for name, args := range map[string][]any{
		"count": {"x-max-length", 2, "x-overflow", "reject-publish"},
		"bytes": {"x-max-length-bytes", 20, "x-overflow", "reject-publish"},
		"drop":  {"x-max-length", 1},
		"free":  nil,
	} {
		must(t, s.declareQueue(name, QueueDeclare{}, args...))
	}
	for _, c := range []struct {
		queues string // Of the messages, each of ten bytes.
		want   bool
	}{
		{"", true},
		{"count count", true},
		{"count count count", false},
		{"bytes bytes", true},
		{"bytes bytes bytes", false},
		{"drop drop drop free free free", true},
		{"free count drop count bytes count", false},
		{"free count drop count bytes bytes", true},
	} {
		for name := range strings.FieldsSeq("count bytes drop free") {
			if _, err := s.PurgeQueue(name); err != nil {
				t.Fatal(err)
			}
		}
		p := s.NewPublisher(nil)
		target, err := p.Target("")
		must(t, err)
		queues := strings.Fields(c.queues)
		ms := make([]Publication, len(queues))
		for i, name := range queues {
			ms[i].Reset()
			ms[i].RoutingKey, ms[i].Body = name, []byte("ten bytes!")
			_, err := p.Route(target, &ms[i])
			must(t, err)
		}
		if got := p.Fits(ms); got != c.want {
			t.Errorf("%q fits: %t", c.queues, got)
		}
		var touched Touched
		p.Publish(ms, &touched)
		refused := false
		for i := range ms {
			refused = refused || ms[i].Refused != OK
		}
		if refused == c.want {
			t.Errorf("%q: refused %t, though it was said to fit: %t", c.queues, refused, c.want)
		}
	}
}
