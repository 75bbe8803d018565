package core

// QueueID names a queue in the log: 32 bits from a counter, never reused.
type QueueID uint32

// Seq places an entry in its queue: the priority in the top 8 bits, an
// ascending number that is never reused in the other 56.
type Seq uint64

// QueueType names an implementation behind Queue, as x-queue-type does.
type QueueType string

// The queue types that can be declared.
const (
	QueueClassic QueueType = "classic"
	QueueQuorum  QueueType = "quorum"
	QueueStream  QueueType = "stream"
)

// QueueDirect keeps nothing. Only Client.Subscribe makes one.
const QueueDirect QueueType = "direct"

// QueueOptions is what a queue was declared with, checked. What its arguments
// ask for is in its rules, where policies have a say.
type QueueOptions struct {
	Name       string
	VHost      string
	Type       QueueType
	Durable    bool
	Exclusive  bool
	AutoDelete bool
	Arguments  Table

	// MaxPriority is the highest priority that makes a difference: messages of
	// a higher one are treated alike. 0 is a queue that knows no priorities.
	MaxPriority uint8
	// DefaultPriority is that of messages that come without one.
	DefaultPriority uint8
	// SingleActive has the queue serve one consumer at a time.
	SingleActive bool

	ID    QueueID
	Shard uint16 // The log that holds its messages; 0 on a single node.

	hidden bool // Lives with its only consumer; not declared, not listed.
}

// storesAll reports whether every message is kept, whatever its delivery mode.
func (o *QueueOptions) storesAll() bool { return o.Type == QueueQuorum || o.Type == QueueStream }

// Queue is what routing, consumers and operators see of a queue. Nothing
// outside its implementations may assume that it is local.
type Queue interface {
	// Options returns what it was declared with; read only.
	Options() *QueueOptions

	// push takes the messages of ms that runs name, in order. The caller holds
	// no queue's lock. Outlets that need flushing are added to t. A closed
	// queue takes nothing; its messages count as handed over.
	push(p *Publisher, ms []Publication, runs []run, t *Touched)

	// addConsumer registers c, paused. It fails with AccessRefused when the
	// queue is in exclusive use.
	addConsumer(c *Consumer) error
	startConsumer(c *Consumer, t *Touched)
	// removeConsumer takes c off the queue; nothing is handed to it any more.
	// It reports whether that was the queue's last consumer.
	removeConsumer(c *Consumer, t *Touched) (last bool)
	// credit tries again to deliver to c, whose limiter has room again.
	credit(c *Consumer, t *Touched)

	setPrefetch(c *Consumer, n int, t *Touched)

	// get hands the first ready message to fn under the queue's lock. t counts
	// what becomes of it. It may wait for the log.
	get(t *tally, noAck bool, fn func(h *Holder, d *Delivery, remaining int)) (bool, error)
	settle(h *Holder, op Settlement, seqs []Seq, t *Touched)
	purge(t *Touched) int

	// peek shows messages and changes nothing. No lock is held; it may wait for
	// the log.
	peek(o *PeekOptions) (PeekResult, error)
	// Info is a consistent snapshot for operators.
	Info() QueueInfo
	// Summary is Info without the list of consumers: for who looks at all
	// queues every few seconds.
	Summary() QueueInfo
	// counts is what a declare answers, at no more cost than that.
	counts() (ready, consumers int)

	// closeIf marks the queue closed if cond, called with its state, agrees:
	// no message is taken or delivered after it. It returns the ready count.
	// The virtual host's lock is held, so that the queue is out of every table
	// before anyone else looks.
	closeIf(cond func(QueueInfo) error) (ready int, err error)
	// closed reports whether closeIf succeeded; routes check it.
	closed() bool
	// dropConsumers detaches all consumers of a closed queue and tells them.
	dropConsumers(reason string, t *Touched)
	// recover gives the queue what the log held when the broker started.
	recover(r RecoveredLevel)
	// stop makes the queue ready for the log to be closed.
	stop()
	// applyRules makes r the rules in force: policies have changed.
	applyRules(r queueRules)
	// touch restarts the clock of x-expires.
	touch()
	// trim gives back what a quiet queue keeps for its next message.
	trim()
}

// newQueue makes a queue of the type that o says.
func newQueue(v *VHost, o *QueueOptions) Queue {
	switch o.Type {
	case QueueStream:
		return newStream(v, o)
	case QueueDirect:
		return newDirect(v, o)
	}
	return newClassic(v, o)
}

// QueueInfo is a queue's state at one moment. Byte counts are bodies only.
type QueueInfo struct {
	Options       *QueueOptions
	Ready         int
	Unacked       int
	Delayed       int // Given back, and ready again later.
	Leaving       int // On their way to other queues.
	ReadyBytes    int64
	UnackedBytes  int64
	Persistent    int // Messages, ready and unacked, that are stored.
	InMemory      int // Messages, ready and unacked, whose bodies are in memory.
	Consumers     int
	ExclusiveUse  bool // A consumer asked for exclusive use.
	IdleSinceMS   int64
	MemoryBytes   int64
	Counters      QueueCounters
	HeadTimestamp int64          // When the oldest ready message arrived, ms since 1970; 0 if there is none, or it is not known yet.
	ConsumerList  []ConsumerInfo // Filled by Info only, not for closeIf.
	Stream        *StreamInfo    // Of streams only.
}

// QueueCounters only ever grow.
type QueueCounters struct {
	Published     uint64
	DeliveredAck  uint64 // Handed to consumers that will ack.
	DeliveredAuto uint64 // Handed to consumers that will not.
	Redelivered   uint64
	GotAck        uint64
	GotAuto       uint64
	GetEmpty      uint64
	Acked         uint64
	Expired       uint64
	Returned      uint64 // Requeued.
	Rejected      uint64 // Discarded by a consumer.
	Purged        uint64
	Damaged       uint64 // Could not be read back from the log.
	Refused       uint64 // Publishes refused as the queue was full.
	DeadLost      uint64 // Dead messages dropped, as there was no queue for them, or it refused them.
	// Died counts what ended otherwise than by an ack, dead-lettered where the
	// queue says so: rejected, expired, too many, delivery limit exceeded.
	Died    [4]uint64
	Dropped uint64 // Had nobody with room to go to; of a direct queue.
	// BlockedMS is for how long, in ms, messages were ready that no consumer
	// could take, though there were some.
	BlockedMS uint64
}

// ConsumerInfo is a row of QueueInfo.
type ConsumerInfo struct {
	Tag     string
	Session *Session
	Scope   string // The adapter's name of what the consumer hangs on, e.g. its channel.
	// Destination is what the client calls what it consumes from; "" for the queue.
	Destination string
	NoAck       bool
	Exclusive   bool
	Priority    int
	Prefetch    int // 0 for no limit.
	Unacked     int
	TimeoutMS   int64 // How long it may take to settle a delivery; 0 for ever.
	Active      bool  // It may be given messages: false before it starts, and while it stands by for another.
	Arguments   Table
}

// priorityOf is the priority that m has in a queue of o.
func (o *QueueOptions) priorityOf(m *Message) uint8 {
	if !m.HasPriority {
		return o.DefaultPriority
	}
	return min(m.Priority, o.MaxPriority)
}

// Settlement is what a consumer decides about deliveries.
type Settlement uint8

// The settlements.
const (
	Ack     Settlement = iota // Done with: remove it.
	Requeue                   // Put it back where it was, marked redelivered.
	Discard                   // Failed: remove it (dead-letter where the queue says so).
	Fail                      // Requeue, and count it as a failed delivery.
)

// run is a range [from, to) of a batch.
type run struct{ from, to int32 }
