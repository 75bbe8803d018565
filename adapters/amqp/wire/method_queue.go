package wire

// QueueDeclare (50.10) creates a queue or, if Passive, asks whether it
// exists, from client to server.
type QueueDeclare struct {
	Queue                                           string // Empty: the server makes up a name.
	Passive, Durable, Exclusive, AutoDelete, NoWait bool
	Arguments                                       Table
}

// ID implements Method.
func (*QueueDeclare) ID() uint32 { return IDQueueDeclare }

// Append implements Method.
func (m *QueueDeclare) Append(dst []byte) []byte {
	dst = appendID(dst, IDQueueDeclare)
	dst = appendShort(dst, 0)
	dst = appendShortstr(dst, m.Queue)
	dst = append(dst, bit(m.Passive, 0)|bit(m.Durable, 1)|bit(m.Exclusive, 2)|bit(m.AutoDelete, 3)|bit(m.NoWait, 4))
	return AppendTable(dst, m.Arguments)
}

func (m *QueueDeclare) decode(d *decoder) {
	d.short()
	m.Queue = d.shortstr()
	flags := d.octet()
	m.Passive = isSet(flags, 0)
	m.Durable = isSet(flags, 1)
	m.Exclusive = isSet(flags, 2)
	m.AutoDelete = isSet(flags, 3)
	m.NoWait = isSet(flags, 4)
	m.Arguments = d.table()
}

// QueueDeclareOk (50.11) answers QueueDeclare, from server to client.
type QueueDeclareOk struct {
	Queue         string
	MessageCount  uint32 // Ready messages.
	ConsumerCount uint32
}

// ID implements Method.
func (*QueueDeclareOk) ID() uint32 { return IDQueueDeclareOk }

// Append implements Method.
func (m *QueueDeclareOk) Append(dst []byte) []byte {
	dst = appendID(dst, IDQueueDeclareOk)
	dst = appendShortstr(dst, m.Queue)
	dst = appendLong(dst, m.MessageCount)
	return appendLong(dst, m.ConsumerCount)
}

func (m *QueueDeclareOk) decode(d *decoder) {
	m.Queue = d.shortstr()
	m.MessageCount = d.long()
	m.ConsumerCount = d.long()
}

// QueueBind (50.20) binds a queue to an exchange, from client to server.
type QueueBind struct {
	Queue      string
	Exchange   string
	RoutingKey string
	NoWait     bool
	Arguments  Table
}

// ID implements Method.
func (*QueueBind) ID() uint32 { return IDQueueBind }

// Append implements Method.
func (m *QueueBind) Append(dst []byte) []byte {
	dst = appendID(dst, IDQueueBind)
	dst = appendShort(dst, 0)
	dst = appendShortstr(dst, m.Queue)
	dst = appendShortstr(dst, m.Exchange)
	dst = appendShortstr(dst, m.RoutingKey)
	dst = append(dst, bit(m.NoWait, 0))
	return AppendTable(dst, m.Arguments)
}

func (m *QueueBind) decode(d *decoder) {
	d.short()
	m.Queue = d.shortstr()
	m.Exchange = d.shortstr()
	m.RoutingKey = d.shortstr()
	m.NoWait = isSet(d.octet(), 0)
	m.Arguments = d.table()
}

// QueueBindOk (50.21) answers QueueBind, from server to client.
type QueueBindOk struct{}

// ID implements Method.
func (*QueueBindOk) ID() uint32 { return IDQueueBindOk }

// Append implements Method.
func (*QueueBindOk) Append(dst []byte) []byte { return appendID(dst, IDQueueBindOk) }

func (*QueueBindOk) decode(*decoder) {}

// QueuePurge (50.30) drops the ready messages of a queue, from client to
// server.
type QueuePurge struct {
	Queue  string
	NoWait bool
}

// ID implements Method.
func (*QueuePurge) ID() uint32 { return IDQueuePurge }

// Append implements Method.
func (m *QueuePurge) Append(dst []byte) []byte {
	dst = appendID(dst, IDQueuePurge)
	dst = appendShort(dst, 0)
	dst = appendShortstr(dst, m.Queue)
	return append(dst, bit(m.NoWait, 0))
}

func (m *QueuePurge) decode(d *decoder) {
	d.short()
	m.Queue = d.shortstr()
	m.NoWait = isSet(d.octet(), 0)
}

// QueuePurgeOk (50.31) answers QueuePurge, from server to client.
type QueuePurgeOk struct {
	MessageCount uint32 // Messages dropped.
}

// ID implements Method.
func (*QueuePurgeOk) ID() uint32 { return IDQueuePurgeOk }

// Append implements Method.
func (m *QueuePurgeOk) Append(dst []byte) []byte {
	dst = appendID(dst, IDQueuePurgeOk)
	return appendLong(dst, m.MessageCount)
}

func (m *QueuePurgeOk) decode(d *decoder) { m.MessageCount = d.long() }

// QueueDelete (50.40) deletes a queue, from client to server.
type QueueDelete struct {
	Queue                     string
	IfUnused, IfEmpty, NoWait bool
}

// ID implements Method.
func (*QueueDelete) ID() uint32 { return IDQueueDelete }

// Append implements Method.
func (m *QueueDelete) Append(dst []byte) []byte {
	dst = appendID(dst, IDQueueDelete)
	dst = appendShort(dst, 0)
	dst = appendShortstr(dst, m.Queue)
	return append(dst, bit(m.IfUnused, 0)|bit(m.IfEmpty, 1)|bit(m.NoWait, 2))
}

func (m *QueueDelete) decode(d *decoder) {
	d.short()
	m.Queue = d.shortstr()
	flags := d.octet()
	m.IfUnused = isSet(flags, 0)
	m.IfEmpty = isSet(flags, 1)
	m.NoWait = isSet(flags, 2)
}

// QueueDeleteOk (50.41) answers QueueDelete, from server to client.
type QueueDeleteOk struct {
	MessageCount uint32 // Messages that went with the queue.
}

// ID implements Method.
func (*QueueDeleteOk) ID() uint32 { return IDQueueDeleteOk }

// Append implements Method.
func (m *QueueDeleteOk) Append(dst []byte) []byte {
	dst = appendID(dst, IDQueueDeleteOk)
	return appendLong(dst, m.MessageCount)
}

func (m *QueueDeleteOk) decode(d *decoder) { m.MessageCount = d.long() }

// QueueUnbind (50.50) takes back a QueueBind with the same arguments, from
// client to server. It has no NoWait.
type QueueUnbind struct {
	Queue      string
	Exchange   string
	RoutingKey string
	Arguments  Table
}

// ID implements Method.
func (*QueueUnbind) ID() uint32 { return IDQueueUnbind }

// Append implements Method.
func (m *QueueUnbind) Append(dst []byte) []byte {
	dst = appendID(dst, IDQueueUnbind)
	dst = appendShort(dst, 0)
	dst = appendShortstr(dst, m.Queue)
	dst = appendShortstr(dst, m.Exchange)
	dst = appendShortstr(dst, m.RoutingKey)
	return AppendTable(dst, m.Arguments)
}

func (m *QueueUnbind) decode(d *decoder) {
	d.short()
	m.Queue = d.shortstr()
	m.Exchange = d.shortstr()
	m.RoutingKey = d.shortstr()
	m.Arguments = d.table()
}

// QueueUnbindOk (50.51) answers QueueUnbind, from server to client.
type QueueUnbindOk struct{}

// ID implements Method.
func (*QueueUnbindOk) ID() uint32 { return IDQueueUnbindOk }

// Append implements Method.
func (*QueueUnbindOk) Append(dst []byte) []byte { return appendID(dst, IDQueueUnbindOk) }

func (*QueueUnbindOk) decode(*decoder) {}
