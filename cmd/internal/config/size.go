package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// sizeUnits are the suffixes that RabbitMQ's configuration knows: K, M and G
// are powers of 1024 there, KB, MB and GB of 1000.
var sizeUnits = []struct {
	suffix string
	bytes  int64
}{
	{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"tib", 1 << 40},
	{"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"tb", 1e12},
	{"k", 1 << 10}, {"m", 1 << 20}, {"g", 1 << 30}, {"t", 1 << 40},
	{"b", 1},
}

// ParseSize reads a number of bytes such as "134217728", "128MiB" or "1.5GB".
func ParseSize(s string) (int64, error) {
	number, unit := strings.ToLower(strings.TrimSpace(s)), int64(1)
	for _, u := range sizeUnits {
		if cut, ok := strings.CutSuffix(number, u.suffix); ok {
			number, unit = strings.TrimSpace(cut), u.bytes
			break
		}
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(f) || f < 0 || f*float64(unit) >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is not a size; write for example 134217728, 128MiB or 2GB", s)
	}
	return int64(f * float64(unit)), nil
}

// Size is a number of bytes on the command line.
type Size int64

// UnmarshalText reads what ParseSize reads.
func (z *Size) UnmarshalText(text []byte) error {
	n, err := ParseSize(string(text))
	*z = Size(n)
	return err
}

// MemoryLimit is a limit given absolutely in bytes or, where Fraction is not
// zero, relative to the memory there is.
type MemoryLimit struct {
	Fraction float64
	Bytes    int64
}

// UnmarshalText takes a number between 0 and 1, without a unit, for a fraction
// and everything else for a size.
func (l *MemoryLimit) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	if pct, ok := strings.CutSuffix(s, "%"); ok {
		f, err := strconv.ParseFloat(pct, 64)
		if err != nil || !(f > 0 && f <= 100) {
			return fmt.Errorf("%q is not a share of memory between 0%% and 100%%", s)
		}
		*l = MemoryLimit{Fraction: f / 100}
		return nil
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && f > 0 && f <= 1 {
		*l = MemoryLimit{Fraction: f}
		return nil
	}
	n, err := ParseSize(s)
	if err != nil || n == 0 {
		return fmt.Errorf("%q is neither a share of memory such as 0.6 nor a size such as 2GiB", s)
	}
	*l = MemoryLimit{Bytes: n}
	return nil
}

// Of returns the limit in bytes on a machine with total bytes of memory, 0 if
// that is unknown.
func (l MemoryLimit) Of(total int64) (int64, error) {
	if l.Fraction == 0 {
		return l.Bytes, nil
	}
	if total <= 0 {
		return 0, fmt.Errorf("how much memory this machine has is not known, so a limit of %g of it has no meaning; give --memory-limit as a size", l.Fraction)
	}
	return int64(l.Fraction * float64(total)), nil
}

// DiskLimit is room to be left on a disk, in bytes or, where Times is not zero,
// as a multiple of the memory there is.
type DiskLimit struct {
	Times float64
	Bytes int64
}

// UnmarshalText takes a number that ends in x for a multiple and everything else
// for a size.
func (l *DiskLimit) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	if times, ok := strings.CutSuffix(strings.ToLower(s), "x"); ok {
		f, err := strconv.ParseFloat(times, 64)
		if err != nil || !(f > 0 && f <= 1000) {
			return fmt.Errorf("%q is not a multiple of the memory there is; write for example 1.5x", s)
		}
		*l = DiskLimit{Times: f}
		return nil
	}
	n, err := ParseSize(s)
	*l = DiskLimit{Bytes: n}
	return err
}

// Of returns the limit in bytes on a machine with total bytes of memory, 0 if
// that is unknown.
func (l DiskLimit) Of(total int64) (int64, error) {
	if l.Times == 0 {
		return l.Bytes, nil
	}
	if total <= 0 {
		return 0, fmt.Errorf("how much memory this machine has is not known, so %g times that has no meaning; give --disk-free-limit as a size", l.Times)
	}
	return int64(l.Times * float64(total)), nil
}

// String writes z with a unit that divides it.
func (z Size) String() string {
	for _, u := range []struct {
		shift int
		name  string
	}{{40, "TiB"}, {30, "GiB"}, {20, "MiB"}} {
		if z != 0 && z&(1<<u.shift-1) == 0 {
			return strconv.FormatInt(int64(z)>>u.shift, 10) + u.name
		}
	}
	if z != 0 && z%1e6 == 0 {
		return strconv.FormatInt(int64(z)/1e6, 10) + "MB"
	}
	return strconv.FormatInt(int64(z), 10)
}

// String writes l as UnmarshalText reads it.
func (l MemoryLimit) String() string {
	if l.Fraction != 0 {
		return strconv.FormatFloat(l.Fraction, 'g', -1, 64)
	}
	return Size(l.Bytes).String()
}

// String writes l as UnmarshalText reads it.
func (l DiskLimit) String() string {
	if l.Times != 0 {
		return strconv.FormatFloat(l.Times, 'g', -1, 64) + "x"
	}
	return Size(l.Bytes).String()
}
