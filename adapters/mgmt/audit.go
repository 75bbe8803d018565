package mgmt

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
)

// What is changed through this API is written down: a line of the log for each
// request that is to change something, and the last ones are kept to be listed.
// Secrets are not in it.

const (
	auditMax       = 1000
	auditDetailMax = 2 << 10
	auditTextMax   = 512
)

// auditEntry is an administrative act.
type auditEntry struct {
	ID                 uint64
	AtMS               int64
	User, Peer, Via    string
	Act, Object, VHost string
	Detail             string // What was sent, as JSON; may be cut.
	Outcome, Reason    string
	Status             int
}

// audit keeps the last acts.
type audit struct {
	log *slog.Logger // Fixed.

	mu struct {
		sync.Mutex
		ring []auditEntry // The oldest one is at next once it is full.
		next int
		ids  uint64
	}
}

// add writes e down.
func (a *audit) add(e auditEntry) {
	a.mu.Lock()
	a.mu.ids++
	e.ID = a.mu.ids
	if len(a.mu.ring) < auditMax {
		a.mu.ring = append(a.mu.ring, e)
	} else {
		a.mu.ring[a.mu.next] = e
		a.mu.next = (a.mu.next + 1) % auditMax
	}
	a.mu.Unlock()
	attrs := []slog.Attr{
		slog.String("user", e.User), slog.String("peer", e.Peer), slog.String("via", e.Via),
		slog.String("act", e.Act), slog.String("object", e.Object),
	}
	if e.VHost != "" {
		attrs = append(attrs, slog.String("vhost", e.VHost))
	}
	if e.Detail != "" {
		attrs = append(attrs, slog.String("detail", e.Detail))
	}
	attrs = append(attrs, slog.String("outcome", e.Outcome), slog.Int("status", e.Status))
	if e.Reason != "" {
		attrs = append(attrs, slog.String("reason", e.Reason))
	}
	a.log.LogAttrs(context.Background(), slog.LevelInfo, "audit", attrs...)
}

// list returns the acts that are kept, newest first.
func (a *audit) list() []auditEntry {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]auditEntry, 0, len(a.mu.ring))
	for i := range a.mu.ring {
		out = append(out, a.mu.ring[(a.mu.next+len(a.mu.ring)-1-i)%len(a.mu.ring)])
	}
	return out
}

func (c *call) listAudit() error {
	rows := []row{}
	for _, e := range c.s.audit.list() {
		text := strings.Join([]string{e.User, e.Act, e.Object, e.VHost}, " ")
		// Lists are sorted by virtual host first: this one has the newest first.
		rows = append(rows, row{fmt.Sprintf("%020d", ^e.ID), text, func() object {
			return object{
				"id": e.ID, "time": e.AtMS, "user": e.User, "peer": e.Peer, "via": e.Via, "act": e.Act, "object": e.Object,
				"vhost": orNull(e.VHost), "detail": e.Detail, "outcome": e.Outcome, "status": e.Status, "reason": orNull(e.Reason),
			}
		}})
	}
	return c.list(rows)
}

// unaudited are requests other than GET that change nothing an operator answers
// for: work of clients that have only HTTP, and questions.
var unaudited = map[string]bool{
	"POST /exchanges/{vhost}/{exchange}/publish": true,
	"POST /queues/{vhost}/{queue}/get":           true,
	"POST /exchanges/{vhost}/{exchange}/route":   true,
	"POST /definitions/plan":                     true,
	"POST /login":                                true,
	"POST /auth/explain":                         true,
}

// auditNames are acts that their method and path do not name well.
var auditNames = map[string]string{
	"DELETE /queues/{vhost}/{queue}/contents":           "purge queue",
	"POST /queues/{vhost}/{queue}/move":                 "move messages",
	"POST /queues/{vhost}/{queue}/actions":              "act on queue",
	"DELETE /moves/{id}":                                "cancel move",
	"PUT /exchanges/{vhost}/{exchange}/delayed/{id}":    "re-time delayed message",
	"DELETE /exchanges/{vhost}/{exchange}/delayed/{id}": "cancel delayed message",
	"POST /vhosts/{name}/start/{node}":                  "start vhost",
	"POST /users/bulk-delete":                           "delete users",
	"POST /definitions":                                 "import definitions",
	"POST /definitions/{vhost}":                         "import definitions",
	"POST /definitions/apply":                           "import definitions",
	"POST /all-configuration":                           "import definitions",
	"POST /backup":                                      "back up",
	"POST /rebalance/queues":                            "rebalance queues",
	"POST /nodes/{node}/reset":                          "reset node",
	"DELETE /reset":                                     "reset statistics",
	"DELETE /reset/{node}":                              "reset statistics",
	"PUT /feature-flags/{feature}/enable":               "enable feature flag",
	"PUT /alarms/{resource}/limit":                      "set alarm limit",
	"DELETE /shovels/vhost/{vhost}/{name}":              "delete shovel",
	"DELETE /shovels/vhost/{vhost}/{name}/restart":      "restart shovel",
	"DELETE /connections/{connection}":                  "close connection",
	"DELETE /connections/username/{user}":               "close connections of user",
}

// auditVerbs are what methods do to what paths name.
var auditVerbs = map[string]string{http.MethodPut: "set", http.MethodPost: "create", http.MethodDelete: "delete"}

// auditAct is what a request does: "set policy", "delete queue".
func auditAct(method, path string) string {
	if name := auditNames[method+" "+path]; name != "" {
		return name
	}
	words := []string{auditVerbs[method]}
	for i, part := range strings.Split(strings.Trim(path, "/"), "/") {
		switch {
		case strings.HasPrefix(part, "{") || part == "e":
			continue
		case i > 0:
		case strings.HasSuffix(part, "ies"):
			part = strings.TrimSuffix(part, "ies") + "y"
		default:
			part = strings.TrimSuffix(part, "s")
		}
		words = append(words, strings.ReplaceAll(part, "-", " "))
	}
	return strings.Join(words, " ")
}

// recorder notes how a request was answered.
type recorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController find what it needs.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// audited has c's request written down when the result is called. path is its
// pattern. Nothing is written down of what only looks.
func (c *call) audited(path string) (done func()) {
	method := c.r.Method
	if auditVerbs[method] == "" || c.look != nil || unaudited[method+" "+path] {
		return func() {}
	}
	rec := &recorder{ResponseWriter: c.w}
	c.w = rec
	return func() {
		e := auditEntry{
			AtMS: time.Now().UnixMilli(), User: c.user.Name, Peer: c.peer(), Via: c.via(), Act: auditAct(method, path),
			Detail: auditDetail(c.sent), Outcome: "ok", Reason: c.reason, Status: rec.status,
		}
		if e.User == "" {
			e.User, _, _ = c.r.BasicAuth() // Who it says it is.
		}
		e.VHost, e.Object = c.subject(path)
		switch {
		case rec.status == http.StatusUnauthorized || rec.status == http.StatusForbidden:
			e.Outcome = "refused"
		case rec.status >= 400 || rec.status == 0:
			e.Outcome = "failed"
		}
		for _, s := range []*string{&e.User, &e.Object, &e.VHost, &e.Reason} {
			*s = cut(*s, auditTextMax)
		}
		c.s.audit.add(e)
	}
}

func cut(s string, max int) string {
	if len(s) <= max {
		return s
	}
	return strings.ToValidUTF8(s[:max], "") + "…"
}

// peer is where the request comes from.
func (c *call) peer() string {
	host, _, err := net.SplitHostPort(c.r.RemoteAddr)
	if err != nil {
		return "local" // A Unix socket has no address to speak of.
	}
	return host
}

// CtlAgent is how leveret ctl names itself in User-Agent.
const CtlAgent = "leveret-ctl"

// via is what the request was made with, as far as that says so.
func (c *call) via() string {
	if strings.HasPrefix(c.r.UserAgent(), CtlAgent) {
		return "ctl"
	}
	return "http"
}

// subject is what the request is about, from its path: the segments that name
// something, the virtual host apart.
func (c *call) subject(path string) (vhost, object string) {
	var names []string
	for part := range strings.SplitSeq(path, "/") {
		if !strings.HasPrefix(part, "{") {
			continue
		}
		name := strings.Trim(part, "{}")
		if value := c.param(name); name == "vhost" || name == "perm-vhost" {
			vhost = value
		} else if chi.URLParam(c.r, name) != "" {
			names = append(names, value)
		}
	}
	return vhost, strings.Join(names, " ")
}

// auditDetail is what was sent, without secrets.
func auditDetail(sent body) string {
	if len(sent) == 0 {
		return ""
	}
	b, err := json.Marshal(masked(map[string]any(sent)))
	if err != nil {
		return ""
	}
	return cut(string(b), auditDetailMax)
}

const mask = "***"

// secretName finds names of values that are nobody's business; userInfo, the
// user and password in an address.
var (
	secretName = regexp.MustCompile(`(?i)passw|secret|token|hash|private.?key|credential`)
	userInfo   = regexp.MustCompile(`://[^/\s"]*@`)
)

// masked is a copy of v, as encoding/json decodes it, without secrets.
func masked(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, value := range v {
			if _, text := value.(string); text && secretName.MatchString(name) {
				out[name] = mask
			} else {
				out[name] = masked(value)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = masked(v[i])
		}
		return out
	case string:
		return userInfo.ReplaceAllString(v, "://"+mask+"@")
	}
	return v
}
