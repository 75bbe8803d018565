package segment

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// Kind is the kind of a record. Numbers are on disk: never reuse one.
type Kind uint8

// The kinds of records. 10 to 15 are set apart for what else refers to messages
// in another way: this version keeps segments that hold them.
const (
	KindMessage Kind = 1 // A message and its references.
	KindMove    Kind = 2 // The same, copied from an older segment.
	KindAck     Kind = 3 // References settled.
	KindMark    Kind = 4 // How far messages may have been handed out.
	KindPurge   Kind = 5 // References below a number settled, but for some.
	KindDrop    Kind = 6 // Everything of a queue settled.
	KindHold    Kind = 7 // What clients keep of entries that are out.
	KindReceive Kind = 8 // What clients have received, and forgotten.
	KindRetry   Kind = 9 // What became of messages that were given back.

	// KindLast is the last one that this version knows.
	KindLast = KindRetry

	kindMax = 15
)

func (k Kind) String() string {
	switch k {
	case KindMessage:
		return "message"
	case KindMove:
		return "move"
	case KindAck:
		return "ack"
	case KindMark:
		return "mark"
	case KindPurge:
		return "purge"
	case KindDrop:
		return "drop"
	case KindRetry:
		return "retry"
	case KindHold:
		return "hold"
	case KindReceive:
		return "receive"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Flags of a message.
const (
	FlagPersistent  uint8 = 1 << 0
	FlagTransient   uint8 = 1 << 1 // Only paged out: gone at recovery.
	FlagHasPriority uint8 = 1 << 2
	FlagTimed       uint8 = 1 << 3 // Its references carry times.
	FlagOrigin      uint8 = 1 << 4 // Its content says who published it.
	FlagRetained    uint8 = 1 << 5 // It was kept for those who come later.
	FlagDied        uint8 = 1 << 6 // It was dead-lettered: its x-death header is ours.
)

// RefsMax is how many references fit in a record. More are put in several.
const RefsMax = 1<<16 - 1

// Ref is a queue's hold on a message.
type Ref struct {
	Queue     uint32
	Seq       uint64 // Priority in the top 8 bits.
	ExpiresMS int64  // 0 for never; kept only under FlagTimed.
}

// Content is a message as a record holds it. Its slices alias the record.
type Content struct {
	ArrivedMS  int64
	Origin     uint64 // 0 for none; kept only under FlagOrigin.
	Form       uint8
	Priority   uint8
	Exchange   []byte
	RoutingKey []byte
	Properties []byte
	Body       []byte
}

// Record is one record. Data aliases what it was parsed from.
type Record struct {
	Kind      Kind
	Flags     uint8
	Refs      int
	BodyBytes uint32
	Data      []byte // References and content, or changes.
}

// refBytes is what one of r's references takes.
func refBytes(flags uint8) int {
	if flags&FlagTimed != 0 {
		return TimedRefBytes
	}
	return RefBytes
}

// MessageBytes is the length of a message's record, with its padding, whose
// encoded content without body takes content bytes.
func MessageBytes(flags uint8, refs, content int, body uint32) int64 {
	return Pad(int64(RecordBytes + refs*refBytes(flags) + content + int(body)))
}

// AppendContent appends a message's content without its body. An exchange name
// is cut after 65,535 bytes. An origin that is not 0 needs FlagOrigin.
func AppendContent(dst []byte, arrivedMS int64, origin uint64, form, priority uint8, exchange, key string, properties []byte) []byte {
	exchange = exchange[:min(len(exchange), 1<<16-1)]
	dst = binary.LittleEndian.AppendUint64(dst, uint64(arrivedMS))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(properties)))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(key)))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(exchange)))
	dst = append(dst, form, priority)
	if origin != 0 {
		dst = binary.LittleEndian.AppendUint64(dst, origin)
	}
	dst = append(dst, exchange...)
	dst = append(dst, key...)
	return append(dst, properties...)
}

// AppendRecordHeader appends the header of a record of length bytes in all,
// padding apart. Its checksum is put there by SumRecord.
func AppendRecordHeader(dst []byte, length int, kind Kind, flags uint8, refs int, body uint32) []byte {
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(length))
	dst = append(dst, uint8(kind), flags)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(refs))
	return binary.LittleEndian.AppendUint32(dst, body)
}

// AppendRef appends a reference of a record with flags.
func AppendRef(dst []byte, flags uint8, queue uint32, seq uint64, expiresMS int64) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, queue)
	dst = binary.LittleEndian.AppendUint64(dst, seq)
	if flags&FlagTimed != 0 {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(expiresMS))
	}
	return dst
}

// SumRecord puts the checksum of the record that lies at offset, and whose
// bytes are head and tail without padding, into head.
func SumRecord(head, tail []byte, id Identity, offset int64) {
	sum := crc32.Update(id.seed(offset), castagnoli, head[4:])
	if len(tail) > 0 {
		sum = crc32.Update(sum, castagnoli, tail)
	}
	binary.LittleEndian.PutUint32(head, sum)
}

// RecordLength returns the length, without padding, that the record at the
// start of b claims.
func RecordLength(b []byte) int64 { return int64(binary.LittleEndian.Uint32(b[4:])) }

// ParseRecord reads the record at the start of b, which lies at offset, and
// checks its sum and that its parts fit into it.
func ParseRecord(b []byte, id Identity, offset int64) (Record, error) {
	if len(b) < RecordBytes {
		return Record{}, fmt.Errorf("record cut short: %w", ErrCorrupt)
	}
	n := RecordLength(b)
	if n < RecordBytes || n > int64(len(b)) {
		return Record{}, fmt.Errorf("record of length %d: %w", n, ErrCorrupt)
	}
	if crc32.Update(id.seed(offset), castagnoli, b[4:n]) != binary.LittleEndian.Uint32(b) {
		return Record{}, fmt.Errorf("record checksum: %w", ErrCorrupt)
	}
	r := Record{
		Kind: Kind(b[8]), Flags: b[9],
		Refs:      int(binary.LittleEndian.Uint16(b[10:])),
		BodyBytes: binary.LittleEndian.Uint32(b[12:]),
		Data:      b[RecordBytes:n:n],
	}
	if r.IsMessage() && r.Refs*refBytes(r.Flags) > len(r.Data) {
		return Record{}, fmt.Errorf("record with %d references: %w", r.Refs, ErrCorrupt)
	}
	return r, nil
}

// IsMessage reports whether r holds a message.
func (r *Record) IsMessage() bool { return r.Kind == KindMessage || r.Kind == KindMove }

// Ref returns reference i of a message.
func (r *Record) Ref(i int) Ref {
	n := refBytes(r.Flags)
	b := r.Data[i*n : i*n+n]
	ref := Ref{Queue: binary.LittleEndian.Uint32(b), Seq: binary.LittleEndian.Uint64(b[4:])}
	if r.Flags&FlagTimed != 0 {
		ref.ExpiresMS = int64(binary.LittleEndian.Uint64(b[12:]))
	}
	return ref
}

// ContentData returns the encoded content and body of a message.
func (r *Record) ContentData() []byte { return r.Data[r.Refs*refBytes(r.Flags):] }

// Content decodes the message.
func (r *Record) Content() (Content, error) {
	b := r.ContentData()
	var c Content
	if len(b) < contentBytes {
		return Content{}, fmt.Errorf("message cut short: %w", ErrCorrupt)
	}
	c.ArrivedMS = int64(binary.LittleEndian.Uint64(b))
	properties := int64(binary.LittleEndian.Uint32(b[8:]))
	key := int64(binary.LittleEndian.Uint32(b[12:]))
	exchange := int64(binary.LittleEndian.Uint16(b[16:]))
	c.Form, c.Priority = b[18], b[19]
	b = b[contentBytes:]
	if r.Flags&FlagOrigin != 0 {
		if len(b) < 8 {
			return Content{}, fmt.Errorf("message cut short: %w", ErrCorrupt)
		}
		if c.Origin = binary.LittleEndian.Uint64(b); c.Origin == 0 {
			return Content{}, fmt.Errorf("message of nobody's: %w", ErrCorrupt)
		}
		b = b[8:]
	}
	if exchange+key+properties+int64(r.BodyBytes) != int64(len(b)) {
		return Content{}, fmt.Errorf("message of other parts than length: %w", ErrCorrupt)
	}
	take := func(n int64) []byte {
		part := b[:n:n]
		b = b[n:]
		return part
	}
	c.Exchange, c.RoutingKey, c.Properties = take(exchange), take(key), take(properties)
	c.Body = b
	return c, nil
}
