//go:build clients

package mqtt

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"leveret/tests/internal/brokertest"
)

// patience is how long a test waits for anything that ought to happen at once.
const patience = 2 * time.Minute

// binary is the leveret under test.
var binary string

// shared is a broker that most tests use, each with topics of its own.
var shared *brokertest.Broker

func TestMain(m *testing.M) { os.Exit(runAll(m)) }

func runAll(m *testing.M) int {
	fail := func(err error) int {
		os.Stderr.WriteString("mqtt clients: " + err.Error() + "\n")
		return 1
	}
	dir, err := os.MkdirTemp("", "leveret-mqtt-")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	if binary, err = brokertest.Build(repository(), dir, false); err != nil {
		return fail(err)
	}
	if shared, err = brokertest.Start(brokertest.Options{Binary: binary, Log: filepath.Join(dir, "broker.log")}); err != nil {
		return fail(err)
	}
	defer shared.Kill()
	code := m.Run()
	if err := shared.CheckLog(); err != nil {
		return fail(err)
	}
	return code
}

// repository is the root of the source; tests run in their package's folder.
func repository() string {
	root, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		panic(err)
	}
	return root
}

// start starts a broker of the test's own over a data directory.
func start(t *testing.T, dataDir string) *brokertest.Broker {
	t.Helper()
	b, err := brokertest.Start(brokertest.Options{Binary: binary, Log: filepath.Join(t.TempDir(), "broker.log"), DataDir: dataDir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.Kill()
		if t.Failed() {
			t.Logf("the broker logged:\n%s", b.LogTail(8<<10))
		}
	})
	return b
}

// program runs to its end and must succeed; its output is returned.
func program(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// hostPort are an address's parts.
func hostPort(t *testing.T, addr string) (host, port string) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return host, port
}
