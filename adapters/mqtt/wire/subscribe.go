package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/mochi-mqtt/server/v2/packets"
)

// SubscribePacket is a SUBSCRIBE. It aliases nothing.
type SubscribePacket struct {
	ID      uint16
	SubID   uint32 // Subscription Identifier, 0 for none.
	Filters []Subscription
}

// Subscription is one filter of a SUBSCRIBE. The filter is not checked: what
// is wrong with it gets a reason code of its own.
type Subscription struct {
	Filter            string
	QoS               byte
	NoLocal           bool
	RetainAsPublished bool
	RetainHandling    byte
}

// UnsubscribePacket is an UNSUBSCRIBE. It aliases nothing.
type UnsubscribePacket struct {
	ID      uint16
	Filters []string
}

var (
	errShortSubscribe = malformed("packet ends within a filter")
	errNoFilter       = violation("no filter")
	errSubQoS         = malformed("subscription options")
	errSubOptions     = malformed("reserved bits of subscription options")
	errRetainHandling = violation("retain handling 3")
	errFiltersMax     = &Error{QuotaExceeded, "too many filters in a packet"}
)

// FiltersMax bounds the filters of one packet.
const FiltersMax = 8192

// checkFilters walks over a SUBSCRIBE or UNSUBSCRIBE.
func checkFilters(typ byte, body []byte, version byte) error {
	if len(body) < 2 {
		return errShortSubscribe
	}
	if body[0]|body[1] == 0 {
		return errPacketID
	}
	b := body[2:]
	if version == V5 {
		rest, err := CheckProperties(typ, b)
		if err != nil {
			return err
		}
		b = rest
	}
	count := 0
	for len(b) > 0 {
		filter, n, err := sized(b)
		if err != nil {
			return errShortSubscribe
		}
		if !validString(filter) {
			return errFilterUTF8
		}
		b = b[n:]
		if count++; count > FiltersMax {
			return errFiltersMax
		}
		if typ == Unsubscribe {
			continue
		}
		if len(b) == 0 {
			return errShortSubscribe
		}
		options := b[0]
		b = b[1:]
		switch {
		case options&3 == 3:
			return errSubQoS
		case version != V5 && options > 2, options&0xC0 != 0:
			return errSubOptions
		case options&0x30 == 0x30:
			return errRetainHandling
		}
	}
	if count == 0 {
		return errNoFilter
	}
	return nil
}

// ParseSubscribe reads the body of a SUBSCRIBE.
func ParseSubscribe(body []byte, version byte) (*SubscribePacket, error) {
	if err := checkFilters(Subscribe, body, version); err != nil {
		return nil, err
	}
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1, Remaining: len(body)}, ProtocolVersion: version}
	if err := pk.SubscribeDecode(bytes.Clone(body)); err != nil { // Its strings alias what it is given.
		return nil, &Error{MalformedPacket, fmt.Sprint("SUBSCRIBE: ", err)}
	}
	s := &SubscribePacket{ID: pk.PacketID, Filters: make([]Subscription, len(pk.Filters))}
	if ids := pk.Properties.SubscriptionIdentifier; len(ids) > 0 {
		s.SubID = uint32(ids[0])
	}
	for i, f := range pk.Filters {
		s.Filters[i] = Subscription{
			Filter: f.Filter, QoS: f.Qos, NoLocal: f.NoLocal,
			RetainAsPublished: f.RetainAsPublished, RetainHandling: f.RetainHandling,
		}
	}
	return s, nil
}

// ParseUnsubscribe reads the body of an UNSUBSCRIBE.
func ParseUnsubscribe(body []byte, version byte) (*UnsubscribePacket, error) {
	if err := checkFilters(Unsubscribe, body, version); err != nil {
		return nil, err
	}
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe, Qos: 1, Remaining: len(body)}, ProtocolVersion: version}
	if err := pk.UnsubscribeDecode(bytes.Clone(body)); err != nil {
		return nil, &Error{MalformedPacket, fmt.Sprint("UNSUBSCRIBE: ", err)}
	}
	u := &UnsubscribePacket{ID: pk.PacketID, Filters: make([]string, len(pk.Filters))}
	for i, f := range pk.Filters {
		u.Filters[i] = f.Filter
	}
	return u, nil
}

// AppendSuback appends a SUBACK or UNSUBACK. UNSUBACKs older than MQTT 5 carry
// no codes.
func AppendSuback(dst []byte, typ byte, id uint16, codes []Code, version byte) []byte {
	n := 2
	if version == V5 {
		n++
	}
	if version == V5 || typ == Suback {
		n += len(codes)
	}
	dst = AppendHeader(dst, typ<<4, n)
	dst = append(dst, byte(id>>8), byte(id))
	if version == V5 {
		dst = append(dst, 0)
	} else if typ == Unsuback {
		return dst
	}
	for _, c := range codes {
		if version != V5 && c.IsError() {
			c = UnspecifiedError // 0x80 is the only failure there (3.9.3-2).
		}
		dst = append(dst, byte(c))
	}
	return dst
}

// ParseSuback reads the body of a SUBACK or UNSUBACK. Codes alias body.
func ParseSuback(typ byte, body []byte, version byte) (id uint16, codes []byte, err error) {
	if len(body) < 2 {
		return 0, nil, malformed(TypeName(typ))
	}
	id, codes = binary.BigEndian.Uint16(body), body[2:]
	if version == V5 {
		codes, err = CheckProperties(typ, codes)
	}
	return id, codes, err
}

// AppendSubscribe appends a SUBSCRIBE, for clients.
func AppendSubscribe(dst []byte, s *SubscribePacket, version byte) []byte {
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, ProtocolVersion: version, PacketID: s.ID}
	for _, f := range s.Filters {
		pk.Filters = append(pk.Filters, packets.Subscription{
			Filter: f.Filter, Qos: f.QoS, NoLocal: f.NoLocal, RetainAsPublished: f.RetainAsPublished, RetainHandling: f.RetainHandling,
		})
	}
	if s.SubID != 0 {
		pk.Properties.SubscriptionIdentifier = []int{int(s.SubID)}
	}
	var buf bytes.Buffer
	pk.SubscribeEncode(&buf) // Fails for packet identifier 0 only.
	return append(dst, buf.Bytes()...)
}

// AppendUnsubscribe appends an UNSUBSCRIBE, for clients.
func AppendUnsubscribe(dst []byte, u *UnsubscribePacket, version byte) []byte {
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe, Qos: 1}, ProtocolVersion: version, PacketID: u.ID}
	for _, f := range u.Filters {
		pk.Filters = append(pk.Filters, packets.Subscription{Filter: f})
	}
	var buf bytes.Buffer
	pk.UnsubscribeEncode(&buf)
	return append(dst, buf.Bytes()...)
}
