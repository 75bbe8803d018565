package mgmt

import (
	"net/url"
	"strconv"
	"strings"
)

// Lists take conditions besides the name that RabbitMQ's know:
//
//	where=FIELD:OP:VALUE, any number of times, all of which must hold
//
// FIELD is a dotted path, as sort has it. OP is eq or ne (as texts; what is not
// there is the empty text), gt or lt (as numbers; what is not there is 0), or
// has (the text occurs in it, whatever its case).

// condition is one of them.
type condition struct {
	path   []string
	op     string
	text   string
	number float64
}

// conditionsMax bounds how many a request may have.
const conditionsMax = 16

func parseConditions(q url.Values) ([]condition, error) {
	all := q["where"]
	if len(all) > conditionsMax {
		return nil, badRequest([]any{"too_many", "where"})
	}
	var out []condition
	for _, s := range all {
		parts := strings.SplitN(s, ":", 3)
		if len(parts) != 3 || parts[0] == "" {
			return nil, badRequest([]any{"not_a_condition", s})
		}
		c := condition{path: strings.Split(parts[0], "."), op: parts[1], text: parts[2]}
		switch c.op {
		case "eq", "ne":
		case "has":
			c.text = strings.ToLower(c.text)
		case "gt", "lt":
			n, err := strconv.ParseFloat(c.text, 64)
			if err != nil {
				return nil, badRequest([]any{"not_a_condition", s})
			}
			c.number = n
		default:
			return nil, badRequest([]any{"not_a_condition", s})
		}
		out = append(out, c)
	}
	return out, nil
}

// holds reports whether o meets c.
func (c *condition) holds(o object) bool {
	v := dig(o, c.path)
	switch c.op {
	case "gt", "lt":
		n, ok := asNumber(v)
		return ok && (c.op == "gt" && n > c.number || c.op == "lt" && n < c.number)
	}
	text := ""
	if v != nil {
		text = asText(v)
	}
	switch c.op {
	case "has":
		return strings.Contains(strings.ToLower(text), c.text)
	case "ne":
		return text != c.text
	}
	return text == c.text
}

// meeting keeps the rows whose objects meet all of p's conditions, with their
// objects made.
func (p *page) meeting(rows []row) []row {
	if len(p.where) == 0 {
		return rows
	}
	kept := rows[:0]
rows:
	for _, r := range rows {
		o := r.object()
		for i := range p.where {
			if !p.where[i].holds(o) {
				continue rows
			}
		}
		r.object = func() object { return o }
		kept = append(kept, r)
	}
	return kept
}
