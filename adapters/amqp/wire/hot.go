package wire

import "encoding/binary"

// AppendMethod appends a method frame. It is for the cold path, and knows no
// frame_max: a method cannot be split.
func AppendMethod(dst []byte, channel uint16, m Method) []byte {
	at := len(dst)
	dst = AppendFrameHeader(dst, FrameMethod, channel, 0)
	dst = append(m.Append(dst), FrameEnd)
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
