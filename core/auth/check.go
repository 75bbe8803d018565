package auth

import (
	"fmt"
	"regexp"
	"strings"
	"sync"

	"leveret/core/pattern"
)

// Action is what a permission is about.
type Action uint8

// The actions.
const (
	Configure Action = iota // Declare and delete.
	Write                   // Publish to an exchange, bind a queue.
	Read                    // Consume, get, purge; bind to an exchange.
)

// String names a as RabbitMQ's refusals do.
func (a Action) String() string {
	switch a {
	case Configure:
		return "configure"
	case Write:
		return "write"
	case Read:
		return "read"
	}
	return fmt.Sprintf("action %d", uint8(a))
}

// HasVHost reports whether user may enter vhost: there is a permission, if only
// one that allows nothing.
func (d *Directory) HasVHost(user, vhost string) bool {
	_, ok := d.state().permission(user, vhost)
	return ok
}

// Allowed reports whether user may do action to the exchange or queue called
// resource in vhost. The default exchange is called amq.default here.
func (d *Directory) Allowed(user, vhost string, action Action, resource string) bool {
	row, ok := d.state().permission(user, vhost)
	return ok && int(action) < len(row.regexes) && row.regexes[action].MatchString(resource)
}

// TopicAllowed reports whether user may do action, Write or Read, with key on
// the topic exchange called exchange in vhost. Without a topic permission for
// that exchange the answer is yes; Allowed must have said yes too.
//
// {username} and {vhost} in the permission stand for user and vhost, any other
// {name} for its value in vars, which may be nil; unknown ones stand for
// themselves. Values are taken literally.
func (d *Directory) TopicAllowed(user, vhost, exchange string, action Action, key string, vars map[string]string) bool {
	a, ok := d.state().access.Get(user)
	if !ok {
		return true
	}
	row, ok := a.topics.Get(topicKey{vhost, exchange})
	if !ok {
		return true
	}
	switch action {
	case Write:
		return row.write.matches(key, vars)
	case Read:
		return row.read.matches(key, vars)
	}
	return false
}

// topicPermission is a TopicPermission ready to be checked.
type topicPermission struct {
	TopicPermission
	write, read *template
}

// A template remembers so many expansions, of so many bytes together. There is
// one for each client id, and clients choose those.
const (
	expandedMax      = 1024
	expandedBytesMax = 64 << 10
)

// placeholder is what stands for a value in a template.
var placeholder = regexp.MustCompile(`\{[a-z_][a-z0-9_]*\}`)

// template is the expression of one user in one virtual host. Their names have
// been put in; placeholders for what a session brings may be left.
type template struct {
	expr  string
	fixed *pattern.Regex // If there are no placeholders left.

	mu struct {
		sync.Mutex
		expanded map[string]*pattern.Regex // By expression.
		bytes    int                       // Length of the expressions in expanded.
	}
}

// compileTemplate checks expr by compiling it with some value for each
// placeholder.
func (d *Directory) compileTemplate(expr, user, vhost string) (*template, error) {
	if len(expr) > pattern.LenMax {
		return nil, fmt.Errorf("regular expression of %d bytes, at most %d are allowed", len(expr), pattern.LenMax)
	}
	// A name that looks like a placeholder does not become one: Quote puts a
	// backslash before its closing brace.
	expr = expand(expr, func(name string) (string, bool) {
		switch name {
		case "username":
			return user, true
		case "vhost":
			return vhost, true
		}
		return "", false
	})
	sample := placeholder.ReplaceAllString(expr, "x")
	re, err := d.compile(sample)
	if err != nil {
		return nil, err
	}
	t := &template{expr: expr}
	if sample == expr {
		t.fixed = re
	}
	return t, nil
}

// expand replaces each {name} in expr by its value, to be taken literally, if it
// has one.
func expand(expr string, value func(name string) (string, bool)) string {
	return placeholder.ReplaceAllStringFunc(expr, func(p string) string {
		if v, ok := value(strings.Trim(p, "{}")); ok {
			return pattern.Quote(v)
		}
		return p
	})
}

func (t *template) matches(key string, vars map[string]string) bool {
	if t.fixed != nil {
		return t.fixed.MatchString(key)
	}
	expr := expand(t.expr, func(name string) (string, bool) {
		if v, ok := vars[name]; ok {
			return v, true
		}
		return "{" + name + "}", true // Unknown: it stands for itself.
	})
	re := t.compiled(expr)
	return re != nil && re.MatchString(key)
}

// compiled returns the compiled form of expr, an expansion of t. It is nil if
// that is no valid expression, because it got too long, for one.
func (t *template) compiled(expr string) *pattern.Regex {
	if expr == "" {
		expr = "^$" // An empty value must not make it match everything.
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if re, ok := t.mu.expanded[expr]; ok {
		return re
	}
	re, err := pattern.Compile(expr)
	if err != nil {
		return nil
	}
	if t.mu.expanded == nil || len(t.mu.expanded) >= expandedMax || t.mu.bytes+len(expr) > expandedBytesMax {
		t.mu.expanded, t.mu.bytes = make(map[string]*pattern.Regex), 0
	}
	t.mu.expanded[expr] = re
	t.mu.bytes += len(expr)
	return re
}
