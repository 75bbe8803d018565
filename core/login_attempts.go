package core

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// The protocols that login attempts are counted under, as RabbitMQ's metrics
// call them. Credentials with another name count as "other".
const (
	ProtocolAMQP  = "amqp091"
	ProtocolMQTT  = "mqtt"
	ProtocolSTOMP = "stomp"
	ProtocolHTTP  = "http"
)

// LoginAttempts counts logins. Any goroutine may use it.
type LoginAttempts struct {
	protocols [5]protocolAttempts

	mu struct {
		sync.Mutex
		sources map[AttemptSource]*attemptCounts
	}
}

var attemptProtocols = [5]string{ProtocolMQTT, ProtocolHTTP, ProtocolAMQP, ProtocolSTOMP, "other"}

type protocolAttempts struct{ succeeded, failed atomic.Uint64 }

// AttemptSource is where logins come from.
type AttemptSource struct{ Peer, User, Protocol string }

type attemptCounts struct {
	succeeded, failed uint64
	turn              bool // Seen since the last search for one to forget.
}

// LoginAttemptRow is how many logins of a protocol, or of a source, there were.
type LoginAttemptRow struct {
	AttemptSource     // Only Protocol, in the rows of Protocols.
	Succeeded, Failed uint64
}

// LoginAttempts returns the counters of logins.
func (b *Broker) LoginAttempts() *LoginAttempts { return &b.attempts }

// attemptSourcesMax bounds how many sources are remembered, attemptNameMax how
// much of a name: strangers choose those.
const (
	attemptSourcesMax = 2048
	attemptNameMax    = 128
)

func (a *LoginAttempts) count(c *Credentials, ok bool) {
	i := slices.Index(attemptProtocols[:], c.Protocol)
	if i < 0 {
		i = len(attemptProtocols) - 1
	}
	if ok {
		a.protocols[i].succeeded.Add(1)
	} else {
		a.protocols[i].failed.Add(1)
	}
	user := c.User
	if len(user) > attemptNameMax {
		user = user[:attemptNameMax]
	}
	key := AttemptSource{c.Peer, user, attemptProtocols[i]}
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.mu.sources[key]
	if n == nil {
		if a.mu.sources == nil {
			a.mu.sources = make(map[AttemptSource]*attemptCounts)
		}
		a.makeRoomLocked()
		n = new(attemptCounts)
		key.User = strings.Clone(key.User)
		a.mu.sources[key] = n
	}
	n.turn = true
	if ok {
		n.succeeded++
	} else {
		n.failed++
	}
}

// makeRoomLocked forgets some source that was not heard of lately if there are
// too many. Looking at a few is enough.
func (a *LoginAttempts) makeRoomLocked() {
	if len(a.mu.sources) < attemptSourcesMax {
		return
	}
	looked := 0
	for key, n := range a.mu.sources {
		if looked++; !n.turn || looked == 8 {
			delete(a.mu.sources, key)
			return
		}
		n.turn = false
	}
}

// Protocols returns a row for each protocol, in a fixed order, "other" last.
func (a *LoginAttempts) Protocols() []LoginAttemptRow {
	rows := make([]LoginAttemptRow, len(attemptProtocols))
	for i := range rows {
		rows[i] = LoginAttemptRow{AttemptSource{Protocol: attemptProtocols[i]}, a.protocols[i].succeeded.Load(), a.protocols[i].failed.Load()}
	}
	return rows
}

// Sources returns a row for each source that is remembered, sorted.
func (a *LoginAttempts) Sources() []LoginAttemptRow {
	a.mu.Lock()
	defer a.mu.Unlock()
	rows := make([]LoginAttemptRow, 0, len(a.mu.sources))
	for key, n := range maps.All(a.mu.sources) {
		rows = append(rows, LoginAttemptRow{key, n.succeeded, n.failed})
	}
	slices.SortFunc(rows, func(x, y LoginAttemptRow) int {
		if c := strings.Compare(x.Peer, y.Peer); c != 0 {
			return c
		}
		if c := strings.Compare(x.User, y.User); c != 0 {
			return c
		}
		return strings.Compare(x.Protocol, y.Protocol)
	})
	return rows
}

// Reset forgets all sources and sets the counters of protocols to zero.
func (a *LoginAttempts) Reset() {
	for i := range a.protocols {
		a.protocols[i].succeeded.Store(0)
		a.protocols[i].failed.Store(0)
	}
	a.ResetSources()
}

// ResetSources forgets all sources.
func (a *LoginAttempts) ResetSources() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mu.sources = nil
}
