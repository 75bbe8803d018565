package perf

import (
	"reflect"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

func TestParseURL(t *testing.T) {
	for in, want := range map[string]target{
		"amqp://":                          {"127.0.0.1:5672", "guest", "guest", "/"},
		"amqp://host":                      {"host:5672", "guest", "guest", "/"},
		"amqp://host/":                     {"host:5672", "guest", "guest", "/"},
		"amqp://u:p%40ss@host:5673/v%2Fx":  {"host:5673", "u", "p@ss", "v/x"},
		"amqp://u@[::1]:1/%2F":             {"[::1]:1", "u", "", "/"},
		"amqp://guest:guest@10.0.0.1/prod": {"10.0.0.1:5672", "guest", "guest", "prod"},
	} {
		got, err := parseURL(in)
		if err != nil || *got != want {
			t.Errorf("%s: %+v, %v, want %+v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "host:5672", "http://host", "amqps://host", "amqp://host:port"} {
		if got, err := parseURL(in); err == nil {
			t.Errorf("%q is accepted: %+v", in, got)
		}
	}
}

func TestParseArguments(t *testing.T) {
	got, err := parseArguments([]string{"x-max-length=1000", "x-queue-type=quorum", "x-single-active-consumer=true", "a=string:5", "b=", "c=x=y"})
	want := table{{"x-max-length", int64(1000)}, {"x-queue-type", "quorum"}, {"x-single-active-consumer", true}, {"a", "5"}, {"b", ""}, {"c", "x=y"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for _, in := range []string{"x-max-length", "=5", strings.Repeat("k", 256) + "=1"} {
		if _, err := parseArguments([]string{in}); err == nil {
			t.Errorf("%q is accepted", in)
		}
	}
}

func parseOptions(t *testing.T, line string) (*options, error) {
	t.Helper()
	var cli Cmd
	k, err := kong.New(&cli)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Parse(append([]string{"amqp"}, strings.Fields(line)...)); err != nil {
		return nil, err
	}
	return cli.AMQP.options()
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	for line, want := range map[string]string{
		"--producers=0 --consumers=0":                             "nothing to do",
		"--prefetch=10":                                           "--ack-every",
		"--prefetch=10 --ack-every=11":                            "stall",
		"--fanout=2 --exchange-type=default":                      "default exchange",
		"--bindings=10":                                           "--exchange-type",
		"--match=2 --exchange-type=direct":                        "topic",
		"--exchange-type=direct --keys=2":                         "--keys",
		"--exchange-type=topic --bindings=3 --match=2 --queues=2": "--bindings",
		"--exchange-type=x-random":                                "must be one of",
		"--size=-1":                                               "--size",
		"--queues=0":                                              "--queues",
		"--rate=-1":                                               "negative",
		"--producers=0 --confirm=1":                               "producer",
		"--fill-then-drain --duration=1s":                         "--fill-then-drain",
		"--heartbeat=1ms":                                         "--heartbeat",
	} {
		if o, err := parseOptions(t, line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, error %v, want one with %q", line, o, err, want)
		}
	}
}

func TestOptionsThatDependOnOthers(t *testing.T) {
	o, err := parseOptions(t, "--fanout=3 --queues=2")
	if err != nil || o.exchangeType != "fanout" || o.consumers != 6 || o.duration == 0 {
		t.Errorf("fan-out: %+v, %v", o, err)
	}
	o, err = parseOptions(t, "--exchange-type=topic --bindings=100 --match=2")
	if err != nil || o.keys != 50 || o.consumers != 1 {
		t.Errorf("topic: %+v, %v", o, err)
	}
	o, err = parseOptions(t, "--fill-then-drain")
	if err != nil || o.count != 1_000_000 || o.duration != 0 {
		t.Errorf("backlog: %+v, %v", o, err)
	}
}
