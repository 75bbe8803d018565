package meta

import (
	"errors"
	"fmt"
	"sync"

	"leveret/core"
)

// watchBatch is how many definitions are reported at once.
const watchBatch = 2048

// Watch implements core.Definitions. What cannot be decoded is reported by
// Options.OnDamage, stays in the file, and is left out.
//
//	buntdb --batches of pairs--> decoder --batches of changes--> fn
func (s *Store) Watch(fn func(changes []core.Change)) error {
	s.applying.Lock()
	defer s.applying.Unlock()
	s.mu.Lock()
	err := s.usableLocked()
	if err == nil && s.mu.watch != nil {
		err = errors.New("definitions are watched already")
	}
	if err == nil {
		s.mu.watch = fn
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}

	read := make(chan []pair, 4)
	decoded := make(chan []core.Change, 4)
	var damage []Damage
	var workers sync.WaitGroup
	workers.Go(func() {
		defer close(read)
		err = s.readPairs(read)
	})
	workers.Go(func() {
		defer close(decoded)
		for pairs := range read {
			changes := make([]core.Change, 0, len(pairs))
			for _, p := range pairs {
				c, err := decodePair(p)
				if err != nil {
					damage = append(damage, Damage{File: s.path, Kind: c.Kind, Key: c.Key, Why: err.Error()})
					continue
				}
				changes = append(changes, c)
			}
			decoded <- changes
		}
	})
	for changes := range decoded {
		if len(changes) > 0 {
			fn(changes)
		}
	}
	workers.Wait()
	if err != nil {
		return fmt.Errorf("read definitions: %w", err)
	}
	for _, d := range damage {
		s.options.Logger.Error("definition left out", "damage", d.String())
		if s.options.OnDamage != nil {
			s.options.OnDamage(d)
		}
	}
	return nil
}

// readPairs sends every definition to out, in batches of one kind.
func (s *Store) readPairs(out chan<- []pair) error {
	batch := make([]pair, 0, watchBatch)
	err := s.bunt.ascend("a", func(key, value string) bool {
		if len(value) > envelopeHeader && value[envelopeHeader] == tagTombstone {
			return true
		}
		if len(batch) == watchBatch || len(batch) > 0 && batch[0].key[0] != key[0] {
			out <- batch
			batch = make([]pair, 0, watchBatch)
		}
		batch = append(batch, pair{key, value})
		return true
	})
	out <- batch
	return err
}

func decodePair(p pair) (core.Change, error) {
	c := core.Change{Kind: keyKind(p.key)}
	parts, ok := keyParts(p.key)
	if !ok {
		return c, errEnvelope
	}
	c.Key = parts
	content, err := openEnvelope(p.value)
	if err != nil {
		return c, err
	}
	c.Value, err = decodeDefinition(c.Kind, parts, content.rest)
	return c, err
}
