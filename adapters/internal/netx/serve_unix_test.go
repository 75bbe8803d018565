//go:build unix

package netx

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// childLimit is how many descriptors the child of
// TestServeSurvivesLackOfDescriptors may have.
const childLimit = 40

func TestMain(m *testing.M) {
	if os.Getenv("NETX_TEST_CHILD") != "" {
		if err := child(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child is a server with very few descriptors. It ends when its parent closes
// its standard input.
func child() error {
	limit := syscall.Rlimit{Cur: childLimit, Max: childLimit}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	ln, err := Listen("127.0.0.1:0", "AMQP", "--amqp-addr")
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr())
	ctx, stop := context.WithCancel(context.Background())
	go func() { // Ends with the process at the latest.
		io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	return Serve(ctx, ln, echo, ServeOptions{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
}

func TestServeSurvivesLackOfDescriptors(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "NETX_TEST_CHILD=1")
	var log lines
	cmd.Stderr = &log
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	addr, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	addr = strings.TrimSpace(addr)

	// Twice as many as it can have: the kernel takes them, the child cannot.
	var held []net.Conn
	for range 2 * childLimit {
		held = append(held, dial(t, addr))
	}
	await(t, "the child says what it lacks", func() bool { return strings.Contains(log.String(), "too many open files") })
	last := held[len(held)-1]
	for _, c := range held[:len(held)-1] {
		c.Close()
	}
	expect(t, last, []byte("hello\n")) // It waited and was not lost.
	last.Write([]byte("x"))
	expect(t, last, []byte("x"))
	expect(t, dial(t, addr), []byte("hello\n"))

	stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("child: %v\n%s", err, log.String())
	}
	n, most := strings.Count(log.String(), "too many open files"), int(time.Since(start)/time.Second)+1
	if n > most {
		t.Errorf("%d log lines in less than %d seconds", n, most)
	}
}

func TestAcceptedConnectionsHaveNoDelay(t *testing.T) {
	ours, _ := tcpPair(t)
	rc, err := ours.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	rc.Control(func(fd uintptr) {
		if v, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_NODELAY); err != nil || v == 0 {
			t.Errorf("TCP_NODELAY %d, %v", v, err)
		}
	})
}
