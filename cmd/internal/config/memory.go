package config

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// MachineMemory returns the bytes of memory this process may use: the smallest
// limit of the control groups it is in, or all the machine has. It returns 0
// where neither can be found out.
func MachineMemory() int64 { return machineMemory("/") }

// machineMemory reads below root, which tests replace.
func machineMemory(root string) int64 {
	total := memTotal(filepath.Join(root, "proc/meminfo"))
	if total == 0 {
		total = systemMemory()
	}
	for _, limit := range cgroupLimits(root) {
		if limit > 0 && (total == 0 || limit < total) {
			total = limit
		}
	}
	return total
}

func memTotal(file string) int64 {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for sc := bufio.NewScanner(bytes.NewReader(b)); sc.Scan(); {
		f := strings.Fields(sc.Text())
		if len(f) >= 2 && f[0] == "MemTotal:" {
			kb, _ := strconv.ParseInt(f[1], 10, 64)
			return kb << 10
		}
	}
	return 0
}

// cgroupLimits collects memory.max of this process's group and its parents
// (version 2) or memory.limit_in_bytes (version 1). "max" does not count, nor
// does version 1's way of saying so, a number beyond any machine.
func cgroupLimits(root string) []int64 {
	b, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return nil
	}
	var limits []int64
	read := func(elem ...string) {
		b, err := os.ReadFile(filepath.Join(append([]string{root, "sys/fs/cgroup"}, elem...)...))
		if err != nil {
			return
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && n > 0 && n < 1<<60 {
			limits = append(limits, n)
		}
	}
	for sc := bufio.NewScanner(bytes.NewReader(b)); sc.Scan(); {
		f := strings.SplitN(sc.Text(), ":", 3)
		if len(f) != 3 {
			continue
		}
		group := filepath.Clean("/" + f[2])
		for {
			if f[1] == "" {
				read(group, "memory.max")
			} else if f[1] == "memory" {
				read("memory", group, "memory.limit_in_bytes")
			}
			if group == "/" {
				break
			}
			group = filepath.Dir(group)
		}
	}
	return limits
}
