//go:build clients

package mqtt

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// environment tells programs where the shared broker is.
func environment(t *testing.T) []string {
	t.Helper()
	host, port := hostPort(t, shared.MQTT)
	_, wsPort := hostPort(t, shared.WebMQTT)
	return append(os.Environ(), "MQTT_HOST="+host, "MQTT_PORT="+port, "MQTT_WS_PORT="+wsPort, "PYTHONDONTWRITEBYTECODE=1")
}

// TestPahoPython runs paho_check.py.
func TestPahoPython(t *testing.T) {
	t.Parallel()
	python := os.Getenv("LEVERET_TEST_PYTHON")
	if python == "" {
		python = filepath.Join(repository(), ".venv", "bin", "python")
	}
	if _, err := os.Stat(python); err != nil {
		t.Fatalf("%v: run make prepare", err)
	}
	cmd := exec.CommandContext(t.Context(), python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "paho_check.py")
	cmd.Env = environment(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestMQTTjs runs node/check.js over TCP and WebSocket, with MQTT 3.1.1 and 5.
func TestMQTTjs(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(filepath.Join("node", "node_modules", "mqtt")); err != nil {
		t.Fatalf("%v: run make prepare", err)
	}
	for _, transport := range []string{"tcp", "ws"} {
		for _, version := range []string{"4", "5"} {
			t.Run(transport+"/"+version, func(t *testing.T) {
				t.Parallel()
				cmd := exec.CommandContext(t.Context(), "node", "check.js", transport, version)
				cmd.Dir = "node"
				cmd.Env = environment(t)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
			})
		}
	}
}
