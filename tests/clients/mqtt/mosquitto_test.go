//go:build clients

package mqtt

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// mosquitto is the command line of mosquitto_pub or mosquitto_sub for the
// shared broker.
func mosquitto(t *testing.T, version string, args ...string) []string {
	t.Helper()
	if _, err := exec.LookPath("mosquitto_pub"); err != nil {
		t.Fatalf("%v: run make prepare as root, or install mosquitto-clients", err)
	}
	host, port := hostPort(t, shared.MQTT)
	return append([]string{"-V", version, "-h", host, "-p", port}, args...)
}

// TestMosquitto fills the sessions of absent subscribers with each version.
func TestMosquitto(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"mqttv31", "mqttv311", "mqttv5"} {
		for qos := 1; qos <= 2; qos++ {
			t.Run(fmt.Sprintf("%s/qos%d", version, qos), func(t *testing.T) {
				t.Parallel()
				topic := fmt.Sprintf("mosquitto/%s/%d", version, qos)
				q := fmt.Sprint(qos)
				// A lasting session is filled while its client is away.
				id := fmt.Sprintf("sub-%s-%d", version, qos)
				session := []string{"-i", id, "-c", "-t", topic + "/+", "-q", q}
				if version == "mqttv5" {
					session = append(session, "-x", "600")
				}
				program(t, "mosquitto_sub", mosquitto(t, version, append(session, "-E")...)...)
				for i := range 5 {
					program(t, "mosquitto_pub", mosquitto(t, version, "-t", fmt.Sprintf("%s/%d", topic, i), "-q", q, "-m", fmt.Sprint("m", i))...)
				}
				got := program(t, "mosquitto_sub", mosquitto(t, version, append(session, "-C", "5", "-v")...)...)
				var want strings.Builder
				for i := range 5 {
					fmt.Fprintf(&want, "%s/%d m%d\n", topic, i, i)
				}
				if got != want.String() {
					t.Errorf("got\n%swant\n%s", got, want.String())
				}
			})
		}
	}
}

func TestMosquittoRetained(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"mqttv311", "mqttv5"} {
		topic := "mosquitto-retained/" + version
		program(t, "mosquitto_pub", mosquitto(t, version, "-t", topic+"/a", "-r", "-m", "kept", "-q", "1")...)
		program(t, "mosquitto_pub", mosquitto(t, version, "-t", topic+"/b", "-r", "-m", "gone", "-q", "1")...)
		program(t, "mosquitto_pub", mosquitto(t, version, "-t", topic+"/b", "-r", "-n", "-q", "1")...)
		if got := program(t, "mosquitto_sub", mosquitto(t, version, "-t", topic+"/#", "-C", "1", "-v", "-q", "1")...); got != topic+"/a kept\n" {
			t.Errorf("%q", got)
		}
	}
}

// TestMosquittoProperties sends the properties of MQTT 5 through.
func TestMosquittoProperties(t *testing.T) {
	t.Parallel()
	topic := "mosquitto-properties"
	program(t, "mosquitto_pub", mosquitto(t, "mqttv5", "-t", topic, "-r", "-q", "1", "-m", "x",
		"-D", "publish", "content-type", "text/plain", "-D", "publish", "response-topic", "re/ply",
		"-D", "publish", "correlation-data", "c1", "-D", "publish", "user-property", "k", "v",
		"-D", "publish", "message-expiry-interval", "600")...)
	got := program(t, "mosquitto_sub", mosquitto(t, "mqttv5", "-t", topic, "-C", "1", "-F", "%p|%C|%R|%D|%P|%r")...)
	if got != "x|text/plain|re/ply|c1|k:v|1\n" {
		t.Errorf("%q", got)
	}
}

func TestMosquittoRefused(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "mosquitto_pub", mosquitto(t, "mqttv311", "-u", "guest", "-P", "wrong", "-t", "x", "-m", "y")...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "bad user name or password") && !strings.Contains(string(out), "not authorised") {
		t.Errorf("%v: %s", err, out)
	}
}
