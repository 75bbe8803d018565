package mqtt

import (
	"slices"
	"strings"

	"leveret/core/topic"
)

// filter is one subscription of a session, as deliveries need it.
type filter struct {
	name    string // The client's text.
	pattern string
	id      uint64 // Its number in the trie.
	subID   uint32 // Subscription Identifier, 0 for none.
	qos     byte
	noLocal bool
	asPub   bool // Retain As Published.
	hides   bool // Does not match topics that begin with '$'.
}

// grant is how a delivery goes out, as the filters that match its topic say
// together (3.3.4, 3.3.5-1).
type grant struct {
	qos   byte // The highest granted.
	asPub bool
	send  bool
	ids   []uint32
	own   *grant // For what this client published itself; nil: the same.
}

// filters are the unshared subscriptions of a session. A session has one queue
// and gets a message once, whatever the number of filters that match: which
// these are is found out here, and remembered by topic. Guarded by the
// connection's out-buffer lock.
type filters struct {
	byName map[string]*filter
	trie   *topic.Trie[*filter] // Built when it is first needed.
	lastID uint64

	// all is the grant of every topic that does not begin with '$' if all filters
	// say the same; that is so in most sessions.
	all   *grant
	cache map[string]*grant
}

// cacheMax bounds how many topics a session remembers.
const cacheMax = 512

// set adds or replaces a filter. It returns what it replaced.
func (fs *filters) set(f *filter) (old *filter) {
	if fs.byName == nil {
		fs.byName = make(map[string]*filter, 1)
	}
	old = fs.byName[f.name]
	fs.lastID++
	f.id = fs.lastID
	fs.byName[f.name] = f
	fs.change(old, f)
	return old
}

// remove takes a filter away.
func (fs *filters) remove(name string) {
	if f := fs.byName[name]; f != nil {
		delete(fs.byName, name)
		fs.change(f, nil)
	}
}

// change brings what is derived from the filters up to date.
func (fs *filters) change(out, in *filter) {
	fs.cache = nil
	if fs.trie != nil {
		if out != nil {
			fs.trie = fs.trie.Without(out.pattern, out.id)
		}
		if in != nil {
			fs.trie = fs.trie.With(in.pattern, in.id, in)
		}
	}
	switch {
	case len(fs.byName) == 1:
		fs.all = fs.same()
	case fs.all != nil && in != nil && in.subID == 0 && fs.all.qos == in.qos && fs.all.asPub == in.asPub &&
		(fs.all.own == &nothing) == in.noLocal && fs.all.ids == nil:
	case fs.all != nil && in == nil:
	default:
		fs.all = fs.same()
	}
}

// nothing is the grant of what is not sent.
var nothing grant

// same returns the grant that all filters agree on, or nil.
func (fs *filters) same() *grant {
	var first *filter
	for _, f := range fs.byName {
		if first == nil {
			first = f
			continue
		}
		if f.subID != 0 || first.subID != 0 || f.qos != first.qos || f.asPub != first.asPub || f.noLocal != first.noLocal {
			return nil
		}
	}
	if first == nil {
		return nil
	}
	return first.grant()
}

// grant is f's alone.
func (f *filter) grant() *grant {
	g := &grant{qos: f.qos, asPub: f.asPub, send: true}
	if f.subID != 0 {
		g.ids = []uint32{f.subID}
	}
	if f.noLocal {
		g.own = &nothing
	}
	return g
}

// of returns the grant of a routing key.
func (fs *filters) of(key string, own bool) *grant {
	g := fs.all
	if g == nil || key != "" && key[0] == '$' {
		if g = fs.cache[key]; g == nil {
			g = fs.find(key)
		}
	}
	if own && g.own != nil {
		return g.own
	}
	return g
}

// find works out the grant of a key and remembers it.
func (fs *filters) find(key string) *grant {
	if fs.trie == nil {
		b := topic.NewBuilder[*filter](nil)
		for _, f := range fs.byName {
			b.Set(f.pattern, f.id, f)
		}
		fs.trie = b.Trie()
	}
	var matching []*filter
	hidden := false
	for _, f := range fs.trie.Match(nil, key) {
		if f.hides && key != "" && key[0] == '$' {
			hidden = true
			continue
		}
		matching = append(matching, f)
	}
	g := join(matching, func(*filter) bool { return true })
	if len(matching) == 0 && !hidden {
		// In the queue by a binding that is not ours, or for a filter that is no
		// longer there.
		g = &grant{qos: 1, send: true}
	} else if slices.ContainsFunc(matching, func(f *filter) bool { return f.noLocal }) {
		g.own = join(matching, func(f *filter) bool { return !f.noLocal })
	}
	if fs.cache == nil || len(fs.cache) >= cacheMax {
		fs.cache = make(map[string]*grant)
	}
	fs.cache[strings.Clone(key)] = g
	return g
}

// join is the grant of those filters that keep agrees to.
func join(fs []*filter, keep func(*filter) bool) *grant {
	g := &grant{}
	for _, f := range fs {
		if !keep(f) {
			continue
		}
		g.send = true
		g.qos = max(g.qos, f.qos)
		g.asPub = g.asPub || f.asPub
		if f.subID != 0 && !slices.Contains(g.ids, f.subID) {
			g.ids = append(g.ids, f.subID)
		}
	}
	slices.Sort(g.ids)
	return g
}
