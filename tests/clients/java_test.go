//go:build clients

package clients

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// java is a program of tests/clients/java.
func java(t *testing.T, class string, args ...string) program {
	t.Helper()
	target := filepath.Join(repository(), "tests", "clients", "java", "target")
	if _, err := os.Stat(filepath.Join(target, "dependency")); err != nil {
		t.Fatalf("%v: run make prepare", err)
	}
	path := filepath.Join(target, "classes") + string(os.PathListSeparator) + filepath.Join(target, "dependency", "*")
	// One small heap, one compiler: it shares two cores with other tests.
	return program{argv: append([]string{"java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", path, "leveret." + class}, args...)}
}

// waitLines waits until the program has printed each of these lines, in any
// order.
func (p *process) waitLines(want ...string) {
	p.t.Helper()
	deadline := time.After(patience)
	over := p.exited
	for ended := false; ; {
		p.mu.Lock()
		missing := slices.DeleteFunc(slices.Clone(want), func(l string) bool { return slices.Contains(p.mu.lines, l) })
		more := p.mu.more
		p.mu.Unlock()
		switch {
		case len(missing) == 0:
			return
		case ended:
			p.t.Fatalf("%s ended (%v) before it printed %q", p.name, p.err, missing)
		}
		select {
		case <-more:
		case <-over:
			ended = true
		case <-deadline:
			p.abort()
			p.t.Fatalf("%s did not print %q", p.name, missing)
		}
	}
}

// TestJava runs RabbitMQ's Java client and Spring AMQP over a restart of the
// broker: both declare anew what they had, and go on consuming.
func TestJava(t *testing.T) {
	t.Parallel()
	binary := broker.binary
	if binary == "" {
		t.Log("the broker under test is not ours to kill: a leveret is built")
		var err error
		if binary, err = buildLeveret(t.TempDir()); err != nil {
			t.Fatal(err)
		}
	}
	log, data := filepath.Join(t.TempDir(), "broker.log"), t.TempDir()
	b, err := startLeveret(binary, log, data)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.kill() })
	url := b.amqp.String() + "/%2F"
	recovery := java(t, "Recovery", url).start(t, url)
	spring := java(t, "Spring", url).start(t, url)
	recovery.waitLines("durable first", "own first", "published")
	spring.waitLines("confirmed true", "returned 312 NO_ROUTE", "durable first", "plain first", "published")

	b.kill()
	<-b.exited
	addrs := []string{b.amqp.Host, b.http.Host, b.stomp, b.webSTOMP, b.mqtt}
	if b, err = startLeveretOn(binary, log, data, addrs); err != nil {
		t.Fatal(err)
	}
	recovery.waitLines("recovered")
	c, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ch, err := c.Channel()
	if err != nil {
		t.Fatal(err)
	}
	publish := func(exchange, key, body string) {
		t.Helper()
		if err := ch.PublishWithContext(t.Context(), exchange, key, false, false, amqp.Publishing{Body: []byte(body), DeliveryMode: amqp.Persistent}); err != nil {
			t.Fatal(err)
		}
	}
	publish("java.events", "own.y", "again")
	publish("java.events", "durable.y", "again")
	publish("spring.events", "durable.y", "again")
	publish("spring.events", "plain.y", "again")
	recovery.waitLines("own again", "durable again")
	spring.waitLines("durable again", "plain again")
	publish("java.events", "durable.y", "end")
	publish("spring.events", "durable.y", "end")
	publish("spring.events", "plain.y", "end")
	for _, p := range []*process{recovery, spring} {
		if out := p.finish(); !strings.HasSuffix(out, "\nbye") {
			t.Errorf("%s printed:\n%s", p.name, out)
		}
	}
	if err := b.stop(); err != nil {
		t.Errorf("leveret after SIGTERM: %v\n%s", err, b.logTail(4<<10))
	}
	if err := b.checkLog(); err != nil {
		t.Error(err)
	}
}
