package faultfs

import (
	"io"
	"io/fs"
	"slices"
	"syscall"
)

// fileHandle is an open file. All its fields but the fixed ones are guarded by
// the lock of fs.
type fileHandle struct {
	fs       *FS
	inode    *inode
	name     string
	writable bool

	offset int64 // Where Write goes on.
	closed bool
}

func (h *fileHandle) Name() string { return h.name }

// changeLocked says whether h may be written.
func (h *fileHandle) changeLocked(op string) error {
	if h.closed {
		return pathError(op, h.name, fs.ErrClosed)
	}
	if !h.writable {
		return pathError(op, h.name, syscall.EBADF)
	}
	return nil
}

func (h *fileHandle) ReadAt(b []byte, offset int64) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.closed {
		return 0, pathError("read", h.name, fs.ErrClosed)
	}
	if offset < 0 {
		return 0, pathError("read", h.name, syscall.EINVAL)
	}
	if offset >= int64(len(h.inode.data)) {
		return 0, io.EOF
	}
	n := copy(b, h.inode.data[offset:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (h *fileHandle) WriteAt(b []byte, offset int64) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	return h.writeLocked(b, offset)
}

func (h *fileHandle) Write(b []byte) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	n, err := h.writeLocked(b, h.offset)
	h.offset += int64(n)
	return n, err
}

// writeLocked writes as much as fits on the disk.
func (h *fileHandle) writeLocked(b []byte, offset int64) (int, error) {
	if err := h.changeLocked("write"); err != nil {
		return 0, err
	}
	if offset < 0 {
		return 0, pathError("write", h.name, syscall.EINVAL)
	}
	size := int64(len(h.inode.data))
	var err error
	if grow := offset + int64(len(b)) - size; grow > 0 {
		if over := grow - h.fs.freeSpaceLocked(); over > 0 {
			b = b[:max(int64(len(b))-over, 0)]
			err = pathError("write", h.name, syscall.ENOSPC)
		}
	}
	if len(b) == 0 {
		return 0, err
	}
	if end := offset + int64(len(b)); end > size {
		h.fs.resizeLocked(h.inode, end)
	}
	copy(h.inode.data[offset:], b)
	h.fs.recordLocked(event{kind: eventWrite, inode: h.inode.id, offset: offset, data: slices.Clone(b)})
	return len(b), err
}

func (h *fileHandle) Truncate(size int64) error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.changeLocked("truncate"); err != nil {
		return err
	}
	if size < 0 {
		return pathError("truncate", h.name, syscall.EINVAL)
	}
	if size-int64(len(h.inode.data)) > h.fs.freeSpaceLocked() {
		return pathError("truncate", h.name, syscall.ENOSPC)
	}
	h.fs.resizeLocked(h.inode, size)
	h.fs.recordLocked(event{kind: eventTruncate, inode: h.inode.id, offset: size})
	return nil
}

func (h *fileHandle) Preallocate(offset, length int64) error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.changeLocked("fallocate"); err != nil {
		return err
	}
	if offset < 0 || length < 0 {
		return pathError("fallocate", h.name, syscall.EINVAL)
	}
	grow := offset + length - int64(len(h.inode.data))
	if grow <= 0 {
		return nil
	}
	if grow > h.fs.freeSpaceLocked() {
		return pathError("fallocate", h.name, syscall.ENOSPC)
	}
	h.fs.resizeLocked(h.inode, offset+length)
	h.fs.recordLocked(event{kind: eventTruncate, inode: h.inode.id, offset: offset + length})
	return nil
}

func (h *fileHandle) Sync() error {
	return h.finishSync(eventSync)
}

// loseUnsynced is what a failed Sync does: see the package comment.
func (h *fileHandle) loseUnsynced() {
	_ = h.finishSync(eventSyncFailed)
}

func (h *fileHandle) finishSync(kind eventKind) error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.closed {
		return pathError("sync", h.name, fs.ErrClosed)
	}
	h.fs.recordLocked(event{kind: kind, inode: h.inode.id})
	return nil
}

func (h *fileHandle) Size() (int64, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.closed {
		return 0, pathError("stat", h.name, fs.ErrClosed)
	}
	return int64(len(h.inode.data)), nil
}

// NextData takes a sector of zeros for one that was never written.
func (h *fileHandle) NextData(offset int64) (from, to int64, err error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.closed {
		return 0, 0, pathError("seek", h.name, fs.ErrClosed)
	}
	size := int64(len(h.inode.data))
	end := func(at int64) int64 { return min(at-at%SectorBytes+SectorBytes, size) }
	hole := func(at int64) bool {
		for _, b := range h.inode.data[at-at%SectorBytes : end(at)] {
			if b != 0 {
				return false
			}
		}
		return true
	}
	for from = min(offset, size); from < size && hole(from); {
		from = end(from)
	}
	for to = from; to < size && !hole(to); {
		to = end(to)
	}
	return from, to, nil
}

func (h *fileHandle) Close() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.closed {
		return pathError("close", h.name, fs.ErrClosed)
	}
	h.fs.closeLocked(h)
	return nil
}
