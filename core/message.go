package core

import (
	"hash/fnv"
	"io"
	"strings"
	"sync/atomic"
	"unsafe"
)

// Form numbers the encodings in which a message's properties can be kept. A
// message stays in the form it came in until someone needs to look inside or
// it leaves through another protocol. Numbers are stored on disk: never reuse
// one.
type Form uint8

// The forms there are.
const (
	FormNeutral Form = iota // No bytes: Properties say it all.
	FormAMQP091             // Property flags and list of AMQP 0-9-1 §4.2.6.1.
	FormMQTT                // Reserved for the MQTT adapter.
	FormSTOMP               // Reserved for the STOMP adapter.
	formCount
)

// PropertyCodec translates one Form. Adapters register theirs with
// RegisterForm; both methods may be called by any goroutine.
type PropertyCodec interface {
	// DecodeProperties reads b, which may be reused after it returns.
	DecodeProperties(b []byte) (*Properties, error)
	// AppendProperties appends p in the codec's form.
	AppendProperties(dst []byte, p *Properties) []byte
}

var codecs [formCount]PropertyCodec

// RegisterForm makes c the codec of f. Call it from an init function.
func RegisterForm(f Form, c PropertyCodec) {
	if codecs[f] != nil {
		panic("core: form registered twice")
	}
	codecs[f] = c
}

// Message is one message. While it is being published its strings and slices
// alias the publisher's read buffer and are good only until Publish returns;
// one that comes to rest in a queue is copied first. Either way it does not
// change once published, and consumers see it only during Deliver.
type Message struct {
	// Exchange and RoutingKey are what the consumer will be told: the
	// exchange published to and the first routing key.
	Exchange   string
	RoutingKey string
	Encoded    []byte // Properties in Form.
	Body       []byte

	// ExpiresMS is the absolute time at which the message expires in the queue
	// that holds it, 0 for never. Queues set it.
	ExpiresMS int64
	// ArrivedMS is when it was published, in ms since 1970. Publish sets it.
	ArrivedMS int64
	// Origin says who published the message, as OriginOf names it, for those
	// who do not want their own messages back; 0 for nobody in particular.
	Origin uint64

	props atomic.Pointer[Properties]
	slab  *slab        // Where the bytes rest; nil when the garbage collector owns them.
	refs  atomic.Int32 // Queues holding a shared resting message.

	Priority   uint8 // 0 when HasPriority is false.
	Form       Form
	Persistent bool
	// HasPriority tells priority 0 from none.
	HasPriority bool
	// OwnBody says that Body was allocated for this message alone and will
	// never be reused: it is kept, and sent, by reference.
	OwnBody bool
	// Retained says that it is not fresh from a publisher but was kept for
	// those who come later. Core sets it.
	Retained bool
	// Died says that the broker dead-lettered the message, so that its x-death
	// header is a history and not a publisher's claim.
	Died   bool
	shared bool // Rests in several queues, maybe.
}

// OriginOf is what Message.Origin is for messages of the client called id. It is
// the same for ever and never 0. Two clients can have the same one, if one of
// them wants to: then neither gets the other's messages where it asked not to
// get its own.
func OriginOf(id string) uint64 {
	h := fnv.New64a()
	io.WriteString(h, id)
	return max(h.Sum64(), 1)
}

// Publication is a message on its way into the broker, with what is of no
// interest once it rests.
type Publication struct {
	Message

	// Number is the publisher's publish number, 0 if it wants no confirm.
	Number uint64
	// Route is where the message goes; Publisher.Route sets it.
	Route *Route
	// TTLMS is the message's own time to live, -1 if it has none.
	TTLMS int64

	extra  []string // Further routing keys; see SetExtraKeys.
	rested *Message // While published to several queues: the copy they share.
	logged bool     // A queue gave it to the log.
	// Refused is set by Publish: why some queue did not take the message.
	Refused   Kind
	refusedBy []Queue // Which queues did not, if it came from another queue.
	// Mandatory is the adapter's own: it wants to know if the message is
	// unroutable.
	Mandatory bool
	// Retain asks for the message to be kept for those who come later, in place
	// of the one kept for its exchange and first routing key; one with an empty
	// body only ends that one. A message that a queue refuses is not retained.
	Retain bool
	// Once, unless 0, is the id under which the client that the publisher is set
	// to sent the message. The client remembers it, durably if it lasts, until
	// Client.Forget: whoever publishes sees to it that no id comes twice before.
	Once uint16
}

// Tracked reports whether core completes p, which has its Route. If not, who
// publishes it answers for itself: there is nowhere to go, and nothing to be
// remembered.
func (p *Publication) Tracked() bool { return len(p.Route.queues) != 0 || p.Retain || p.Once != 0 }

// Reset makes p ready to be filled anew. It keeps nothing.
func (p *Publication) Reset() {
	p.Message.reset()
	p.Number, p.Route, p.TTLMS = 0, nil, -1
	p.extra, p.rested, p.logged = nil, nil, false
	p.Refused, p.refusedBy, p.Mandatory, p.Retain, p.Once = OK, nil, false, false, 0
}

func (m *Message) reset() {
	m.Exchange, m.RoutingKey, m.Encoded, m.Body = "", "", nil, nil
	m.ExpiresMS, m.ArrivedMS, m.Origin = 0, 0, 0
	m.slab, m.shared = nil, false
	if m.props.Load() != nil {
		m.props.Store(nil)
	}
	m.Priority, m.Form, m.Persistent, m.HasPriority, m.OwnBody, m.Retained, m.Died = 0, FormNeutral, false, false, false, false, false
}

// Properties returns the decoded properties, decoding them at the first call.
// The result is shared: read only. Properties that cannot be decoded (which
// adapters exclude by validating first) come back empty.
func (m *Message) Properties() *Properties {
	if p := m.props.Load(); p != nil {
		return p
	}
	p := &Properties{}
	if m.Form != FormNeutral && codecs[m.Form] != nil {
		if d, err := codecs[m.Form].DecodeProperties(m.Encoded); err == nil {
			p = d
		}
	}
	m.props.Store(p)
	return p
}

// SetProperties makes p the message's properties. Only a message that is not
// yet published may be changed.
func (m *Message) SetProperties(p *Properties) {
	m.Form, m.Encoded = FormNeutral, nil
	m.props.Store(p)
}

// EncodedAs returns the properties in form f: the bytes they came in if that
// is their form, otherwise appended to scratch.
func (m *Message) EncodedAs(f Form, scratch []byte) []byte {
	if m.Form == f {
		return m.Encoded
	}
	return codecs[f].AppendProperties(scratch, m.Properties())
}

// Stored returns m's properties as a log can keep them: in the form they came
// in, or, if they have none, appended to scratch in that of AMQP 0-9-1. Without
// a codec for that form, properties without a form are not kept.
func (m *Message) Stored(scratch []byte) (Form, []byte) {
	if m.Form != FormNeutral || codecs[FormAMQP091] == nil || m.props.Load() == nil {
		return m.Form, m.Encoded
	}
	return FormAMQP091, codecs[FormAMQP091].AppendProperties(scratch, m.Properties())
}

// SetExtraKeys gives p routing keys besides its first one. They are not kept
// with the message.
func (p *Publication) SetExtraKeys(keys []string) { p.extra = keys }

// copyInto moves m's key, properties and, unless it is owned, body into buf,
// which has room for them. Exchange names are the exchange's own string and
// stay.
func (m *Message) copyInto(buf []byte) {
	put := func(s []byte) []byte {
		n := copy(buf, s)
		out := buf[:n:n]
		buf = buf[n:]
		return out
	}
	m.RoutingKey = bytesString(put(stringBytes(m.RoutingKey)))
	m.Encoded = put(m.Encoded)
	if !m.OwnBody {
		m.Body = put(m.Body)
	}
}

// cloneFields copies what a resting message keeps of src.
func (m *Message) cloneFields(src *Message) {
	m.Exchange, m.RoutingKey, m.Encoded, m.Body = src.Exchange, src.RoutingKey, src.Encoded, src.Body
	m.ExpiresMS, m.ArrivedMS, m.Origin = src.ExpiresMS, src.ArrivedMS, src.Origin
	if p := src.props.Load(); p != nil || m.props.Load() != nil {
		m.props.Store(p)
	}
	m.Priority, m.Form, m.Persistent = src.Priority, src.Form, src.Persistent
	m.HasPriority, m.OwnBody, m.Retained, m.Died = src.HasPriority, src.OwnBody, src.Retained, src.Died
}

// Clone returns a copy of m that aliases nothing and belongs to the caller.
func (m *Message) Clone() *Message {
	c := &Message{}
	m.cloneInto(c)
	return c
}

func (m *Message) cloneInto(c *Message) {
	c.cloneFields(m)
	c.Exchange = strings.Clone(m.Exchange)
	c.copyInto(make([]byte, len(m.RoutingKey)+len(m.Encoded)+len(m.Body)))
}

// Clone returns a copy of p that aliases nothing and belongs to the caller, for
// adapters that keep publications (transactions). Its route and number are not
// kept.
func (p *Publication) Clone() *Publication {
	c := &Publication{TTLMS: p.TTLMS, Mandatory: p.Mandatory, Retain: p.Retain}
	p.Message.cloneInto(&c.Message)
	for _, k := range p.extra {
		c.extra = append(c.extra, strings.Clone(k))
	}
	return c
}

func stringBytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
func bytesString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
