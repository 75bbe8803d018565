package crash

import (
	"math/rand/v2"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TestBackup takes backups of a broker under load, each a moment after the
// state of the ledger was kept, and starts a broker from each: what was
// confirmed before the backup began, and not acked, is in it.
func TestBackup(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "--queue-memory", "64KiB")
	b := p.start()
	p.must(declareAll(p.channel(b)))
	l := newLedger()
	r := &round{ledger: l, random: rand.New(rand.NewPCG(1, 2)), http: b.HTTP, count: 1 << 14, defs: &definitions{known: map[string]bool{}}}

	type backup struct {
		dir    string
		before map[string][]uint64 // What it must hold, by queue.
	}
	var backups []backup
	r.meanwhile = func() {
		for _, name := range []string{"first", "second", "third"} {
			dir := filepath.Join(filepath.Dir(p.dir), name)
			before := l.promised()
			if _, err := apiCall(b.HTTP, http.MethodPost, "/backup", `{"directory":"`+dir+`"}`); err != nil {
				t.Error(err)
				continue
			}
			backups = append(backups, backup{dir, l.stillThere(before)})
		}
	}
	problems := r.loadFor(300*time.Millisecond, func() (*amqp.Connection, error) { return dial(b) }, b.Kill)
	for _, err := range problems {
		t.Error(err)
	}
	for _, bk := range backups {
		out, err := exec.Command(leveret, "ctl", "store", "check", bk.dir).CombinedOutput()
		if err != nil {
			t.Errorf("store check %s: %v\n%s", bk.dir, err, out)
		}
		from := newPlace(t, "--queue-memory", "64KiB")
		from.dir = bk.dir
		running := from.start()
		n := 0
		for _, q := range sortedKeys(bk.before) {
			ch := from.channel(running)
			depth := from.depth(ch, q)
			in, err := ch.Consume(q, "", true, false, false, false, nil)
			p.must(err)
			there := make(map[uint64]bool, depth)
			order := inOrder{}
			for _, d := range from.take(in, depth) {
				id, err := checkMessage(&d)
				p.must(err)
				p.must(order.next(q, &d, id))
				there[id] = true
			}
			for _, id := range bk.before[q] {
				n++
				if !there[id] {
					t.Errorf("%s lacks message %d of %s, which was confirmed before it was made", filepath.Base(bk.dir), id, q)
					break
				}
			}
		}
		t.Logf("%s: %d messages that must be there are", filepath.Base(bk.dir), n)
		if err := running.Stop(); err != nil {
			t.Error(err)
		}
	}
	// Both go on independently of each other.
	if n := p.depth(p.channel(p.start()), "x0"); n == 0 {
		t.Error("the original has lost its messages")
	}
	if len(backups) > 0 {
		out, err := exec.Command(leveret, "ctl", "store", "dump", backups[0].dir).CombinedOutput()
		if err != nil || !strings.Contains(string(out), `queue "/" "d0"`) {
			t.Errorf("store dump: %v\n%.500s", err, out)
		}
	}
}
