package wire

import (
	"bytes"
	"testing"
)

// FuzzPacket gives arbitrary bytes to whatever parser their first byte names.
// Nothing may panic; what is taken survives being encoded again.
func FuzzPacket(f *testing.F) {
	for _, v := range []byte{V31, V311, V5} {
		w := &Will{Topic: "w", Payload: []byte("x"), QoS: 1, Props: []byte("\x18\x00\x00\x00\x07")}
		f.Add(v, AppendConnect(nil, &ConnectPacket{Version: v, ClientID: "c", ReceiveMaximum: 3, Will: w, HasUser: true, User: "u"}))
		f.Add(v, AppendSubscribe(nil, &SubscribePacket{ID: 1, SubID: 3, Filters: []Subscription{{Filter: "a/+", QoS: 1}}}, v))
		f.Add(v, AppendUnsubscribe(nil, &UnsubscribePacket{ID: 1, Filters: []string{"a/#"}}, v))
		o := OutPublish{Key: "a.b", QoS: 1, ID: 3, Props: AppendUser(nil, "k", "v"), HasExpiry: true, Alias: 1}
		f.Add(v, AppendPublish(nil, &o, v))
		f.Add(v, AppendAck(nil, Pubrel, 4, PacketIDNotFound, v))
		f.Add(v, AppendConnack(nil, &ConnackPacket{SessionPresent: true, Reason: "r", AssignedClientID: "x"}, v, 0))
		f.Add(v, AppendSuback(nil, Suback, 1, []Code{0, 0x87}, v))
		f.Add(v, AppendDisconnect(nil, SessionTakenOver, "r", 0))
	}
	f.Add(V5, []byte("\x82\x06\x00\x01\x00\x00\x01a")) // SUBSCRIBE without options.
	f.Fuzz(func(t *testing.T, v byte, b []byte) {
		if v != V31 && v != V311 && v != V5 {
			v = V5
		}
		h, err := ParseHeader(b)
		if err != nil || h.Size == 0 || h.Size+h.Length > len(b) {
			return
		}
		body := b[h.Size : h.Size+h.Length]
		before := bytes.Clone(body)
		switch h.Type() {
		case Connect:
			if p, err := ParseConnect(body); err == nil {
				again := AppendConnect(nil, p)
				h, _ := ParseHeader(again)
				if q, err := ParseConnect(again[h.Size:]); err != nil || q.ClientID != p.ClientID || q.KeepAlive != p.KeepAlive {
					t.Errorf("%+v comes back as %+v, %v", p, q, err)
				}
			}
		case Connack:
			ParseConnack(body, v)
		case Publish:
			p, err := ParsePublish(h, body, v)
			if err != nil {
				break
			}
			props, err := ParsePublishProps(p.Props, false)
			if err != nil {
				break
			}
			forwarded := AppendForwarded(nil, p.Props)
			if _, err := ParsePublishProps(forwarded, false); err != nil {
				t.Errorf("forwarded properties are refused: %v", err)
			}
			UserProperties(p.Props, func(_, _ []byte) { props.Users-- })
			if props.Users != 0 {
				t.Errorf("%d user properties too many", props.Users)
			}
			if bytes.IndexByte(p.Topic, '.') >= 0 {
				break // Comes back as '/'.
			}
			key := bytes.Clone(p.Topic)
			KeyInPlace(key)
			o := OutPublish{Key: string(key), QoS: h.QoS(), ID: p.ID, Dup: h.Dup(), Retain: h.Retain(), Payload: len(p.Payload), Props: p.Props}
			again := append(AppendPublish(nil, &o, v), p.Payload...)
			if !bytes.Equal(again[1:], b[1:h.Size+h.Length]) {
				t.Errorf("comes back as % x", again)
			}
		case Puback, Pubrec, Pubrel, Pubcomp:
			ParseAck(h.Type(), body, v)
		case Subscribe:
			if p, err := ParseSubscribe(body, v); err == nil {
				for _, s := range p.Filters {
					ParseFilter(s.Filter)
				}
			}
		case Suback, Unsuback:
			ParseSuback(h.Type(), body, v)
		case Unsubscribe:
			ParseUnsubscribe(body, v)
		case Disconnect:
			ParseDisconnect(body, v)
			ParseDisconnectFromServer(body)
		case Auth:
			if a, err := ParseAuth(body); err == nil {
				again := AppendAuth(nil, &a, 0)
				head := 1
				for again[head]&0x80 != 0 {
					head++
				}
				b, err := ParseAuth(again[head+1:])
				if err != nil || b.Code != a.Code || b.Method != a.Method || !bytes.Equal(b.Data, a.Data) {
					t.Errorf("AUTH %+v is written as %x, which is %+v, %v", a, again, b, err)
				}
			}
		}
		if !bytes.Equal(before, body) {
			t.Error("the body was changed")
		}
	})
}
