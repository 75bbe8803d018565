package core

import (
	"encoding/binary"
	"errors"
	"sync"
)

// MemoryDefinitions is a Definitions that keeps nothing over a restart, for
// brokers without a data directory and for tests.
type MemoryDefinitions struct {
	mu struct {
		sync.Mutex
		stored   map[string]memoryDefinition
		revision uint64
		queueID  QueueID
		watch    func([]Change)
	}
}

type memoryDefinition struct {
	value    any
	revision uint64
}

// NewMemoryDefinitions returns an empty store.
func NewMemoryDefinitions() *MemoryDefinitions {
	d := &MemoryDefinitions{}
	d.mu.stored = make(map[string]memoryDefinition)
	return d
}

// Watch reports nothing at first: a new store is empty.
func (d *MemoryDefinitions) Watch(fn func([]Change)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.watch != nil {
		return errors.New("definitions are watched already")
	}
	d.mu.watch = fn
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
			delete(d.mu.stored, string(key))
			continue
		}
		d.mu.revision++
		d.mu.stored[string(key)] = memoryDefinition{c.Value, d.mu.revision}
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
	return m.value, m.revision, nil
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

// Close does nothing.
func (d *MemoryDefinitions) Close() error { return nil }

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
