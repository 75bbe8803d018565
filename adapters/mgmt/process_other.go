//go:build !linux

package mgmt

import "runtime"

// residentBytes is the memory the Go runtime has from the system.
func residentBytes() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys - m.HeapReleased)
}

// openFiles and fileLimit are known on Linux only; 0 is unknown.
func openFiles() int { return 0 }

func fileLimit() int64 { return 0 }
