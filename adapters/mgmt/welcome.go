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
<p>A message broker is running here. People use its <a href="../">web console</a>.</p>
<p>The management API answers below <code>/api</code>, as RabbitMQ's does: try
<a href="overview">/api/overview</a>, <a href="queues">/api/queues</a> or
<a href="connections">/api/connections</a> with a user that is tagged administrator.</p>
<p>On the command line, <code>leveret ctl help</code> lists what can be done.</p>
</html>
`

// welcome tells browsers what there is below /api.
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
