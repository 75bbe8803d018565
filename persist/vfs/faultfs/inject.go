package faultfs

import (
	"io"
	"io/fs"
	"sync"
	"syscall"
	"time"

	"leveret/persist/vfs"
)

// Op is a kind of operation.
type Op string

// The operations that an Injector sees. Create counts as OpOpen, Write and
// WriteAt both as OpWrite.
const (
	OpOpen        Op = "open"
	OpRename      Op = "rename"
	OpRemove      Op = "remove"
	OpLink        Op = "link"
	OpReadDir     Op = "readdir"
	OpMkdirAll    Op = "mkdir"
	OpStat        Op = "stat"
	OpSyncDir     Op = "syncdir"
	OpLock        Op = "lock"
	OpFreeSpace   Op = "freespace"
	OpRead        Op = "read"
	OpWrite       Op = "write"
	OpTruncate    Op = "truncate"
	OpSync        Op = "sync"
	OpPreallocate Op = "preallocate"
	OpClose       Op = "close"
)

// Ops are all operations.
var Ops = []Op{OpOpen, OpRename, OpRemove, OpLink, OpReadDir, OpMkdirAll, OpStat, OpSyncDir, OpLock,
	OpFreeSpace, OpRead, OpWrite, OpTruncate, OpSync, OpPreallocate, OpClose}

// Fault makes operations fail.
type Fault struct {
	Op   Op
	Nth  int   // The first to fail, counted from Add; 0 and 1 are the next one.
	For  int   // How many fail from there; 0 is one, negative all.
	Err  error // nil is EIO.
	Half bool  // A write puts half of its bytes there before it fails.

	// Match says which files it is about; nil is all. A rename and a link go by
	// their old name.
	Match func(name string) bool
}

// Injector is a vfs.FS that passes everything to another one, except what it
// is told to spoil. Any goroutine
// may use it.
type Injector struct {
	inner vfs.FS

	mu struct {
		sync.Mutex
		faults    []*armedFault
		count     map[Op]int
		syncDelay time.Duration
		before    func(op Op, name string)
	}
}

type armedFault struct {
	Fault
	seen int
}

// Inject returns an Injector around inner that spoils nothing yet.
func Inject(inner vfs.FS) *Injector {
	i := &Injector{inner: inner}
	i.mu.count = make(map[Op]int)
	return i
}

// Add arms a fault.
func (i *Injector) Add(f Fault) {
	if f.Err == nil {
		f.Err = syscall.EIO
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.mu.faults = append(i.mu.faults, &armedFault{Fault: f})
}

// Clear disarms all faults.
func (i *Injector) Clear() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.mu.faults = nil
}

// Count returns how many operations of a kind were asked for.
func (i *Injector) Count(op Op) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.mu.count[op]
}

// SetSyncDelay makes each Sync take d longer.
func (i *Injector) SetSyncDelay(d time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.mu.syncDelay = d
}

// SetBefore has fn called before each operation; it may block. nil ends that.
func (i *Injector) SetBefore(fn func(op Op, name string)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.mu.before = fn
}

// check counts an operation, waits as told and returns the fault it meets.
func (i *Injector) check(op Op, name string) *Fault {
	i.mu.Lock()
	i.mu.count[op]++
	before, delay := i.mu.before, time.Duration(0)
	if op == OpSync {
		delay = i.mu.syncDelay
	}
	var hit *Fault
	for _, f := range i.mu.faults {
		if f.Op != op || f.Match != nil && !f.Match(name) {
			continue
		}
		f.seen++
		past := f.seen - max(f.Nth, 1)
		if hit == nil && past >= 0 && (f.For < 0 || past < max(f.For, 1)) {
			hit = &f.Fault
		}
	}
	i.mu.Unlock()
	if before != nil {
		before(op, name)
	}
	if delay > 0 {
		time.Sleep(delay)
	}
	return hit
}

// fail is check for operations that fail whole.
func (i *Injector) fail(op Op, name string) error {
	if f := i.check(op, name); f != nil {
		return pathError(string(op), name, f.Err)
	}
	return nil
}

// OpenFile implements vfs.FS.
func (i *Injector) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	if err := i.fail(OpOpen, name); err != nil {
		return nil, err
	}
	return i.wrap(i.inner.OpenFile(name, flag, perm))
}

// Create implements vfs.FS.
func (i *Injector) Create(name string) (vfs.File, error) {
	if err := i.fail(OpOpen, name); err != nil {
		return nil, err
	}
	return i.wrap(i.inner.Create(name))
}

func (i *Injector) wrap(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &injectedFile{inner: f, by: i}, nil
}

// Rename implements vfs.FS.
func (i *Injector) Rename(from, to string) error {
	if err := i.fail(OpRename, from); err != nil {
		return err
	}
	return i.inner.Rename(from, to)
}

// Remove implements vfs.FS.
func (i *Injector) Remove(name string) error {
	if err := i.fail(OpRemove, name); err != nil {
		return err
	}
	return i.inner.Remove(name)
}

// Link implements vfs.FS.
func (i *Injector) Link(from, to string) error {
	if err := i.fail(OpLink, from); err != nil {
		return err
	}
	return i.inner.Link(from, to)
}

// ReadDir implements vfs.FS.
func (i *Injector) ReadDir(dir string) ([]string, error) {
	if err := i.fail(OpReadDir, dir); err != nil {
		return nil, err
	}
	return i.inner.ReadDir(dir)
}

// MkdirAll implements vfs.FS.
func (i *Injector) MkdirAll(dir string, perm fs.FileMode) error {
	if err := i.fail(OpMkdirAll, dir); err != nil {
		return err
	}
	return i.inner.MkdirAll(dir, perm)
}

// Stat implements vfs.FS.
func (i *Injector) Stat(name string) (fs.FileInfo, error) {
	if err := i.fail(OpStat, name); err != nil {
		return nil, err
	}
	return i.inner.Stat(name)
}

// SyncDir implements vfs.FS.
func (i *Injector) SyncDir(dir string) error {
	if err := i.fail(OpSyncDir, dir); err != nil {
		return err
	}
	return i.inner.SyncDir(dir)
}

// Lock implements vfs.FS.
func (i *Injector) Lock(name string) (io.Closer, error) {
	if err := i.fail(OpLock, name); err != nil {
		return nil, err
	}
	return i.inner.Lock(name)
}

// FreeSpace implements vfs.FS.
func (i *Injector) FreeSpace(dir string) (uint64, error) {
	if err := i.fail(OpFreeSpace, dir); err != nil {
		return 0, err
	}
	return i.inner.FreeSpace(dir)
}

type injectedFile struct {
	inner vfs.File
	by    *Injector
}

func (f *injectedFile) Name() string { return f.inner.Name() }

func (f *injectedFile) Size() (int64, error) { return f.inner.Size() }

func (f *injectedFile) ReadAt(b []byte, offset int64) (int, error) {
	if err := f.by.fail(OpRead, f.Name()); err != nil {
		return 0, err
	}
	return f.inner.ReadAt(b, offset)
}

func (f *injectedFile) WriteAt(b []byte, offset int64) (int, error) {
	return f.write(b, func(b []byte) (int, error) { return f.inner.WriteAt(b, offset) })
}

func (f *injectedFile) Write(b []byte) (int, error) {
	return f.write(b, f.inner.Write)
}

func (f *injectedFile) write(b []byte, write func([]byte) (int, error)) (int, error) {
	fault := f.by.check(OpWrite, f.Name())
	if fault == nil {
		return write(b)
	}
	var n int
	if fault.Half && len(b) > 1 {
		var err error
		if n, err = write(b[:len(b)/2]); err != nil {
			return n, err
		}
	}
	return n, pathError(string(OpWrite), f.Name(), fault.Err)
}

func (f *injectedFile) Truncate(size int64) error {
	if err := f.by.fail(OpTruncate, f.Name()); err != nil {
		return err
	}
	return f.inner.Truncate(size)
}

func (f *injectedFile) Sync() error {
	if err := f.by.fail(OpSync, f.Name()); err != nil {
		if l, ok := f.inner.(interface{ loseUnsynced() }); ok {
			l.loseUnsynced()
		}
		return err
	}
	return f.inner.Sync()
}

func (f *injectedFile) NextData(offset int64) (from, to int64, err error) {
	return f.inner.NextData(offset)
}

func (f *injectedFile) Preallocate(offset, length int64) error {
	if err := f.by.fail(OpPreallocate, f.Name()); err != nil {
		return err
	}
	return f.inner.Preallocate(offset, length)
}

// Close closes the file even if it is told to fail.
func (f *injectedFile) Close() error {
	err := f.by.fail(OpClose, f.Name())
	if closeErr := f.inner.Close(); err == nil {
		err = closeErr
	}
	return err
}
