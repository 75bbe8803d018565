package shovel

import (
	"fmt"
	"slices"
	"testing"

	"leveret/core"
)

func TestEvents(t *testing.T) {
	r := newRig(t)
	r.queue("from", nil)
	r.publish("", "from", 3, &core.Properties{})
	events := r.broker.Events(nil)
	defer events.Close()
	r.put("mv", move("from", "to"), "guest")
	var got []string
	r.until("told", func() bool {
		for _, e := range events.Take() {
			if e.Kind == eventStatus || e.Kind == eventRemoved {
				got = append(got, fmt.Sprint(e.Kind, e.VHost, e.Name, e.Fields))
			}
		}
		return len(got) >= 3
	})
	want := []string{"shovel.worker.status/mv[{status starting}]", "shovel.worker.status/mv[{status running}]", "shovel.worker.removed/mv[]"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
