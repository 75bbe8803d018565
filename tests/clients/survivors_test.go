//go:build clients

package clients

import (
	"path/filepath"
	"testing"
)

// TestWhatIsConfirmedInAnyProtocolSurvives kills the broker after each protocol
// has had its confirms, and has each read what all of them sent.
func TestWhatIsConfirmedInAnyProtocolSurvives(t *testing.T) {
	t.Parallel()
	binary := broker.binary
	if binary == "" {
		t.Log("the broker under test is not ours to kill: a leveret is built")
		var err error
		if binary, err = buildLeveret(t.TempDir()); err != nil {
			t.Fatal(err)
		}
	}
	log, data := filepath.Join(t.TempDir(), "broker.log"), t.TempDir()
	run := func(what string) {
		b, err := startLeveret(binary, log, data)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.kill)
		p := program{
			argv: []string{pythonPath(t), "survivors.py", what},
			dir:  filepath.Join(repository(), "tests", "clients", "python"),
		}.with("HTTP_URL="+b.http.String(), "STOMP_ADDR="+b.stomp, "MQTT_ADDR="+b.mqtt).start(t, b.amqp.String()+"/%2F")
		if what == "fill" {
			p.waitLine("^filled$")
			b.kill()
			return
		}
		wantLines(t, p.finish(), "AMQP has all", "MQTT has all", "STOMP has all", "retained is there")
		if err := b.stop(); err != nil {
			t.Errorf("leveret after SIGTERM: %v\n%s", err, b.logTail(4<<10))
		}
		if err := b.checkLog(); err != nil {
			t.Error(err)
		}
	}
	run("fill")
	run("read")
}
