package persist_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"leveret/core"
	"leveret/persist"
	"leveret/persist/persisttest"
	"leveret/persist/vfs/faultfs"
)

// device is a client that lasts, its publisher, and its outlet.
type device struct {
	t         *testing.T
	client    *core.Client
	publisher *core.Publisher
	consumer  *core.Consumer
	done      chan core.Kind
	got       chan string
	slots     []core.Slot
}

func (d *device) Completed(_, _ uint64, k core.Kind) { d.done <- k }
func (d *device) Room(*core.Waiter) bool             { return true }
func (d *device) Flush()                             {}
func (d *device) Deliver(_ *core.Consumer, ds []core.Delivery) bool {
	for _, o := range ds {
		text := "released"
		if o.Message != nil {
			text = string(o.Message.Body)
		}
		if o.Resumed {
			text += fmt.Sprint(" resumed ", o.Slot())
		}
		d.slots = append(d.slots, core.Slot{Seq: o.Seq, Data: uint32(len(d.slots) + 1)})
		d.got <- text
	}
	return false
}

func wait[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(persisttest.Deadline):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func connect(t *testing.T, b *core.Broker) *device {
	t.Helper()
	user, _ := b.Auth().User("guest")
	s, err := b.OpenSession(core.SessionOptions{VHost: "/", User: user, Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	d := &device{t: t, done: make(chan core.Kind, 10), got: make(chan string, 10)}
	if d.client, _, err = s.Attach(context.Background(), core.ClientOptions{ID: "dev", ExpiryMS: -1, Queue: "q", DirectQueue: "d"}); err != nil {
		t.Fatal(err)
	}
	if _, errs := d.client.Subscribe([]core.Subscription{{Filter: "a", Exchange: "amq.topic", Key: "a.#", Grade: 2}}); errs[0] != nil {
		t.Fatal(errs[0])
	}
	d.publisher = s.NewPublisher(d)
	d.publisher.SetClient(d.client)
	if d.consumer, err = d.client.Consume(core.ConsumeOptions{Outlet: d, Prefetch: 4}); err != nil {
		t.Fatal(err)
	}
	var touched core.Touched
	d.consumer.Start(&touched)
	return d
}

// publish publishes bodies once, retained, and waits for their confirms.
func (d *device) publish(once uint16, bodies ...string) {
	target, err := d.publisher.Target("amq.topic")
	if err != nil {
		d.t.Fatal(err)
	}
	ms := make([]core.Publication, len(bodies))
	for i, body := range bodies {
		m := &ms[i]
		m.Reset()
		m.RoutingKey, m.Body, m.Persistent, m.Retain = "a."+body, []byte(body), true, true
		m.Number, m.Once = uint64(i+1), once+uint16(i)
		if _, err := d.publisher.Route(target, m); err != nil {
			d.t.Fatal(err)
		}
	}
	var touched core.Touched
	d.publisher.Publish(ms, &touched)
	if k := wait(d.t, d.done); k != core.OK {
		d.t.Fatalf("refused: %v", k)
	}
}

// The broker loses power while a client is in the midst of taking messages that
// matter: it finds them where it was, with the same slots and before the rest,
// its own ids are remembered, and what was retained is there.
func TestClientsOverPowerCut(t *testing.T) {
	disk := faultfs.New(faultfs.Options{})
	definitions := core.NewMemoryDefinitions()
	start := func(disk *faultfs.FS) *core.Broker {
		b, err := core.New(core.Options{Definitions: definitions, Log: openLog(t, disk, "/log", persist.LogOptions{SegmentBytes: 64 << 10})})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := start(disk)
	d := connect(t, b)
	d.publish(7, "m1", "m2", "m3", "m4", "m5", "m6")
	for _, want := range []string{"m1", "m2", "m3", "m4"} {
		if got := wait(t, d.got); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	noted := make(chan error, 3)
	d.consumer.Hold(d.slots[:3], func(err error) { noted <- err })
	d.slots[1].Released = true
	d.consumer.Hold(d.slots[1:2], func(err error) { noted <- err })
	d.client.Forget([]uint16{8}, func(err error) { noted <- err })
	for range 3 {
		if err := wait(t, noted); err != nil {
			t.Fatal(err)
		}
	}
	left := disk.CrashAt(disk.Ops(), 1)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	b = start(left)
	defer b.Close()
	d = connect(t, b)
	for _, want := range []string{"m1 resumed 1", "released resumed 2", "m3 resumed 3", "m4"} {
		if got := wait(t, d.got); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := d.client.Received(); !slices.Equal(got, []uint16{7, 9, 10, 11, 12}) {
		t.Errorf("received %v", got)
	}
	var kept []string
	cursor := d.consumer.Session().Retained("amq.topic", "#", nil)
	for cursor.Next(4, func(m *core.Message) { kept = append(kept, string(m.Body)) }) {
	}
	slices.Sort(kept)
	if got := strings.Join(kept, " "); got != "m1 m2 m3 m4 m5 m6" {
		t.Errorf("retained %s", got)
	}
}
