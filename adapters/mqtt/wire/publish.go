package wire

import (
	"encoding/binary"
	"unicode/utf8"
)

var (
	errShortPublish = malformed("PUBLISH is shorter than its topic")
	errTopicUTF8    = malformed("topic is not a UTF-8 string")
	errWildcard     = &Error{TopicNameInvalid, "topic name with a wildcard"}
	errNoTopic      = violation("empty topic name")
	errPacketID     = violation("packet identifier 0")
)

// PublishPacket is a PUBLISH. Its slices alias the packet's body.
type PublishPacket struct {
	Topic   []byte // Empty if only an alias is given.
	Props   []byte // Of MQTT 5, without their length. They are not checked.
	Payload []byte
	ID      uint16 // 0 for QoS 0.
}

// ParsePublish reads the body of a PUBLISH. Its topic is checked, but for the
// emptiness that MQTT 5 allows beside an alias; properties are not.
func ParsePublish(h Header, body []byte, version byte) (p PublishPacket, err error) {
	if p, err = SplitPublish(h, body, version); err == nil {
		err = CheckTopic(p.Topic)
	}
	return p, err
}

// SplitPublish is ParsePublish for who checks the topic himself, or knows it.
func SplitPublish(h Header, body []byte, version byte) (p PublishPacket, err error) {
	if len(body) < 2 {
		return p, errShortPublish
	}
	n := int(body[0])<<8 | int(body[1])
	at := 2 + n
	if at > len(body) {
		return p, errShortPublish
	}
	p.Topic = body[2:at:at]
	if h.QoS() > 0 {
		if at+2 > len(body) {
			return p, errShortPublish
		}
		p.ID = uint16(body[at])<<8 | uint16(body[at+1])
		at += 2
		if p.ID == 0 {
			return p, errPacketID
		}
	}
	if version == V5 {
		size, used, err := varint(body[at:])
		if err != nil {
			return p, err
		}
		if used == 0 || at+used+size > len(body) {
			return p, errPropertyLength
		}
		at += used
		p.Props = body[at : at+size : at+size]
		at += size
	} else if n == 0 {
		return p, errNoTopic
	}
	p.Payload = body[at:]
	return p, nil
}

// CheckTopic refuses a topic name with a wildcard, a NUL, or that is not UTF-8.
func CheckTopic(t []byte) error {
	ascii := true
	for _, c := range t {
		switch {
		case c == '+' || c == '#':
			return errWildcard
		case c == 0:
			return errTopicUTF8
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	if !ascii && !utf8.Valid(t) {
		return errTopicUTF8
	}
	return nil
}

// OutPublish is a PUBLISH to be encoded: its topic comes as the routing key of
// the broker, its properties as they are on the wire.
type OutPublish struct {
	Key     string // Routing key: '.' becomes '/'.
	Props   []byte // Properties to be handed on, of MQTT 5.
	Payload int    // Length of the payload, which the caller appends.
	SubIDs  []uint32
	Expiry  uint32 // Message Expiry Interval, if HasExpiry.
	ID      uint16 // If QoS > 0.
	Alias   uint16 // 0 for none.

	QoS       byte
	Dup       bool
	Retain    bool
	HasExpiry bool
	NoTopic   bool // The alias says it all.
}

// propsSize is how many bytes the properties of o take without their length.
func (o *OutPublish) propsSize() int {
	n := len(o.Props)
	if o.HasExpiry {
		n += 5
	}
	if o.Alias != 0 {
		n += 3
	}
	for _, id := range o.SubIDs {
		n += 1 + varintSize(int(id))
	}
	return n
}

// Size is the length of the whole packet.
func (o *OutPublish) Size(version byte) int {
	n := o.length(version)
	return 1 + varintSize(n) + n
}

func (o *OutPublish) length(version byte) int {
	n := 2 + o.Payload
	if !o.NoTopic {
		n += len(o.Key)
	}
	if o.QoS > 0 {
		n += 2
	}
	if version == V5 {
		p := o.propsSize()
		n += varintSize(p) + p
	}
	return n
}

// AppendPublish appends all of a PUBLISH but its payload.
func AppendPublish(dst []byte, o *OutPublish, version byte) []byte {
	first := Publish<<4 | o.QoS<<1
	if o.Dup {
		first |= 8
	}
	if o.Retain {
		first |= 1
	}
	dst = AppendHeader(dst, first, o.length(version))
	if o.NoTopic {
		dst = append(dst, 0, 0)
	} else {
		dst = append(dst, byte(len(o.Key)>>8), byte(len(o.Key)))
		dst = AppendTopic(dst, o.Key)
	}
	if o.QoS > 0 {
		dst = append(dst, byte(o.ID>>8), byte(o.ID))
	}
	if version != V5 {
		return dst
	}
	dst = appendVarint(dst, o.propsSize())
	if o.HasExpiry {
		dst = binary.BigEndian.AppendUint32(append(dst, PropMessageExpiry), o.Expiry)
	}
	if o.Alias != 0 {
		dst = binary.BigEndian.AppendUint16(append(dst, PropTopicAlias), o.Alias)
	}
	for _, id := range o.SubIDs {
		dst = appendVarint(append(dst, PropSubscriptionID), int(id))
	}
	return append(dst, o.Props...)
}
