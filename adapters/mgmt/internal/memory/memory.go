// Package memory says what the broker's memory is used for, under the names that
// RabbitMQ has for parts of an Erlang node. It keeps no state.
package memory

import (
	"runtime/metrics"

	"leveret/adapters/mgmt/internal/process"
	"leveret/core"
)

// Part is memory with a purpose.
type Part struct {
	Name  string
	Bytes int64
}

// Breakdown is what memory is used for. The parts add up to about the greatest of
// the totals.
type Breakdown struct {
	Parts     []Part
	Runtime   int64 // What Go's runtime uses of what it has.
	RSS       int64
	Allocated int64 // What Go's runtime has from the system.
}

// names are RabbitMQ's. Parts that only an Erlang node has are 0.
var names = []string{
	"connection_readers", "connection_writers", "connection_channels", "connection_other",
	"queue_procs", "quorum_queue_procs", "quorum_queue_dlx_procs", "stream_queue_procs", "stream_queue_replica_reader_procs", "stream_queue_coordinator_procs",
	"plugins", "metadata_store", "other_proc", "metrics", "mgmt_db", "mnesia", "quorum_ets", "metadata_store_ets", "other_ets",
	"binary", "msg_index", "code", "atom", "other_system", "allocated_unused", "reserved_unallocated",
}

// classes are the parts of what Go's runtime has that are told apart here.
var classes = []string{
	"/memory/classes/total:bytes", "/memory/classes/heap/released:bytes", "/memory/classes/heap/free:bytes", "/memory/classes/heap/unused:bytes",
	"/memory/classes/heap/objects:bytes", "/memory/classes/heap/stacks:bytes",
}

// Of finds out what b's memory is used for. history is what statistics take.
//
//	queue_procs, quorum_queue_procs, stream_queue_procs: the queues by type
//	binary: messages that several queues share, and what waits for clients
//	other_proc: stacks of goroutines
//	mgmt_db: statistics
//	other_ets: the rest of the heap, garbage included
//	other_system: the runtime's own
func Of(b *core.Broker, history int64) Breakdown {
	samples := make([]metrics.Sample, len(classes))
	for i := range classes {
		samples[i].Name = classes[i]
	}
	metrics.Read(samples)
	class := func(i int) int64 { return int64(samples[i].Value.Uint64()) }
	total, released, free, unused, heap, stacks := class(0), class(1), class(2), class(3), class(4), class(5)

	is := map[string]int64{}
	var queues int64
	for _, v := range b.VHosts() {
		for q := range v.Queues() {
			i := q.Summary()
			queues += i.MemoryBytes
			switch i.Options.Type {
			case core.QueueQuorum:
				is["quorum_queue_procs"] += i.MemoryBytes
			case core.QueueStream:
				is["stream_queue_procs"] += i.MemoryBytes
			default:
				is["queue_procs"] += i.MemoryBytes
			}
		}
	}
	is["binary"] = max(0, b.Memory().Live()-queues)
	is["mgmt_db"] = history
	is["other_proc"] = stacks
	is["other_ets"] = max(0, heap-queues-is["binary"]-history)
	is["allocated_unused"] = free + unused
	is["other_system"] = max(0, total-released-free-unused-heap-stacks)
	out := Breakdown{Runtime: total - released - free - unused, RSS: process.ResidentBytes(), Allocated: total - released}
	is["reserved_unallocated"] = max(0, out.RSS-out.Allocated)
	for _, name := range names {
		out.Parts = append(out.Parts, Part{name, is[name]})
	}
	return out
}
