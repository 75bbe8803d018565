//go:build clients

package clients

import (
	"path/filepath"
	"testing"
)

// TestPika runs each file of Python tests in a virtual host of its own.
func TestPika(t *testing.T) {
	dir := filepath.Join(repository(), "tests", "clients", "python")
	files, err := filepath.Glob(filepath.Join(dir, "test_*.py"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests in %s: %v", dir, err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := program{argv: []string{pythonPath(t), "-m", "pytest", name}, dir: dir}
			out := p.with("HTTP_URL="+broker.http.String(), "STOMP_ADDR="+broker.stomp, "MQTT_ADDR="+broker.mqtt).start(t, newVhost(t))
			// pytest says 1 for a failure and 5 where it found no test.
			out.finish()
			t.Log(out.waitLine(`^\d+ passed.*$`)[0])
		})
	}
}
