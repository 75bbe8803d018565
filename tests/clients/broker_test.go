//go:build clients

package clients

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"leveret/tests/internal/brokertest"
)

// patience is how long a test waits for anything that ought to happen at once.
// It is generous because the broker may carry the race detector and share two
// cores with every other package's tests.
const patience = 2 * time.Minute

// broker is the broker under test: ours, or the one the environment names.
var broker struct {
	amqp, http      *url.URL
	stomp, webSTOMP string // host:port
	mqtt            string // host:port
	binary          string // Path of leveret, or "" for a broker that is not ours.
}

func TestMain(m *testing.M) {
	flag.Parse()
	// The tests wait for other processes more than they compute.
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	os.Exit(runAll(m))
}

// runAll runs the tests against the environment's broker or a leveret of its
// own, which at the end must stop when asked and must have logged no race.
func runAll(m *testing.M) int {
	if s := os.Getenv("LEVERET_TEST_AMQP_URL"); s != "" {
		broker.amqp = mustParse(s)
		broker.http = mustParse(os.Getenv("LEVERET_TEST_HTTP_URL"))
		broker.stomp, broker.webSTOMP = os.Getenv("LEVERET_TEST_STOMP_ADDR"), os.Getenv("LEVERET_TEST_WEB_STOMP_ADDR")
		broker.mqtt = os.Getenv("LEVERET_TEST_MQTT_ADDR")
		return m.Run()
	}

	dir, err := os.MkdirTemp("", "leveret-clients-")
	if err != nil {
		return failed(err)
	}
	defer os.RemoveAll(dir)
	if broker.binary, err = buildLeveret(dir); err != nil {
		return failed(err)
	}
	b, err := startLeveret(broker.binary, filepath.Join(dir, "broker.log"), ":memory:")
	if err != nil {
		return failed(err)
	}
	broker.amqp, broker.http = b.amqp, b.http
	broker.stomp, broker.webSTOMP, broker.mqtt = b.stomp, b.webSTOMP, b.mqtt

	code := m.Run()

	if err := b.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "clients: leveret did not end well:", err)
		code = 1
	}
	if err := b.checkLog(); err != nil {
		fmt.Fprintln(os.Stderr, "clients:", err)
		code = 1
	}
	if code != 0 {
		fmt.Fprintf(os.Stderr, "clients: the end of the broker's log:\n%s", b.logTail(8<<10))
	}
	return code
}

func failed(err error) int {
	fmt.Fprintln(os.Stderr, "clients:", err)
	return 1
}

func mustParse(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		panic(fmt.Sprintf("not a broker's address: %q (%v)", s, err))
	}
	return u
}

func buildLeveret(dir string) (string, error) {
	binary := filepath.Join(dir, "leveret")
	args := []string{"build", "-o", binary}
	if raceEnabled {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "./cmd/leveret")...)
	cmd.Dir = repository()
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build leveret: %w\n%s", err, out)
	}
	return binary, nil
}

// leveret is a running broker of ours.
type leveret struct {
	amqp, http      *url.URL
	stomp, webSTOMP string // host:port
	mqtt            string // host:port

	cmd     *exec.Cmd
	logPath string
	exited  chan struct{} // Closed when the process has ended and err is set.
	err     error
}

// startLeveret starts a broker on free ports and returns once they accept.
// This is the only place that knows the command line of leveret.
func startLeveret(binary, logPath, dataDir string) (*leveret, error) {
	addrs, err := freeAddrs(addrCount)
	if err != nil {
		return nil, err
	}
	return startLeveretOn(binary, logPath, dataDir, addrs)
}

// addrCount is how many addresses a broker listens on.
const addrCount = 5

// startLeveretOn starts a broker that listens on addrs: AMQP, HTTP, STOMP,
// STOMP over WebSocket, and MQTT, with more flags.
func startLeveretOn(binary, logPath, dataDir string, addrs []string, more ...string) (*leveret, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()

	b := &leveret{
		amqp:  mustParse("amqp://guest:guest@" + addrs[0]),
		http:  mustParse("http://guest:guest@" + addrs[1]),
		stomp: addrs[2], webSTOMP: addrs[3], mqtt: addrs[4],
		logPath: logPath,
		exited:  make(chan struct{}),
	}
	b.cmd = exec.Command(binary, append([]string{
		"--data-dir", dataDir,
		"--amqp-addr", addrs[0],
		"--http-addr", addrs[1],
		"--stomp-addr", addrs[2],
		"--web-stomp-addr", addrs[3],
		"--mqtt-addr", addrs[4],
		"--web-mqtt-addr", "none",
		"--prometheus-addr", "none",
		"--log-level", "info",
	}, more...)...)
	b.cmd.Stdout, b.cmd.Stderr = log, log
	if err := b.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start leveret: %w", err)
	}
	go func() { // Ends with the process.
		b.err = b.cmd.Wait()
		close(b.exited)
	}()
	for _, addr := range addrs {
		if err := b.waitAccepting(addr); err != nil {
			b.kill()
			return nil, fmt.Errorf("leveret does not listen on %s: %w\n%s", addr, err, b.logTail(4<<10))
		}
	}
	return b, nil
}

func (b *leveret) waitAccepting(addr string) error {
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(deadline) {
			return err
		}
		select {
		case <-tick.C:
		case <-b.exited:
			return fmt.Errorf("it ended: %v", b.err)
		}
	}
}

// stop asks b to end as an init system would. It must exit with 0 and must not
// wait for its clients.
func (b *leveret) stop() error {
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-b.exited:
		return b.err
	case <-time.After(15 * time.Second):
		b.kill()
		return errors.New("still running 15 s after SIGTERM")
	}
}

// kill ends b as a crash would. Doing so twice is harmless.
func (b *leveret) kill() {
	b.cmd.Process.Kill()
	<-b.exited
}

// checkLog reports what a broker that works never prints.
func (b *leveret) checkLog() error {
	log, err := os.ReadFile(b.logPath)
	if err != nil {
		return err
	}
	for _, bad := range []string{"WARNING: DATA RACE", "panic:", "fatal error:", "goroutine 1 ["} {
		if i := bytes.Index(log, []byte(bad)); i >= 0 {
			return fmt.Errorf("the broker's log has %q:\n%s", bad, log[i:min(len(log), i+6000)])
		}
	}
	return nil
}

func (b *leveret) logTail(sizeMax int) []byte {
	log, err := os.ReadFile(b.logPath)
	if err != nil {
		return []byte(err.Error())
	}
	return log[max(0, len(log)-sizeMax):]
}

// freeAddrs returns n loopback addresses whose ports were free a moment ago.
func freeAddrs(n int) ([]string, error) { return brokertest.FreeAddrs(n) }

// repository is the root of the source tree; tests run in their own folder.
func repository() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	return dir
}

var vhostCount atomic.Int64

// newVhost makes a virtual host for t on the broker under test, deletes it at
// the end, and returns the AMQP URL of it for the default user.
func newVhost(t *testing.T) string {
	t.Helper()
	name := fmt.Sprintf("%s-%d-%d", strings.ToLower(t.Name()), os.Getpid(), vhostCount.Add(1))
	name = strings.NewReplacer("/", "-", "_", "-", ".", "-").Replace(name)
	api(t, "PUT", "/api/vhosts/"+url.PathEscape(name), "", 201)
	t.Cleanup(func() { api(t, "DELETE", "/api/vhosts/"+url.PathEscape(name), "", 204) })
	user := broker.http.User.Username()
	api(t, "PUT", "/api/permissions/"+url.PathEscape(name)+"/"+url.PathEscape(user),
		`{"configure":".*","write":".*","read":".*"}`, 201, 204)
	return broker.amqp.String() + "/" + url.PathEscape(name)
}

// api sends a request to the management API, fails t unless the answer has one
// of the given codes, and returns its body.
func api(t *testing.T, method, path, body string, codes ...int) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, broker.http.String()+path, strings.NewReader(body))
	if t.Context().Err() != nil { // In a cleanup the test's context is over.
		req, err = http.NewRequest(method, broker.http.String()+path, strings.NewReader(body))
	}
	if err != nil {
		t.Fatal(err)
	}
	password, _ := broker.http.User.Password()
	req.SetBasicAuth(broker.http.User.Username(), password)
	req.Header.Set("Content-Type", "application/json")
	client := http.Client{Timeout: patience}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	for _, code := range codes {
		if resp.StatusCode == code {
			return string(answer)
		}
	}
	t.Fatalf("%s %s: %s, want %d: %s", method, path, resp.Status, codes, answer)
	return ""
}

// dial opens a connection and a channel in confirm mode for the test's own use.
func dial(t *testing.T, url string) *amqp.Channel {
	t.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	t.Cleanup(func() { conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatalf("open channel: %v", err)
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatalf("confirm.select: %v", err)
	}
	return ch
}

// publish puts a message into a queue and waits until the broker has it.
func publish(t *testing.T, ch *amqp.Channel, queue, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	confirm, err := ch.PublishWithDeferredConfirmWithContext(ctx, "", queue, true, false, amqp.Publishing{Body: []byte(body)})
	if err != nil {
		t.Fatalf("publish to %s: %v", queue, err)
	}
	if acked, err := confirm.WaitContext(ctx); err != nil || !acked {
		t.Fatalf("publish to %s: acked=%v, %v", queue, acked, err)
	}
}
