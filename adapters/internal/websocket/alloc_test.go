//go:build !race

package websocket

import (
	"context"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"

	"leveret/adapters/internal/netx"
)

// The bytes of an idle client: no buffer, a small stack.
func TestIdleCost(t *testing.T) {
	const n = 200
	arrived := make(chan struct{}, n)
	url := serve(t, Options{Subprotocols: []string{"v12.stomp"}}, func(ctx context.Context, c net.Conn, loggedIn func()) {
		loggedIn()
		in, out := netx.NewIn(c), netx.NewOut(c, netx.OutOptions{})
		defer out.Abort(nil)
		defer in.Release()
		defer context.AfterFunc(ctx, func() { c.Close() })()
		arrived <- struct{}{}
		in.Read()
	})
	var clients []net.Conn
	connect := func() {
		nc, err := net.Dial("tcp", strings.TrimPrefix(url, "ws://"))
		if err != nil {
			t.Fatal(err)
		}
		clients = append(clients, nc)
		t.Cleanup(func() { nc.Close() })
		io.WriteString(nc, "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OTAxMjM0NQ==\r\n\r\n")
		<-arrived
	}
	use := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc + m.StackInuse)
	}
	connect()
	before := use()
	for range n {
		connect()
	}
	each := (use() - before) / n
	t.Logf("%d bytes each, the client's socket included", each)
	if each > 16<<10 {
		t.Errorf("an idle client takes %d bytes", each)
	}
}
