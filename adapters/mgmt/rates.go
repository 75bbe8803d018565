package mgmt

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
	"unsafe"

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
	ratedVHost  // The sum of its queues and exchanges; the name "" and vhost "" sums all.
	ratedBroker // What is counted for all virtual hosts together.
	ratedChurn
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
	ratedNode:       {"mem_used", "fd_used", "proc_used", "disk_free", "sockets_used", "io_read_bytes", "io_write_bytes", "gc_num", "gc_bytes_reclaimed"},
	ratedVHost:      append(append([]string{}, queueStats...), "messages", "messages_ready", "messages_unacknowledged"),
	ratedBroker:     {"confirm", "return_unroutable", "drop_unroutable"},
	ratedChurn:      {"connection_created", "connection_closed", "channel_created", "channel_closed", "queue_declared", "queue_created", "queue_deleted"},
}

// blockedMS is where, in the values of a queue, its BlockedMS is.
var blockedMS = len(queueStats) + 3

// levels is where, in values of queues and virtual hosts, what also goes down begins.
var levels = len(queueStats)

// levelsFrom is the same for any kind.
func (k ratedKind) levelsFrom() int {
	switch k {
	case ratedQueue, ratedVHost:
		return levels
	case ratedNode:
		return 0
	}
	return len(ratedNames[k])
}

func queueValues(i *core.QueueInfo) values {
	return appendQueueValues(nil, i)
}

// appendQueueValues appends the values of a queue to v.
func appendQueueValues(v values, i *core.QueueInfo) values {
	c := &i.Counters
	return append(v,
		int64(c.Published), int64(c.DeliveredAck), int64(c.DeliveredAuto), int64(c.GotAck), int64(c.GotAuto), int64(c.GetEmpty),
		int64(c.DeliveredAck+c.DeliveredAuto+c.GotAck+c.GotAuto), int64(c.Redelivered), int64(c.Acked),
		int64(c.Died[0]), int64(c.Died[1]), int64(c.Died[2]), int64(c.Died[3]),
		int64(i.Ready+i.Unacked), int64(i.Ready), int64(i.Unacked), int64(c.BlockedMS),
	)
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

// addRetired adds what queues and exchanges of a virtual host did that are no
// more.
func (v values) addRetired(of *core.VHost) {
	r := of.Retired()
	v.addQueue(queueValues(&core.QueueInfo{Counters: r.Queues}))
	v[0] += int64(r.PublishedIn)
}

// add adds w to v in place.
func (v values) add(w values) {
	for i := range w {
		v[i] += w[i]
	}
}

func (v values) zero() bool {
	return !slices.ContainsFunc(v, func(n int64) bool { return n != 0 })
}

// sum tells v from other values of the same object, all but certainly.
func (v values) sum() uint64 {
	h := uint64(14695981039346656037)
	for _, n := range v {
		h = (h ^ uint64(n)) * 1099511628211
	}
	return h
}

// historyMax bounds what rates and their history take, in bytes.
const historyMax = 16 << 20

// sampler remembers what counters were, for rates, and how that went on, for
// charts. What is not active costs a look every five seconds, and some bytes if it
// ever was.
type sampler struct {
	s   *Server
	max int64 // historyMax, less in tests.
	mu  struct {
		sync.Mutex
		seen   map[rateKey]*sampled // Objects that were ever active and still exist.
		bytes  int64                // What all that takes.
		round  uint64
		lookMS int64 // When the last round was, ms since 1970; 0 for never.
		apart  time.Duration
	}
}

// sampled is what is known of an object. Its series goes when it has long been
// idle, or others need the room more.
type sampled struct {
	sum    uint64 // Of its values at the last look.
	round  uint64 // The last one that saw it.
	series *series
}

// series is the course of an object's values.
type series struct {
	last, before values // At the last look that found a change, and at the one before.
	changed      uint64 // The round of that look,
	changedMS    int64  // and its time.
	born         uint64 // The round of the first.
	tracks       []track
}

// sampledBytes is what an object takes in seen.
const sampledBytes = 144

func (s *series) bytes() int64 {
	n := int64(unsafe.Sizeof(*s)) + 8*int64(cap(s.last)+cap(s.before))
	for i := range s.tracks {
		n += s.tracks[i].bytes()
	}
	return n
}

func newSampler(s *Server) *sampler {
	r := &sampler{s: s, max: historyMax}
	r.mu.seen = map[rateKey]*sampled{}
	return r
}

// Run keeps the rates up to date until ctx ends. Then it ends moves, too.
func (s *Server) Run(ctx context.Context) {
	defer s.moves.stop()
	if s.opts.NoRates {
		<-ctx.Done()
		return
	}
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

// reset forgets all rates and history.
func (r *sampler) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.mu.seen {
		e.series = nil
	}
	r.mu.bytes = sampledBytes * int64(len(r.mu.seen))
}

// bytes is what rates and history take.
func (r *sampler) bytes() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.bytes
}

// HistoryBytes is what rates and their history take.
func (s *Server) HistoryBytes() int64 { return s.rates.bytes() }

// look takes one sample of everything.
func (r *sampler) look(now time.Time) {
	r.begin(now)
	all := make(values, len(ratedNames[ratedVHost]))
	is := make(values, 0, 32)
	for _, v := range r.s.broker.VHosts() {
		sum := make(values, len(ratedNames[ratedVHost]))
		for q := range v.Queues() {
			i := q.Summary()
			is = appendQueueValues(is[:0], &i)
			sum.addQueue(is)
			r.note(rateKey{ratedQueue, v.Name(), i.Options.Name}, is)
		}
		for x := range v.Exchanges() {
			i := x.Info()
			is = append(is[:0], int64(i.PublishedIn), int64(i.PublishedOut))
			sum.addExchange(is)
			r.note(rateKey{ratedExchange, v.Name(), i.Name}, is)
		}
		sum.addRetired(v)
		all.add(sum)
		r.note(rateKey{ratedVHost, v.Name(), ""}, sum)
	}
	for _, c := range r.s.broker.Registry().Unordered(rowConnection) {
		r.note(rateKey{ratedConnection, "", c.Name}, trafficValues(c))
	}
	for _, c := range r.s.broker.Registry().Unordered(rowChannel) {
		if c.Counters != nil {
			r.note(rateKey{ratedChannel, "", c.Name}, channelValues(c.Counters()))
		}
	}
	r.note(rateKey{kind: ratedNode}, r.s.nodeValues())
	r.note(rateKey{ratedVHost, "", ""}, all)
	r.note(rateKey{kind: ratedBroker}, r.s.brokerValues())
	r.note(rateKey{kind: ratedChurn}, r.s.churnValues())
	r.sweep()
}

func (r *sampler) begin(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.round++
	r.mu.apart = sampleEvery
	if r.mu.lookMS != 0 {
		r.mu.apart = time.Duration(now.UnixMilli()-r.mu.lookMS) * time.Millisecond
	}
	r.mu.lookMS = now.UnixMilli()
}

// note keeps what one object is now. One that has never done anything, the
// usual queue of a large broker, takes no room.
func (r *sampler) note(key rateKey, is values) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.mu.seen[key]
	if e == nil && is.zero() {
		return
	}
	if e != nil && e.series != nil && key.kind == ratedVHost {
		// What is deleted while it is summed up may be missed once.
		for i := range is[:levels] {
			is[i] = max(is[i], e.series.last[i])
		}
	}
	sum := is.sum()
	if e != nil && e.sum == sum {
		e.round = r.mu.round
		return
	}
	var was values
	if e == nil {
		// It was 0 when it was last looked at, or did not exist. Of levels that is
		// not so when nobody has looked before.
		was = make(values, len(is))
		if r.mu.round == 1 {
			copy(was[key.kind.levelsFrom():], is[key.kind.levelsFrom():])
		}
		e = &sampled{}
		r.mu.seen[key] = e
		r.mu.bytes += sampledBytes
	}
	e.sum, e.round = sum, r.mu.round
	s := e.series
	if s == nil {
		if was == nil {
			was = slices.Clone(is) // Nobody knows any more what it was.
		}
		s = &series{last: was, before: make(values, len(is)), born: r.mu.round}
		for _, res := range historyOf(key.kind) {
			s.tracks = append(s.tracks, track{resolution: res})
		}
		e.series = s
	} else {
		r.mu.bytes -= s.bytes()
	}
	for i := range s.tracks {
		s.tracks[i].add(r.mu.lookMS, s.last, is)
	}
	copy(s.before, s.last)
	copy(s.last, is)
	s.changed, s.changedMS = r.mu.round, r.mu.lookMS
	r.mu.bytes += s.bytes()
}

// sweep forgets objects that this round did not see, the history of those that
// have been idle for as long as it is kept, and more if there is too much.
func (r *sampler) sweep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, e := range r.mu.seen {
		gone := e.round != r.mu.round
		if s := e.series; s != nil {
			kept := historyOf(key.kind)
			if gone || r.mu.lookMS-s.changedMS > kept[len(kept)-1].ageS*1000 {
				r.mu.bytes -= s.bytes()
				e.series = nil
			}
		}
		if gone {
			delete(r.mu.seen, key)
			r.mu.bytes -= sampledBytes
		}
	}
	if r.mu.bytes > r.max {
		r.evictLocked()
	}
}

// evictLocked makes room: the series go of those that have been idle for longest,
// and among the equally active those that are shortest.
func (r *sampler) evictLocked() {
	all := make([]*sampled, 0, len(r.mu.seen))
	for key, e := range r.mu.seen {
		if e.series != nil && key.kind <= ratedChannel {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b *sampled) int {
		return cmp.Or(cmp.Compare(a.series.changed, b.series.changed), cmp.Compare(b.series.born, a.series.born))
	})
	for _, e := range all {
		if r.mu.bytes <= r.max-r.max/8 {
			return
		}
		r.mu.bytes -= e.series.bytes()
		e.series = nil
	}
}

// sample is what an object was at the last two looks.
type sample struct {
	last, before values
	apart        time.Duration
}

// rate is by how much the i-th value changes in a second.
func (s *sample) rate(i int) float64 {
	if s == nil || s.apart <= 0 || i >= len(s.before) {
		return 0
	}
	return float64(s.last[i]-s.before[i]) / s.apart.Seconds()
}

// sample is nil for what did not change between the last two looks.
func (r *sampler) sample(key rateKey) *sample {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.mu.seen[key]
	if e == nil || e.series == nil || e.series.changed != r.mu.round {
		return nil
	}
	return &sample{slices.Clone(e.series.last), slices.Clone(e.series.before), r.mu.apart}
}

// put adds the values from..to of is to out, each with its rate and, if span is
// not nil, its course.
func (r *sampler) put(out object, key rateKey, is values, from, to int, span *span) {
	s := r.sample(key)
	for i := from; i < to; i++ {
		name := ratedNames[key.kind][i]
		out[name] = is[i]
		if r.s.opts.NoRates {
			continue
		}
		details := object{"rate": s.rate(i)}
		if span != nil {
			r.course(details, key, i, is[i], span)
		}
		out[name+"_details"] = details
	}
}

// course adds to details what the i-th value of an object was, the newest first.
func (r *sampler) course(details object, key rateKey, i int, is int64, span *span) {
	r.mu.Lock()
	nowMS := r.mu.lookMS
	if nowMS == 0 {
		nowMS = time.Now().UnixMilli()
	}
	n := int(span.ageMS/span.incrMS) + 1
	lastMS := nowMS - nowMS%span.incrMS
	if span.up && lastMS < nowMS {
		lastMS += span.incrMS
	}
	var was []int64
	if e := r.mu.seen[key]; e != nil && e.series != nil {
		tracks := e.series.tracks
		at := slices.IndexFunc(tracks, func(t track) bool { return t.ageS*1000 >= span.ageMS })
		if at < 0 {
			at = len(tracks) - 1
		}
		was = tracks[at].column(i, lastMS, span.incrMS, n)
	} else {
		was = make([]int64, n)
		for k := range was {
			was[k] = is // It has not changed for as long as anybody knows.
		}
	}
	r.mu.Unlock()
	samples, total := make([]object, n), 0.0
	for k, v := range was {
		samples[k] = object{"sample": v, "timestamp": lastMS - int64(k)*span.incrMS}
		total += float64(v)
	}
	details["samples"], details["avg"], details["avg_rate"] = samples, total/float64(n), 0.0
	if n > 1 {
		details["avg_rate"] = float64(was[0]-was[n-1]) * 1000 / float64(int64(n-1)*span.incrMS)
	}
}

// messageStats is the object of counters among is, nil while all are 0.
func (r *sampler) messageStats(key rateKey, is values, span *span) object {
	n := key.kind.levelsFrom()
	if is[:n].zero() || r.s.opts.NoRates {
		return nil
	}
	out := object{}
	r.put(out, key, is, 0, n, span)
	return out
}

// brokerValues are what sessions of all protocols did, in the order of ratedNames.
func (s *Server) brokerValues() values {
	v := make(values, len(ratedNames[ratedBroker]))
	for _, m := range s.broker.Meters() {
		t := m.Totals()
		v.add(values{int64(t.Confirmed), int64(t.UnroutableReturned), int64(t.UnroutableDropped)})
	}
	return v
}

// churnValues are what came and went, in the order of ratedNames.
func (s *Server) churnValues() values {
	c := s.broker.Churn()
	opened, closed := s.broker.Registry().Churn(rowConnection)
	channels, ended := s.broker.Registry().Churn(rowChannel)
	return values{int64(opened), int64(closed), int64(channels), int64(ended), int64(c.QueuesDeclared), int64(c.QueuesCreated), int64(c.QueuesDeleted)}
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
