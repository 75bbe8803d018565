package core

import (
	"runtime"
	"testing"
)

// TestDeleteFrom: nothing is lost, and the room that many entries took is given
// back when most of them are gone.
func TestDeleteFrom(t *testing.T) {
	const n = 200_000
	m, most := map[int]int{}, 0
	for i := range n {
		m[i] = i
	}
	heap := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	full := heap()
	for i := range n - 10 {
		m = deleteFrom(m, i, &most)
	}
	if freed := int64(full) - int64(heap()); freed < 2<<20 {
		t.Errorf("%d bytes given back", freed)
	}
	for i := n - 10; i < n; i++ {
		if v, ok := m[i]; !ok || v != i {
			t.Errorf("entry %d is %d, %v", i, v, ok)
		}
		m = deleteFrom(m, i, &most)
	}
	if len(m) != 0 {
		t.Errorf("%d entries are left", len(m))
	}
}
