package wire

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/mochi-mqtt/server/v2/packets"
)

// DisconnectPacket is a client's DISCONNECT.
type DisconnectPacket struct {
	Code             Code
	SessionExpiry    uint32
	HasSessionExpiry bool
}

// clientCodes are the reason codes that a client may send in a DISCONNECT.
var clientCodes = []Code{
	Success, DisconnectWithWill, UnspecifiedError, MalformedPacket, ProtocolError, ImplementationSpecific, TopicNameInvalid,
	ReceiveMaximumExceeded, TopicAliasInvalid, PacketTooLarge, 0x96, QuotaExceeded, AdministrativeAction, PayloadFormatInvalid,
}

// ParseDisconnect reads the body of a client's DISCONNECT.
func ParseDisconnect(body []byte, version byte) (d DisconnectPacket, err error) {
	if version != V5 {
		if len(body) != 0 {
			return d, errTrailing
		}
		return d, nil
	}
	if len(body) == 0 {
		return d, nil
	}
	if d.Code = Code(body[0]); !slices.Contains(clientCodes, d.Code) {
		return d, violation("reason code of a DISCONNECT")
	}
	if len(body) == 1 {
		return d, nil
	}
	rest, err := CheckProperties(Disconnect, body[1:])
	if err != nil {
		return d, err
	}
	if len(rest) != 0 {
		return d, errTrailing
	}
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect, Remaining: len(body)}, ProtocolVersion: version}
	if err := pk.DisconnectDecode(body); err != nil {
		return d, malformed(err.Error())
	}
	if pk.Properties.ServerReference != "" {
		return d, errPropertyPlace
	}
	d.SessionExpiry, d.HasSessionExpiry = pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag
	return d, nil
}

// AppendDisconnect appends a DISCONNECT of MQTT 5, from the server or the
// client. The reason is left out if it is empty or the packet would be longer
// than max, unless that is 0.
func AppendDisconnect(dst []byte, code Code, reason string, max uint32) []byte {
	pk := packets.Packet{
		FixedHeader:     packets.FixedHeader{Type: packets.Disconnect},
		ProtocolVersion: V5,
		ReasonCode:      byte(code),
	}
	if max == 0 || len(reason)+8 <= int(max) {
		pk.Properties.ReasonString = reason
	}
	var buf bytes.Buffer
	pk.DisconnectEncode(&buf)
	return append(dst, buf.Bytes()...)
}

// AuthPacket is an AUTH.
type AuthPacket struct {
	Code   Code
	Method string
	Data   []byte // A copy; nil without any.
}

// ParseAuth reads the body of an AUTH.
func ParseAuth(body []byte) (a AuthPacket, err error) {
	if len(body) == 0 {
		return a, nil
	}
	a.Code = Code(body[0])
	if a.Code != Success && a.Code != ContinueAuthentication && a.Code != ReAuthenticate {
		return a, violation("reason code of an AUTH")
	}
	if len(body) == 1 {
		return a, nil
	}
	rest, err := CheckProperties(Auth, body[1:])
	if err != nil {
		return a, err
	}
	if len(rest) != 0 {
		return a, errTrailing
	}
	_, used, err := varint(body[1:])
	if err != nil {
		return a, err
	}
	err = walkProperties(Auth, body[1+used:], func(id byte, value []byte) {
		switch id {
		case PropAuthMethod:
			a.Method = string(value)
		case PropAuthData:
			a.Data = append([]byte{}, value...)
		}
	})
	return a, err
}

// AppendAuth appends an AUTH, from the server or the client. max is the
// receiver's maximum packet size, 0 for none: an AUTH that would be longer is
// left out.
func AppendAuth(dst []byte, a *AuthPacket, max uint32) []byte {
	pk := packets.Packet{
		FixedHeader:     packets.FixedHeader{Type: packets.Auth},
		ProtocolVersion: V5,
		ReasonCode:      byte(a.Code),
		Properties:      packets.Properties{AuthenticationMethod: a.Method, AuthenticationData: a.Data},
	}
	var buf bytes.Buffer
	pk.AuthEncode(&buf)
	if max != 0 && buf.Len() > int(max) {
		return dst
	}
	return append(dst, buf.Bytes()...)
}

// ParseDisconnectFromServer reads the body of a server's DISCONNECT, for
// clients.
func ParseDisconnectFromServer(body []byte) (code Code, reason string, err error) {
	if len(body) == 0 {
		return Success, "", nil
	}
	if len(body) > 1 {
		n, used, err := varint(body[1:])
		if err != nil || used == 0 || 1+used+n != len(body) {
			return 0, "", errPropertyLength
		}
		err = walkProperties(Disconnect, body[1+used:], func(id byte, v []byte) {
			if id == PropReasonString {
				reason = string(v)
			}
		})
		if err != nil {
			return 0, "", err
		}
	}
	return Code(body[0]), reason, nil
}

// ReadUint32 is a four-byte property's value.
func ReadUint32(value []byte) uint32 { return binary.BigEndian.Uint32(value) }

// WalkProperties checks properties, without their length, and calls fn with
// each: strings and binary data without their lengths.
func WalkProperties(typ byte, b []byte, fn func(id byte, value []byte)) error {
	return walkProperties(typ, b, fn)
}
