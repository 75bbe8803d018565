//go:build !race

package persist_test

import (
	"testing"

	"leveret/core"
	"leveret/persist"
	"leveret/persist/persisttest"
	"leveret/persist/vfs"
)

// Publishing and settling allocate nothing for a message, once pools are warm.
func TestPublishAllocates(t *testing.T) {
	l := openLog(t, vfs.OS, t.TempDir(), persist.LogOptions{})
	defer l.Close()
	q := l.OpenQueue(1)
	m := persisttest.NewMessage(make([]byte, 100))
	origins := make([]core.Message, 10)
	done := make(chan error, 1)
	finish := func(err error) { done <- err }
	s := core.Seq(0)
	seqs := make([]core.Seq, 10)
	cycle := func() {
		set := l.Begin()
		for k := range origins {
			q.Add(set, s, m, &origins[k])
			seqs[k] = s
			s++
		}
		set.Close(finish)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		q.Settle(seqs)
	}
	for range 100 {
		cycle()
	}
	const each = 2 // A sync of vfs.OS, one for each group, takes two.
	if n := testing.AllocsPerRun(200, cycle); n > each {
		t.Fatalf("%.0f allocations for ten messages", n)
	}
}
