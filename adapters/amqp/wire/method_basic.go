package wire

// BasicQos (60.10) limits how many messages may be unacked, from client to
// server.
type BasicQos struct {
	PrefetchSize  uint32 // In bytes; RabbitMQ knows only 0.
	PrefetchCount uint16 // 0 is no limit.
	Global        bool   // For the channel, not for each consumer.
}

// ID implements Method.
func (*BasicQos) ID() uint32 { return IDBasicQos }

// Append implements Method.
func (m *BasicQos) Append(dst []byte) []byte {
	dst = appendID(dst, IDBasicQos)
	dst = appendLong(dst, m.PrefetchSize)
	dst = appendShort(dst, m.PrefetchCount)
	return append(dst, bit(m.Global, 0))
}

func (m *BasicQos) decode(d *decoder) {
	m.PrefetchSize = d.long()
	m.PrefetchCount = d.short()
	m.Global = isSet(d.octet(), 0)
}

// BasicQosOk (60.11) answers BasicQos, from server to client.
type BasicQosOk struct{}

// ID implements Method.
func (*BasicQosOk) ID() uint32 { return IDBasicQosOk }

// Append implements Method.
func (*BasicQosOk) Append(dst []byte) []byte { return appendID(dst, IDBasicQosOk) }

func (*BasicQosOk) decode(*decoder) {}

// BasicConsume (60.20) starts a consumer, from client to server.
type BasicConsume struct {
	Queue                             string
	ConsumerTag                       string // Empty: the server makes one up.
	NoLocal, NoAck, Exclusive, NoWait bool
	Arguments                         Table
}

// ID implements Method.
func (*BasicConsume) ID() uint32 { return IDBasicConsume }

// Append implements Method.
func (m *BasicConsume) Append(dst []byte) []byte {
	dst = appendID(dst, IDBasicConsume)
	dst = appendShort(dst, 0)
	dst = appendShortstr(dst, m.Queue)
	dst = appendShortstr(dst, m.ConsumerTag)
	dst = append(dst, bit(m.NoLocal, 0)|bit(m.NoAck, 1)|bit(m.Exclusive, 2)|bit(m.NoWait, 3))
	return AppendTable(dst, m.Arguments)
}

func (m *BasicConsume) decode(d *decoder) {
	d.short()
	m.Queue = d.shortstr()
	m.ConsumerTag = d.shortstr()
	flags := d.octet()
	m.NoLocal = isSet(flags, 0)
	m.NoAck = isSet(flags, 1)
	m.Exclusive = isSet(flags, 2)
	m.NoWait = isSet(flags, 3)
	m.Arguments = d.table()
}

// BasicConsumeOk (60.21) answers BasicConsume, from server to client.
type BasicConsumeOk struct {
	ConsumerTag string
}

// ID implements Method.
func (*BasicConsumeOk) ID() uint32 { return IDBasicConsumeOk }

// Append implements Method.
func (m *BasicConsumeOk) Append(dst []byte) []byte {
	dst = appendID(dst, IDBasicConsumeOk)
	return appendShortstr(dst, m.ConsumerTag)
}

func (m *BasicConsumeOk) decode(d *decoder) { m.ConsumerTag = d.shortstr() }

// BasicCancel (60.30) ends a consumer, in both directions.
type BasicCancel struct {
	ConsumerTag string
	NoWait      bool
}

// ID implements Method.
func (*BasicCancel) ID() uint32 { return IDBasicCancel }

// Append implements Method.
func (m *BasicCancel) Append(dst []byte) []byte {
	dst = appendID(dst, IDBasicCancel)
	dst = appendShortstr(dst, m.ConsumerTag)
	return append(dst, bit(m.NoWait, 0))
}

func (m *BasicCancel) decode(d *decoder) {
	m.ConsumerTag = d.shortstr()
	m.NoWait = isSet(d.octet(), 0)
}

// BasicCancelOk (60.31) answers BasicCancel, in both directions.
type BasicCancelOk struct {
	ConsumerTag string
}

// ID implements Method.
func (*BasicCancelOk) ID() uint32 { return IDBasicCancelOk }

// Append implements Method.
func (m *BasicCancelOk) Append(dst []byte) []byte {
	dst = appendID(dst, IDBasicCancelOk)
	return appendShortstr(dst, m.ConsumerTag)
}

func (m *BasicCancelOk) decode(d *decoder) { m.ConsumerTag = d.shortstr() }

// BasicPublish (60.40) sends a message to an exchange, from client to server.
// Content follows. On the hot path see ParsePublish and AppendPublish.
type BasicPublish struct {
	Exchange             string
	RoutingKey           string
	Mandatory, Immediate bool
}

// ID implements Method.
func (*BasicPublish) ID() uint32 { return IDBasicPublish }

// Append implements Method.
func (m *BasicPublish) Append(dst []byte) []byte {
	dst = appendID(dst, IDBasicPublish)
	dst = appendShort(dst, 0)
	dst = appendShortstr(dst, m.Exchange)
	dst = appendShortstr(dst, m.RoutingKey)
	return append(dst, bit(m.Mandatory, 0)|bit(m.Immediate, 1))
}

func (m *BasicPublish) decode(d *decoder) {
	d.short()
	m.Exchange = d.shortstr()
	m.RoutingKey = d.shortstr()
	flags := d.octet()
	m.Mandatory = isSet(flags, 0)
	m.Immediate = isSet(flags, 1)
}

// BasicReturn (60.50) gives back a mandatory message that reached no queue,
// from server to client. Content follows.
type BasicReturn struct {
	Code       uint16
	Text       string
	Exchange   string
	RoutingKey string
}

// ID implements Method.
func (*BasicReturn) ID() uint32 { return IDBasicReturn }

// Append implements Method.
func (m *BasicReturn) Append(dst []byte) []byte {
	dst = appendID(dst, IDBasicReturn)
	dst = appendShort(dst, m.Code)
	dst = appendShortstr(dst, m.Text)
	dst = appendShortstr(dst, m.Exchange)
	return appendShortstr(dst, m.RoutingKey)
}

func (m *BasicReturn) decode(d *decoder) {
	m.Code = d.short()
	m.Text = d.shortstr()
	m.Exchange = d.shortstr()
	m.RoutingKey = d.shortstr()
}

// BasicDeliver (60.60) hands a message to a consumer, from server to client.
// Content follows. On the hot path see AppendDelivery and ParseDeliver.
type BasicDeliver struct {
	ConsumerTag string
	DeliveryTag uint64
	Redelivered bool
	Exchange    string
	RoutingKey  string
}

// ID implements Method.
func (*BasicDeliver) ID() uint32 { return IDBasicDeliver }

// Append implements Method.
func (m *BasicDeliver) Append(dst []byte) []byte {
	dst = appendID(dst, IDBasicDeliver)
	dst = appendShortstr(dst, m.ConsumerTag)
	dst = appendLonglong(dst, m.DeliveryTag)
	dst = append(dst, bit(m.Redelivered, 0))
	dst = appendShortstr(dst, m.Exchange)
	return appendShortstr(dst, m.RoutingKey)
}

func (m *BasicDeliver) decode(d *decoder) {
	m.ConsumerTag = d.shortstr()
	m.DeliveryTag = d.longlong()
	m.Redelivered = isSet(d.octet(), 0)
	m.Exchange = d.shortstr()
	m.RoutingKey = d.shortstr()
}

// BasicGet (60.70) asks for a single message, from client to server.
type BasicGet struct {
	Queue string
	NoAck bool
}

// ID implements Method.
func (*BasicGet) ID() uint32 { return IDBasicGet }

// Append implements Method.
func (m *BasicGet) Append(dst []byte) []byte {
	dst = appendID(dst, IDBasicGet)
	dst = appendShort(dst, 0)
	dst = appendShortstr(dst, m.Queue)
	return append(dst, bit(m.NoAck, 0))
}

func (m *BasicGet) decode(d *decoder) {
	d.short()
	m.Queue = d.shortstr()
	m.NoAck = isSet(d.octet(), 0)
}

// BasicGetOk (60.71) answers BasicGet with a message, from server to client.
// Content follows.
type BasicGetOk struct {
	DeliveryTag  uint64
	Redelivered  bool
	Exchange     string
	RoutingKey   string
	MessageCount uint32 // Messages still ready behind this one.
}

// ID implements Method.
func (*BasicGetOk) ID() uint32 { return IDBasicGetOk }

// Append implements Method.
func (m *BasicGetOk) Append(dst []byte) []byte {
	dst = appendID(dst, IDBasicGetOk)
	dst = appendLonglong(dst, m.DeliveryTag)
	dst = append(dst, bit(m.Redelivered, 0))
	dst = appendShortstr(dst, m.Exchange)
	dst = appendShortstr(dst, m.RoutingKey)
	return appendLong(dst, m.MessageCount)
}

func (m *BasicGetOk) decode(d *decoder) {
	m.DeliveryTag = d.longlong()
	m.Redelivered = isSet(d.octet(), 0)
	m.Exchange = d.shortstr()
	m.RoutingKey = d.shortstr()
	m.MessageCount = d.long()
}

// BasicGetEmpty (60.72) answers BasicGet when there is no message, from
// server to client.
type BasicGetEmpty struct{}

// ID implements Method.
func (*BasicGetEmpty) ID() uint32 { return IDBasicGetEmpty }

// Append implements Method.
func (*BasicGetEmpty) Append(dst []byte) []byte {
	dst = appendID(dst, IDBasicGetEmpty)
	return appendShortstr(dst, "")
}

func (*BasicGetEmpty) decode(d *decoder) { d.shortstr() }

// BasicAck (60.80) settles a delivery, or confirms a publish, in both
// directions.
type BasicAck struct {
	DeliveryTag uint64
	Multiple    bool // And all before it.
}

// ID implements Method.
func (*BasicAck) ID() uint32 { return IDBasicAck }

// Append implements Method.
func (m *BasicAck) Append(dst []byte) []byte {
	dst = appendID(dst, IDBasicAck)
	dst = appendLonglong(dst, m.DeliveryTag)
	return append(dst, bit(m.Multiple, 0))
}

func (m *BasicAck) decode(d *decoder) {
	m.DeliveryTag = d.longlong()
	m.Multiple = isSet(d.octet(), 0)
}

// BasicReject (60.90) refuses a delivery, from client to server.
type BasicReject struct {
	DeliveryTag uint64
	Requeue     bool
}

// ID implements Method.
func (*BasicReject) ID() uint32 { return IDBasicReject }

// Append implements Method.
func (m *BasicReject) Append(dst []byte) []byte {
	dst = appendID(dst, IDBasicReject)
	dst = appendLonglong(dst, m.DeliveryTag)
	return append(dst, bit(m.Requeue, 0))
}

func (m *BasicReject) decode(d *decoder) {
	m.DeliveryTag = d.longlong()
	m.Requeue = isSet(d.octet(), 0)
}

// BasicRecoverAsync (60.100) is BasicRecover without an answer, from client
// to server.
type BasicRecoverAsync struct {
	Requeue bool
}

// ID implements Method.
func (*BasicRecoverAsync) ID() uint32 { return IDBasicRecoverAsync }

// Append implements Method.
func (m *BasicRecoverAsync) Append(dst []byte) []byte {
	dst = appendID(dst, IDBasicRecoverAsync)
	return append(dst, bit(m.Requeue, 0))
}

func (m *BasicRecoverAsync) decode(d *decoder) { m.Requeue = isSet(d.octet(), 0) }

// BasicRecover (60.110) requeues all that is unacked on the channel, from
// client to server.
type BasicRecover struct {
	Requeue bool
}

// ID implements Method.
func (*BasicRecover) ID() uint32 { return IDBasicRecover }

// Append implements Method.
func (m *BasicRecover) Append(dst []byte) []byte {
	dst = appendID(dst, IDBasicRecover)
	return append(dst, bit(m.Requeue, 0))
}

func (m *BasicRecover) decode(d *decoder) { m.Requeue = isSet(d.octet(), 0) }

// BasicRecoverOk (60.111) answers BasicRecover, from server to client.
type BasicRecoverOk struct{}

// ID implements Method.
func (*BasicRecoverOk) ID() uint32 { return IDBasicRecoverOk }

// Append implements Method.
func (*BasicRecoverOk) Append(dst []byte) []byte { return appendID(dst, IDBasicRecoverOk) }

func (*BasicRecoverOk) decode(*decoder) {}

// BasicNack (60.120) refuses deliveries, or a publish, in both directions.
type BasicNack struct {
	DeliveryTag uint64
	Multiple    bool // And all before it.
	Requeue     bool
}

// ID implements Method.
func (*BasicNack) ID() uint32 { return IDBasicNack }

// Append implements Method.
func (m *BasicNack) Append(dst []byte) []byte {
	dst = appendID(dst, IDBasicNack)
	dst = appendLonglong(dst, m.DeliveryTag)
	return append(dst, bit(m.Multiple, 0)|bit(m.Requeue, 1))
}

func (m *BasicNack) decode(d *decoder) {
	m.DeliveryTag = d.longlong()
	flags := d.octet()
	m.Multiple = isSet(flags, 0)
	m.Requeue = isSet(flags, 1)
}
