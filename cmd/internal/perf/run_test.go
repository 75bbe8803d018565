package perf

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// perfAMQP runs the command with args as a shell would pass them.
func perfAMQP(t testing.TB, ctx context.Context, args ...string) (string, error) {
	t.Helper()
	var cli Cmd
	k, err := kong.New(&cli)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Parse(append([]string{"amqp"}, args...)); err != nil {
		t.Fatal(err)
	}
	var out, log bytes.Buffer
	err = cli.AMQP.run(ctx, &out, &log)
	return out.String(), err
}

func perfJSON(t testing.TB, args ...string) (Report, error) {
	t.Helper()
	out, err := perfAMQP(t, t.Context(), append(args, "--json", "--quiet")...)
	var rep Report
	if out != "" {
		if err := json.Unmarshal([]byte(out), &rep); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
	}
	return rep, err
}

func TestRunAgainstFake(t *testing.T) {
	for name, args := range map[string][]string{
		"automatic acks":          {"--count=20000"},
		"acks in fifties":         {"--count=20000", "--ack-every=50", "--prefetch=300"},
		"acks one by one":         {"--count=20000", "--ack-every=1"},
		"confirms from the pump":  {"--count=20000", "--confirm=1000"},
		"confirm by confirm":      {"--count=200", "--confirm=1"},
		"confirms from two":       {"--count=20000", "--confirm=10000"},
		"paced":                   {"--count=500", "--rate=5000"},
		"paced with confirms":     {"--count=500", "--rate=5000", "--confirm=10"},
		"pairs":                   {"--count=20000", "--queues=12", "--producers=12", "--consumers=12"},
		"several producers":       {"--count=20000", "--producers=3"},
		"one producer, many keys": {"--count=20000", "--queues=12", "--consumers=12"},
		"large bodies":            {"--count=100", "--size=100000"},
		"fill, then drain":        {"--count=20000", "--fill-then-drain"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startFake(t)
			rep, err := perfJSON(t, append(args, "--url="+b.url())...)
			if err != nil {
				t.Fatal(err)
			}
			v := rep.Verification
			if !v.OK || !v.Complete || v.Expected == 0 || v.Received != v.Expected || v.Redelivered != 0 {
				t.Errorf("verification: %+v", v)
			}
			if rep.Broker != "Fake 1" {
				t.Errorf("broker is %q", rep.Broker)
			}
			if rep.Fill == nil && (rep.Latency == nil || rep.Latency.Samples != v.Expected) {
				t.Errorf("latency: %+v", rep.Latency)
			}
			if rep.Confirm > 0 && (rep.ConfirmLatency == nil || rep.ConfirmLatency.Samples != v.Expected) {
				t.Errorf("confirm latency: %+v", rep.ConfirmLatency)
			}
		})
	}
}

func TestTamperingIsFound(t *testing.T) {
	var held []byte
	for name, tc := range map[string]struct {
		tamper func(n int, frames []byte) []byte
		want   Verification
	}{
		"loss": {func(n int, f []byte) []byte {
			if n == 500 || n == 501 {
				return nil
			}
			return f
		}, Verification{Lost: 2}},
		"duplicate": {func(n int, f []byte) []byte {
			if n == 500 {
				return append(f, f...)
			}
			return f
		}, Verification{Duplicates: 1}},
		"order": {func(n int, f []byte) []byte {
			switch n {
			case 500:
				held = f
				return nil
			case 502:
				return append(f, held...)
			}
			return f
		}, Verification{OutOfOrder: 1}},
		"foreign": {func(n int, f []byte) []byte {
			if n == 500 {
				other := append([]byte(nil), f...)
				other[len(other)-1-128+8] ^= 0xFF
				return append(other, f...)
			}
			return f
		}, Verification{Foreign: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			b := startFake(t)
			b.tamper = tc.tamper
			rep, err := perfJSON(t, "--count=1000", "--drain-timeout=2s", "--url="+b.url())
			if !errors.Is(err, ErrVerification) {
				t.Errorf("error %v", err)
			}
			v := rep.Verification
			got := Verification{Lost: v.Lost, Duplicates: v.Duplicates, OutOfOrder: v.OutOfOrder, Foreign: v.Foreign}
			if got != tc.want {
				t.Errorf("found %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestServerErrorsAreReported(t *testing.T) {
	closeFrame := func(channel uint16, method uint32, code uint16, text string) []byte {
		return appendMethod(nil, channel, method, code, text, uint32(0))
	}
	for name, tc := range map[string]struct {
		at     uint32
		answer []byte
		want   string
	}{
		"login":    {connectionStartOK, closeFrame(0, connectionClose, 403, "ACCESS_REFUSED - no"), "connection: 403 ACCESS_REFUSED - no"},
		"vhost":    {connectionOpen, closeFrame(0, connectionClose, 530, "NOT_ALLOWED - vhost x not found"), "connection: 530 NOT_ALLOWED - vhost x not found"},
		"declare":  {queueDeclare, closeFrame(channelID, channelClose, 406, "PRECONDITION_FAILED - args"), "channel: 406 PRECONDITION_FAILED - args"},
		"consume":  {basicConsume, closeFrame(channelID, channelClose, 404, "NOT_FOUND - q"), "channel: 404 NOT_FOUND - q"},
		"publish":  {basicPublish, closeFrame(channelID, channelClose, 404, "NOT_FOUND - x"), "channel: 404 NOT_FOUND - x"},
		"greeting": {connectionStartOK, []byte("AMQP\x03\x01\x00\x00"), "does not speak AMQP 0-9-1"},
	} {
		t.Run(name, func(t *testing.T) {
			b := startFake(t)
			b.refuse = func(method uint32) []byte {
				if method == tc.at {
					return tc.answer
				}
				return nil
			}
			_, err := perfJSON(t, "--count=1000", "--drain-timeout=2s", "--url="+b.url())
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestBlockedTimeIsReported(t *testing.T) {
	b := startFake(t)
	b.refuse = func(method uint32) []byte {
		if method == confirmSelect {
			return append(appendMethod(nil, 0, connectionBlocked, "low on memory"), appendMethod(nil, channelID, confirmSelectOK)...)
		}
		return nil
	}
	// The fake now never confirms: the run ends by its patience.
	rep, err := perfJSON(t, "--count=100", "--confirm=10", "--drain-timeout=100ms", "--url="+b.url())
	if err == nil || rep.BlockedReason != "low on memory" || rep.BlockedSeconds <= 0 {
		t.Errorf("error %v, blocked %v s: %q", err, rep.BlockedSeconds, rep.BlockedReason)
	}
}

func TestInterruptReportsWhatThereIs(t *testing.T) {
	b := startFake(t)
	ctx, cancel := context.WithCancel(t.Context())
	arrived := make(chan struct{})
	b.tamper = func(n int, f []byte) []byte {
		if n == 1000 {
			close(arrived)
		}
		return f
	}
	go func() { // Ends with the run, which publishes until then.
		<-arrived
		cancel()
	}()
	out, err := perfAMQP(t, ctx, "--duration=1h", "--rate=20000", "--json", "--url="+b.url())
	var rep Report
	if err := json.Unmarshal([]byte(out), &rep); err != nil {
		t.Fatal(err)
	}
	if err != nil || !rep.Interrupted || rep.Verification.Received < 1000 {
		t.Errorf("error %v, interrupted %v, received %d", err, rep.Interrupted, rep.Verification.Received)
	}
}

func TestIdleConnections(t *testing.T) {
	b := startFake(t)
	out, err := perfAMQP(t, t.Context(), "--idle-connections=50", "--duration=10ms", "--json", "--url="+b.url())
	var rep IdleReport
	if err := json.Unmarshal([]byte(out), &rep); err != nil {
		t.Fatal(err)
	}
	if err != nil || rep.Connections != 50 || rep.Dropped != 0 || rep.PerSecond <= 0 {
		t.Errorf("error %v, report %+v", err, rep)
	}
}

// BenchmarkGenerator is the cost of generator and fake broker together.
func BenchmarkGenerator(b *testing.B) {
	for name, args := range map[string][]string{
		"auto-ack": nil,
		"confirm":  {"--confirm=1000"},
		"acks":     {"--ack-every=1"},
	} {
		b.Run(name, func(b *testing.B) {
			fake := startFake(b)
			b.ReportAllocs()
			rep, err := perfJSON(b, append(args, "--url="+fake.url(), "--count="+strconv.Itoa(b.N))...)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(rep.Delivered.PerSecond, "msgs/s")
		})
	}
}
