package wire

// ExchangeDeclare (40.10) creates an exchange or, if Passive, asks whether it
// exists, from client to server.
type ExchangeDeclare struct {
	Exchange                                       string
	Type                                           string
	Passive, Durable, AutoDelete, Internal, NoWait bool
	Arguments                                      Table
}

// ID implements Method.
func (*ExchangeDeclare) ID() uint32 { return IDExchangeDeclare }

// Append implements Method.
func (m *ExchangeDeclare) Append(dst []byte) []byte {
	dst = appendID(dst, IDExchangeDeclare)
	dst = appendShort(dst, 0)
	dst = appendShortstr(dst, m.Exchange)
	dst = appendShortstr(dst, m.Type)
	dst = append(dst, bit(m.Passive, 0)|bit(m.Durable, 1)|bit(m.AutoDelete, 2)|bit(m.Internal, 3)|bit(m.NoWait, 4))
	return AppendTable(dst, m.Arguments)
}

func (m *ExchangeDeclare) decode(d *decoder) {
	d.short()
	m.Exchange = d.shortstr()
	m.Type = d.shortstr()
	flags := d.octet()
	m.Passive = isSet(flags, 0)
	m.Durable = isSet(flags, 1)
	m.AutoDelete = isSet(flags, 2)
	m.Internal = isSet(flags, 3)
	m.NoWait = isSet(flags, 4)
	m.Arguments = d.table()
}

// ExchangeDeclareOk (40.11) answers ExchangeDeclare, from server to client.
type ExchangeDeclareOk struct{}

// ID implements Method.
func (*ExchangeDeclareOk) ID() uint32 { return IDExchangeDeclareOk }

// Append implements Method.
func (*ExchangeDeclareOk) Append(dst []byte) []byte { return appendID(dst, IDExchangeDeclareOk) }

func (*ExchangeDeclareOk) decode(*decoder) {}

// ExchangeDelete (40.20) deletes an exchange, from client to server.
type ExchangeDelete struct {
	Exchange         string
	IfUnused, NoWait bool
}

// ID implements Method.
func (*ExchangeDelete) ID() uint32 { return IDExchangeDelete }

// Append implements Method.
func (m *ExchangeDelete) Append(dst []byte) []byte {
	dst = appendID(dst, IDExchangeDelete)
	dst = appendShort(dst, 0)
	dst = appendShortstr(dst, m.Exchange)
	return append(dst, bit(m.IfUnused, 0)|bit(m.NoWait, 1))
}

func (m *ExchangeDelete) decode(d *decoder) {
	d.short()
	m.Exchange = d.shortstr()
	flags := d.octet()
	m.IfUnused = isSet(flags, 0)
	m.NoWait = isSet(flags, 1)
}

// ExchangeDeleteOk (40.21) answers ExchangeDelete, from server to client.
type ExchangeDeleteOk struct{}

// ID implements Method.
func (*ExchangeDeleteOk) ID() uint32 { return IDExchangeDeleteOk }

// Append implements Method.
func (*ExchangeDeleteOk) Append(dst []byte) []byte { return appendID(dst, IDExchangeDeleteOk) }

func (*ExchangeDeleteOk) decode(*decoder) {}

// ExchangeBind (40.30) binds an exchange to an exchange, from client to
// server.
type ExchangeBind struct {
	Destination string // The exchange that receives.
	Source      string // The exchange that passes on.
	RoutingKey  string
	NoWait      bool
	Arguments   Table
}

// ID implements Method.
func (*ExchangeBind) ID() uint32 { return IDExchangeBind }

// Append implements Method.
func (m *ExchangeBind) Append(dst []byte) []byte {
	dst = appendID(dst, IDExchangeBind)
	dst = appendShort(dst, 0)
	dst = appendShortstr(dst, m.Destination)
	dst = appendShortstr(dst, m.Source)
	dst = appendShortstr(dst, m.RoutingKey)
	dst = append(dst, bit(m.NoWait, 0))
	return AppendTable(dst, m.Arguments)
}

func (m *ExchangeBind) decode(d *decoder) {
	d.short()
	m.Destination = d.shortstr()
	m.Source = d.shortstr()
	m.RoutingKey = d.shortstr()
	m.NoWait = isSet(d.octet(), 0)
	m.Arguments = d.table()
}

// ExchangeBindOk (40.31) answers ExchangeBind, from server to client.
type ExchangeBindOk struct{}

// ID implements Method.
func (*ExchangeBindOk) ID() uint32 { return IDExchangeBindOk }

// Append implements Method.
func (*ExchangeBindOk) Append(dst []byte) []byte { return appendID(dst, IDExchangeBindOk) }

func (*ExchangeBindOk) decode(*decoder) {}

// ExchangeUnbind (40.40) takes back a ExchangeBind with the same arguments,
// from client to server.
type ExchangeUnbind struct {
	Destination string // The exchange that receives.
	Source      string // The exchange that passes on.
	RoutingKey  string
	NoWait      bool
	Arguments   Table
}

// ID implements Method.
func (*ExchangeUnbind) ID() uint32 { return IDExchangeUnbind }

// Append implements Method.
func (m *ExchangeUnbind) Append(dst []byte) []byte {
	dst = appendID(dst, IDExchangeUnbind)
	dst = appendShort(dst, 0)
	dst = appendShortstr(dst, m.Destination)
	dst = appendShortstr(dst, m.Source)
	dst = appendShortstr(dst, m.RoutingKey)
	dst = append(dst, bit(m.NoWait, 0))
	return AppendTable(dst, m.Arguments)
}

func (m *ExchangeUnbind) decode(d *decoder) {
	d.short()
	m.Destination = d.shortstr()
	m.Source = d.shortstr()
	m.RoutingKey = d.shortstr()
	m.NoWait = isSet(d.octet(), 0)
	m.Arguments = d.table()
}

// ExchangeUnbindOk (40.51) answers ExchangeUnbind, from server to client. Its
// id is 51, where 41 would be expected.
type ExchangeUnbindOk struct{}

// ID implements Method.
func (*ExchangeUnbindOk) ID() uint32 { return IDExchangeUnbindOk }

// Append implements Method.
func (*ExchangeUnbindOk) Append(dst []byte) []byte { return appendID(dst, IDExchangeUnbindOk) }

func (*ExchangeUnbindOk) decode(*decoder) {}
