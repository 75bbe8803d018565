package access

import (
	"net/url"
	"slices"
	"strings"

	"leveret/core"
	"leveret/core/auth"
	"leveret/core/pattern"
)

// A scope grants an action on what its patterns match:
//
//	read:VHOST/NAME       queues and exchanges
//	write:VHOST/NAME/KEY  those, and keys of topic exchanges
//
// As in RabbitMQ a scope without a pattern for keys grants none of a topic
// exchange, and one on anything in a virtual host lets its user enter it.
type scope struct {
	text   string // Without the prefix.
	action auth.Action
	parts  []part // vhost, name and perhaps key.
}

// part is one of a scope's patterns.
type part struct {
	pieces []string       // Between the wildcards, if it has no variables.
	regex  *pattern.Regex // In its place, with the syntax regex.
	raw    string         // With variables, which are known when it is asked for.
}

// scopesMax is how many scopes a token may have, scopeLenMax how long one may be.
const (
	scopesMax   = 2048
	scopeLenMax = 4096
)

// parseScope reads a scope without its prefix. What is none, such as a tag, is
// no grant.
func parseScope(text string, regex bool) (s scope, ok bool) {
	word, rest, found := strings.Cut(text, ":")
	if !found || len(text) > scopeLenMax {
		return s, false
	}
	switch word {
	case "configure":
		s.action = auth.Configure
	case "write":
		s.action = auth.Write
	case "read":
		s.action = auth.Read
	default:
		return s, false
	}
	raw := strings.Split(rest, "/")
	if len(raw) != 2 && len(raw) != 3 {
		return s, false
	}
	s.text = text
	for _, r := range raw {
		p := part{raw: r}
		if !variable(r) {
			if p, ok = compilePart(r, regex); !ok {
				return s, false
			}
		}
		s.parts = append(s.parts, p)
	}
	return s, true
}

// compilePart makes a pattern of r, which has no variables left.
func compilePart(r string, regex bool) (p part, ok bool) {
	if regex {
		re, err := pattern.Compile(`\A(?:` + r + `)\z`)
		return part{regex: re}, err == nil
	}
	for _, piece := range strings.Split(r, "*") {
		plain, err := url.QueryUnescape(piece)
		if err != nil {
			return p, false
		}
		p.pieces = append(p.pieces, plain)
	}
	return p, true
}

// variable reports whether r may have variables.
func variable(r string) bool { return strings.Contains(r, "{") }

// expand puts values in for {vhost} and {claim}, literally. What is no claim
// that is text stands for its own name, as in RabbitMQ.
func expand(r string, regex bool, value func(name string) (string, bool)) string {
	var b strings.Builder
	for {
		before, rest, open := strings.Cut(r, "{")
		name, after, closed := strings.Cut(rest, "}")
		b.WriteString(before)
		if !open || !closed {
			return b.String()
		}
		v, ok := value(name)
		if !ok {
			v = name
		}
		if regex {
			b.WriteString(pattern.Quote(v))
		} else {
			b.WriteString(strings.ReplaceAll(url.QueryEscape(v), "*", "%2A"))
		}
		r = after
	}
}

func (p *part) matches(subject string) bool {
	if p.regex != nil {
		return p.regex.MatchString(subject)
	}
	return wildcard(p.pieces, subject)
}

// wildcard reports whether s is the pieces with anything between them.
func wildcard(pieces []string, s string) bool {
	last := len(pieces) - 1
	s, ok := strings.CutPrefix(s, pieces[0])
	if !ok || last == 0 {
		return ok && s == ""
	}
	for _, piece := range pieces[1:last] {
		i := strings.Index(s, piece)
		if i < 0 {
			return false
		}
		s = s[i+len(piece):]
	}
	return strings.HasSuffix(s, pieces[last])
}

// grants is what a token allows.
type grants struct {
	scopes []scope
	regex  bool
	claims map[string]string // Those that are text and that a scope names.
}

// match finds the scope that answers q with yes.
func (g *grants) match(q *core.AccessQuestion) (*scope, bool) {
	for i := range g.scopes {
		if g.grants(&g.scopes[i], q) {
			return &g.scopes[i], true
		}
	}
	return nil, false
}

func (g *grants) grants(s *scope, q *core.AccessQuestion) bool {
	if q.Kind == core.OnVHost {
		return g.part(&s.parts[0], q.VHost, q)
	}
	if s.action != q.Action || q.Kind == core.OnTopic && len(s.parts) < 3 {
		return false
	}
	return g.part(&s.parts[0], q.VHost, q) && g.part(&s.parts[1], q.Name, q) &&
		(q.Kind != core.OnTopic || g.part(&s.parts[2], q.Key, q))
}

// part reports whether p, with its variables, matches subject.
func (g *grants) part(p *part, subject string, q *core.AccessQuestion) bool {
	if p.pieces != nil || p.regex != nil {
		return p.matches(subject)
	}
	text := expand(p.raw, g.regex, func(name string) (string, bool) {
		if name == "vhost" {
			return q.VHost, true
		}
		v, ok := g.claims[name]
		return v, ok
	})
	now, ok := compilePart(text, g.regex)
	return ok && now.matches(subject)
}

// scopesOf reads all scopes of a token's claims, those without the prefix left
// out and the others without it.
func (o *JWTOptions) scopesOf(claims map[string]any) []string {
	all := o.list(claims["scope"])
	for _, path := range append([]string{"authorization.permissions.scopes"}, strings.Fields(o.AdditionalScopesKey)...) {
		all = append(all, o.at(claims, strings.Split(path, "."))...)
		if len(all) > 2*scopesMax {
			break
		}
	}
	for _, s := range all[:len(all):len(all)] {
		all = append(all, o.ScopeAliases[s]...)
	}
	var own []string
	for _, s := range all {
		if rest, ok := strings.CutPrefix(s, o.ScopePrefix); ok {
			own = append(own, rest)
		}
	}
	slices.Sort(own)
	return slices.Compact(own)
}

// list reads a claim that has scopes: text with spaces, a list, or an object
// that has either under the name of the resource server.
func (o *JWTOptions) list(v any) []string {
	switch v := v.(type) {
	case string:
		return strings.Fields(v)
	case []any:
		var out []string
		for _, e := range v {
			if s, ok := e.(string); ok {
				out = append(out, s)
			}
		}
		return out
	case map[string]any:
		mine, ok := v[o.ResourceServerID]
		if _, deeper := mine.(map[string]any); !ok || deeper {
			return nil
		}
		out := o.list(mine)
		for i := range out {
			out[i] = o.ResourceServerID + "." + out[i]
		}
		return out
	}
	return nil
}

// at follows a path into a claim, through objects and lists of objects.
func (o *JWTOptions) at(v any, path []string) []string {
	if len(path) == 0 {
		return o.list(v)
	}
	switch v := v.(type) {
	case map[string]any:
		if next, ok := v[path[0]]; ok {
			return o.at(next, path[1:])
		}
	case []any:
		var out []string
		for _, e := range v {
			if m, ok := e.(map[string]any); ok {
				out = append(out, o.at(m, path)...)
			}
		}
		return out
	}
	return nil
}
