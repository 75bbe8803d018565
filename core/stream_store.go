package core

import "errors"

// StreamStore keeps the contents of streams. Package persist/stream implements
// it on files; MemoryStreams keeps them in memory. Any goroutine may call it.
type StreamStore interface {
	// OpenStream returns the stream of queue q with what is kept of it. It is
	// called once for each stream while the store is open.
	OpenStream(q QueueID, o StreamOptions) (StreamLog, error)

	// Forget removes the streams that known does not know, once, when all
	// others have been opened.
	Forget(known func(QueueID) bool) error

	// Close ends the store and its streams.
	Close() error
}

// StreamOptions are what a stream was declared with; 0 for the default.
type StreamOptions struct {
	SegmentBytes int64 // Retention removes whole segments of about that size.
	FilterBytes  int   // Size of the filter kept for each part of the stream.
}

// ErrStreamFull is wrapped by Append's error when there is no room at the
// moment; it may be tried again.
var ErrStreamFull = errors.New("no room for the stream")

// StreamLog is one stream: messages with ascending offsets. Append is called by
// one goroutine at a time, the others by any; all but Bounds may block.
type StreamLog interface {
	// Bounds says what is kept now, at no cost.
	Bounds() StreamBounds

	// Append puts ms, whose offsets ascend, at the end, and returns when they
	// are on disk. It keeps the messages no longer, unless the store is one in
	// memory. Messages below Bounds().Next are there already, from an attempt
	// that ended half way, and are passed over. After an error that is not
	// ErrStreamFull the stream takes nothing any more.
	Append(ms []StreamMessage) error

	// Read returns the messages around or, if that is gone, behind offset, as
	// many as are convenient to keep together; nobody may change them. With a
	// filter it may pass over parts of the stream that hold nothing for it.
	// Without a block there is nothing below next. What is damaged is passed
	// over; an error wraps ErrNotNow or is for good.
	Read(offset uint64, filter *StreamFilter) (b *StreamBlock, next uint64, err error)

	// Since returns an offset below which everything arrived before ms, in ms
	// since 1970, and behind which not much more did.
	Since(ms int64) (uint64, error)

	// Retain removes segments from the front, but not the last one, while all of
	// them hold more than maxBytes, and those whose messages all arrived before
	// beforeMS. Zero values mean no limit.
	Retain(maxBytes, beforeMS int64) error

	// Delete removes the stream from the disk.
	Delete() error
}

// StreamBounds is what is kept of a stream: the offsets in [First, Next).
type StreamBounds struct {
	First, Next uint64
	Bytes       int64
	Segments    int
}

// StreamMessage is a message in a stream. The message's own properties hold its
// offset as the header x-stream-offset.
type StreamMessage struct {
	Offset    uint64
	Filter    string // The header x-stream-filter-value,
	HasFilter bool   // if there is one.
	Message   *Message
}

// StreamBlock is messages that lie together, read only.
type StreamBlock struct {
	First, Next uint64 // No other message of the stream is in [First, Next).
	Messages    []StreamMessage
	Bytes       int64 // Of memory.
}

// StreamFilter is what a consumer wants of a stream.
type StreamFilter struct {
	Values     []string
	Unfiltered bool // Also messages that have no filter value.
}

// Wants reports whether m is for f; nil wants everything.
func (f *StreamFilter) Wants(m *StreamMessage) bool {
	if f == nil {
		return true
	}
	if !m.HasFilter {
		return f.Unfiltered
	}
	for _, v := range f.Values {
		if v == m.Filter {
			return true
		}
	}
	return false
}

// NewStreamBlock makes a block of ms, which is not empty, that begins at first
// and ends behind the last of ms.
func NewStreamBlock(first uint64, ms []StreamMessage) *StreamBlock {
	b := &StreamBlock{First: first, Next: ms[len(ms)-1].Offset + 1, Messages: ms}
	for i := range ms {
		b.Bytes += streamMessageBytes(ms[i].Message)
	}
	return b
}

// index returns where in b the first message from offset on stands.
func (b *StreamBlock) index(offset uint64) int {
	ms := b.Messages
	if len(ms) == 0 || offset <= ms[0].Offset {
		return 0
	}
	// Mostly there are no holes.
	if i := offset - ms[0].Offset; i < uint64(len(ms)) && ms[i].Offset == offset {
		return int(i)
	}
	lo, hi := 0, len(ms)
	for lo < hi {
		if mid := (lo + hi) / 2; ms[mid].Offset < offset {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}
