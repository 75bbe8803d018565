package wire

// ConnectionStart (10.10) opens the handshake, from server to client. Sent in
// answer to the protocol header.
type ConnectionStart struct {
	VersionMajor     byte
	VersionMinor     byte
	ServerProperties Table
	Mechanisms       string // Separated by spaces.
	Locales          string // Separated by spaces.
}

// ID implements Method.
func (*ConnectionStart) ID() uint32 { return IDConnectionStart }

// Append implements Method.
func (m *ConnectionStart) Append(dst []byte) []byte {
	dst = appendID(dst, IDConnectionStart)
	dst = append(dst, m.VersionMajor, m.VersionMinor)
	dst = AppendTable(dst, m.ServerProperties)
	dst = appendLongstr(dst, m.Mechanisms)
	return appendLongstr(dst, m.Locales)
}

func (m *ConnectionStart) decode(d *decoder) {
	m.VersionMajor = d.octet()
	m.VersionMinor = d.octet()
	m.ServerProperties = d.table()
	m.Mechanisms = string(d.longstr())
	m.Locales = string(d.longstr())
}

// ConnectionStartOk (10.11) chooses a mechanism and answers its first
// challenge, from client to server.
type ConnectionStartOk struct {
	ClientProperties Table
	Mechanism        string
	Response         []byte // Of the mechanism; a credential.
	Locale           string
}

// ID implements Method.
func (*ConnectionStartOk) ID() uint32 { return IDConnectionStartOk }

// Append implements Method.
func (m *ConnectionStartOk) Append(dst []byte) []byte {
	dst = appendID(dst, IDConnectionStartOk)
	dst = AppendTable(dst, m.ClientProperties)
	dst = appendShortstr(dst, m.Mechanism)
	dst = appendLongstr(dst, m.Response)
	return appendShortstr(dst, m.Locale)
}

func (m *ConnectionStartOk) decode(d *decoder) {
	m.ClientProperties = d.table()
	m.Mechanism = d.shortstr()
	m.Response = d.longstr()
	m.Locale = d.shortstr()
}

// ConnectionSecure (10.20) asks for more of the mechanism, from server to
// client.
type ConnectionSecure struct {
	Challenge []byte
}

// ID implements Method.
func (*ConnectionSecure) ID() uint32 { return IDConnectionSecure }

// Append implements Method.
func (m *ConnectionSecure) Append(dst []byte) []byte {
	dst = appendID(dst, IDConnectionSecure)
	return appendLongstr(dst, m.Challenge)
}

func (m *ConnectionSecure) decode(d *decoder) { m.Challenge = d.longstr() }

// ConnectionSecureOk (10.21) answers ConnectionSecure, from client to server.
type ConnectionSecureOk struct {
	Response []byte
}

// ID implements Method.
func (*ConnectionSecureOk) ID() uint32 { return IDConnectionSecureOk }

// Append implements Method.
func (m *ConnectionSecureOk) Append(dst []byte) []byte {
	dst = appendID(dst, IDConnectionSecureOk)
	return appendLongstr(dst, m.Response)
}

func (m *ConnectionSecureOk) decode(d *decoder) { m.Response = d.longstr() }

// ConnectionTune (10.30) proposes limits, from server to client. 0 is no
// limit.
type ConnectionTune struct {
	ChannelMax uint16
	FrameMax   uint32 // In bytes, overhead included.
	Heartbeat  uint16 // In seconds, 0 for none.
}

// ID implements Method.
func (*ConnectionTune) ID() uint32 { return IDConnectionTune }

// Append implements Method.
func (m *ConnectionTune) Append(dst []byte) []byte {
	dst = appendID(dst, IDConnectionTune)
	dst = appendShort(dst, m.ChannelMax)
	dst = appendLong(dst, m.FrameMax)
	return appendShort(dst, m.Heartbeat)
}

func (m *ConnectionTune) decode(d *decoder) {
	m.ChannelMax = d.short()
	m.FrameMax = d.long()
	m.Heartbeat = d.short()
}

// ConnectionTuneOk (10.31) settles the limits, from client to server.
type ConnectionTuneOk struct {
	ChannelMax uint16
	FrameMax   uint32 // In bytes, overhead included.
	Heartbeat  uint16 // In seconds, 0 for none.
}

// ID implements Method.
func (*ConnectionTuneOk) ID() uint32 { return IDConnectionTuneOk }

// Append implements Method.
func (m *ConnectionTuneOk) Append(dst []byte) []byte {
	dst = appendID(dst, IDConnectionTuneOk)
	dst = appendShort(dst, m.ChannelMax)
	dst = appendLong(dst, m.FrameMax)
	return appendShort(dst, m.Heartbeat)
}

func (m *ConnectionTuneOk) decode(d *decoder) {
	m.ChannelMax = d.short()
	m.FrameMax = d.long()
	m.Heartbeat = d.short()
}

// ConnectionOpen (10.40) enters a vhost, from client to server.
type ConnectionOpen struct {
	VirtualHost string
}

// ID implements Method.
func (*ConnectionOpen) ID() uint32 { return IDConnectionOpen }

// Append implements Method.
func (m *ConnectionOpen) Append(dst []byte) []byte {
	dst = appendID(dst, IDConnectionOpen)
	dst = appendShortstr(dst, m.VirtualHost)
	dst = appendShortstr(dst, "")
	return append(dst, 0)
}

func (m *ConnectionOpen) decode(d *decoder) {
	m.VirtualHost = d.shortstr()
	d.shortstr()
	d.octet()
}

// ConnectionOpenOk (10.41) ends the handshake, from server to client.
type ConnectionOpenOk struct{}

// ID implements Method.
func (*ConnectionOpenOk) ID() uint32 { return IDConnectionOpenOk }

// Append implements Method.
func (*ConnectionOpenOk) Append(dst []byte) []byte {
	dst = appendID(dst, IDConnectionOpenOk)
	return appendShortstr(dst, "")
}

func (*ConnectionOpenOk) decode(d *decoder) { d.shortstr() }

// ConnectionClose (10.50) ends the connection, in both directions.
type ConnectionClose struct {
	Code   uint16 // One of the Reply constants.
	Text   string
	Class  uint16 // Class and method of what failed, 0 and 0 if it was no method.
	Method uint16
}

// ID implements Method.
func (*ConnectionClose) ID() uint32 { return IDConnectionClose }

// Append implements Method.
func (m *ConnectionClose) Append(dst []byte) []byte {
	dst = appendID(dst, IDConnectionClose)
	dst = appendShort(dst, m.Code)
	dst = appendShortstr(dst, m.Text)
	dst = appendShort(dst, m.Class)
	return appendShort(dst, m.Method)
}

func (m *ConnectionClose) decode(d *decoder) {
	m.Code = d.short()
	m.Text = d.shortstr()
	m.Class = d.short()
	m.Method = d.short()
}

// ConnectionCloseOk (10.51) answers ConnectionClose, in both directions.
// Nothing follows it.
type ConnectionCloseOk struct{}

// ID implements Method.
func (*ConnectionCloseOk) ID() uint32 { return IDConnectionCloseOk }

// Append implements Method.
func (*ConnectionCloseOk) Append(dst []byte) []byte { return appendID(dst, IDConnectionCloseOk) }

func (*ConnectionCloseOk) decode(*decoder) {}

// ConnectionBlocked (10.60) says that the broker reads no publishes any more,
// from server to client.
type ConnectionBlocked struct {
	Reason string
}

// ID implements Method.
func (*ConnectionBlocked) ID() uint32 { return IDConnectionBlocked }

// Append implements Method.
func (m *ConnectionBlocked) Append(dst []byte) []byte {
	dst = appendID(dst, IDConnectionBlocked)
	return appendShortstr(dst, m.Reason)
}

func (m *ConnectionBlocked) decode(d *decoder) { m.Reason = d.shortstr() }

// ConnectionUnblocked (10.61) takes ConnectionBlocked back, from server to
// client.
type ConnectionUnblocked struct{}

// ID implements Method.
func (*ConnectionUnblocked) ID() uint32 { return IDConnectionUnblocked }

// Append implements Method.
func (*ConnectionUnblocked) Append(dst []byte) []byte { return appendID(dst, IDConnectionUnblocked) }

func (*ConnectionUnblocked) decode(*decoder) {}

// ConnectionUpdateSecret (10.70) replaces a credential that expires, from
// client to server.
type ConnectionUpdateSecret struct {
	NewSecret []byte
	Reason    string
}

// ID implements Method.
func (*ConnectionUpdateSecret) ID() uint32 { return IDConnectionUpdateSecret }

// Append implements Method.
func (m *ConnectionUpdateSecret) Append(dst []byte) []byte {
	dst = appendID(dst, IDConnectionUpdateSecret)
	dst = appendLongstr(dst, m.NewSecret)
	return appendShortstr(dst, m.Reason)
}

func (m *ConnectionUpdateSecret) decode(d *decoder) {
	m.NewSecret = d.longstr()
	m.Reason = d.shortstr()
}

// ConnectionUpdateSecretOk (10.71) answers ConnectionUpdateSecret, from
// server to client.
type ConnectionUpdateSecretOk struct{}

// ID implements Method.
func (*ConnectionUpdateSecretOk) ID() uint32 { return IDConnectionUpdateSecretOk }

// Append implements Method.
func (*ConnectionUpdateSecretOk) Append(dst []byte) []byte {
	return appendID(dst, IDConnectionUpdateSecretOk)
}

func (*ConnectionUpdateSecretOk) decode(*decoder) {}
