package process

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

// ResidentBytes is the memory this process has, by the kernel's count.
func ResidentBytes() int64 { return statm(1) }

// VirtualBytes is its address space.
func VirtualBytes() int64 { return statm(0) }

func statm(field int) int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b))
	if len(f) <= field {
		return 0
	}
	pages, _ := strconv.ParseInt(f[field], 10, 64)
	return pages * int64(os.Getpagesize())
}

// OpenFiles counts this process's descriptors, sockets among them.
func OpenFiles() int {
	if i, err := os.Stat("/proc/self/fd"); err == nil && i.Size() > 0 {
		return int(i.Size()) // Linux from 6.2 on says it so, and needs not count a hundred thousand.
	}
	d, err := os.Open("/proc/self/fd")
	if err != nil {
		return 0
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	return max(0, len(names)-1) // Without the one that reads the directory.
}

// FileLimit is how many descriptors this process may have. Go has raised it
// to what the system allows at start.
func FileLimit() int64 {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 0
	}
	return int64(min(l.Cur, 1<<31-1))
}

// IOCounts are what this process had the disk do: the kernel's count of calls
// includes those on sockets, so there are bytes only.
func IOCounts() (read, written int64) {
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		n, _ := strconv.ParseInt(value, 10, 64)
		switch name {
		case "read_bytes":
			read = n
		case "write_bytes":
			written = n
		}
	}
	return read, written
}

// CPUSeconds is the processor time that this process has used.
func CPUSeconds() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)/1e6
}
