package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"leveret/tests/internal/brokertest"
)

// killer is a kill -9 loop on one data directory.
type killer struct {
	*place
	ledger *ledger
	defs   *definitions
	random *rand.Rand
	number int
	began  time.Time
	kept   int64 // Messages seen after restarts.
}

// TestKill kills a broker again and again in the middle of everything that
// clients do, and looks each time at what the next one has.
func TestKill(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("LEVERET_CRASH_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("LEVERET_CRASH_SEED=%d", seed)
	k := &killer{
		place: newPlace(t, "--queue-memory", "64KiB"), ledger: newLedger(), defs: &definitions{known: map[string]bool{}},
		random: rand.New(rand.NewPCG(seed, 0)), began: time.Now(),
	}
	until := max(lasts, 5*time.Second)
	for k.number < 3 || time.Since(k.began) < until {
		k.round()
		if t.Failed() {
			return
		}
	}
	b := k.start()
	k.verify(b, func(string) bool { return true })
	t.Logf("%d kills in %.0f s, %d messages seen after them, the last is number %d, %d that were delivered at the moment of a kill came without flag", k.number, time.Since(k.began).Seconds(), k.kept, k.ledger.lastID(), k.ledger.unflagged())
}

// round starts a broker, looks at what it has, loads it, and kills it.
func (k *killer) round() {
	k.Helper()
	if k.random.IntN(6) == 0 { // A broker that does not get to serve.
		b, err := brokertest.Start(k.options())
		k.must(err)
		<-time.After(time.Duration(k.random.IntN(30)) * time.Millisecond)
		b.Kill()
	}
	// A kill loses nothing whatever the policy: the system has what was written.
	policy := []string{"always", "always", "always", "interval", "none"}[k.random.IntN(5)]
	k.flags = []string{"--queue-memory", []string{"64KiB", "64KiB", "1MiB"}[k.random.IntN(3)], "--sync", policy}
	b := k.start()
	if k.number == 0 {
		k.must(declareAll(k.channel(b)))
	}
	k.verify(b, func(string) bool { return k.random.IntN(2) == 0 })
	if k.Failed() {
		return
	}
	k.number++
	k.ledger.beginRound()
	r := &round{
		ledger: k.ledger, random: k.random, number: k.number, defs: k.defs, http: b.HTTP,
		count: 1 << k.random.IntN(13),
	}
	k.must(k.bindChurn(b))
	d := time.Duration(20+k.random.IntN(1200)) * time.Millisecond
	end := b.Kill
	if k.random.IntN(8) == 0 { // Asking politely must not lose more.
		end = func() {
			if err := b.Stop(); err != nil {
				k.Errorf("round %d: after SIGTERM: %v", k.number, err)
			}
		}
	}
	for _, err := range r.loadFor(d, func() (*amqp.Connection, error) { return dial(b) }, end) {
		k.Errorf("round %d: %v", k.number, err)
	}
	if err := b.CheckLog(); err != nil {
		k.Error(err)
	}
	if k.random.IntN(4) == 0 {
		if out, err := exec.Command(leveret, "ctl", "store", "check", k.dir).CombinedOutput(); err != nil {
			k.Errorf("round %d: store check: %v\n%s", k.number, err, out)
		}
	}
}

// bindChurn declares the queues that a kill may have caught deleted.
func (k *killer) bindChurn(b *brokertest.Broker) error {
	c, err := dial(b)
	if err != nil {
		return err
	}
	defer c.Close()
	ch, err := c.Channel()
	if err != nil {
		return err
	}
	for _, q := range churnQueues {
		if _, err := ch.QueueDeclare(q, true, false, false, false, nil); err != nil {
			return err
		}
		if err := ch.QueueBind(q, "", fanoutExchange, false, nil); err != nil {
			return err
		}
	}
	return nil
}

// verify looks at what b has after a restart: definitions, how many messages,
// and in the queues that look chooses all of them.
func (k *killer) verify(b *brokertest.Broker, look func(q string) bool) {
	k.Helper()
	conn, err := dial(b)
	if err != nil {
		k.Fatalf("round %d: %v", k.number, err)
	}
	defer conn.Close()
	defs, err := foundDefinitions(b.HTTP)
	k.must(err)
	for _, err := range k.defs.check(defs) {
		k.Errorf("round %d: %v", k.number, err)
	}
	names, err := apiCall(b.HTTP, http.MethodGet, "/queues?columns=name", "")
	k.must(err)
	if strings.Contains(string(names), "passing.") {
		k.Errorf("round %d: an exclusive or transient queue has survived: %s", k.number, names)
	}
	for _, q := range append(concat(checked), "seal") {
		if !defs["queue "+q] && !slices.Contains(churnQueues, q) {
			k.Errorf("round %d: queue %s is gone", k.number, q)
		}
	}

	found := map[string]map[uint64]bool{}
	for _, q := range checked {
		if !defs["queue "+q] {
			continue
		}
		ch, err := conn.Channel()
		k.must(err)
		n := k.depth(ch, q)
		if least, most := k.ledger.waiting(q); n < least || n > most {
			k.Errorf("round %d: %s has %d messages, want %d to %d", k.number, q, n, least, most)
		}
		if look(q) || k.Failed() {
			if found[q], err = k.readAll(ch, q, n, n > 4000 || k.random.IntN(4) == 0); err != nil {
				k.Errorf("round %d: %v", k.number, err)
				delete(found, q) // It was read in part.
			}
		}
		k.must(ch.Close())
	}
	for _, err := range k.ledger.restarted(found) {
		k.Errorf("round %d: %v", k.number, err)
	}
	ch, err := conn.Channel()
	k.must(err)
	_, err = ch.QueuePurge("seal", false)
	k.must(err)
	if k.Failed() {
		k.Logf("the queues: %v", sortedKeys(found))
	}
}

// readAll reads the n messages of q, and puts them back unless drain is set. It
// returns those that were there.
func (k *killer) readAll(ch *amqp.Channel, q string, n int, drain bool) (map[uint64]bool, error) {
	ctx, cancel := context.WithTimeout(k.Context(), patience)
	defer cancel()
	s, err := newSealer(ch)
	if err != nil {
		return nil, err
	}
	in, err := ch.Consume(q, "peek", false, false, false, false, nil)
	if err != nil {
		return nil, err
	}
	seen := make(map[uint64]bool, n)
	order := inOrder{}
	var last uint64
	var ids []uint64
	for len(seen) < n {
		select {
		case d, ok := <-in:
			if !ok {
				return seen, errors.New("closed")
			}
			id, err := k.ledger.delivered(q, &d, false)
			if err != nil {
				return seen, err
			}
			if seen[id] {
				return seen, fmt.Errorf("message %d comes twice from %s", id, q)
			}
			if err := order.next(q, &d, id); err != nil {
				return seen, err
			}
			seen[id] = true
			ids = append(ids, id)
			last = d.DeliveryTag
		case <-ctx.Done():
			return seen, fmt.Errorf("of %d messages of %s only %d come", n, q, len(seen))
		}
	}
	k.kept += int64(n)
	if drain && n > 0 {
		k.ledger.settling(q, ids...)
		if err := ch.Ack(last, true); err != nil {
			return seen, err
		}
	}
	if err := s.seal(ctx); err != nil {
		return seen, err
	}
	k.ledger.seen(q, ids...)
	if drain {
		k.ledger.settled(q, ids...)
	}
	return seen, nil
}
