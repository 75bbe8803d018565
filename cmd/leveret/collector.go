package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// A broker whose queues are short has a live heap of a few megabytes, and with
// Go's default would collect at every few megabytes of garbage: a hundred times
// a second under a load of large bodies. tuneCollector lets it have some room
// whatever little is live, and is Go's default from there on. Measured: 64 KB
// bodies -26 % broker CPU, a million messages filled -30 %; idle memory is the
// same, since an idle broker makes no garbage.
//
// While a broker starts, four fifths of what it allocates stay, and marking that
// again and again took half of the time of loading a million bindings: nothing is
// collected then, but to stay below the memory limit.

const (
	// collectorRoom is how much garbage a small heap may gather.
	collectorRoom = 24 << 20
	// percentMax bounds GOGC for the smallest heaps.
	percentMax = 400
)

// percentFor is the GOGC that gives a heap of live bytes its room.
func percentFor(live uint64) int {
	return int(max(100, min(percentMax, 100*collectorRoom/max(live, 1))))
}

// sentinel is collected at every collection, which is when it looks anew.
type sentinel struct{ percent int }

// holdCollector has nothing collected until tuneCollector. Neither is to be used
// when the user has set GOGC.
func holdCollector() {
	debug.SetGCPercent(-1)
}

// tuneCollector ends holdCollector, and adapts GOGC after each collection from
// then on, for the life of the process.
func tuneCollector() {
	s := &sentinel{percent: percentMax}
	runtime.SetFinalizer(s, adapt)
	debug.SetGCPercent(s.percent) // The heap that was loaded may be collected now.
}

func adapt(s *sentinel) {
	sample := [1]metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample[:])
	if p := percentFor(sample[0].Value.Uint64()); p != s.percent {
		s.percent = p
		debug.SetGCPercent(p)
	}
	runtime.SetFinalizer(s, adapt)
}
