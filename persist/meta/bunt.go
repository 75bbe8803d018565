package meta

import (
	"errors"
	"fmt"

	"github.com/tidwall/buntdb"
)

// bunt is the only place that touches buntdb. It writes each transaction with
// one write call at the end of its file and syncs nothing.
type bunt struct {
	db *buntdb.DB

	// before, if set, is called before each transaction, which fails with its
	// error: tests cannot get between buntdb and its file.
	before func() error
}

// pair is a key and the sealed value that it gets.
type pair struct{ key, value string }

func openBunt(path string) (*bunt, error) {
	db, err := buntdb.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	err = db.SetConfig(buntdb.Config{SyncPolicy: buntdb.Never, AutoShrinkDisabled: true})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &bunt{db: db}, nil
}

// update makes one transaction. If it fails the file is as before, unless
// buntdb could not put it back, which it says by a panic.
func (b *bunt) update(sets []pair, deletes []string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the file is in doubt: %v", p)
		}
	}()
	if b.before != nil {
		if err := b.before(); err != nil {
			return err
		}
	}
	return b.db.Update(func(tx *buntdb.Tx) error {
		for _, p := range sets {
			if _, _, err := tx.Set(p.key, p.value, nil); err != nil {
				return err
			}
		}
		for _, key := range deletes {
			if _, err := tx.Delete(key); err != nil && !errors.Is(err, buntdb.ErrNotFound) {
				return err
			}
		}
		return nil
	})
}

// get returns the sealed value at key, or "".
func (b *bunt) get(key string) string {
	var value string
	_ = b.db.View(func(tx *buntdb.Tx) error { // The only error is that there is none.
		value, _ = tx.Get(key)
		return nil
	})
	return value
}

// ascend calls fn for every key from pivot on, in order, until it returns false.
func (b *bunt) ascend(pivot string, fn func(key, value string) bool) error {
	return b.db.View(func(tx *buntdb.Tx) error {
		return tx.AscendGreaterOrEqual("", pivot, fn)
	})
}

// shrink writes the file anew. It takes at least 250 ms.
func (b *bunt) shrink() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the file is in doubt: %v", p)
		}
	}()
	return b.db.Shrink()
}

func (b *bunt) close() error { return b.db.Close() }
