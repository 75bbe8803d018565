package prometheus

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"leveret/core"
)

// fixture is a broker with some queues, and its metrics on a real port.
type fixture struct {
	tb      testing.TB
	broker  *core.Broker
	server  *Server
	url     string
	session *core.Session
}

func newFixture(tb testing.TB, queues int, o Options) *fixture {
	tb.Helper()
	b, err := core.New(core.Options{NodeName: "rabbit@localhost"})
	if err != nil {
		tb.Fatal(err)
	}
	user, _ := b.Auth().User("guest")
	s, err := b.OpenSession(core.SessionOptions{VHost: "/", User: user, Loopback: true, Meter: b.Meter("amqp091")})
	if err != nil {
		tb.Fatal(err)
	}
	for i := range queues {
		if _, err := s.DeclareQueue(core.QueueDeclare{Name: fmt.Sprintf("queue-%06d", i), Durable: true}); err != nil {
			tb.Fatal(err)
		}
	}
	o.Broker, o.Version, o.RabbitVersion = b, "test", "4.3.0"
	server := NewServer(o)
	web := httptest.NewServer(server)
	tb.Cleanup(func() {
		web.Close()
		s.Close()
		b.Close()
	})
	return &fixture{tb, b, server, web.URL, s}
}

type ignore struct{}

func (ignore) Completed(uint64, uint64, core.Kind) {}

// publish publishes n messages of size bytes to a queue, confirmed.
func (f *fixture) publish(queue string, n, size int) {
	p := f.session.NewPublisher(ignore{})
	ms := make([]core.Publication, n)
	for i := range ms {
		ms[i].Reset()
		ms[i].RoutingKey, ms[i].Body, ms[i].Number = queue, make([]byte, size), uint64(i+1)
		t, err := p.Target("")
		if err == nil {
			_, err = p.Route(t, &ms[i])
		}
		if err != nil {
			f.tb.Fatal(err)
		}
	}
	var t core.Touched
	p.Publish(ms, &t)
}

func (f *fixture) get(path string) (int, string) {
	f.tb.Helper()
	r, err := http.Get(f.url + path)
	if err != nil {
		f.tb.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.tb.Fatal(err)
	}
	return r.StatusCode, string(body)
}

type scraped map[string]*dto.MetricFamily

// scrape reads a path with Prometheus's own parser.
func (f *fixture) scrape(path string) scraped {
	f.tb.Helper()
	status, body := f.get(path)
	if status != http.StatusOK {
		f.tb.Fatalf("%s: %d %s", path, status, body)
	}
	p := expfmt.NewTextParser(model.UTF8Validation)
	all, err := p.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		f.tb.Fatalf("%s: %v\n%s", path, err, body)
	}
	return all
}

// value is that of the metric called name with these labels, names and values in
// turn.
func (s scraped) value(name string, labels ...string) (float64, bool) {
	family := s[name]
	if family == nil {
		return 0, false
	}
next:
	for _, m := range family.Metric {
		has := map[string]string{}
		for _, l := range m.Label {
			has[l.GetName()] = l.GetValue()
		}
		for i := 0; i < len(labels); i += 2 {
			if has[labels[i]] != labels[i+1] {
				continue next
			}
		}
		switch {
		case m.Counter != nil:
			return m.Counter.GetValue(), true
		case m.Gauge != nil:
			return m.Gauge.GetValue(), true
		case m.Untyped != nil:
			return m.Untyped.GetValue(), true
		case m.Histogram != nil:
			return float64(m.Histogram.GetSampleCount()), true
		}
	}
	return 0, false
}

// overview is what RabbitMQ's Overview dashboard, and the alerts around it, read.
var overview = []struct {
	name   string
	kind   dto.MetricType
	labels string // Names, as far as all its samples have them.
}{
	{"rabbitmq_identity_info", dto.MetricType_UNTYPED, "rabbitmq_node rabbitmq_cluster rabbitmq_cluster_permanent_id rabbitmq_endpoint"},
	{"rabbitmq_build_info", dto.MetricType_UNTYPED, "rabbitmq_version prometheus_plugin_version prometheus_client_version erlang_version"},
	{"rabbitmq_queue_messages_ready", dto.MetricType_GAUGE, ""},
	{"rabbitmq_queue_messages_unacked", dto.MetricType_GAUGE, ""},
	{"rabbitmq_queue_messages", dto.MetricType_GAUGE, ""},
	{"rabbitmq_connections", dto.MetricType_GAUGE, ""},
	{"rabbitmq_channels", dto.MetricType_GAUGE, ""},
	{"rabbitmq_queues", dto.MetricType_GAUGE, ""},
	{"rabbitmq_consumers", dto.MetricType_GAUGE, ""},
	{"rabbitmq_process_resident_memory_bytes", dto.MetricType_GAUGE, ""},
	{"rabbitmq_resident_memory_limit_bytes", dto.MetricType_GAUGE, ""},
	{"rabbitmq_disk_space_available_bytes", dto.MetricType_GAUGE, ""},
	{"rabbitmq_disk_space_available_limit_bytes", dto.MetricType_GAUGE, ""},
	{"rabbitmq_process_open_fds", dto.MetricType_GAUGE, ""},
	{"rabbitmq_process_max_fds", dto.MetricType_GAUGE, ""},
	{"rabbitmq_erlang_uptime_seconds", dto.MetricType_GAUGE, ""},
	{"rabbitmq_connections_opened_total", dto.MetricType_COUNTER, ""},
	{"rabbitmq_connections_closed_total", dto.MetricType_COUNTER, ""},
	{"rabbitmq_channels_opened_total", dto.MetricType_COUNTER, ""},
	{"rabbitmq_channels_closed_total", dto.MetricType_COUNTER, ""},
	{"rabbitmq_queues_declared_total", dto.MetricType_COUNTER, ""},
	{"rabbitmq_queues_created_total", dto.MetricType_COUNTER, ""},
	{"rabbitmq_queues_deleted_total", dto.MetricType_COUNTER, ""},
	{"rabbitmq_message_size_bytes", dto.MetricType_HISTOGRAM, "protocol"},
	{"rabbitmq_global_publishers", dto.MetricType_GAUGE, "protocol"},
	{"rabbitmq_global_consumers", dto.MetricType_GAUGE, "protocol"},
	{"rabbitmq_global_messages_received_total", dto.MetricType_COUNTER, "protocol"},
	{"rabbitmq_global_messages_received_confirm_total", dto.MetricType_COUNTER, "protocol"},
	{"rabbitmq_global_messages_routed_total", dto.MetricType_COUNTER, "protocol"},
	{"rabbitmq_global_messages_confirmed_total", dto.MetricType_COUNTER, "protocol"},
	{"rabbitmq_global_messages_unroutable_returned_total", dto.MetricType_COUNTER, "protocol"},
	{"rabbitmq_global_messages_unroutable_dropped_total", dto.MetricType_COUNTER, "protocol"},
	{"rabbitmq_global_messages_delivered_total", dto.MetricType_COUNTER, "protocol queue_type"},
	{"rabbitmq_global_messages_delivered_consume_manual_ack_total", dto.MetricType_COUNTER, "protocol queue_type"},
	{"rabbitmq_global_messages_delivered_consume_auto_ack_total", dto.MetricType_COUNTER, "protocol queue_type"},
	{"rabbitmq_global_messages_delivered_get_manual_ack_total", dto.MetricType_COUNTER, "protocol queue_type"},
	{"rabbitmq_global_messages_delivered_get_auto_ack_total", dto.MetricType_COUNTER, "protocol queue_type"},
	{"rabbitmq_global_messages_get_empty_total", dto.MetricType_COUNTER, "protocol queue_type"},
	{"rabbitmq_global_messages_redelivered_total", dto.MetricType_COUNTER, "protocol queue_type"},
	{"rabbitmq_global_messages_acknowledged_total", dto.MetricType_COUNTER, "protocol queue_type"},
	{"rabbitmq_global_messages_dead_lettered_maxlen_total", dto.MetricType_COUNTER, "queue_type dead_letter_strategy"},
	{"rabbitmq_global_messages_dead_lettered_expired_total", dto.MetricType_COUNTER, "queue_type dead_letter_strategy"},
	{"rabbitmq_global_messages_dead_lettered_rejected_total", dto.MetricType_COUNTER, "queue_type dead_letter_strategy"},
	{"rabbitmq_global_messages_dead_lettered_delivery_limit_total", dto.MetricType_COUNTER, "queue_type dead_letter_strategy"},
	{"rabbitmq_global_messages_dead_lettered_confirmed_total", dto.MetricType_COUNTER, "queue_type dead_letter_strategy"},
	{"rabbitmq_alarms_memory_used_watermark", dto.MetricType_UNTYPED, ""},
	{"rabbitmq_alarms_free_disk_space_watermark", dto.MetricType_UNTYPED, ""},
	{"rabbitmq_alarms_file_descriptor_limit", dto.MetricType_UNTYPED, ""},
	{"rabbitmq_auth_attempts_total", dto.MetricType_COUNTER, "protocol"},
	{"rabbitmq_auth_attempts_succeeded_total", dto.MetricType_COUNTER, "protocol"},
	{"rabbitmq_auth_attempts_failed_total", dto.MetricType_COUNTER, "protocol"},
	{"go_goroutines", dto.MetricType_GAUGE, ""},
	{"process_cpu_seconds_total", dto.MetricType_COUNTER, ""},
	{"leveret_queue_oldest_message_age_seconds", dto.MetricType_GAUGE, ""},
}

// Everything that dashboards read is there from the start, with zeros for every
// protocol and type of queue.
func TestDashboardsFindTheirMetrics(t *testing.T) {
	f := newFixture(t, 0, Options{})
	got := f.scrape("/metrics")
	for _, want := range overview {
		family := got[want.name]
		if family == nil {
			t.Errorf("%s is missing", want.name)
			continue
		}
		if family.GetType() != want.kind || family.GetHelp() == "" {
			t.Errorf("%s is a %v, help %q; want a %v", want.name, family.GetType(), family.GetHelp(), want.kind)
		}
		for _, m := range family.Metric {
			for name := range strings.FieldsSeq(want.labels) {
				found := false
				for _, l := range m.Label {
					found = found || l.GetName() == name
				}
				if !found {
					t.Errorf("%s{%v} has no label %s", want.name, m.Label, name)
				}
			}
			if want.labels == "" && len(m.Label) != 0 {
				t.Errorf("%s has labels %v", want.name, m.Label)
			}
		}
	}
	for _, protocol := range []string{"amqp091", "mqtt310", "mqtt311", "mqtt50", "stomp"} {
		for _, queueType := range []string{"rabbit_classic_queue", "rabbit_quorum_queue", "rabbit_stream_queue"} {
			if v, ok := got.value("rabbitmq_global_messages_acknowledged_total", "protocol", protocol, "queue_type", queueType); !ok || v != 0 {
				t.Errorf("acknowledged %s %s: %v %v", protocol, queueType, v, ok)
			}
		}
		if v, ok := got.value("rabbitmq_message_size_bytes", "protocol", protocol); !ok || v != 0 {
			t.Errorf("sizes %s: %v %v", protocol, v, ok)
		}
	}
	for _, strategy := range []string{"disabled", "at_most_once", "at_least_once"} {
		if _, ok := got.value("rabbitmq_global_messages_dead_lettered_expired_total", "queue_type", "rabbit_quorum_queue", "dead_letter_strategy", strategy); !ok {
			t.Errorf("no dead letters of strategy %s", strategy)
		}
	}
	if v, ok := got.value("rabbitmq_identity_info", "rabbitmq_endpoint", "aggregated", "rabbitmq_node", "rabbit@localhost"); !ok || v != 1 {
		t.Errorf("identity %v %v", v, ok)
	}
}

// The numbers are those of what was done, by object where that is asked for.
func TestNumbers(t *testing.T) {
	rates := func(q core.Queue, i *core.QueueInfo) (publish, deliver, ack, capacity float64) { return 1.5, 2, 3, 0.5 }
	f := newFixture(t, 3, Options{Rates: rates})
	f.publish("queue-000001", 10, 1000)
	f.publish("nowhere", 2, 20000)
	for range 4 {
		if _, err := f.session.Get("queue-000001", true, func(*core.Holder, *core.Delivery, int) {}); err != nil {
			t.Fatal(err)
		}
	}
	odd := "a \"queue\"\\\xffwith {all}"
	if _, err := f.session.DeclareQueue(core.QueueDeclare{Name: odd}); err != nil {
		t.Fatal(err)
	}

	sums := f.scrape("/metrics")
	type want struct {
		name   string
		labels []string
		value  float64
	}
	check := func(got scraped, wants []want) {
		t.Helper()
		for _, w := range wants {
			if v, ok := got.value(w.name, w.labels...); !ok || v != w.value {
				t.Errorf("%s%v is %v (there: %v), want %v", w.name, w.labels, v, ok, w.value)
			}
		}
	}
	amqp := []string{"protocol", "amqp091"}
	classic := []string{"protocol", "amqp091", "queue_type", "rabbit_classic_queue"}
	check(sums, []want{
		{"rabbitmq_queue_messages_ready", nil, 6}, {"rabbitmq_queues", nil, 4}, {"rabbitmq_queues_created_total", nil, 4},
		{"rabbitmq_global_messages_received_total", amqp, 12}, {"rabbitmq_global_messages_received_confirm_total", amqp, 12},
		{"rabbitmq_global_messages_confirmed_total", amqp, 12}, {"rabbitmq_global_messages_routed_total", amqp, 10},
		{"rabbitmq_global_messages_unroutable_dropped_total", amqp, 2}, {"rabbitmq_global_publishers", amqp, 2},
		{"rabbitmq_global_messages_delivered_total", classic, 4}, {"rabbitmq_global_messages_delivered_get_auto_ack_total", classic, 4},
		{"rabbitmq_message_size_bytes", amqp, 12}, {"leveret_queue_publish_rate", nil, 6},
	})
	sizes := sums["rabbitmq_message_size_bytes"].Metric[0].Histogram
	if sizes.GetSampleSum() != 10*1000+2*20000 || sizes.Bucket[0].GetCumulativeCount() != 0 || sizes.Bucket[1].GetCumulativeCount() != 10 || sizes.Bucket[3].GetCumulativeCount() != 12 {
		t.Errorf("sizes %v", sizes)
	}

	one := []string{"vhost", "/", "queue", "queue-000001"}
	check(f.scrape("/metrics/per-object"), []want{
		{"rabbitmq_queue_messages_ready", one, 6}, {"rabbitmq_queue_messages_ready_bytes", one, 6000}, {"rabbitmq_queue_get_total", one, 4},
		{"rabbitmq_queue_messages_published_total", one, 10}, {"leveret_queue_publish_rate", one, 1.5}, {"rabbitmq_queue_consumer_capacity", one, 0.5},
		{"rabbitmq_queue_messages", []string{"queue", strings.ToValidUTF8(odd, "\uFFFD")}, 0},
		{"rabbitmq_exchange_messages_published_total", []string{"vhost", "/", "exchange", ""}, 12},
		{"rabbitmq_queue_info", append([]string{"queue_type", "rabbit_classic_queue", "membership", "leader"}, one...), 1},
	})

	if _, err := f.session.DeleteQueue("queue-000001", false, false); err != nil {
		t.Fatal(err)
	}
	check(f.scrape("/metrics"), []want{
		{"rabbitmq_queue_get_total", nil, 4}, {"rabbitmq_queue_messages_published_total", nil, 10}, {"rabbitmq_queues_deleted_total", nil, 1},
		{"rabbitmq_global_messages_delivered_total", classic, 4}, {"rabbitmq_queue_messages_ready", nil, 0},
	})
}

func TestLabelsAreEscaped(t *testing.T) {
	got := string(appendLabels(nil, "a", "x\"y\\z\n\xff", "b", ""))
	if want := `{a="x\"y\\z\n` + "\uFFFD" + `",b=""}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestDetailed(t *testing.T) {
	f := newFixture(t, 12, Options{})
	if err := f.broker.PutVHost(core.VHostDef{Name: "other"}); err != nil {
		t.Fatal(err)
	}
	got := f.scrape("/metrics/detailed?family=queue_coarse_metrics&family=queue_consumer_count&family=vhost_status&family=exchange_bindings&vhost=/&vhost=other&queue=1$")
	if n := len(got["rabbitmq_detailed_queue_messages"].GetMetric()); n != 2 {
		t.Errorf("%d queues match", n)
	}
	for name, want := range map[string]bool{
		"rabbitmq_detailed_queue_consumers": true, "rabbitmq_detailed_cluster_vhost_status": true, "rabbitmq_identity_info": true,
		"rabbitmq_detailed_cluster_exchange_bindings": true,
		"rabbitmq_detailed_connections_opened_total":  false, "rabbitmq_global_messages_received_total": false, "rabbitmq_detailed_queue_memory": false,
	} {
		if (got[name] != nil) != want {
			t.Errorf("%s there: %v", name, got[name] != nil)
		}
	}
	if v, _ := got.value("rabbitmq_detailed_cluster_exchange_bindings", "vhost", "/", "exchange", ""); v != 12 {
		t.Errorf("the default exchange has %v bindings", v)
	}
	got = f.scrape("/metrics/detailed?family=queue_coarse_metrics&vhost=other")
	if n := len(got["rabbitmq_detailed_queue_messages"].GetMetric()); n != 0 {
		t.Errorf("%d queues in the wrong virtual host", n)
	}
	got = f.scrape("/metrics/detailed?family=queue_consumer_count&family=queue_metrics")
	if n := len(got["rabbitmq_detailed_queue_consumers"].GetMetric()); n != 12 {
		t.Errorf("%d counts of consumers", n)
	}
	if status, _ := f.get("/metrics/detailed?family=queue_metrics&queue=("); status != http.StatusBadRequest {
		t.Errorf("bad expression: %d", status)
	}
}

func TestPathsAndRights(t *testing.T) {
	admitted := false
	f := newFixture(t, 2, Options{Path: "m/etrics/", PerObject: true, Admit: func(w http.ResponseWriter, r *http.Request) bool {
		if !admitted {
			w.WriteHeader(http.StatusUnauthorized)
		}
		return admitted
	}})
	if status, _ := f.get("/m/etrics"); status != http.StatusUnauthorized {
		t.Errorf("not admitted: %d", status)
	}
	admitted = true
	if got := f.scrape("/m/etrics"); len(got["rabbitmq_queue_messages"].GetMetric()) != 2 {
		t.Error("no rows for objects")
	}
	memory := f.scrape("/m/etrics/memory-breakdown")
	if v, ok := memory.value("rabbitmq_memory_total_allocated_bytes"); !ok || v <= 0 {
		t.Errorf("allocated %v %v", v, ok)
	}
	for path, want := range map[string]int{"/": 200, "/metrics": 404, "/m/etrics/per-object/": 200, "/m/etrics/none": 404} {
		if status, _ := f.get(path); status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
	}
	r, err := http.Post(f.url+"/m/etrics", "text/plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", r.StatusCode)
	}
}

func TestGzip(t *testing.T) {
	f := newFixture(t, 100, Options{})
	r := httptest.NewRequest(http.MethodGet, "/metrics/per-object", nil)
	r.Header.Set("Accept-Encoding", "deflate, gzip;q=1.0")
	w := httptest.NewRecorder()
	f.server.ServeHTTP(w, r)
	if w.Header().Get("Content-Encoding") != "gzip" {
		t.Fatalf("headers %v", w.Header())
	}
	z, err := gzip.NewReader(bytes.NewReader(w.Body.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(z)
	if err != nil || !bytes.Contains(body, []byte(`rabbitmq_queue_messages_ready{vhost="/",queue="queue-000099"} 0`)) {
		t.Errorf("%v, %d bytes", err, len(body))
	}
	r.Header.Set("Accept-Encoding", "gzip;q=0")
	w = httptest.NewRecorder()
	f.server.ServeHTTP(w, r)
	if w.Header().Get("Content-Encoding") != "" {
		t.Error("compressed for who wants none")
	}
}

// A scrape of many queues must not leave much behind: numbers and labels are in
// tables that are used again, text goes out as it is made.
func TestScrapeAllocatesLittle(t *testing.T) {
	f := newFixture(t, 2000, Options{})
	c := scrape{endpoint: "per-object", rows: true}
	f.server.write(io.Discard, &c)
	allocated := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f.server.write(io.Discard, &c)
		}
	})
	if n := allocated.AllocedBytesPerOp(); n > 400<<10 {
		t.Errorf("a scrape of 2000 queues allocates %d bytes", n)
	}
}

func BenchmarkScrape(b *testing.B) {
	for _, queues := range []int{1000, 10_000} {
		for _, endpoint := range []string{"aggregated", "per-object"} {
			b.Run(fmt.Sprintf("%s/queues=%d", endpoint, queues), func(b *testing.B) {
				f := newFixture(b, queues, Options{})
				c := scrape{endpoint: endpoint, rows: endpoint == "per-object"}
				var n counting
				b.ReportAllocs()
				for b.Loop() {
					n = 0
					f.server.write(&n, &c)
				}
				b.SetBytes(int64(n))
			})
		}
	}
}

// BenchmarkScrapeHTTP is what a scraper waits for, over the loopback, compressed.
func BenchmarkScrapeHTTP(b *testing.B) {
	f := newFixture(b, 10_000, Options{})
	for b.Loop() {
		f.get("/metrics/per-object")
	}
}

type counting int

func (c *counting) Write(p []byte) (int, error) {
	*c += counting(len(p))
	return len(p), nil
}
