//go:build !race

package wire

import (
	"runtime"
	"testing"
)

// What runs per message allocates nothing. The race detector does, so these
// tests leave it alone.
func TestHotPathDoesNotAllocate(t *testing.T) {
	props := AppendProperties(nil, benchProperties["celery"])
	body := make([]byte, 20_000)
	out := make([]byte, 0, 64<<10)
	publish := (&BasicPublish{Exchange: "ex", RoutingKey: "key"}).Append(nil)
	deliver := (&BasicDeliver{ConsumerTag: "tag", Exchange: "ex", RoutingKey: "key"}).Append(nil)
	ack := (&BasicAck{}).Append(nil)
	frame := AppendAck(nil, 1, 1, false)
	header := AppendHeaderRaw(nil, 1, 128, props)[FrameHeaderSize:][:12+len(props)]
	badL := append([]byte{0x20, 0x01, 0, 0, 0, 11}, "\x01kL\x00\x00\x00\x00\x00\x00\x00\x01"...)

	for name, f := range map[string]func() error{
		"ParseFrame":         func() error { _, _, err := ParseFrame(frame, 4096); return err },
		"ParseFrame of part": func() error { _, _, err := ParseFrame(frame[:15], 4096); return err },
		"ParseFrame of 3 bytes": func() error {
			_, _, err := ParseFrame(frame[:3], 4096)
			return err
		},
		"ParsePublish":         func() error { _, _, _, _, err := ParsePublish(publish); return err },
		"ParseDeliver":         func() error { _, _, _, _, _, err := ParseDeliver(deliver); return err },
		"ParseAck":             func() error { _, _, err := ParseAck(ack); return err },
		"ParseNack":            func() error { _, _, _, err := ParseNack(ack); return err },
		"ParseReject":          func() error { _, _, err := ParseReject(ack); return err },
		"ParseContentHeader":   func() error { _, _, _, err := ParseContentHeader(header); return err },
		"ScanProperties":       func() error { _, err := ScanProperties(props); return err },
		"Fix":                  func() error { info, err := ScanProperties(badL); info.Fix(badL); return err },
		"AppendDelivery":       func() error { AppendDelivery(out, 1, "tag", 1, true, "ex", "key", props, body[:128], 4096); return nil },
		"AppendDelivery large": func() error { AppendDelivery(out, 1, "tag", 1, true, "ex", "key", props, body, 4096); return nil },
		"AppendPublish":        func() error { AppendPublish(out, 1, "ex", "key", true, props, body[:128], 4096); return nil },
		"AppendPublish large":  func() error { AppendPublish(out, 1, "ex", "key", true, props, body, 4096); return nil },
		"AppendGetOk":          func() error { AppendGetOk(out, 1, 1, false, "ex", "key", 0); return nil },
		"AppendReturn":         func() error { AppendReturn(out, 1, ReplyNoRoute, "NO_ROUTE", "ex", "key"); return nil },
		"AppendContent":        func() error { AppendContent(out, 1, props, body, 4096); return nil },
		"AppendHeaderRaw":      func() error { AppendHeaderRaw(out, 1, 1, props); return nil },
		"AppendFrameHeader":    func() error { AppendFrameHeader(out, FrameBody, 1, 1); return nil },
		"AppendAck":            func() error { AppendAck(out, 1, 1, true); return nil },
		"AppendNack":           func() error { AppendNack(out, 1, 1, true, true); return nil },
		"AppendReject":         func() error { AppendReject(out, 1, 1, true); return nil },
		"AppendHeartbeat":      func() error { AppendHeartbeat(out); return nil },
	} {
		if err := f(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := testing.AllocsPerRun(100, func() { f() }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// A table costs memory in proportion to its bytes, however they are nested:
// 16 bytes for a byte of voids in an array is the worst, and slices grow by
// doubling.
func TestTablesDoNotBlowUp(t *testing.T) {
	const size = 64 << 10
	voids := append([]byte{1, 'a', 'A', 0, 1, 0, 0}, make([]byte, size)...)
	for i := range voids[7:] {
		voids[7+i] = 'V'
	}
	deep := AppendTableFields(nil, nested(MaxTableDepth))
	var wide []byte
	for len(wide) < size {
		wide = append(wide, deep...)
	}
	for name, b := range map[string][]byte{"voids": voids, "deep": wide} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := DecodeTable(b); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > uint64(100*len(b)) {
			t.Errorf("%s: %d bytes became %d", name, len(b), got)
		}
	}
}
