//go:build clients

package clients

import (
	"net/url"
	"path"
	"testing"
)

// TestStompjs drives the broker as a browser does.
func TestStompjs(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(newVhost(t))
	if err != nil {
		t.Fatal(err)
	}
	p := node(t, "stomp_web.js", "200").with("WEB_STOMP_URL=ws://"+broker.webSTOMP+"/ws", "VHOST="+path.Base(u.Path))
	wantLines(t, p.run(t, u.String()),
		"connected, version 1.2",
		"subscribed",
		"200 receipts",
		"received 202, in order",
		"binary of 1048576 bytes, the same",
		"last: last",
		"error: not_found",
		"connected again",
		"disconnected",
	)
}
