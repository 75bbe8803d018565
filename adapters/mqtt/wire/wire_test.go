package wire

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestHeader(t *testing.T) {
	for _, c := range []struct {
		in     string
		length int
		size   int
		code   Code
	}{
		{"", 0, 0, 0},
		{"\x10", 0, 0, 0},
		{"\x10\x00", 0, 2, 0},
		{"\x10\x7f", 127, 2, 0},
		{"\x10\x80", 0, 0, 0},
		{"\x10\x80\x01", 128, 3, 0},
		{"\x10\xff\xff\xff\x7f", MaxLength, 5, 0},
		{"\x10\xff\xff\xff\xff", 0, 0, MalformedPacket},
		{"\x10\xff\xff\xff\xff\xff\xff\xff", 0, 0, MalformedPacket},
		{"\x10\x80\x00", 0, 0, MalformedPacket}, // Not the fewest bytes.
		{"\x00\x00", 0, 0, MalformedPacket},
		{"\x11\x00", 0, 0, MalformedPacket}, // Reserved flags.
		{"\x80\x00", 0, 0, MalformedPacket}, // SUBSCRIBE needs flags 2.
		{"\x82\x00", 0, 2, 0},
		{"\x60\x00", 0, 0, MalformedPacket},
		{"\x62\x00", 0, 2, 0},
		{"\xa0\x00", 0, 0, MalformedPacket},
		{"\x36\x00", 0, 0, MalformedPacket}, // QoS 3.
		{"\x38\x00", 0, 0, ProtocolError},   // DUP of QoS 0.
		{"\x3b\x05", 5, 2, 0},
	} {
		h, err := ParseHeader([]byte(c.in))
		if codeOf(err) != c.code || err == nil && (h.Length != c.length || h.Size != c.size) {
			t.Errorf("% x: %+v, %v", c.in, h, err)
		}
	}
	for _, n := range []int{0, 1, 127, 128, 16383, 16384, 2097151, 2097152, MaxLength} {
		b := AppendHeader(nil, Connect<<4, n)
		h, err := ParseHeader(b)
		if err != nil || h.Length != n || h.Size != len(b) || varintSize(n) != len(b)-1 {
			t.Errorf("%d: %+v %v", n, h, err)
		}
	}
}

func codeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	if err != nil {
		return 0xFF
	}
	return 0
}

func TestPublishRoundTrip(t *testing.T) {
	for _, v := range []byte{V31, V311, V5} {
		for qos := range byte(3) {
			o := OutPublish{
				Key: "a.b.c", Payload: 5, QoS: qos, ID: 0x1234, Retain: true, Dup: qos > 0, Props: AppendUser(nil, "k", "v"),
				SubIDs: []uint32{1, 300}, Expiry: 7, HasExpiry: true, Alias: 9,
			}
			b := append(AppendPublish(nil, &o, v), "hello"...)
			if len(b) != o.Size(v) {
				t.Errorf("v%d: %d bytes, Size says %d", v, len(b), o.Size(v))
			}
			h, err := ParseHeader(b)
			if err != nil || h.Size+h.Length != len(b) {
				t.Fatal(h, err)
			}
			p, err := ParsePublish(h, b[h.Size:], v)
			if err != nil || string(p.Topic) != "a/b/c" || string(p.Payload) != "hello" || h.QoS() != qos || !h.Retain() || h.Dup() != (qos > 0) {
				t.Fatalf("v%d: %+v %v", v, p, err)
			}
			if qos > 0 != (p.ID == 0x1234) {
				t.Errorf("id %d", p.ID)
			}
			if v != V5 {
				continue
			}
			var ids []byte
			if err := WalkProperties(Publish, p.Props, func(id byte, _ []byte) { ids = append(ids, id) }); err != nil {
				t.Fatal(err)
			}
			if want := []byte{PropMessageExpiry, PropTopicAlias, PropSubscriptionID, PropSubscriptionID, PropUser}; !slices.Equal(ids, want) {
				t.Errorf("properties %v, want %v", ids, want)
			}
		}
	}
}

func TestPublishIsChecked(t *testing.T) {
	for _, c := range []struct {
		name, body string
		first      byte
		version    byte
		code       Code
	}{
		{"empty", "", 0x30, V311, MalformedPacket},
		{"short topic", "\x00\x05ab", 0x30, V311, MalformedPacket},
		{"no topic", "\x00\x00x", 0x30, V311, ProtocolError},
		{"no topic, with alias perhaps", "\x00\x00\x00x", 0x30, V5, 0},
		{"+", "\x00\x03a/+", 0x30, V311, TopicNameInvalid},
		{"#", "\x00\x03a/#", 0x30, V311, TopicNameInvalid},
		{"NUL", "\x00\x03a\x00b", 0x30, V311, MalformedPacket},
		{"surrogate", "\x00\x03\xed\xa0\x80", 0x30, V311, MalformedPacket},
		{"umlaut", "\x00\x02\xc3\xa4", 0x30, V311, 0},
		{"no id", "\x00\x01a", 0x32, V311, MalformedPacket},
		{"id 0", "\x00\x01a\x00\x00", 0x32, V311, ProtocolError},
		{"id", "\x00\x01a\x00\x01", 0x32, V311, 0},
		{"no property length", "\x00\x01a", 0x30, V5, MalformedPacket},
		{"properties past the end", "\x00\x01a\x05\x01\x01", 0x30, V5, MalformedPacket},
	} {
		h := Header{First: c.first, Length: len(c.body), Size: 2}
		if _, err := ParsePublish(h, []byte(c.body), c.version); codeOf(err) != c.code {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestPublishProperties(t *testing.T) {
	u32 := "\x00\x00\x00\x05"
	for _, c := range []struct {
		name, props string
		code        Code
	}{
		{"none", "", 0},
		{"all", "\x01\x01\x02" + u32 + "\x03\x00\x01t\x08\x00\x03r/t\x09\x00\x02cd\x23\x00\x03\x26\x00\x01k\x00\x01v\x26\x00\x01k\x00\x01w", 0},
		{"format twice", "\x01\x01\x01\x01", ProtocolError},
		{"format 2", "\x01\x02", ProtocolError},
		{"expiry twice", "\x02" + u32 + "\x02" + u32, ProtocolError},
		{"expiry cut", "\x02\x00\x00", MalformedPacket},
		{"unknown", "\x04\x00", MalformedPacket},
		{"unknown, high", "\x7f", MalformedPacket},
		{"of CONNECT", "\x21\x00\x01", ProtocolError},
		{"subscription id", "\x0b\x01", ProtocolError},
		{"response topic with wildcard", "\x08\x00\x01#", ProtocolError},
		{"content type not UTF-8", "\x03\x00\x01\xff", MalformedPacket},
		{"string past the end", "\x03\x00\x09t", MalformedPacket},
		{"half a user property", "\x26\x00\x01k", MalformedPacket},
		{"user property value cut", "\x26\x00\x01k\x00\x05v", MalformedPacket},
		{"NUL in a user property", "\x26\x00\x01\x00\x00\x01v", MalformedPacket},
	} {
		p, err := ParsePublishProps([]byte(c.props), false)
		if codeOf(err) != c.code {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.name == "all" {
			if p.Expiry != 5 || !p.HasExpiry || string(p.ContentType) != "t" || string(p.ResponseTopic) != "r/t" ||
				string(p.Correlation) != "cd" || p.Alias != 3 || p.Users != 2 || p.PayloadFormat != 1 {
				t.Errorf("%+v", p)
			}
			forwarded := AppendForwarded(nil, []byte(c.props))
			want := "\x01\x01\x03\x00\x01t\x08\x00\x03r/t\x09\x00\x02cd\x26\x00\x01k\x00\x01v\x26\x00\x01k\x00\x01w"
			if string(forwarded) != want {
				t.Errorf("forwarded % x", forwarded)
			}
		}
	}
}

func TestAcks(t *testing.T) {
	for _, typ := range []byte{Puback, Pubrec, Pubrel, Pubcomp} {
		for _, v := range []byte{V311, V5} {
			code := PacketIDNotFound
			if typ == Puback || typ == Pubrec {
				code = NoMatchingSubscribers
			}
			for _, c := range []Code{Success, code} {
				b := AppendAck(nil, typ, 513, c, v)
				h, err := ParseHeader(b)
				if err != nil || h.Size+h.Length != len(b) {
					t.Fatal(h, err)
				}
				id, got, err := ParseAck(typ, b[h.Size:], v)
				if v != V5 {
					c = Success
				}
				if err != nil || id != 513 || got != c {
					t.Errorf("%s v%d: %d %v %v", TypeName(typ), v, id, got, err)
				}
			}
		}
	}
	for _, c := range []struct {
		body    string
		version byte
		code    Code
	}{
		{"", V5, MalformedPacket},
		{"\x01", V5, MalformedPacket},
		{"\x00\x00", V5, ProtocolError},
		{"\x00\x01\x00", V311, MalformedPacket},
		{"\x00\x01\x92", V5, ProtocolError},
		{"\x00\x01\x10", V5, 0},
		{"\x00\x01\x10\x00", V5, 0},
		{"\x00\x01\x10\x04\x1f\x00\x01x", V5, 0},
		{"\x00\x01\x10\x04\x1f\x00\x09x", V5, MalformedPacket},
		{"\x00\x01\x10\x00x", V5, MalformedPacket},
	} {
		if _, _, err := ParseAck(Puback, []byte(c.body), c.version); codeOf(err) != c.code {
			t.Errorf("% x v%d: %v", c.body, c.version, err)
		}
	}
}

func TestConnectRoundTrip(t *testing.T) {
	for _, v := range []byte{V31, V311, V5} {
		in := &ConnectPacket{
			Version: v, Clean: true, KeepAlive: 30, ClientID: "me", HasUser: true, User: "u", HasPassword: true, Password: "p",
			ReceiveMaximum: 65535, Will: &Will{Topic: "w/t", Payload: []byte("gone"), QoS: 2, Retain: true},
		}
		if v == V5 {
			in.SessionExpiry, in.HasSessionExpiry = 60, true
			in.ReceiveMaximum, in.TopicAliasMax, in.MaximumPacket = 20, 5, 1000
			in.Will.Props = AppendString([]byte("\x18\x00\x00\x00\x07\x02\x00\x00\x00\x09"), PropContentType, "text")
		}
		b := AppendConnect(nil, in)
		h, err := ParseHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		out, err := ParseConnect(b[h.Size:])
		if err != nil {
			t.Fatal(err)
		}
		if out.Version != v || !out.Clean || out.KeepAlive != 30 || out.ClientID != "me" || out.User != "u" || out.Password != "p" ||
			out.Will == nil || out.Will.Topic != "w/t" || string(out.Will.Payload) != "gone" || out.Will.QoS != 2 || !out.Will.Retain {
			t.Errorf("v%d: %+v", v, out)
		}
		if v == V5 && (out.SessionExpiry != 60 || out.ReceiveMaximum != 20 || out.TopicAliasMax != 5 || out.MaximumPacket != 1000 ||
			out.Will.DelayS != 7 || out.Will.Parsed.Expiry != 9 || string(out.Will.Parsed.ContentType) != "text") {
			t.Errorf("%+v %+v", out, out.Will)
		}
		for i := range b[h.Size:] {
			if _, err := ParseConnect(b[h.Size : h.Size+i]); err == nil {
				t.Errorf("v%d cut at %d is taken", v, i)
			}
		}
		if _, err := ParseConnect(append(bytes.Clone(b[h.Size:]), 0)); codeOf(err) != MalformedPacket {
			t.Errorf("a byte more: %v", err)
		}
	}
}

func TestConnectIsChecked(t *testing.T) {
	head := "\x00\x04MQTT"
	for _, c := range []struct {
		name, body string
		code       Code
	}{
		{"name", "\x00\x04MQTX\x04\x02\x00\x00\x00\x01a", ProtocolError},
		{"level 6", head + "\x06\x02\x00\x00\x00\x01a", UnsupportedVersion},
		{"MQIsdp 4", "\x00\x06MQIsdp\x04\x02\x00\x00\x00\x01a", UnsupportedVersion},
		{"reserved flag", head + "\x04\x03\x00\x00\x00\x01a", MalformedPacket},
		{"will QoS 3", head + "\x04\x1e\x00\x00\x00\x01a\x00\x01t\x00\x00", MalformedPacket},
		{"will QoS without will", head + "\x04\x0a\x00\x00\x00\x01a", MalformedPacket},
		{"will retain without will", head + "\x04\x22\x00\x00\x00\x01a", MalformedPacket},
		{"empty will payload", head + "\x04\x06\x00\x00\x00\x01a\x00\x01t\x00\x00", 0},
		{"empty will topic", head + "\x04\x06\x00\x00\x00\x01a\x00\x00\x00\x00", MalformedPacket},
		{"will topic with wildcard", head + "\x04\x06\x00\x00\x00\x01a\x00\x01#\x00\x00", MalformedPacket},
		{"password without user, 3.1.1", head + "\x04\x42\x00\x00\x00\x01a\x00\x01p", MalformedPacket},
		{"password without user, 5", head + "\x05\x42\x00\x00\x00\x00\x01a\x00\x01p", 0},
		{"empty password", head + "\x04\xc2\x00\x00\x00\x01a\x00\x01u\x00\x00", 0},
		{"id not UTF-8", head + "\x04\x02\x00\x00\x00\x01\xff", MalformedPacket},
		{"receive maximum 0", head + "\x05\x02\x00\x00\x03\x21\x00\x00\x00\x01a", ProtocolError},
		{"maximum packet 0", head + "\x05\x02\x00\x00\x05\x27\x00\x00\x00\x00\x00\x01a", ProtocolError},
		{"problem info 2", head + "\x05\x02\x00\x00\x02\x17\x02\x00\x01a", ProtocolError},
		{"session expiry twice", head + "\x05\x02\x00\x00\x0a\x11\x00\x00\x00\x01\x11\x00\x00\x00\x01\x00\x01a", ProtocolError},
		{"auth data without method", head + "\x05\x02\x00\x00\x03\x16\x00\x00\x00\x01a", ProtocolError},
		{"property of PUBLISH", head + "\x05\x02\x00\x00\x03\x23\x00\x01\x00\x01a", ProtocolError},
	} {
		if _, err := ParseConnect([]byte(c.body)); codeOf(err) != c.code {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestSubscribeRoundTrip(t *testing.T) {
	for _, v := range []byte{V311, V5} {
		in := &SubscribePacket{ID: 5, Filters: []Subscription{{Filter: "a/+", QoS: 2}, {Filter: "#", QoS: 0}}}
		if v == V5 {
			in.SubID = 268435455
			in.Filters[0].NoLocal, in.Filters[0].RetainAsPublished, in.Filters[1].RetainHandling = true, true, 2
		}
		b := AppendSubscribe(nil, in, v)
		h, err := ParseHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		out, err := ParseSubscribe(b[h.Size:], v)
		if err != nil || out.ID != 5 || out.SubID != in.SubID || !slices.Equal(out.Filters, in.Filters) {
			t.Fatalf("%+v %v", out, err)
		}
		for i := range b[h.Size:] { // A truncated one must not reach the library.
			if _, err := ParseSubscribe(b[h.Size:h.Size+i], v); err == nil && i != len(b)-h.Size-4 {
				t.Errorf("v%d cut at %d is taken", v, i)
			}
		}
		u := AppendUnsubscribe(nil, &UnsubscribePacket{ID: 6, Filters: []string{"a", "b/#"}}, v)
		h, err = ParseHeader(u)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseUnsubscribe(u[h.Size:], v)
		if err != nil || got.ID != 6 || !slices.Equal(got.Filters, []string{"a", "b/#"}) {
			t.Fatalf("%+v %v", got, err)
		}
	}
}

func TestSubscribeIsChecked(t *testing.T) {
	for _, c := range []struct {
		name, body string
		version    byte
		code       Code
	}{
		{"id 0", "\x00\x00\x00\x01a\x00", V311, ProtocolError},
		{"no filter", "\x00\x01", V311, ProtocolError},
		{"no options", "\x00\x01\x00\x00\x01a", V5, MalformedPacket},
		{"QoS 3", "\x00\x01\x00\x01a\x03", V311, MalformedPacket},
		{"reserved bits, 3.1.1", "\x00\x01\x00\x01a\x04", V311, MalformedPacket},
		{"reserved bits, 5", "\x00\x01\x00\x00\x01a\x40", V5, MalformedPacket},
		{"retain handling 3", "\x00\x01\x00\x00\x01a\x30", V5, ProtocolError},
		{"identifier 0", "\x00\x01\x02\x0b\x00\x00\x01a\x00", V5, ProtocolError},
		{"identifier twice", "\x00\x01\x04\x0b\x01\x0b\x02\x00\x01a\x00", V5, ProtocolError},
		{"filter not UTF-8", "\x00\x01\x00\x01\xff\x00", V311, MalformedPacket},
		{"fine", "\x00\x01\x00\x00\x01a\x2e", V5, 0},
	} {
		if _, err := ParseSubscribe([]byte(c.body), c.version); codeOf(err) != c.code {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	many := []byte{0, 1}
	for range FiltersMax + 1 {
		many = append(many, 0, 1, 'a', 0)
	}
	if _, err := ParseSubscribe(many, V311); codeOf(err) != QuotaExceeded {
		t.Error(err)
	}
}

func TestFilters(t *testing.T) {
	for filter, want := range map[string]Code{
		"a": 0, "/": 0, "a/b/c": 0, "+": 0, "#": 0, "+/a": 0, "a/+/b": 0, "a/#": 0, "/+": 0, "//": 0, "$SYS/#": 0, "ä/+": 0,
		"": TopicFilterInvalid, "a+": TopicFilterInvalid, "a#": TopicFilterInvalid, "sport/+x": TopicFilterInvalid, "#/a": TopicFilterInvalid,
		"a/#/b": TopicFilterInvalid, "##": TopicFilterInvalid, "++": TopicFilterInvalid, "a/b#": TopicFilterInvalid,
		"a\x00": MalformedPacket, "\xff": MalformedPacket,
		"$share/g/a/+": 0, "$share/g//": 0, "$share/g": TopicFilterInvalid, "$share//a": TopicFilterInvalid, "$share/g/": TopicFilterInvalid,
		"$share/g+/a": TopicFilterInvalid, "$share/g/a#": TopicFilterInvalid, "$sharex/g": 0,
		strings.Repeat("/", LevelsMax-1): 0, strings.Repeat("/", LevelsMax): TopicFilterInvalid,
	} {
		if _, err := ParseFilter(filter); codeOf(err) != want {
			t.Errorf("%q: %v", filter, err)
		}
	}
	f, err := ParseFilter("$share/group/a/+")
	if err != nil || f.Group != "group" || f.Topic != "a/+" {
		t.Error(f, err)
	}
	if PatternOf("a/+/#") != "a.*.#" || TopicOf("a.*.#") != "a/+/#" {
		t.Error("translation")
	}
}

func TestDisconnect(t *testing.T) {
	b := AppendDisconnect(nil, SessionTakenOver, "why", 0)
	code, why, err := ParseDisconnectFromServer(b[2:])
	if err != nil || code != SessionTakenOver || why != "why" {
		t.Error(code, why, err)
	}
	if b := AppendDisconnect(nil, SessionTakenOver, "a long reason", 12); len(b) > 12 {
		t.Errorf("%d bytes for a client that takes 12", len(b))
	}
	for _, c := range []struct {
		body    string
		version byte
		code    Code
	}{
		{"", V311, 0},
		{"\x00", V311, MalformedPacket},
		{"", V5, 0},
		{"\x04", V5, 0},
		{"\x00\x05\x11\x00\x00\x00\x09", V5, 0},
		{"\x8b", V5, ProtocolError}, // A server's code.
		{"\x00\x05\x11\x00\x00", V5, MalformedPacket},
		{"\x00\x04\x1c\x00\x01x", V5, ProtocolError}, // A server's property.
	} {
		if _, err := ParseDisconnect([]byte(c.body), c.version); codeOf(err) != c.code {
			t.Errorf("% x v%d: %v", c.body, c.version, err)
		}
	}
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	payload := make([]byte, 128)
	props := AppendString(AppendUser(nil, "k", "v"), PropContentType, "text/plain")
	o := OutPublish{Key: "a.b.c", Payload: len(payload), QoS: 1, ID: 7, Props: props}
	buf := make([]byte, 0, 4096)
	var sink int
	if n := testing.AllocsPerRun(100, func() {
		b := AppendPublish(buf[:0], &o, V5)
		b = append(b, payload...)
		h, err := ParseHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		p, err := ParsePublish(h, b[h.Size:], V5)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParsePublishProps(p.Props, false); err != nil {
			t.Fatal(err)
		}
		b = AppendAck(b, Puback, 7, Success, V5)
		id, _, err := ParseAck(Puback, b[len(b)-2:], V5)
		if err != nil {
			t.Fatal(err)
		}
		sink += int(id)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkPublish(b *testing.B) {
	payload := make([]byte, 128)
	for _, c := range []struct {
		name    string
		version byte
		props   []byte
	}{{"v311", V311, nil}, {"v5", V5, nil}, {"v5/props", V5, AppendString(AppendUser(nil, "k", "v"), PropContentType, "text/plain")}} {
		o := OutPublish{Key: "a.b.c", Payload: len(payload), QoS: 1, ID: 7, Props: c.props}
		buf := make([]byte, 0, 4096)
		b.Run("encode/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				buf = append(AppendPublish(buf[:0], &o, c.version), payload...)
			}
		})
		buf = append(AppendPublish(buf[:0], &o, c.version), payload...)
		b.Run("decode/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h, _ := ParseHeader(buf)
				p, err := ParsePublish(h, buf[h.Size:], c.version)
				if err == nil && len(p.Props) > 0 {
					_, err = ParsePublishProps(p.Props, false)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
