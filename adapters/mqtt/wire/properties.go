package wire

import (
	"encoding/binary"
	"unicode/utf8"
)

// The properties of MQTT 5 (2.2.2.2).
const (
	PropPayloadFormat    byte = 1
	PropMessageExpiry    byte = 2
	PropContentType      byte = 3
	PropResponseTopic    byte = 8
	PropCorrelationData  byte = 9
	PropSubscriptionID   byte = 11
	PropSessionExpiry    byte = 17
	PropAssignedClientID byte = 18
	PropServerKeepAlive  byte = 19
	PropAuthMethod       byte = 21
	PropAuthData         byte = 22
	PropRequestProblem   byte = 23
	PropWillDelay        byte = 24
	PropRequestResponse  byte = 25
	PropResponseInfo     byte = 26
	PropServerReference  byte = 28
	PropReasonString     byte = 31
	PropReceiveMaximum   byte = 33
	PropTopicAliasMax    byte = 34
	PropTopicAlias       byte = 35
	PropMaximumQoS       byte = 36
	PropRetainAvailable  byte = 37
	PropUser             byte = 38
	PropMaximumPacket    byte = 39
	PropWildcardSub      byte = 40
	PropSubIDAvailable   byte = 41
	PropSharedSub        byte = 42
	propCount                 = 43
)

// will stands for the will's properties where a packet type is asked for.
const will = 0

// propType is how a property's value is encoded.
type propType byte

const (
	propNone propType = iota
	propBool          // One byte, 0 or 1.
	propU16
	propU16Not0
	propU32
	propU32Not0
	propVarint
	propString
	propBinary
	propPair
)

// propRule says what a property is and where it may stand: a bit for each
// packet type, bit 0 for the will.
type propRule struct {
	typ propType
	in  uint16
}

func in(types ...byte) (mask uint16) {
	for _, t := range types {
		mask |= 1 << t
	}
	return mask
}

var propRules = [propCount]propRule{
	PropPayloadFormat:    {propBool, in(Publish, will)},
	PropMessageExpiry:    {propU32, in(Publish, will)},
	PropContentType:      {propString, in(Publish, will)},
	PropResponseTopic:    {propString, in(Publish, will)},
	PropCorrelationData:  {propBinary, in(Publish, will)},
	PropSubscriptionID:   {propVarint, in(Publish, Subscribe)},
	PropSessionExpiry:    {propU32, in(Connect, Connack, Disconnect)},
	PropAssignedClientID: {propString, in(Connack)},
	PropServerKeepAlive:  {propU16, in(Connack)},
	PropAuthMethod:       {propString, in(Connect, Connack, Auth)},
	PropAuthData:         {propBinary, in(Connect, Connack, Auth)},
	PropRequestProblem:   {propBool, in(Connect)},
	PropWillDelay:        {propU32, in(will)},
	PropRequestResponse:  {propBool, in(Connect)},
	PropResponseInfo:     {propString, in(Connack)},
	PropServerReference:  {propString, in(Connack, Disconnect)},
	PropReasonString:     {propString, in(Connack, Puback, Pubrec, Pubrel, Pubcomp, Suback, Unsuback, Disconnect, Auth)},
	PropReceiveMaximum:   {propU16Not0, in(Connect, Connack)},
	PropTopicAliasMax:    {propU16, in(Connect, Connack)},
	PropTopicAlias:       {propU16, in(Publish)},
	PropMaximumQoS:       {propBool, in(Connack)},
	PropRetainAvailable:  {propBool, in(Connack)},
	PropUser: {propPair, in(Connect, Connack, Publish, Puback, Pubrec, Pubrel, Pubcomp, Subscribe, Suback,
		Unsubscribe, Unsuback, Disconnect, Auth, will)},
	PropMaximumPacket:  {propU32Not0, in(Connect, Connack)},
	PropWildcardSub:    {propBool, in(Connack)},
	PropSubIDAvailable: {propBool, in(Connack)},
	PropSharedSub:      {propBool, in(Connack)},
}

var (
	errPropertyLength = malformed("property length runs past the packet")
	errPropertyShort  = malformed("property runs past the property length")
	errPropertyUTF8   = malformed("property is not a UTF-8 string")
	errPropertyID     = malformed("unknown property")
	errPropertyPlace  = violation("property not allowed in this packet")
	errPropertyTwice  = violation("property given twice")
	errPropertyValue  = violation("value of a property")
	errTrailing       = malformed("bytes behind the end of the packet")
)

// CheckProperties walks over the properties at the beginning of b, with their
// length, and returns what follows them. typ is the packet's type, 0 for a
// will.
func CheckProperties(typ byte, b []byte) (rest []byte, err error) {
	n, used, err := varint(b)
	if err != nil {
		return nil, err
	}
	if used == 0 || used+n > len(b) {
		return nil, errPropertyLength
	}
	return b[used+n:], walkProperties(typ, b[used:used+n], nil)
}

// walkProperties checks the properties in b and calls fn with each, if it is
// not nil. value is the encoded value: without a length for strings and binary
// data, with both lengths for a pair.
func walkProperties(typ byte, b []byte, fn func(id byte, value []byte)) error {
	var seen uint64
	for len(b) > 0 {
		id := b[0]
		if id >= propCount || propRules[id].typ == propNone {
			return errPropertyID
		}
		rule := propRules[id]
		if rule.in&(1<<typ) == 0 {
			return errPropertyPlace
		}
		bit := uint64(1) << id
		if seen&bit != 0 && id != PropUser && !(id == PropSubscriptionID && typ == Publish) {
			return errPropertyTwice
		}
		seen |= bit
		value, size, err := propValue(rule.typ, b[1:])
		if err != nil {
			return err
		}
		if fn != nil {
			fn(id, value)
		}
		b = b[1+size:]
	}
	return nil
}

// propValue reads a value at the beginning of b.
func propValue(t propType, b []byte) (value []byte, size int, err error) {
	fixed := func(n int) ([]byte, int, error) {
		if len(b) < n {
			return nil, 0, errPropertyShort
		}
		return b[:n], n, nil
	}
	switch t {
	case propBool:
		value, size, err = fixed(1)
		if err == nil && value[0] > 1 {
			err = errPropertyValue
		}
		return value, size, err
	case propU16:
		return fixed(2)
	case propU16Not0:
		value, size, err = fixed(2)
		if err == nil && value[0]|value[1] == 0 {
			err = errPropertyValue
		}
		return value, size, err
	case propU32:
		return fixed(4)
	case propU32Not0:
		value, size, err = fixed(4)
		if err == nil && binary.BigEndian.Uint32(value) == 0 {
			err = errPropertyValue
		}
		return value, size, err
	case propVarint:
		n, used, err := varint(b)
		switch {
		case err != nil:
			return nil, 0, err
		case used == 0:
			return nil, 0, errPropertyShort
		case n == 0:
			return nil, 0, errPropertyValue
		}
		return b[:used], used, nil
	case propPair:
		_, n, err := sized(b)
		if err == nil && !validString(b[2:n]) {
			err = errPropertyUTF8
		}
		if err != nil {
			return nil, 0, err
		}
		_, m, err := sized(b[n:])
		if err == nil && !validString(b[n+2:n+m]) {
			err = errPropertyUTF8
		}
		if err != nil {
			return nil, 0, err
		}
		return b[:n+m], n + m, nil
	}
	value, size, err = sized(b)
	if err == nil && t == propString && !validString(value) {
		err = errPropertyUTF8
	}
	return value, size, err
}

// sized reads a string or binary data: two bytes of length and the bytes.
func sized(b []byte) (value []byte, size int, err error) {
	if len(b) < 2 {
		return nil, 0, errPropertyShort
	}
	n := 2 + int(b[0])<<8 + int(b[1])
	if n > len(b) {
		return nil, 0, errPropertyShort
	}
	return b[2:n:n], n, nil
}

// validString reports whether b is what MQTT calls a UTF-8 encoded string
// (1.5.4): well formed and without NUL.
func validString(b []byte) bool {
	for _, c := range b {
		if c == 0 {
			return false
		}
		if c >= utf8.RuneSelf {
			return validSlow(b)
		}
	}
	return true
}

func validSlow(b []byte) bool {
	for _, c := range b {
		if c == 0 {
			return false
		}
	}
	return utf8.Valid(b)
}

// PublishProps is what a PUBLISH says in its properties. Slices alias it.
type PublishProps struct {
	ContentType   []byte
	ResponseTopic []byte // Nil if there is none.
	Correlation   []byte // Nil if there is none.
	Expiry        uint32 // If HasExpiry.
	Alias         uint16 // If HasAlias.
	Users         int    // Number of user properties.

	PayloadFormat  byte
	HasContentType bool
	HasFormat      bool
	HasExpiry      bool
	HasAlias       bool
}

// ParsePublishProps checks the properties of a client's PUBLISH, or, with
// ofWill, of its will, and reads them.
func ParsePublishProps(b []byte, ofWill bool) (p PublishProps, err error) {
	typ := Publish
	if ofWill {
		typ = will
	}
	var seen uint64
	for len(b) > 0 {
		id := b[0]
		if id >= propCount || propRules[id].typ == propNone {
			return p, errPropertyID
		}
		rule := propRules[id]
		if rule.in&(1<<typ) == 0 || id == PropSubscriptionID {
			return p, errPropertyPlace
		}
		if seen&(1<<id) != 0 && id != PropUser {
			return p, errPropertyTwice
		}
		seen |= 1 << id
		value, size, err := propValue(rule.typ, b[1:])
		if err != nil {
			return p, err
		}
		switch id {
		case PropPayloadFormat:
			p.PayloadFormat, p.HasFormat = value[0], true
		case PropMessageExpiry:
			p.Expiry, p.HasExpiry = binary.BigEndian.Uint32(value), true
		case PropContentType:
			p.ContentType, p.HasContentType = value, true
		case PropResponseTopic:
			if CheckTopic(value) != nil || len(value) == 0 {
				return p, errResponseTopic
			}
			p.ResponseTopic = value
		case PropCorrelationData:
			p.Correlation = value
		case PropTopicAlias:
			p.Alias, p.HasAlias = binary.BigEndian.Uint16(value), true
		case PropUser:
			p.Users++
		}
		b = b[1+size:]
	}
	return p, nil
}

var errResponseTopic = violation("response topic is not a topic name")

// AppendForwarded appends those properties of a checked PUBLISH, or will, that
// a server hands on unchanged (3.3.2.3): all but the message expiry interval,
// the topic alias and the will delay.
func AppendForwarded(dst, props []byte) []byte {
	for len(props) > 0 {
		id := props[0]
		_, size, err := propValue(propRules[id].typ, props[1:])
		if err != nil {
			return dst // It was checked.
		}
		if id != PropMessageExpiry && id != PropTopicAlias && id != PropWillDelay {
			dst = append(dst, props[:1+size]...)
		}
		props = props[1+size:]
	}
	return dst
}

// UserProperties calls fn for each user property of checked properties, in
// order. The strings alias props.
func UserProperties(props []byte, fn func(name, value []byte)) {
	for len(props) > 0 {
		id := props[0]
		value, size, err := propValue(propRules[id].typ, props[1:])
		if err != nil {
			return
		}
		if id == PropUser {
			name, n, _ := sized(value)
			text, _, _ := sized(value[n:])
			fn(name, text)
		}
		props = props[1+size:]
	}
}

// AppendString appends a property whose value is a string or binary data, cut
// to the 65,535 bytes there is room for.
func AppendString(dst []byte, id byte, s string) []byte {
	return appendSized(append(dst, id), s)
}

// AppendUser appends a user property.
func AppendUser(dst []byte, name, value string) []byte {
	return appendSized(appendSized(append(dst, PropUser), name), value)
}

func appendSized(dst []byte, s string) []byte {
	if len(s) > 65535 {
		s = s[:65535]
	}
	return append(append(dst, byte(len(s)>>8), byte(len(s))), s...)
}

// ValidString reports whether s is what MQTT calls a UTF-8 encoded string.
func ValidString(s string) bool { return len(s) <= 65535 && validString([]byte(s)) }
