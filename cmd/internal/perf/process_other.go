//go:build !linux

package perf

import (
	"errors"
	"os"
	"time"
)

var errNoProc = errors.New("--pid: the time and memory of another process can be read on Linux only")

// cpuTime returns 0 for this process, whose own time is a nicety, and an error
// for any other.
func cpuTime(pid int) (time.Duration, error) {
	if pid == os.Getpid() {
		return 0, nil
	}
	return 0, errNoProc
}

func memory(int) (resident, peak int64, err error) { return 0, 0, errNoProc }
