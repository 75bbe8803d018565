package faultfs

import (
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"leveret/persist/vfs"
)

// Options are the properties of a disk in memory.
type Options struct {
	// SizeBytes limits the sum of the files' sizes; 0 is no limit.
	SizeBytes int64
}

// FS is a file system in memory that remembers what was done to it. It
// implements vfs.FS.
type FS struct {
	base *disk // What it began with. Never changed.

	mu struct {
		sync.Mutex
		names  map[string]*inode
		dirs   map[string]struct{}
		locks  map[string]struct{}
		log    []event
		used   int64
		limit  int64
		nextID int
		replay *disk // The state after replayed events, kept for the next CrashAt.
		done   int   // How many events replay has seen.
	}
}

type inode struct {
	id    int
	data  []byte
	links int
	open  int
}

// New returns an empty disk with the directories "/" and ".".
func New(o Options) *FS {
	return fromDisk(newDisk(), map[string]struct{}{"/": {}, ".": {}}, o.SizeBytes)
}

// fromDisk returns a file system that begins with what d holds.
func fromDisk(d *disk, dirs map[string]struct{}, limit int64) *FS {
	f := &FS{base: d}
	f.mu.names = make(map[string]*inode)
	f.mu.dirs = maps.Clone(dirs)
	f.mu.locks = make(map[string]struct{})
	f.mu.limit = limit
	inodes := make(map[int]*inode)
	for name, id := range d.names {
		n := inodes[id]
		if n == nil {
			n = &inode{id: id, data: slices.Clone(d.file(id).synced)}
			inodes[id] = n
			f.mu.used += int64(len(n.data))
			f.mu.nextID = max(f.mu.nextID, id+1)
		}
		n.links++
		f.mu.names[name] = n
	}
	return f
}

// SetSize changes the limit of the sum of the files' sizes; 0 is none.
func (f *FS) SetSize(bytes int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.limit = bytes
}

// Used returns the sum of the sizes of all files that have a name or are open.
func (f *FS) Used() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.used
}

// Ops returns how many changes have been recorded: writes, truncations, syncs
// and changes of names.
func (f *FS) Ops() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.mu.log)
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

func (f *FS) recordLocked(e event) { f.mu.log = append(f.mu.log, e) }

// OpenFile implements vfs.FS.
func (f *FS) OpenFile(name string, flag int, _ fs.FileMode) (vfs.File, error) {
	name = filepath.Clean(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.mu.names[name]
	switch {
	case n == nil && f.isDirLocked(name):
		return nil, pathError("open", name, syscall.EISDIR)
	case n == nil && flag&os.O_CREATE == 0:
		return nil, pathError("open", name, fs.ErrNotExist)
	case n == nil:
		if !f.isDirLocked(filepath.Dir(name)) {
			return nil, pathError("open", name, fs.ErrNotExist)
		}
		n = &inode{id: f.mu.nextID, links: 1}
		f.mu.nextID++
		f.mu.names[name] = n
		f.recordLocked(event{kind: eventName, name: name, inode: n.id})
	case flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL:
		return nil, pathError("open", name, fs.ErrExist)
	case flag&os.O_TRUNC != 0 && len(n.data) > 0:
		f.resizeLocked(n, 0)
		f.recordLocked(event{kind: eventTruncate, inode: n.id})
	}
	n.open++
	return &fileHandle{fs: f, inode: n, name: name, writable: flag&(os.O_WRONLY|os.O_RDWR) != 0}, nil
}

// Create implements vfs.FS.
func (f *FS) Create(name string) (vfs.File, error) {
	return f.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
}

// Rename implements vfs.FS. Directories cannot be renamed.
func (f *FS) Rename(from, to string) error {
	from, to = filepath.Clean(from), filepath.Clean(to)
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.mu.names[from]
	if n == nil || !f.isDirLocked(filepath.Dir(to)) {
		return pathError("rename", from, fs.ErrNotExist)
	}
	if f.isDirLocked(to) {
		return pathError("rename", to, syscall.EISDIR)
	}
	old := f.mu.names[to]
	if old == n {
		return nil
	}
	delete(f.mu.names, from)
	f.mu.names[to] = n
	f.recordLocked(event{kind: eventRename, name: from, to: to, inode: n.id})
	if old != nil {
		old.links--
		f.freeLocked(old)
	}
	return nil
}

// Remove implements vfs.FS.
func (f *FS) Remove(name string) error {
	name = filepath.Clean(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.mu.names[name]
	if n == nil && f.isDirLocked(name) {
		if len(f.listLocked(name)) > 0 {
			return pathError("remove", name, syscall.ENOTEMPTY)
		}
		delete(f.mu.dirs, name)
		return nil
	}
	if n == nil {
		return pathError("remove", name, fs.ErrNotExist)
	}
	delete(f.mu.names, name)
	f.recordLocked(event{kind: eventRemove, name: name, inode: n.id})
	n.links--
	f.freeLocked(n)
	return nil
}

// Link implements vfs.FS.
func (f *FS) Link(from, to string) error {
	from, to = filepath.Clean(from), filepath.Clean(to)
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.mu.names[from]
	switch {
	case n == nil || !f.isDirLocked(filepath.Dir(to)):
		return pathError("link", from, fs.ErrNotExist)
	case f.mu.names[to] != nil || f.isDirLocked(to):
		return pathError("link", to, fs.ErrExist)
	}
	n.links++
	f.mu.names[to] = n
	f.recordLocked(event{kind: eventName, name: to, inode: n.id})
	return nil
}

// ReadDir implements vfs.FS.
func (f *FS) ReadDir(dir string) ([]string, error) {
	dir = filepath.Clean(dir)
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.isDirLocked(dir) {
		return nil, pathError("open", dir, fs.ErrNotExist)
	}
	return f.listLocked(dir), nil
}

func (f *FS) listLocked(dir string) []string {
	var names []string
	for name := range f.mu.names {
		if filepath.Dir(name) == dir {
			names = append(names, filepath.Base(name))
		}
	}
	for name := range f.mu.dirs {
		if filepath.Dir(name) == dir && name != dir {
			names = append(names, filepath.Base(name))
		}
	}
	slices.Sort(names)
	return names
}

// MkdirAll implements vfs.FS. Directories are on disk at once.
func (f *FS) MkdirAll(dir string, _ fs.FileMode) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for dir = filepath.Clean(dir); !f.isDirLocked(dir); dir = filepath.Dir(dir) {
		if f.mu.names[dir] != nil {
			return pathError("mkdir", dir, syscall.ENOTDIR)
		}
		f.mu.dirs[dir] = struct{}{}
	}
	return nil
}

func (f *FS) isDirLocked(name string) bool {
	_, ok := f.mu.dirs[name]
	return ok
}

// Stat implements vfs.FS.
func (f *FS) Stat(name string) (fs.FileInfo, error) {
	name = filepath.Clean(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.mu.names[name]; n != nil {
		return fileInfo{name: filepath.Base(name), size: int64(len(n.data)), inode: n}, nil
	}
	if f.isDirLocked(name) {
		return fileInfo{name: filepath.Base(name), dir: true}, nil
	}
	return nil, pathError("stat", name, fs.ErrNotExist)
}

// SyncDir implements vfs.FS.
func (f *FS) SyncDir(dir string) error {
	dir = filepath.Clean(dir)
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.isDirLocked(dir) {
		return pathError("open", dir, fs.ErrNotExist)
	}
	f.recordLocked(event{kind: eventSyncDir, name: dir})
	return nil
}

// Lock implements vfs.FS.
func (f *FS) Lock(name string) (io.Closer, error) {
	name = filepath.Clean(name)
	file, err := f.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, held := f.mu.locks[name]; held {
		f.closeLocked(file.(*fileHandle))
		return nil, &vfs.LockedError{Name: name, Holder: "this test"}
	}
	f.mu.locks[name] = struct{}{}
	return &heldLock{fs: f, name: name, file: file.(*fileHandle)}, nil
}

type heldLock struct {
	fs   *FS
	name string
	file *fileHandle
}

func (l *heldLock) Close() error {
	l.fs.mu.Lock()
	defer l.fs.mu.Unlock()
	if l.file.closed {
		return fs.ErrClosed
	}
	delete(l.fs.mu.locks, l.name)
	l.fs.closeLocked(l.file)
	return nil
}

// FreeSpace implements vfs.FS.
func (f *FS) FreeSpace(string) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return uint64(f.freeSpaceLocked()), nil
}

func (f *FS) freeSpaceLocked() int64 {
	if f.mu.limit == 0 {
		return 1 << 50
	}
	return max(f.mu.limit-f.mu.used, 0)
}

func (f *FS) resizeLocked(n *inode, size int64) {
	f.mu.used += size - int64(len(n.data))
	if size <= int64(len(n.data)) {
		clear(n.data[size:]) // It must read as zeros if the file grows again.
		n.data = n.data[:size]
		return
	}
	n.data = slices.Grow(n.data, int(size)-len(n.data))[:size]
}

// freeLocked counts n's bytes as free once nothing refers to it.
func (f *FS) freeLocked(n *inode) {
	if n.links == 0 && n.open == 0 {
		f.mu.used -= int64(len(n.data))
	}
}

func (f *FS) closeLocked(h *fileHandle) {
	h.closed = true
	h.inode.open--
	f.freeLocked(h.inode)
}

type fileInfo struct {
	name  string
	size  int64
	dir   bool
	inode *inode
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return i.size }
func (i fileInfo) ModTime() time.Time { return time.Time{} }
func (i fileInfo) IsDir() bool        { return i.dir }
func (i fileInfo) Sys() any           { return i.inode }

func (i fileInfo) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o700
	}
	return 0o600
}
