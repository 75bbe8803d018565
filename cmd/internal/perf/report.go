package perf

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Report is the outcome of a run, as written with --json. Rates and latencies
// belong to the measured time, without warm-up; verification to the whole run.
type Report struct {
	Broker     string `json:"broker"`
	Address    string `json:"address"`
	Producers  int    `json:"producers"`
	Consumers  int    `json:"consumers"`
	Queues     int    `json:"queues"`
	Exchange   string `json:"exchange_type"`
	Bindings   int    `json:"bindings"`
	Keys       int    `json:"keys"`
	SizeBytes  int    `json:"size_bytes"`
	Confirm    int    `json:"confirm_window"`
	AckEvery   int    `json:"ack_every"`
	Prefetch   int    `json:"prefetch"`
	Persistent bool   `json:"persistent"`

	Published *Phase `json:"published,omitempty"`
	Delivered *Phase `json:"delivered,omitempty"`
	Confirmed *Phase `json:"confirmed,omitempty"`
	Fill      *Phase `json:"fill,omitempty"`
	Drain     *Phase `json:"drain,omitempty"` // After publishing had ended.

	Latency        *Latency `json:"latency,omitempty"`
	ConfirmLatency *Latency `json:"confirm_latency,omitempty"`

	BrokerCPU *float64 `json:"broker_cpu_s_per_million,omitempty"` // Per million deliveries, or publishes if none are delivered.
	OwnCPU    float64  `json:"generator_cpu_s_per_million"`
	Memory    *Memory  `json:"broker_memory,omitempty"`

	BlockedSeconds float64 `json:"blocked_s"` // While connection.blocked held a producer.
	BlockedReason  string  `json:"blocked_reason,omitempty"`
	Interrupted    bool    `json:"interrupted"`

	Verification Verification `json:"verification"`
}

// Phase is a number of messages moved in some time.
type Phase struct {
	Messages      uint64   `json:"messages"`
	Seconds       float64  `json:"seconds"`
	PerSecond     float64  `json:"per_second"`
	MBPerSecond   float64  `json:"mb_per_second"` // Of bodies, 10^6 bytes.
	BrokerCPU     *float64 `json:"broker_cpu_s_per_million,omitempty"`
	OwnCPU        float64  `json:"generator_cpu_s_per_million,omitempty"`
	ResidentBytes int64    `json:"broker_resident_bytes,omitempty"` // Of the broker, at the end of the phase.
}

// Latency is a distribution in microseconds.
type Latency struct {
	Samples uint64  `json:"samples"`
	Min     float64 `json:"min_us"`
	Mean    float64 `json:"mean_us"`
	P50     float64 `json:"p50_us"`
	P95     float64 `json:"p95_us"`
	P99     float64 `json:"p99_us"`
	P999    float64 `json:"p99_9_us"`
	Max     float64 `json:"max_us"`
}

// Memory is the broker's at the end of the run.
type Memory struct {
	ResidentBytes int64 `json:"resident_bytes"`
	PeakBytes     int64 `json:"peak_bytes"`
}

// Verification says whether each message arrived once and in order.
type Verification struct {
	Checked     bool   `json:"checked"`  // Bodies were large enough to be numbered.
	Complete    bool   `json:"complete"` // Nothing was cut short, so that loss could be told.
	OK          bool   `json:"ok"`
	Expected    uint64 `json:"expected"` // Deliveries due to all that was sent, less what was nacked.
	Received    uint64 `json:"received"` // Distinct messages.
	Lost        uint64 `json:"lost"`
	Duplicates  uint64 `json:"duplicates"`
	OutOfOrder  uint64 `json:"out_of_order"`
	Redelivered uint64 `json:"redelivered"`
	Foreign     uint64 `json:"foreign"`
	WrongSize   uint64 `json:"wrong_size"`
	Nacked      uint64 `json:"nacked"`
	Unconfirmed uint64 `json:"unconfirmed"`
}

func (r *runner) newReport() *Report {
	o := r.opt
	return &Report{
		Broker: r.control.product, Address: o.target.address,
		Producers: o.producers, Consumers: o.consumers, Queues: len(r.topo.queues), Exchange: o.exchangeType,
		Bindings: len(r.topo.bindings), Keys: len(r.topo.keys), SizeBytes: o.size, Confirm: o.confirm,
		AckEvery: o.ackEvery, Prefetch: o.prefetch, Persistent: o.persistent,
	}
}

// phaseOf describes n messages moved between two snapshots.
func phaseOf(o *options, from, to snapshot, n uint64) *Phase {
	p := &Phase{Messages: n, Seconds: float64(to.at-from.at) / 1e9}
	if p.Seconds > 0 {
		p.PerSecond = float64(n) / p.Seconds
		p.MBPerSecond = p.PerSecond * float64(o.size) / 1e6
	}
	p.BrokerCPU, p.OwnCPU = cpuPerMillion(o, from, to, n)
	return p
}

func cpuPerMillion(o *options, from, to snapshot, n uint64) (broker *float64, own float64) {
	if n == 0 {
		return nil, 0
	}
	if o.pid > 0 {
		v := (to.brokerCPU - from.brokerCPU).Seconds() / float64(n) * 1e6
		broker = &v
	}
	return broker, (to.ownCPU - from.ownCPU).Seconds() / float64(n) * 1e6
}

// measure fills in what happened between from and the end of publishing and of
// consuming.
func (rep *Report) measure(o *options, from, published, delivered snapshot) {
	if o.producers > 0 {
		rep.Published = phaseOf(o, from, published, published.sent-from.sent)
		rep.Published.BrokerCPU, rep.Published.OwnCPU = nil, 0
	}
	if o.confirm > 0 {
		rep.Confirmed = phaseOf(o, from, published, published.confirmed-from.confirmed)
		rep.Confirmed.BrokerCPU, rep.Confirmed.OwnCPU = nil, 0
	}
	n := published.sent - from.sent
	if o.consumers > 0 {
		rep.Delivered = phaseOf(o, from, delivered, delivered.received-from.received)
		rep.Delivered.BrokerCPU, rep.Delivered.OwnCPU = nil, 0
		n = rep.Delivered.Messages
	}
	rep.BrokerCPU, rep.OwnCPU = cpuPerMillion(o, from, delivered, n)
}

// conclude fills in latencies and verification. All producers and consumers
// must have ended.
func (rep *Report) conclude(r *runner) {
	var latency, confirm Histogram
	var found faults
	v := &rep.Verification
	for _, c := range r.consumers {
		latency.Add(&c.latency)
		for i := range c.verify {
			found.add(&c.verify[i].faults)
		}
	}
	for _, p := range r.producers {
		confirm.Add(&p.confirmLatency)
		v.Nacked += p.nacked.Load()
		v.Unconfirmed += uint64(p.unconfirmed.n)
	}
	if !r.opt.fillThenDrain {
		rep.Latency = latencyOf(&latency)
	}
	rep.ConfirmLatency = latencyOf(&confirm)
	_, blocked, reason := r.blocked.read()
	rep.BlockedSeconds, rep.BlockedReason = blocked.Seconds(), reason
	rep.Interrupted = r.interrupted.Load()

	v.Checked = r.opt.stamped() && r.opt.consumers > 0
	v.Complete = v.Checked && r.opt.producers > 0 && !r.interrupted.Load()
	v.Expected = r.expected()
	for q := range r.ledgers {
		v.Received += r.ledgers[q].distinct()
	}
	if v.Complete && v.Expected > v.Received {
		v.Lost = v.Expected - v.Received
	}
	v.Duplicates, v.OutOfOrder, v.Redelivered = found.duplicates, found.misordered, found.redelivered
	v.Foreign, v.WrongSize = found.foreign, found.missized
	unconfirmed := v.Unconfirmed
	if r.interrupted.Load() {
		unconfirmed = 0
	}
	v.OK = v.Lost+v.Duplicates+v.OutOfOrder+v.Foreign+v.WrongSize+unconfirmed == 0
}

func latencyOf(h *Histogram) *Latency {
	if h.total == 0 {
		return nil
	}
	us := func(ns int64) float64 { return float64(ns) / 1e3 }
	return &Latency{
		Samples: h.total, Min: us(h.min), Mean: float64(h.sum) / float64(h.total) / 1e3,
		P50: us(h.Quantile(0.5)), P95: us(h.Quantile(0.95)), P99: us(h.Quantile(0.99)), P999: us(h.Quantile(0.999)), Max: us(h.max),
	}
}

func (r *runner) resident() int64 {
	if m := r.memory(); m != nil {
		return m.ResidentBytes
	}
	return 0
}

func (r *runner) memory() *Memory { return memoryOf(r.opt.pid) }

func memoryOf(pid int) *Memory {
	if pid == 0 {
		return nil
	}
	resident, peak, err := memory(pid)
	if err != nil {
		return nil
	}
	return &Memory{resident, peak}
}

// intervalLine writes what moved since the last one.
func (r *runner) intervalLine() {
	last, now := r.interval, r.snapshot()
	r.interval = now
	if r.opt.quiet {
		return
	}
	seconds := float64(now.at-last.at) / 1e9
	rate := func(n uint64) string { return thousands(uint64(float64(n)/seconds+0.5)) + "/s" }
	var b strings.Builder
	fmt.Fprintf(&b, "%4ds", int(time.Since(r.started).Seconds()+0.5))
	if len(r.producers) > 0 {
		fmt.Fprintf(&b, "  in %12s", rate(now.sent-last.sent))
	}
	if r.opt.confirm > 0 {
		fmt.Fprintf(&b, "  confirmed %12s", rate(now.confirmed-last.confirmed))
	}
	if len(r.consumers) > 0 {
		fmt.Fprintf(&b, "  out %12s", rate(now.received-last.received))
		if len(r.producers) > 0 {
			due := now.sent * uint64(r.topo.fanout)
			fmt.Fprintf(&b, "  on the way %9s", thousands(due-min(due, now.received)))
		}
	}
	if now.nacked > last.nacked {
		fmt.Fprintf(&b, "  nacked %s", rate(now.nacked-last.nacked))
	}
	if n, _, reason := r.blocked.read(); n > 0 {
		fmt.Fprintf(&b, "  blocked by the broker: %s (%d connections)", reason, n)
	}
	fmt.Fprintln(r.log, b.String())
}

// writeText writes the report for people.
func (rep *Report) writeText(w io.Writer) {
	fmt.Fprintf(w, "%s at %s: %d producers, %d consumers, %d queues, %d bytes, exchange %s",
		rep.Broker, rep.Address, rep.Producers, rep.Consumers, rep.Queues, rep.SizeBytes, rep.Exchange)
	if rep.Bindings > 0 {
		fmt.Fprintf(w, ", %d bindings, %d keys", rep.Bindings, rep.Keys)
	}
	if rep.Confirm > 0 {
		fmt.Fprintf(w, ", confirm window %d", rep.Confirm)
	}
	if rep.AckEvery > 0 {
		fmt.Fprintf(w, ", ack every %d, prefetch %d", rep.AckEvery, rep.Prefetch)
	}
	fmt.Fprintln(w)
	if rep.Interrupted {
		fmt.Fprintln(w, "interrupted: what follows is what there was until then")
	}
	for _, p := range []struct {
		name  string
		phase *Phase
	}{{"published", rep.Published}, {"confirmed", rep.Confirmed}, {"delivered", rep.Delivered}, {"filled", rep.Fill}, {"drained", rep.Drain}} {
		if p.phase == nil {
			continue
		}
		fmt.Fprintf(w, "%-12s %13s in %.2f s  %13s/s  %9.1f MB/s", p.name, thousands(p.phase.Messages), p.phase.Seconds,
			thousands(uint64(p.phase.PerSecond+0.5)), p.phase.MBPerSecond)
		if p.phase.BrokerCPU != nil {
			fmt.Fprintf(w, "  broker %.3f µs CPU each", *p.phase.BrokerCPU)
		}
		if p.phase.OwnCPU > 0 {
			fmt.Fprintf(w, "  generator %.3f", p.phase.OwnCPU)
		}
		if p.phase.ResidentBytes > 0 {
			fmt.Fprintf(w, "  broker resident %.1f MB", float64(p.phase.ResidentBytes)/1e6)
		}
		fmt.Fprintln(w)
	}
	for _, l := range []struct {
		name    string
		latency *Latency
	}{{"latency", rep.Latency}, {"confirm", rep.ConfirmLatency}} {
		if l.latency != nil {
			fmt.Fprintf(w, "%-12s p50 %s  p95 %s  p99 %s  p99.9 %s  max %s\n", l.name, micros(l.latency.P50),
				micros(l.latency.P95), micros(l.latency.P99), micros(l.latency.P999), micros(l.latency.Max))
		}
	}
	if rep.BrokerCPU != nil {
		fmt.Fprintf(w, "%-12s %.3f s per million messages\n", "broker CPU", *rep.BrokerCPU)
	}
	if rep.OwnCPU > 0 {
		fmt.Fprintf(w, "%-12s %.3f s per million messages\n", "own CPU", rep.OwnCPU)
	}
	if rep.Memory != nil {
		fmt.Fprintf(w, "%-12s resident %.1f MB, peak %.1f MB\n", "broker RAM", float64(rep.Memory.ResidentBytes)/1e6, float64(rep.Memory.PeakBytes)/1e6)
	}
	if rep.BlockedSeconds > 0 {
		fmt.Fprintf(w, "%-12s %.1f s (%s)\n", "blocked", rep.BlockedSeconds, rep.BlockedReason)
	}
	rep.Verification.writeText(w)
}

func (v *Verification) writeText(w io.Writer) {
	switch {
	case !v.Checked:
		fmt.Fprintf(w, "%-12s nothing: no consumer, or bodies too small for a number", "verified")
	case v.Complete:
		fmt.Fprintf(w, "%-12s %s of %s: %d lost, ", "verified", thousands(v.Received), thousands(v.Expected), v.Lost)
	default:
		fmt.Fprintf(w, "%-12s %s, without looking for loss: ", "verified", thousands(v.Received))
	}
	if v.Checked {
		fmt.Fprintf(w, "%d duplicated, %d out of order, %d redelivered, %d foreign, %d of wrong size",
			v.Duplicates, v.OutOfOrder, v.Redelivered, v.Foreign, v.WrongSize)
	}
	if v.Nacked+v.Unconfirmed > 0 {
		fmt.Fprintf(w, ", %d nacked, %d unconfirmed", v.Nacked, v.Unconfirmed)
	}
	switch {
	case !v.OK:
		fmt.Fprintln(w, ": FAILED")
	case v.Checked:
		fmt.Fprintln(w, ": OK")
	default:
		fmt.Fprintln(w)
	}
}

// micros writes a time given in µs with a unit that suits it.
func micros(us float64) string {
	switch {
	case us < 1000:
		return fmt.Sprintf("%.1f µs", us)
	case us < 1e6:
		return fmt.Sprintf("%.2f ms", us/1e3)
	}
	return fmt.Sprintf("%.2f s", us/1e6)
}

// thousands writes n with commas.
func thousands(n uint64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
