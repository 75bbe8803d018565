package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TestOperatedOverSocket: whoever runs the broker looks after it without a
// password, keeps clients out, lets them in again, and stops it.
func TestOperatedOverSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "leveret") // Sockets have short names.
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "leveret.sock")
	p := serving(t, "--data-dir="+dir)
	for _, name := range []string{"LEVERET_URL", "LEVERET_USER", "LEVERET_PASSWORD"} {
		t.Setenv(name, "")
	}
	t.Setenv("LEVERET_CTL_SOCKET", socket)
	ctl := func(line string) string {
		t.Helper()
		var out, errs bytes.Buffer
		if code := run(append([]string{"leveret", "ctl", "-q"}, strings.Fields(line)...), strings.NewReader(""), &out, &errs); code != exitOK {
			t.Fatalf("%s: exit code %d: %s", line, code, &errs)
		}
		return out.String()
	}
	until(t, "the socket", func() bool { _, err := os.Stat(socket); return err == nil })
	if st, err := os.Stat(socket); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the socket is for others too: %v, %v", st, err)
	}
	ctl("change_password guest other")
	dial := func() (*amqp.Connection, error) { return amqp.Dial("amqp://guest:other@" + p.addrs["amqp"] + "/") }
	c, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	closed := c.NotifyClose(make(chan *amqp.Error, 1))
	ctl("stop_app")
	if e := <-closed; e == nil || e.Code != amqp.ConnectionForced {
		t.Errorf("the client was told %v", e)
	}
	if c, err := dial(); err == nil {
		c.Close()
		t.Error("a client came in while the broker was suspended")
	}
	ctl("start_app")
	if c, err = dial(); err != nil {
		t.Fatal(err)
	}
	c.Close()
	ctl("stop")
	if code := p.wait(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(p.stderr.String(), `why="asked for by 'rmq-cli'"`) {
		t.Errorf("the log does not say who stopped it:\n%s", p.stderr)
	}
	if _, err := os.Stat(socket); err == nil {
		t.Error("the socket is left")
	}

	// A socket that a broker left when it was killed is in nobody's way.
	if err := os.WriteFile(socket, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p = serving(t, "--data-dir="+dir)
	until(t, "the new socket", func() bool {
		st, err := os.Stat(socket)
		return err == nil && st.Mode()&os.ModeSocket != 0
	})
	ctl("ping")
}
