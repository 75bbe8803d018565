package wire

var errAckLength = malformed("acknowledgement of a wrong length")

// ParseAck reads the body of a PUBACK, PUBREC, PUBREL or PUBCOMP.
func ParseAck(typ byte, body []byte, version byte) (id uint16, code Code, err error) {
	if len(body) < 2 {
		return 0, 0, errAckLength
	}
	id = uint16(body[0])<<8 | uint16(body[1])
	if id == 0 {
		return 0, 0, errPacketID
	}
	if len(body) == 2 {
		return id, Success, nil
	}
	if version != V5 {
		return 0, 0, errAckLength
	}
	code = Code(body[2])
	if !ackCode(typ, code) {
		return 0, 0, violation("reason code of an acknowledgement")
	}
	if len(body) == 3 {
		return id, code, nil
	}
	rest, err := CheckProperties(typ, body[3:])
	if err == nil && len(rest) != 0 {
		err = errTrailing
	}
	return id, code, err
}

// ackCode reports whether a packet of type typ may have c.
func ackCode(typ byte, c Code) bool {
	switch c {
	case Success:
		return true
	case PacketIDNotFound:
		return typ == Pubrel || typ == Pubcomp
	case NoMatchingSubscribers, UnspecifiedError, ImplementationSpecific, NotAuthorized, TopicNameInvalid,
		PacketIDInUse, QuotaExceeded, PayloadFormatInvalid:
		return typ == Puback || typ == Pubrec
	}
	return false
}

// AppendAck appends a PUBACK, PUBREC, PUBREL or PUBCOMP. Clients older than
// MQTT 5 get no code.
func AppendAck(dst []byte, typ byte, id uint16, code Code, version byte) []byte {
	first := typ << 4
	if typ == Pubrel {
		first |= 2
	}
	if code == Success || version != V5 {
		return append(dst, first, 2, byte(id>>8), byte(id))
	}
	return append(dst, first, 3, byte(id>>8), byte(id), byte(code))
}
