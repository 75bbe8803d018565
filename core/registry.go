package core

import (
	"iter"
	"slices"
	"sync"
	"sync/atomic"
)

// Registry holds the rows in which adapters show operators what they serve:
// sessions and what hangs on them. Core gives the rows no meaning; whoever
// lists them asks for a kind. Any goroutine may use it.
type Registry struct {
	// Fixed by newRegistry; what makes events of rows that come and go.
	tell func(row *Row, what string, describe bool)

	ids atomic.Uint64

	mu struct {
		sync.RWMutex
		byKind map[string]map[uint64]*Row
		added  map[string]uint64 // By kind, in the broker's life.
	}
}

// RowOptions describes a row. Its functions are called by any goroutine, with
// no lock of core's held, also for a short time after the row was removed.
type RowOptions struct {
	Kind    string   // "connection", "channel", "subscription", …
	Name    string   // What operators call it; need not be unique.
	Session *Session // Whose it is; nil while nobody has logged in.
	Parent  *Row     // What it hangs on, or nil.

	// Attributes returns what describes it now; the caller owns the map.
	// Values are what encoding/json can write.
	Attributes func() map[string]any
	// Counters returns numbers that only ever grow, or nil.
	Counters func() map[string]uint64
	// Traffic returns how many bytes came in and went out. Nil if nothing does.
	Traffic func() (received, sent uint64)
	// Close asks for its end, giving a reason to be shown to the client. It
	// does not block. Nil if that cannot be asked for.
	Close func(reason string)
}

// Row is one thing that operators see.
type Row struct {
	RowOptions
	ID       uint64 // Unique in the broker's life.
	registry *Registry
}

func newRegistry(tell func(row *Row, what string, describe bool)) *Registry {
	r := &Registry{tell: tell}
	r.mu.byKind = make(map[string]map[uint64]*Row)
	r.mu.added = make(map[string]uint64)
	return r
}

// Add shows a row until it is removed. Its attributes may be asked for at once.
func (r *Registry) Add(o RowOptions) *Row {
	row := &Row{RowOptions: o, ID: r.ids.Add(1), registry: r}
	r.mu.Lock()
	rows := r.mu.byKind[o.Kind]
	if rows == nil {
		rows = make(map[uint64]*Row)
		r.mu.byKind[o.Kind] = rows
	}
	rows[row.ID] = row
	r.mu.added[o.Kind]++
	r.mu.Unlock()
	r.tell(row, ".created", true)
	return row
}

// Remove takes the row away. Removing twice is harmless.
func (row *Row) Remove() {
	r := row.registry
	r.mu.Lock()
	_, there := r.mu.byKind[row.Kind][row.ID]
	delete(r.mu.byKind[row.Kind], row.ID)
	r.mu.Unlock()
	if there {
		r.tell(row, ".closed", false)
	}
}

// Unordered returns the rows of a kind in no particular order, which costs less
// than Rows where there are very many.
func (r *Registry) Unordered(kind string) []*Row {
	r.mu.RLock()
	defer r.mu.RUnlock()
	rows := make([]*Row, 0, len(r.mu.byKind[kind]))
	for _, row := range r.mu.byKind[kind] {
		rows = append(rows, row)
	}
	return rows
}

// Rows yields the rows of a kind in the order in which they were added.
func (r *Registry) Rows(kind string) iter.Seq[*Row] {
	rows := r.Unordered(kind)
	slices.SortFunc(rows, func(a, b *Row) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return slices.Values(rows)
}

// Churn returns how many rows of a kind were added and removed in the broker's
// life.
func (r *Registry) Churn(kind string) (added, removed uint64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	added = r.mu.added[kind]
	return added, added - uint64(len(r.mu.byKind[kind]))
}

// Count returns how many rows of a kind there are.
func (r *Registry) Count(kind string) int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.mu.byKind[kind])
}

// Find returns the first row of a kind that has this name, or nil.
func (r *Registry) Find(kind, name string) *Row {
	for row := range r.Rows(kind) {
		if row.Name == name {
			return row
		}
	}
	return nil
}
