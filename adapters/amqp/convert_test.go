package amqp

import (
	"bytes"
	"reflect"
	"testing"

	"leveret/adapters/amqp/wire"
	"leveret/core"
)

// TestPropertiesConvert: what was decoded encodes to the same bytes, whatever
// is set, an empty string too.
func TestPropertiesConvert(t *testing.T) {
	all := wire.Properties{
		ContentType: "a", ContentEncoding: "b", DeliveryMode: 2, Priority: 7, CorrelationID: "c", ReplyTo: "d", Expiration: "60",
		MessageID: "e", Timestamp: 1700000000, Type: "f", UserID: "guest", AppID: "g", ClusterID: "h",
		Headers: wire.Table{
			{Name: "void", Value: nil}, {Name: "bool", Value: true}, {Name: "int8", Value: int8(-1)}, {Name: "uint8", Value: uint8(1)},
			{Name: "int16", Value: int16(-2)}, {Name: "uint16", Value: uint16(2)}, {Name: "int32", Value: int32(-3)}, {Name: "uint32", Value: uint32(3)},
			{Name: "int64", Value: int64(-4)}, {Name: "float32", Value: float32(1.5)}, {Name: "float64", Value: 2.5}, {Name: "decimal", Value: wire.Decimal{Scale: 2, Value: 314}},
			{Name: "string", Value: "s"}, {Name: "bytes", Value: []byte("b")}, {Name: "time", Value: wire.Timestamp(5)},
			{Name: "table", Value: wire.Table{{Name: "in", Value: wire.Decimal{Scale: 1, Value: 1}}}},
			{Name: "array", Value: []any{int32(1), "two", wire.Table{{Name: "three", Value: wire.Timestamp(3)}}}},
		},
	}
	empty := wire.Properties{Flags: 0xFFFC &^ wire.FlagDeliveryMode} // A delivery mode of 0 is none.
	for _, p := range []wire.Properties{all, empty, {}} {
		raw := wire.AppendProperties(nil, &p)
		decoded, err := propertyCodec{}.DecodeProperties(raw)
		if err != nil {
			t.Fatal(err)
		}
		if again := (propertyCodec{}).AppendProperties(nil, decoded); !bytes.Equal(again, raw) {
			t.Errorf("%+v\ncame back as %x\nnot as       %x", decoded, again, raw)
		}
	}
	decoded, _ := propertyCodec{}.DecodeProperties(wire.AppendProperties(nil, &all))
	if v, _ := decoded.Headers.Get("decimal"); v != (core.Decimal{Scale: 2, Value: 314}) {
		t.Errorf("decimal is %T %v", v, v)
	}
	if v, _ := decoded.Headers.Get("array"); !reflect.DeepEqual(v, []any{int32(1), "two", core.Table{{Name: "three", Value: core.Timestamp(3)}}}) {
		t.Errorf("array is %v", v)
	}
	if *decoded.Timestamp != 1700000000 || *decoded.Priority != 7 || *decoded.Expiration != "60" {
		t.Errorf("got %+v", decoded)
	}
	if _, err := (propertyCodec{}).DecodeProperties([]byte{0x80, 0}); err == nil {
		t.Error("broken properties were decoded")
	}
}

func TestParseExpiration(t *testing.T) {
	for s, want := range map[string]int64{"0": 0, "+5": 5, "007": 7, "-0": 0, "315360000000": maxExpirationMS} {
		if ms, bad := parseExpiration(s); ms != want || bad != "" {
			t.Errorf("%q: %d %s", s, ms, bad)
		}
	}
	for s, want := range map[string]string{
		"": "no_integer", "x": "no_integer", " 5": "no_integer", "+-5": "no_integer", "-": "no_integer",
		"5.5": `{leftover_string,".5"}`, "-12": "{value_negative,-12}", "315360000001": "{value_too_large,315360000001}",
		"99999999999999999999999": "{value_too_large,99999999999999999999999}",
	} {
		if _, bad := parseExpiration(s); bad != want {
			t.Errorf("%q: %s, want %s", s, bad, want)
		}
	}
}

// TestAddHeader: the header added is the last one, and all else is as before.
func TestAddHeader(t *testing.T) {
	headers := wire.Table{{Name: "a", Value: "b"}}
	for _, p := range []wire.Properties{
		{},
		{ContentType: "text/plain", ContentEncoding: "gzip", DeliveryMode: 2, MessageID: "m"},
		{ContentType: "text/plain", Headers: headers, Priority: 3, AppID: "app"},
		{Headers: headers},
		{Flags: wire.FlagHeaders, Type: "t"},
	} {
		raw := wire.AppendProperties(nil, &p)
		want, err := propertyCodec{}.DecodeProperties(raw)
		if err != nil {
			t.Fatal(err)
		}
		want.Headers, want.HeadersSet = want.Headers.With("x-stream-offset", int64(1<<40)), true
		got, err := propertyCodec{}.DecodeProperties(propertyCodec{}.AddHeader([]byte("before"), raw, "x-stream-offset", 1<<40)[len("before"):])
		if err != nil {
			t.Fatalf("%+v: %v", p, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%+v became %+v", want, got)
		}
	}
}
