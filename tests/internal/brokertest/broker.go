package brokertest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// patience is how long a broker may take to listen. It is generous because
// the machine may be busy with every other package's tests.
const patience = 60 * time.Second

// stopWithin is how long a broker may take to end when asked.
const stopWithin = 15 * time.Second

// Build builds leveret into dir, with the race detector if race is set, and
// returns the path of the binary. repository is the root of the source tree.
func Build(repository, dir string, race bool) (string, error) {
	binary := filepath.Join(dir, "leveret")
	args := []string{"build", "-o", binary}
	if race {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "./cmd/leveret")...)
	cmd.Dir = repository
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build leveret: %w\n%s", err, out)
	}
	return binary, nil
}

// ErrEnded is what Start returns, with what the process has printed, if it did
// not stay.
var ErrEnded = errors.New("it ended")

// Options say how to start a broker.
type Options struct {
	Binary string   // Of leveret. Required.
	Log    string   // The file its output is appended to. Required.
	Args   []string // Flags beside those for ports and data directory.

	// DataDir is where the broker keeps what must survive it; :memory: unless
	// set.
	DataDir string
	// Run is a program with arguments that executes the broker's command line,
	// which follows them; empty to execute it directly. It must stay the same
	// process (exec).
	Run []string
	// UID is who the broker runs as, if not 0. Only root can change it.
	UID uint32

	// At is a broker that has ended, on whose ports this one is to listen; nil for
	// free ones.
	At *Broker

	// FilesMax is how many file descriptors the process may have, 0 for as many
	// as this process may.
	FilesMax int
}

// Broker is a running leveret.
type Broker struct {
	AMQP            string // host:port where AMQP 0-9-1 is spoken.
	HTTP            string // host:port of the management API.
	Pprof           string // host:port of Go's profiles.
	STOMP, WebSTOMP string // host:port.
	MQTT, WebMQTT   string // host:port.

	log     string
	started time.Time
	cmd     *exec.Cmd
	exited  chan struct{} // Closed when the process has ended and err is set.
	err     error
}

// Start starts a broker on free ports of the loopback interface and returns
// once it accepts on all of them. A port that somebody else takes first is no
// reason to give up.
func Start(o Options) (*Broker, error) {
	for try := 1; ; try++ {
		b, err := startOnce(o)
		if err == nil || try == 5 || !strings.Contains(err.Error(), "address already in use") {
			return b, err
		}
	}
}

func startOnce(o Options) (*Broker, error) {
	addrs, err := FreeAddrs(7)
	if err != nil {
		return nil, err
	}
	if a := o.At; a != nil {
		addrs = []string{a.AMQP, a.HTTP, a.Pprof, a.STOMP, a.WebSTOMP, a.MQTT, a.WebMQTT}
	}
	log, err := os.OpenFile(o.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	b := &Broker{
		AMQP: addrs[0], HTTP: addrs[1], Pprof: addrs[2], STOMP: addrs[3], WebSTOMP: addrs[4], MQTT: addrs[5], WebMQTT: addrs[6],
		log: o.Log, exited: make(chan struct{}),
	}
	if o.DataDir == "" {
		o.DataDir = ":memory:"
	}
	argv := append([]string{o.Binary, "--data-dir", o.DataDir, "--amqp-addr", b.AMQP, "--http-addr", b.HTTP, "--pprof", b.Pprof}, o.Args...)
	if o.FilesMax > 0 {
		// Only a shell can lower the limit between fork and exec.
		argv = append([]string{"sh", "-c", `ulimit -n "$0" && exec "$@"`, strconv.Itoa(o.FilesMax)}, argv...)
	}
	argv = append(o.Run[:len(o.Run):len(o.Run)], argv...)
	b.cmd = exec.Command(argv[0], argv[1:]...)
	if o.UID != 0 {
		b.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: o.UID, Gid: o.UID}}
	}
	b.cmd.Stdout, b.cmd.Stderr = log, log
	b.cmd.Env = append(os.Environ(), "LEVERET_STOMP_ADDR="+b.STOMP, "LEVERET_WEB_STOMP_ADDR="+b.WebSTOMP,
		"LEVERET_MQTT_ADDR="+b.MQTT, "LEVERET_WEB_MQTT_ADDR="+b.WebMQTT, "LEVERET_PROMETHEUS_ADDR=none")
	b.started = time.Now()
	if err := b.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start leveret: %w", err)
	}
	go func() { // Ends with the process.
		b.err = b.cmd.Wait()
		close(b.exited)
	}()
	for _, addr := range addrs {
		if err := b.waitAccepting(addr); err != nil {
			b.Kill()
			return nil, fmt.Errorf("leveret does not listen on %s: %w\n%s", addr, err, b.LogTail(4<<10))
		}
	}
	return b, nil
}

func (b *Broker) waitAccepting(addr string) error {
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
			return fmt.Errorf("%w: %v", ErrEnded, b.err)
		}
	}
}

// PID is the process id.
func (b *Broker) PID() int { return b.cmd.Process.Pid }

// Exited is closed when the process has ended.
func (b *Broker) Exited() <-chan struct{} { return b.exited }

// Started is when the process was executed.
func (b *Broker) Started() time.Time { return b.started }

// Kill ends the process without asking.
func (b *Broker) Kill() {
	b.cmd.Process.Kill()
	<-b.exited
}

// Stop asks the broker to end as an init system would. It must exit with 0 and
// must not wait for its clients for long. Stopping twice is harmless.
func (b *Broker) Stop() error {
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-b.exited:
		return b.err
	case <-time.After(stopWithin):
		b.Kill()
		return fmt.Errorf("still running %v after SIGTERM", stopWithin)
	}
}

// CheckLog reports what a broker that works never prints.
func (b *Broker) CheckLog() error {
	log, err := os.ReadFile(b.log)
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

// Logged reports whether the broker has logged text.
func (b *Broker) Logged(text string) bool {
	log, err := os.ReadFile(b.log)
	return err == nil && strings.Contains(string(log), text)
}

// LogTail is the end of what the broker has logged.
func (b *Broker) LogTail(sizeMax int) []byte {
	log, err := os.ReadFile(b.log)
	if err != nil {
		return []byte(err.Error())
	}
	return log[max(0, len(log)-sizeMax):]
}

// FreeAddrs returns n loopback addresses whose ports were free a moment ago.
func FreeAddrs(n int) ([]string, error) {
	var addrs []string
	for tries := 0; len(addrs) < n; tries++ {
		// Below the ports that systems give to outgoing connections, which would
		// take one as soon as it is free.
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+rand.IntN(20_000)))
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			if tries > 100*n {
				return nil, err
			}
			continue
		}
		defer ln.Close()
		addrs = append(addrs, addr)
	}
	return addrs, nil
}
