package prometheus

import (
	"runtime"
	"runtime/metrics"
	"time"

	"leveret/adapters/mgmt/internal/process"
)

// goroutinesMax stands where Erlang's limit of processes does.
const goroutinesMax = 1 << 20

// node writes what the process uses, under RabbitMQ's names.
func (s *Server) node(w *writer, p string, coarse, rest, persister bool) {
	free, limit := s.opts.Broker.Alarms().DiskFree()
	if coarse {
		w.one(p+"process_open_fds", gauge, "Open file descriptors", float64(process.OpenFiles()))
		w.one(p+"process_resident_memory_bytes", gauge, "Memory used in bytes", float64(process.ResidentBytes()))
		w.one(p+"disk_space_available_bytes", gauge, "Disk space available in bytes", float64(max(free, 0)))
		w.one(p+"erlang_processes_used", gauge, "Goroutines, where RabbitMQ has Erlang processes", float64(runtime.NumGoroutine()))
	}
	if rest {
		w.one(p+"process_max_fds", gauge, "Open file descriptors limit", float64(process.FileLimit()))
		w.one(p+"resident_memory_limit_bytes", gauge, "Memory high watermark in bytes", float64(s.opts.Broker.Memory().Limit()))
		w.one(p+"disk_space_available_limit_bytes", gauge, "Free disk space low watermark in bytes", float64(limit))
		w.one(p+"erlang_processes_limit", gauge, "A number that goroutines are far from", goroutinesMax)
		w.one(p+"erlang_uptime_seconds", gauge, "Node uptime", time.Since(s.opts.Started).Seconds())
	}
	if persister {
		read, written := process.IOCounts()
		w.one(p+"io_read_bytes_total", counter, "Total number of I/O bytes read", float64(read))
		w.one(p+"io_write_bytes_total", counter, "Total number of I/O bytes written", float64(written))
	}
}

// goMetrics are figures of Go's runtime that are read without stopping it, under
// the names that Go's own client for Prometheus gave them.
var goMetrics = []struct {
	source, name string
	kind         kind
	help         string
}{
	{"/sched/goroutines:goroutines", "go_goroutines", gauge, "Number of goroutines that currently exist"},
	{"/sched/gomaxprocs:threads", "go_sched_gomaxprocs_threads", gauge, "The current runtime.GOMAXPROCS setting"},
	{"/gc/cycles/total:gc-cycles", "go_gc_cycles_total_gc_cycles_total", counter, "Count of all completed GC cycles"},
	{"/gc/gogc:percent", "go_gc_gogc_percent", gauge, "Heap size target percentage"},
	{"/gc/gomemlimit:bytes", "go_gc_gomemlimit_bytes", gauge, "Go runtime memory limit"},
	{"/gc/heap/allocs:bytes", "go_memstats_alloc_bytes_total", counter, "Total number of bytes allocated in heap until now, even if released already"},
	{"/gc/heap/allocs:objects", "go_memstats_mallocs_total", counter, "Total number of heap objects allocated, both live and gc-ed"},
	{"/gc/heap/frees:objects", "go_memstats_frees_total", counter, "Total number of heap objects frees"},
	{"/gc/heap/goal:bytes", "go_memstats_next_gc_bytes", gauge, "Number of heap bytes when next garbage collection will take place"},
	{"/gc/heap/objects:objects", "go_memstats_heap_objects", gauge, "Number of currently allocated objects"},
	{"/memory/classes/heap/objects:bytes", "go_memstats_heap_alloc_bytes", gauge, "Number of heap bytes allocated and currently in use"},
	{"/memory/classes/heap/free:bytes", "go_memory_classes_heap_free_bytes", gauge, "Memory that is completely free and eligible to be returned to the underlying system"},
	{"/memory/classes/heap/released:bytes", "go_memstats_heap_released_bytes", gauge, "Number of heap bytes released to OS"},
	{"/memory/classes/heap/stacks:bytes", "go_memstats_stack_inuse_bytes", gauge, "Number of bytes obtained from system for stack allocator in non-CGO environments"},
	{"/memory/classes/total:bytes", "go_memstats_sys_bytes", gauge, "Number of bytes obtained from system"},
	{"/cpu/classes/gc/total:cpu-seconds", "go_cpu_classes_gc_total_cpu_seconds_total", counter, "Estimated total CPU time spent performing GC tasks"},
	{"/sync/mutex/wait/total:seconds", "go_sync_mutex_wait_total_seconds_total", counter, "Approximate cumulative time goroutines have spent blocked on a mutex"},
}

// goRuntime writes them, and what the process uses under the names that every
// exporter has.
func (s *Server) goRuntime(w *writer) {
	samples := make([]metrics.Sample, len(goMetrics))
	for i := range goMetrics {
		samples[i].Name = goMetrics[i].source
	}
	metrics.Read(samples)
	for i, m := range goMetrics {
		switch v := samples[i].Value; v.Kind() {
		case metrics.KindUint64:
			w.one(m.name, m.kind, m.help, float64(v.Uint64()))
		case metrics.KindFloat64:
			w.one(m.name, m.kind, m.help, v.Float64())
		}
	}
	w.head("go_info", gauge, "Information about the Go environment")
	w.sample("go_info", appendLabels(nil, "version", runtime.Version()), 1)
	w.one("process_cpu_seconds_total", counter, "Total user and system CPU time spent in seconds", process.CPUSeconds())
	w.one("process_resident_memory_bytes", gauge, "Resident memory size in bytes", float64(process.ResidentBytes()))
	w.one("process_virtual_memory_bytes", gauge, "Virtual memory size in bytes", float64(process.VirtualBytes()))
	w.one("process_open_fds", gauge, "Number of open file descriptors", float64(process.OpenFiles()))
	w.one("process_max_fds", gauge, "Maximum number of open file descriptors", float64(process.FileLimit()))
	w.one("process_start_time_seconds", gauge, "Start time of the process since unix epoch in seconds", float64(s.opts.Started.UnixMilli())/1000)
	w.one("leveret_memory_live_bytes", gauge, "What messages and their upkeep take, by the account that the memory limit is about", float64(s.opts.Broker.Memory().Live()))
}
