package core

import (
	"bytes"
	"unsafe"
)

// The headers of messages in streams.
const (
	headerStreamOffset = "x-stream-offset"
	headerStreamFilter = "x-stream-filter-value"
)

// streamLagMax is how many bytes may be published and not yet in a stream's own
// files before its publishers pause.
const streamLagMax = 32 << 20

// HeaderAdder is a PropertyCodec that can add a header to encoded properties
// without decoding them.
type HeaderAdder interface {
	// AddHeader appends to dst what b holds with one header more, which is not
	// among those of b.
	AddHeader(dst, b []byte, name string, value int64) []byte
}

// push gives ms their offsets. What the log has to write first becomes visible
// when the copier has copied it.
func (q *stream) push(p *Publisher, ms []Publication, runs []run, t *Touched) {
	var idle []*streamReader
	q.mu.Lock()
	switch {
	case q.gone.Load():
		q.mu.Unlock()
		return
	case q.mu.failed != nil:
		q.mu.Unlock()
		for _, r := range runs {
			for i := range ms[r.from:r.to] {
				ms[int(r.from)+i].Refused = Unavailable
			}
		}
		return
	}
	q.mu.lastPublishMS = p.nowMS
	for _, r := range runs {
		q.pushRunLocked(p, ms[r.from:r.to])
	}
	if q.log == nil {
		idle = q.appendLocked()
	} else if q.mu.pendingBytes > streamLagMax {
		q.lag.set(true)
		p.lag = &q.lag
	}
	q.chargeLocked()
	q.mu.Unlock()
	for _, r := range idle {
		r.deliver(t)
	}
}

func (q *stream) pushRunLocked(p *Publisher, ms []Publication) {
	q.counters.published.Add(uint64(len(ms)))
	kept := keepInStream(ms, q.mu.next)
	for i := range ms {
		q.mu.pending = append(q.mu.pending, streamMessage(&kept[i], q.mu.next+uint64(i)))
		q.mu.pendingBytes += streamMessageBytes(&kept[i])
	}
	if q.log != nil {
		if n := len(p.streams); n == 0 || p.streams[n-1] != q {
			p.streams = append(p.streams, q)
		}
		set := p.changeSet()
		for i := range ms {
			// Nothing in a stream expires. The log keeps the message as it came,
			// since it may be other queues' as well.
			m := &ms[i]
			m.ExpiresMS = 0
			q.log.Add(set, Seq(q.mu.next+uint64(i)), &m.Message, &m.Message)
			m.logged = true
		}
	}
	q.mu.next += uint64(len(ms))
}

// keepInStream returns copies of ms, which get offsets from first on, that
// belong to the garbage collector.
func keepInStream(ms []Publication, first uint64) []Message {
	n := 0
	for i := range ms {
		n += streamCopyBytes(&ms[i].Message)
	}
	buf := make([]byte, 0, n)
	kept := make([]Message, len(ms))
	for i := range ms {
		buf = kept[i].keepIn(buf, &ms[i].Message, first+uint64(i))
	}
	return kept
}

// offsetHeaderBytes is room enough for the header x-stream-offset.
const offsetHeaderBytes = 40

// streamCopyBytes is how much of a buffer m's copy needs, more or less.
func streamCopyBytes(m *Message) int {
	n := len(m.RoutingKey) + len(m.Encoded) + offsetHeaderBytes
	if !m.OwnBody {
		n += len(m.Body)
	}
	return n
}

// keepIn makes m a copy of src as a stream keeps it at offset: with its offset
// among its headers. Its bytes are appended to buf, which is returned.
func (m *Message) keepIn(buf []byte, src *Message, offset uint64) []byte {
	m.cloneFields(src)
	m.ExpiresMS, m.Persistent = 0, true
	at := len(buf)
	buf = append(buf, src.RoutingKey...)
	m.RoutingKey = bytesString(buf[at:len(buf):len(buf)])

	adder, _ := codecs[FormAMQP091].(HeaderAdder)
	if src.Form == FormAMQP091 && adder != nil && !bytes.Contains(src.Encoded, stringBytes(headerStreamOffset)) {
		at = len(buf)
		buf = adder.AddHeader(buf, src.Encoded, headerStreamOffset, int64(offset))
		m.Encoded = buf[at:len(buf):len(buf)]
		m.props.Store(nil)
	} else {
		p := *src.Properties()
		p.Headers, p.HeadersSet = p.Headers.With(headerStreamOffset, int64(offset)), true
		m.SetProperties(&p)
		if codecs[FormAMQP091] != nil {
			at = len(buf)
			buf = codecs[FormAMQP091].AppendProperties(buf, &p)
			m.Form, m.Encoded = FormAMQP091, buf[at:len(buf):len(buf)]
			m.props.Store(nil)
		}
	}
	if !m.OwnBody {
		at = len(buf)
		buf = append(buf, src.Body...)
		m.Body = buf[at:len(buf):len(buf)]
	}
	return buf
}

// streamMessage is m at offset with its filter value.
func streamMessage(m *Message, offset uint64) StreamMessage {
	s := StreamMessage{Offset: offset, Message: m}
	// Most messages have none, and looking inside costs.
	if m.Form == FormAMQP091 && !bytes.Contains(m.Encoded, stringBytes(headerStreamFilter)) {
		return s
	}
	v, _ := m.Properties().Headers.Get(headerStreamFilter)
	if m.Form != FormNeutral {
		m.props.Store(nil) // Mostly nobody needs them again.
	}
	s.Filter, s.HasFilter = v.(string)
	if s.HasFilter = s.HasFilter && len(s.Filter) <= streamFilterValueMax; !s.HasFilter {
		s.Filter = ""
	}
	return s
}

// streamFilterValueMax is the longest filter value; a message with a longer one
// has none.
const streamFilterValueMax = 255

// streamMessageBytes is what m takes in memory.
func streamMessageBytes(m *Message) int64 {
	return messageBytes + int64(unsafe.Sizeof(StreamMessage{})) + int64(len(m.RoutingKey)+len(m.Encoded)+len(m.Body))
}
