package wire

import (
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// someTable has one value of each type.
var someTable = Table{
	{"void", nil}, {"bool", true}, {"int8", int8(-1)}, {"uint8", uint8(200)}, {"int16", int16(-2)},
	{"uint16", uint16(65535)}, {"int32", int32(-3)}, {"uint32", uint32(1 << 31)}, {"int64", int64(-4)},
	{"float32", float32(0.5)}, {"float64", 0.25}, {"decimal", Decimal{2, 314}}, {"time", Timestamp(1 << 33)},
	{"string", "text\xff"}, {"bytes", []byte{0, 1}},
	{"table", Table{{"inner", "x"}, {"inner", "second"}}},
	{"array", []any{nil, "a", []any{int32(1)}, Table{{"k", false}}}},
}

// fill sets every field of a method to something that is not its zero value.
func fill(m Method) {
	v := reflect.ValueOf(m).Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		switch f.Interface().(type) {
		case bool:
			f.SetBool(true)
		case string:
			f.SetString(fmt.Sprintf("field-%d-ü", i))
		case []byte:
			f.SetBytes([]byte{0, byte(i), 0xff})
		case Table:
			f.Set(reflect.ValueOf(someTable))
		default:
			f.SetUint(uint64(100 + i))
		}
	}
}

func TestEveryMethodSurvivesTheWire(t *testing.T) {
	for id, info := range methods {
		t.Run(info.name, func(t *testing.T) {
			for _, filled := range []bool{false, true} {
				want := info.new()
				if filled {
					fill(want)
				}
				if want.ID() != id {
					t.Fatalf("ID() = %d.%d, listed as %d.%d", ClassOf(want.ID()), MethodOf(want.ID()), ClassOf(id), MethodOf(id))
				}
				frame := AppendMethod([]byte("before"), 7, want)[len("before"):]
				f, n, err := ParseFrame(frame, 1<<20)
				if err != nil || n != len(frame) || f.Type != FrameMethod || f.Channel != 7 {
					t.Fatalf("ParseFrame: %+v, %d of %d bytes, %v", f, n, len(frame), err)
				}
				got, err := DecodeMethod(f.Payload)
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(got, want) {
					t.Errorf("got  %+v\nwant %+v", got, want)
				}
			}
		})
	}
}

// Flags are where a codec goes wrong unseen: each must have its own bit.
func TestEveryFlagStandsAlone(t *testing.T) {
	for _, info := range methods {
		n := reflect.TypeOf(info.new()).Elem().NumField()
		for i := range n {
			m := info.new()
			f := reflect.ValueOf(m).Elem().Field(i)
			if f.Kind() != reflect.Bool {
				continue
			}
			f.SetBool(true)
			got, err := DecodeMethod(m.Append(nil))
			if err != nil || !reflect.DeepEqual(got, m) {
				t.Errorf("%s: got %+v, %v, want %+v", info.name, got, err, m)
			}
		}
	}
}

// The bytes are written out by hand from the table of methods in the
// specification, since encoder and decoder could agree on a mistake.
func TestMethodLayout(t *testing.T) {
	for _, tt := range []struct {
		m   Method
		hex string
	}{
		{&ConnectionStart{VersionMajor: 0, VersionMinor: 9, ServerProperties: Table{{"p", "L"}}, Mechanisms: "PLAIN", Locales: "en_US"},
			"000a000a 00 09 00000008 0170 53 00000001 4c 00000005 504c41494e 00000005 656e5f5553"},
		{&ConnectionStartOk{Mechanism: "PLAIN", Response: []byte("\x00u\x00p"), Locale: "en"},
			"000a000b 00000000 05 504c41494e 00000004 00750070 02 656e"},
		{&ConnectionTune{ChannelMax: 2047, FrameMax: 131072, Heartbeat: 60}, "000a001e 07ff 00020000 003c"},
		{&ConnectionTuneOk{ChannelMax: 2047, FrameMax: 131072, Heartbeat: 60}, "000a001f 07ff 00020000 003c"},
		{&ConnectionOpen{VirtualHost: "/"}, "000a0028 012f 00 00"},
		{&ConnectionOpenOk{}, "000a0029 00"},
		{&ConnectionClose{Code: 200, Text: "ok", Class: 60, Method: 40}, "000a0032 00c8 026f6b 003c 0028"},
		{&ConnectionBlocked{Reason: "m"}, "000a003c 016d"},
		{&ConnectionUpdateSecret{NewSecret: []byte("s"), Reason: "r"}, "000a0046 0000000173 0172"},
		{&ChannelOpen{}, "0014000a 00"},
		{&ChannelOpenOk{}, "0014000b 00000000"},
		{&AccessRequest{Realm: "r", Exclusive: true, Read: true}, "001e000a 0172 11"},
		{&AccessRequestOk{Ticket: 1}, "001e000b 0001"},
		{&ExchangeDeclare{Exchange: "e", Type: "topic", Durable: true, Internal: true}, "0028000a 0000 0165 05746f706963 0a 00000000"},
		{&ExchangeDelete{Exchange: "e", NoWait: true}, "00280014 0000 0165 02"},
		{&ExchangeBind{Destination: "d", Source: "s", RoutingKey: "k", NoWait: true}, "0028001e 0000 0164 0173 016b 01 00000000"},
		{&ExchangeUnbind{Destination: "d", Source: "s", RoutingKey: "k"}, "00280028 0000 0164 0173 016b 00 00000000"},
		{&ExchangeUnbindOk{}, "00280033"},
		{&QueueDeclare{Queue: "q", Passive: true, Exclusive: true, NoWait: true}, "0032000a 0000 0171 15 00000000"},
		{&QueueDeclareOk{Queue: "q", MessageCount: 5, ConsumerCount: 6}, "0032000b 0171 00000005 00000006"},
		{&QueueUnbind{Queue: "q", Exchange: "e", RoutingKey: "k"}, "00320032 0000 0171 0165 016b 00000000"},
		{&QueueDelete{Queue: "q", IfEmpty: true}, "00320028 0000 0171 02"},
		{&BasicQos{PrefetchCount: 300, Global: true}, "003c000a 00000000 012c 01"},
		{&BasicConsume{Queue: "q", ConsumerTag: "t", NoAck: true}, "003c0014 0000 0171 0174 02 00000000"},
		{&BasicPublish{Exchange: "e", RoutingKey: "k", Immediate: true}, "003c0028 0000 0165 016b 02"},
		{&BasicReturn{Code: 312, Text: "NO_ROUTE", Exchange: "e", RoutingKey: "k"}, "003c0032 0138 084e4f5f524f555445 0165 016b"},
		{&BasicDeliver{ConsumerTag: "t", DeliveryTag: 258, Redelivered: true, Exchange: "e", RoutingKey: "k"}, "003c003c 0174 0000000000000102 01 0165 016b"},
		{&BasicGetOk{DeliveryTag: 1, Exchange: "e", RoutingKey: "k", MessageCount: 9}, "003c0047 0000000000000001 00 0165 016b 00000009"},
		{&BasicGetEmpty{}, "003c0048 00"},
		{&BasicNack{DeliveryTag: 1, Requeue: true}, "003c0078 0000000000000001 02"},
		{&ConfirmSelect{NoWait: true}, "0055000a 01"},
		{&TxRollbackOk{}, "005a001f"},
	} {
		want, err := hex.DecodeString(strings.ReplaceAll(tt.hex, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if got := tt.m.Append(nil); string(got) != string(want) {
			t.Errorf("%s\ngot  %x\nwant %x", MethodName(tt.m.ID()), got, want)
		}
	}
}

func TestDecodeMethodErrors(t *testing.T) {
	declare := (&QueueDeclare{Queue: "queue", Arguments: someTable}).Append(nil)
	badUTF8 := (&QueueDeclare{Queue: "q\xff"}).Append(nil)
	brokenTable := (&QueueDeclare{Arguments: Table{{"k", "v"}}}).Append(nil)
	brokenTable[len(brokenTable)-6] = 'U'
	for _, tt := range []struct {
		name    string
		payload []byte
		want    error
	}{
		{"nothing", nil, ErrArguments},
		{"half an id", []byte{0, 50, 0}, ErrArguments},
		{"a class there is not", []byte{0, 51, 0, 10}, ErrUnknownMethod},
		{"a method there is not", []byte{0, 40, 0, 41}, ErrUnknownMethod},
		{"a trailing byte", append(declare[:len(declare):len(declare)], 0), ErrArguments},
		{"bad UTF-8 in a name", badUTF8, ErrUTF8},
		{"an unknown type letter", brokenTable, ErrTable},
		{"an array a thousand deep", (&QueueDeclare{Arguments: nested(1000)}).Append(nil), ErrTableDepth},
	} {
		if m, err := DecodeMethod(tt.payload); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %+v, %v, want %v", tt.name, m, err, tt.want)
		}
	}
	for n := 4; n < len(declare); n++ {
		if _, err := DecodeMethod(declare[:n]); !errors.Is(err, ErrArguments) {
			t.Errorf("the first %d of %d bytes: %v", n, len(declare), err)
		}
	}
	if _, err := DecodeMethod((&BasicPublish{RoutingKey: "\xff"}).Append(nil)); err != nil {
		t.Errorf("a routing key may be any bytes in basic.publish, got %v", err)
	}
}

func TestMethodName(t *testing.T) {
	if got := MethodName(IDExchangeUnbindOk); got != "exchange.unbind-ok" {
		t.Errorf("got %q", got)
	}
	if got := MethodName(50<<16 | 99); got != "50.99" {
		t.Errorf("got %q", got)
	}
}

func TestLongNamesAreCutBetweenRunes(t *testing.T) {
	for _, tt := range []struct {
		text string
		want int
	}{
		{strings.Repeat("a", 255), 255},
		{strings.Repeat("a", 300), 255},
		{strings.Repeat("a", 254) + "üü", 254},
		{strings.Repeat("a", 252) + "\U0001f407", 252},
		{strings.Repeat("a", 251) + "\U0001f407x", 255},
		{strings.Repeat("\x80", 300), 255},
	} {
		b := (&ConnectionClose{Text: tt.text}).Append(nil)
		if got := int(b[6]); got != tt.want || len(b) != 4+2+1+tt.want+4 {
			t.Errorf("%.3q… of %d bytes: cut to %d, want %d", tt.text, len(tt.text), got, tt.want)
		}
	}
}

// nested returns a table with n tables and arrays in it, one in the other.
func nested(n int) Table {
	var v any = "core"
	for i := range n {
		if i%2 == 0 {
			v = []any{v}
		} else {
			v = Table{{"t", v}}
		}
	}
	return Table{{"outermost", v}}
}
