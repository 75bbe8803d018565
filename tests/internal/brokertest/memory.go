package brokertest

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// RSS is how many bytes of the broker's memory are resident.
func (b *Broker) RSS() (int64, error) { return b.status("VmRSS:") }

// PeakRSS is the most that RSS was since ResetPeak or the start.
func (b *Broker) PeakRSS() (int64, error) { return b.status("VmHWM:") }

// ResetPeak begins a new measurement of PeakRSS.
func (b *Broker) ResetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", b.PID()), []byte("5"), 0)
}

func (b *Broker) status(key string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.PID()))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == key {
			kb, err := strconv.ParseInt(f[1], 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("no %s in the status of process %d", key, b.PID())
}

// Heap is the number of bytes that live on the broker's heap: it has garbage
// collected first.
func (b *Broker) Heap() (int64, error) {
	client := http.Client{Timeout: 30 * time.Second}
	resp, err := client.Get("http://" + b.Pprof + "/debug/pprof/heap?gc=1&debug=1")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if v, ok := strings.CutPrefix(lines.Text(), "# HeapAlloc = "); ok {
			return strconv.ParseInt(v, 10, 64)
		}
	}
	return 0, fmt.Errorf("no HeapAlloc in the heap profile: %w", lines.Err())
}
