package core

import (
	"fmt"
	"sync"
	"testing"
)

func TestRegistry(t *testing.T) {
	b := testBroker(t)
	s := testSession(t, b, "guest")
	r := b.Registry()
	asked := ""
	conn := r.Add(RowOptions{
		Kind: "connection", Name: "c1", Session: s,
		Attributes: func() map[string]any { return map[string]any{"user": s.User().Name} },
		Counters:   func() map[string]uint64 { return map[string]uint64{"recv_oct": 5} },
		Close:      func(reason string) { asked = reason },
	})
	var rows []*Row
	for i := range 3 {
		rows = append(rows, r.Add(RowOptions{Kind: "channel", Name: fmt.Sprintf("c1 (%d)", i), Parent: conn}))
	}
	if found := r.Find("connection", "c1"); found != conn || found.Attributes()["user"] != "guest" || found.Counters()["recv_oct"] != 5 {
		t.Errorf("found %+v", found)
	}
	conn.Close("enough")
	if asked != "enough" {
		t.Errorf("asked to close with %q", asked)
	}
	rows[1].Remove()
	rows[1].Remove()
	names := ""
	for row := range r.Rows("channel") {
		names += row.Name + " "
		row.Remove() // The registry may change meanwhile.
	}
	if names != "c1 (0) c1 (2) " || r.Count("channel") != 0 || r.Find("channel", "c1 (0)") != nil || r.Count("none") != 0 {
		t.Errorf("channels %q, %d left", names, r.Count("channel"))
	}

	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				row := r.Add(RowOptions{Kind: "channel"})
				for range r.Rows("channel") {
				}
				row.Remove()
			}
		})
	}
	wg.Wait()
	if r.Count("channel") != 0 || r.Count("connection") != 1 {
		t.Errorf("%d channels, %d connections left", r.Count("channel"), r.Count("connection"))
	}
}
