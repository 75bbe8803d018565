package shovel

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"leveret/core"
)

// Options configures a Manager.
type Options struct {
	Broker *core.Broker // Required.
	Logger *slog.Logger // [slog.Default()]
}

// Manager runs the dynamic shovels of a broker. Its methods may be called by any
// goroutine.
type Manager struct {
	// Fixed by NewManager.
	broker *core.Broker
	log    *slog.Logger
	poke   chan struct{} // Parameters have changed.

	mu struct {
		sync.Mutex
		shovels map[id]*running
	}
}

// id names a shovel.
type id struct{ vhost, name string }

// running is a shovel and the parameter that it came from.
type running struct {
	*shovel
	value, user string // value is guarded by the manager's lock.
	stop        context.CancelFunc
	ended       chan struct{} // Closed when run has returned.
	over        bool          // It has moved all; its parameter goes. Guarded by the manager's lock.
	again       bool          // It is to end and start anew. Likewise.
	saved       int64         // The offset that the parameter has, of a stream's.
}

// NewManager makes a manager; Run puts it to work.
func NewManager(o Options) *Manager {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	m := &Manager{broker: o.Broker, log: o.Logger, poke: make(chan struct{}, 1)}
	m.mu.shovels = make(map[id]*running)
	return m
}

// sampleEvery is how often rates are taken, rememberEvery how often offsets are
// stored.
const (
	sampleEvery   = time.Second
	rememberEvery = 250 * time.Millisecond
)

// Run has a shovel for each parameter until ctx ends, and returns when the last
// has given back what it held.
func (m *Manager) Run(ctx context.Context) error {
	m.broker.OnParameters(component, m.wake)
	defer m.broker.OnParameters(component, nil)
	defer func() { m.dropAll(m.all()) }()
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	store := time.NewTicker(rememberEvery)
	defer store.Stop()
	m.reconcile(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.poke:
			m.reconcile(ctx)
		case <-tick.C:
			for _, r := range m.all() {
				r.sample()
			}
		case <-store.C:
			for _, r := range m.all() {
				m.remember(r)
			}
		}
	}
}

func (m *Manager) wake() {
	select {
	case m.poke <- struct{}{}:
	default:
	}
}

// all lists the shovels by name.
func (m *Manager) all() []*running {
	m.mu.Lock()
	defer m.mu.Unlock()
	var rs []*running
	for _, r := range m.mu.shovels {
		rs = append(rs, r)
	}
	slices.SortFunc(rs, func(x, y *running) int {
		return cmp.Or(cmp.Compare(x.cfg.vhost, y.cfg.vhost), cmp.Compare(x.cfg.name, y.cfg.name))
	})
	return rs
}

// reconcile ends shovels whose parameter is gone or another one, deletes the
// parameters of those that have moved all, and starts those that are missing.
func (m *Manager) reconcile(ctx context.Context) {
	wanted := make(map[id]core.ParameterDef)
	for _, d := range m.broker.Parameters() {
		if d.Component == component {
			wanted[id{d.VHost, d.Name}] = d
		}
	}
	var ending, over []*running
	for _, r := range m.all() {
		at := id{r.cfg.vhost, r.cfg.name}
		m.mu.Lock()
		same := wanted[at].Value == r.value && wanted[at].User == r.user
		if same && r.over {
			over = append(over, r)
			delete(wanted, at)
		}
		if !same || r.over || r.again {
			ending = append(ending, r)
		}
		m.mu.Unlock()
	}
	m.dropAll(ending)
	for _, r := range over {
		m.clear(r)
	}
	for at := range wanted {
		m.mu.Lock()
		_, there := m.mu.shovels[at]
		m.mu.Unlock()
		if there {
			continue
		}
		// One that has just ended may have stored how far it came.
		if d, there := m.broker.Parameter(component, at.vhost, at.name); there {
			m.start(ctx, d)
		}
	}
}

// start begins the shovel of d.
func (m *Manager) start(ctx context.Context, d core.ParameterDef) {
	c, err := parse(d)
	if err != nil { // It was checked before it was stored: by another version.
		m.log.Error("shovel cannot run", slog.String("shovel", d.Name), slog.String("vhost", d.VHost), slog.Any("error", err))
		return
	}
	ctx, stop := context.WithCancel(ctx)
	r := &running{shovel: newShovel(m.broker, m.log, c), value: d.Value, user: d.User, stop: stop, ended: make(chan struct{}), saved: -1}
	m.mu.Lock()
	m.mu.shovels[id{d.VHost, d.Name}] = r
	m.mu.Unlock()
	go func() { // Ends with its context; drop waits for it.
		defer close(r.ended)
		if err := r.run(ctx); errors.Is(err, errDone) {
			m.mu.Lock()
			r.over = true
			m.mu.Unlock()
			m.wake()
		}
	}()
}

// drop ends a shovel and forgets it.
func (m *Manager) drop(r *running) {
	r.stop()
	<-r.ended
	m.remember(r)
	at := id{r.cfg.vhost, r.cfg.name}
	m.mu.Lock()
	there := m.mu.shovels[at] == r
	if there {
		delete(m.mu.shovels, at)
	}
	m.mu.Unlock()
	if there {
		m.broker.Emit(core.Event{Kind: eventRemoved, VHost: at.vhost, Name: at.name})
	}
}

// dropAll is drop for several at once.
func (m *Manager) dropAll(rs []*running) {
	for _, r := range rs {
		r.stop()
	}
	for _, r := range rs {
		m.drop(r)
	}
}

// clear deletes the parameter of a shovel that is over.
func (m *Manager) clear(r *running) {
	err := m.broker.ClearParameter(component, r.cfg.vhost, r.cfg.name)
	var e *core.Error
	if err != nil && (!errors.As(err, &e) || e.Kind != core.NotFound) {
		m.log.Error("shovel is over, but its parameter stays", slog.String("shovel", r.cfg.name), slog.String("vhost", r.cfg.vhost), slog.Any("error", err))
	}
}

// remember stores how far a stream was read in the shovel's parameter, so that a
// restarted broker goes on from there. A parameter that somebody else has changed
// stays as it is.
func (m *Manager) remember(r *running) {
	next := r.count.offset.Load()
	if !r.cfg.src.remember || next == r.saved {
		return
	}
	d, ok := m.broker.Parameter(component, r.cfg.vhost, r.cfg.name)
	m.mu.Lock()
	ok = ok && d.Value == r.value && d.User == r.user
	m.mu.Unlock()
	if !ok {
		return
	}
	value, err := withOffset(d.Value, next)
	if err == nil {
		d.Value = value
		// Before it is stored: reconcile must not take it for another one.
		before := m.setValue(r, value)
		if err = m.broker.PutParameter(d); err != nil {
			m.setValue(r, before)
		}
	}
	r.saved = next
	if err != nil {
		m.log.Error("the offset of a shovel's stream is not stored", slog.String("shovel", r.cfg.name), slog.String("vhost", r.cfg.vhost), slog.Any("error", err))
	}
}

func (m *Manager) setValue(r *running, value string) (before string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before, r.value = r.value, value
	return before
}

// Status lists the shovels by virtual host and name, as RabbitMQ's API does.
func (m *Manager) Status() []map[string]any {
	var rows []map[string]any
	for _, r := range m.all() {
		rows = append(rows, r.status())
	}
	return rows
}

// Restart ends a shovel's connections and makes them anew. It reports false if
// there is no such shovel.
func (m *Manager) Restart(vhost, name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.mu.shovels[id{vhost, name}]
	if r == nil {
		return false
	}
	r.again = true
	m.wake()
	return true
}
