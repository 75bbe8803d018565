package mqtt

import (
	"context"
	"fmt"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"leveret/adapters/mqtt/wire"
	"leveret/core"
)

// sysTopics are figures under the names that mosquitto gives them, for those
// who watch brokers over MQTT. They are retained, in the virtual host of
// clients that name none.
type sysTopics struct {
	srv       *Server
	publisher *core.Publisher
	target    *core.Target
	loads     [3]load // Over 1, 5 and 15 minutes.
}

// forged reports whether topic is one of those that only the broker publishes.
func (s *Server) forged(topic string) bool {
	return s.opts.SysInterval > 0 && topic[0] == '$' && (topic == "$SYS" || strings.HasPrefix(topic, "$SYS/"))
}

// load are moving averages, per minute.
type load struct {
	name    string
	minutes float64
	last    sysCounts
	rates   [5]float64
	began   bool
}

// sysCounts are the counters that have a load.
type sysCounts [5]uint64

var sysLoadNames = [5]string{"messages/received", "messages/sent", "bytes/received", "bytes/sent", "connections"}

// Completed is part of core.Completer; nobody waits for these.
func (t *sysTopics) Completed(uint64, uint64, core.Kind) {}

// publishSys publishes until ctx ends.
func (s *Server) publishSys(ctx context.Context) {
	u, ok := s.broker.Auth().User(s.opts.SysUser)
	if !ok {
		s.log.Warn("no $SYS topics: there is no such user", "user", s.opts.SysUser)
		return
	}
	session, err := s.broker.OpenSession(core.SessionOptions{VHost: s.opts.VHost, User: u, Loopback: true, Internal: true})
	if err != nil {
		s.log.Warn("no $SYS topics", "error", err)
		return
	}
	defer session.Close()
	t := &sysTopics{srv: s}
	for i, m := range []float64{1, 5, 15} {
		t.loads[i] = load{name: fmt.Sprintf("%dmin", int(m)), minutes: m}
	}
	t.publisher = session.NewPublisher(t)
	if t.target, err = t.publisher.Target(s.opts.Exchange); err != nil {
		s.log.Warn("no $SYS topics", "error", err)
		return
	}
	tick := time.NewTicker(s.opts.SysInterval)
	defer tick.Stop()
	t.publish("version", "leveret version "+s.opts.Version)
	for {
		t.publishAll()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// counts sums up what all connections have received and sent.
func (s *Server) counts() sysCounts {
	n := sysCounts{s.stats.received.Load(), s.stats.sent.Load(), s.stats.bytesReceived.Load(), s.stats.bytesSent.Load(),
		uint64(s.stats.connectsTotal.Load())}
	for _, c := range s.connections() {
		n[2] += uint64(c.in.Received())
		n[3] += uint64(c.out.Written())
		c.out.Lock()
		n[1] += c.underOut.packets
		c.out.Unlock()
	}
	return n
}

func (t *sysTopics) publishAll() {
	s := t.srv
	n := s.counts()
	number := func(topic string, v int64) { t.publish(topic, strconv.FormatInt(v, 10)) }
	t.publish("uptime", fmt.Sprintf("%d seconds", int(time.Since(s.began).Seconds())))
	connected := s.stats.connections.Load()
	number("clients/connected", connected)
	number("clients/active", connected)
	number("clients/maximum", s.stats.connectsMax.Load())
	disconnected, retained, subscriptions := int64(0), 0, 0
	for _, v := range s.broker.VHosts() {
		for c := range v.Clients() {
			if c.Attached == nil {
				disconnected++
				subscriptions += c.Subscriptions
			}
		}
		n, _ := v.RetainedCount()
		retained += n
	}
	for _, c := range s.connections() {
		c.out.Lock()
		subscriptions += len(c.underOut.filters.byName)
		c.out.Unlock()
	}
	number("retained messages/count", int64(retained))
	number("clients/total", connected+disconnected)
	number("clients/disconnected", disconnected)
	number("clients/inactive", disconnected)
	number("subscriptions/count", int64(subscriptions))
	number("messages/received", int64(n[0]))
	number("messages/sent", int64(n[1]))
	number("publish/messages/received", int64(n[0]))
	number("publish/messages/sent", int64(n[1]))
	number("publish/messages/dropped", int64(s.stats.dropped.Load()))
	number("bytes/received", int64(n[2]))
	number("bytes/sent", int64(n[3]))
	number("heap/current", int64(heapBytes()))
	for i := range t.loads {
		t.loads[i].update(n, s.opts.SysInterval)
		for j, name := range sysLoadNames {
			t.publish("load/"+name+"/"+t.loads[i].name, strconv.FormatFloat(t.loads[i].rates[j], 'f', 2, 64))
		}
	}
}

// update moves the averages, as mosquitto does: exponentially.
func (l *load) update(n sysCounts, every time.Duration) {
	if l.began {
		perMinute := float64(time.Minute) / float64(every)
		weight := 1 / (1 + l.minutes*perMinute)
		for i := range n {
			now := float64(n[i]-min(n[i], l.last[i])) * perMinute
			l.rates[i] += (now - l.rates[i]) * weight
		}
	}
	l.last, l.began = n, true
}

// heapBytes is the memory in use by objects.
func heapBytes() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	return sample[0].Value.Uint64()
}

// publish retains a figure.
func (t *sysTopics) publish(topic, value string) {
	var touched core.Touched
	ms := make([]core.Publication, 1)
	m := &ms[0]
	m.Reset()
	key := []byte("$SYS/broker/" + topic)
	wire.KeyInPlace(key)
	m.RoutingKey, m.Form, m.Encoded, m.Body = string(key), core.FormMQTT, plain[flagRetain], []byte(value)
	m.Retain = true
	if _, err := t.publisher.Route(t.target, m); err != nil {
		t.publisher.Discard()
		return
	}
	t.publisher.Publish(ms, &touched)
	touched.Flush()
}
