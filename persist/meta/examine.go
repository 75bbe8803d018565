package meta

import (
	"bytes"
	"errors"
	"fmt"

	"leveret/persist/vfs"
)

// formatVersion is the format of files that this version writes; it reads only
// this one and those before it.
const formatVersion = 1

// ErrNewerFormat is returned by Open for a file that a later version wrote.
var ErrNewerFormat = errors.New("written by a later version")

// region is a piece of the file that is not a good record.
type region struct {
	offset, length int64
	framed         bool // It has the form of a record, but its crc is wrong.
}

// examination is what one reading of a file of records has found.
type examination struct {
	size    int64
	records int
	ours    bool // It begins as our files do.
	bad     []region

	// synced is the highest offset before which a good mark says that
	// everything was synced. A bad region from there on is a torn end, which
	// nobody was promised; one before it is damage.
	synced   int64
	queueIDs uint64
	revision uint64

	// instances are those of the file: that of its first mark, and any that
	// follows one of them. After a power cut its end may be a piece of what the
	// file was before Shrink, with marks that must not be believed here.
	instances map[uint64]bool
	instance  uint64

	// The definitions before sorted are in the order of their keys, as Shrink
	// writes them. buntdb loads those twice as fast.
	sorted   int64
	lastKey  []byte
	unsorted bool

	intent       string // The changes of the last intent, if it is not done.
	intentOffset int64

	// DELs have no crc: a mark that follows vouches for them by their sum.
	deletes         uint64
	firstDelete     int64 // The first DEL that no mark vouches for, or -1.
	setBehindDelete bool  // Something else follows it.
	deletesDiffer   bool  // A mark says that a DEL is damaged.
}

// examine reads the first size bytes of f.
func examine(f vfs.File, size int64) (*examination, error) {
	x := &examination{size: size, firstDelete: -1, instances: make(map[uint64]bool)}
	r := newRecordReader(f, f.Name(), size)
	for {
		rec, ok, err := r.next()
		if err != nil {
			return nil, err
		}
		if !ok {
			if r.at == size {
				return x, nil
			}
			start := r.at
			if err := r.resync(); err != nil {
				return nil, err
			}
			x.bad = append(x.bad, region{offset: start, length: r.at - start})
			continue
		}
		if !rec.delete && (!checkSeal(rec.key, rec.value) || rec.offset > 0 && string(rec.key) == keyFormat) {
			x.bad = append(x.bad, region{offset: rec.offset, length: rec.length, framed: true})
			continue
		}
		x.records++
		if err := x.add(&rec); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
	}
}

func (x *examination) add(rec *record) error {
	if rec.delete {
		x.deletes += deleteSum(rec.key)
		if x.firstDelete < 0 {
			x.firstDelete = rec.offset
		}
		return nil
	}
	payload := rec.value[envelopeHeader:]
	if len(rec.key) != 1 {
		if revision, n := uvarint(string(payload[1:min(len(payload), 11)])); n > 0 {
			x.revision = max(x.revision, revision)
		}
		x.setBehindDelete = x.setBehindDelete || x.firstDelete >= 0
		if !x.unsorted {
			if x.unsorted = bytes.Compare(rec.key, x.lastKey) <= 0; !x.unsorted {
				x.lastKey = append(x.lastKey[:0], rec.key...)
				x.sorted = rec.offset + rec.length
			}
		}
		return nil
	}
	switch string(rec.key) {
	case keyFormat:
		if v, n := uvarint(string(payload[1:])); n <= 0 || v > formatVersion {
			return ErrNewerFormat
		}
		x.ours = x.ours || rec.offset == 0
	case keyMark:
		m, ok := decodeMark(string(payload[1:]))
		if !ok {
			return ErrNewerFormat
		}
		if len(x.instances) > 0 && !x.instances[m.instance] && !x.instances[m.former] {
			return nil
		}
		x.instances[m.instance] = true
		x.instance = m.instance
		x.deletesDiffer = x.deletesDiffer || m.deletes != x.deletes
		x.deletes, x.firstDelete, x.setBehindDelete = 0, -1, false
		x.queueIDs = max(x.queueIDs, m.queueIDs)
		x.revision = max(x.revision, m.revision)
		// After Shrink a mark may stand nearer to the start than where it was
		// written; what it says is then void, or true all the same.
		if m.synced <= uint64(rec.offset) {
			x.synced = max(x.synced, int64(m.synced))
		}
		return nil
	case keyQueueIDs:
		if v, n := uvarint(string(payload[1:])); n > 0 {
			x.queueIDs = max(x.queueIDs, v)
		}
	case keyIntent:
		x.intent, x.intentOffset = "", rec.offset
		if payload[0] == tagOwn {
			x.intent = string(payload[1:])
		}
	}
	x.setBehindDelete = x.setBehindDelete || x.firstDelete >= 0
	return nil
}

// cut returns where the torn end begins, or the size.
func (x *examination) cut() int64 {
	for _, b := range x.bad {
		if b.offset >= x.synced {
			return b.offset
		}
	}
	return x.size
}

// damaged returns the bad regions that are not in the torn end.
func (x *examination) damaged() []region {
	for i, b := range x.bad {
		if b.offset >= x.synced {
			return x.bad[:i]
		}
	}
	return x.bad
}
