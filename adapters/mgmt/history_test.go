package mgmt

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"
)

// A track answers as if each tick's values had been kept.
func TestTrackRemembersEveryTick(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		tr := track{resolution: resolution{5, 605}}
		is, was := values{0, rnd.Int64N(1000), -5}, values{0, 3, -5}
		first := rnd.Int64N(1 << 40)
		byTick := map[int64]values{}
		for tick := first - 500; tick < first; tick++ {
			byTick[tick] = was
		}
		tick, last := first, first
		for range 600 {
			last = tick
			tr.add(tick*5000+rnd.Int64N(5000), was, is)
			byTick[tick] = slices.Clone(is)
			was = slices.Clone(is)
			for n := 1 + rnd.Int64N(3); n > 0; n-- {
				tick++
				byTick[tick] = slices.Clone(is) // Until the next look.
			}
			for i := range is {
				switch rnd.IntN(4) {
				case 0:
					is[i] += rnd.Int64N(1 << 20)
				case 1:
					is[i] -= rnd.Int64N(200)
				}
			}
		}
		for i := range is {
			got := tr.column(i, last*5000, 5000, 122)
			for k, v := range got {
				if want := byTick[last-int64(k)][i]; v != want {
					t.Fatalf("value %d, %d ticks ago: %d, want %d", i, k, v, want)
				}
			}
		}
		if got := len(tr.samples) - tr.head; got > 122*20 {
			t.Fatalf("%d bytes of samples", got)
		}
	}
}

// samplesOf reads the samples of answers.
func samplesOf(t *testing.T, details any) (values []float64, stamps []float64, avg, avgRate float64) {
	t.Helper()
	d, ok := details.(map[string]any)
	if !ok {
		t.Fatalf("no details: %v", details)
	}
	for _, s := range d["samples"].([]any) {
		values = append(values, s.(map[string]any)["sample"].(float64))
		stamps = append(stamps, s.(map[string]any)["timestamp"].(float64))
	}
	return values, stamps, d["avg"].(float64), d["avg_rate"].(float64)
}

func TestSamplesOfAQueue(t *testing.T) {
	f := newFixture(t)
	f.want(201, "PUT", "/api/queues/%2F/q", `{}`)
	now := time.UnixMilli(time.Now().UnixMilli() / 60000 * 60000)
	for round := range 4 {
		f.server.rates.look(now.Add(time.Duration(round) * sampleEvery))
		for range 5 * (round + 1) {
			f.put("q", "x", `{}`)
		}
	}
	end := now.Add(4*sampleEvery + 2*time.Second)
	f.server.rates.look(end)

	q := f.want(200, "GET", "/api/queues/%2F/q?lengths_age=20&lengths_incr=5&msg_rates_age=20&msg_rates_incr=5", "").(map[string]any)
	lengths, stamps, avg, _ := samplesOf(t, q["messages_details"])
	if want := []float64{50, 50, 30, 15, 5}; !slices.Equal(lengths, want) || avg != 30 {
		t.Errorf("lengths %v, want %v; average %v", lengths, want, avg)
	}
	if last := float64(now.Add(25 * time.Second).UnixMilli()); stamps[0] != last || stamps[1] != last-5000 {
		t.Errorf("times %v, want %v first", stamps, last)
	}
	publishes, stamps, _, avgRate := samplesOf(t, q["message_stats"].(map[string]any)["publish_details"])
	if want := []float64{50, 30, 15, 5, 0}; !slices.Equal(publishes, want) || avgRate != 2.5 {
		t.Errorf("publishes %v, want %v; average rate %v", publishes, want, avgRate)
	}
	if last := float64(now.Add(20 * time.Second).UnixMilli()); stamps[0] != last {
		t.Errorf("times %v, want %v first", stamps, last)
	}
	if d := f.want(200, "GET", "/api/queues/%2F/q?lengths_age=20", "").(map[string]any)["messages_details"].(map[string]any); d["samples"] != nil {
		t.Error("samples without lengths_incr")
	}
	for _, bad := range []string{"lengths_age=3000&lengths_incr=5", "msg_rates_age=x&msg_rates_incr=5", "node_stats_age=5&node_stats_incr=0", "data_rates_age=-5&data_rates_incr=5"} {
		f.want(400, "GET", "/api/queues/%2F/q?"+bad, "")
	}
	f.want(200, "GET", "/api/queues/%2F/q?lengths_age=2500&lengths_incr=5", "")
}

// Whatever has a chart in RabbitMQ's pages has samples.
func TestSamplesOfEverything(t *testing.T) {
	f := newFixture(t)
	f.want(201, "PUT", "/api/queues/%2F/q", `{}`)
	s := f.session("admin", "/")
	row := addConnection(f, s, "127.0.0.1:1 -> 127.0.0.1:5672")
	defer row.Remove()
	f.put("q", "x", `{}`)
	now := time.Now()
	f.server.rates.look(now)
	f.put("q", "x", `{}`)
	f.server.rates.look(now.Add(sampleEvery))
	all := "lengths_age=60&lengths_incr=5&msg_rates_age=60&msg_rates_incr=5&data_rates_age=60&data_rates_incr=5&node_stats_age=60&node_stats_incr=5"
	for path, names := range map[string][]string{
		"/api/overview":                  {"queue_totals.messages", "message_stats.publish", "message_stats.drop_unroutable", "churn_rates.queue_created"},
		"/api/queues/%2F/q":              {"messages_ready", "message_stats.publish"},
		"/api/vhosts/%2F":                {"messages", "message_stats.publish"},
		"/api/exchanges/%2F/amq.default": {"message_stats.publish_in", "message_stats.publish_out"},
		"/api/nodes/rabbit@localhost":    {"mem_used", "fd_used", "disk_free", "io_write_bytes", "gc_num", "connection_created"},
		"/api/connections/127.0.0.1%3A1%20-%3E%20127.0.0.1%3A5672": {"recv_oct", "send_oct"},
	} {
		got := f.want(200, "GET", path+"?"+all, "")
		for _, name := range names {
			v := at(t, got, name+"_details")
			if values, _, _, _ := samplesOf(t, v); len(values) != 13 {
				t.Errorf("%s %s: %d samples", path, name, len(values))
			}
		}
	}
}

// What is not active takes no room beyond a few bytes, and in the end not even
// its history.
func TestIdleHistoryDoesNotGrow(t *testing.T) {
	r := newSampler(newFixture(t).server)
	now := time.Now()
	busy := func(key rateKey, n int64) { r.note(key, values{n, 0}) }
	r.begin(now)
	for i := range 1000 {
		busy(rateKey{ratedConnection, "", fmt.Sprint(i)}, 1)
		busy(rateKey{ratedExchange, "", fmt.Sprint(i)}, 0)
	}
	r.sweep()
	if len(r.mu.seen) != 1000 {
		t.Fatalf("%d objects are known", len(r.mu.seen))
	}
	before := r.bytes()
	for range 100 {
		now = now.Add(sampleEvery)
		r.begin(now)
		for i := range 1000 {
			busy(rateKey{ratedConnection, "", fmt.Sprint(i)}, 1)
		}
		r.sweep()
	}
	if r.bytes() != before {
		t.Errorf("%d bytes, %d before", r.bytes(), before)
	}
	r.begin(now.Add(2 * time.Hour))
	for i := range 1000 {
		busy(rateKey{ratedConnection, "", fmt.Sprint(i)}, 1)
	}
	r.sweep()
	if got, want := r.bytes(), int64(1000*sampledBytes); got != want {
		t.Errorf("%d bytes after two idle hours, want %d", got, want)
	}
	r.begin(now.Add(3 * time.Hour))
	r.sweep()
	if r.bytes() != 0 || len(r.mu.seen) != 0 {
		t.Errorf("%d bytes when all is gone", r.bytes())
	}
}

// History stays within its bounds, by its own account and by the heap's, and those
// who are active keep theirs.
func TestHistoryIsBounded(t *testing.T) {
	r := newSampler(newFixture(t).server)
	r.max = 4 << 20
	keys := make([]rateKey, 30_000)
	for i := range keys {
		keys[i] = rateKey{ratedQueue, "/", fmt.Sprintf("queue-%d", i)}
	}
	r.max += int64(len(keys)) * sampledBytes // The objects themselves stay known.
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	now := time.Now()
	is := make(values, blockedMS+1)
	for round := range 25 {
		now = now.Add(sampleEvery)
		r.begin(now)
		for i := range keys {
			if i >= 100 && i/2000 != round%15 {
				is[0] = int64(1 + (round+15-i/2000)/15) // As it was since its turn.
				if i/2000 > round {
					is[0] = 0
				}
			} else {
				is[0] = int64(1000*round) + 1
			}
			r.note(keys[i], is)
		}
		r.sweep()
		if r.bytes() > r.max {
			t.Fatalf("round %d: %d bytes, more than %d", round, r.bytes(), r.max)
		}
	}
	if grown := heap() - before; grown > 3*r.max {
		t.Errorf("the heap has grown by %d bytes, the account says %d", grown, r.bytes())
	}
	for _, key := range keys[:100] {
		s := r.mu.seen[key].series
		if s == nil {
			t.Fatalf("the history of %s is gone though it is active", key.name)
		}
		if got := s.tracks[0].column(0, now.UnixMilli(), 5000, 10); got[0] != 24001 || got[9] != 15001 {
			t.Errorf("%s: %v", key.name, got)
		}
	}
	runtime.KeepAlive(r)
}

func TestReset(t *testing.T) {
	f := newFixture(t)
	f.want(201, "PUT", "/api/queues/%2F/q", `{}`)
	f.put("q", "x", `{}`)
	f.server.rates.look(time.Now())
	if f.server.rates.sample(rateKey{ratedQueue, "/", "q"}) == nil {
		t.Fatal("no rates")
	}
	f.want(404, "DELETE", "/api/reset/nobody", "")
	f.want(204, "DELETE", "/api/reset/rabbit@localhost", "")
	if f.server.rates.sample(rateKey{ratedQueue, "/", "q"}) != nil {
		t.Error("rates after the reset")
	}
	f.want(204, "DELETE", "/api/reset", "")
}

func TestMemoryBreakdown(t *testing.T) {
	f := newFixture(t)
	m := f.want(200, "GET", "/api/nodes/rabbit@localhost/memory", "").(map[string]any)["memory"].(map[string]any)
	for _, name := range []string{
		"connection_readers", "connection_writers", "connection_channels", "connection_other", "queue_procs", "quorum_queue_procs", "stream_queue_procs",
		"stream_queue_replica_reader_procs", "stream_queue_coordinator_procs", "plugins", "metadata_store", "other_proc", "metrics", "mgmt_db", "mnesia",
		"quorum_ets", "metadata_store_ets", "other_ets", "binary", "msg_index", "code", "atom", "other_system", "allocated_unused", "reserved_unallocated",
	} {
		if _, ok := m[name].(float64); !ok {
			t.Errorf("%s is %v", name, m[name])
		}
	}
	total := m["total"].(map[string]any)
	for _, name := range []string{"erlang", "rss", "allocated"} {
		if v, ok := total[name].(float64); !ok || v <= 0 {
			t.Errorf("total.%s is %v", name, total[name])
		}
	}
	relative := f.want(200, "GET", "/api/nodes/rabbit@localhost/memory/relative", "").(map[string]any)["memory"].(map[string]any)
	sum := 0.0
	for name, v := range relative {
		if name != "total" {
			sum += v.(float64)
		}
	}
	if sum < 80 || sum > 120 {
		t.Errorf("the parts add up to %v %%", sum)
	}
}

func TestWithoutRates(t *testing.T) {
	f := newFixture(t)
	f.server.opts.NoRates = true
	f.want(201, "PUT", "/api/queues/%2F/q", `{}`)
	f.put("q", "x", `{}`)
	q := f.want(200, "GET", "/api/queues/%2F/q", "").(map[string]any)
	if q["messages"] != 1.0 || q["messages_details"] != nil || q["message_stats"] != nil {
		t.Errorf("%v", q)
	}
	if o := f.want(200, "GET", "/api/overview", "").(map[string]any); o["rates_mode"] != "none" {
		t.Errorf("rates_mode %v", o["rates_mode"])
	}
}
