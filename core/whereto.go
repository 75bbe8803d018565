package core

import "slices"

// Hop is a step of a message's way: what it came to, and how.
type Hop struct {
	Kind DestinationKind // Of what Name names.
	Name string
	Via  HopKind
	// Binding led here, if Via is HopBinding; the first of those that matched.
	Binding Binding
}

// HopKind is how a message gets from one step of its way to the next.
type HopKind uint8

// The ways to come to an exchange or a queue.
const (
	HopStart     HopKind = iota // It is published there.
	HopBinding                  // A binding matched.
	HopAlternate                // Nothing matched: the alternate exchange takes it.
	HopDelay                    // The exchange keeps it until it is due, and routes it then.
)

// String names k as the management API does.
func (k HopKind) String() string { return [...]string{"publish", "binding", "alternate", "delay"}[k] }

// Whereto is where a message would go.
type Whereto struct {
	Queues   []string  // Each once, in the order in which they were found.
	Bindings []Binding // Those that matched.
	Paths    [][]Hop   // From the exchange to a queue, or to a delay.
	// Alternate says that some exchange on the way found nothing and passed the
	// message to its alternate exchange.
	Alternate bool
	// Cut says that there are more than wheretoMax bindings or paths, and not
	// all are listed.
	Cut bool
}

// wheretoMax bounds the bindings and the paths that are listed.
const wheretoMax = 1000

// Whereto says where m would go if it were published to an exchange with these
// routing keys, with the very tables that publishing uses. Nothing is published,
// and no exchange remembers it. Types that choose at random choose anew.
func (v *VHost) Whereto(exchange string, keys []string, m *Message) (Whereto, error) {
	x := v.exchange(exchange)
	if x == nil {
		return Whereto{}, v.noExchange(exchange)
	}
	type reached struct {
		x    *Exchange
		path []Hop
	}
	var w Whereto
	queue := []reached{{x, []Hop{{Kind: ToExchange, Name: x.name}}}}
	seen := map[*Exchange]bool{x: true}
	reach := func(x *Exchange, path []Hop) {
		if !seen[x] {
			seen[x] = true
			queue = append(queue, reached{x, path})
		}
	}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		found, _ := at.x.match(nil, keys, m)
		found = uniqueDestinations(found)
		slices.SortFunc(found, compareDestinations)
		if len(found) == 0 {
			if name := at.x.alternate.Load(); name != nil {
				if ae := v.exchange(*name); ae != nil {
					w.Alternate = true
					reach(ae, append(slices.Clone(at.path), Hop{Kind: ToExchange, Name: ae.name, Via: HopAlternate}))
				}
			}
			continue
		}
		for _, d := range found {
			if at.x.delayer != nil && d.queue == Queue(at.x.delayer) {
				w.addPath(at.path, Hop{Kind: ToExchange, Name: at.x.name, Via: HopDelay})
				continue
			}
			matched := w.matched(at.x, d, keys, m)
			hop := Hop{Kind: d.kind(), Name: d.name, Via: HopBinding, Binding: Binding{Source: at.x.name, Destination: d.name, DestinationKind: d.kind()}}
			if len(matched) > 0 {
				hop.Binding = matched[0]
			}
			if d.exchange != nil {
				reach(d.exchange, append(slices.Clone(at.path), hop))
				continue
			}
			if !slices.Contains(w.Queues, d.name) {
				w.Queues = append(w.Queues, d.name)
			}
			w.addPath(at.path, hop)
		}
	}
	return w, nil
}

func (w *Whereto) addPath(path []Hop, last Hop) {
	if len(w.Paths) == wheretoMax {
		w.Cut = true
		return
	}
	w.Paths = append(w.Paths, append(slices.Clone(path), last))
}

// matched notes the bindings from x to d that the message satisfies. A table
// knows destinations only; each binding is tried in a table of its own.
func (w *Whereto) matched(x *Exchange, d *destination, keys []string, m *Message) (matched []Binding) {
	if x.table == nil {
		matched = []Binding{{Destination: d.name, Key: d.name}}
	} else {
		x.vhost.tables.Lock()
		var between []*binding
		for b := range d.bindings.all() {
			if b.source == x {
				between = append(between, &binding{source: b.source, dest: b.dest, key: b.key, args: b.args, argsID: b.argsID})
			}
		}
		x.vhost.tables.Unlock()
		slices.SortFunc(between, func(a, b *binding) int {
			return slices.Compare([]string{a.key, a.argsID}, []string{b.key, b.argsID})
		})
		for _, b := range between {
			t := x.kind.newTable(x.arguments)
			t.add(b, true)
			if hit, _ := t.match(nil, keys, m); len(hit) == 0 {
				continue
			}
			if matched = append(matched, b.public()); len(matched)+len(w.Bindings) > wheretoMax {
				break
			}
		}
	}
	if room := wheretoMax - len(w.Bindings); len(matched) > room {
		w.Cut = true
		w.Bindings = append(w.Bindings, matched[:room]...)
	} else {
		w.Bindings = append(w.Bindings, matched...)
	}
	return matched
}
