package core

import "slices"

// Will is a message that a client leaves to be published when it is lost.
type Will struct {
	Exchange, RoutingKey string
	Form                 Form
	Encoded              []byte // Properties in Form.
	Body                 []byte
	Persistent           bool
	Retain               bool  // See Publication.Retain.
	TTLMS                int64 // From when it is sent; -1 for none.
	// DelayMS is how long after the loss it is sent, unless the client is back
	// by then. It is sent when the client ends, if that is sooner.
	DelayMS int64
}

// willGraceMS is the least time that a client has to come back after a restart
// before its will is sent.
const willGraceMS = 30_000

// will is a client's will with whose it is.
type will struct {
	Will
	vars    Table // What topic permissions may name; see SessionOptions.Vars.
	author  WillAuthor
	by      *Principal // Who left it, while the broker remembers: nil after a restart.
	stored  bool
	dueMS   int64 // When it is to be sent; 0 while the client is connected.
	charged int64
}

// WillAuthor is what is stored of who left a will.
type WillAuthor struct {
	User string
	// Vouched is true if others than the directory say what the user may do, and
	// have allowed the will. Directory is true if the directory had to as well.
	Vouched, Directory bool
	// ExpiresMS is when the user's login expires, in Unix milliseconds; 0 is never.
	ExpiresMS int64
}

func authorOf(p *Principal) WillAuthor {
	a := WillAuthor{User: p.Name, Vouched: p.asked()}
	if a.Vouched {
		a.Directory = slices.ContainsFunc(p.grants, func(g Grant) bool { return g.Backend == nil })
	}
	if !p.ExpiresAt.IsZero() {
		a.ExpiresMS = p.ExpiresAt.UnixMilli()
	}
	return a
}

// newWill makes w the will of the client of s. Where others than the directory
// say what that may do, they may be out of reach after a restart: they are asked
// now, and what they refuse is an error.
func newWill(s *Session, w *Will) (*will, error) {
	p := s.principal.Load()
	n := &will{Will: *w, author: authorOf(p), by: p}
	if n.author.Vouched {
		if err := n.permitted(s); err != nil {
			return nil, err
		}
	}
	for name, value := range s.vars {
		n.vars = append(n.vars, Field{Name: name, Value: value})
	}
	n.charge(s.broker)
	return n, nil
}

func (w *will) charge(b *Broker) {
	w.charged = int64(len(w.Body) + len(w.Encoded) + len(w.RoutingKey) + 256)
	b.memory.charge(w.charged)
}

// drop gives back what w takes. A nil will takes nothing.
func (w *will) drop(b *Broker) {
	if w != nil {
		b.memory.charge(-w.charged)
	}
}

// change stores w as the will of i, whose number is given.
func (w *will) change(i *identity, number QueueID) Change {
	return Change{Kind: DefWill, Key: i.key(), Was: AnyRevision,
		Value: WillDef{VHost: i.vhost.name, Client: i.id, Number: number, Author: w.author, Vars: w.vars, Will: w.Will}}
}

// sendWill publishes the will and forgets it. The client owns its identity.
func (c *Client) sendWill() {
	w := c.will
	c.setWill(nil)
	w.drop(c.broker)
	forget := func() {}
	if w.stored {
		// It is forgotten once the message is where it belongs: a crash in
		// between sends it twice. A later will of this client stays.
		key := c.key()
		_, revision, err := c.broker.definitions.Get(DefWill, key)
		if err == nil && revision != 0 {
			b := c.broker
			forget = func() {
				b.spawn(func() {
					b.definitions.Commit([]Change{{Kind: DefWill, Key: key, Was: revision}})
				})
			}
		}
	}
	if err := w.publish(c.vhost, OriginOf(c.identity.id), forget); err != nil {
		c.broker.logger.Warn("will not sent", "vhost", c.vhost.name, "client", c.identity.id, "error", err)
		forget()
	}
}

// publish publishes w as its user would now. done is called when it is where it
// belongs, or nobody wants it.
func (w *will) publish(v *VHost, origin uint64, done func()) error {
	b := v.broker
	p, err := w.principal(b)
	if err != nil {
		return err
	}
	vars := make(map[string]string, len(w.vars))
	for _, f := range w.vars {
		vars[f.Name], _ = f.Value.(string)
	}
	s, err := b.OpenSession(SessionOptions{VHost: v.name, Principal: p, Vars: vars, Internal: true})
	if err != nil {
		return err
	}
	defer s.Close()
	return w.publishAs(s, origin, done)
}

// principal is who publishes w: who left it, as long as that could publish
// itself. What others than the directory allowed is asked of them again, but for
// wills that a restart has brought back: nobody has the token any more, and that
// it was allowed when the will was left counts until the login expires.
func (w *will) principal(b *Broker) (Principal, error) {
	a := &w.author
	if a.User == "" {
		return Principal{}, errorf(NotAllowed, "nobody knows whose it is")
	}
	if a.ExpiresMS != 0 && a.ExpiresMS <= b.now() {
		return Principal{}, errorf(NotAllowed, "the login of user '%s' has expired", a.User)
	}
	if a.Vouched && w.by != nil {
		return *w.by, nil
	}
	if a.Vouched && !a.Directory {
		p := Superuser(a.User)
		p.Tags = nil
		return p, nil
	}
	user, ok := b.directory.User(a.User)
	if !ok {
		return Principal{}, errorf(NotAllowed, "user '%s' is gone", a.User)
	}
	return Principal{User: user}, nil
}

// permitted asks whether s may publish w now.
func (w *will) permitted(s *Session) error {
	p := s.NewPublisher(completion(func(Kind) {}))
	target, err := p.Target(w.Exchange)
	if err != nil {
		return err
	}
	if !target.topical {
		return nil
	}
	return p.checkTopic(target, w.RoutingKey)
}

// publishAs publishes w in s.
func (w *will) publishAs(s *Session, origin uint64, done func()) error {
	p := s.NewPublisher(completion(func(Kind) { done() }))
	target, err := p.Target(w.Exchange)
	if err != nil {
		return err
	}
	var pub [1]Publication
	m := &pub[0]
	m.Reset()
	m.RoutingKey, m.Form, m.Encoded, m.Body, m.OwnBody = w.RoutingKey, w.Form, w.Encoded, w.Body, true
	m.Persistent, m.Retain, m.TTLMS, m.Origin, m.Number = w.Persistent, w.Retain, w.TTLMS, origin, 1
	if _, err := p.Route(target, m); err != nil {
		return err
	}
	tracked := m.Tracked()
	var t Touched
	p.Publish(pub[:], &t)
	t.Flush()
	if !tracked {
		done()
	}
	return nil
}

// completion is a Completer for a single publish.
type completion func(Kind)

// Completed implements Completer.
func (f completion) Completed(_, _ uint64, k Kind) { f(k) }
