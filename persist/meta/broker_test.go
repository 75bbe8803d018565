package meta_test

import (
	"fmt"
	"sync"
	"testing"

	"leveret/core"
	"leveret/core/auth"
	"leveret/persist/meta"
)

// A whole broker whose clients declare, bind and delete at the same time comes
// back with what was durable.
func TestBrokerRestarts(t *testing.T) {
	dir := t.TempDir()
	start := func() *core.Broker {
		b, err := core.New(core.Options{Definitions: open(t, dir, meta.Options{})})
		must(t, err)
		return b
	}
	export := func(b *core.Broker) string {
		text, err := b.ExportDefinitions("")
		must(t, err)
		return string(text)
	}
	b := start()
	user, err := b.Login(t.Context(), core.Credentials{User: "guest", Password: "guest", Loopback: true})
	must(t, err)
	var clients sync.WaitGroup
	for c := range 8 {
		clients.Go(func() {
			s, err := b.OpenSession(core.SessionOptions{Principal: user, VHost: "/", Loopback: true})
			if err != nil {
				t.Error(err)
				return
			}
			for i := range 30 {
				name := fmt.Sprint("q", c, "-", i)
				if _, err := s.DeclareQueue(core.QueueDeclare{Name: name, Durable: true}); err != nil {
					t.Error(err)
				}
				for _, key := range []string{"a.#", fmt.Sprint("b.", i)} {
					if err := s.Bind(core.Binding{Source: "amq.topic", Destination: name, Key: key}); err != nil {
						t.Error(err)
					}
				}
				if i%3 == 0 {
					if _, err := s.DeleteQueue(name, false, false); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	clients.Wait()
	must(t, b.PutUser(auth.User{Name: "operator", Tags: []string{auth.TagAdministrator}}))
	before := export(b)
	s, err := b.OpenSession(core.SessionOptions{Principal: user, VHost: "/", Loopback: true})
	must(t, err)
	_, err = s.DeclareQueue(core.QueueDeclare{Name: "transient"})
	must(t, err)
	must(t, s.Bind(core.Binding{Source: "amq.topic", Destination: "transient", Key: "#"}))
	must(t, b.Close())

	b = start()
	if after := export(b); after != before {
		t.Errorf("before the restart\n%s\nafter\n%s", before, after)
	}
	v, _ := b.VHost("/")
	queues := 0
	for range v.Queues() {
		queues++
	}
	if want := 8 * 20; queues != want {
		t.Errorf("%d queues, want %d", queues, want)
	}
	must(t, b.Close())
}
