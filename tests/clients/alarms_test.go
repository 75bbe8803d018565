//go:build clients

package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	gostomp "github.com/go-stomp/stomp/v3"
	amqp "github.com/rabbitmq/amqp091-go"

	"leveret/tests/internal/brokertest"
)

// alarmed is a broker whose disk alarm a test sets and clears.
type alarmed struct {
	*testing.T
	b *brokertest.Broker
}

func startAlarmed(t *testing.T, args ...string) *alarmed {
	t.Helper()
	if broker.binary == "" {
		t.Log("the alarm of a broker that is not ours is not ours to set")
		return nil
	}
	b, err := brokertest.Start(brokertest.Options{
		Binary: broker.binary, Log: filepath.Join(t.TempDir(), "broker.log"), Args: args, DataDir: filepath.Join(t.TempDir(), "data"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Kill)
	return &alarmed{t, b}
}

func (a *alarmed) api(method, path, body string, out any) {
	a.Helper()
	req, err := http.NewRequest(method, "http://"+a.b.HTTP+"/api"+path, strings.NewReader(body))
	if err != nil {
		a.Fatal(err)
	}
	req.SetBasicAuth("guest", "guest")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		a.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		a.Fatalf("%s %s: %s", method, path, resp.Status)
	}
	if out != nil {
		if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
			a.Fatal(err)
		}
	}
}

// until asks the API again and again until it answers what is wanted.
func (a *alarmed) until(what, path string, wanted func(rows []map[string]any) bool) {
	a.Helper()
	deadline := time.Now().Add(patience)
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		var rows []map[string]any
		if a.api("GET", path, "", &rows); wanted(rows) {
			return
		}
		if time.Now().After(deadline) {
			a.Fatalf("%s: %s is still %v", what, path, rows)
		}
		<-look.C
	}
}

// set sets the alarm: no disk has as much room.
func (a *alarmed) set() {
	a.api("PUT", "/alarms/disk/limit", `{"absolute":1000000000000000000}`, nil)
	a.until("the alarm", "/alarms", func(rows []map[string]any) bool { return len(rows) == 1 && rows[0]["resource"] == "disk" })
}

func (a *alarmed) clear() {
	a.api("PUT", "/alarms/disk/limit", `{"absolute":1}`, nil)
	a.until("no alarm", "/alarms", func(rows []map[string]any) bool { return len(rows) == 0 })
}

func (a *alarmed) dial() *amqp.Connection {
	a.Helper()
	c, err := amqp.Dial("amqp://guest:guest@" + a.b.AMQP)
	if err != nil {
		a.Fatal(err)
	}
	a.Cleanup(func() { c.Close() })
	return c
}

func (a *alarmed) channel(c *amqp.Connection) *amqp.Channel {
	a.Helper()
	ch, err := c.Channel()
	if err != nil {
		a.Fatal(err)
	}
	return ch
}

func (a *alarmed) mqtt(id string) *paho.Client {
	a.Helper()
	nc, err := net.Dial("tcp", a.b.MQTT)
	if err != nil {
		a.Fatal(err)
	}
	c := paho.NewClient(paho.ClientConfig{Conn: nc, PacketTimeout: patience})
	if _, err := c.Connect(context.Background(), &paho.Connect{
		ClientID: id, CleanStart: true, KeepAlive: 600, Username: "guest", UsernameFlag: true, Password: []byte("guest"), PasswordFlag: true,
	}); err != nil {
		a.Fatal(err)
	}
	a.Cleanup(func() { nc.Close() })
	return c
}

func (a *alarmed) stomp() *gostomp.Conn {
	a.Helper()
	c, err := gostomp.Dial("tcp", a.b.STOMP, gostomp.ConnOpt.Login("guest", "guest"), gostomp.ConnOpt.Host("/"), gostomp.ConnOpt.HeartBeat(0, 0), gostomp.ConnOpt.RcvReceiptTimeout(patience))
	if err != nil {
		a.Fatal(err)
	}
	a.Cleanup(func() { c.MustDisconnect() })
	return c
}

func (a *alarmed) within(what string, done <-chan error) {
	a.Helper()
	select {
	case err := <-done:
		if err != nil {
			a.Fatalf("%s: %v", what, err)
		}
	case <-time.After(patience):
		a.Fatalf("%s: nothing after %v", what, patience)
	}
}

const mqttPublishes = 3

// TestAlarmHoldsPublishers: while the disk is short of room nobody who
// publishes is read from, whatever it speaks; consumers go on; afterwards all
// that was published arrives.
func TestAlarmHoldsPublishers(t *testing.T) {
	t.Parallel()
	a := startAlarmed(t)
	if a == nil {
		return
	}
	publisher, consumer := a.dial(), a.dial()
	ch, in := a.channel(publisher), a.channel(consumer)
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare("q", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind("q", "t", "amq.topic", false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.PublishWithContext(t.Context(), "", "q", false, false, amqp.Publishing{Body: []byte("waiting")}); err != nil {
		t.Fatal(err)
	}
	blocked := publisher.NotifyBlocked(make(chan amqp.Blocking, 2))
	m, s := a.mqtt("publisher"), a.stomp()
	a.set()

	// Readers that were waiting take one more message each and notice then.
	var confirms []*amqp.DeferredConfirmation
	for range 2 {
		c, err := ch.PublishWithDeferredConfirmWithContext(t.Context(), "", "q", false, false, amqp.Publishing{Body: []byte("amqp")})
		if err != nil {
			t.Fatal(err)
		}
		confirms = append(confirms, c)
	}
	byMQTT, bySTOMP := make(chan error, 1), make(chan error, 1)
	go func() {
		for range mqttPublishes {
			if _, err := m.Publish(context.Background(), &paho.Publish{Topic: "t", QoS: 1, Payload: []byte("mqtt")}); err != nil {
				byMQTT <- err
				return
			}
		}
		byMQTT <- nil
	}()
	go func() {
		for range 3 {
			if err := s.Send("/queue/q", "text/plain", []byte("stomp"), gostomp.SendOpt.Receipt); err != nil {
				bySTOMP <- err
				return
			}
		}
		bySTOMP <- nil
	}()
	select {
	case b := <-blocked:
		if !b.Active || b.Reason != "low on disk" {
			t.Errorf("told %+v", b)
		}
	case <-time.After(patience):
		t.Fatal("the AMQP client was not told")
	}
	a.until("three held publishers", "/connections", func(rows []map[string]any) bool {
		held := 0
		for _, r := range rows {
			if r["state"] == "blocked" {
				held++
			}
		}
		return held == 3
	})
	a.until("three blocked connections", "/alarms", func(rows []map[string]any) bool {
		return fmt.Sprint(rows[0]["blocked_connections"]) == "3" && rows[0]["reason"] != ""
	})
	select {
	case err := <-byMQTT:
		t.Fatalf("the MQTT client had all its publishes answered: %v", err)
	case err := <-bySTOMP:
		t.Fatalf("the STOMP client had all its receipts: %v", err)
	default:
	}

	got, err := in.ConsumeWithContext(t.Context(), "q", "", false, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	next := func() {
		select {
		case d := <-got:
			count[string(d.Body)]++
			if err := d.Ack(false); err != nil {
				t.Fatal(err)
			}
		case <-time.After(patience):
			t.Fatalf("got only %v", count)
		}
	}
	if next(); count["waiting"] != 1 {
		t.Errorf("got %v first", count)
	}

	a.clear()
	a.within("MQTT", byMQTT)
	a.within("STOMP", bySTOMP)
	for _, c := range confirms {
		if ok, err := c.WaitContext(t.Context()); !ok || err != nil {
			t.Errorf("confirm %v, %v", ok, err)
		}
	}
	if b := <-blocked; b.Active {
		t.Errorf("told %+v", b)
	}
	for range 2 + mqttPublishes + 3 {
		next()
	}
	if count["amqp"] != 2 || count["mqtt"] != mqttPublishes || count["stomp"] != 3 {
		t.Errorf("got %v", count)
	}
}

// TestAlarmRefuses: with --refuse-after nobody waits for ever.
func TestAlarmRefuses(t *testing.T) {
	t.Parallel()
	a := startAlarmed(t, "--refuse-after", "200ms")
	if a == nil {
		return
	}
	confirming, plain := a.channel(a.dial()), a.channel(a.dial())
	if err := confirming.Confirm(false); err != nil {
		t.Fatal(err)
	}
	if _, err := confirming.QueueDeclare("q", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	closed := plain.NotifyClose(make(chan *amqp.Error, 1))
	m, s := a.mqtt("refused"), a.stomp()
	publish := func() (bool, error) {
		c, err := confirming.PublishWithDeferredConfirmWithContext(t.Context(), "", "q", false, false, amqp.Publishing{Body: []byte("x")})
		if err != nil {
			return false, err
		}
		return c.WaitContext(t.Context())
	}
	if ok, err := publish(); !ok || err != nil {
		t.Fatal(ok, err)
	}
	a.set()
	a.until("refusing", "/alarms", func(rows []map[string]any) bool { return rows[0]["refusing"] == true })

	if ok, err := publish(); ok || err != nil {
		t.Errorf("a publish with confirm: %v, %v; want a nack", ok, err)
	}
	if err := plain.PublishWithContext(t.Context(), "", "q", false, false, amqp.Publishing{}); err != nil {
		t.Fatal(err)
	}
	select {
	case e := <-closed:
		if e == nil || e.Code != amqp.PreconditionFailed || !strings.Contains(e.Reason, "low on disk") {
			t.Errorf("a publish without confirms: %v", e)
		}
	case <-time.After(patience):
		t.Error("a publish without confirms was not answered")
	}
	r, err := m.Publish(context.Background(), &paho.Publish{Topic: "t", QoS: 1, Payload: []byte("x")})
	if r == nil || r.ReasonCode != 0x97 {
		t.Errorf("a PUBLISH of MQTT 5: %+v, %v", r, err)
	}
	err = s.Send("/queue/q", "text/plain", []byte("x"), gostomp.SendOpt.Receipt)
	var e gostomp.Error
	if !errors.As(err, &e) && err == nil || !strings.Contains(fmt.Sprint(err)+string(frameBody(&e)), "low on disk") {
		t.Errorf("a SEND: %v", err)
	}
	a.clear()
	if ok, err := publish(); !ok || err != nil {
		t.Errorf("afterwards: %v, %v", ok, err)
	}
	d, ok, err := confirming.Get("q", true)
	if err != nil || !ok || !bytes.Equal(d.Body, []byte("x")) || d.MessageCount != 1 {
		t.Errorf("got %v %v %q, %d more", ok, err, d.Body, d.MessageCount)
	}
}

func frameBody(e *gostomp.Error) []byte {
	if e.Frame == nil {
		return nil
	}
	return e.Frame.Body
}
