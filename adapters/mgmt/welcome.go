package mgmt

import (
	"io"
	"net/http"
)

const welcomePage = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Leveret</title>
<h1>Leveret</h1>
<p>A message broker is running here. Its web console is not part of this release.</p>
<p>The management API answers below <code>/api</code>, as RabbitMQ's does: try
<a href="api/overview">/api/overview</a>, <a href="api/queues">/api/queues</a> or
<a href="api/connections">/api/connections</a> with a user that is tagged administrator.</p>
<p>On the command line, <code>leveret ctl help</code> lists what can be done.</p>
</html>
`

// welcome tells browsers what there is, and what there is not.
func (s *Server) welcome(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'")
	io.WriteString(w, welcomePage)
}
