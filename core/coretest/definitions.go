package coretest

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"leveret/core"
)

// Definitions is a core.Definitions in memory that can be carried over to the
// next broker.
type Definitions struct {
	*core.MemoryDefinitions
	mu      sync.Mutex
	changes []core.Change // Durable ones, in order.
	lastID  core.QueueID
}

// NewDefinitions returns an empty store.
func NewDefinitions() *Definitions {
	return &Definitions{MemoryDefinitions: core.NewMemoryDefinitions()}
}

// Watch is core.Definitions. It reports what a restart found.
func (d *Definitions) Watch(fn func([]core.Change)) error {
	if err := d.MemoryDefinitions.Watch(fn); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var last []core.Change // The last change of each definition.
	at := make(map[string]int)
	for _, c := range d.changes {
		key := fmt.Sprintf("%d %q", c.Kind, c.Key)
		if i, ok := at[key]; ok {
			last[i] = c
			continue
		}
		at[key] = len(last)
		last = append(last, c)
	}
	last = slices.DeleteFunc(last, func(c core.Change) bool { return c.Value == nil })
	slices.SortStableFunc(last, func(a, b core.Change) int { return cmp.Compare(a.Kind, b.Kind) })
	fn(last)
	return nil
}

// Commit is core.Definitions.
func (d *Definitions) Commit(changes []core.Change) error {
	if err := d.MemoryDefinitions.Commit(changes); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range changes {
		if !c.Transient {
			c.Was = core.AnyRevision
			d.changes = append(d.changes, c)
		}
	}
	return nil
}

// NextQueueID is core.Definitions.
func (d *Definitions) NextQueueID() (core.QueueID, error) {
	id, err := d.MemoryDefinitions.NextQueueID()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lastID = max(d.lastID, id)
	return id, err
}

// Restarted returns a store with what a restart would find in d.
func (d *Definitions) Restarted() (*Definitions, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := NewDefinitions()
	for _, c := range d.changes {
		if err := next.MemoryDefinitions.Commit([]core.Change{c}); err != nil {
			return nil, err
		}
	}
	next.changes = d.changes
	for next.lastID < d.lastID {
		if _, err := next.NextQueueID(); err != nil {
			return nil, err
		}
	}
	return next, nil
}
