package wire

import (
	"encoding/binary"
	"slices"
)

// What is in this file runs once per message or ack. Nothing allocates, but
// for a dst that is too small. Parsers take the payload of a method frame
// whose MethodID the caller has looked at; their error is ErrArguments, and
// their byte slices alias the payload. Names on the hot path are any bytes,
// as AMQP has them for content methods.

// ParsePublish parses basic.publish.
func ParsePublish(payload []byte) (exchange, routingKey []byte, mandatory, immediate bool, err error) {
	const fixed = 6 // Class, method, ticket.
	if len(payload) <= fixed {
		return nil, nil, false, false, ErrArguments
	}
	keyAt := fixed + 1 + int(payload[fixed])
	if len(payload) <= keyAt {
		return nil, nil, false, false, ErrArguments
	}
	flagsAt := keyAt + 1 + int(payload[keyAt])
	if len(payload) != flagsAt+1 {
		return nil, nil, false, false, ErrArguments
	}
	flags := payload[flagsAt]
	return payload[fixed+1 : keyAt : keyAt], payload[keyAt+1 : flagsAt : flagsAt], flags&1 != 0, flags&2 != 0, nil
}

// ParseDeliver parses basic.deliver.
func ParseDeliver(payload []byte) (ctag []byte, tag uint64, redelivered bool, exchange, routingKey []byte, err error) {
	const fixed = 4 // Class, method.
	if len(payload) <= fixed {
		return nil, 0, false, nil, nil, ErrArguments
	}
	tagAt := fixed + 1 + int(payload[fixed])
	exchangeAt := tagAt + 8 + 1
	if len(payload) <= exchangeAt {
		return nil, 0, false, nil, nil, ErrArguments
	}
	keyAt := exchangeAt + 1 + int(payload[exchangeAt])
	if len(payload) <= keyAt || len(payload) != keyAt+1+int(payload[keyAt]) {
		return nil, 0, false, nil, nil, ErrArguments
	}
	return payload[fixed+1 : tagAt : tagAt], binary.BigEndian.Uint64(payload[tagAt:]), payload[tagAt+8]&1 != 0,
		payload[exchangeAt+1 : keyAt : keyAt], payload[keyAt+1:], nil
}

// settleSize is how long the payload of ack, nack and reject is: class,
// method, delivery tag, flags.
const settleSize = 4 + 8 + 1

// ParseAck parses basic.ack.
func ParseAck(payload []byte) (tag uint64, multiple bool, err error) {
	if len(payload) != settleSize {
		return 0, false, ErrArguments
	}
	return binary.BigEndian.Uint64(payload[4:]), payload[12]&1 != 0, nil
}

// ParseNack parses basic.nack.
func ParseNack(payload []byte) (tag uint64, multiple, requeue bool, err error) {
	if len(payload) != settleSize {
		return 0, false, false, ErrArguments
	}
	return binary.BigEndian.Uint64(payload[4:]), payload[12]&1 != 0, payload[12]&2 != 0, nil
}

// ParseReject parses basic.reject.
func ParseReject(payload []byte) (tag uint64, requeue bool, err error) {
	if len(payload) != settleSize {
		return 0, false, ErrArguments
	}
	return binary.BigEndian.Uint64(payload[4:]), payload[12]&1 != 0, nil
}

// extend returns dst longer by n bytes that the caller overwrites.
func extend(dst []byte, n int) []byte {
	return slices.Grow(dst, n)[:len(dst)+n]
}

// putMethodHeader writes what a method frame begins with, 11 bytes, in two
// stores. size is that of the payload, class and method included.
func putMethodHeader(b []byte, channel uint16, size int, id uint32) {
	_ = b[10]
	binary.BigEndian.PutUint64(b, uint64(FrameMethod)<<56|uint64(channel)<<40|uint64(uint32(size))<<8)
	binary.BigEndian.PutUint32(b[7:], id)
}

// methodHeaderSize is what putMethodHeader writes.
const methodHeaderSize = FrameHeaderSize + 4

func putShortstr(b []byte, s string) int {
	b[0] = byte(len(s))
	return 1 + copy(b[1:], s)
}

// AppendDelivery appends a whole message for a consumer: basic.deliver, the
// content header, the body in frames of at most frameMax bytes. props are
// handed through as they are, so they must be sane for the client
// (PropInfo.NeedsFix), and the header frame, which cannot be split, must fit
// into frameMax: ContentHeaderSize tells. Names are cut to 255 bytes.
//
// Cost: one check of dst's capacity and one copy of each argument, 30 ns for
// 128 bytes. It is written in one piece, since AppendDeliver and AppendContent
// one after the other take half as long again. Storing short names as two
// overlapping words instead of copying them gained nothing, nor did passing
// the arguments in a struct.
func AppendDelivery(dst []byte, channel uint16, ctag string, tag uint64, redelivered bool, exchange, routingKey string, props, body []byte, frameMax uint32) []byte {
	if len(ctag)|len(exchange)|len(routingKey) > shortstrMax || uint64(len(body)) > bodyFrameMax(frameMax) {
		dst = AppendDeliver(dst, channel, ctag, tag, redelivered, exchange, routingKey)
		return AppendContent(dst, channel, props, body, frameMax)
	}
	method := methodHeaderSize + 1 + len(ctag) + 8 + 1 + 1 + len(exchange) + 1 + len(routingKey) + 1
	at := len(dst)
	dst = extend(dst, method+smallContentSize(props, body))
	b := dst[at:]
	putMethodHeader(b, channel, method-FrameOverhead, IDBasicDeliver)
	n := methodHeaderSize
	n += putShortstr(b[n:], ctag)
	binary.BigEndian.PutUint64(b[n:], tag)
	b[n+8] = bit(redelivered, 0)
	n += 9
	n += putShortstr(b[n:], exchange)
	n += putShortstr(b[n:], routingKey)
	b[n] = FrameEnd
	b = b[n+1:]
	putContentHeader(b, channel, uint64(len(body)), props)
	if len(body) > 0 {
		putFrame(b[ContentHeaderSize(props):], FrameBody, channel, body)
	}
	return dst
}

// AppendDeliver appends basic.deliver alone; content must follow.
func AppendDeliver(dst []byte, channel uint16, ctag string, tag uint64, redelivered bool, exchange, routingKey string) []byte {
	m := BasicDeliver{ConsumerTag: ctag, DeliveryTag: tag, Redelivered: redelivered, Exchange: exchange, RoutingKey: routingKey}
	return endMethod(m.Append(beginMethod(dst, channel)), len(dst))
}

// AppendPublish appends a whole message to the broker: basic.publish, the
// content header, the body in frames of at most frameMax bytes. Cost as for
// AppendDelivery.
func AppendPublish(dst []byte, channel uint16, exchange, routingKey string, mandatory bool, props, body []byte, frameMax uint32) []byte {
	if len(exchange)|len(routingKey) > shortstrMax || uint64(len(body)) > bodyFrameMax(frameMax) {
		m := BasicPublish{Exchange: exchange, RoutingKey: routingKey, Mandatory: mandatory}
		dst = endMethod(m.Append(beginMethod(dst, channel)), len(dst))
		return AppendContent(dst, channel, props, body, frameMax)
	}
	method := methodHeaderSize + 2 + 1 + len(exchange) + 1 + len(routingKey) + 1 + 1
	at := len(dst)
	dst = extend(dst, method+smallContentSize(props, body))
	b := dst[at:]
	putMethodHeader(b, channel, method-FrameOverhead, IDBasicPublish)
	binary.BigEndian.PutUint16(b[methodHeaderSize:], 0)
	n := methodHeaderSize + 2
	n += putShortstr(b[n:], exchange)
	n += putShortstr(b[n:], routingKey)
	b[n] = bit(mandatory, 0)
	b[n+1] = FrameEnd
	b = b[n+2:]
	putContentHeader(b, channel, uint64(len(body)), props)
	if len(body) > 0 {
		putFrame(b[ContentHeaderSize(props):], FrameBody, channel, body)
	}
	return dst
}

// AppendGetOk appends basic.get-ok; content must follow. messages is the
// number still ready in the queue.
func AppendGetOk(dst []byte, channel uint16, tag uint64, redelivered bool, exchange, routingKey string, messages uint32) []byte {
	m := BasicGetOk{DeliveryTag: tag, Redelivered: redelivered, Exchange: exchange, RoutingKey: routingKey, MessageCount: messages}
	return endMethod(m.Append(beginMethod(dst, channel)), len(dst))
}

// AppendReturn appends basic.return; content must follow.
func AppendReturn(dst []byte, channel uint16, code uint16, text, exchange, routingKey string) []byte {
	m := BasicReturn{Code: code, Text: text, Exchange: exchange, RoutingKey: routingKey}
	return endMethod(m.Append(beginMethod(dst, channel)), len(dst))
}

// AppendContent appends header and body frames of a message.
func AppendContent(dst []byte, channel uint16, props, body []byte, frameMax uint32) []byte {
	if uint64(len(body)) > bodyFrameMax(frameMax) {
		dst = AppendHeaderRaw(dst, channel, uint64(len(body)), props)
		return AppendBody(dst, channel, body, frameMax)
	}
	at := len(dst)
	dst = extend(dst, smallContentSize(props, body))
	b := dst[at:]
	putContentHeader(b, channel, uint64(len(body)), props)
	if len(body) > 0 {
		putFrame(b[ContentHeaderSize(props):], FrameBody, channel, body)
	}
	return dst
}

// ContentHeaderSize is how long the header frame with props is, overhead
// included, in bytes. A client accepts no more than its frame_max.
func ContentHeaderSize(props []byte) int {
	return FrameOverhead + contentHeaderSize + len(props)
}

// smallContentSize is the size of the frames of a content whose body fits
// into one frame, or is empty and has none.
func smallContentSize(props, body []byte) int {
	size := ContentHeaderSize(props)
	if len(body) > 0 {
		size += FrameOverhead + len(body)
	}
	return size
}

// putContentHeader writes ContentHeaderSize(props) bytes.
func putContentHeader(b []byte, channel uint16, bodySize uint64, props []byte) {
	_ = b[FrameOverhead+contentHeaderSize-1]
	// Type, channel, size and the upper byte of the class, which is 0.
	binary.BigEndian.PutUint64(b, uint64(FrameHeader)<<56|uint64(channel)<<40|uint64(uint32(contentHeaderSize+len(props)))<<8)
	binary.BigEndian.PutUint32(b[7:], uint32(ClassBasic)<<16) // Class, weight.
	binary.BigEndian.PutUint64(b[11:], bodySize)
	n := FrameHeaderSize + contentHeaderSize
	n += copy(b[n:], props)
	b[n] = FrameEnd
}

// putFrame writes payload and 8 bytes around it.
func putFrame(b []byte, frameType byte, channel uint16, payload []byte) {
	_ = b[FrameHeaderSize]
	size := len(payload)
	b[0] = frameType
	binary.BigEndian.PutUint16(b[1:], channel)
	binary.BigEndian.PutUint32(b[3:], uint32(size))
	copy(b[FrameHeaderSize:], payload)
	b[FrameHeaderSize+size] = FrameEnd
}

// AppendHeaderRaw appends a header frame with props as they are. bodySize is
// in bytes; 0 means that no body frame follows.
func AppendHeaderRaw(dst []byte, channel uint16, bodySize uint64, props []byte) []byte {
	at := len(dst)
	dst = extend(dst, ContentHeaderSize(props))
	putContentHeader(dst[at:], channel, bodySize, props)
	return dst
}

// AppendContentHeader is AppendHeaderRaw for decoded properties, off the hot
// path.
func AppendContentHeader(dst []byte, channel uint16, bodySize uint64, p *Properties) []byte {
	at := len(dst)
	dst = AppendFrameHeader(dst, FrameHeader, channel, 0)
	dst = appendLong(dst, uint32(ClassBasic)<<16) // Class, weight.
	dst = appendLonglong(dst, bodySize)
	return endMethod(AppendProperties(dst, p), at)
}

// bodyFrameMax is the longest payload of a frame of at most frameMax bytes.
// A frameMax of 0 is no limit, and one that leaves no room for a payload is
// not one either, rather than an endless loop.
func bodyFrameMax(frameMax uint32) uint64 {
	if frameMax <= FrameOverhead {
		return 1<<32 - 1
	}
	return uint64(frameMax - FrameOverhead)
}

// AppendBody appends a body in frames of at most frameMax bytes, overhead
// included; none if it is empty. Where a copy of the body costs more than a
// longer writev, use AppendFrameHeader.
func AppendBody(dst []byte, channel uint16, body []byte, frameMax uint32) []byte {
	limit := bodyFrameMax(frameMax)
	frames := (uint64(len(body)) + limit - 1) / limit
	at := len(dst)
	dst = extend(dst, len(body)+int(frames)*FrameOverhead)
	for len(body) > 0 {
		part := body[:min(uint64(len(body)), limit)]
		body = body[len(part):]
		putFrame(dst[at:], FrameBody, channel, part)
		at += FrameOverhead + len(part)
	}
	return dst
}

// AppendAck appends basic.ack: from a server, a confirm.
func AppendAck(dst []byte, channel uint16, tag uint64, multiple bool) []byte {
	return appendSettle(dst, channel, IDBasicAck, tag, bit(multiple, 0))
}

// AppendNack appends basic.nack.
func AppendNack(dst []byte, channel uint16, tag uint64, multiple, requeue bool) []byte {
	return appendSettle(dst, channel, IDBasicNack, tag, bit(multiple, 0)|bit(requeue, 1))
}

// AppendReject appends basic.reject.
func AppendReject(dst []byte, channel uint16, tag uint64, requeue bool) []byte {
	return appendSettle(dst, channel, IDBasicReject, tag, bit(requeue, 0))
}

func appendSettle(dst []byte, channel uint16, id uint32, tag uint64, flags byte) []byte {
	at := len(dst)
	dst = extend(dst, FrameOverhead+settleSize)
	b := dst[at:]
	_ = b[FrameOverhead+settleSize-1]
	putMethodHeader(b, channel, settleSize, id)
	binary.BigEndian.PutUint64(b[11:], tag)
	b[19] = flags
	b[20] = FrameEnd
	return dst
}

// AppendMethod appends a method frame, off the hot path. It knows no
// frame_max, since a method cannot be split.
func AppendMethod(dst []byte, channel uint16, m Method) []byte {
	return endMethod(m.Append(beginMethod(dst, channel)), len(dst))
}

func beginMethod(dst []byte, channel uint16) []byte {
	return AppendFrameHeader(dst, FrameMethod, channel, 0)
}

// endMethod ends the frame that begins at offset at: its size is known now.
func endMethod(dst []byte, at int) []byte {
	dst = append(dst, FrameEnd)
	binary.BigEndian.PutUint32(dst[at+3:], uint32(len(dst)-at-FrameOverhead))
	return dst
}

// AppendFrameHeader appends the 7 bytes in front of a payload of size bytes.
// The caller adds the payload and FrameEnd, or lets writev do it.
func AppendFrameHeader(dst []byte, frameType byte, channel uint16, size uint32) []byte {
	return append(dst, frameType, byte(channel>>8), byte(channel), byte(size>>24), byte(size>>16), byte(size>>8), byte(size))
}

// AppendHeartbeat appends a heartbeat frame.
func AppendHeartbeat(dst []byte) []byte {
	return append(dst, FrameHeartbeat, 0, 0, 0, 0, 0, 0, FrameEnd)
}
