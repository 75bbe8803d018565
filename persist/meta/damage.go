package meta

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"leveret/core"
	"leveret/persist/vfs"
)

// Damage is a piece of the file that could not be used. Its bytes are kept in
// a file of their own.
type Damage struct {
	File     string // Where it was found.
	Offset   int64
	Length   int64
	SideFile string // Where its bytes are now, or "" if they were left in place.
	Why      string

	// Kind and Key say which definition it was about, as far as that can be
	// seen; Kind 0 is unknown. That definition is missing now, even if an older
	// state of it could be read, because an older state is a wrong one.
	Kind core.DefinitionKind
	Key  []string

	// Unsynced is set for the end of a file that was being written when the
	// power failed: most likely nobody was told that it was stored.
	Unsynced bool
}

// String is for a line of a log.
func (d *Damage) String() string {
	text := fmt.Sprintf("%s: %d bytes at offset %d: %s", d.File, d.Length, d.Offset, d.Why)
	if d.Kind != 0 {
		text += ": " + keyText(string(appendKey(nil, d.Kind, d.Key)))
	}
	if d.SideFile != "" {
		text += "; set aside in " + filepath.Base(d.SideFile)
	}
	return text
}

// DamagedError is returned by Open if it may not set damage aside.
type DamagedError struct{ First Damage }

func (e *DamagedError) Error() string { return e.First.String() }

// diagnosis is what there is to do about a file.
type diagnosis struct {
	*examination
	size   int64
	cut    int64   // Where the torn end begins, or size.
	lost   bool    // Something could not be read.
	places []place // What stays, if the file must be written anew, else nil.
}

// diagnose reads f and hands what cannot stay to side. If all is set it finds
// the places even of a file that may stay as it is.
func (s *Store) diagnose(f vfs.File, side *sideFile, all bool) (*diagnosis, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	x, err := examine(f, size)
	if err != nil {
		return nil, err
	}
	if !x.ours && x.synced == 0 && size > 0 {
		return nil, fmt.Errorf("%s is not a file of definitions", s.path)
	}
	found, damaged := x, x.damaged()
	d := &diagnosis{size: size, cut: x.cut(), lost: len(x.bad) > 0}
	if d.lost {
		if x, err = examine(f, d.cut); err != nil {
			return nil, err
		}
	}
	if x.firstDelete >= 0 && !x.setBehindDelete && len(damaged) == 0 && !x.deletesDiffer {
		// Nobody vouches for these last DELs, and they only tidy up.
		d.cut = x.firstDelete
		if x, err = examine(f, d.cut); err != nil {
			return nil, err
		}
	}
	// What is behind the cut still says something about what is before it.
	x.queueIDs = max(x.queueIDs, found.queueIDs)
	x.revision = max(x.revision, found.revision)
	x.synced = max(x.synced, min(found.synced, d.cut))
	if x.intentOffset < x.synced {
		x.intent = "" // Done, even if what says so is damaged.
	}
	if d.lost {
		x.queueIDs += lostQueueIDs
	}
	d.examination = x
	if all || len(damaged) > 0 || x.deletesDiffer || x.firstDelete >= 0 {
		b, err := s.rebuild(f, d.cut, damaged, side)
		if err != nil {
			return nil, err
		}
		d.places = b.survivors()
	}
	if d.cut < size {
		tail := make([]byte, size-d.cut)
		if _, err := f.ReadAt(tail, d.cut); err != nil {
			return nil, err
		}
		if holdsRecord(tail) {
			side.add(Damage{Offset: d.cut, Length: size - d.cut, Unsynced: true,
				Why: "the end of the file was not synced when it was written last"}, tail)
		}
	}
	return d, nil
}

// repair makes the file at s.path one that buntdb can be trusted with: it cuts
// a torn end off and takes damaged records out. What it takes away it keeps in
// a side file, which is on disk before the file is changed. It returns the
// state of the file as it then is.
func (s *Store) repair(f vfs.File) (*examination, error) {
	side := &sideFile{store: s}
	d, err := s.diagnose(f, side, false)
	if err != nil {
		return nil, err
	}
	if s.options.RefuseDamage {
		for _, found := range side.damage {
			if !found.Unsynced {
				return nil, &DamagedError{found}
			}
		}
	}
	if err := side.write(); err != nil {
		return nil, err
	}
	switch {
	case d.places != nil:
		if err := s.replaceFile(d.places, d.examination); err != nil {
			return nil, err
		}
	case d.cut < d.size:
		if err := errors.Join(f.Truncate(d.cut), f.Sync()); err != nil {
			return nil, fmt.Errorf("cut the torn end off %s: %w", s.path, err)
		}
	}
	for _, found := range side.damage {
		s.options.Logger.Error("damaged definitions set aside", "damage", found.String())
		if s.options.OnDamage != nil {
			s.options.OnDamage(found)
		}
	}
	return d.examination, nil
}

// lostQueueIDs is how many queue ids are left out when anything of the file was
// bad: a reservation, and the marks that repeat it, may be among what is lost.
const lostQueueIDs = 1 << 20

// holdsRecord says whether a good definition begins in b behind its start.
func holdsRecord(b []byte) bool {
	r := newRecordReader(bytes.NewReader(b), "", int64(len(b)))
	for r.at < r.size {
		if rec, ok, _ := r.next(); ok && !rec.delete && checkSeal(rec.key, rec.value) && keyKind(string(rec.key)) != 0 {
			return true
		} else if ok {
			continue
		}
		if r.resync() != nil {
			return false
		}
	}
	return false
}

// place is where the record of a key lies.
type place struct {
	offset, length int64
	tombstone      bool
}

// rebuilding finds out what a damaged file holds.
type rebuilding struct {
	file   vfs.File
	side   *sideFile
	latest map[string]place
	// doubtful are keys whose latest record is damaged, with the report of it.
	doubtful map[string]doubt
}

type doubt struct {
	old   place
	cause Damage
}

// rebuild collects the records that are good and the latest of their key, and
// hands everything else to side.
func (s *Store) rebuild(f vfs.File, cut int64, damaged []region, side *sideFile) (*rebuilding, error) {
	b := &rebuilding{file: f, side: side, latest: make(map[string]place), doubtful: make(map[string]doubt)}
	r := newRecordReader(f, f.Name(), cut)
	for r.at < cut {
		if len(damaged) > 0 && damaged[0].offset == r.at {
			if err := b.damaged(damaged[0]); err != nil {
				return nil, err
			}
			r.at += damaged[0].length
			if r.at > r.start+int64(len(r.window)) {
				r.window, r.start = r.window[:0], r.at
			}
			damaged = damaged[1:]
			continue
		}
		rec, ok, err := r.next()
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, fmt.Errorf("%s changes while it is read", f.Name())
		}
		if err := b.good(&rec); err != nil {
			return nil, err
		}
	}
	for key, d := range b.doubtful {
		if d.old.tombstone {
			continue
		}
		parts, _ := keyParts(key)
		cause := d.cause
		cause.Offset, cause.Length, cause.Kind, cause.Key = d.old.offset, d.old.length, keyKind(key), parts
		cause.Why = fmt.Sprintf("older than the damaged record at %d", d.cause.Offset)
		if err := b.setAside(cause); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (b *rebuilding) read(offset, length int64) ([]byte, error) {
	data := make([]byte, length)
	_, err := b.file.ReadAt(data, offset)
	if err != nil {
		return nil, fmt.Errorf("read %s at %d: %w", b.file.Name(), offset, err)
	}
	return data, nil
}

func (b *rebuilding) setAside(d Damage) error {
	data, err := b.read(d.Offset, d.Length)
	if err == nil {
		b.side.add(d, data)
	}
	return err
}

func (b *rebuilding) good(rec *record) error {
	key := string(rec.key)
	if rec.delete {
		if b.latest[key].tombstone {
			delete(b.latest, key)
			return nil
		}
		return b.setAside(Damage{Offset: rec.offset, Length: rec.length,
			Why: "a deletion of something else has been damaged"})
	}
	delete(b.doubtful, key)
	b.latest[key] = place{rec.offset, rec.length, rec.value[envelopeHeader] == tagTombstone}
	return nil
}

// damaged sets a region aside and doubts the keys that it was about.
func (b *rebuilding) damaged(at region) error {
	data, err := b.read(at.offset, at.length)
	if err != nil {
		return err
	}
	d := Damage{Offset: at.offset, Length: at.length, Why: "damaged"}
	var about []string
	if at.framed {
		d.Why = "the checksum is wrong"
		rec, _ := parseRecordWhole(data)
		// Either the value is damaged, or the key is: then the checksum fits
		// with the right one, if that is known from an older record.
		about = b.find(func(key string) bool {
			return len(key) == len(rec.key) && checkSeal([]byte(key), rec.value)
		})
		if len(about) == 0 {
			about = []string{string(rec.key)}
		}
	} else {
		about = b.find(func(key string) bool {
			return bytes.Contains(data, []byte("\n"+key)) || bytes.Contains(data, []byte(key+"\r"))
		})
	}
	if len(about) == 1 {
		if parts, ok := keyParts(about[0]); ok {
			d.Kind, d.Key = keyKind(about[0]), parts
		}
	}
	b.side.add(d, data)
	for _, key := range about {
		if old, ok := b.latest[key]; ok && keyKind(key) != 0 {
			b.doubtful[key] = doubt{old, d}
			delete(b.latest, key)
		}
	}
	return nil
}

func parseRecordWhole(data []byte) (record, bool) {
	rec, result := parseRecord(data, int64(len(data)))
	return rec, result == parsed
}

func (b *rebuilding) find(match func(key string) bool) []string {
	var keys []string
	for key := range b.latest {
		if match(key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// survivors are the places of what is kept, in their old order.
func (b *rebuilding) survivors() []place {
	out := []place{}
	for key, p := range b.latest {
		if keyKind(key) != 0 && !p.tombstone {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b place) int { return cmp.Compare(a.offset, b.offset) })
	return out
}

// replaceFile puts a new file with the records at places in the old one's place.
func (s *Store) replaceFile(places []place, x *examination) error {
	tmp := s.path + ".tmp"
	err := s.withSpace(func() error {
		old, err := s.fs.OpenFile(s.path, os.O_RDONLY, 0)
		if err != nil {
			return err
		}
		defer old.Close()
		out, err := s.fs.Create(tmp)
		if err != nil {
			return err
		}
		defer out.Close()
		buf := appendSet(nil, keyFormat, formatValue())
		size := int64(len(buf))
		for _, p := range places {
			if len(buf) > windowBytes {
				if _, err := out.Write(buf); err != nil {
					return err
				}
				buf = buf[:0]
			}
			n := len(buf)
			buf = slices.Grow(buf, int(p.length))[:n+int(p.length)]
			if _, err := old.ReadAt(buf[n:], p.offset); err != nil {
				return err
			}
			size += p.length
		}
		// All is synced before the file gets its name, so the mark says so.
		x.instance++
		m := mark{synced: uint64(size), queueIDs: x.queueIDs, revision: x.revision, instance: x.instance}
		buf = appendSet(buf, keyMark, seal(keyMark, m.payload()))
		if _, err := out.Write(buf); err != nil {
			return err
		}
		if err := out.Sync(); err != nil {
			return err
		}
		x.synced, x.sorted, x.deletes, x.firstDelete = size, 0, 0, -1
		return nil
	})
	if err == nil {
		err = errors.Join(s.fs.Rename(tmp, s.path), s.fs.SyncDir(s.dir))
	}
	if err != nil {
		return fmt.Errorf("replace the damaged %s: %w", s.path, err)
	}
	return nil
}

// sideFile collects what is set aside.
type sideFile struct {
	store   *Store
	damage  []Damage
	content bytes.Buffer
}

func (f *sideFile) add(d Damage, data []byte) {
	d.File = f.store.path
	fmt.Fprintf(&f.content, "%s\n", d.String())
	f.content.Write(data)
	f.content.WriteByte('\n')
	f.damage = append(f.damage, d)
}

// write puts everything on disk under a new name.
func (f *sideFile) write() error {
	if len(f.damage) == 0 {
		return nil
	}
	s := f.store
	stem := filepath.Join(s.dir, "defs.damaged-"+s.options.Now().UTC().Format("20060102T150405Z"))
	name := stem
	err := s.withSpace(func() error {
		var out vfs.File
		for i := 2; ; i++ {
			var err error
			out, err = s.fs.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
			if err == nil {
				break
			}
			if !errors.Is(err, fs.ErrExist) {
				return err
			}
			name = fmt.Sprintf("%s-%d", stem, i)
		}
		defer out.Close()
		if _, err := out.Write(f.content.Bytes()); err != nil {
			return err
		}
		return errors.Join(out.Sync(), s.fs.SyncDir(s.dir))
	})
	if err != nil {
		return fmt.Errorf("set damage of %s aside: %w", s.path, err)
	}
	for i := range f.damage {
		f.damage[i].SideFile = name
	}
	return nil
}

// withSpace runs fn, and once more without the ballast if the disk is full.
func (s *Store) withSpace(fn func() error) error {
	err := fn()
	if isFull(err) && s.releaseBallast() {
		err = fn()
	}
	return err
}

// isFull says whether err means that the disk has no room.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
