package crash

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"leveret/tests/internal/brokertest"
)

// smallDisk gives p a file system of its own with so many MiB. Who may not mount
// one does so in a user namespace, which brokers then enter.
func (p *place) smallDisk(mib int) {
	p.Helper()
	at := p.TempDir()
	p.dir = filepath.Join(at, "data")
	size := fmt.Sprintf("size=%dm", mib)
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", size, "tmpfs", at).CombinedOutput(); err == nil {
		p.Cleanup(func() {
			if out, err := exec.Command("umount", "-l", at).CombinedOutput(); err != nil {
				p.Errorf("umount: %v: %s", err, out)
			}
		})
		return
	} else if os.Getuid() == 0 {
		p.Logf("mount: %v: %s", err, out)
	}
	holder := exec.Command("unshare", "--user", "--map-root-user", "--mount", "sh", "-c",
		`mount -t tmpfs -o "$0" tmpfs "$1" && echo mounted && exec cat`, size, at)
	stdin, err := holder.StdinPipe()
	p.must(err)
	stdout, err := holder.StdoutPipe()
	p.must(err)
	var stderr bytes.Buffer
	holder.Stderr = &stderr
	p.must(holder.Start())
	p.Cleanup(func() {
		stdin.Close()
		holder.Wait()
	})
	if _, err := io.ReadFull(stdout, make([]byte, len("mounted\n"))); err != nil {
		p.Fatalf("no small disk to fill: neither mount nor unshare --user works here: %s", stderr.Bytes())
	}
	p.run = []string{"nsenter", "--preserve-credentials", "--user", "--mount", "--target", strconv.Itoa(holder.Process.Pid), "--"}
}

// flood publishes to q on a connection of its own until the broker stops reading
// from it, and returns how many were confirmed then. The publisher goes on when
// it is read again, until its connection is closed.
type flood struct {
	*place
	conn     *amqp.Connection
	ch       *amqp.Channel
	blocked  chan amqp.Blocking
	confirms chan amqp.Confirmation
}

func (p *place) newFlood(b *brokertest.Broker, q string, from, size int) *flood {
	p.Helper()
	f := &flood{place: p, conn: p.connect(b)}
	f.blocked = f.conn.NotifyBlocked(make(chan amqp.Blocking, 16))
	var err error
	f.ch, err = f.conn.Channel()
	p.must(err)
	p.must(f.ch.Confirm(false))
	f.confirms = f.ch.NotifyPublish(make(chan amqp.Confirmation, 1<<20))
	go func() { // Ends when the connection does, and waits while it is not read.
		for i := from; ; i++ {
			if f.ch.Publish("", q, false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: bodyOf(uint64(i), size)}) != nil {
				return
			}
		}
	}()
	return f
}

// until waits for a notification.
func (f *flood) until(blocked bool) {
	f.Helper()
	timer := time.NewTimer(2 * patience)
	defer timer.Stop()
	for {
		select {
		case n, ok := <-f.blocked:
			if !ok {
				f.Fatalf("the connection ends while connection.blocked=%v is awaited", blocked)
			}
			if n.Active == blocked {
				f.Logf("connection.blocked=%v %s", n.Active, n.Reason)
				return
			}
		case <-timer.C:
			f.Fatalf("no connection.blocked=%v comes", blocked)
		}
	}
}

// acked reads the confirms that are there and returns how many messages, from
// the first one, were stored.
func (f *flood) acked() (n int) {
	for {
		select {
		case c, ok := <-f.confirms:
			if !ok || !c.Ack {
				return n
			}
			n++
		default:
			return n
		}
	}
}

// TestFullDisk fills a small disk until publishers are held, kills the broker
// there, starts the next one on the full disk, and empties it.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	const size = 20_000
	p := newPlace(t, "--disk-free-limit", "0") // The alarm would hold publishers before.
	p.smallDisk(300)
	b := p.start()
	ch := p.channel(b)
	p.queue(ch, "q")
	p.queue(ch, "owed")
	p.fill(ch, "owed", 0, 1, 10)
	p.must(b.Stop())

	const refusedNumber, resumedNumber = 1 << 60, 1 << 50
	for round := range 3 {
		next := round << 32
		b = p.start()
		// Whoever has a delivery to ack is read on: it is told that its publishes
		// are refused.
		owing := p.channel(b)
		in, err := owing.Consume("owed", "", false, false, false, false, nil)
		p.must(err)
		owed := p.take(in, 1)

		f := p.newFlood(b, "q", next, size)
		f.until(true)
		p.must(owing.Confirm(false))
		refused := false
		for range 5 { // The first ones may still find room.
			conf, err := owing.PublishWithDeferredConfirm("", "q", false, false, amqp.Publishing{
				DeliveryMode: amqp.Persistent, Body: bodyOf(refusedNumber, size),
			})
			p.must(err)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			ok, err := conf.WaitContext(ctx)
			cancel()
			p.must(err)
			refused = refused || !ok
		}
		if !refused {
			t.Error("a publish by a connection that is read on was not refused")
		}
		b.Kill()
		stored := f.acked()
		t.Logf("round %d: %d messages of %d bytes confirmed until the disk was full", round, stored, size)

		b = p.start()
		ch = p.channel(b)
		n := p.depth(ch, "q")
		if n < stored {
			t.Fatalf("%d messages are there after a kill, %d were confirmed", n, stored)
		}
		// It serves on the full disk: a publisher is held again, acks are taken.
		f = p.newFlood(b, "q", resumedNumber, size)
		f.until(true)
		more := f.acked()
		p.must(ch.Qos(500, 0, false))
		in, err = ch.Consume("q", "drain", false, false, false, false, nil)
		p.must(err)
		want := next
		for i := range n {
			d := p.take(in, 1)[0]
			if k := p.number(d); k < resumedNumber {
				if k != want {
					t.Fatalf("message %d comes, want %d", k, want)
				}
				want++
			}
			if i%100 == 99 || i == n-1 {
				p.must(d.Ack(true))
			}
		}
		if want < next+stored {
			t.Errorf("messages to %d come, to %d were confirmed", want, next+stored)
		}
		f.until(false)
		// More is stored than before it was held: publishing has resumed.
		timer := time.NewTimer(patience)
		for more < 100 {
			select {
			case c := <-f.confirms:
				if c.Ack {
					more++
				}
			case <-timer.C:
				t.Fatal("publishing does not go on, though there is room")
			}
		}
		timer.Stop()
		b.Kill()
		b = p.start()
		ch = p.channel(b)
		if _, err := ch.QueuePurge("q", false); err != nil {
			t.Fatal(err)
		}
		if len(owed) != 1 {
			t.Error("what was owed is gone")
		}
		p.must(b.Stop())
		if used, err := usedBytes(filepath.Dir(p.dir)); err == nil {
			t.Logf("round %d: %d MiB of the disk used when all is consumed", round, used>>20)
		}
	}
}

func usedBytes(dir string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Blocks-st.Bfree) * int64(st.Bsize), nil
}
