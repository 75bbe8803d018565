package crash

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"leveret/tests/internal/brokertest"
)

// patience is how long a test waits for anything that ought to happen soon.
const patience = 30 * time.Second

// What every test shares, fixed by TestMain.
var (
	leveret string        // Path of the binary.
	lasts   time.Duration // How long the kill -9 loop goes on; 0 for the short form.
)

func TestMain(m *testing.M) { os.Exit(runAll(m)) }

func runAll(m *testing.M) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, "crash:", err)
		return 1
	}
	if s := os.Getenv("LEVERET_CRASH"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			return fail(fmt.Errorf("LEVERET_CRASH: %w", err))
		}
		lasts = d
	}
	dir, err := os.MkdirTemp("", "leveret-crash-")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // Some brokers run as nobody.
		return fail(err)
	}
	if leveret = os.Getenv("LEVERET_CRASH_BINARY"); leveret != "" {
		return m.Run()
	}
	repository, err := filepath.Abs("../..")
	if err != nil {
		return fail(err)
	}
	if leveret, err = brokertest.Build(repository, dir, os.Getenv("LEVERET_CRASH_RACE") != ""); err != nil {
		return fail(err)
	}
	return m.Run()
}

// place is a data directory and the brokers that one after the other use it.
type place struct {
	*testing.T
	dir   string
	log   string
	flags []string
	run   []string
	uid   uint32
}

func newPlace(t *testing.T, flags ...string) *place {
	t.Helper()
	dir := t.TempDir()
	return &place{T: t, dir: filepath.Join(dir, "data"), log: filepath.Join(dir, "broker.log"), flags: flags}
}

// options are how this place starts brokers.
func (p *place) options() brokertest.Options {
	return brokertest.Options{Binary: leveret, DataDir: p.dir, Log: p.log, Args: p.flags, Run: p.run, UID: p.uid}
}

// start starts a broker that must work. It is killed when the test ends.
func (p *place) start() *brokertest.Broker {
	p.Helper()
	b, err := brokertest.Start(p.options())
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() {
		b.Kill()
		if err := b.CheckLog(); err != nil {
			p.Error(err)
		}
		if p.Failed() {
			p.Logf("the end of the broker's log:\n%s", b.LogTail(4<<10))
		}
	})
	return b
}

// dial connects to a broker that may not be ready yet.
func dial(b *brokertest.Broker) (*amqp.Connection, error) {
	return amqp.DialConfig("amqp://guest:guest@"+b.AMQP+"/", amqp.Config{Heartbeat: 30 * time.Second})
}

// connect is dial for connections that must come about.
func (p *place) connect(b *brokertest.Broker) *amqp.Connection {
	p.Helper()
	c, err := dial(b)
	if err != nil {
		p.Fatalf("connect: %v\n%s", err, b.LogTail(4<<10))
	}
	p.Cleanup(func() {
		closed := make(chan struct{})
		go func() { // Ends at the latest when the broker has been killed.
			defer close(closed)
			c.CloseDeadline(time.Now().Add(time.Second)) // It may be held.
		}()
		select {
		case <-closed:
		case <-time.After(2 * time.Second):
		}
	})
	return c
}

// channel opens a channel on a connection of its own.
func (p *place) channel(b *brokertest.Broker) *amqp.Channel {
	p.Helper()
	ch, err := p.connect(b).Channel()
	p.must(err)
	return ch
}

func (p *place) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

// queue declares a durable queue.
func (p *place) queue(ch *amqp.Channel, name string) {
	p.Helper()
	_, err := ch.QueueDeclare(name, true, false, false, false, nil)
	p.must(err)
}

// depth is how many messages are ready in a durable queue.
func (p *place) depth(ch *amqp.Channel, name string) int {
	p.Helper()
	q, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
	p.must(err)
	return q.Messages
}
