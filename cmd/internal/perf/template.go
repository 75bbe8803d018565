package perf

import (
	"bytes"
	"encoding/binary"
)

// template is one publish, encoded: method, header and body frames. Producers
// write copies of it in which only the stamp and the address are exchanged.
type template struct {
	frames    []byte
	bodyAt    int // Of the body's first byte, which lies in the first body frame.
	addressAt int // Of the part that differs between keys of a topology.
	address   int // Its length.
}

// newTemplate encodes a publish to k with a body of size bytes.
func newTemplate(k routedKey, size, frameMax int, persistent bool) template {
	var t template
	b := appendMethod(nil, channelID, basicPublish, uint16(0), k.exchange, k.key, byte(0))
	exchangeAt := frameHead + 4 + 2 + 1
	t.addressAt = exchangeAt + len(k.exchange) + 1

	header := len(b)
	b = appendFrameHead(b, frameHeader, channelID)
	b = append(b, 0, 60, 0, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(size))
	var flags uint16
	if k.header != "" {
		flags |= 1 << 13
	}
	if persistent {
		flags |= 1 << 12
	}
	b = binary.BigEndian.AppendUint16(b, flags)
	if k.header != "" {
		b = appendValue(b, table{{headerName, k.header}})
		t.addressAt = len(b) - len(k.header)
	} else if k.key == "" {
		t.addressAt = exchangeAt
	}
	t.address = len(k.address())
	if persistent {
		b = append(b, 2)
	}
	b = endFrame(b, header)

	t.bodyAt = len(b) + frameHead
	for left := size; left > 0; {
		n := min(left, frameMax-frameOverhead)
		start := len(b)
		b = appendFrameHead(b, frameBody, channelID)
		b = append(b, bytes.Repeat([]byte{'.'}, n)...)
		b = endFrame(b, start)
		left -= n
	}
	t.frames = b
	return t
}

// address is the part of k that differs between the keys of a topology.
func (k routedKey) address() string {
	switch {
	case k.header != "":
		return k.header
	case k.key != "":
		return k.key
	}
	return k.exchange
}
