//go:build clients

package clients

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// program is one way of running a program of ours: what to execute, where.
type program struct {
	argv []string
	dir  string
	env  []string
}

// python is a program of examples/python, run with the pinned libraries.
func python(t *testing.T, script string, args ...string) program {
	t.Helper()
	return program{
		argv: append([]string{pythonPath(t), script}, args...),
		dir:  filepath.Join(repository(), "examples", "python"),
	}
}

func pythonPath(t *testing.T) string {
	t.Helper()
	path := os.Getenv("LEVERET_TEST_PYTHON")
	if path == "" {
		path = filepath.Join(repository(), ".venv", "bin", "python")
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: run make prepare", err)
	}
	return path
}

// node is a program of examples/node.
func node(t *testing.T, script string, args ...string) program {
	t.Helper()
	dir := filepath.Join(repository(), "examples", "node")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "amqplib")); err != nil {
		t.Fatalf("%v: run make prepare", err)
	}
	return program{argv: append([]string{"node", script}, args...), dir: dir}
}

var goPrograms struct {
	once sync.Once
	dir  string
	err  error
}

// golang is a program of examples/go; the first use builds them all.
func golang(t *testing.T, name string, args ...string) program {
	t.Helper()
	goPrograms.once.Do(func() {
		if goPrograms.dir, goPrograms.err = os.MkdirTemp("", "leveret-examples-"); goPrograms.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-o", goPrograms.dir, "./examples/go/...")
		cmd.Dir = repository()
		if out, err := cmd.CombinedOutput(); err != nil {
			goPrograms.err = fmt.Errorf("%w\n%s", err, out)
		}
	})
	if goPrograms.err != nil {
		t.Fatalf("build examples/go: %v", goPrograms.err)
	}
	return program{argv: append([]string{filepath.Join(goPrograms.dir, name)}, args...)}
}

// with adds environment variables, each "NAME=value".
func (p program) with(env ...string) program {
	p.env = append(p.env[:len(p.env):len(p.env)], env...)
	return p
}

// process is a started program and what it has printed, line by line.
type process struct {
	t      *testing.T
	name   string
	cmd    *exec.Cmd
	exited chan struct{} // Closed when the program has ended and err is set.
	err    error

	mu struct {
		sync.Mutex
		lines []string
		next  int           // The first line that waitLine has not passed.
		more  chan struct{} // Closed and replaced when lines grows.
	}
}

// start runs p against the broker at url. The end of t kills it if it is still
// there; a failed test prints its output.
func (p program) start(t *testing.T, url string) *process {
	t.Helper()
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "AMQP_URL="+url, "PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1", "PYTHONFAULTHANDLER=1")
	cmd.Env = append(cmd.Env, p.env...)
	// A group of its own, so that the children of a program go with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", p.argv, err)
	}
	pr := &process{t: t, name: filepath.Base(p.argv[min(1, len(p.argv)-1)]), cmd: cmd, exited: make(chan struct{})}
	pr.mu.more = make(chan struct{})
	go pr.read(out) // Ends with the program and its children.
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-pr.exited
		if t.Failed() {
			t.Logf("%s printed:\n%s", pr.name, strings.Join(pr.lines(), "\n"))
		}
	})
	return pr
}

func (p *process) read(out io.Reader) {
	in := bufio.NewReader(out)
	for {
		line, err := in.ReadString('\n')
		if line != "" {
			p.mu.Lock()
			p.mu.lines = append(p.mu.lines, strings.TrimRight(line, "\r\n"))
			close(p.mu.more)
			p.mu.more = make(chan struct{})
			p.mu.Unlock()
		}
		if err != nil {
			break
		}
	}
	p.err = p.cmd.Wait()
	close(p.exited)
}

func (p *process) lines() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.mu.lines...)
}

// waitLine waits until the program prints a line that matches, and returns it
// with its groups. Lines before it are passed and not looked at again.
func (p *process) waitLine(pattern string) []string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.After(patience)
	over := p.exited
	for ended := false; ; {
		p.mu.Lock()
		for p.mu.next < len(p.mu.lines) {
			line := p.mu.lines[p.mu.next]
			p.mu.next++
			if m := re.FindStringSubmatch(line); m != nil {
				p.mu.Unlock()
				return m
			}
		}
		more := p.mu.more
		p.mu.Unlock()
		if ended {
			p.t.Fatalf("%s ended (%v) before it printed %q", p.name, p.err, pattern)
		}
		select {
		case <-more:
		case <-over:
			ended = true // Look once more at what it printed last.
		case <-deadline:
			p.abort()
			p.t.Fatalf("%s did not print %q", p.name, pattern)
		}
	}
}

// signal sends sig to the program, not to its children.
func (p *process) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

// interrupt sends Control-C's signal and wants the program to end in order.
func (p *process) interrupt() {
	p.t.Helper()
	p.signal(syscall.SIGINT)
	p.finish()
}

// kill ends the program as a crash would: nothing more is sent.
func (p *process) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	<-p.exited
}

// abort ends a program that hangs, with a trace of where it does: the runtimes of
// Go and, if asked, of Python print one on this signal.
func (p *process) abort() {
	p.cmd.Process.Signal(syscall.SIGABRT)
	select {
	case <-p.exited:
	case <-time.After(5 * time.Second): // Its children hold the pipe.
	}
}

// finish waits for the program's end, wants exit code 0, and returns what it
// printed.
func (p *process) finish() string {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.abort()
		p.t.Fatalf("%s is still running", p.name)
	}
	var exit *exec.ExitError
	if errors.As(p.err, &exit) {
		p.t.Fatalf("%s: %v", p.name, exit)
	} else if p.err != nil {
		p.t.Fatal(p.err)
	}
	return strings.Join(p.lines(), "\n")
}

// run runs p to its end and returns what it printed.
func (p program) run(t *testing.T, url string) string {
	t.Helper()
	return p.start(t, url).finish()
}

// wantLines fails t unless out is exactly these lines.
func wantLines(t *testing.T, out string, want ...string) {
	t.Helper()
	if joined := strings.Join(want, "\n"); out != joined {
		t.Errorf("printed:\n%s\nwant:\n%s", out, joined)
	}
}
