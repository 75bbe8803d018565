package persist

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"leveret/persist/segment"
	"leveret/persist/vfs"
)

// segmentFile is one segment of the log.
type segmentFile struct {
	// Fixed once the segment has groups.
	id   segment.Identity
	name string // Path of the file.
	size int64  // What it may hold.
	// recyclable is true when the file has its full size and was made since
	// opening: what an earlier run left may have been linked by a backup.
	recyclable bool

	file vfs.File // The writer's while it is active.

	// Of the writer while the segment is active, then fixed.
	end         int64
	first, last uint64
	unknown     bool // It has records of kinds that this version does not know.
	side        segment.SidecarWriter

	// Guarded by the index's lock.
	live     int64 // References.
	refs     int64 // That it ever held, for choosing what to compact.
	sealed   bool
	pins     int  // Readers. The file stays while there are any.
	linked   bool // By a backup, or set aside: never written again.
	indexed  bool // Its sidecar is on disk.
	moving   bool // Its survivors have been copied, or could not be.
	readFile vfs.File
	// When the segment was first seen as sparse as it is, and how many
	// references it had then: one that is being drained is not copied.
	sparseSince time.Time
	sparseLive  int64
}

const (
	segmentSuffix = ".seg"
	sidecarSuffix = ".seg.idx"
	freeSuffix    = ".free"
	tempSuffix    = ".tmp"
	lockName      = "lock"
	damagedDir    = "damaged"
)

var slotNames = [2]string{"ckpt.0", "ckpt.1"}

func (l *Log) path(name string) string { return filepath.Join(l.dir, name) }

func segmentName(number uint32) string { return fmt.Sprintf("%010d%s", number, segmentSuffix) }

func sidecarName(number uint32) string { return fmt.Sprintf("%010d%s", number, sidecarSuffix) }

// parseNumber reads the number of a file called number and suffix.
func parseNumber(name, suffix string) (uint32, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 10 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	return uint32(n), err == nil
}

func (s *segmentFile) room() int64 { return s.size - s.end }

// close closes s's files. The index's lock is held.
func (s *segmentFile) close() {
	if s.file != nil {
		s.file.Close()
	}
	if s.readFile != nil {
		s.readFile.Close()
	}
	s.file, s.readFile = nil, nil
}
