package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
)

var fullProperties = Properties{
	ContentType: "application/json", ContentEncoding: "utf-8", Headers: someTable, DeliveryMode: Persistent, Priority: 9,
	CorrelationID: "corr", ReplyTo: "amq.rabbitmq.reply-to", Expiration: "60000", MessageID: "m-1", Timestamp: 1_700_000_000,
	Type: "order", UserID: "guest", AppID: "shop", ClusterID: "c",
}

// The properties stand in the order of their flags, from bit 15 down.
func TestPropertiesLayout(t *testing.T) {
	p := Properties{ContentType: "a", ContentEncoding: "b", Headers: Table{{"h", true}}, DeliveryMode: 2, Priority: 3, CorrelationID: "c", ReplyTo: "d",
		Expiration: "e", MessageID: "f", Timestamp: 4, Type: "g", UserID: "h", AppID: "i", ClusterID: "j"}
	const want = "fffc" + "0161" + "0162" + "00000004" + "0168" + "7401" + "02" + "03" + "0163" + "0164" + "0165" + "0166" + "0000000000000004" + "0167" + "0168" + "0169" + "016a"
	if got := hex.EncodeToString(AppendProperties(nil, &p)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// For each property: alone, present though empty, and removed again.
func TestEachPropertyAlone(t *testing.T) {
	full := reflect.ValueOf(fullProperties)
	for i := 1; i < full.NumField(); i++ {
		name, flag := full.Type().Field(i).Name, uint16(1<<15)>>(i-1)

		var alone Properties
		reflect.ValueOf(&alone).Elem().Field(i).Set(full.Field(i))
		if alone.Present() != flag {
			t.Errorf("%s: Present() = %04x, want %04x", name, alone.Present(), flag)
		}
		got := roundTrip(t, &alone)
		alone.Flags = flag
		if !reflect.DeepEqual(got, alone) {
			t.Errorf("%s alone: got %+v, want %+v", name, got, alone)
		}

		empty := Properties{Flags: flag}
		if got := roundTrip(t, &empty); !reflect.DeepEqual(got, empty) {
			t.Errorf("%s empty: got %+v", name, got)
		}

		alone.Remove(flag)
		if !reflect.DeepEqual(alone, Properties{}) {
			t.Errorf("%s removed: got %+v", name, alone)
		}
	}
}

func roundTrip(t *testing.T, p *Properties) Properties {
	t.Helper()
	props := AppendProperties(nil, p)
	info, err := ScanProperties(props)
	if err != nil || info.Flags != p.Present() {
		t.Fatalf("scan: %+v, %v", info, err)
	}
	got, err := ParseProperties(props)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestScanFindsWhatABrokerNeeds(t *testing.T) {
	props := AppendProperties(nil, &fullProperties)
	info, err := ScanProperties(props)
	if err != nil {
		t.Fatal(err)
	}
	if info.DeliveryMode != 2 || info.Priority != 9 || info.Flags != 0xfffc {
		t.Errorf("%+v", info)
	}
	for _, tt := range []struct {
		span Span
		want string
	}{{info.ReplyTo, "amq.rabbitmq.reply-to"}, {info.Expiration, "60000"}, {info.UserID, "guest"}, {info.Headers, string(AppendTableFields(nil, someTable))}} {
		if got := string(tt.span.Of(props)); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
	if info.HasCC || info.HasBCC || info.HasDelay || info.NeedsFix {
		t.Errorf("found what is not there: %+v", info)
	}
}

func TestScanLooksForHeadersAtTheTopOnly(t *testing.T) {
	for _, tt := range []struct {
		headers        Table
		cc, bcc, delay bool
	}{
		{Table{{"CC", []any{"a"}}}, true, false, false},
		{Table{{"x", nil}, {"BCC", []any{}}}, false, true, false},
		{Table{{"x-delay", int32(5)}, {"CC", nil}}, true, false, true},
		{Table{{"cc", nil}, {"X-Delay", nil}, {"CC2", nil}}, false, false, false},
		{Table{{"t", Table{{"CC", nil}, {"BCC", nil}, {"x-delay", nil}}}}, false, false, false},
	} {
		info, err := ScanProperties(AppendProperties(nil, &Properties{Headers: tt.headers}))
		if err != nil || info.HasCC != tt.cc || info.HasBCC != tt.bcc || info.HasDelay != tt.delay {
			t.Errorf("%v: %+v, %v", tt.headers, info, err)
		}
	}
}

// amqp091-go, the Java client and amqplib close the connection on an L, and
// pika looks for further flags if bit 0 is set.
func TestFixMakesPropsReadableForEveryClient(t *testing.T) {
	want := Properties{DeliveryMode: 2, Headers: Table{
		{"L", int64(-1)},
		{"LLLL", "LLLL"},
		{"nested", Table{{"L", int64(1 << 40)}, {"array", []any{int64(2), Table{{"deep", int64(3)}}}}}},
		{"after", int64(4)},
	}}
	clean := AppendProperties(nil, &want)
	want.Flags = want.Present()

	for _, tt := range []struct {
		name  string
		dirty func(b []byte) []byte
	}{
		{"L for l", func(b []byte) []byte {
			// Values of -1, 1<<40, 2, 3, 4, each found with its letter.
			for _, v := range []string{"l\xff\xff\xff\xff", "l\x00\x00\x01\x00", "l\x00\x00\x00\x00\x00\x00\x00\x02", "l\x00\x00\x00\x00\x00\x00\x00\x03", "l\x00\x00\x00\x00\x00\x00\x00\x04"} {
				if bytes.Count(b, []byte(v)) != 1 {
					t.Fatalf("%q is not there once", v)
				}
				b = bytes.Replace(b, []byte(v), []byte("L"+v[1:]), 1)
			}
			return b
		}},
		{"only the innermost", func(b []byte) []byte {
			return bytes.Replace(b, []byte("l\x00\x00\x00\x00\x00\x00\x00\x03"), []byte("L\x00\x00\x00\x00\x00\x00\x00\x03"), 1)
		}},
		{"a flag that announces flags", func(b []byte) []byte { b = bytes.Clone(b); b[1] |= 1; return b }},
		{"both unused flags", func(b []byte) []byte { b = bytes.Clone(b); b[1] |= 3; return b }},
	} {
		props := tt.dirty(clean)
		if bytes.Equal(props, clean) {
			t.Fatalf("%s: nothing was made dirty", tt.name)
		}
		info, err := ScanProperties(props)
		if err != nil || !info.NeedsFix {
			t.Fatalf("%s: %+v, %v", tt.name, info, err)
		}
		if got, err := ParseProperties(props); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: parsed as %+v, %v", tt.name, got, err)
		}
		info.Fix(props)
		if !bytes.Equal(props, clean) || info.NeedsFix {
			t.Errorf("%s:\ngot  %q\nwant %q", tt.name, props, clean)
		}
	}
}

func TestBrokenProperties(t *testing.T) {
	full := AppendProperties(nil, &fullProperties)
	for n := range full {
		checkRefused(t, full[:n:n], ErrProperties)
	}
	checkRefused(t, append(full, 0), ErrProperties)

	headers := func(fields string) []byte {
		return append([]byte{0x20, 0, 0, 0, 0, byte(len(fields))}, fields...)
	}
	for _, fields := range []string{"\x01k", "\x02k", "\x01kU", "\x01kI\x00\x00\x00", "\x01kS\x00\x00\x00\x01", "\x01kF\xff\xff\xff\xff", "\x01kA\x00\x00\x00\x01U", "\x01kF\x00\x00\x00\x01a", "\x01kt"} {
		checkRefused(t, headers(fields), ErrTable)
	}
	checkRefused(t, AppendProperties(nil, &Properties{Headers: nested(MaxTableDepth + 1)}), ErrTableDepth)
	if _, err := ScanProperties(AppendProperties(nil, &Properties{Headers: nested(MaxTableDepth)})); err != nil {
		t.Errorf("as deep as allowed: %v", err)
	}
	checkRefused(t, AppendProperties(nil, &Properties{Headers: nested(20_000)}), ErrTableDepth)
}

func checkRefused(t *testing.T, props []byte, want error) {
	t.Helper()
	if _, err := ScanProperties(props); !errors.Is(err, want) {
		t.Errorf("scan of %.40x: %v, want %v", props, err, want)
	}
	if _, err := ParseProperties(props); !errors.Is(err, want) {
		t.Errorf("parse of %.40x: %v, want %v", props, err, want)
	}
}

func TestContentHeader(t *testing.T) {
	frame := AppendContentHeader([]byte("x"), 9, 1<<33, &fullProperties)[1:]
	if want := AppendHeaderRaw(nil, 9, 1<<33, AppendProperties(nil, &fullProperties)); !bytes.Equal(frame, want) {
		t.Errorf("got  %x\nwant %x", frame, want)
	}
	f, _, err := ParseFrame(frame, 1<<16)
	if err != nil || f.Type != FrameHeader || f.Channel != 9 || len(frame) != ContentHeaderSize(AppendProperties(nil, &fullProperties)) {
		t.Fatalf("%+v, %v", f, err)
	}
	class, size, props, err := ParseContentHeader(f.Payload)
	if class != ClassBasic || size != 1<<33 || err != nil || !bytes.Equal(props, AppendProperties(nil, &fullProperties)) {
		t.Errorf("class %d, size %d, %v", class, size, err)
	}
	for _, bad := range []string{"", strings.Repeat("\x00", 13), "\x00\x3c\x00\x01" + strings.Repeat("\x00", 10)} {
		if _, _, _, err := ParseContentHeader([]byte(bad)); !errors.Is(err, ErrContentHeader) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
