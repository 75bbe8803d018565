package hostile

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"leveret/adapters/amqp/wire"
	"leveret/tests/internal/brokertest"
)

// patience is how long a test waits for anything that ought to happen soon.
const patience = 20 * time.Second

// What every test shares, fixed by TestMain.
var (
	leveret   string                   // Path of the binary.
	lasts     = 500 * time.Millisecond // An attack.
	withRace  bool                     // The broker has the race detector, so figures mean nothing.
	strict    bool                     // The machine is ours, so that latency can be judged in milliseconds.
	quiet     *bystanders              // On a broker that nobody attacks.
	logFolder string
)

func TestMain(m *testing.M) {
	if os.Getenv(asAttacker) != "" {
		beAttacker()
	}
	os.Exit(runAll(m))
}

// runAll builds the broker, starts the one that nobody attacks, and runs the
// tests.
func runAll(m *testing.M) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, "hostile:", err)
		return 1
	}
	if s := os.Getenv("LEVERET_HOSTILE"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			return fail(fmt.Errorf("LEVERET_HOSTILE: %w", err))
		}
		lasts, strict = d, true
	}
	withRace = os.Getenv("LEVERET_HOSTILE_RACE") != ""
	dir, err := os.MkdirTemp("", "leveret-hostile-")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	logFolder = dir
	repository, err := filepath.Abs("../..")
	if err != nil {
		return fail(err)
	}
	if leveret, err = brokertest.Build(repository, dir, withRace); err != nil {
		return fail(err)
	}
	b, err := brokertest.Start(brokertest.Options{Binary: leveret, Log: filepath.Join(dir, "quiet.log")})
	if err != nil {
		return fail(err)
	}
	defer b.Kill()
	if quiet, err = newBystanders(b.AMQP); err != nil {
		return fail(err)
	}

	code := m.Run()

	if err := quiet.close(); err != nil && code == 0 {
		return fail(fmt.Errorf("clients of the quiet broker: %w", err))
	}
	return code
}

// within is how long something may take that takes d on a machine of our own.
func within(d time.Duration) time.Duration {
	if strict {
		return d
	}
	return 4 * d
}

// rules are what a test starts its broker with and holds it to.
type rules struct {
	flags    []string // Of the broker.
	filesMax int      // File descriptors the broker may have; 0 for enough.

	// growth is how many bytes more the process may need while it is attacked.
	// What it has resident beyond that is garbage: see garbageRoom. Required.
	growth int64
	// left is how many bytes more may live on its heap when the attackers have
	// gone. 0: 4 MiB.
	left int64

	// alone says that nobody well-behaved is there: the attack stops publishers
	// or takes all descriptors, as it should.
	alone bool
}

const (
	kib = int64(1) << 10
	mib = int64(1) << 20

	// garbageRoom is how much garbage a broker lets its heap gather before it
	// collects, whatever little is live.
	garbageRoom = 24 * mib
	// lateRoom is for collections that come late, on a machine that is busy with
	// other tests or slow. What these tests are to find takes gigabytes.
	lateRoom = 64 * mib
)

// arena is one attack on one broker.
type arena struct {
	*testing.T
	broker *brokertest.Broker
	addr   string          // Where AMQP is spoken.
	ctx    context.Context // Ends when the attack has lasted long enough.

	mu struct {
		sync.Mutex
		clients []*client
		queues  []string
	}
}

// attack runs fn against a broker of its own and checks what must hold. fn
// returns when a.ctx ends, or before; its clients are reset then. If only the
// well-behaved clients waited too long, it may have been the machine: a broker
// that can be hurt is hurt three times in a row.
func attack(t *testing.T, r rules, fn func(a *arena)) {
	t.Helper()
	for try := 1; ; try++ {
		late := attackOnce(t, r, fn)
		if late == "" || t.Failed() {
			return
		}
		if try == 3 {
			t.Error(late)
			return
		}
		t.Logf("%s; again", late)
	}
}

// attackOnce returns what the well-behaved clients have to complain about.
func attackOnce(t *testing.T, r rules, fn func(a *arena)) (late string) {
	t.Helper()
	b, err := brokertest.Start(brokertest.Options{
		Binary: leveret, Args: r.flags, FilesMax: r.filesMax,
		Log: filepath.Join(logFolder, strings.ReplaceAll(t.Name(), "/", "-")+".log"),
	})
	if err != nil {
		t.Fatal(err)
	}
	a := &arena{T: t, broker: b, addr: b.AMQP}
	defer func() {
		b.Kill()
		if err := b.CheckLog(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the end of the broker's log:\n%s", b.LogTail(3<<10))
		}
	}()

	var near *bystanders
	if !r.alone {
		if near, err = newBystanders(a.addr); err != nil {
			t.Fatal(err)
		}
	}
	heap := a.heap()
	rss := a.measure(b.RSS)
	if err := b.ResetPeak(); err != nil {
		t.Fatal(err)
	}

	began := time.Now()
	busy, ours := a.processorTime()
	func() {
		var cancel context.CancelFunc
		a.ctx, cancel = context.WithTimeout(t.Context(), lasts)
		defer cancel()
		defer a.crashAll()
		fn(a)
	}()
	ended := time.Now()
	foreign := a.foreignShare(busy, ours, began)
	growth := a.measure(b.PeakRSS) - rss
	t.Logf("%.1f s, resident memory %d KiB more than %d KiB", ended.Sub(began).Seconds(), growth>>10, rss>>10)
	limit := r.growth + garbageRoom
	if !strict {
		limit += lateRoom
	}
	if growth > limit && !withRace {
		t.Errorf("resident memory grew by %d KiB, the limit is %d KiB", growth>>10, limit>>10)
	}

	a.checkRecovers(heap, rss, r)
	if near != nil {
		late = a.checkBystanders(near, began, ended, foreign)
	}
	if err := b.Stop(); err != nil {
		t.Errorf("leveret did not end well: %v", err)
	}
	return late
}

// checkBystanders judges what the well-behaved clients have seen. What cannot
// be excused fails the test, how long they waited is returned.
func (a *arena) checkBystanders(near *bystanders, began, ended time.Time, foreign float64) (late string) {
	a.Helper()
	if err := near.close(); err != nil {
		a.Errorf("a well-behaved client: %v", err)
	}
	l, base := near.latency(began, ended), quiet.latency(began, ended)
	a.Logf("attacked: %v", l)
	a.Logf("quiet:    %v; others took %.0f %% of the machine", base, 100*foreign)
	if withRace {
		return ""
	}
	p95, longest := 5*time.Second, 10*time.Second
	switch {
	case strict && foreign > foreignMax:
		p95, longest = time.Second, 10*time.Second
	case strict:
		p95, longest = 100*time.Millisecond, time.Second
	}
	for _, limit := range []struct {
		name     string
		quantile float64
		time     time.Duration
	}{{"p95", .95, p95}, {"max", 1, longest}} {
		got, busy := l.quantile(limit.quantile), 3*base.quantile(limit.quantile)
		if got > limit.time && got > busy {
			return fmt.Sprintf("%s of the well-behaved clients' round trips is %v; the limit is %v", limit.name, got, limit.time)
		}
	}
	return ""
}

// foreignMax is how much of the machine's processors others may use without
// making a strict test ten times as patient.
const foreignMax = 0.15

// processorTime is how long the machine's processors have worked, and how long
// for this process and the broker, in ticks.
func (a *arena) processorTime() (all, ours int64) {
	a.Helper()
	text, err := os.ReadFile("/proc/stat")
	a.must(err)
	for i, f := range strings.Fields(strings.SplitN(string(text), "\n", 2)[0]) {
		if n, err := strconv.ParseInt(f, 10, 64); err == nil && i != 4 && i != 5 && i < 9 { // Neither idle nor waiting for disks.
			all += n
		}
	}
	for _, pid := range []int{os.Getpid(), a.broker.PID()} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		a.must(err)
		_, rest, _ := strings.Cut(string(text), ") ")
		f := strings.Fields(rest) // From the third field on; the 14th and 15th are what counts.
		for _, s := range f[11:13] {
			n, err := strconv.ParseInt(s, 10, 64)
			a.must(err)
			ours += n
		}
	}
	return all, ours
}

// foreignShare is what part of the machine others have used since processorTime
// returned all and ours, at the moment began.
func (a *arena) foreignShare(all, ours int64, began time.Time) float64 {
	a.Helper()
	all2, ours2 := a.processorTime()
	const ticksPerSecond = 100
	capacity := time.Since(began).Seconds() * ticksPerSecond * float64(runtime.NumCPU())
	return max(0, float64(all2-all-(ours2-ours))) / capacity
}

// checkRecovers waits until connections and memory of the attackers are gone,
// and logs in.
func (a *arena) checkRecovers(heap, rss int64, r rules) {
	a.Helper()
	stay := bystanderConnections
	if r.alone {
		stay = 0
	}
	a.until("the attackers' connections to be gone", func() bool { return a.connections() <= stay })
	c, err := open(a.addr, dialOptions{}, loginOptions{})
	if err != nil {
		a.Errorf("a new client after the attack: %v", err)
		return
	}
	defer c.nc.Close()
	for _, q := range a.mu.queues {
		err := c.methods(1, &wire.QueueDelete{Queue: q})
		if err == nil {
			_, err = await[*wire.QueueDeleteOk](c, 1)
		}
		if err != nil {
			a.Errorf("delete queue %q: %v", q, err)
		}
	}
	if withRace {
		return
	}
	left := r.left
	if left == 0 {
		left = 4 * mib
	}
	began := time.Now()
	var more int64
	a.until("the heap to shrink", func() bool { more = a.heap() - heap; return more <= left })
	a.Logf("heap %d KiB more than %d KiB after %v", more>>10, heap>>10, time.Since(began).Round(time.Millisecond))
	// The runtime gives pages back little by little. What matters is that it does.
	began = time.Now()
	a.until("resident memory to fall", func() bool {
		a.heap()
		more = a.measure(a.broker.RSS) - rss
		return more <= left+16*mib
	})
	a.Logf("resident %d KiB more than before after %v", more>>10, time.Since(began).Round(time.Millisecond))
}

// until waits for cond, which the broker brings about.
func (a *arena) until(what string, cond func() bool) {
	a.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(patience)
	defer late.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-a.broker.Exited():
			a.Fatalf("the broker has ended; waited for %s", what)
		case <-late.C:
			a.Fatalf("waited in vain for %s", what)
		}
	}
}

func (a *arena) measure(what func() (int64, error)) int64 {
	a.Helper()
	n, err := what()
	if err != nil {
		a.Fatalf("the broker has ended: %v", err)
	}
	return n
}

func (a *arena) heap() int64 { return a.measure(a.broker.Heap) }

// api reads a path of the management API into v.
func (a *arena) api(path string, v any) {
	a.Helper()
	req, err := http.NewRequest("GET", "http://"+a.broker.HTTP+path, nil)
	if err != nil {
		a.Fatal(err)
	}
	req.SetBasicAuth("guest", "guest")
	client := http.Client{Timeout: patience}
	resp, err := client.Do(req)
	if err != nil {
		a.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(body, v)
	}
	if err != nil {
		a.Fatalf("%s: %v: %s", path, err, body)
	}
}

// connections is how many clients have logged in.
func (a *arena) connections() int {
	a.Helper()
	var v struct {
		ObjectTotals struct{ Connections int } `json:"object_totals"`
	}
	a.api("/api/overview", &v)
	return v.ObjectTotals.Connections
}

// open makes an attacker that has logged in. It must be let in.
func (a *arena) open(d dialOptions, l loginOptions) *client {
	a.Helper()
	c, err := open(a.addr, d, l)
	if err != nil {
		a.Fatalf("an attacker cannot log in: %v", err)
	}
	a.keep(c)
	return c
}

// dial makes an attacker that only has a socket.
func (a *arena) dial() *client {
	a.Helper()
	c, err := dial(a.addr, dialOptions{})
	if err != nil {
		a.Fatalf("an attacker cannot connect: %v", err)
	}
	a.keep(c)
	return c
}

// keep has c reset when the attack is over.
func (a *arena) keep(c *client) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mu.clients = append(a.mu.clients, c)
}

func (a *arena) crashAll() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.mu.clients {
		c.crash()
	}
	a.mu.clients = nil
}

// queue declares a queue through c that is deleted when the attack is over.
func (a *arena) queue(c *client, name string) {
	a.Helper()
	a.must(c.methods(1, &wire.QueueDeclare{Queue: name}))
	_, err := await[*wire.QueueDeclareOk](c, 1)
	a.must(err)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mu.queues = append(a.mu.queues, name)
}

// fill puts n messages of size bytes into a queue.
func (a *arena) fill(c *client, queue string, n, size int) {
	a.Helper()
	m := message(1, "", queue, false, make([]byte, size))
	b := repeat(m, 1<<20)
	per := len(b) / len(m)
	for ; n > 0; n -= per {
		a.must(c.write(b[:min(per, n)*len(m)]))
	}
	a.sync(c)
}

// sync waits until the broker has handled all that c sent on channel 1.
func (a *arena) sync(c *client) {
	a.Helper()
	a.must(c.methods(1, &wire.BasicQos{}))
	_, err := await[*wire.BasicQosOk](c, 1)
	a.must(err)
}

// must fails the test if err is not nil.
func (a *arena) must(err error) {
	a.Helper()
	if err != nil {
		a.Fatal(err)
	}
}

// each runs fn n times at once and waits for all.
func each(n int, fn func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { fn(i) })
	}
	all.Wait()
}
