package mgmt

import (
	"context"
	"slices"
	"sync"
	"time"

	"leveret/core"
)

// sampleEvery is how often counters are looked at; a rate is what happened
// between the last two looks, by the second.
const sampleEvery = 5 * time.Second

// ratedKind is a kind of object that has rates.
type ratedKind uint8

const (
	ratedQueue ratedKind = iota
	ratedExchange
	ratedConnection
	ratedChannel
	ratedNode
	ratedVHost // The sum of its queues and exchanges; the name "" and vhost "" sums all.
)

// rateKey names an object that has rates.
type rateKey struct {
	kind        ratedKind
	vhost, name string
}

// values are an object's counters and levels, in the order of ratedNames.
type values []int64

// queueStats are the message_stats of queues, in the order of queueValues. Those
// of messages that died, dead-lettered or not, have the names of RabbitMQ's
// metrics.
var queueStats = []string{"publish", "deliver", "deliver_no_ack", "get", "get_no_ack", "get_empty", "deliver_get", "redeliver", "ack",
	"dead_lettered_rejected", "dead_lettered_expired", "dead_lettered_maxlen", "dead_lettered_delivery_limit"}

// ratedNames are what the values of each kind are called.
var ratedNames = [...][]string{
	ratedQueue:      append(append([]string{}, queueStats...), "messages", "messages_ready", "messages_unacknowledged"),
	ratedExchange:   {"publish_in", "publish_out"},
	ratedConnection: {"recv_oct", "send_oct"},
	ratedChannel:    channelStats,
	ratedNode:       {"mem_used", "fd_used", "proc_used", "disk_free"},
	ratedVHost:      append(append([]string{}, queueStats...), "messages", "messages_ready", "messages_unacknowledged"),
}

// blockedMS is where, in the values of a queue, its BlockedMS is.
var blockedMS = len(queueStats) + 3

// levels is where, in values of queues and virtual hosts, what also goes down begins.
var levels = len(queueStats)

func queueValues(i *core.QueueInfo) values {
	c := &i.Counters
	return values{
		int64(c.Published), int64(c.DeliveredAck), int64(c.DeliveredAuto), int64(c.GotAck), int64(c.GotAuto), int64(c.GetEmpty),
		int64(c.DeliveredAck + c.DeliveredAuto + c.GotAck + c.GotAuto), int64(c.Redelivered), int64(c.Acked),
		int64(c.Died[0]), int64(c.Died[1]), int64(c.Died[2]), int64(c.Died[3]),
		int64(i.Ready + i.Unacked), int64(i.Ready), int64(i.Unacked), int64(c.BlockedMS),
	}
}

func exchangeValues(i *core.ExchangeInfo) values {
	return values{int64(i.PublishedIn), int64(i.PublishedOut)}
}

// channelValues orders a channel's counters; one it does not have is 0.
func channelValues(counters map[string]uint64) values {
	v := make(values, len(channelStats))
	for i, name := range channelStats {
		v[i] = int64(counters[name])
	}
	return v
}

// addQueue adds a queue's values to a virtual host's. What it calls publish is
// what reached the queue; a virtual host's publishes are counted where they
// come in, at the exchanges.
func (v values) addQueue(is values) {
	for i := 1; i < len(v); i++ {
		v[i] += is[i]
	}
}

// addExchange adds an exchange's values to a virtual host's.
func (v values) addExchange(is values) { v[0] += is[0] }

// add adds w to v in place.
func (v values) add(w values) {
	for i := range w {
		v[i] += w[i]
	}
}

// sampler remembers what counters were, for rates, and what those of deleted
// queues and exchanges came to, so that the sums of a virtual host never go down.
type sampler struct {
	s  *Server
	mu struct {
		sync.Mutex
		seen    map[rateKey]*sample // Objects that were ever active and still exist.
		retired map[string]values   // Counters of what was deleted, by virtual host.
		round   uint64
	}
}

// sample is what an object was at the last two looks.
type sample struct {
	last, before values // before is nil until there was a second look.
	at           time.Time
	apart        time.Duration
	round        uint64 // Of the last look.
}

func newSampler(s *Server) *sampler {
	r := &sampler{s: s}
	r.mu.seen = map[rateKey]*sample{}
	r.mu.retired = map[string]values{}
	return r
}

// Run keeps the rates up to date until ctx ends. Then it ends moves, too.
func (s *Server) Run(ctx context.Context) {
	defer s.moves.stop()
	t := time.NewTicker(sampleEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			s.rates.look(now)
		}
	}
}

// look takes one sample of everything.
func (r *sampler) look(now time.Time) {
	r.mu.Lock()
	r.mu.round++
	r.mu.Unlock()
	sums := map[string]values{}
	for _, v := range r.s.broker.VHosts() {
		sum := make(values, len(ratedNames[ratedVHost]))
		for q := range v.Queues() {
			i := q.Info()
			is := queueValues(&i)
			sum.addQueue(is)
			r.note(rateKey{ratedQueue, v.Name(), i.Options.Name}, is, now)
		}
		for x := range v.Exchanges() {
			i := x.Info()
			is := exchangeValues(&i)
			sum.addExchange(is)
			r.note(rateKey{ratedExchange, v.Name(), i.Name}, is, now)
		}
		sums[v.Name()] = sum
	}
	for _, c := range r.s.connections() {
		r.note(rateKey{ratedConnection, "", c.Name}, trafficValues(c), now)
	}
	for c := range r.s.broker.Registry().Rows(rowChannel) {
		if c.Counters != nil {
			r.note(rateKey{ratedChannel, "", c.Name}, channelValues(c.Counters()), now)
		}
	}
	r.note(rateKey{kind: ratedNode}, r.s.nodeValues(), now)
	r.sweep()
	all := make(values, len(ratedNames[ratedVHost]))
	for vhost, sum := range sums {
		sum.add(r.retired(vhost))
		all.add(sum)
		r.note(rateKey{ratedVHost, vhost, ""}, sum, now)
	}
	r.note(rateKey{ratedVHost, "", ""}, all, now)
}

// note keeps what one object is now. One that has never done anything, the
// usual queue of a large broker, takes no room.
func (r *sampler) note(key rateKey, is values, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.mu.seen[key]
	if s == nil {
		if !slices.ContainsFunc(is, func(n int64) bool { return n != 0 }) {
			return
		}
		// It was 0 when it was last looked at, or did not exist.
		s = &sample{last: make(values, len(is)), at: now.Add(-sampleEvery)}
		r.mu.seen[key] = s
	}
	s.before, s.last = s.last, is
	s.apart, s.at = now.Sub(s.at), now
	s.round = r.mu.round
}

// sweep forgets objects that this round did not see; the counters of queues and
// exchanges are added to what their virtual host has had. Sums are noted later.
func (r *sampler) sweep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, s := range r.mu.seen {
		if s.round == r.mu.round || key.kind == ratedVHost && s.round+1 == r.mu.round {
			continue
		}
		delete(r.mu.seen, key)
		if key.kind != ratedQueue && key.kind != ratedExchange {
			continue
		}
		had := r.mu.retired[key.vhost]
		if had == nil {
			had = make(values, levels)
			r.mu.retired[key.vhost] = had
		}
		if key.kind == ratedQueue {
			had.addQueue(s.last[:levels])
		} else {
			had.addExchange(s.last)
		}
	}
}

// retired is what the deleted queues and exchanges of a virtual host did; nil
// for nothing.
func (r *sampler) retired(vhost string) values {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.mu.retired[vhost])
}

// rate is by how much the i-th value changes in a second.
func (s *sample) rate(i int) float64 {
	if s == nil || s.apart <= 0 || i >= len(s.before) {
		return 0
	}
	return float64(s.last[i]-s.before[i]) / s.apart.Seconds()
}

func (r *sampler) sample(key rateKey) *sample {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.mu.seen[key]; s != nil {
		c := *s // Its slices do not change once noted.
		return &c
	}
	return nil
}

// put adds the values from..to of is to out, each with its rate.
func (r *sampler) put(out object, key rateKey, is values, from, to int) {
	s := r.sample(key)
	for i := from; i < to; i++ {
		name := ratedNames[key.kind][i]
		out[name] = is[i]
		out[name+"_details"] = object{"rate": s.rate(i)}
	}
}

// messageStats is the object of counters among is, nil while all are 0.
func (r *sampler) messageStats(key rateKey, is values) object {
	n := len(is)
	if key.kind != ratedExchange {
		n = levels
	}
	if !slices.ContainsFunc(is[:n], func(v int64) bool { return v != 0 }) {
		return nil
	}
	out := object{}
	r.put(out, key, is, 0, n)
	return out
}

// channelRates are the rates of a channel's counters by name.
func (r *sampler) channelRates(row *core.Row) map[string]float64 {
	s := r.sample(rateKey{ratedChannel, "", row.Name})
	out := make(map[string]float64, len(channelStats))
	for i, name := range channelStats {
		out[name] = s.rate(i)
	}
	return out
}

// QueueRates says how many messages a second came to a queue, left it and were
// acked between the last two looks, and in which part of that time its consumers
// could have taken more.
func (s *Server) QueueRates(q core.Queue, i *core.QueueInfo) (publish, deliver, ack, capacity float64) {
	o := q.Options()
	r := s.rates.sample(rateKey{ratedQueue, o.VHost, o.Name})
	if i.Consumers > 0 {
		capacity = min(1, max(0, 1-r.rate(blockedMS)/1000))
	}
	return r.rate(statPublish), r.rate(statDeliverGet), r.rate(statAck), capacity
}

// Where these are among queueStats.
var (
	statPublish    = slices.Index(queueStats, "publish")
	statDeliverGet = slices.Index(queueStats, "deliver_get")
	statAck        = slices.Index(queueStats, "ack")
)
