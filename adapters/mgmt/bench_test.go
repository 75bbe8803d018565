package mgmt

import (
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"leveret/core"
)

// crowded is a broker with n queues, all of which have seen a message.
func crowded(b *testing.B, n int) *fixture {
	b.Helper()
	f := newFixture(b)
	s := f.session("admin", "/")
	for i := range n {
		name := fmt.Sprintf("queue-%06d", i)
		if _, err := s.DeclareQueue(core.QueueDeclare{Name: name, Durable: true}); err != nil {
			b.Fatal(err)
		}
		if _, err := publishOne(s, "", name, nil, []byte("x"), &core.Properties{}); err != nil {
			b.Fatal(err)
		}
	}
	return f
}

// BenchmarkLook is what one sample costs; there is one every five seconds.
func BenchmarkLook(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprintf("queues=%d", n), func(b *testing.B) {
			f := crowded(b, n)
			now := time.Now()
			b.ReportAllocs()
			for b.Loop() {
				now = now.Add(sampleEvery)
				f.server.rates.look(now)
			}
		})
	}
}

// BenchmarkLookActive is the same when every queue has got a message since the
// last one.
func BenchmarkLookActive(b *testing.B) {
	f := crowded(b, 1000)
	s := f.session("admin", "/")
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		for i := range 1000 {
			if _, err := publishOne(s, "", fmt.Sprintf("queue-%06d", i), nil, []byte("x"), &core.Properties{}); err != nil {
				b.Fatal(err)
			}
		}
		now = now.Add(sampleEvery)
		b.StartTimer()
		f.server.rates.look(now)
	}
	b.ReportMetric(float64(f.server.HistoryBytes()), "history-bytes")
}

// BenchmarkListQueues is what a page of the console, and a scrape of all
// queues, cost.
func BenchmarkListQueues(b *testing.B) {
	f := crowded(b, 10000)
	for _, query := range []string{"page=1&page_size=100", "page=50&page_size=100&name=7", "sort=messages&page=1", "columns=name,messages", ""} {
		b.Run("query="+query, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest("GET", "/api/queues?"+query, nil)
				r.RemoteAddr = "127.0.0.1:1"
				r.SetBasicAuth("admin", "adminpw")
				w := httptest.NewRecorder()
				f.server.Handler().ServeHTTP(w, r)
				if w.Code != 200 && w.Code != 400 {
					b.Fatalf("%d: %s", w.Code, w.Body)
				}
			}
		})
	}
}
