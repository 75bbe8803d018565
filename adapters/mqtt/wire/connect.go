package wire

import (
	"bytes"
	"fmt"

	"github.com/mochi-mqtt/server/v2/packets"
)

// ConnectPacket is a CONNECT. It aliases nothing.
type ConnectPacket struct {
	Version   byte
	Clean     bool // Clean Session or Clean Start.
	KeepAlive uint16
	ClientID  string

	HasUser     bool
	HasPassword bool
	User        string
	Password    string

	Will *Will // Nil for none.

	// Properties of MQTT 5; 0 or nil where absent.
	SessionExpiry    uint32
	HasSessionExpiry bool
	ReceiveMaximum   uint16 // 65535 if absent.
	TopicAliasMax    uint16
	MaximumPacket    uint32
	NoProblemInfo    bool
	ResponseInfo     bool
	AuthMethod       string
	HasAuthMethod    bool
	AuthData         []byte // Nil without any.
}

// Will is the will of a CONNECT.
type Will struct {
	Topic   string
	Payload []byte
	QoS     byte
	Retain  bool
	Props   []byte // As on the wire, without length.
	DelayS  uint32
	Parsed  PublishProps // Aliases Props.
}

var (
	errShortConnect    = malformed("CONNECT ends too early")
	errProtocolName    = violation("protocol name")
	errReservedFlag    = malformed("reserved flag of CONNECT")
	errWillFlags       = malformed("will flags without will")
	errWillQoS         = malformed("will QoS 3")
	errPasswordFlag    = malformed("password without user name")
	errClientID        = malformed("client identifier is not a UTF-8 string")
	errUserUTF8        = malformed("user name is not a UTF-8 string")
	errWillTopic       = malformed("will topic")
	errAuthDataNoMeth  = violation("authentication data without method")
	errUnknownProtocol = &Error{UnsupportedVersion, "protocol version"}
)

// ParseConnect reads the body of a CONNECT. Besides its errors' codes, note that
// UnsupportedVersion and a wrong protocol name come before anything of the
// packet is known; Version is set as soon as it is.
func ParseConnect(body []byte) (*ConnectPacket, error) {
	c := &ConnectPacket{}
	name, n, err := sized(body)
	if err != nil {
		return c, errShortConnect
	}
	if s := string(name); s != "MQTT" && s != "MQIsdp" {
		return c, errProtocolName
	}
	if len(body) < n+4 {
		return c, errShortConnect
	}
	version := body[n]
	if string(name) == "MQTT" && version != V311 && version != V5 || string(name) == "MQIsdp" && version != V31 {
		return c, errUnknownProtocol
	}
	c.Version = version
	props, willProps, err := checkConnect(body, n)
	if err != nil {
		return c, err
	}

	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect, Remaining: len(body)}}
	if err := pk.ConnectDecode(body); err != nil {
		return c, &Error{MalformedPacket, fmt.Sprint("CONNECT: ", err)}
	}
	c.Clean, c.KeepAlive, c.ClientID = pk.Connect.Clean, pk.Connect.Keepalive, string([]byte(pk.Connect.ClientIdentifier))
	c.HasUser, c.HasPassword = pk.Connect.UsernameFlag, pk.Connect.PasswordFlag
	c.User, c.Password = string(pk.Connect.Username), string(pk.Connect.Password)
	if pk.Connect.WillFlag {
		w := &Will{
			Topic: string([]byte(pk.Connect.WillTopic)), Payload: bytes.Clone(pk.Connect.WillPayload),
			QoS: pk.Connect.WillQos, Retain: pk.Connect.WillRetain, Props: bytes.Clone(willProps),
			DelayS: pk.Connect.WillProperties.WillDelayInterval,
		}
		if w.Parsed, err = ParsePublishProps(w.Props, true); err != nil {
			return c, err
		}
		c.Will = w
	}
	p := &pk.Properties
	c.SessionExpiry, c.HasSessionExpiry = p.SessionExpiryInterval, p.SessionExpiryIntervalFlag
	c.ReceiveMaximum = 65535
	if p.ReceiveMaximum != 0 {
		c.ReceiveMaximum = p.ReceiveMaximum
	}
	c.TopicAliasMax, c.MaximumPacket = p.TopicAliasMaximum, p.MaximumPacketSize
	c.NoProblemInfo = p.RequestProblemInfoFlag && p.RequestProblemInfo == 0
	c.ResponseInfo = p.RequestResponseInfo == 1
	walkProperties(Connect, props, func(id byte, value []byte) {
		c.HasAuthMethod = c.HasAuthMethod || id == PropAuthMethod
		if id == PropAuthData {
			c.AuthData = append([]byte{}, value...)
		}
	})
	c.AuthMethod = string([]byte(p.AuthenticationMethod))
	if c.AuthData != nil && !c.HasAuthMethod {
		return c, errAuthDataNoMeth
	}
	return c, nil
}

// checkConnect walks over a CONNECT whose protocol name takes n bytes. It
// returns the properties, without their lengths.
func checkConnect(body []byte, n int) (props, willProps []byte, err error) {
	version, flags := body[n], body[n+1]
	b := body[n+4:]
	const (
		flagReserved = 1
		flagWill     = 4
		flagWillQoS  = 0x18
		flagRetain   = 0x20
		flagPassword = 0x40
		flagUser     = 0x80
	)
	switch {
	case flags&flagReserved != 0:
		return nil, nil, errReservedFlag
	case flags&flagWill == 0 && flags&(flagWillQoS|flagRetain) != 0:
		return nil, nil, errWillFlags
	case flags&flagWillQoS == flagWillQoS:
		return nil, nil, errWillQoS
	case version != V5 && flags&flagPassword != 0 && flags&flagUser == 0:
		return nil, nil, errPasswordFlag
	}
	properties := func(typ byte) (inner []byte, err error) {
		rest, err := CheckProperties(typ, b)
		if err != nil {
			return nil, err
		}
		_, used, _ := varint(b)
		inner, b = b[used:len(b)-len(rest)], rest
		return inner, nil
	}
	field := func() ([]byte, error) {
		v, n, err := sized(b)
		if err != nil {
			return nil, errShortConnect
		}
		b = b[n:]
		return v, nil
	}
	if version == V5 {
		if props, err = properties(Connect); err != nil {
			return nil, nil, err
		}
	}
	id, err := field()
	if err != nil {
		return nil, nil, err
	}
	if !validString(id) {
		return nil, nil, errClientID
	}
	if flags&flagWill != 0 {
		if version == V5 {
			if willProps, err = properties(will); err != nil {
				return nil, nil, err
			}
		}
		topic, err := field()
		if err != nil {
			return nil, nil, err
		}
		if len(topic) == 0 || CheckTopic(topic) != nil {
			return nil, nil, errWillTopic
		}
		if _, err = field(); err != nil {
			return nil, nil, err
		}
	}
	if flags&flagUser != 0 {
		user, err := field()
		if err != nil {
			return nil, nil, err
		}
		if !validString(user) {
			return nil, nil, errUserUTF8
		}
	}
	if flags&flagPassword != 0 {
		if _, err := field(); err != nil {
			return nil, nil, err
		}
	}
	if len(b) != 0 {
		return nil, nil, errTrailing
	}
	return props, willProps, nil
}

// ConnackPacket is a CONNACK of MQTT 5; older versions carry the first two.
type ConnackPacket struct {
	SessionPresent bool
	Code           Code // For older versions: their return code.

	SessionExpiry    uint32
	HasSessionExpiry bool
	ReceiveMaximum   uint16
	MaximumPacket    uint32
	TopicAliasMax    uint16
	AssignedClientID string
	ServerKeepAlive  uint16
	HasKeepAlive     bool
	ResponseInfo     string
	Reason           string
	AuthMethod       string // "" without one.
}

// AppendConnack appends a CONNACK. max is the client's maximum packet size, 0
// for none; the reason string is left out if it would not fit.
func AppendConnack(dst []byte, c *ConnackPacket, version byte, max uint32) []byte {
	pk := packets.Packet{
		FixedHeader:     packets.FixedHeader{Type: packets.Connack},
		ProtocolVersion: version,
		SessionPresent:  c.SessionPresent,
		ReasonCode:      byte(c.Code),
		Mods:            packets.Mods{AllowResponseInfo: true, MaxSize: max},
		Properties: packets.Properties{
			SessionExpiryInterval: c.SessionExpiry, SessionExpiryIntervalFlag: c.HasSessionExpiry,
			ReceiveMaximum: c.ReceiveMaximum, MaximumPacketSize: c.MaximumPacket, TopicAliasMaximum: c.TopicAliasMax,
			AssignedClientID: c.AssignedClientID, ServerKeepAlive: c.ServerKeepAlive, ServerKeepAliveFlag: c.HasKeepAlive,
			ResponseInfo: c.ResponseInfo, ReasonString: c.Reason, AuthenticationMethod: c.AuthMethod,
		},
	}
	var buf bytes.Buffer
	pk.ConnackEncode(&buf) // It has no way to fail.
	return append(dst, buf.Bytes()...)
}

// ParseConnack reads the body of a CONNACK.
func ParseConnack(body []byte, version byte) (*ConnackPacket, error) {
	if len(body) < 2 || version != V5 && len(body) != 2 || body[0] > 1 {
		return nil, malformed("CONNACK")
	}
	if version == V5 {
		if rest, err := CheckProperties(Connack, body[2:]); err != nil {
			return nil, err
		} else if len(rest) != 0 {
			return nil, errTrailing
		}
	}
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connack, Remaining: len(body)}, ProtocolVersion: version}
	if err := pk.ConnackDecode(body); err != nil {
		return nil, malformed(err.Error())
	}
	p := &pk.Properties
	return &ConnackPacket{
		SessionPresent: pk.SessionPresent, Code: Code(pk.ReasonCode),
		SessionExpiry: p.SessionExpiryInterval, HasSessionExpiry: p.SessionExpiryIntervalFlag,
		ReceiveMaximum: p.ReceiveMaximum, MaximumPacket: p.MaximumPacketSize, TopicAliasMax: p.TopicAliasMaximum,
		AssignedClientID: string([]byte(p.AssignedClientID)), ServerKeepAlive: p.ServerKeepAlive, HasKeepAlive: p.ServerKeepAliveFlag,
		ResponseInfo: string([]byte(p.ResponseInfo)), Reason: string([]byte(p.ReasonString)),
		AuthMethod: string([]byte(p.AuthenticationMethod)),
	}, nil
}

// AppendConnect appends a CONNECT, for clients. Properties are those that
// ConnectPacket has; those of the will are raw.
func AppendConnect(dst []byte, c *ConnectPacket) []byte {
	var b []byte
	if c.Version == V31 {
		b = appendSized(b, "MQIsdp")
	} else {
		b = appendSized(b, "MQTT")
	}
	var flags byte
	set := func(is bool, f byte) {
		if is {
			flags |= f
		}
	}
	set(c.Clean, 2)
	set(c.HasUser, 0x80)
	set(c.HasPassword, 0x40)
	if w := c.Will; w != nil {
		flags |= 4 | w.QoS<<3
		set(w.Retain, 0x20)
	}
	b = append(b, c.Version, flags, byte(c.KeepAlive>>8), byte(c.KeepAlive))
	if c.Version == V5 {
		pk := packets.Properties{
			SessionExpiryInterval: c.SessionExpiry, SessionExpiryIntervalFlag: c.HasSessionExpiry,
			TopicAliasMaximum: c.TopicAliasMax, MaximumPacketSize: c.MaximumPacket, RequestProblemInfoFlag: c.NoProblemInfo,
			AuthenticationMethod: c.AuthMethod, AuthenticationData: c.AuthData,
		}
		if c.ReceiveMaximum != 65535 {
			pk.ReceiveMaximum = c.ReceiveMaximum
		}
		if c.ResponseInfo {
			pk.RequestResponseInfo = 1
		}
		var buf bytes.Buffer
		pk.Encode(packets.Connect, packets.Mods{}, &buf, 0)
		b = append(b, buf.Bytes()...)
	}
	b = appendSized(b, c.ClientID)
	if w := c.Will; w != nil {
		if c.Version == V5 {
			b = append(appendVarint(b, len(w.Props)), w.Props...)
		}
		b = appendSized(appendSized(b, w.Topic), string(w.Payload))
	}
	if c.HasUser {
		b = appendSized(b, c.User)
	}
	if c.HasPassword {
		b = appendSized(b, c.Password)
	}
	return append(AppendHeader(dst, Connect<<4, len(b)), b...)
}
