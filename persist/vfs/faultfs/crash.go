package faultfs

import (
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
)

type eventKind uint8

const (
	eventWrite      eventKind = iota // inode, offset, data
	eventTruncate                    // inode, offset (the size)
	eventSync                        // inode
	eventSyncFailed                  // inode
	eventName                        // name, inode: a creation or link
	eventRemove                      // name, inode
	eventRename                      // name, to, inode
	eventSyncDir                     // name
)

// event is one recorded change. It is never changed.
type event struct {
	kind     eventKind
	inode    int
	offset   int64
	data     []byte
	name, to string
}

// SectorBytes is what a disk writes whole or not at all.
const SectorBytes = 512

// disk is what has been made of a list of events: what is certainly on disk,
// and what perhaps is.
type disk struct {
	files map[int]*diskFile
	names map[string]int // Synced.
	later []event        // Changes of names that are not synced.
	stale [][]byte       // Sectors written lately, of any file.
}

type diskFile struct {
	synced []byte
	later  []change // What came after it, in order.
}

// change is a write or truncation that is not in diskFile.synced.
type change struct {
	event
	state changeState
}

type changeState uint8

const (
	changeOpen  changeState = iota // Not synced yet.
	changeLost                     // Its sync failed: it may be there, and no later sync helps.
	changeKnown                    // Synced, but behind one that is lost.
)

const staleMax = 64

func newDisk() *disk {
	return &disk{files: make(map[int]*diskFile), names: make(map[string]int)}
}

func (d *disk) file(id int) *diskFile {
	f := d.files[id]
	if f == nil {
		f = new(diskFile)
		d.files[id] = f
	}
	return f
}

func (d *disk) clone() *disk {
	c := &disk{files: make(map[int]*diskFile, len(d.files)), names: maps.Clone(d.names)}
	for id, f := range d.files {
		c.files[id] = &diskFile{synced: slices.Clone(f.synced)}
	}
	return c
}

// apply adds one event.
func (d *disk) apply(e event) {
	switch e.kind {
	case eventWrite:
		if s := e.data[:min(len(e.data), SectorBytes)]; len(d.stale) < staleMax {
			d.stale = append(d.stale, s)
		} else {
			d.stale[(int(e.offset)+len(e.data))%staleMax] = s
		}
		f := d.file(e.inode)
		f.later = append(f.later, change{event: e})
	case eventTruncate:
		f := d.file(e.inode)
		f.later = append(f.later, change{event: e})
	case eventSync:
		d.file(e.inode).sync()
	case eventSyncFailed:
		for i := range d.file(e.inode).later {
			if c := &d.file(e.inode).later[i]; c.state == changeOpen {
				c.state = changeLost
			}
		}
	case eventSyncDir:
		d.later = slices.DeleteFunc(d.later, func(l event) bool {
			if l.dir() != e.name {
				return false
			}
			applyName(d.names, l)
			return true
		})
	default:
		d.later = append(d.later, e)
	}
}

func (f *diskFile) sync() {
	kept := f.later[:0]
	for _, c := range f.later {
		if c.state == changeOpen {
			c.state = changeKnown
		}
		if c.state == changeKnown && len(kept) == 0 {
			f.synced = applyWhole(f.synced, c.event)
			continue
		}
		kept = append(kept, c)
	}
	f.later = kept
}

// dir returns the directory whose sync puts a change of names on disk.
func (e *event) dir() string {
	if e.kind == eventRename {
		return filepath.Dir(e.to)
	}
	return filepath.Dir(e.name)
}

func applyName(names map[string]int, e event) {
	switch e.kind {
	case eventName:
		names[e.name] = e.inode
	case eventRemove:
		delete(names, e.name)
	case eventRename:
		if names[e.name] == e.inode {
			delete(names, e.name)
		}
		names[e.to] = e.inode
	}
}

func applyWhole(data []byte, e event) []byte {
	if e.kind == eventTruncate {
		return resize(data, e.offset)
	}
	if end := e.offset + int64(len(e.data)); end > int64(len(data)) {
		data = resize(data, end)
	}
	copy(data[e.offset:], e.data)
	return data
}

func resize(data []byte, size int64) []byte {
	old := len(data)
	if size <= int64(old) {
		clear(data[size:])
		return data[:size]
	}
	data = slices.Grow(data, int(size)-old)[:size]
	clear(data[old:])
	return data
}

// CrashAt returns the disk as a power cut after the first ops recorded changes
// may have left it; seed decides what of the unsynced is there. The result is
// a disk of its own with the same size; what is on it is synced. Ascending ops
// are cheapest. The receiver may go on.
func (f *FS) CrashAt(ops int, seed uint64) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.replay == nil || ops < f.mu.done {
		f.mu.replay, f.mu.done = f.base.clone(), 0
	}
	for ; f.mu.done < ops; f.mu.done++ {
		f.mu.replay.apply(f.mu.log[f.mu.done])
	}
	return fromDisk(f.mu.replay.cut(seed), f.mu.dirs, f.mu.limit)
}

// Crash is CrashAt now.
func (f *FS) Crash(seed uint64) *FS { return f.CrashAt(f.Ops(), seed) }

// KillAt returns the disk as it is when only the process ends after the first
// ops recorded changes: everything is there.
func (f *FS) KillAt(ops int) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.base.clone()
	for _, e := range f.mu.log[:ops] {
		switch e.kind {
		case eventWrite, eventTruncate:
			n := d.file(e.inode)
			n.synced = applyWhole(n.synced, e)
		default:
			applyName(d.names, e)
		}
	}
	return fromDisk(d, f.mu.dirs, f.mu.limit)
}

// cutter decides what of the unsynced is on disk.
type cutter struct {
	*rand.Rand
	likely float64 // How likely a change is there: none, few, half, most or all.
	stale  [][]byte
}

func (c *cutter) there() bool { return c.Float64() < c.likely }

// cut returns what is on d after a power cut.
func (d *disk) cut(seed uint64) *disk {
	c := &cutter{Rand: rand.New(rand.NewPCG(seed, 0x1e7e2e7)), stale: d.stale}
	chances := []float64{0, 0.1, 0.5, 0.5, 0.9, 1}
	c.likely = chances[c.IntN(len(chances))]

	out := newDisk()
	out.names = maps.Clone(d.names)
	for _, e := range d.later {
		if c.there() {
			applyName(out.names, e)
		}
	}
	ids := slices.Sorted(maps.Values(out.names)) // In an order that the seed repeats.
	for _, id := range slices.Compact(ids) {
		c.likely = chances[c.IntN(len(chances))]
		out.files[id] = &diskFile{synced: c.cutFile(d.file(id))}
	}
	return out
}

func (c *cutter) cutFile(f *diskFile) []byte {
	data := slices.Clone(f.synced)
	for _, l := range f.later {
		switch {
		case l.state == changeKnown:
			data = applyWhole(data, l.event)
		case l.kind == eventTruncate:
			if c.there() {
				data = resize(data, l.offset)
			}
		default:
			data = c.cutWrite(data, l.event)
		}
	}
	return data
}

// cutWrite writes some of the sectors of e.
func (c *cutter) cutWrite(data []byte, e event) []byte {
	size := int64(len(data))
	grown := c.there() // The new size may be there without the data.
	for at, rest := e.offset, e.data; len(rest) > 0; {
		part := rest[:min(int64(len(rest)), SectorBytes-at%SectorBytes)]
		there := c.there()
		if end := at + int64(len(part)); end > int64(len(data)) && (there || grown) {
			data = resize(data, end)
			c.fill(data[size:end])
			size = end
		}
		if there {
			copy(data[at:], part)
		}
		at += int64(len(part))
		rest = rest[len(part):]
	}
	return data
}

// fill puts zeros, stale data or rubbish into b, which the file never held.
func (c *cutter) fill(b []byte) {
	switch c.IntN(3) {
	case 0:
		clear(b)
	case 1:
		if len(c.stale) > 0 {
			for len(b) > 0 {
				n := copy(b, c.stale[c.IntN(len(c.stale))])
				b = b[n:]
			}
		}
	case 2:
		for i := range b {
			b[i] = byte(c.Uint32())
		}
	}
}
