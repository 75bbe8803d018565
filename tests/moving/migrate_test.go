//go:build clients

package moving

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"leveret/tests/internal/brokertest"
)

// rabbitServer is where Debian's package has the server; the one in PATH changes
// the user first.
const rabbitServer = "/usr/lib/rabbitmq/bin/rabbitmq-server"

// rabbit is a RabbitMQ of the test's own.
type rabbit struct{ amqp, http string }

// startRabbit starts a server with its own directories, ports and epmd, and ends
// both with the test.
func startRabbit(t *testing.T) *rabbit {
	t.Helper()
	if _, err := os.Stat(rabbitServer); err != nil {
		t.Fatalf("%v: run make prepare", err)
	}
	addrs, err := brokertest.FreeAddrs(4)
	if err != nil {
		t.Fatal(err)
	}
	port := func(i int) string { _, p, _ := net.SplitHostPort(addrs[i]); return p }
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	plugins := write("enabled_plugins", "[rabbitmq_management].\n")
	conf := write("rabbitmq.conf", fmt.Sprintf("listeners.tcp.1 = %s\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = %s\n", addrs[0], port(1)))
	env := append(os.Environ(),
		"HOME="+dir, "ERL_EPMD_PORT="+port(3), "ERL_EPMD_ADDRESS=127.0.0.1",
		"RABBITMQ_NODENAME=moving@localhost", "RABBITMQ_DIST_PORT="+port(2), "RABBITMQ_CONFIG_FILE="+conf, "RABBITMQ_ENABLED_PLUGINS_FILE="+plugins,
		"RABBITMQ_MNESIA_BASE="+filepath.Join(dir, "mnesia"), "RABBITMQ_LOG_BASE="+filepath.Join(dir, "log"), "RABBITMQ_PID_FILE="+filepath.Join(dir, "pid"))

	epmd := exec.Command("epmd", "-address", "127.0.0.1", "-port", port(3))
	epmd.Env = env
	out := &bytes.Buffer{}
	server := exec.Command(rabbitServer)
	server.Env, server.Stdout, server.Stderr = env, out, out
	server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // It is a shell that starts the runtime.
	if err := epmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { server.Wait(); close(ended) }() // Ends with the server.
	t.Cleanup(func() {
		syscall.Kill(-server.Process.Pid, syscall.SIGKILL)
		<-ended
		epmd.Process.Kill()
		epmd.Wait()
		if t.Failed() {
			t.Logf("RabbitMQ printed:\n%s", out)
		}
	})
	r := &rabbit{amqp: addrs[0], http: addrs[1]}
	until(t, "RabbitMQ answers", func() bool {
		select {
		case <-ended:
			t.Fatal("RabbitMQ ended")
		default:
		}
		res, err := http.Get("http://" + r.http + "/api/overview")
		if err != nil {
			return false
		}
		res.Body.Close()
		nc, err := net.Dial("tcp", r.amqp)
		if err != nil {
			return false
		}
		nc.Close()
		return true
	})
	return r
}

func (r *rabbit) url() string { return "amqp://guest:guest@" + r.amqp + "/" }

// migrate starts `leveret ctl migrate` from r to b.
func migrate(t *testing.T, r *rabbit, b *broker, flags ...string) *exec.Cmd {
	t.Helper()
	args := append([]string{"ctl", "--url", "http://guest:guest@" + b.HTTP, "migrate", "--idle", "500ms",
		"--from-amqp", "amqp://guest:guest@" + r.amqp, "--from-api", "http://guest:guest@" + r.http}, flags...)
	cmd := exec.Command(leveret, args...)
	out := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// ends waits for cmd and returns its exit code and output.
func ends(t *testing.T, cmd *exec.Cmd) (int, string) {
	t.Helper()
	timer := time.AfterFunc(patience, func() { cmd.Process.Signal(syscall.SIGABRT) })
	defer timer.Stop()
	err := cmd.Wait()
	out := cmd.Stdout.(*bytes.Buffer).String()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out
}

// TestMigrateUnderLoad takes over from a RabbitMQ that is published to all the
// while. The command is killed, then leveret, then the command is run again to
// the end: everything is there, in order.
func TestMigrateUnderLoad(t *testing.T) {
	const n = 10_000
	r := startRabbit(t)
	ch := dial(t, r.url())
	for _, q := range []struct {
		name string
		args amqp.Table
	}{
		{"orders", nil}, {"quorum", amqp.Table{"x-queue-type": "quorum"}}, {"history", amqp.Table{"x-queue-type": "stream"}},
	} {
		if _, err := ch.QueueDeclare(q.name, true, false, false, false, q.args); err != nil {
			t.Fatal(err)
		}
		if err := ch.QueueBind(q.name, q.name+".*", "amq.topic", false, nil); err != nil {
			t.Fatal(err)
		}
		publish(t, ch, "amq.topic", q.name+".new", 0, n)
	}
	// Of the temporary ones nothing is moved.
	if _, err := ch.QueueDeclare("", false, true, true, false, nil); err != nil {
		t.Fatal(err)
	}
	api(t, r.http, "PUT", "/users/bob", map[string]string{"password_hash": "bFY19QME9GUX37hiYc5SRJWFxKLv41PYy54VDFHkRGyhi/00", "tags": "monitoring"}, nil)
	api(t, r.http, "PUT", "/permissions/%2F/bob", map[string]string{"configure": "", "write": ".*", "read": ".*"}, nil)

	b := newBroker(t)
	cmd := migrate(t, r, b, "--dry-run")
	if code, out := ends(t, cmd); code != 0 || !strings.Contains(out, "orders") {
		t.Fatalf("exit %d\n%s", code, out)
	}

	// The load: more orders until it is told to stop.
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var published atomic.Int64
	published.Store(n)
	loaded := make(chan error, 1)
	load := dial(t, r.url())
	go func() { // Ends with ctx.
		for ctx.Err() == nil {
			var last *amqp.DeferredConfirmation
			i := int(published.Load())
			for range 20 {
				d, err := load.PublishWithDeferredConfirm("amq.topic", "orders.new", true, false, numbered(i))
				if err != nil {
					loaded <- err
					return
				}
				last, i = d, i+1
			}
			if !last.Wait() {
				loaded <- errors.New("refused")
				return
			}
			published.Store(int64(i))
		}
		loaded <- nil
	}()

	// There is no queue before the definitions are imported.
	arrived := func() (sum int) {
		var list []struct {
			Messages int `json:"messages"`
		}
		api(t, b.HTTP, "GET", "/queues?columns=messages", nil, &list)
		for _, q := range list {
			sum += q.Messages
		}
		return sum
	}
	cmd = migrate(t, r, b)
	until(t, "a quarter arrives", func() bool { return arrived() >= 3*n/4 })
	cmd.Process.Kill()
	ends(t, cmd)

	cmd = migrate(t, r, b)
	until(t, "half of it arrives", func() bool { return arrived() >= 3*n/2 })
	b.Kill()
	if code, out := ends(t, cmd); code != 69 {
		t.Fatalf("without a broker: exit %d\n%s", code, out)
	}
	b.start()
	stop()
	if err := <-loaded; err != nil {
		t.Fatalf("publish: %v", err)
	}
	total := int(published.Load())

	cmd = migrate(t, r, b)
	code, out := ends(t, cmd)
	said := regexp.MustCompile(`Moved \d+ messages; at most (\d+) of them are here twice`).FindStringSubmatch(out)
	if code != 0 || said == nil {
		t.Fatalf("exit %d\n%s", code, out)
	}
	t.Logf("%d orders; the last run said:\n%s", total, out)
	if !strings.Contains(out, "Not moved: queue 'amq.gen-") {
		t.Errorf("the temporary queue is not named:\n%s", out)
	}

	for _, q := range []string{"orders", "quorum"} {
		if left, err := ch.QueueDeclarePassive(q, true, false, false, false, nil); err != nil || left.Messages != 0 {
			t.Errorf("%s: %d are left there, %v", q, left.Messages, err)
		}
	}
	again := collect(t, b.url(), "orders", "amq.topic", "orders.new", total, nil)
	again += collect(t, b.url(), "quorum", "amq.topic", "quorum.new", n, nil)
	twice := collect(t, b.url(), "history", "amq.topic", "history.new", n, amqp.Table{"x-stream-offset": "first"})
	t.Logf("%d came again, of the stream %d", again, twice)
	if least, _ := strconv.Atoi(said[1]); least < twice {
		t.Errorf("of the stream %d came again, and it was said: %s", twice, said[0])
	}
	if again > 4*1000 { // What can be under way, of two queues, for each kill.
		t.Errorf("%d came again", again)
	}

	// The password that was a hash is one here, and no shovel is left.
	bob := "amqp://bob:test12@" + b.AMQP + "/"
	if c, err := amqp.Dial(bob); err != nil {
		t.Errorf("bob: %v", err)
	} else {
		c.Close()
	}
	var shovels []shovelState
	api(t, b.HTTP, "GET", "/shovels", nil, &shovels)
	if len(shovels) != 0 {
		t.Errorf("left: %v", shovels)
	}
	// Once more: there is nothing to do, and the stream is not copied again.
	cmd = migrate(t, r, b)
	if code, out := ends(t, cmd); code != 0 || !strings.Contains(out, "Moved 0 messages") {
		t.Errorf("exit %d\n%s", code, out)
	}
}
