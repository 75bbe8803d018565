package mgmt

import (
	"fmt"
	"net/url"
	"strconv"
)

// span is the time that a request wants samples of.
type span struct {
	ageMS, incrMS int64
	up            bool // The last sample's time is rounded up, as RabbitMQ does for lengths.
}

// spans are those of a request; nil for what it wants no samples of.
type spans struct {
	lengths, messages, data, node *span
}

// spanMax is how many samples of one value there may be, but for one.
const spanMax = 500

// parseSpans reads the parameters lengths_age, lengths_incr and so on, which are
// seconds.
func parseSpans(q url.Values) (spans, error) {
	var out spans
	for _, p := range []struct {
		name string
		to   **span
		up   bool
	}{
		{"lengths", &out.lengths, true}, {"msg_rates", &out.messages, false}, {"data_rates", &out.data, false}, {"node_stats", &out.node, false},
	} {
		if !q.Has(p.name+"_age") || !q.Has(p.name+"_incr") {
			continue
		}
		age, err1 := strconv.ParseInt(q.Get(p.name+"_age"), 10, 32)
		incr, err2 := strconv.ParseInt(q.Get(p.name+"_incr"), 10, 32)
		if err1 != nil || err2 != nil || age < 0 || incr <= 0 {
			return out, badRequest(fmt.Sprintf("%s_age and %s_incr are not numbers of seconds", p.name, p.name))
		}
		if age > spanMax*incr {
			return out, badRequest(fmt.Sprintf("%s_age is more than %d times %s_incr", p.name, spanMax, p.name))
		}
		*p.to = &span{age * 1000, incr * 1000, p.up}
	}
	return out, nil
}
