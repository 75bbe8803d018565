package core

import (
	"strings"

	"leveret/core/auth"
)

// RetainedLevel is a level of the tree of retained messages' keys.
type RetainedLevel struct {
	Key      string // The routing key that leads here.
	Word     string // Its last word.
	Children int    // Levels right below it.
	// Retained says that there is a message with this very key, and ExpiresMS
	// when it goes, 0 for never.
	Retained  bool
	ExpiresMS int64
}

// maySeeRetained refuses those who may not read the exchange.
func (s *Session) maySeeRetained(exchange string) error {
	if err := s.permitExchange(auth.Read, exchange); err != nil {
		return err
	}
	if s.vhost.exchange(exchange) == nil {
		return s.vhost.noExchange(exchange)
	}
	return nil
}

func (n *retainedNode) level(key, word string, now int64) RetainedLevel {
	l := RetainedLevel{Key: key, Word: word, Children: n.kids.Len()}
	if n.m != nil && (n.m.expiresMS == 0 || n.m.expiresMS > now) {
		l.Retained, l.ExpiresMS = true, n.m.expiresMS
	}
	return l
}

// RetainedUnder lists, in no particular order, the levels right below the key
// under of what is retained for an exchange; nil is the top. It needs read
// permission on the exchange, and shows the words of keys whatever the topic
// permissions. What is still being loaded after a start is missing.
func (s *Session) RetainedUnder(exchange string, under *string) ([]RetainedLevel, error) {
	n, prefix, err := s.retainedAt(exchange, under)
	if n == nil || err != nil {
		return nil, err
	}
	now := s.broker.now()
	levels := make([]RetainedLevel, 0, n.kids.Len())
	for word, kid := range n.kids.All() {
		levels = append(levels, kid.level(prefix+word, word, now))
	}
	return levels, nil
}

// retainedAt returns the node below which under's levels are, nil if there is
// none, and what their keys begin with.
func (s *Session) retainedAt(exchange string, under *string) (n *retainedNode, prefix string, err error) {
	if err := s.maySeeRetained(exchange); err != nil {
		return nil, "", err
	}
	r := s.vhost.retentionOf(exchange)
	if r == nil {
		return nil, "", nil
	}
	n = r.snapshot()
	if under != nil {
		if prefix = *under + "."; n != nil {
			n = n.node(*under)
		}
	}
	return n, prefix, nil
}

// node returns the node that key leads to, or nil.
func (n *retainedNode) node(key string) *retainedNode {
	for more := true; more; {
		var word string
		word, key, more = strings.Cut(key, ".")
		kid, ok := n.kids.Get(word)
		if !ok {
			return nil
		}
		n = kid
	}
	return n
}

// RetainedMatching lists the retained messages of an exchange, below the key
// under unless that is nil, whose keys match says yes to; at most limit of them,
// of the first scan. It needs the same permission as RetainedUnder.
func (s *Session) RetainedMatching(exchange string, under *string, match func(key string) bool, limit, scan int) ([]RetainedLevel, error) {
	n, prefix, err := s.retainedAt(exchange, under)
	if n == nil || err != nil {
		return nil, err
	}
	now := s.broker.now()
	var found []RetainedLevel
	var walk func(n *retainedNode, prefix string) bool
	walk = func(n *retainedNode, prefix string) bool {
		for word, kid := range n.kids.All() {
			if scan--; scan < 0 || len(found) >= limit {
				return false
			}
			key := prefix + word
			if l := kid.level(key, word, now); l.Retained && match(key) {
				found = append(found, l)
			}
			if !walk(kid, key+".") {
				return false
			}
		}
		return true
	}
	walk(n, prefix)
	return found, nil
}

// RetainedMessage returns the message that is retained for an exchange under
// key, a copy of the caller's own. It needs read permission on the exchange and
// the key, and may wait for the disk. NotFound says that there is none.
func (s *Session) RetainedMessage(exchange, key string) (*Message, error) {
	if err := s.maySeeRetained(exchange); err != nil {
		return nil, err
	}
	x := s.vhost.exchange(exchange)
	if x == nil {
		return nil, s.vhost.noExchange(exchange)
	}
	if err := s.permitTopic(x, auth.Read, key); err != nil {
		return nil, err
	}
	none := errorf(NotFound, "no message is retained under '%s' for %s", key, s.vhost.exchangeText(exchange))
	r := s.vhost.retentionOf(exchange)
	if r == nil {
		return nil, none
	}
	o := r.get(key)
	if o == nil || o.expiresMS != 0 && o.expiresMS <= s.broker.now() {
		return nil, none
	}
	var found *Message
	if m := o.m.Load(); m != nil {
		found = m.Clone()
	} else {
		r.read([]*retained{o}, func(m *Message) { found = m.Clone() })
	}
	if found == nil {
		return nil, none
	}
	return found, nil
}

// ClearRetained ends what is retained for an exchange under key, without any
// subscriber being told. It needs write permission on the exchange and the key,
// and returns when that is durable.
func (s *Session) ClearRetained(exchange, key string) error {
	done := make(confirmed, 1)
	p := s.NewPublisher(done)
	defer p.End()
	t, err := p.Target(exchange)
	if err != nil {
		return err
	}
	if t.topical {
		if err := p.checkTopic(t, key); err != nil {
			return err
		}
	}
	r := s.vhost.retentionOf(exchange)
	if r == nil || r.get(key) == nil {
		return errorf(NotFound, "no message is retained under '%s' for %s", key, s.vhost.exchangeText(exchange))
	}
	ms := make([]Publication, 1)
	m := &ms[0]
	m.Reset()
	m.Exchange, m.RoutingKey, m.Number, m.Retain = t.x.name, key, 1, true
	m.Route = &Route{x: t.x}
	var touched Touched
	p.Publish(ms, &touched)
	touched.Flush()
	select {
	case k := <-done:
		if k != OK {
			return errorf(k, "the retained message could not be cleared: %v", k)
		}
		return nil
	case <-s.broker.stopping:
		return errorf(Unavailable, "the broker stops")
	}
}

// confirmed is the Completer of a publisher of one message.
type confirmed chan Kind

// Completed is Completer's.
func (c confirmed) Completed(_, _ uint64, k Kind) { c <- k }
