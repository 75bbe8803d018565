package crash

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TestFlippedBits flips bits in the files of stopped stores, in messages and in
// what surrounds them. Each broker starts, says which files it found damaged,
// delivers nothing that is not as it was sent, and nearly all of it.
func TestFlippedBits(t *testing.T) {
	t.Parallel()
	const n, size = 2000, 900
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	whole := newPlace(t, "--queue-memory", "64KiB")
	for i := range 2 { // So that there is a sealed segment, and a checkpoint of weight.
		b := whole.start()
		ch := whole.channel(b)
		for _, q := range []string{"a", "b"} {
			whole.queue(ch, q)
			whole.fill(ch, q, i*n/2, n/2, size)
		}
		if i == 0 {
			whole.must(b.Stop())
		} else {
			b.Kill()
		}
	}

	for i, pattern := range []string{"*.seg", "*.seg", "*.seg", "*.seg.idx", "ckpt.*"} {
		t.Run(pattern, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			p := newPlace(t, "--queue-memory", "64KiB")
			if out, err := exec.Command("cp", "-a", whole.dir, p.dir).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			files, err := filepath.Glob(filepath.Join(p.dir, "log", pattern))
			p.must(err)
			var flipped []string
			for _, name := range files {
				content, err := os.ReadFile(name)
				p.must(err)
				used := bytes.TrimRight(content, "\x00")
				if len(used) < 100 {
					continue // Of a segment prepared ahead nothing is missed but its header.
				}
				for range 3 {
					at := random.IntN(len(used))
					content[at] ^= 1 << random.IntN(8)
					flipped = append(flipped, fmt.Sprintf("%s at %d", filepath.Base(name), at))
				}
				p.must(os.WriteFile(name, content, 0o600))
			}
			if len(flipped) == 0 {
				t.Fatalf("no file is like %s", pattern)
			}
			t.Log(flipped)
			p.serveDamaged(n, strings.HasSuffix(pattern, ".seg"))
		})
	}
}

// serveDamaged starts a broker on a damaged store that once had n messages in
// each of the queues a and b.
func (p *place) serveDamaged(n int, inMessages bool) {
	p.Helper()
	check, _ := exec.Command(leveret, "ctl", "store", "check", p.dir).CombinedOutput()
	b := p.start()
	ch := p.channel(b)
	lost := 0
	for _, q := range []string{"a", "b"} {
		depth := p.depth(ch, q)
		in, err := ch.Consume(q, q, true, false, false, false, nil)
		p.must(err)
		// Some that are counted turn out unreadable when their time has come: the
		// end is a message of our own.
		p.must(ch.Publish("", q, false, false, amqp.Publishing{Body: bodyOf(1<<40, 8)}))
		last, got := -1, 0
		for {
			k := p.number(p.take(in, 1)[0])
			if k == 1<<40 {
				break
			}
			if k <= last || k >= n {
				p.Fatalf("message %d of %s comes behind %d", k, q, last)
			}
			last = k
			got++
		}
		p.must(ch.Cancel(q, false))
		lost += n - got
		if got > depth {
			p.Errorf("%d messages come from %s, which said it had %d", got, q, depth)
		}
	}
	named := b.Logged("damage set aside") || b.Logged("message lost") || b.Logged("messages are missing")
	p.Logf("%d of %d messages lost, check says: %s", lost, 2*n, bytes.TrimSpace(check[max(0, len(check)-300):]))
	switch {
	case lost > 0 && !named:
		p.Errorf("%d messages are lost and the log does not say so:\n%s", lost, b.LogTail(4<<10))
	case lost > 0 && !inMessages:
		p.Errorf("%d messages are lost, though none was touched", lost)
	case lost > n: // A flipped bit costs its group at most, here about 500 messages.
		p.Errorf("%d of %d messages are lost", lost, 2*n)
	}
	// It works on.
	p.fill(ch, "a", n, 100, 50)
	p.must(b.Stop())
	if again := p.depth(p.channel(p.start()), "a"); again != 100 {
		p.Errorf("%d messages after a restart, want 100", again)
	}
}

// TestDamagedDefinitions flips a bit in the definition of one queue: it and its
// name are set aside, the rest is served.
func TestDamagedDefinitions(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	b := p.start()
	ch := p.channel(b)
	for _, q := range []string{"queue.one", "queue.two", "queue.three"} {
		p.queue(ch, q)
		p.fill(ch, q, 0, 10, 50)
	}
	p.must(b.Stop())
	name := filepath.Join(p.dir, "defs.db")
	content, err := os.ReadFile(name)
	p.must(err)
	at := bytes.LastIndex(content, []byte("queue.two"))
	if at < 0 {
		t.Fatal("the definition is not in the file")
	}
	content[at+3] ^= 4
	p.must(os.WriteFile(name, content, 0o600))
	out, err := exec.Command(leveret, "ctl", "store", "check", p.dir).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "defs.db") {
		t.Errorf("store check: %v\n%s", err, out)
	}
	b = p.start()
	ch = p.channel(b)
	for _, q := range []string{"queue.one", "queue.three"} {
		if n := p.depth(ch, q); n != 10 {
			t.Errorf("%s has %d messages, want 10", q, n)
		}
	}
	if !b.Logged("damaged definition set aside") {
		t.Errorf("the log does not name the damage:\n%s", b.LogTail(4<<10))
	}
	if sides, err := filepath.Glob(filepath.Join(p.dir, "defs.damaged-*")); err != nil || len(sides) == 0 {
		t.Errorf("nothing was set aside: %v", err)
	}
}
