package prometheus

import (
	"runtime"
	"strconv"

	"leveret/core"
)

// protocols are what meters are called, as far as they shall be there before the
// first client is.
var protocols = []string{"amqp091", "mqtt310", "mqtt311", "mqtt50", "stomp"}

// protocolMetric is a number that each protocol has.
type protocolMetric struct {
	name  string
	kind  kind
	help  string
	value func(t *core.MeterTotals) float64
}

var protocolMetrics = []protocolMetric{
	{"messages_received_total", counter, "Total number of messages received from publishers", func(t *core.MeterTotals) float64 { return float64(t.Received) }},
	{"messages_received_confirm_total", counter, "Total number of messages received from publishers expecting confirmations", func(t *core.MeterTotals) float64 { return float64(t.ReceivedConfirm) }},
	{"messages_routed_total", counter, "Total number of messages routed to queues or streams", func(t *core.MeterTotals) float64 { return float64(t.Routed) }},
	{"messages_unroutable_dropped_total", counter, "Total number of messages published as non-mandatory into an exchange and dropped as unroutable", func(t *core.MeterTotals) float64 { return float64(t.UnroutableDropped) }},
	{"messages_unroutable_returned_total", counter, "Total number of messages published as mandatory into an exchange and returned to the publisher as unroutable", func(t *core.MeterTotals) float64 { return float64(t.UnroutableReturned) }},
	{"messages_confirmed_total", counter, "Total number of messages confirmed to publishers", func(t *core.MeterTotals) float64 { return float64(t.Confirmed) }},
	{"publishers", gauge, "Publishers currently connected", func(t *core.MeterTotals) float64 { return float64(t.Publishers) }},
	{"consumers", gauge, "Consumers currently connected", func(t *core.MeterTotals) float64 { return float64(t.Consumers) }},
}

// deliveryMetric is a number that each protocol has for each type of queue.
type deliveryMetric struct {
	name, help string
	value      func(t *core.MeterTotals, k int) uint64
}

var deliveryMetrics = []deliveryMetric{
	{"messages_delivered_total", "Total number of messages delivered to consumers", func(t *core.MeterTotals, k int) uint64 {
		return t.ConsumedAck[k] + t.ConsumedAuto[k] + t.GotAck[k] + t.GotAuto[k]
	}},
	{"messages_delivered_consume_manual_ack_total", "Total number of messages delivered to consumers using basic.consume with manual acknowledgment", func(t *core.MeterTotals, k int) uint64 { return t.ConsumedAck[k] }},
	{"messages_delivered_consume_auto_ack_total", "Total number of messages delivered to consumers using basic.consume with automatic acknowledgment", func(t *core.MeterTotals, k int) uint64 { return t.ConsumedAuto[k] }},
	{"messages_delivered_get_manual_ack_total", "Total number of messages delivered to consumers using basic.get with manual acknowledgment", func(t *core.MeterTotals, k int) uint64 { return t.GotAck[k] }},
	{"messages_delivered_get_auto_ack_total", "Total number of messages delivered to consumers using basic.get with automatic acknowledgment", func(t *core.MeterTotals, k int) uint64 { return t.GotAuto[k] }},
	{"messages_get_empty_total", "Total number of times basic.get operations fetched no message", func(t *core.MeterTotals, k int) uint64 { return t.GetEmpty[k] }},
	{"messages_redelivered_total", "Total number of messages redelivered to consumers", func(t *core.MeterTotals, k int) uint64 { return t.Redelivered[k] }},
	{"messages_acknowledged_total", "Total number of messages acknowledged by consumers", func(t *core.MeterTotals, k int) uint64 { return t.Acked[k] }},
}

// deathHelps are the texts of the metrics of messages that died, in the order of
// core's reasons.
var deathHelps = [core.DeathReasons]struct{ name, help string }{
	{"rejected", "Total number of messages dead-lettered due to basic.reject or basic.nack"},
	{"expired", "Total number of messages dead-lettered due to message TTL exceeded"},
	{"maxlen", "Total number of messages dead-lettered due to overflow drop-head or reject-publish-dlx"},
	{"delivery_limit", "Total number of messages dead-lettered due to delivery-limit exceeded"},
}

var strategies = []struct {
	name string
	is   core.DeadLetterStrategy
}{
	{"at_most_once", core.DeadLetterAtMostOnce}, {"at_least_once", core.DeadLetterAtLeastOnce}, {"disabled", core.DeadLetterDisabled},
}

// prefix begins RabbitMQ's names.
const prefix = "rabbitmq_"

// totals are the meters' in the order of protocols; what others there are comes
// behind.
func (s *Server) totals() (names []string, all []core.MeterTotals) {
	names = append(names, protocols...)
	all = make([]core.MeterTotals, len(protocols))
next:
	for _, m := range s.opts.Broker.Meters() {
		for i, name := range names {
			if name == m.Name() {
				all[i] = m.Totals()
				continue next
			}
		}
		names, all = append(names, m.Name()), append(all, m.Totals())
	}
	return names, all
}

// hasDirect reports whether clients of a protocol may have queues that keep
// nothing.
func hasDirect(protocol string) bool { return len(protocol) > 4 && protocol[:4] == "mqtt" }

// global writes what is counted by protocol, and messages that died.
func (s *Server) global(w *writer) {
	names, all := s.totals()
	labels := make([]byte, 0, 128)
	for _, m := range protocolMetrics {
		name := prefix + "global_" + m.name
		w.head(name, m.kind, m.help)
		for i := range all {
			labels = appendLabels(labels[:0], "protocol", names[i])
			w.sample(name, labels, m.value(&all[i]))
		}
	}
	for _, m := range deliveryMetrics {
		name := prefix + "global_" + m.name
		w.head(name, counter, m.help)
		for i := range all {
			for k := range queueTypes {
				if core.QueueKind(k) == core.KindDirect && !hasDirect(names[i]) {
					continue
				}
				labels = appendLabels(labels[:0], "protocol", names[i], "queue_type", queueTypes[k])
				w.sample(name, labels, float64(m.value(&all[i], k)))
			}
		}
	}
	for reason, m := range deathHelps {
		name := prefix + "global_messages_dead_lettered_" + m.name + "_total"
		w.head(name, counter, m.help)
		for k := core.KindClassic; k <= core.KindQuorum; k++ {
			for _, strategy := range strategies {
				labels = appendLabels(labels[:0], "queue_type", queueTypes[k], "dead_letter_strategy", strategy.name)
				w.sample(name, labels, float64(s.opts.Broker.Died(k, strategy.is)[reason]))
			}
		}
	}
	name := prefix + "global_messages_dead_lettered_confirmed_total"
	w.head(name, counter, "Total number of messages dead-lettered and confirmed by target queues")
	for k := core.KindClassic; k <= core.KindQuorum; k++ {
		labels = appendLabels(labels[:0], "queue_type", queueTypes[k], "dead_letter_strategy", "at_least_once")
		w.sample(name, labels, float64(s.opts.Broker.DeadLettersConfirmed(k)))
	}
	s.sizes(w, names, all)
}

// sizes writes the histogram of bodies.
func (s *Server) sizes(w *writer, names []string, all []core.MeterTotals) {
	name := prefix + "message_size_bytes"
	w.head(name, histogram, "Size of messages received from publishers")
	bounds := core.MessageSizes()
	labels := make([]byte, 0, 128)
	for i := range all {
		n := uint64(0)
		for c, in := range all[i].Sizes {
			le := "+Inf"
			if c < len(bounds) {
				le = strconv.Itoa(bounds[c])
			}
			n += in
			labels = appendLabels(labels[:0], "protocol", names[i], "le", le)
			w.sample(name+"_bucket", labels, float64(n))
		}
		labels = appendLabels(labels[:0], "protocol", names[i])
		w.sample(name+"_count", labels, float64(n))
		w.sample(name+"_sum", labels, float64(all[i].SizeBytes))
	}
}

// churn writes what has come and gone, and what is there.
func (s *Server) churn(w *writer, p string) {
	b := s.opts.Broker
	opened, closed := b.Registry().Churn(rowConnection)
	w.one(p+"connections_opened_total", counter, "Total number of connections opened", float64(opened))
	w.one(p+"connections_closed_total", counter, "Total number of connections closed or terminated", float64(closed))
	opened, closed = b.Registry().Churn(rowChannel)
	w.one(p+"channels_opened_total", counter, "Total number of channels opened", float64(opened))
	w.one(p+"channels_closed_total", counter, "Total number of channels closed", float64(closed))
	c := b.Churn()
	w.one(p+"queues_declared_total", counter, "Total number of queues declared", float64(c.QueuesDeclared))
	w.one(p+"queues_created_total", counter, "Total number of queues created", float64(c.QueuesCreated))
	w.one(p+"queues_deleted_total", counter, "Total number of queues deleted", float64(c.QueuesDeleted))
}

// counts writes how many objects there are.
func (s *Server) counts(w *writer) {
	b := s.opts.Broker
	n, consumers := 0, int64(0)
	for _, v := range b.VHosts() {
		n += v.QueueCount()
	}
	for _, m := range b.Meters() {
		consumers += m.Totals().Consumers
	}
	w.one(prefix+"connections", gauge, "Connections currently open", float64(b.Registry().Count(rowConnection)))
	w.one(prefix+"channels", gauge, "Channels currently open", float64(b.Registry().Count(rowChannel)))
	w.one(prefix+"consumers", gauge, "Consumers currently connected", float64(consumers))
	w.one(prefix+"queues", gauge, "Queues available", float64(n))
}

// logins writes who has tried to log in.
func (s *Server) logins(w *writer, p string, sources bool) {
	attempts := s.opts.Broker.LoginAttempts()
	rows, name := attempts.Protocols(), "auth_attempts"
	if sources {
		rows, name = attempts.Sources(), "auth_attempts_detailed"
	}
	labels := make([]byte, 0, 256)
	for _, m := range []struct {
		name, help string
		value      func(r *core.LoginAttemptRow) uint64
	}{
		{"_total", "Total number of authentication attempts", func(r *core.LoginAttemptRow) uint64 { return r.Succeeded + r.Failed }},
		{"_succeeded_total", "Total number of successful authentication attempts", func(r *core.LoginAttemptRow) uint64 { return r.Succeeded }},
		{"_failed_total", "Total number of failed authentication attempts", func(r *core.LoginAttemptRow) uint64 { return r.Failed }},
	} {
		w.head(p+name+m.name, counter, m.help)
		for i := range rows {
			r := &rows[i]
			if labels = labels[:0]; sources {
				labels = appendLabels(labels, "remote_address", r.Peer, "username", r.User, "protocol", r.Protocol)
			} else {
				labels = appendLabels(labels, "protocol", r.Protocol)
			}
			w.sample(p+name+m.name, labels, float64(m.value(r)))
		}
	}
}

// alarms writes which are set.
func (s *Server) alarms(w *writer) {
	memory, disk := 0.0, 0.0
	for _, a := range s.opts.Broker.Alarms().List() {
		switch a.Resource {
		case core.MemoryResource:
			memory = 1
		case core.DiskResource:
			disk = 1
		}
	}
	w.one(prefix+"alarms_file_descriptor_limit", untyped, "is 1 if file descriptor limit alarm is in effect", 0)
	w.one(prefix+"alarms_free_disk_space_watermark", untyped, "is 1 if free disk space watermark alarm is in effect", disk)
	w.one(prefix+"alarms_memory_used_watermark", untyped, "is 1 if VM memory watermark alarm is in effect", memory)
}

// identity writes who this is; endpoint tells the dashboards what they look at.
func (s *Server) identity(w *writer, endpoint string) {
	name := prefix + "build_info"
	w.head(name, untyped, "RabbitMQ & Erlang/OTP version info")
	w.sample(name, appendLabels(nil,
		"rabbitmq_version", s.opts.RabbitVersion, "prometheus_plugin_version", s.opts.RabbitVersion, "prometheus_client_version", "none",
		"erlang_version", runtime.Version(), "product_name", "Leveret", "product_version", s.opts.Version), 1)
	name = prefix + "identity_info"
	cluster := s.opts.Cluster()
	w.head(name, untyped, "RabbitMQ node & cluster identity info")
	w.sample(name, appendLabels(nil,
		"rabbitmq_node", s.opts.Broker.NodeName(), "rabbitmq_cluster", cluster,
		"rabbitmq_cluster_permanent_id", "rabbitmq-cluster-id-"+s.opts.Broker.NodeName(), "rabbitmq_endpoint", endpoint), 1)
}
