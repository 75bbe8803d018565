package perf

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"

	"github.com/alecthomas/kong"

	"leveret/adapters/mqtt"
	"leveret/core"
)

// mqttBroker serves MQTT in this process and returns its address.
func mqttBroker(t *testing.T) string {
	t.Helper()
	broker, err := core.New(core.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s := mqtt.NewServer(mqtt.Options{Broker: broker, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	var serving sync.WaitGroup
	serving.Go(func() { s.Serve(ctx, ln) })
	serving.Go(func() { broker.Run(ctx) })
	t.Cleanup(func() {
		stop()
		serving.Wait()
		broker.Close()
	})
	return ln.Addr().String()
}

func perfMQTT(t *testing.T, args ...string) ([]byte, error) {
	t.Helper()
	var cli Cmd
	k, err := kong.New(&cli)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Parse(append([]string{"mqtt", "--json", "--quiet"}, args...)); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = cli.MQTT.run(t.Context(), &out, io.Discard)
	return out.Bytes(), err
}

func TestMQTT(t *testing.T) {
	addr := mqttBroker(t)
	for _, version := range []string{"3.1", "3.1.1", "5"} {
		for qos := range 3 {
			for name, args := range map[string][]string{
				"1-1":     nil,
				"3-1":     {"--publishers=3"},
				"1-3":     {"--subscribers=3"},
				"pairs":   {"--publishers=4", "--subscribers=4", "--topics=4"},
				"paced":   {"--rate=20000"},
				"lasting": {"--lasting"},
			} {
				t.Run(fmt.Sprintf("%s/qos%d/%s", version, qos, name), func(t *testing.T) {
					out, err := perfMQTT(t, append(args, "--url=mqtt://"+addr, "--protocol="+version, fmt.Sprint("--qos=", qos), "--count=600", "--topic=t/"+name)...)
					if err != nil {
						t.Fatal(err)
					}
					var rep MQTTReport
					if err := json.Unmarshal(out, &rep); err != nil {
						t.Fatal(err)
					}
					if v := rep.Verification; !v.OK || !v.Checked || v.Received == 0 || qos > 0 && v.Lost > 0 || rep.Published.Messages == 0 {
						t.Errorf("%+v", rep)
					}
				})
			}
		}
	}
}

func TestMQTTIdle(t *testing.T) {
	out, err := perfMQTT(t, "--url=mqtt://"+mqttBroker(t), "--idle-connections=50", "--duration=50ms", "--qos=1")
	if err != nil {
		t.Fatal(err)
	}
	var rep MQTTIdleReport
	if err := json.Unmarshal(out, &rep); err != nil || rep.Connections != 50 || rep.Dropped != 0 {
		t.Errorf("%+v %v", rep, err)
	}
}

func TestMQTTRefusesBadFlags(t *testing.T) {
	for _, args := range [][]string{{"--url=amqp://x"}, {"--qos=3"}, {"--publishers=0"}, {"--window=0"}, {"--drain-timeout=0s"}} {
		if _, err := perfMQTT(t, args...); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}
