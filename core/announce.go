package core

// Announcer publishes what the broker itself has to say, to internal exchanges
// too: nobody's permissions are asked. It belongs to one goroutine.
type Announcer struct {
	p *Publisher
	t Touched
	m [1]Publication
}

// NewAnnouncer makes an announcer.
func (b *Broker) NewAnnouncer() *Announcer {
	return &Announcer{p: &Publisher{broker: b}}
}

// Announcement is a message of the broker's own.
type Announcement struct {
	VHost, Exchange, Key string
	Properties           *Properties // Nothing changes it any more.
	Body                 []byte      // Likewise.
}

// Publish hands a message to its queues and forgets it: nobody is told what
// became of it. It is false if there is no such exchange, or the broker is too
// short of memory or disk to take it. It may wait until the log has caught up.
func (a *Announcer) Publish(n Announcement) bool {
	v := a.p.broker.vhost(n.VHost)
	if v == nil || a.p.broker.alarms.Refusing() {
		return false
	}
	x := v.exchange(n.Exchange)
	if x == nil {
		return false
	}
	m := &a.m[0]
	m.Reset()
	m.RoutingKey, m.Body, m.OwnBody = n.Key, n.Body, true
	m.SetProperties(n.Properties)
	m.Persistent = n.Properties.DeliveryMode == 2
	m.Exchange = x.name
	a.p.routeAlone(x, m)
	a.p.Publish(a.m[:], &a.t)
	a.t.Flush()
	m.Reset()
	a.p.ahead = nil // Nobody waits for consumers of what the broker says.
	if a.p.logAhead {
		a.p.Pace(a.p.broker.stopping)
	}
	return true
}

// Bound reports whether x is the source of a binding. It takes no lock.
func (x *Exchange) Bound() bool { return x.bound.Load() }
