package shovel

import (
	"errors"
	"strings"
	"testing"
	"time"

	"leveret/core"
)

func TestParse(t *testing.T) {
	c, err := parse(core.ParameterDef{VHost: "v", Name: "s", User: "u", Value: `{
		"src-protocol": "amqp091", "src-uri": ["amqp://a:b@h1", "amqps://h2:99/v%2F2?verify=verify_none&heartbeat=7"], "src-queue": "q",
		"src-prefetch-count": 5, "src-delete-after": "queue-length", "src-consumer-args": {"x-stream-offset": 4},
		"dest-uri": "amqp:///v", "dest-exchange": "x", "dest-exchange-key": "k", "dest-add-forward-headers": true,
		"dest-publish-properties": {"delivery_mode": 2, "type": "t"}, "ack-mode": "on-publish", "reconnect-delay": 1.5}`})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.src.uris) != 2 || c.src.uris[1].VHost != "v/2" || c.src.uris[1].Port != 99 || !c.src.uris[1].noVerify || c.src.uris[1].heartbeat != 7*time.Second {
		t.Errorf("uris %v", c.src.uris)
	}
	if c.src.queue != "q" || c.src.prefetch != 5 || c.src.deleteAfter != deleteQueueLength || c.ack != onPublish || c.reconnect != 1500*time.Millisecond {
		t.Errorf("%+v", c)
	}
	if *c.dest.exchange != "x" || *c.dest.key != "k" || !c.dest.forwardHeaders || !c.dest.uris[0].Local() || c.dest.uris[0].VHost != "v" {
		t.Errorf("%+v", c.dest)
	}
}

// TestRefused has RabbitMQ's texts for what cannot be a shovel.
func TestRefused(t *testing.T) {
	const ends = `"src-uri": "amqp://", "dest-uri": "amqp://"`
	for _, c := range []struct{ value, want string }{
		{`{}`, "Must specify 'src-exchange' or 'src-queue'"},
		{`{"src-queue": "q"}`, `Key "src-uri" not found in s`},
		{`{` + ends + `, "src-queue": "q", "src-exchange": "x"}`, "Cannot specify 'src-exchange' and 'src-queue'"},
		{`{` + ends + `, "src-queue": "q", "dest-queue": "q", "dest-exchange": "x"}`, "Cannot specify 'dest-exchange' and 'dest-queue'"},
		{`{` + ends + `, "src-queue": "q", "ack-mode": "no-ack", "src-delete-after": 5}`, "Cannot specify 'no-ack' and numerical 'delete-after'"},
		{`{` + ends + `, "src-queue": 5}`, "src-queue should be binary, actually was 5"},
		{`{` + ends + `, "src-queue": "q", "ack-mode": "maybe"}`, `ack-mode should be one of ['no-ack','on-publish','on-confirm'], actually was <<"maybe">>`},
		{`{` + ends + `, "src-queue": "q", "reconnect-delay": "5"}`, `reconnect-delay should be number, actually was <<"5">>`},
		{`{` + ends + `, "src-queue": "q", "src-delete-after": "later"}`, `src-delete-after should be a number greater than or equal to 0, "never" or "queue-length", actually was <<"later">>`},
		{`{` + ends + `, "src-queue": "q", "src-protocol": "amqp10"}`, "does not speak AMQP 1.0"},
		{`{` + ends + `, "src-queue": "q", "nonsense": [1, "a"]}`, `Unrecognised terms [{<<"nonsense">>,[1,<<"a">>]}] in s`},
		{`{"src-uri": "http://x", "dest-uri": "amqp://", "src-queue": "q"}`, "src-uri is not a valid URI"},
		{`{` + ends + `, "src-queue": "q", "dest-publish-properties": {"colour": 1}}`, "unknown property"},
		{`[]`, "s not a list"},
	} {
		_, err := parse(core.ParameterDef{VHost: "/", Name: "s", Value: c.value})
		var e *core.Error
		if !errors.As(err, &e) || e.Kind != core.Invalid || !strings.HasPrefix(e.Why, "Validation failed\n\n") || !strings.Contains(e.Why, c.want) {
			t.Errorf("%s: %v, want %q", c.value, err, c.want)
		}
	}
}

// TestNoSecret looks for a password in whatever is said about URIs.
func TestNoSecret(t *testing.T) {
	const secret = "pa55"
	for _, s := range []string{
		"amqp://u:pa55@h/v", "amqp://u:pa55@h:99999/v", "amqp://u:pa55@h/v?verify=pa55x", "http://u:pa55@h", "amqp://u:pa55@h/a/b", "amqp://u:pa55@ h", "amqp:u:pa55@h",
	} {
		u, err := ParseURI(s)
		if err == nil && strings.Contains(u.String(), secret) {
			t.Errorf("%s is shown as %s", s, &u)
		}
		if _, err := parse(core.ParameterDef{Name: "s", Value: `{"src-uri": "` + s + `", "src-queue": "q", "dst-uri": "` + s + `"}`}); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s is refused with %v", s, err)
		}
	}
}

func TestURI(t *testing.T) {
	for s, want := range map[string]string{
		"amqp://": "amqp:///%2F", "amqp:///a%2Fb": "amqp:///a%2Fb", "amqp://h": "amqp://h:5672/%2F", "amqps://u:p@h/v?heartbeat=0": "amqps://h:5671/v",
		"amqp://[::1]:99/x": "amqp://[::1]:99/x",
	} {
		u, err := ParseURI(s)
		if err != nil || u.String() != want {
			t.Errorf("%s: %v, %v; want %s", s, &u, err, want)
		}
	}
}

func TestWithOffset(t *testing.T) {
	got, err := withOffset(`{"src-uri":"amqp://a&b","src-consumer-args":{"x":1},"n":12345678901234567890}`, 77)
	if want := `{"n":12345678901234567890,"src-consumer-args":{"x":1,"x-stream-offset":77},"src-uri":"amqp://a&b"}`; err != nil || got != want {
		t.Errorf("%s, %v", got, err)
	}
}

// FuzzParse: whatever a parameter holds, it is refused or read, and what is read
// can be shown.
func FuzzParse(f *testing.F) {
	f.Add(`{"src-uri": "amqp://", "src-queue": "q", "dest-uri": ["amqps://u:p@h:1/v?heartbeat=1"], "dest-queue": "d"}`)
	f.Add(`{"src-uri": 1, "src-exchange": "x", "src-delete-after": 1e30, "dest-publish-properties": {"headers": {"a": [1]}}}`)
	f.Fuzz(func(t *testing.T, value string) {
		c, err := parse(core.ParameterDef{VHost: "/", Name: "s", Value: value})
		if err != nil {
			return
		}
		if len(c.src.uris) == 0 || len(c.dest.uris) == 0 {
			t.Errorf("%s has an end without a URI", value)
		}
		if _, err := withOffset(value, 1); err != nil {
			t.Errorf("%s: %v", value, err)
		}
	})
}
