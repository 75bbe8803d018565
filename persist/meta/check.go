package meta

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"leveret/core"
	"leveret/persist/vfs"
)

// Check reads the store in dir, which must not be open anywhere, and changes
// nothing. It calls each, if that is not nil, for every definition that Open
// would serve, and returns what Open would set aside.
func Check(fsys vfs.FS, dir string, each func(c core.Change)) ([]Damage, error) {
	s := &Store{fs: fsys, dir: dir, path: filepath.Join(dir, fileName)}
	if _, err := fsys.Stat(s.path); err != nil {
		return nil, err
	}
	lock, err := fsys.Lock(filepath.Join(dir, lockName))
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	prev := filepath.Join(dir, prevName)
	if _, err := fsys.Stat(prev); err == nil {
		s.path = prev // As Open would do.
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := fsys.OpenFile(s.path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	side := &sideFile{store: s}
	d, err := s.diagnose(f, side, true)
	if err != nil {
		return nil, err
	}
	// What an intent says comes last, as when it is redone.
	redone := make(map[string]string)
	if err := eachIntent(d.intent, func(key, value string) { redone[key] = value }); err != nil {
		return nil, err
	}
	report := func(key, value string) {
		if value[envelopeHeader] != tagDefinition || keyKind(key) == 0 {
			return
		}
		if c, err := decodePair(pair{key, value}); err != nil {
			side.damage = append(side.damage, Damage{File: s.path, Kind: c.Kind, Key: c.Key, Why: err.Error()})
		} else if each != nil {
			each(c)
		}
	}
	for _, p := range d.places {
		data := make([]byte, p.length)
		if _, err := f.ReadAt(data, p.offset); err != nil {
			return nil, err
		}
		rec, _ := parseRecordWhole(data)
		if key := string(rec.key); redone[key] == "" {
			report(key, string(rec.value))
		}
	}
	for key, value := range redone {
		report(key, value)
	}
	return side.damage, nil
}
