package mgmt

import (
	"cmp"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"time"

	"leveret/adapters/mgmt/internal/memory"
	"leveret/adapters/mgmt/internal/process"
	"leveret/core"
)

func (c *call) getNodes() error {
	return c.list([]row{{"", c.s.node(), c.nodeObject}})
}

// thisNode checks that the path names the one node there is.
func (c *call) thisNode() error {
	if c.param("node") != c.s.node() {
		return errNotFound
	}
	return nil
}

func (c *call) getNode() error {
	if err := c.thisNode(); err != nil {
		return err
	}
	return c.one(c.nodeObject())
}

// getNodeMemory says what memory is used for, under RabbitMQ's names of parts of
// an Erlang node.
func (c *call) getNodeMemory() error {
	if err := c.thisNode(); err != nil {
		return err
	}
	m := memory.Of(c.s.broker, c.s.HistoryBytes())
	out := object{"strategy": "rss", "total": object{"erlang": m.Runtime, "rss": m.RSS, "allocated": m.Allocated}}
	for _, part := range m.Parts {
		out[part.Name] = part.Bytes
	}
	return c.ok(object{"memory": out})
}

// getNodeMemoryRelative says which part of the memory in use each part is, in
// percent.
func (c *call) getNodeMemoryRelative() error {
	if err := c.thisNode(); err != nil {
		return err
	}
	m := memory.Of(c.s.broker, c.s.HistoryBytes())
	out, total := object{"total": 100}, int64(1)
	for _, part := range m.Parts {
		total += part.Bytes
	}
	for _, part := range m.Parts {
		out[part.Name] = (100*part.Bytes + total/2) / total
	}
	return c.ok(object{"memory": out})
}

// resetStatistics forgets rates and history. What is counted stays: clients and
// scrapers take a counter that goes down for a restart.
func (c *call) resetStatistics() error {
	if node := c.param("node"); node != "" && node != c.s.node() {
		return errNotFound
	}
	c.s.rates.reset()
	return c.done(false)
}

// nodeValues are what this process uses, in the order of ratedNames.
func (s *Server) nodeValues() values {
	free, _ := s.broker.Alarms().DiskFree()
	read, written := process.IOCounts()
	samples := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}, {Name: "/gc/heap/frees:bytes"}}
	metrics.Read(samples)
	return values{
		process.ResidentBytes(), int64(process.OpenFiles()), int64(runtime.NumGoroutine()), max(free, 0),
		int64(s.broker.Registry().Count(rowConnection)), read, written,
		int64(samples[0].Value.Uint64()), int64(samples[1].Value.Uint64()),
	}
}

// goroutinesMax stands where Erlang's limit of processes does: there is none,
// and clients divide by it.
const goroutinesMax = 1 << 20

func (c *call) nodeObject() object {
	s := c.s
	if c.noStats() {
		return object{"name": s.node(), "type": "disc", "running": true, "being_drained": s.suspended()}
	}
	memory := s.broker.Memory()
	memoryAlarm, diskAlarm := false, false
	for _, a := range s.broker.Alarms().List() {
		memoryAlarm = memoryAlarm || a.Resource == core.MemoryResource
		diskAlarm = diskAlarm || a.Resource == core.DiskResource
	}
	_, diskLimit := s.broker.Alarms().DiskFree()
	is := s.nodeValues()
	out := object{
		"name": s.node(), "type": "disc", "running": true, "being_drained": s.suspended(), "os_pid": strconv.Itoa(os.Getpid()),
		"uptime": time.Since(s.started).Milliseconds(), "run_queue": 0, "processors": runtime.NumCPU(), "rates_mode": s.ratesMode(),
		"mem_limit": memory.Limit(), "mem_alarm": memoryAlarm, "mem_calculation_strategy": "rss",
		"disk_free_limit": diskLimit, "disk_free_alarm": diskAlarm, "fd_total": process.FileLimit(), "proc_total": goroutinesMax,
		"partitions": []string{}, "cluster_links": []string{}, "applications": []object{}, "log_files": []string{}, "config_files": []string{},
		"enabled_plugins": plugins, "exchange_types": exchangeTypes(), "contexts": s.contexts(),
		"auth_mechanisms": []object{
			{"name": "PLAIN", "description": "SASL PLAIN authentication mechanism", "enabled": true},
			{"name": "AMQPLAIN", "description": "QPid AMQPLAIN mechanism", "enabled": true},
		},
		"db_dir": cmp.Or(s.opts.DataDir, ":memory:"), "net_ticktime": 60,
	}
	s.rates.put(out, rateKey{kind: ratedNode}, is, 0, len(is), c.spans.node)
	churn := s.churnValues()
	s.rates.put(out, rateKey{kind: ratedChurn}, churn, 0, len(churn), c.spans.node)
	return out
}
