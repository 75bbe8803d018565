package wire

// ChannelOpen (20.10) opens the channel it comes on, from client to server.
type ChannelOpen struct{}

// ID implements Method.
func (*ChannelOpen) ID() uint32 { return IDChannelOpen }

// Append implements Method.
func (*ChannelOpen) Append(dst []byte) []byte {
	dst = appendID(dst, IDChannelOpen)
	return appendShortstr(dst, "")
}

func (*ChannelOpen) decode(d *decoder) { d.shortstr() }

// ChannelOpenOk (20.11) answers ChannelOpen, from server to client.
type ChannelOpenOk struct{}

// ID implements Method.
func (*ChannelOpenOk) ID() uint32 { return IDChannelOpenOk }

// Append implements Method.
func (*ChannelOpenOk) Append(dst []byte) []byte {
	dst = appendID(dst, IDChannelOpenOk)
	return appendLong(dst, 0)
}

func (*ChannelOpenOk) decode(d *decoder) { d.longstr() }

// ChannelFlow (20.20) asks the peer to stop or resume sending content, in
// both directions.
type ChannelFlow struct {
	Active bool
}

// ID implements Method.
func (*ChannelFlow) ID() uint32 { return IDChannelFlow }

// Append implements Method.
func (m *ChannelFlow) Append(dst []byte) []byte {
	dst = appendID(dst, IDChannelFlow)
	return append(dst, bit(m.Active, 0))
}

func (m *ChannelFlow) decode(d *decoder) { m.Active = isSet(d.octet(), 0) }

// ChannelFlowOk (20.21) answers ChannelFlow, in both directions.
type ChannelFlowOk struct {
	Active bool
}

// ID implements Method.
func (*ChannelFlowOk) ID() uint32 { return IDChannelFlowOk }

// Append implements Method.
func (m *ChannelFlowOk) Append(dst []byte) []byte {
	dst = appendID(dst, IDChannelFlowOk)
	return append(dst, bit(m.Active, 0))
}

func (m *ChannelFlowOk) decode(d *decoder) { m.Active = isSet(d.octet(), 0) }

// ChannelClose (20.40) ends the channel, in both directions.
type ChannelClose struct {
	Code   uint16 // One of the Reply constants.
	Text   string
	Class  uint16 // Class and method of what failed, 0 and 0 if it was no method.
	Method uint16
}

// ID implements Method.
func (*ChannelClose) ID() uint32 { return IDChannelClose }

// Append implements Method.
func (m *ChannelClose) Append(dst []byte) []byte {
	dst = appendID(dst, IDChannelClose)
	dst = appendShort(dst, m.Code)
	dst = appendShortstr(dst, m.Text)
	dst = appendShort(dst, m.Class)
	return appendShort(dst, m.Method)
}

func (m *ChannelClose) decode(d *decoder) {
	m.Code = d.short()
	m.Text = d.shortstr()
	m.Class = d.short()
	m.Method = d.short()
}

// ChannelCloseOk (20.41) answers ChannelClose, in both directions. The
// channel number is free again.
type ChannelCloseOk struct{}

// ID implements Method.
func (*ChannelCloseOk) ID() uint32 { return IDChannelCloseOk }

// Append implements Method.
func (*ChannelCloseOk) Append(dst []byte) []byte { return appendID(dst, IDChannelCloseOk) }

func (*ChannelCloseOk) decode(*decoder) {}

// AccessRequest (30.10) is left over from AMQP 0-8, from client to server. It
// has no effect.
type AccessRequest struct {
	Realm                                   string
	Exclusive, Passive, Active, Write, Read bool
}

// ID implements Method.
func (*AccessRequest) ID() uint32 { return IDAccessRequest }

// Append implements Method.
func (m *AccessRequest) Append(dst []byte) []byte {
	dst = appendID(dst, IDAccessRequest)
	dst = appendShortstr(dst, m.Realm)
	return append(dst, bit(m.Exclusive, 0)|bit(m.Passive, 1)|bit(m.Active, 2)|bit(m.Write, 3)|bit(m.Read, 4))
}

func (m *AccessRequest) decode(d *decoder) {
	m.Realm = d.shortstr()
	flags := d.octet()
	m.Exclusive = isSet(flags, 0)
	m.Passive = isSet(flags, 1)
	m.Active = isSet(flags, 2)
	m.Write = isSet(flags, 3)
	m.Read = isSet(flags, 4)
}

// AccessRequestOk (30.11) answers AccessRequest, from server to client.
type AccessRequestOk struct {
	Ticket uint16 // RabbitMQ always says 1.
}

// ID implements Method.
func (*AccessRequestOk) ID() uint32 { return IDAccessRequestOk }

// Append implements Method.
func (m *AccessRequestOk) Append(dst []byte) []byte {
	dst = appendID(dst, IDAccessRequestOk)
	return appendShort(dst, m.Ticket)
}

func (m *AccessRequestOk) decode(d *decoder) { m.Ticket = d.short() }
