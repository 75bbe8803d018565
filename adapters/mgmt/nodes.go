package mgmt

import (
	"os"
	"runtime"
	"strconv"
	"time"

	"leveret/adapters/mgmt/internal/process"
	"leveret/core"
)

func (c *call) getNodes() error {
	return c.list([]row{{"", c.s.node(), c.s.nodeObject}})
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
	return c.one(c.s.nodeObject())
}

// getNodeMemory has no breakdown as Erlang has one; tools know this answer.
func (c *call) getNodeMemory() error {
	if err := c.thisNode(); err != nil {
		return err
	}
	return c.ok(object{"memory": "not_available"})
}

// nodeValues are what this process uses, in the order of ratedNames.
func (s *Server) nodeValues() values {
	free, _ := s.broker.Alarms().DiskFree()
	return values{process.ResidentBytes(), int64(process.OpenFiles()), int64(runtime.NumGoroutine()), max(free, 0)}
}

// goroutinesMax stands where Erlang's limit of processes does: there is none,
// and clients divide by it.
const goroutinesMax = 1 << 20

func (s *Server) nodeObject() object {
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
		"uptime": time.Since(s.started).Milliseconds(), "run_queue": 0, "processors": runtime.NumCPU(), "rates_mode": "basic",
		"mem_limit": memory.Limit(), "mem_alarm": memoryAlarm, "mem_calculation_strategy": "rss",
		"disk_free_limit": diskLimit, "disk_free_alarm": diskAlarm, "fd_total": process.FileLimit(), "proc_total": goroutinesMax,
		"partitions": []string{}, "cluster_links": []string{}, "applications": []object{}, "log_files": []string{}, "config_files": []string{},
		"enabled_plugins": plugins, "exchange_types": exchangeTypes(), "contexts": s.contexts(),
		"auth_mechanisms": []object{
			{"name": "PLAIN", "description": "SASL PLAIN authentication mechanism", "enabled": true},
			{"name": "AMQPLAIN", "description": "QPid AMQPLAIN mechanism", "enabled": true},
		},
		"db_dir": ":memory:", "net_ticktime": 60,
	}
	s.rates.put(out, rateKey{kind: ratedNode}, is, 0, len(is))
	return out
}
