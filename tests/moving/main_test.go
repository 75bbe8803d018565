package moving

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"leveret/tests/internal/brokertest"
)

// patience is how long a test waits for anything that ought to happen soon.
const patience = 2 * time.Minute

// leveret is the path of the binary, set by TestMain.
var leveret string

func TestMain(m *testing.M) { os.Exit(runAll(m)) }

func runAll(m *testing.M) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, "moving:", err)
		return 1
	}
	dir, err := os.MkdirTemp("", "leveret-moving-")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	repository, err := filepath.Abs("../..")
	if err != nil {
		return fail(err)
	}
	if leveret, err = brokertest.Build(repository, dir, false); err != nil {
		return fail(err)
	}
	return m.Run()
}

// broker is a leveret that is killed and started again on the same ports.
type broker struct {
	*testing.T
	*brokertest.Broker
	o brokertest.Options
}

func newBroker(t *testing.T) *broker {
	t.Helper()
	dir := t.TempDir()
	b := &broker{T: t, o: brokertest.Options{Binary: leveret, DataDir: filepath.Join(dir, "data"), Log: filepath.Join(dir, "broker.log"), Args: []string{"--ctl-socket", "none"}}}
	b.start()
	t.Cleanup(func() {
		if err := b.Stop(); err != nil {
			t.Errorf("leveret did not end well: %v", err)
		}
		if err := b.CheckLog(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("%s", b.LogTail(8<<10))
		}
	})
	return b
}

func (b *broker) start() {
	b.Helper()
	started, err := brokertest.Start(b.o)
	if err != nil {
		b.Fatal(err)
	}
	b.Broker, b.o.At = started, started
}

// crash kills the broker and starts it again.
func (b *broker) crash() {
	b.Helper()
	b.Kill()
	b.start()
}

func (b *broker) url() string { return "amqp://guest:guest@" + b.AMQP + "/" }

// api asks a management API on host.
func api(t *testing.T, host, method, path string, in, out any) {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(method, "http://"+host+"/api"+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("guest", "guest")
	client := http.Client{Timeout: patience}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 300 {
		t.Fatalf("%s %s: %s %s %v", method, path, res.Status, answer, err)
	}
	if out != nil {
		if err := json.Unmarshal(answer, out); err != nil {
			t.Fatalf("%s: %v in %s", path, err, answer)
		}
	}
}

// messages is how many a queue of leveret's holds.
func (b *broker) messages(queue string) int {
	b.Helper()
	var q struct {
		Messages int `json:"messages"`
	}
	api(b.T, b.HTTP, "GET", "/queues/%2F/"+queue, nil, &q)
	return q.Messages
}

// until asks again and again until ok.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("it does not come to this: %s", what)
		}
	}
}

// dial opens a channel in confirm mode.
func dial(t *testing.T, url string) *amqp.Channel {
	t.Helper()
	c, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	ch, err := c.Channel()
	if err == nil {
		err = ch.Confirm(false)
	}
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// publish sends messages number from to to-1 and waits until all are confirmed.
func publish(t *testing.T, ch *amqp.Channel, exchange, key string, from, to int) {
	t.Helper()
	var last *amqp.DeferredConfirmation
	for i := from; i < to; i++ {
		d, err := ch.PublishWithDeferredConfirm(exchange, key, true, false, numbered(i))
		if err != nil {
			t.Fatal(err)
		}
		last = d
		if i%500 == 499 || i == to-1 {
			if !last.Wait() {
				t.Fatalf("message %d is refused", i)
			}
		}
	}
}

// when is the timestamp of every message.
var when = time.Unix(1_700_000_000, 0)

// numbered is message i. All that a message can carry is in it.
func numbered(i int) amqp.Publishing {
	return amqp.Publishing{
		Body: []byte(strconv.Itoa(i)), DeliveryMode: amqp.Persistent, ContentType: "text/n", ContentEncoding: "plain", Priority: 3, MessageId: fmt.Sprint("id", i),
		CorrelationId: "c", ReplyTo: "r", Type: "t", AppId: "a", UserId: "guest", Timestamp: when, Expiration: "86400000",
		Headers: amqp.Table{
			"n": int32(i), "at": when, "list": []any{"a", int64(1), true}, "none": nil,
			"x-death": []any{amqp.Table{"queue": "old", "reason": "rejected", "count": int64(2), "time": when}},
		},
	}
}

// collect takes all n numbers out of a queue: each must come, for the first time
// in order, as it was published. It returns how many came again.
func collect(t *testing.T, url, queue, exchange, key string, n int, args amqp.Table) (again int) {
	t.Helper()
	ch := dial(t, url)
	defer ch.Close()
	if err := ch.Qos(500, 0, false); err != nil {
		t.Fatal(err)
	}
	arrivals, err := ch.Consume(queue, "", false, false, false, false, args)
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.After(patience)
	for next := 0; next < n; {
		select {
		case d, ok := <-arrivals:
			if !ok {
				t.Fatalf("%s: the connection was lost", queue)
			}
			i, err := strconv.Atoi(string(d.Body))
			switch {
			case err != nil || i > next:
				t.Fatalf("%s: %q came, next is %d", queue, d.Body, next)
			case i < next:
				again++
			default:
				same(t, &d, i, exchange, key)
				next++
			}
			if err := d.Ack(false); err != nil {
				t.Fatal(err)
			}
		case <-deadline:
			t.Fatalf("%s: number %d of %d did not come", queue, next, n)
		}
	}
	return again
}

// same compares d with what was published as number i.
func same(t *testing.T, d *amqp.Delivery, i int, exchange, key string) {
	t.Helper()
	want := numbered(i)
	if _, ok := d.Headers["x-stream-offset"]; ok {
		delete(d.Headers, "x-stream-offset") // The queue's own.
		// RabbitMQ 3's streams lose headers that are lists.
		delete(want.Headers, "list")
		delete(want.Headers, "x-death")
	}
	// What is sent on has what remains of its time to live.
	if left, err := strconv.Atoi(d.Expiration); err != nil || left > 86_400_000 || left < 80_000_000 {
		t.Fatalf("number %d came with expiration %q", i, d.Expiration)
	}
	want.Expiration = d.Expiration
	got := amqp.Publishing{
		Body: d.Body, DeliveryMode: d.DeliveryMode, ContentType: d.ContentType, ContentEncoding: d.ContentEncoding, Priority: d.Priority, MessageId: d.MessageId,
		CorrelationId: d.CorrelationId, ReplyTo: d.ReplyTo, Type: d.Type, AppId: d.AppId, UserId: d.UserId, Timestamp: d.Timestamp, Expiration: d.Expiration, Headers: d.Headers,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("number %d came as\n%v\nwant\n%v", i, got, want)
	}
	if d.Exchange != exchange || d.RoutingKey != key {
		t.Fatalf("number %d came with exchange %q and key %q, want %q and %q", i, d.Exchange, d.RoutingKey, exchange, key)
	}
}
