package wire

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

// Property flags, in the order in which the properties follow them. Bits 1
// and 0 carry nothing: bit 0 announces further flags, which AMQP 0-9-1 does
// not have.
const (
	FlagContentType     uint16 = 1 << 15
	FlagContentEncoding uint16 = 1 << 14
	FlagHeaders         uint16 = 1 << 13
	FlagDeliveryMode    uint16 = 1 << 12
	FlagPriority        uint16 = 1 << 11
	FlagCorrelationID   uint16 = 1 << 10
	FlagReplyTo         uint16 = 1 << 9
	FlagExpiration      uint16 = 1 << 8
	FlagMessageID       uint16 = 1 << 7
	FlagTimestamp       uint16 = 1 << 6
	FlagType            uint16 = 1 << 5
	FlagUserID          uint16 = 1 << 4
	FlagAppID           uint16 = 1 << 3
	FlagClusterID       uint16 = 1 << 2

	flagsUnused uint16 = 1<<1 | 1<<0
)

// Delivery modes. Any other counts as transient.
const (
	Transient  uint8 = 1
	Persistent uint8 = 2
)

// Errors of content headers. Undecodable properties give ErrProperties, or
// ErrTable or ErrTableDepth if it is their headers table.
var (
	ErrContentHeader = errors.New("malformed content header")
	ErrProperties    = errors.New("broken content properties")
)

// Properties are the properties of a message, decoded. For the cold path.
//
// A property is present if its flag is set in Flags, or its value is not the
// zero value: one who builds Properties need not care about Flags, and one
// who parses them can tell an empty string from none. Use Remove to take one
// away.
type Properties struct {
	Flags           uint16
	ContentType     string
	ContentEncoding string
	Headers         Table
	DeliveryMode    uint8
	Priority        uint8
	CorrelationID   string
	ReplyTo         string
	Expiration      string // Milliseconds in decimal, if the publisher kept to the rules.
	MessageID       string
	Timestamp       Timestamp
	Type            string
	UserID          string
	AppID           string
	ClusterID       string
}

// Present returns the flags of the properties that are there.
func (p *Properties) Present() uint16 {
	flags := p.Flags &^ flagsUnused
	if p.ContentType != "" {
		flags |= FlagContentType
	}
	if p.ContentEncoding != "" {
		flags |= FlagContentEncoding
	}
	if len(p.Headers) > 0 {
		flags |= FlagHeaders
	}
	if p.DeliveryMode != 0 {
		flags |= FlagDeliveryMode
	}
	if p.Priority != 0 {
		flags |= FlagPriority
	}
	if p.CorrelationID != "" {
		flags |= FlagCorrelationID
	}
	if p.ReplyTo != "" {
		flags |= FlagReplyTo
	}
	if p.Expiration != "" {
		flags |= FlagExpiration
	}
	if p.MessageID != "" {
		flags |= FlagMessageID
	}
	if p.Timestamp != 0 {
		flags |= FlagTimestamp
	}
	if p.Type != "" {
		flags |= FlagType
	}
	if p.UserID != "" {
		flags |= FlagUserID
	}
	if p.AppID != "" {
		flags |= FlagAppID
	}
	if p.ClusterID != "" {
		flags |= FlagClusterID
	}
	return flags
}

// Remove takes the properties in flags away.
func (p *Properties) Remove(flags uint16) {
	p.Flags &^= flags
	var zero Properties
	if flags&FlagContentType != 0 {
		p.ContentType = zero.ContentType
	}
	if flags&FlagContentEncoding != 0 {
		p.ContentEncoding = zero.ContentEncoding
	}
	if flags&FlagHeaders != 0 {
		p.Headers = zero.Headers
	}
	if flags&FlagDeliveryMode != 0 {
		p.DeliveryMode = zero.DeliveryMode
	}
	if flags&FlagPriority != 0 {
		p.Priority = zero.Priority
	}
	if flags&FlagCorrelationID != 0 {
		p.CorrelationID = zero.CorrelationID
	}
	if flags&FlagReplyTo != 0 {
		p.ReplyTo = zero.ReplyTo
	}
	if flags&FlagExpiration != 0 {
		p.Expiration = zero.Expiration
	}
	if flags&FlagMessageID != 0 {
		p.MessageID = zero.MessageID
	}
	if flags&FlagTimestamp != 0 {
		p.Timestamp = zero.Timestamp
	}
	if flags&FlagType != 0 {
		p.Type = zero.Type
	}
	if flags&FlagUserID != 0 {
		p.UserID = zero.UserID
	}
	if flags&FlagAppID != 0 {
		p.AppID = zero.AppID
	}
	if flags&FlagClusterID != 0 {
		p.ClusterID = zero.ClusterID
	}
}

// ParseProperties decodes props. Nothing of the result aliases them. It
// succeeds exactly if ScanProperties does.
func ParseProperties(props []byte) (Properties, error) {
	d := decoder{rest: props, anyBytes: true}
	flags := d.short()
	p := Properties{Flags: flags &^ flagsUnused}
	if flags&FlagContentType != 0 {
		p.ContentType = d.shortstr()
	}
	if flags&FlagContentEncoding != 0 {
		p.ContentEncoding = d.shortstr()
	}
	if flags&FlagHeaders != 0 {
		p.Headers = d.table()
	}
	if flags&FlagDeliveryMode != 0 {
		p.DeliveryMode = d.octet()
	}
	if flags&FlagPriority != 0 {
		p.Priority = d.octet()
	}
	if flags&FlagCorrelationID != 0 {
		p.CorrelationID = d.shortstr()
	}
	if flags&FlagReplyTo != 0 {
		p.ReplyTo = d.shortstr()
	}
	if flags&FlagExpiration != 0 {
		p.Expiration = d.shortstr()
	}
	if flags&FlagMessageID != 0 {
		p.MessageID = d.shortstr()
	}
	if flags&FlagTimestamp != 0 {
		p.Timestamp = Timestamp(d.longlong())
	}
	if flags&FlagType != 0 {
		p.Type = d.shortstr()
	}
	if flags&FlagUserID != 0 {
		p.UserID = d.shortstr()
	}
	if flags&FlagAppID != 0 {
		p.AppID = d.shortstr()
	}
	if flags&FlagClusterID != 0 {
		p.ClusterID = d.shortstr()
	}
	switch {
	case errors.Is(d.err, ErrTable):
		return Properties{}, d.err
	case d.err != nil || len(d.rest) > 0:
		return Properties{}, ErrProperties
	}
	return p, nil
}

// AppendProperties appends p as it travels: flags, then the list of those
// present. Strings are cut to 255 bytes; for the values of headers see
// AppendTable.
func AppendProperties(dst []byte, p *Properties) []byte {
	flags := p.Present()
	dst = appendShort(dst, flags)
	if flags&FlagContentType != 0 {
		dst = appendShortstr(dst, p.ContentType)
	}
	if flags&FlagContentEncoding != 0 {
		dst = appendShortstr(dst, p.ContentEncoding)
	}
	if flags&FlagHeaders != 0 {
		dst = AppendTable(dst, p.Headers)
	}
	if flags&FlagDeliveryMode != 0 {
		dst = append(dst, p.DeliveryMode)
	}
	if flags&FlagPriority != 0 {
		dst = append(dst, p.Priority)
	}
	if flags&FlagCorrelationID != 0 {
		dst = appendShortstr(dst, p.CorrelationID)
	}
	if flags&FlagReplyTo != 0 {
		dst = appendShortstr(dst, p.ReplyTo)
	}
	if flags&FlagExpiration != 0 {
		dst = appendShortstr(dst, p.Expiration)
	}
	if flags&FlagMessageID != 0 {
		dst = appendShortstr(dst, p.MessageID)
	}
	if flags&FlagTimestamp != 0 {
		dst = appendLonglong(dst, uint64(p.Timestamp))
	}
	if flags&FlagType != 0 {
		dst = appendShortstr(dst, p.Type)
	}
	if flags&FlagUserID != 0 {
		dst = appendShortstr(dst, p.UserID)
	}
	if flags&FlagAppID != 0 {
		dst = appendShortstr(dst, p.AppID)
	}
	if flags&FlagClusterID != 0 {
		dst = appendShortstr(dst, p.ClusterID)
	}
	return dst
}

// ParseContentHeader takes a header frame's payload apart. props alias it and
// are not looked at. bodySize is what the peer announces, and needs a limit
// before anything is made of it. The error is ErrContentHeader.
//
//	0       2        4           12      14
//	+-------+--------+-----------+-------+--- ... ---+
//	| class | weight | body size | flags | list      |
//	|  (60) |   (0)  |           |<------ props ---->|
//	+-------+--------+-----------+-------+--- ... ---+
func ParseContentHeader(payload []byte) (class uint16, bodySize uint64, props []byte, err error) {
	if len(payload) < contentHeaderSize+2 || payload[2]|payload[3] != 0 {
		return 0, 0, nil, ErrContentHeader
	}
	return binary.BigEndian.Uint16(payload), binary.BigEndian.Uint64(payload[4:]), payload[contentHeaderSize:], nil
}

// contentHeaderSize is how long a header frame's payload is without props.
const contentHeaderSize = 12

// Span is a part of props.
type Span struct{ Off, Len uint32 }

// Of returns the part of props that s is: it aliases them.
func (s Span) Of(props []byte) []byte { return props[s.Off:][:s.Len:s.Len] }

// PropInfo is what a broker must know of props that it hands through. Values
// of properties that are not there (see Flags) are zero.
type PropInfo struct {
	Flags        uint16 // Of the properties present.
	DeliveryMode uint8
	Priority     uint8

	// Whether the headers have a field of that name, not inside another one.
	HasCC, HasBCC bool
	HasDelay      bool // "x-delay"

	// Whether props must go through Fix before anybody else gets to see them.
	NeedsFix bool

	// Without their length in front, Headers fit for DecodeTable.
	Headers, ReplyTo, Expiration, UserID Span
}

// ScanProperties checks that props can be decoded, all the way down into the
// headers, and notes what a broker must know of them. One pass, no
// allocation. The error is ErrProperties, ErrTable or ErrTableDepth.
func ScanProperties(props []byte) (info PropInfo, err error) {
	if len(props) < 2 {
		return PropInfo{}, ErrProperties
	}
	flags := binary.BigEndian.Uint16(props)
	info.Flags = flags &^ flagsUnused
	info.NeedsFix = flags != info.Flags

	at := 2
	for rest := info.Flags; rest != 0; {
		flag := uint16(1<<15) >> bits.LeadingZeros16(rest)
		rest &^= flag
		if at >= len(props) {
			return PropInfo{}, ErrProperties // Each property has at least a byte.
		}
		switch flag {
		case FlagDeliveryMode:
			info.DeliveryMode = props[at]
			at++
			continue
		case FlagPriority:
			info.Priority = props[at]
			at++
			continue
		case FlagTimestamp:
			at += 8
			continue
		case FlagHeaders:
			if len(props)-at < 4 {
				return PropInfo{}, ErrProperties
			}
			size := binary.BigEndian.Uint32(props[at:])
			at += 4
			if uint64(size) > uint64(len(props)-at) {
				return PropInfo{}, ErrProperties
			}
			info.Headers = Span{uint32(at), size}
			if err := info.scanHeaders(props[at : at+int(size)]); err != nil {
				return PropInfo{}, err
			}
			at += int(size)
			continue
		}
		text := Span{uint32(at + 1), uint32(props[at])}
		at += 1 + int(text.Len)
		switch flag {
		case FlagReplyTo:
			info.ReplyTo = text
		case FlagExpiration:
			info.Expiration = text
		case FlagUserID:
			info.UserID = text
		}
	}
	if at != len(props) {
		return PropInfo{}, ErrProperties
	}
	return info, nil
}

func (info *PropInfo) scanHeaders(b []byte) error {
	for len(b) > 0 {
		name, value, ok := splitName(b)
		if !ok {
			return ErrTable
		}
		switch string(name) {
		case "CC":
			info.HasCC = true
		case "BCC":
			info.HasBCC = true
		case "x-delay":
			info.HasDelay = true
		}
		start, end := valueSpan(value)
		if end == 0 {
			return ErrTable
		}
		switch letter := value[0]; letter {
		case 'L':
			info.NeedsFix = true
		case 'F', 'A':
			hasL, err := scanNested(value[start:end], letter, 1)
			if err != nil {
				return err
			}
			info.NeedsFix = info.NeedsFix || hasL
		}
		b = value[end:]
	}
	return nil
}

// scanNested checks a table (F) or array (A) that lies depth deep inside the
// headers, and tells whether there is an L in it.
func scanNested(b []byte, kind byte, depth int) (hasL bool, err error) {
	if depth > MaxTableDepth {
		return false, ErrTableDepth
	}
	for len(b) > 0 {
		if kind == 'F' {
			var ok bool
			if _, b, ok = splitName(b); !ok {
				return false, ErrTable
			}
		}
		start, end := valueSpan(b)
		if end == 0 {
			return false, ErrTable
		}
		switch letter := b[0]; letter {
		case 'L':
			hasL = true
		case 'F', 'A':
			innerL, err := scanNested(b[start:end], letter, depth+1)
			if err != nil {
				return false, err
			}
			hasL = hasL || innerL
		}
		b = b[end:]
	}
	return hasL, nil
}

// Fix rewrites props, which info must have been scanned from, so that every
// client can read them, and clears NeedsFix. It turns each L into the l that
// RabbitMQ would send, and clears the unused flags, which a client would take
// for the announcement of more. The length stays the same, so this is done in
// place: in the read buffer, if need be. One who recognises props seen before
// by their bytes must compare them before.
func (info *PropInfo) Fix(props []byte) {
	binary.BigEndian.PutUint16(props, info.Flags)
	fixNested(info.Headers.Of(props), 'F')
	info.NeedsFix = false
}

// fixNested turns each L into l. b has been scanned, so nothing is wrong in it.
func fixNested(b []byte, kind byte) {
	for len(b) > 0 {
		if kind == 'F' {
			_, b, _ = splitName(b)
		}
		start, end := valueSpan(b)
		switch letter := b[0]; letter {
		case 'L':
			b[0] = 'l'
		case 'F', 'A':
			fixNested(b[start:end], letter)
		}
		b = b[end:]
	}
}
