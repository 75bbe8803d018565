package meta

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"leveret/core"
)

// How a commit goes.
//
//	Commit ----> checked against the latest accepted state, queued
//	               |
//	          the first in the queue leads, the others sleep
//	               |
//	     [intent] -> changes -> [intent done]     one write call each
//	               |
//	          fdatasync through our own descriptor
//	               |
//	          applied in order, the watch called, committers woken
//	               |
//	     [DELs of tombstones] -> mark             not synced: a help for Open
//
// While one group is being synced the next one gathers, so that any number of
// committers share a sync and a single one does not wait for others. There is
// no goroutine: the first of the next group is woken to lead it.
//
// If one commit of a group changes several keys, the whole group is first
// written as an intent: then a torn end holds all of it or, cut before the
// intent, nothing of it.
//
// A commit that is queued counts for the revisions that later ones expect, but
// Get shows it only when it is applied. A later one that finds its revision
// changed by a queued commit waits for that, so that it can read the new one.

// commit is a call of Commit on its way.
type commit struct {
	changes []core.Change
	keys    []string
	fields  [][]byte // Of what is to be written.
	own     []pair   // Records of ours.

	revisions []uint64 // Of the changes that put something.
	writes    int      // How many keys it may have to write.
	puts      bool     // It writes something that is not a deletion.

	lead chan struct{} // Closed when it shall write the next group.
	done chan struct{} // Closed when err is known.
	err  error
}

// stored is the state of one key; revision 0 is none.
type stored struct {
	value    any    // Of what is transient.
	fields   string // Of what is not.
	revision uint64
	durable  bool
}

// pendingKey is a key that queued commits change.
type pendingKey struct {
	applied  stored // What Get shows.
	revision uint64 // What it will be.
	durable  bool   // Whether that will be on disk.
	last     *commit
	commits  int
}

// Commit implements core.Definitions. Deletions go to disk if what they delete
// is there, whether they are called transient or not, and so does the end of a
// durable definition that a transient one replaces.
//
// Errors: core.ErrConflict, ErrDiskFull, ErrClosed, one for a value that cannot
// be stored, and once a write has failed the reason, for ever.
func (s *Store) Commit(changes []core.Change) error {
	c := &commit{changes: changes, keys: make([]string, len(changes)), fields: make([][]byte, len(changes))}
	for i := range changes {
		ch := &changes[i]
		if ch.Kind == 0 || ch.Kind > kindMax {
			return fmt.Errorf("there is no kind of definition %d", ch.Kind)
		}
		c.keys[i] = string(appendKey(nil, ch.Kind, ch.Key))
		if ch.Value == nil || ch.Transient {
			continue
		}
		var err error
		if c.fields[i], err = appendDefinition(nil, ch.Kind, ch.Key, ch.Value); err != nil {
			return fmt.Errorf("%s: %w", keyText(c.keys[i]), err)
		}
	}
	return s.commit(c)
}

func (s *Store) commit(c *commit) error {
	s.refillBallast()
	s.mu.Lock()
	if err := s.usableLocked(); err != nil {
		s.mu.Unlock()
		return err
	}
	s.inFlight.Add(1)
	s.mu.Unlock()
	defer s.inFlight.Done()

	if len(c.own) == 0 {
		if done, err := s.commitTransient(c); done {
			return err
		}
	}
	s.mu.Lock()
	if wait, err := s.acceptLocked(c); err != nil {
		s.mu.Unlock()
		if wait != nil {
			<-wait.done
		}
		return err
	}
	c.lead, c.done = make(chan struct{}), make(chan struct{})
	s.mu.queue = append(s.mu.queue, c)
	leads := !s.mu.leading
	s.mu.leading = true
	s.mu.Unlock()
	if !leads {
		select {
		case <-c.done:
			return c.err
		case <-c.lead:
		}
	}
	s.leadGroup()
	return c.err
}

func (s *Store) usableLocked() error {
	if s.mu.closed {
		return ErrClosed
	}
	return s.mu.err
}

// commitTransient makes a commit that needs no disk at once, if nothing queued
// is about the same keys.
func (s *Store) commitTransient(c *commit) (done bool, err error) {
	for i := range c.changes {
		if !c.changes[i].Transient {
			return false, nil
		}
	}
	s.applying.Lock()
	defer s.applying.Unlock()
	s.mu.Lock()
	for i, key := range c.keys {
		st, err := s.storedLocked(key)
		if err != nil || st.durable || s.mu.pending[key] != nil {
			s.mu.Unlock()
			return false, nil
		}
		if was := c.changes[i].Was; was != core.AnyRevision && was != st.revision {
			s.mu.Unlock()
			return true, core.ErrConflict
		}
	}
	if err := s.usableLocked(); err != nil {
		s.mu.Unlock()
		return true, err
	}
	for i, key := range c.keys {
		if c.changes[i].Value == nil {
			delete(s.mu.transient, key)
			continue
		}
		s.mu.revision++
		s.mu.transient[key] = stored{value: c.changes[i].Value, revision: s.mu.revision}
	}
	watch := s.mu.watch
	s.mu.Unlock()
	if watch != nil {
		watch(c.changes)
	}
	return true, nil
}

// storedLocked returns what is applied at key, or written, if it is not pending.
func (s *Store) storedLocked(key string) (stored, error) {
	if st, ok := s.mu.transient[key]; ok {
		return st, nil
	}
	value := s.bunt.get(key)
	if value == "" {
		return stored{}, nil
	}
	c, err := openEnvelope(value)
	if err != nil || c.tag != tagDefinition {
		return stored{}, err
	}
	return stored{fields: c.rest, revision: c.revision, durable: true}, nil
}

// acceptLocked checks c against what is stored and queued, and makes it count.
// With ErrConflict, it may return a commit to wait for.
func (s *Store) acceptLocked(c *commit) (wait *commit, err error) {
	if err := s.usableLocked(); err != nil {
		return nil, err
	}
	c.writes, c.puts = len(c.own), len(c.own) > 0
	olds := make([]stored, len(c.keys))
	for i, key := range c.keys {
		p := s.mu.pending[key]
		if p != nil {
			olds[i] = stored{revision: p.revision, durable: p.durable, fields: p.applied.fields}
		} else if olds[i], err = s.storedLocked(key); err != nil {
			return nil, fmt.Errorf("%s: %w", keyText(key), err)
		}
		ch := &c.changes[i]
		if ch.Was != core.AnyRevision && ch.Was != olds[i].revision {
			if p != nil {
				wait = p.last
			}
			return wait, core.ErrConflict
		}
		if c.fields[i] != nil || ch.Value != nil && !ch.Transient {
			c.puts = true
			c.writes++
			if olds[i].fields != "" {
				c.fields[i] = append(c.fields[i], unknownFields(ch.Kind, olds[i].fields)...)
			}
		} else if olds[i].durable || p != nil {
			c.writes++
		}
	}
	if c.puts && s.mu.full {
		return nil, ErrDiskFull
	}
	c.revisions = make([]uint64, len(c.keys))
	for i, key := range c.keys {
		p := s.mu.pending[key]
		if p == nil {
			p = &pendingKey{applied: olds[i]}
			s.mu.pending[key] = p
		}
		if c.changes[i].Value != nil {
			s.mu.revision++
			c.revisions[i] = s.mu.revision
		}
		p.revision = c.revisions[i]
		p.durable = c.changes[i].Value != nil && !c.changes[i].Transient
		p.last = c
		p.commits++
	}
	return nil, nil
}

// leadGroup writes what is queued and wakes those who wait for it.
func (s *Store) leadGroup() {
	w := &s.writing
	w.Lock()
	s.mu.Lock()
	group := s.mu.queue
	s.mu.queue = nil
	err := s.mu.err
	s.mu.Unlock()
	if err == nil {
		err = s.writeGroupLocked(group)
	}
	if errors.Is(err, ErrDiskFull) {
		s.mu.Lock()
		// What was queued meanwhile counts on what has failed.
		group = append(group, s.mu.queue...)
		s.mu.queue = nil
		s.mu.Unlock()
	}
	s.apply(group, err)
	if err == nil {
		err = s.markLocked()
		s.growBallastLocked()
		s.shrinkIfWorthLocked()
	}
	w.Unlock()

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.err == nil && err != nil && !errors.Is(err, ErrDiskFull) {
		s.poisonLocked(err)
	}
	if len(s.mu.queue) == 0 {
		s.mu.leading = false
		return
	}
	close(s.mu.queue[0].lead)
}

func (s *Store) poisonLocked(err error) {
	s.mu.err = fmt.Errorf("definitions can no longer be stored in %s: %w", s.path, err)
	s.options.Logger.Error("definitions can no longer be stored", "file", s.path, "error", err)
}

// apply makes a group visible, or fails it.
func (s *Store) apply(group []*commit, err error) {
	if err != nil && !errors.Is(err, ErrDiskFull) {
		s.mu.Lock()
		if s.mu.err == nil {
			s.poisonLocked(err)
		}
		err = s.mu.err
		s.mu.Unlock()
	}
	s.applying.Lock()
	defer s.applying.Unlock()
	for _, c := range group {
		s.mu.Lock()
		for i, key := range c.keys {
			s.applyOneLocked(c, i, key, err)
		}
		watch := s.mu.watch
		s.mu.Unlock()
		if err == nil && watch != nil && len(c.changes) > 0 {
			watch(c.changes)
		}
		c.err = err
	}
	for _, c := range group {
		close(c.done)
	}
}

func (s *Store) applyOneLocked(c *commit, i int, key string, err error) {
	p, ch := s.mu.pending[key], &c.changes[i]
	if err == nil {
		p.applied = stored{}
		delete(s.mu.transient, key)
		if ch.Value != nil {
			p.applied = stored{fields: string(c.fields[i]), revision: c.revisions[i], durable: !ch.Transient}
			if ch.Transient {
				p.applied.value = ch.Value
				s.mu.transient[key] = p.applied
			}
		}
	}
	// After a failure buntdb may hold what nobody was promised, so that Get
	// goes on reading here.
	if p.commits--; p.commits == 0 && s.mu.err == nil {
		delete(s.mu.pending, key)
	}
}

// writeGroupLocked puts what group changes on disk. writing must be held.
func (s *Store) writeGroupLocked(group []*commit) error {
	changes, several := s.collectLocked(group)
	if len(changes) == 0 {
		return nil
	}
	err := s.withSpace(func() error { return s.writeLocked(changes, several) })
	if isFull(err) {
		s.setFull()
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	if err != nil {
		return err
	}
	if err := s.syncLocked(); err != nil {
		return err
	}
	return nil
}

// collectLocked returns what a group changes on disk: the last state of each
// key. several says whether any commit needs more than one of them.
func (s *Store) collectLocked(group []*commit) (changes []pair, several bool) {
	index := make(map[string]int)
	put := func(key, value string) {
		if i, ok := index[key]; ok {
			changes[i].value = value
			return
		}
		index[key] = len(changes)
		changes = append(changes, pair{key, value})
	}
	for _, c := range group {
		several = several || c.writes > 1
		for _, p := range c.own {
			put(p.key, p.value)
		}
		for i, key := range c.keys {
			ch := &c.changes[i]
			if ch.Value != nil && !ch.Transient {
				payload := binary.AppendUvarint([]byte{tagDefinition}, c.revisions[i])
				put(key, seal(key, append(payload, c.fields[i]...)))
				continue
			}
			_, changed := index[key]
			if old := s.bunt.get(key); changed || old != "" && old[envelopeHeader] == tagDefinition {
				put(key, seal(key, tombstonePayload(c.revisions[i])))
			}
		}
	}
	return changes, several
}

// writeLocked hands changes to buntdb, which writes them. If it fails for lack
// of space the file is as it was, but for an intent that says nothing.
func (s *Store) writeLocked(changes []pair, several bool) error {
	w := &s.writing
	olds := make([]string, len(changes))
	for i, p := range changes {
		olds[i] = s.bunt.get(p.key)
	}
	done := []pair{{keyIntent, seal(keyIntent, tombstonePayload(0))}}
	if several {
		intent := []byte{tagOwn}
		for _, p := range changes {
			intent = appendIntent(intent, p.key, p.value)
		}
		if err := s.bunt.update([]pair{{keyIntent, seal(keyIntent, intent)}}, nil); err != nil {
			return err
		}
	}
	err := s.bunt.update(changes, nil)
	if several && (err == nil || isFull(err)) {
		if undo := s.bunt.update(done, nil); undo != nil && err == nil {
			err = undo
		} else if undo != nil {
			// The intent would be redone by the next Open.
			return fmt.Errorf("the disk is full and a change cannot be taken back: %v", undo)
		}
	}
	if err != nil {
		return err
	}
	for i, p := range changes {
		if olds[i] != "" && olds[i][envelopeHeader] != tagTombstone {
			w.live -= setLength(p.key, olds[i])
		}
		if p.value[envelopeHeader] == tagTombstone {
			w.tombstones = append(w.tombstones, p.key)
		} else {
			w.live += setLength(p.key, p.value)
		}
	}
	return nil
}

// syncLocked returns when everything written is on disk. While the file is
// being replaced it lets go of the lock to wait for the new one, if it cannot
// be sure that what it has synced is what will be read.
func (s *Store) syncLocked() error {
	w := &s.writing
	for {
		size, err := w.file.Size()
		if err != nil {
			return err
		}
		if err := w.file.Sync(); err != nil {
			return fmt.Errorf("sync: %w", err)
		}
		if w.swapped == nil {
			w.size, w.synced = size, size
			return nil
		}
		// Nothing can have been written to the new file before it has the name;
		// and the former one comes back after a crash until the new one is synced.
		if now, err := s.fs.Stat(s.path); err == nil && os.SameFile(now, w.identity) {
			return nil
		}
		swapped := w.swapped
		w.Unlock()
		<-swapped
		w.Lock()
		s.mu.Lock()
		err = s.mu.err
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// markLocked deletes the tombstones of what is synced and writes down how far
// that goes. Neither is needed, so a full disk is no error.
func (s *Store) markLocked() error {
	w := &s.writing
	if w.swapped != nil {
		return nil // Places in the file are about to change.
	}
	if len(w.tombstones) > 0 {
		// Some may have been put again since.
		gone := w.tombstones[:0]
		for _, key := range w.tombstones {
			if v := s.bunt.get(key); v != "" && v[envelopeHeader] == tagTombstone {
				gone = append(gone, key)
			}
		}
		err := s.bunt.update(nil, gone)
		if err != nil {
			return ignoreFull(err)
		}
		for _, key := range gone {
			w.deletes += deleteSum([]byte(key))
		}
		w.tombstones = nil
	}
	return s.writeMarkLocked(w.synced)
}

func (s *Store) writeMarkLocked(synced int64) error {
	w := &s.writing
	s.mu.Lock()
	m := mark{synced: uint64(synced), deletes: w.deletes, queueIDs: s.queueIDs.Load(), revision: s.mu.revision,
		instance: w.instance, former: w.former}
	s.mu.Unlock()
	err := s.bunt.update([]pair{{keyMark, seal(keyMark, m.payload())}}, nil)
	if err == nil {
		w.deletes = 0
	}
	return ignoreFull(err)
}

func ignoreFull(err error) error {
	if isFull(err) {
		return nil
	}
	return err
}
