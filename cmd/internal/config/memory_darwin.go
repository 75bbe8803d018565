package config

import "syscall"

// systemMemory asks the kernel; the answer is a little-endian number in a
// string that has lost its trailing zero byte.
func systemMemory() int64 {
	s, err := syscall.Sysctl("hw.memsize")
	if err != nil || len(s) > 8 {
		return 0
	}
	var n uint64
	for i := range len(s) {
		n |= uint64(s[i]) << (8 * i)
	}
	return int64(n)
}
