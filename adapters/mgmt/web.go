package mgmt

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// WebOptions say how browsers are met.
type WebOptions struct {
	// PathPrefix stands before every path, "/broker" for example; "" for none.
	PathPrefix string
	// CORSOrigins are the origins of other pages that may use the API, "*" for
	// any, which then cannot log in with what the browser keeps. Nil for none.
	CORSOrigins []string
	// CORSMaxAge is how long browsers may remember that. [30 min]
	CORSMaxAge time.Duration
	// SessionTimeout is after how long without anybody there the console logs
	// out; 0 leaves it to the console.
	SessionTimeout time.Duration
}

// prefix is PathPrefix as it stands in URLs.
func (o *WebOptions) prefix() string {
	if p := strings.Trim(o.PathPrefix, "/"); p != "" {
		return "/" + p
	}
	return ""
}

const corsMaxAge = 30 * time.Minute

// cors answers what browsers ask before a page of another origin may use the
// API, and says so with every answer to one. It reports whether the request
// was nothing but that question.
func (c *call) cors(allow []string) (asked bool) {
	origin := c.r.Header.Get("Origin")
	o := &c.s.opts.Web
	if origin == "" || !slices.Contains(o.CORSOrigins, "*") && !slices.Contains(o.CORSOrigins, origin) {
		return false
	}
	h := c.w.Header()
	if slices.Contains(o.CORSOrigins, "*") {
		h.Set("Access-Control-Allow-Origin", "*")
	} else {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	if c.r.Method != http.MethodOptions {
		return false
	}
	age := o.CORSMaxAge
	if age == 0 {
		age = corsMaxAge
	}
	h.Set("Access-Control-Max-Age", strconv.Itoa(int(age/time.Second)))
	h.Set("Access-Control-Allow-Methods", strings.Join(allow, ", "))
	if wanted := c.r.Header.Get("Access-Control-Request-Headers"); wanted != "" {
		h.Set("Access-Control-Allow-Headers", wanted)
	}
	return true
}

// under serves next below prefix; what is elsewhere is not found, but for the
// root, which leads there.
func under(prefix string, next, notFound http.Handler) http.Handler {
	if prefix == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw := r.URL.EscapedPath()
		rest, ok := strings.CutPrefix(raw, prefix)
		switch {
		case raw == "/", ok && rest == "":
			http.Redirect(w, r, prefix+"/", http.StatusMovedPermanently)
			return
		case !ok || rest[0] != '/':
			notFound.ServeHTTP(w, r)
			return
		}
		path, err := url.PathUnescape(rest)
		if err != nil {
			notFound.ServeHTTP(w, r)
			return
		}
		inner := r.Clone(r.Context())
		inner.URL.Path, inner.URL.RawPath = path, rest
		next.ServeHTTP(w, inner)
	})
}

// getAuth tells browsers how to log in: with a name and a password.
func (c *call) getAuth() error {
	out := object{"enable_uaa": false, "uaa_client_id": "", "uaa_location": "", "oauth_enabled": false}
	if minutes := int(c.s.opts.Web.SessionTimeout / time.Minute); minutes > 0 {
		out["login_session_timeout"] = minutes
	}
	return c.ok(out)
}
