package core

import (
	"cmp"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
)

// MemoryDefinitions is a Definitions in memory, for brokers without a data
// directory and for tests. Once closed it may be given to another broker, which
// finds what a store on disk would have kept.
type MemoryDefinitions struct {
	mu struct {
		sync.Mutex
		stored   map[string]memoryDefinition
		most     int // Of stored; see deleteFrom.
		revision uint64
		queueID  QueueID
		watch    func([]Change)
	}
}

type memoryDefinition struct {
	change   Change
	revision uint64
}

// NewMemoryDefinitions returns an empty store.
func NewMemoryDefinitions() *MemoryDefinitions {
	d := &MemoryDefinitions{}
	d.mu.stored = make(map[string]memoryDefinition)
	return d
}

// Watch implements Definitions.
func (d *MemoryDefinitions) Watch(fn func([]Change)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.watch != nil {
		return errors.New("definitions are watched already")
	}
	d.mu.watch = fn
	if len(d.mu.stored) > 0 {
		changes := make([]Change, 0, len(d.mu.stored))
		for _, m := range d.mu.stored {
			changes = append(changes, m.change)
		}
		slices.SortFunc(changes, func(a, b Change) int { return cmp.Compare(a.Kind, b.Kind) })
		fn(changes)
	}
	return nil
}

// Commit implements Definitions. The watch is called with the store locked.
func (d *MemoryDefinitions) Commit(changes []Change) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var buf [128]byte
	for i := range changes {
		c := &changes[i]
		if c.Was == AnyRevision {
			continue
		}
		if d.mu.stored[string(appendDefinitionKey(buf[:0], c.Kind, c.Key))].revision != c.Was {
			return ErrConflict
		}
	}
	for i := range changes {
		c := &changes[i]
		key := appendDefinitionKey(buf[:0], c.Kind, c.Key)
		if c.Value == nil {
			d.mu.stored = deleteFrom(d.mu.stored, string(key), &d.mu.most)
			continue
		}
		d.mu.revision++
		d.mu.stored[string(key)] = memoryDefinition{*c, d.mu.revision}
	}
	if d.mu.watch != nil {
		d.mu.watch(changes)
	}
	return nil
}

// Get implements Definitions.
func (d *MemoryDefinitions) Get(kind DefinitionKind, key []string) (any, uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var buf [128]byte
	m := d.mu.stored[string(appendDefinitionKey(buf[:0], kind, key))]
	return m.change.Value, m.revision, nil
}

// NextQueueID implements Definitions. Ids start at 1.
func (d *MemoryDefinitions) NextQueueID() (QueueID, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.queueID == ^QueueID(0) {
		return 0, errors.New("queue ids are used up")
	}
	d.mu.queueID++
	return d.mu.queueID, nil
}

// Close forgets what is transient and ends the watch.
func (d *MemoryDefinitions) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.watch = nil
	for key, m := range d.mu.stored {
		if m.change.Transient {
			delete(d.mu.stored, key)
		}
	}
	return nil
}

// appendDefinitionKey appends kind and the parts of key, each behind its
// length, because names hold any byte.
func appendDefinitionKey(dst []byte, kind DefinitionKind, key []string) []byte {
	dst = append(dst, byte(kind))
	for _, part := range key {
		dst = binary.AppendUvarint(dst, uint64(len(part)))
		dst = append(dst, part...)
	}
	return dst
}
