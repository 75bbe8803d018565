package prometheus

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"leveret/adapters/mgmt/internal/memory"
	"leveret/core"
	"leveret/core/pattern"
)

// Options configures a Server.
type Options struct {
	Broker *core.Broker // Required.
	Logger *slog.Logger // [slog.Default()]

	Version       string // Our own, for people.
	RabbitVersion string // Of the RabbitMQ that clients may take us for.
	// Started is when the process began. [now]
	Started time.Time
	// Cluster says what the broker is called together with others. [its own name]
	Cluster func() string
	// Path is where the metrics are. [/metrics]
	Path string
	// PerObject has Path itself answer with a row for each object.
	PerObject bool
	// Rates says how many messages a second came to a queue, left it and were
	// acked lately, and which part of the time its consumers could take more. Nil
	// leaves these at 0.
	Rates func(q core.Queue, i *core.QueueInfo) (publish, deliver, ack, capacity float64)
	// HistoryBytes says what statistics take. Nil for nothing.
	HistoryBytes func() int64
	// Admit answers those who may not look, and reports whether r may. Nil admits
	// everybody.
	Admit func(w http.ResponseWriter, r *http.Request) bool
}

// Server answers scrapers. Any goroutine may use it.
type Server struct {
	opts Options
	log  *slog.Logger

	scraping sync.Mutex // One scrape at a time.
	table    table      // Guarded by scraping,
	writer   writer     // and so is this.
}

// NewServer makes a server; Serve or Handler put it to work.
func NewServer(o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Started.IsZero() {
		o.Started = time.Now()
	}
	if o.Cluster == nil {
		o.Cluster = o.Broker.NodeName
	}
	if o.Path = "/" + strings.Trim(o.Path, "/"); o.Path == "/" {
		o.Path = "/metrics"
	}
	return &Server{opts: o, log: o.Logger}
}

const (
	// stopGrace is how long scrapes under way may take when the server stops.
	stopGrace = time.Second
	// scrapeMax is how long one may take on its way to the scraper. The next one
	// waits for it.
	scrapeMax = 30 * time.Second
)

// Serve answers requests from ln until ctx ends, and returns when those under way
// have ended. A nil error means it was asked to stop.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	server := &http.Server{
		Handler: s, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: scrapeMax,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	stopped := make(chan struct{})
	defer context.AfterFunc(ctx, func() {
		defer close(stopped)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
		defer cancel()
		if server.Shutdown(grace) != nil {
			server.Close()
		}
	})()
	err := server.Serve(ln)
	if errors.Is(err, http.ErrServerClosed) {
		<-stopped
		return nil
	}
	return err
}

// scrape is what one request wants.
type scrape struct {
	endpoint string // As the dashboards call it.
	rows     bool   // A row for each object.
	filter   filter
	families []string // Of /metrics/detailed.
}

// ServeHTTP is part of http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	what := scrape{endpoint: "aggregated", rows: s.opts.PerObject}
	switch strings.TrimSuffix(r.URL.Path, "/") {
	case s.opts.Path:
	case s.opts.Path + "/per-object":
		what.endpoint, what.rows = "per-object", true
	case s.opts.Path + "/detailed":
		what.endpoint, what.rows = "detailed", true
	case s.opts.Path + "/memory-breakdown":
		what.endpoint = "memory-breakdown"
	case "":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'")
		io.WriteString(w, "<!doctype html>\n<title>Leveret</title>\n<a href=\""+strings.TrimPrefix(s.opts.Path, "/")+"\">metrics</a>\n")
		return
	default:
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if s.opts.Admit != nil && !s.opts.Admit(w, r) {
		return
	}
	if what.endpoint == "detailed" {
		if err := what.read(r.URL.Query()); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Vary", "Accept-Encoding")
	var out io.Writer = w
	if acceptsGzip(r.Header.Values("Accept-Encoding")) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzips.Get().(*gzip.Writer)
		z.Reset(w)
		defer func() {
			z.Close()
			gzips.Put(z)
		}()
		out = z
	}
	if r.Method == http.MethodGet {
		s.write(out, &what)
	}
}

// gzips compress for the network at hand, not for keeping.
var gzips = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	return z
}}

// acceptsGzip reports whether an Accept-Encoding header lets us compress.
func acceptsGzip(values []string) bool {
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			name, q, _ := strings.Cut(part, ";")
			if q = strings.ReplaceAll(q, " ", ""); strings.TrimSpace(name) == "gzip" && q != "q=0" && q != "q=0.0" {
				return true
			}
		}
	}
	return false
}

// familiesMax bounds what a query may name: there are far fewer.
const familiesMax = 100

// read reads the query of /metrics/detailed.
func (c *scrape) read(q url.Values) error {
	c.families = q["family"]
	if len(c.families) > familiesMax || len(q["queue"]) > 1 {
		return errors.New("too many parameters")
	}
	if vhosts := q["vhost"]; len(vhosts) > 0 {
		c.filter.vhosts = make(map[string]bool, len(vhosts))
		for _, v := range vhosts {
			c.filter.vhosts[v] = true
		}
	}
	if expr := q.Get("queue"); expr != "" {
		re, err := pattern.Compile(expr)
		if err != nil {
			return errors.New("queue: " + err.Error())
		}
		c.filter.queue = re
	}
	return nil
}

// wants reports whether a family was asked for.
func (c *scrape) wants(name string, part bool) bool {
	if c.endpoint == "detailed" {
		return slices.Contains(c.families, name)
	}
	return !part
}

// write answers a scrape.
func (s *Server) write(out io.Writer, c *scrape) {
	s.scraping.Lock()
	defer s.scraping.Unlock()
	w := &s.writer
	w.reset(out)
	defer func() {
		w.out.Flush()
		w.reset(nil)
	}()
	if c.endpoint == "memory-breakdown" {
		s.memory(w)
		s.identity(w, c.endpoint)
		return
	}
	p, ours := prefix, "leveret_"
	if c.endpoint == "detailed" {
		p, ours = prefix+"detailed_", "leveret_detailed_"
	}
	if c.wants("connection_churn_metrics", false) {
		s.churn(w, p)
	}
	s.node(w, p, c.wants("node_coarse_metrics", false), c.wants("node_metrics", false), c.wants("node_persister_metrics", false))
	if c.wants("auth_attempt_metrics", false) {
		s.logins(w, p, false)
	}
	if c.wants("auth_attempt_detailed_metrics", true) {
		s.logins(w, p, true)
	}
	s.objects(w, c, p, ours)
	if c.endpoint != "detailed" {
		s.counts(w)
		s.alarms(w)
		s.global(w)
		s.goRuntime(w)
	}
	s.identity(w, c.endpoint)
}

// objects writes the families about objects. Objects are looked at once for all
// families next to each other that are about them.
func (s *Server) objects(w *writer, c *scrape, p, ours string) {
	var names []byte
	looked := objects(255)
	for i := range families {
		f := &families[i]
		if !c.wants(f.name, f.part) || f.name == "queue_consumer_count" && c.wants("queue_metrics", false) {
			continue
		}
		if f.of != looked || f.name == "exchange_bindings" {
			looked = f.of
			s.look(c, f)
		}
		begins := p
		if f.ours {
			begins = ours
		}
		for k := range f.metrics {
			m := &f.metrics[k]
			if m.col == qInfo && f.of == queues && !c.rows {
				continue
			}
			names = append(append(names[:0], begins...), m.name...)
			name := string(names)
			w.head(name, m.kind, m.help)
			if !c.rows {
				w.sample(name, nil, s.table.sum(m.col, f.of == queues && m.col == qAge))
				continue
			}
			s.rows(w, name, f, m)
		}
	}
}

// look fills the table with what f is about.
func (s *Server) look(c *scrape, f *family) {
	switch f.of {
	case queues:
		s.queues(&s.table, &c.filter, c.rows)
		if !c.rows {
			s.retired(&s.table, &c.filter)
		}
	case channels:
		s.channels(&s.table, &c.filter, c.rows)
	case connections:
		s.connections(&s.table, &c.filter, c.rows)
	case exchanges:
		s.exchanges(&s.table, &c.filter, c.rows, f.name == "exchange_bindings")
	case vhosts:
		s.vhosts(&s.table, &c.filter)
	}
}

// rows writes a metric of each object of the table.
func (s *Server) rows(w *writer, name string, f *family, m *metric) {
	t := &s.table
	var more []byte
	label := ""
	switch {
	case f.of == queues && m.col == qInfo:
		label = `,membership="leader",queue_type=`
	case f.of == exchanges && m.col != xPublished:
		label = `,type=`
	}
	for i := range t.ends {
		v := t.values[i*t.columns+m.col]
		if v != v {
			continue // Not known.
		}
		labels := t.labelsOf(i)
		if label != "" {
			more = append(append(more[:0], labels[:len(labels)-1]...), label...)
			more = append(append(more, '"'), t.extra[i]...)
			labels = append(more, '"', '}')
		}
		w.sample(name, labels, v)
	}
}

// memory writes what memory is used for.
func (s *Server) memory(w *writer) {
	history := int64(0)
	if s.opts.HistoryBytes != nil {
		history = s.opts.HistoryBytes()
	}
	m := memory.Of(s.opts.Broker, history)
	for _, part := range m.Parts {
		w.one(prefix+"memory_"+part.Name+"_bytes", gauge, "Memory used for "+strings.ReplaceAll(part.Name, "_", " "), float64(part.Bytes))
	}
	w.one(prefix+"memory_total_rss_bytes", gauge, "Resident memory of the process", float64(m.RSS))
	w.one(prefix+"memory_total_allocated_bytes", gauge, "Memory that the runtime has from the system", float64(m.Allocated))
	w.one(prefix+"memory_total_used_bytes", gauge, "The part of it that is in use", float64(m.Runtime))
}
