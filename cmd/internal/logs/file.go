package logs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Rotation says when a file is turned over: it becomes FILE.0, that FILE.1, and
// so on, as RabbitMQ's files do, and the oldest is removed.
type Rotation struct {
	Size  int64 // Before a line would make it larger, in bytes; 0 for any size.
	Date  Date  // At these times.
	Count int   // How many old files stay; with 0 a file that is turned over is gone.
}

// file is a log file that is turned over. A line is never torn apart.
type file struct {
	name string
	r    Rotation
	now  func() time.Time

	mu struct {
		sync.Mutex
		out    *os.File // Nil once closed, or when it could not be opened anew.
		closed bool
		size   int64
		due    time.Time // When Date turns it over; zero for never.
	}
}

func openFile(name string, r Rotation) (*file, error) {
	f := &file{name: name, r: r, now: time.Now}
	if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		return nil, fmt.Errorf("make the directory of the log: %w", err)
	}
	return f, f.openLocked()
}

// openLocked opens the file to append to it. f.mu is held, or f is new.
func (f *file) openLocked() error {
	out, err := os.OpenFile(f.name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	f.mu.out, f.mu.size, f.mu.due = out, 0, time.Time{}
	since := f.now()
	if info, err := out.Stat(); err == nil && info.Size() > 0 {
		f.mu.size = info.Size()
		since = info.ModTime() // A broker that was stopped over midnight turns the file over when it starts.
	}
	f.mu.due = f.r.Date.after(since)
	return nil
}

// Write appends a line. A file that cannot be turned over goes on growing: the
// log is worth more than its limit.
func (f *file) Write(line []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.closed {
		return 0, os.ErrClosed
	}
	var turned error
	tooLarge := f.r.Size > 0 && f.mu.size > 0 && f.mu.size+int64(len(line)) > f.r.Size
	if f.mu.out == nil || tooLarge || !f.mu.due.IsZero() && !f.now().Before(f.mu.due) {
		turned = f.turnLocked()
	}
	if f.mu.out == nil {
		return 0, turned
	}
	n, err := f.mu.out.Write(line)
	f.mu.size += int64(n)
	return n, errors.Join(err, turned)
}

// turnLocked makes room for a new file.
func (f *file) turnLocked() error {
	if f.mu.out != nil {
		f.mu.out.Close()
		f.mu.out = nil
		old := func(i int) string { return fmt.Sprintf("%s.%d", f.name, i) }
		if f.r.Count == 0 {
			os.Remove(f.name)
		} else {
			for i := f.r.Count - 1; i > 0; i-- {
				os.Rename(old(i-1), old(i)) // Fails for those that are not there yet.
			}
			os.Rename(f.name, old(0))
		}
	}
	err := f.openLocked()
	if err == nil && f.r.Size > 0 && f.mu.size >= f.r.Size {
		err = fmt.Errorf("turn the log %s over: it is still there", f.name)
	}
	return err
}

// Close ends writing.
func (f *file) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.closed = true
	if f.mu.out == nil {
		return nil
	}
	err := f.mu.out.Close()
	f.mu.out = nil
	return err
}
