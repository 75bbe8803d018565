package crash

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// nobody is a user without rights, for tests that root runs.
const nobody = 65534

// fill publishes n messages of size bytes, numbered from from, to queue q, and
// returns when all are confirmed.
func (p *place) fill(ch *amqp.Channel, q string, from, n, size int) {
	p.Helper()
	p.must(ch.Confirm(false))
	var last *amqp.DeferredConfirmation
	for i := range n {
		conf, err := ch.PublishWithDeferredConfirm("", q, false, false, amqp.Publishing{
			DeliveryMode: amqp.Persistent, Body: bodyOf(uint64(from+i), max(size, 8)),
		})
		p.must(err)
		last = conf
		if i%512 == 0 {
			p.confirmed(last)
		}
	}
	p.confirmed(last) // Confirms come in order: all are here.
}

func (p *place) confirmed(c *amqp.DeferredConfirmation) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), patience)
	defer cancel()
	if ok, err := c.WaitContext(ctx); err != nil || !ok {
		p.Fatalf("not confirmed: %v %v", ok, err)
	}
}

// number is which message of fill d is; its body must be whole.
func (p *place) number(d amqp.Delivery) int {
	p.Helper()
	if len(d.Body) < 8 {
		p.Fatalf("a body of %d bytes", len(d.Body))
	}
	id := binary.LittleEndian.Uint64(d.Body)
	if string(d.Body) != string(bodyOf(id, len(d.Body))) {
		p.Fatalf("message %d has not its own body", id)
	}
	return int(id)
}

// take receives n messages from deliveries.
func (p *place) take(in <-chan amqp.Delivery, n int) []amqp.Delivery {
	p.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	all := make([]amqp.Delivery, 0, n)
	for len(all) < n {
		select {
		case d, ok := <-in:
			if !ok {
				p.Fatalf("the channel was closed after %d of %d messages", len(all), n)
			}
			all = append(all, d)
		case <-timer.C:
			p.Fatalf("%d of %d messages come", len(all), n)
		}
	}
	return all
}

// TestStop asks a broker to end that has messages ready, unacked, requeued and
// acked, in memory and on disk: flags are exact afterwards, nothing is lost,
// nothing is back.
func TestStop(t *testing.T) {
	t.Parallel()
	const n = 3000
	p := newPlace(t, "--queue-memory", "64KiB")
	b := p.start()
	ch := p.channel(b)
	p.queue(ch, "q")
	p.fill(ch, "q", 0, n, 500)
	redelivered, acked := map[int]bool{}, map[int]bool{}
	for range 10 {
		d, ok, err := ch.Get("q", false)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		redelivered[p.number(d)] = true
	}
	other := p.channel(b)
	p.must(other.Qos(200, 0, false))
	in, err := other.Consume("q", "", false, false, false, false, nil)
	p.must(err)
	for i, d := range p.take(in, 200) {
		k := p.number(d)
		if i%3 == 0 {
			acked[k] = true
			p.must(d.Ack(false))
		} else {
			redelivered[k] = true
		}
	}
	// Those that the acks have brought.
	for _, d := range p.take(in, 67) {
		redelivered[p.number(d)] = true
	}
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}

	ch = p.channel(p.start())
	if got := p.depth(ch, "q"); got != n-len(acked) {
		t.Errorf("%d messages are there, want %d", got, n-len(acked))
	}
	in, err = ch.Consume("q", "", true, false, false, false, nil)
	p.must(err)
	last := -1
	for _, d := range p.take(in, n-len(acked)) {
		k := p.number(d)
		if acked[k] {
			t.Errorf("message %d was acked and is back", k)
		}
		if d.Redelivered != redelivered[k] {
			t.Errorf("message %d: redelivered %v, want %v", k, d.Redelivered, redelivered[k])
		}
		if k <= last {
			t.Errorf("message %d comes behind %d", k, last)
		}
		last = k
	}
}

// refused starts a broker that must end at once, and returns what it printed.
func (p *place) refused() string {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), patience)
	defer cancel()
	argv := append(p.run[:len(p.run):len(p.run)], leveret, "--data-dir", p.dir, "--amqp-addr", "127.0.0.1:0", "--http-addr", "none",
		"--stomp-addr", "none", "--web-stomp-addr", "none", "--mqtt-addr", "none", "--web-mqtt-addr", "none", "--prometheus-addr", "none")
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	if p.uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: p.uid, Gid: p.uid}}
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || ctx.Err() != nil {
		p.Fatalf("leveret serves on a directory it cannot use: %v\n%s", err, out)
	}
	if exit.ExitCode() != 1 {
		p.Errorf("exit code %d, want 1", exit.ExitCode())
	}
	for _, bad := range []string{"panic:", "goroutine "} {
		if strings.Contains(string(out), bad) {
			p.Fatalf("it panics:\n%s", out)
		}
	}
	return string(out)
}

// refusedWith is refused with words that must be in the last line, beside the
// directory.
func (p *place) refusedWith(words ...string) {
	p.Helper()
	out := strings.TrimSpace(p.refused())
	last := out[strings.LastIndexByte(out, '\n')+1:]
	p.Log(last)
	for _, w := range append(words, p.dir) {
		if !strings.Contains(last, w) {
			p.Errorf("the error does not have %q:\n%s", w, out)
		}
	}
}

func TestSecondBroker(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	b := p.start()
	ch := p.channel(b)
	p.queue(ch, "q")
	p.refusedWith("another broker is using it")
	p.fill(ch, "q", 0, 10, 10) // The first one does not mind.
}

func TestReadOnlyDirectory(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.must(os.MkdirAll(p.dir, 0o555))
	p.must(os.Chmod(filepath.Dir(p.dir), 0o755))
	p.must(os.Chmod(filepath.Dir(filepath.Dir(p.dir)), 0o755))
	if os.Getuid() == 0 {
		p.uid = nobody
	}
	p.refusedWith("permission denied")
}

// TestReadOnlyStore tries to serve a store that cannot be written any more.
func TestReadOnlyStore(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	b := p.start()
	ch := p.channel(b)
	p.queue(ch, "q")
	p.fill(ch, "q", 0, 10, 10)
	b.Kill()
	names, err := filepath.Glob(filepath.Join(p.dir, "*"))
	p.must(err)
	inLog, err := filepath.Glob(filepath.Join(p.dir, "log", "*"))
	p.must(err)
	var files []string
	for _, name := range append(names, inLog...) {
		if info, err := os.Stat(name); err == nil && !info.IsDir() {
			files = append(files, name)
		}
	}
	dirs := []string{p.dir, filepath.Join(p.dir, "log")}
	mode := func(dir, file os.FileMode) {
		for _, name := range dirs {
			p.must(os.Chmod(name, dir))
		}
		for _, name := range files {
			p.must(os.Chmod(name, file))
		}
	}
	for _, name := range []string{filepath.Dir(p.dir), filepath.Dir(filepath.Dir(p.dir))} {
		p.must(os.Chmod(name, 0o755))
	}
	mode(0o555, 0o444)
	if os.Getuid() == 0 {
		p.uid = nobody
	}
	p.refusedWith("permission denied")
	mode(0o755, 0o644)
	p.uid = 0
	if n := p.depth(p.channel(p.start()), "q"); n != 10 {
		t.Errorf("%d messages, want 10", n)
	}
}

func TestFileInPlaceOfDirectory(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.must(os.WriteFile(p.dir, []byte("precious"), 0o600))
	p.refusedWith("not a directory")
	if b, err := os.ReadFile(p.dir); err != nil || string(b) != "precious" {
		t.Errorf("the file has become %q, %v", b, err)
	}
}

// TestNewerFormat has a broker find a segment that a later one wrote. It must
// not touch it.
func TestNewerFormat(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	b := p.start()
	ch := p.channel(b)
	p.queue(ch, "q")
	p.fill(ch, "q", 0, 10, 10)
	b.Kill()
	segments, err := filepath.Glob(filepath.Join(p.dir, "log", "*.seg"))
	p.must(err)
	name := segments[0]
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	p.must(err)
	defer f.Close()
	header := make([]byte, 32)
	_, err = f.ReadAt(header, 0)
	p.must(err)
	former := string(header)
	binary.LittleEndian.PutUint32(header[12:], 99)
	binary.LittleEndian.PutUint32(header[28:], crc32.Checksum(header[:28], crc32.MakeTable(crc32.Castagnoli)))
	_, err = f.WriteAt(header, 0)
	p.must(err)
	p.refusedWith("newer version", "format 99")
	_, err = f.WriteAt([]byte(former), 0)
	p.must(err)
	if n := p.depth(p.channel(p.start()), "q"); n != 10 {
		t.Errorf("%d messages after the newer format has gone, want 10", n)
	}
}

// TestConfirmLatency shows what the policies cost. With none and interval a
// publish does not wait for the disk, and a killed broker loses nothing either.
func TestConfirmLatency(t *testing.T) {
	const n = 300
	for _, policy := range []string{"always", "interval", "none"} {
		t.Run(policy, func(t *testing.T) {
			p := newPlace(t, "--sync", policy)
			b := p.start()
			ch := p.channel(b)
			p.queue(ch, "q")
			p.must(ch.Confirm(false))
			took := make([]time.Duration, n)
			for i := range took {
				began := time.Now()
				p.fill(ch, "q", i, 1, 1024)
				took[i] = time.Since(began)
			}
			b.Kill()
			b = p.start()
			ch = p.channel(b)
			if got := p.depth(ch, "q"); got != n {
				t.Errorf("%d messages after a kill, want %d", got, n)
			}
			t.Logf("--sync %s: confirms of single publishes take %s", policy, quantiles(took))
		})
	}
}

func quantiles(d []time.Duration) string {
	sorted := slices.Sorted(slices.Values(d))
	at := func(q float64) time.Duration { return sorted[int(q*float64(len(sorted)-1))].Round(time.Microsecond) }
	return fmt.Sprintf("p50 %v, p90 %v, p99 %v", at(.5), at(.9), at(.99))
}
