package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"leveret/core/invariant"

	amqp "github.com/rabbitmq/amqp091-go"
)

// asLeveret in the environment makes the test binary be leveret.
const asLeveret = "LEVERET_TEST_BE_LEVERET"

func TestMain(m *testing.M) {
	if os.Getenv(asLeveret) != "" {
		os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// patience is how long anything may take that ought to happen at once.
const patience = 30 * time.Second

// process is a leveret of its own.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	ready  time.Duration // From exec to the last port being open.
	addrs  map[string]string
	stderr *lockedBuffer
	done   chan struct{}
	code   int // Good once done is closed.
}

// lockedBuffer collects output while others look at it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// launch starts leveret with args and, by default, ports that are free.
func launch(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{t: t, addrs: map[string]string{}, stderr: &lockedBuffer{}, done: make(chan struct{})}
	p.cmd = exec.Command(os.Args[0], append([]string{"--data-dir=:memory:", "--amqp-addr=127.0.0.1:0", "--http-addr=127.0.0.1:0"}, args...)...)
	p.cmd.Env = append(os.Environ(), asLeveret+"=1", "LEVERET_STOMP_ADDR=none", "LEVERET_WEB_STOMP_ADDR=none",
		"LEVERET_MQTT_ADDR=none", "LEVERET_WEB_MQTT_ADDR=none", "LEVERET_PROMETHEUS_ADDR=none")
	p.cmd.Stderr = p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ports := 2
	for _, a := range args {
		if strings.HasSuffix(a, "-addr") && a != "--amqp-addr" && a != "--http-addr" {
			ports++
		}
	}
	opened := make(chan struct{})
	go func() { // Ends when the process does.
		defer close(p.done)
		lines := bufio.NewScanner(stdout)
		for open := true; lines.Scan(); {
			protocol, addr, ok := strings.Cut(lines.Text(), "listening on")
			if ok && open {
				p.addrs[strings.TrimSpace(protocol)] = strings.TrimSpace(addr)
				if len(p.addrs) == ports {
					p.ready = time.Since(began)
					close(opened)
					open = false
				}
			}
		}
		err := p.cmd.Wait()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			p.code = exit.ExitCode()
		}
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.done
	})
	select {
	case <-opened:
	case <-p.done:
	case <-time.After(patience):
		t.Fatalf("leveret does not listen:\n%s", p.stderr)
	}
	return p
}

// serving is launch for a leveret that must serve.
func serving(t *testing.T, args ...string) *process {
	t.Helper()
	p := launch(t, args...)
	if len(p.addrs) < 2 {
		<-p.done
		t.Fatalf("leveret ended with %d:\n%s", p.code, p.stderr)
	}
	return p
}

func (p *process) amqpURL() string { return "amqp://guest:guest@" + p.addrs["amqp"] + "/" }
func (p *process) httpURL() string { return "http://" + p.addrs["http"] }

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// wait returns the exit code.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("leveret does not end:\n%s", p.stderr)
	}
	return p.code
}

// until waits for cond, which something outside this process brings about.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func TestStopsAndSaysGoodbye(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		p := serving(t)
		c, err := amqp.Dial(p.amqpURL())
		if err != nil {
			t.Fatal(err)
		}
		closed := c.NotifyClose(make(chan *amqp.Error, 1))
		began := time.Now()
		p.signal(s)
		if code := p.wait(); code != exitOK {
			t.Errorf("%v: exit code %d:\n%s", s, code, p.stderr)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%v: took %v to end", s, took)
		}
		select {
		case why := <-closed:
			if why == nil || why.Code != 320 {
				t.Errorf("%v: the client was told %v", s, why)
			}
		case <-time.After(patience):
			t.Errorf("%v: the client was told nothing", s)
		}
	}
}

// deaf is a connection whose owner can stop hearing.
type deaf struct {
	net.Conn
	ears <-chan struct{} // Closed: nothing is read any more.
}

func (d deaf) Read(p []byte) (int, error) {
	n, err := d.Conn.Read(p)
	select {
	case <-d.ears:
		select {} // For ever; the test's process ends it.
	default:
		return n, err
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	p := serving(t)
	ears := make(chan struct{})
	_, err := amqp.DialConfig(p.amqpURL(), amqp.Config{Dial: func(network, addr string) (net.Conn, error) {
		c, err := net.Dial(network, addr)
		return deaf{c, ears}, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	close(ears)
	p.signal(syscall.SIGTERM)
	until(t, "stopping is logged", func() bool { return strings.Contains(p.stderr.String(), "stopping") })
	began := time.Now()
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != exitFail {
		t.Errorf("exit code %d", code)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v after the second signal", took)
	}
}

func TestPortTaken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, flag := range []string{
		"--amqp-addr", "--mqtt-addr", "--web-mqtt-addr", "--http-addr", "--stomp-addr", "--web-stomp-addr", "--prometheus-addr", "--pprof",
	} {
		p := launch(t, flag+"="+ln.Addr().String())
		if code := p.wait(); code != exitFail {
			t.Errorf("%s: exit code %d", flag, code)
		}
		said := p.stderr.String()
		if !strings.Contains(said, ln.Addr().String()) || !strings.Contains(said, flag) || !strings.Contains(said, "in use") {
			t.Errorf("%s: it says %q", flag, said)
		}
	}
}

// TestStartsFast measures from exec to open ports, the best of a few because
// the machine has other things to do.
func TestStartsFast(t *testing.T) {
	limit := 50 * time.Millisecond
	if invariant.Enabled {
		limit *= 10 // The race detector has a start of its own.
	}
	best := time.Hour
	for range 10 {
		p := serving(t)
		best = min(best, p.ready)
		p.signal(syscall.SIGTERM)
		p.wait()
		if best < limit {
			break
		}
	}
	t.Logf("listening %v after exec", best)
	if best >= limit {
		t.Errorf("listening %v after exec, want less than %v", best, limit)
	}
}

// noPorts are flags of a broker that takes no port that others may have.
var noPorts = []string{
	"--amqp-addr=127.0.0.1:0", "--http-addr=none", "--mqtt-addr=none", "--web-mqtt-addr=none", "--stomp-addr=none", "--web-stomp-addr=none",
	"--prometheus-addr=none",
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--version"}, exitOK, "leveret " + version},
		{[]string{"--help"}, exitOK, "--memory-limit"},
		{[]string{"ctl", "help"}, exitOK, "list_queues"},
		{[]string{"perf", "--help"}, exitOK, "amqp"},
		{[]string{"--nope"}, exitUsage, "--nope"},
		{[]string{"nope"}, exitUsage, "nope"},
		{[]string{"--sync=sometimes"}, exitUsage, "--sync"},
		{append([]string{"--data-dir=/dev/null/x"}, noPorts...), exitFail, "--data-dir"},
		{[]string{"--load-definitions=/does/not/exist"}, exitUsage, "--load-definitions"},
		{[]string{"ctl", "nope"}, exitUsage, "nope"},
		{[]string{"ctl"}, exitUsage, "list_queues"},
	} {
		cmd := exec.Command(os.Args[0], c.args...)
		cmd.Env = append(os.Environ(), asLeveret+"=1")
		out, err := cmd.CombinedOutput()
		code := 0
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			code = exit.ExitCode()
		}
		if code != c.code || !strings.Contains(string(out), c.says) {
			t.Errorf("leveret %q: exit code %d, want %d; it says %s", c.args, code, c.code, out)
		}
	}
}

func TestLoadDefinitions(t *testing.T) {
	file := filepath.Join(t.TempDir(), "definitions.json")
	definitions := `{"exchanges":[{"name":"odd","vhost":"shop","type":"x-unheard-of"}],"users":[{"name":"app","password":"secret","tags":"administrator"}],"vhosts":[{"name":"shop"}],
		"permissions":[{"user":"app","vhost":"shop","configure":".*","write":".*","read":".*"}],
		"queues":[{"name":"jobs","vhost":"shop","durable":true},{"name":"log","vhost":"shop","durable":true,"arguments":{"x-queue-type":"stream"}}]}`
	if err := os.WriteFile(file, []byte(definitions), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("LEVERET_LOAD_DEFINITIONS", file)
	p := serving(t)
	c, err := amqp.Dial("amqp://app:secret@" + p.addrs["amqp"] + "/shop")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ch, err := c.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclarePassive("jobs", true, false, false, false, nil); err != nil {
		t.Error(err)
	}
	if _, err := amqp.Dial(p.amqpURL()); err == nil {
		t.Error("the default user is there besides those that were loaded")
	}
	if _, err := ch.QueueDeclarePassive("log", true, false, false, false, nil); err != nil {
		t.Error(err)
	}
	if !strings.Contains(p.stderr.String(), "exchange 'odd'") {
		t.Errorf("nothing says what is not served:\n%s", p.stderr)
	}

	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := launch(t)
	if code := broken.wait(); code != exitFail || !strings.Contains(broken.stderr.String(), "--load-definitions") {
		t.Errorf("a broken file: %d %s", code, broken.stderr)
	}
}

// TestOperatorsReasonReachesTheClient closes a connection from the command line.
func TestOperatorsReasonReachesTheClient(t *testing.T) {
	p := serving(t)
	t.Setenv("LEVERET_URL", p.httpURL())
	c, err := amqp.Dial(p.amqpURL())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	closed := c.NotifyClose(make(chan *amqp.Error, 1))
	var names bytes.Buffer
	if code := run([]string{"leveret", "ctl", "-s", "list_connections", "pid"}, strings.NewReader(""), &names, io.Discard); code != exitOK {
		t.Fatalf("list_connections: exit code %d", code)
	}
	var errs bytes.Buffer
	if code := run([]string{"leveret", "ctl", "close_connection", strings.TrimSpace(names.String()), "tea time"}, strings.NewReader(""), io.Discard, &errs); code != exitOK {
		t.Fatalf("close_connection: exit code %d: %s", code, &errs)
	}
	select {
	case why := <-closed:
		if why == nil || why.Code != 320 || !strings.Contains(why.Reason, "tea time") {
			t.Errorf("the client was told %v", why)
		}
	case <-time.After(patience):
		t.Error("the client was told nothing")
	}
}

// TestCalledRabbitmqctl runs ctl by the name of what it replaces.
func TestCalledRabbitmqctl(t *testing.T) {
	p := serving(t)
	t.Setenv("LEVERET_URL", p.httpURL())
	var out bytes.Buffer
	if code := run([]string{"/usr/sbin/rabbitmqctl", "-q", "list_users"}, strings.NewReader(""), &out, io.Discard); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if got, want := out.String(), "user\ttags\nguest\t[administrator]\n"; got != want {
		t.Errorf("output %q, want %q", got, want)
	}
}
