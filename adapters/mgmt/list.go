package mgmt

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"leveret/core"
	"leveret/core/pattern"
)

const (
	defaultPageSize = 100
	maxPageSize     = 500
	maxNameFilter   = 1024
)

// row is one object of a list before its JSON is made, which happens only for
// rows that leave.
type row struct {
	vhost, name string
	object      func() object
}

// column returns what the objects of one kind have at a path, which is for
// sorting by it for less than all of them would cost; false where it cannot say.
type column func(r *row, path string) (any, bool)

// page is what a list request asked for.
type page struct {
	number, size int // number 0: everything, in a bare array.
	match        func(name string) bool
	sort         []string // Path of the field; nil for vhost and name.
	reverse      bool
	columns      [][]string
	where        []condition
}

// parsePage reads the list parameters of q.
func parsePage(q url.Values) (*page, error) {
	p := &page{columns: parseColumns(q), match: func(string) bool { return true }}
	if s := q.Get("sort"); s != "" {
		p.sort = strings.Split(s, ".")
	}
	p.reverse = q.Get("sort_reverse") == "true"
	if !q.Has("page") {
		return p, nil
	}
	var err error
	if p.where, err = parseConditions(q); err != nil {
		return nil, err
	}

	invalid := badRequest("Pagination parameters are invalid")
	if p.number, err = strconv.Atoi(q.Get("page")); err != nil {
		return nil, invalid
	}
	asked := "undefined"
	if p.size = defaultPageSize; q.Has("page_size") {
		asked = q.Get("page_size")
		if p.size, err = strconv.Atoi(asked); err != nil {
			return nil, invalid
		}
	}
	if p.number < 1 || p.size < 1 || p.size > maxPageSize {
		return nil, &failure{http.StatusBadRequest, "invalid_pagination_parameters",
			fmt.Sprintf("Invalid pagination parameters: page number %d, page size %s", p.number, asked)}
	}
	name := q.Get("name")
	switch {
	case name == "":
	case len(name) > maxNameFilter:
		return nil, invalid
	case q.Get("use_regex") == "true":
		re, err := pattern.CompileFold(name)
		if err != nil {
			return nil, invalid
		}
		p.match = re.MatchString
	default:
		part := strings.ToLower(name)
		p.match = func(name string) bool { return strings.Contains(strings.ToLower(name), part) }
	}
	return p, nil
}

// list answers with rows as the request's parameters want them.
func (c *call) list(rows []row) error { return c.listBy(rows, nil) }

// listBy is list for objects of which value knows some columns; it may be nil.
func (c *call) listBy(rows []row, value column) error {
	p, err := parsePage(c.r.URL.Query())
	if err != nil {
		return err
	}
	total := len(rows)
	if p.number > 0 {
		if rows, err = p.filter(rows); err != nil {
			return err
		}
		rows = p.meeting(rows)
	}
	objects := p.arrange(rows, value)

	if p.number == 0 {
		items := make([]object, len(rows))
		for i := range rows {
			items[i] = pick(objects(i), p.columns)
		}
		return c.ok(items)
	}
	filtered := len(rows)
	from := (p.number - 1) * p.size
	if p.number > 1 && from >= filtered {
		return &failure{http.StatusBadRequest, "page_out_of_range",
			fmt.Sprintf("Page out of range, page: %d page size: %d, len: %d", p.number, p.size, filtered)}
	}
	items := []object{}
	for i := from; i < min(from+p.size, filtered); i++ {
		items = append(items, pick(objects(i), p.columns))
	}
	return c.ok(object{
		"total_count": total, "filtered_count": filtered, "item_count": len(items),
		"page": p.number, "page_size": p.size, "page_count": max(1, (filtered+p.size-1)/p.size), "items": items,
	})
}

// filterMax bounds how long one request may match names: an expression that
// backtracks takes long on each of a hundred thousand.
const filterMax = 2 * time.Second

// filter keeps the rows whose names match.
func (p *page) filter(rows []row) ([]row, error) {
	began := time.Now()
	kept := rows[:0]
	for _, r := range rows {
		if p.match(r.name) {
			kept = append(kept, r)
		}
		if time.Since(began) > filterMax {
			return nil, badRequest("the name filter takes too long on this many objects")
		}
	}
	return kept, nil
}

// arrange sorts rows and returns a function that makes the object of the i-th.
func (p *page) arrange(rows []row, value column) func(i int) object {
	byName := func(a, b row) int {
		return cmp.Or(cmp.Compare(a.vhost, b.vhost), cmp.Compare(a.name, b.name))
	}
	if p.sort == nil || len(p.sort) == 1 && p.sort[0] == "name" {
		if p.sort != nil {
			byName = func(a, b row) int {
				return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.vhost, b.vhost))
			}
		}
		order := inOrder(len(rows), func(a, b int) int { return p.direction(byName(rows[a], rows[b])) })
		return func(i int) object { return rows[order[i]].object() }
	}
	type made struct {
		row
		key any
		obj object
	}
	all, path := make([]made, len(rows)), strings.Join(p.sort, ".")
	for i, r := range rows {
		if value != nil {
			if v, ok := value(&r, path); ok {
				all[i] = made{row: r, key: v}
				continue
			}
		}
		obj := r.object()
		all[i] = made{r, dig(obj, p.sort), obj}
	}
	order := inOrder(len(all), func(a, b int) int {
		return p.direction(cmp.Or(compareValues(all[a].key, all[b].key), byName(all[a].row, all[b].row)))
	})
	return func(i int) object {
		if m := &all[order[i]]; m.obj != nil {
			return m.obj
		}
		return all[order[i]].object()
	}
}

// inOrder returns the numbers below n in the order that compare has of them; what
// it calls equal stays as it is.
func inOrder(n int, compare func(a, b int) int) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(compare(a, b), a-b) })
	return order
}

func (p *page) direction(c int) int {
	if p.reverse {
		return -c
	}
	return c
}

// parseColumns reads a comma list of dotted paths; nil means every column.
func parseColumns(q url.Values) [][]string {
	var out [][]string
	for c := range strings.SplitSeq(q.Get("columns"), ",") {
		if c != "" {
			out = append(out, strings.Split(c, "."))
		}
	}
	return out
}

// one answers with a single object, of which columns may want a part.
func (c *call) one(o object) error {
	return c.ok(pick(o, parseColumns(c.r.URL.Query())))
}

// pick returns the parts of o that columns name.
func pick(o object, columns [][]string) object {
	if columns == nil {
		return o
	}
	out := object{}
	inside := map[string][][]string{}
	for _, path := range columns {
		if len(path) > 1 {
			inside[path[0]] = append(inside[path[0]], path[1:])
		} else if v, ok := o[path[0]]; ok {
			out[path[0]] = v
		}
	}
	for name, paths := range inside {
		inner, ok := o[name].(object)
		if _, whole := out[name]; whole || !ok {
			continue
		}
		if part := pick(inner, paths); len(part) > 0 {
			out[name] = part
		}
	}
	return out
}

// dig returns the value at path, nil where there is none.
func dig(o object, path []string) any {
	v := any(o)
	for _, name := range path {
		inner, ok := v.(object)
		if !ok {
			return nil
		}
		v = inner[name]
	}
	return v
}

// compareValues orders what rows hold in one column: numbers by value with a
// missing one as 0, then texts, then the rest by its JSON.
func compareValues(a, b any) int {
	an, aok := asNumber(a)
	bn, bok := asNumber(b)
	switch {
	case aok && bok:
		return cmp.Compare(an, bn)
	case aok:
		return -1
	case bok:
		return 1
	}
	return cmp.Compare(asText(a), asText(b))
}

// asNumber reads what sorts as a number; nothing sorts as 0.
func asNumber(v any) (float64, bool) {
	switch n := v.(type) {
	case nil:
		return 0, true
	case bool:
		if n {
			return 1, true
		}
		return 0, true
	case float32:
		return float64(n), true
	case float64:
		if math.IsNaN(n) {
			return 0, true
		}
		return n, true
	case uint:
		return float64(n), true
	case uint32:
		return float64(n), true
	case uint64:
		return float64(n), true
	}
	n, ok := core.Integer(v)
	return float64(n), ok
}

func asText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, _ := json.Marshal(v)
	return string(b)
}
