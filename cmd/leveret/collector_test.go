package main

import "testing"

func TestCollectorRoom(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{{0, 400}, {1 << 20, 400}, {6 << 20, 400}, {12 << 20, 200}, {24 << 20, 100}, {1 << 30, 100}} {
		if got := percentFor(c.live); got != c.want {
			t.Errorf("%d live: GOGC %d, want %d", c.live, got, c.want)
		}
	}
}
