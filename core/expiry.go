package core

import (
	"sync"

	"leveret/core/wheel"
)

// ExpiredReason is what a session ends with when what its client was let in
// with has expired.
const ExpiredReason = "credential expired"

// sessionExpiry ends a session when its principal expires. Its timer is made
// when it is first needed: most logins are for ever.
type sessionExpiry struct {
	mu struct {
		sync.Mutex
		timer   *expiryTimer
		stopped bool
	}
}

// expiryTimer is what the wheel has of a session.
type expiryTimer struct {
	wheel.Timer
	session *Session
}

// Fire implements wheel.Task.
func (t *expiryTimer) Fire(int64) {
	s := t.session
	if !s.Expired() {
		return // Renewed meanwhile.
	}
	s.renewals.Add(1) // What was allowed is asked again, and refused.
	s.End(ExpiredReason)
}

// set has s end when p expires, if it does.
func (e *sessionExpiry) set(s *Session, p *Principal) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.mu.stopped:
	case !p.ExpiresAt.IsZero():
		if e.mu.timer == nil {
			e.mu.timer = &expiryTimer{session: s}
			e.mu.timer.Init(e.mu.timer)
		}
		s.broker.wheel.Schedule(&e.mu.timer.Timer, p.ExpiresAt.UnixMilli())
	case e.mu.timer != nil:
		s.broker.wheel.Stop(&e.mu.timer.Timer)
	}
}

// stop ends it with the session.
func (e *sessionExpiry) stop(s *Session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mu.stopped = true
	if e.mu.timer != nil {
		s.broker.wheel.Stop(&e.mu.timer.Timer)
	}
}

// Expired reports whether what the session's client was let in with has
// expired: then that is why it ends.
func (s *Session) Expired() bool { return s.principal.Load().expired(s.broker.now()) }
