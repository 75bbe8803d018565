package persist_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"leveret/core"
	"leveret/persist"
	"leveret/persist/vfs"
)

// largeDefinitions is a file with n queues, each bound to one of a hundred topic
// exchanges, as RabbitMQ exports it.
func largeDefinitions(n int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"rabbit_version":"3.13.7","vhosts":[{"name":"/"}],"exchanges":[`)
	for i := range 100 {
		fmt.Fprintf(&b, `{"name":"exchange-%03d","vhost":"/","type":"topic","durable":true,"auto_delete":false,"internal":false,"arguments":{}},`, i)
	}
	b.Truncate(b.Len() - 1)
	b.WriteString(`],"queues":[`)
	for i := range n {
		fmt.Fprintf(&b, `{"name":"queue-%06d","vhost":"/","durable":true,"auto_delete":false,"arguments":{"x-max-length":%d,"x-queue-type":"classic"}},`, i, i+1)
	}
	b.Truncate(b.Len() - 1)
	b.WriteString(`],"bindings":[`)
	for i := range n {
		fmt.Fprintf(&b, `{"source":"exchange-%03d","vhost":"/","destination":"queue-%06d","destination_type":"queue","routing_key":"dev.%d.#","arguments":{}},`, i%100, i, i)
	}
	b.Truncate(b.Len() - 1)
	b.WriteString(`]}`)
	return b.Bytes()
}

// storedBroker is a broker over a data directory. The caller closes both.
func storedBroker(t testing.TB, dir string) (*core.Broker, *persist.Store) {
	t.Helper()
	s, err := persist.Open(vfs.OS, dir, persist.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	b, err := core.New(core.Options{Definitions: s.Definitions, Log: s.Log, Streams: s.Streams, KeepUnknownQueues: s.MayLackQueues, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return b, s
}

// A large import is what it says, at once, after a restart, and on the next
// broker that imports its export.
func TestLargeImport(t *testing.T) {
	const n = 3000
	file, dir := largeDefinitions(n), t.TempDir()
	b, _ := storedBroker(t, dir)
	if r, err := b.ImportDefinitions(file, ""); err != nil || len(r.Skipped) > 0 {
		t.Fatalf("%v %v", r, err)
	}
	export := func(b *core.Broker) []byte {
		out, err := b.ExportDefinitions("")
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	same := func(b *core.Broker, file []byte) {
		t.Helper()
		if p, err := b.PlanDefinitions(file, ""); err != nil || len(p.Add)+len(p.Change)+len(p.Refuse) > 0 || p.Same < 2*n+100 {
			t.Errorf("%v: %d to add, %d to change, %d refused, %d the same", err, len(p.Add), len(p.Change), len(p.Refuse), p.Same)
		}
	}
	first := export(b)
	same(b, file)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b, _ = storedBroker(t, dir)
	if !bytes.Equal(export(b), first) {
		t.Error("another export after a restart")
	}
	b.Close()
	b, _ = storedBroker(t, t.TempDir())
	defer b.Close()
	if _, err := b.ImportDefinitions(first, ""); err != nil {
		t.Fatal(err)
	}
	same(b, first)
	if !bytes.Equal(export(b), first) {
		t.Error("another export elsewhere")
	}
}

// BenchmarkImport is 100,000 queues and as many bindings.
func BenchmarkImport(b *testing.B) {
	file := largeDefinitions(100_000)
	for b.Loop() {
		broker, _ := storedBroker(b, b.TempDir())
		began := time.Now()
		if _, err := broker.ImportDefinitions(file, ""); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(began).Seconds(), "s/import")
		began = time.Now()
		out, err := broker.ExportDefinitions("")
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(began).Seconds(), "s/export")
		began = time.Now()
		if _, err := broker.PlanDefinitions(out, ""); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(began).Seconds(), "s/plan")
		broker.Close()
	}
}
