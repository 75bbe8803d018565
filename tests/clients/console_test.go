//go:build clients

package clients

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TestConsole drives the web console in Chromium over a broker of its own with
// traffic in all three protocols. What it does there is in console/, a file for
// each part of the console; each step that holds prints "ok" and its name.
//
//	go test -tags clients -run TestConsole ./tests/clients/
//	CONSOLE_ONLY=queues,map SHOTS=/tmp/shots go test …     some parts, with screenshots of what fails
func TestConsole(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("chromium"); err != nil {
		t.Fatalf("%v: run make prepare as root, or install chromium", err)
	}
	driver := filepath.Join(repository(), "tests", "clients", "console")
	if _, err := os.Stat(filepath.Join(driver, "node_modules")); err != nil {
		t.Fatalf("%v: run make prepare", err)
	}
	binary := broker.binary
	if binary == "" {
		t.Log("the broker under test may be another: a leveret is built")
		var err error
		if binary, err = buildLeveret(t.TempDir()); err != nil {
			t.Fatal(err)
		}
	}
	b, err := startLeveret(binary, filepath.Join(t.TempDir(), "broker.log"), ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.kill() })
	traffic(t, b)

	chromium := program{argv: []string{"node", "run.mjs", "http://" + b.http.Host + "/"}, dir: driver}.start(t, b.amqp.String())
	select {
	case <-chromium.exited:
	case <-time.After(8 * time.Minute):
		chromium.abort()
		t.Error("the browser is still at work")
	}
	steps := 0
	for _, line := range chromium.lines() {
		if m := regexp.MustCompile(`^(ok|FAIL) (\S+)(?: (.*))?$`).FindStringSubmatch(line); m != nil {
			steps++
			t.Run(m[2], func(t *testing.T) {
				if m[1] == "FAIL" {
					t.Error(m[3])
				}
			})
		}
	}
	if chromium.err != nil && !t.Failed() || steps == 0 {
		t.Errorf("%d steps, then: %v\n%s", steps, chromium.err, strings.Join(chromium.lines(), "\n"))
	}
	if err := b.checkLog(); err != nil {
		t.Error(err)
	}
	if t.Failed() {
		t.Logf("the end of the broker's log:\n%s", b.logTail(4<<10))
	}
}

// traffic declares a shop and has AMQP, MQTT and STOMP clients at work in it
// until t ends.
func traffic(t *testing.T, b *leveret) {
	t.Helper()
	open := func(name string) *amqp.Channel {
		conn, err := amqp.DialConfig(b.amqp.String()+"/", amqp.Config{Properties: amqp.Table{"connection_name": name}, Heartbeat: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		ch, err := conn.Channel()
		if err != nil {
			t.Fatal(err)
		}
		return ch
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ch := open("setup")
	must(ch.ExchangeDeclare("orders", "topic", true, false, false, false, nil))
	must(ch.ExchangeDeclare("dlx", "direct", true, false, false, false, nil))
	must(ch.ExchangeDeclare("audit", "topic", true, false, false, false, nil))
	must(ch.ExchangeBind("audit", "order.#", "orders", false, nil))
	for _, q := range []struct {
		name, exchange, key string
		args                amqp.Table
	}{
		{"billing", "orders", "order.paid.*", amqp.Table{"x-dead-letter-exchange": "dlx", "x-dead-letter-routing-key": "billing.failed"}},
		{"shipping", "orders", "order.paid.eu", nil},
		{"failed", "dlx", "billing.failed", nil},
		{"history", "audit", "#", amqp.Table{"x-queue-type": "stream"}},
		{"readings", "amq.topic", "greenhouse.*.temperature", nil},
	} {
		_, err := ch.QueueDeclare(q.name, true, false, false, false, q.args)
		must(err)
		must(ch.QueueBind(q.name, q.key, q.exchange, false, nil))
	}
	for i := range 60 {
		_, err := ch.QueueDeclare(fmt.Sprintf("tenant-%02d", i), true, false, false, false, nil)
		must(err)
	}

	worker := open("billing-worker")
	must(worker.Qos(20, 0, false))
	deliveries, err := worker.Consume("billing", "billing-1", false, false, false, false, nil)
	must(err)
	go func() { // Ends with its connection.
		for d := range deliveries {
			if d.AppId == "poison" {
				d.Reject(false)
			} else {
				d.Ack(false)
			}
		}
	}()
	poison := func(n int) {
		must(ch.PublishWithContext(t.Context(), "orders", "order.paid.eu", false, false, amqp.Publishing{
			ContentType: "application/json", AppId: "poison", DeliveryMode: amqp.Persistent, Body: fmt.Appendf(nil, `{"id":%d,"customer":"Ada"}`, n),
			Headers: amqp.Table{"trace": fmt.Sprintf("t-%d", n)},
		}))
	}
	for n := range 7 {
		poison(n)
	}

	publisher := open("shop-frontend")
	stop, stopped := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(stop); <-stopped })
	go func() { // Ends with t.
		defer close(stopped)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			if publisher.PublishWithContext(t.Context(), "orders", "order.paid.asia", false, false, amqp.Publishing{ContentType: "application/json", Body: fmt.Appendf(nil, `{"id":%d}`, n)}) != nil {
				return
			}
		}
	}()

	// One that the console closes; it tells us why.
	victim := open("victim")
	reasons := victim.NotifyClose(make(chan *amqp.Error, 1))
	t.Cleanup(func() {
		select {
		case err := <-reasons:
			if err == nil || !strings.Contains(err.Reason, "told by the test") {
				t.Errorf("the closed connection heard %v", err)
			}
		default:
			if os.Getenv("CONSOLE_ONLY") == "" {
				t.Error("the console did not close the connection called victim")
			}
		}
	})

	host, port, err := net.SplitHostPort(b.mqtt)
	must(err)
	mqtt := func(args ...string) program {
		return program{argv: append([]string{args[0], "-h", host, "-p", port, "-u", "guest", "-P", "guest"}, args[1:]...)}
	}
	mqtt("mosquitto_sub", "-i", "tablet", "-c", "-q", "1", "-t", "greenhouse/+/temperature", "-E").run(t, "")
	mqtt("mosquitto_sub", "-i", "vent-north", "-q", "1", "-t", "greenhouse/north/vent", "--will-topic", "greenhouse/north/online", "--will-payload", "no").start(t, "")
	mqtt("mosquitto_pub", "-r", "-q", "1", "-t", "greenhouse/north/temperature", "-m", "21.5").run(t, "")
	mqtt("mosquitto_pub", "-r", "-q", "1", "-t", "greenhouse/south/temperature", "-m", "19.0").run(t, "")

	stomp, err := net.Dial("tcp", b.stomp)
	must(err)
	t.Cleanup(func() { stomp.Close() })
	_, err = io.WriteString(stomp, "CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\nclient-id:dashboard\n\n\x00"+
		"SUBSCRIBE\nid:temps\ndestination:/topic/greenhouse.*.temperature\nreceipt:r1\n\n\x00")
	must(err)
	must(stomp.SetReadDeadline(time.Now().Add(patience)))
	heard := ""
	for part := make([]byte, 4096); !strings.Contains(heard, "RECEIPT\n"); {
		n, err := stomp.Read(part)
		must(err)
		heard += string(part[:n])
	}
}
