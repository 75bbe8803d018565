package ctl

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"leveret/core"
)

// declare makes queues and puts messages into the first of them.
func (r *rig) declare(bodies []string, queues ...core.QueueDeclare) {
	r.Helper()
	u, _ := r.broker.Auth().User("guest")
	s, err := r.broker.OpenSession(core.SessionOptions{VHost: "/", User: u, Loopback: true})
	if err != nil {
		r.Fatal(err)
	}
	defer s.Close()
	for _, q := range queues {
		if _, err := s.DeclareQueue(q); err != nil {
			r.Fatal(err)
		}
	}
	p := s.NewPublisher(ignored{})
	target, err := p.Target("")
	if err != nil {
		r.Fatal(err)
	}
	for _, body := range bodies {
		ms := make([]core.Publication, 1)
		ms[0].Reset()
		ms[0].RoutingKey, ms[0].Body = queues[0].Name, []byte(body)
		if _, err := p.Route(target, &ms[0]); err != nil {
			r.Fatal(err)
		}
		var t core.Touched
		p.Publish(ms, &t)
		t.Flush()
	}
}

type ignored struct{}

func (ignored) Completed(uint64, uint64, core.Kind) {}

func TestMove(t *testing.T) {
	r := newRig(t)
	r.declare([]string{"red", "blue", "RED too"},
		core.QueueDeclare{Name: "a"}, core.QueueDeclare{Name: "b"},
		core.QueueDeclare{Name: "ttl", Arguments: core.Table{{Name: "x-message-ttl", Value: int64(0)}, {Name: "x-dead-letter-exchange", Value: ""}, {Name: "x-dead-letter-routing-key", Value: "b"}}})
	r.wants(0, "move a --to-queue b --filter red --in body --preview", "Looking at messages of queue 'a' in vhost '/' ...\nmessages\tto\texchange\trouting_key\n2\tb\t\tb\n")
	r.wants(0, "-q move a --to-queue b --filter red --limit 1", "Moved 1 messages, left 0 of those that matched\n")
	r.wants(0, "-q move a --to-exchange amq.fanout --preview", "messages\tto\texchange\trouting_key\n2\t(stay)\tamq.fanout\ta\n")
	r.wants(0, "-q move a --to-exchange '' --routing-key b --filter red --newer-than 1h", "Moved 1 messages, left 0 of those that matched\n")
	r.wants(0, "-q move b --to-origin", "Moved 0 messages, left 2 of those that matched\n")
	r.wants(0, "-q list_queues name messages", "name\tmessages\na\t1\nb\t2\nttl\t0\n")
	r.wants(69, "-q move a --to-queue none", "")
	r.wants(69, "-q move none --to-origin", "")
	r.wants(64, "-q move a", "")
	r.wants(64, "-q move a --to-origin --to-queue b", "")
	if out, errs, code := ctl("-q -p none move a --to-origin", ""); code != 69 {
		t.Errorf("%d %s %s", code, out, errs)
	}
}

func TestDefinitionsPlanAndApply(t *testing.T) {
	r := newRig(t)
	r.declare(nil, core.QueueDeclare{Name: "a", Durable: true})
	file := filepath.Join(r.dir, "defs.json")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"queues":[{"name":"a","vhost":"/","durable":true},{"name":"b","vhost":"/"}],"policies":[{"vhost":"/","name":"p","pattern":"^a","priority":1,"definition":{"max-length":1}}]}`)
	out, _, code := ctl("definitions plan "+file, "")
	for _, line := range []string{"+ policy p in vhost /", "+ queue b in vhost /", "2 to add, 0 to change, 0 refused, 1 the same"} {
		if !strings.Contains(out, line) {
			t.Errorf("no %q in %s", line, out)
		}
	}
	if code != exitDifferent {
		t.Errorf("exit code %d", code)
	}
	r.wants(0, "-q definitions apply "+file, "")
	r.wants(0, "definitions plan "+file, "0 to add, 0 to change, 0 refused, 3 the same\n")
	write(`{"queues":[{"name":"a","vhost":"/","durable":false},{"name":"c","vhost":"/"}],"policies":[{"vhost":"/","name":"p","pattern":"^a","priority":2,"definition":{"max-length":1}}]}`)
	out, _, code = ctl("definitions plan "+file, "")
	want := "~ policy p in vhost /\n    priority: 1 -> 2\n! queue a in vhost /: inequivalent arg 'durable' for queue 'a' in vhost '/': received 'false' but current is 'true'\n1 to add, 1 to change, 1 refused, 0 the same\n"
	if !strings.HasSuffix(out, want) || code != 65 {
		t.Errorf("exit code %d\n%s\nwant\n%s", code, out, want)
	}
	r.wants(65, "-q definitions apply "+file, "")
	if out, _, _ := ctl("-q list_queues name", ""); strings.Contains(out, "c") {
		t.Error("applied in part")
	}
	r.wants(0, "-q definitions apply --force "+file, "")
	r.wants(0, "-q list_queues name", "name\na\nb\nc\n")
	r.wants(65, "definitions plan "+file+".none", "")
	if _, _, code := ctl("definitions plan -", "nonsense"); code != 65 {
		t.Errorf("exit code %d", code)
	}
	if _, errs, code := ctl("-q definitions apply --only none -", `{}`); code != 65 {
		t.Errorf("exit code %d: %s", code, errs)
	}
}

func TestDelayedVerbs(t *testing.T) {
	r := newRig(t)
	u, _ := r.broker.Auth().User("guest")
	s, err := r.broker.OpenSession(core.SessionOptions{VHost: "/", User: u, Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.DeclareQueue(core.QueueDeclare{Name: "q"}); err != nil {
		t.Fatal(err)
	}
	if err := s.DeclareExchange(core.ExchangeDeclare{Name: "x", Type: "x-delayed-message", Arguments: core.Table{{Name: "x-delayed-type", Value: "fanout"}}}); err != nil {
		t.Fatal(err)
	}
	p := s.NewPublisher(ignored{})
	target, err := p.Target("x")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		ms := make([]core.Publication, 1)
		ms[0].Reset()
		ms[0].Body = []byte("later")
		ms[0].SetProperties(&core.Properties{HeadersSet: true, Headers: core.Table{{Name: "x-delay", Value: int64(3600_000 * (i + 1))}}})
		if _, err := p.Route(target, &ms[0]); err != nil {
			t.Fatal(err)
		}
		var touched core.Touched
		p.Publish(ms, &touched)
	}
	ids := func() (ids []string) {
		out, errs, code := ctl("-s list_delayed x", "")
		if code != 0 {
			t.Fatalf("%d %s", code, errs)
		}
		for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
			if cells := strings.Split(line, "\t"); len(cells) == 3 && cells[2] == "5" {
				ids = append(ids, cells[0])
			}
		}
		return ids
	}
	first := ids()
	if len(first) != 2 {
		t.Fatal(first)
	}
	out, _, code := ctl(fmt.Sprintf("-q retime_delayed x %s 5h", first[0]), "")
	if now := ids(); code != 0 || len(now) != 2 || now[1] != strings.TrimSpace(out) || now[0] != first[1] {
		t.Errorf("%d %s: %v", code, out, now)
	}
	r.wants(0, "-q cancel_delayed x "+first[1], "")
	r.wants(69, "-q cancel_delayed x "+first[1], "")
	r.wants(69, "-q list_delayed amq.topic", "")
	if now := ids(); len(now) != 1 {
		t.Error(now)
	}
}
