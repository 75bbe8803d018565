//go:build clients

package mqtt

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/autopaho/queue/memory"
	"github.com/eclipse/paho.golang/paho"
)

// switchboard passes connections on to an address that can change, and cuts
// them.
type switchboard struct {
	ln net.Listener

	mu    sync.Mutex
	to    string
	conns map[net.Conn]struct{}
}

func newSwitchboard(t *testing.T, to string) *switchboard {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &switchboard{ln: ln, to: to, conns: map[net.Conn]struct{}{}}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			a, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { s.serve(a) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		s.cut()
		all.Wait()
	})
	return s
}

func (s *switchboard) serve(a net.Conn) {
	s.mu.Lock()
	to := s.to
	s.mu.Unlock()
	b, err := net.Dial("tcp", to)
	if err != nil {
		a.Close()
		return
	}
	s.mu.Lock()
	s.conns[a], s.conns[b] = struct{}{}, struct{}{}
	s.mu.Unlock()
	var both sync.WaitGroup
	for _, p := range [][2]net.Conn{{a, b}, {b, a}} {
		both.Go(func() {
			buf := make([]byte, 64<<10)
			for {
				n, err := p[0].Read(buf)
				if n > 0 {
					if _, err := p[1].Write(buf[:n]); err != nil {
						break
					}
				}
				if err != nil {
					break
				}
			}
			p[0].Close()
			p[1].Close()
		})
	}
	both.Wait()
	s.mu.Lock()
	delete(s.conns, a)
	delete(s.conns, b)
	s.mu.Unlock()
}

// cut ends all connections.
func (s *switchboard) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
}

func (s *switchboard) switchTo(addr string) {
	s.mu.Lock()
	s.to = addr
	s.mu.Unlock()
}

// pahoClient connects with a session that lasts, and reconnects.
func pahoClient(t *testing.T, addr, id string, up func(cm *autopaho.ConnectionManager), got func(p *paho.Publish)) *autopaho.ConnectionManager {
	t.Helper()
	cfg := autopaho.ClientConfig{
		ServerUrls: []*url.URL{{Scheme: "mqtt", Host: addr}}, KeepAlive: 20, CleanStartOnInitialConnection: false, SessionExpiryInterval: 3600,
		Queue:            memory.New(),
		ReconnectBackoff: func(int) time.Duration { return 50 * time.Millisecond },
		OnConnectionUp: func(cm *autopaho.ConnectionManager, _ *paho.Connack) {
			if up != nil {
				go up(cm) // Ends when the subscription is answered, or the test is over.
			}
		},
		ClientConfig: paho.ClientConfig{
			ClientID: id,
			OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(r paho.PublishReceived) (bool, error) {
				if got != nil {
					got(r.Packet)
				}
				return true, nil
			}},
		},
	}
	cm, err := autopaho.NewConnection(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := cm.AwaitConnection(ctx); err != nil {
		t.Fatal(err)
	}
	return cm
}

// exactlyOnce publishes n messages with QoS 2 and calls trouble now and then.
// Each must arrive once.
func exactlyOnce(t *testing.T, addr, topic string, n int, trouble func(i int)) {
	var mu sync.Mutex
	seen := map[int]int{}
	all := make(chan struct{})
	subscribed := make(chan struct{})
	var once sync.Once
	pahoClient(t, addr, topic+"-sub", func(cm *autopaho.ConnectionManager) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := cm.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: topic, QoS: 2}}})
		if err == nil {
			once.Do(func() { close(subscribed) })
		}
	}, func(p *paho.Publish) {
		i, err := strconv.Atoi(string(p.Payload))
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			t.Error(err)
		}
		if seen[i]++; seen[i] > 1 {
			t.Errorf("message %d came %d times", i, seen[i])
		}
		if len(seen) == n {
			close(all)
		}
	})
	select {
	case <-subscribed:
	case <-time.After(patience):
		t.Fatal("not subscribed")
	}
	pub := pahoClient(t, addr, topic+"-pub", nil, nil)
	for i := range n {
		// Once the session has the message it is not published anew, whatever
		// becomes of the connection.
		err := pub.PublishViaQueue(t.Context(), &autopaho.QueuePublish{
			Publish: &paho.Publish{Topic: topic, QoS: 2, Payload: []byte(strconv.Itoa(i))},
		})
		if err != nil {
			t.Fatalf("publish %d: %v", i, err)
		}
		trouble(i)
	}
	select {
	case <-all:
	case <-time.After(patience):
		mu.Lock()
		defer mu.Unlock()
		missing := []int{}
		for i := range n {
			if seen[i] == 0 {
				missing = append(missing, i)
			}
		}
		t.Fatalf("%d of %d messages came; %v are missing", len(seen), n, missing)
	}
}

// TestPahoGolangConnectionsCut cuts both clients' connections in the middle of
// QoS 2 flows.
func TestPahoGolangConnectionsCut(t *testing.T) {
	t.Parallel()
	s := newSwitchboard(t, shared.MQTT)
	exactlyOnce(t, s.ln.Addr().String(), "golang-cut", 500, func(i int) {
		if i%100 == 50 {
			s.cut()
		}
	})
}

// TestPahoGolangBrokerKilled kills the broker in the middle of QoS 2 flows and
// starts another one over the same directory.
func TestPahoGolangBrokerKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := start(t, dir)
	s := newSwitchboard(t, b.MQTT)
	exactlyOnce(t, s.ln.Addr().String(), "golang-killed", 500, func(i int) {
		if i%150 == 75 {
			b.Kill()
			b = start(t, dir)
			s.switchTo(b.MQTT)
		}
	})
}

// TestPahoGolangRPC is request and response with properties of MQTT 5.
func TestPahoGolangRPC(t *testing.T) {
	t.Parallel()
	ready := make(chan struct{})
	started := make(chan *autopaho.ConnectionManager, 1) // Asked for after it was set.
	server := pahoClient(t, shared.MQTT, "golang-rpc-server", func(cm *autopaho.ConnectionManager) {
		if _, err := cm.Subscribe(t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "golang-rpc/ask", QoS: 1}}}); err == nil {
			close(ready)
		}
	}, func(p *paho.Publish) {
		answer := &paho.Publish{Topic: p.Properties.ResponseTopic, QoS: 1, Payload: append([]byte("re: "), p.Payload...),
			Properties: &paho.PublishProperties{CorrelationData: p.Properties.CorrelationData}}
		go func() { // Ends with the PUBACK; a handler must not wait for it.
			server := <-started
			started <- server
			server.Publish(t.Context(), answer)
		}()
	})
	started <- server
	<-ready
	answers := make(chan *paho.Publish, 1)
	listening := make(chan struct{})
	client := pahoClient(t, shared.MQTT, "golang-rpc-client", func(cm *autopaho.ConnectionManager) {
		if _, err := cm.Subscribe(t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "golang-rpc/answer", QoS: 1}}}); err == nil {
			close(listening)
		}
	}, func(p *paho.Publish) { answers <- p })
	<-listening
	for i := range 20 {
		id := fmt.Appendf(nil, "c%d", i)
		if _, err := client.Publish(t.Context(), &paho.Publish{Topic: "golang-rpc/ask", QoS: 1, Payload: []byte("question"),
			Properties: &paho.PublishProperties{ResponseTopic: "golang-rpc/answer", CorrelationData: id}}); err != nil {
			t.Fatal(err)
		}
		select {
		case a := <-answers:
			if string(a.Payload) != "re: question" || string(a.Properties.CorrelationData) != string(id) {
				t.Fatalf("%s %s", a.Payload, a.Properties.CorrelationData)
			}
		case <-time.After(patience):
			t.Fatal("no answer")
		}
	}
}
