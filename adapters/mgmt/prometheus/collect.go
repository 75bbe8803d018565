package prometheus

import (
	"math"

	"leveret/core"
	"leveret/core/pattern"
)

// table has a row of numbers for each of some objects, and the labels of each.
// It is used again and again.
type table struct {
	columns int
	values  []float64 // Row after row. NaN is what is not known.
	labels  []byte
	ends    []int    // Of each row's labels.
	extra   []string // Labels of rows that only some metrics have; nil for none.
}

func (t *table) reset(columns int) {
	t.columns = columns
	t.values, t.labels, t.ends, t.extra = t.values[:0], t.labels[:0], t.ends[:0], t.extra[:0]
}

// row adds a row of zeros.
func (t *table) row() []float64 {
	n := len(t.values)
	for range t.columns {
		t.values = append(t.values, 0)
	}
	return t.values[n:]
}

// named gives the row just added its labels.
func (t *table) named(pairs ...string) {
	t.labels = appendLabels(t.labels, pairs...)
	t.ends = append(t.ends, len(t.labels))
}

func (t *table) labelsOf(i int) []byte {
	from := 0
	if i > 0 {
		from = t.ends[i-1]
	}
	return t.labels[from:t.ends[i]]
}

// sum adds up a column. Of some the greatest is what tells something.
func (t *table) sum(col int, greatest bool) (sum float64) {
	for i := col; i < len(t.values); i += t.columns {
		switch v := t.values[i]; {
		case math.IsNaN(v):
		case greatest:
			sum = max(sum, v)
		default:
			sum += v
		}
	}
	return sum
}

// filter says which objects a scrape is about.
type filter struct {
	vhosts map[string]bool // nil for all.
	queue  *pattern.Regex  // nil for all.
}

func (f *filter) vhost(name string) bool { return f.vhosts == nil || f.vhosts[name] }

// queueTypes are RabbitMQ's names, by kind of queue.
var queueTypes = [core.QueueKinds]string{"rabbit_classic_queue", "rabbit_quorum_queue", "rabbit_stream_queue", "rabbit_mqtt_qos0_queue"}

func queueType(t core.QueueType) string {
	switch t {
	case core.QueueQuorum:
		return queueTypes[core.KindQuorum]
	case core.QueueStream:
		return queueTypes[core.KindStream]
	case core.QueueDirect:
		return queueTypes[core.KindDirect]
	}
	return queueTypes[core.KindClassic]
}

// queues looks at all queues. rows asks for labels.
func (s *Server) queues(t *table, f *filter, rows bool) {
	t.reset(queueColumns)
	now := s.opts.Broker.Now()
	var i core.QueueInfo // One for all: it is handed to Rates, and so lives on the heap.
	for _, v := range s.opts.Broker.VHosts() {
		if !f.vhost(v.Name()) {
			continue
		}
		for q := range v.Queues() {
			o := q.Options()
			if f.queue != nil && !f.queue.MatchString(o.Name) {
				continue
			}
			i = q.Summary()
			row := t.row()
			queueRow(row, &i, now)
			if s.opts.Rates != nil {
				row[qPublishRate], row[qDeliverRate], row[qAckRate], row[qCapacity] = s.opts.Rates(q, &i)
			}
			if rows {
				t.named("vhost", v.Name(), "queue", o.Name)
				t.extra = append(t.extra, queueType(o.Type))
			}
		}
	}
}

func queueRow(row []float64, i *core.QueueInfo, now int64) {
	messages := i.Ready + i.Unacked
	c := &i.Counters
	row[qReady], row[qUnacked], row[qMessages] = float64(i.Ready), float64(i.Unacked), float64(messages)
	row[qConsumers], row[qMemory], row[qPersistent] = float64(i.Consumers), float64(i.MemoryBytes), float64(i.Persistent)
	row[qReadyBytes], row[qUnackedBytes], row[qBytes] = float64(i.ReadyBytes), float64(i.UnackedBytes), float64(i.ReadyBytes+i.UnackedBytes)
	row[qRAM], row[qPagedOut] = float64(i.InMemory), float64(messages-i.InMemory)
	if i.InMemory == messages {
		row[qRAMBytes], row[qReadyRAM], row[qUnackedRAM] = row[qBytes], row[qReady], row[qUnacked]
	} else { // What lies on disk is not counted by state.
		row[qRAMBytes], row[qReadyRAM], row[qUnackedRAM], row[qPagedOutBytes] = math.NaN(), math.NaN(), math.NaN(), math.NaN()
	}
	switch {
	case i.HeadTimestamp != 0:
		row[qHead] = float64(i.HeadTimestamp / 1000)
		row[qAge] = math.Max(0, float64(now-i.HeadTimestamp)) / 1000
	case i.Ready > 0:
		row[qHead], row[qAge] = math.NaN(), math.NaN() // It is being found out.
	default:
		row[qHead] = math.NaN()
	}
	if i.Stream != nil {
		row[qSegments] = float64(i.Stream.Segments)
		row[qHead], row[qAge] = math.NaN(), math.NaN() // Its messages wait for nobody.
	} else {
		row[qSegments] = math.NaN()
	}
	row[qGetAck], row[qGet] = float64(c.GotAck), float64(c.GotAuto)
	row[qDeliveredAck], row[qDelivered] = float64(c.DeliveredAck), float64(c.DeliveredAuto)
	row[qRedelivered], row[qAcked], row[qGetEmpty] = float64(c.Redelivered), float64(c.Acked), float64(c.GetEmpty)
	row[qPublished], row[qInfo] = float64(c.Published), 1
}

// retired adds what deleted queues have done to a table that is to be summed up:
// counters must not go down.
func (s *Server) retired(t *table, f *filter) {
	for _, v := range s.opts.Broker.VHosts() {
		if f.queue != nil || !f.vhost(v.Name()) {
			continue
		}
		r := v.Retired()
		row := t.row()
		queueRow(row, &core.QueueInfo{Counters: r.Queues}, 0)
		row[qInfo] = 0
	}
}

// number reads what an adapter says of one of its rows.
func number(v any) float64 {
	if n, ok := core.Integer(v); ok {
		return float64(n)
	}
	return 0
}

// The kinds of rows that adapters put into core's registry for operators.
const (
	rowConnection = "connection"
	rowChannel    = "channel"
)

func (s *Server) channels(t *table, f *filter, rows bool) {
	t.reset(channelColumns)
	for r := range s.opts.Broker.Registry().Rows(rowChannel) {
		if r.Session == nil || !f.vhost(r.Session.VHost().Name()) {
			continue
		}
		row := t.row()
		if r.Attributes != nil {
			a := r.Attributes()
			row[chConsumers], row[chUnacked], row[chUnconfirmed] = number(a["consumer_count"]), number(a["messages_unacknowledged"]), number(a["messages_unconfirmed"])
			row[chUncommitted], row[chAcksUncommitted] = number(a["messages_uncommitted"]), number(a["acks_uncommitted"])
			row[chPrefetch], row[chGlobalPrefetch] = number(a["prefetch_count"]), number(a["global_prefetch_count"])
		}
		if r.Counters != nil {
			c := r.Counters()
			row[chPublished], row[chReturned] = float64(c["publish"]), float64(c["return_unroutable"])
			row[chDelivered], row[chAcked] = float64(c["deliver_get"]), float64(c["ack"])
		}
		if rows {
			t.named("channel", r.Name)
		}
	}
}

func (s *Server) connections(t *table, f *filter, rows bool) {
	t.reset(connectionColumns)
	for r := range s.opts.Broker.Registry().Rows(rowConnection) {
		if r.Session == nil || !f.vhost(r.Session.VHost().Name()) {
			continue
		}
		row := t.row()
		if r.Counters != nil {
			c := r.Counters()
			row[coIn], row[coOut] = float64(c["recv_oct"]), float64(c["send_oct"])
		}
		if r.Attributes != nil {
			row[coChannels] = number(r.Attributes()["channels"])
		}
		if rows {
			t.named("connection", r.Name)
		}
	}
}

// exchanges looks at all exchanges; bindings asks for counting what is bound.
func (s *Server) exchanges(t *table, f *filter, rows, bindings bool) {
	t.reset(exchangeColumns)
	for _, v := range s.opts.Broker.VHosts() {
		if !f.vhost(v.Name()) {
			continue
		}
		bound := map[string]int{}
		if bindings {
			for _, b := range v.Bindings(core.BindingFilter{}) {
				bound[b.Source]++
			}
		}
		for x := range v.Exchanges() {
			i := x.Info()
			row := t.row()
			row[xPublished], row[xName], row[xBindings] = float64(i.PublishedIn), 1, float64(bound[i.Name])
			if rows {
				t.named("vhost", v.Name(), "exchange", i.Name)
				t.extra = append(t.extra, i.Type)
			}
		}
		if !rows {
			t.row()[xPublished] = float64(v.Retired().PublishedIn)
		}
	}
}

func (s *Server) vhosts(t *table, f *filter) {
	t.reset(vhostColumns)
	for _, v := range s.opts.Broker.VHosts() {
		if f.vhost(v.Name()) {
			t.row()[vStatus] = 1
			t.named("vhost", v.Name())
		}
	}
}
