package wire

import (
	"bytes"
	"testing"
)

func TestParseStartOk(t *testing.T) {
	m := &ConnectionStartOk{
		ClientProperties: Table{
			{Name: "skipped", Value: []any{nil, nil}},
			{Name: "capabilities", Value: Table{{Name: "yes", Value: true}, {Name: "no", Value: false}}},
			{Name: "connection_name", Value: "me"}, {Name: "connection_name", Value: "not me"},
		},
		Mechanism: "PLAIN", Response: []byte("\x00a\x00b"), Locale: "en_US",
	}
	payload := m.Append(nil)
	properties, mechanism, response, err := ParseStartOk(payload)
	if err != nil || mechanism != "PLAIN" || !bytes.Equal(response, m.Response) {
		t.Fatalf("got %q %q %v", mechanism, response, err)
	}
	if l, v, ok := FindField(properties, "connection_name"); !ok || l != 'S' || string(v) != "me" {
		t.Errorf("got %c %q %v", l, v, ok)
	}
	l, v, ok := FindField(properties, "capabilities")
	if !ok || l != 'F' {
		t.Fatalf("got %c %v", l, ok)
	}
	if l, v, ok := FindField(v, "yes"); !ok || l != 't' || v[0] != 1 {
		t.Errorf("got %c %q %v", l, v, ok)
	}
	if _, _, ok := FindField(v, "maybe"); ok {
		t.Error("found what is not there")
	}
	for n := range payload {
		if _, _, _, err := ParseStartOk(payload[:n]); err == nil {
			t.Errorf("%d bytes of %d are enough", n, len(payload))
		}
	}
	for n := range properties {
		FindField(properties[:n], "none") // Broken, but no reason to panic.
	}
	if n := testing.AllocsPerRun(100, func() { FindField(properties, "connection_name") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
