package wire

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
)

func TestFrameArrivesByteByByte(t *testing.T) {
	frame := AppendMethod(nil, 513, &QueueDeclare{Queue: "q"})
	stream := append(bytes.Clone(frame), "next"...)
	for n := range frame {
		f, used, err := ParseFrame(stream[:n], math.MaxUint32)
		if f.Payload != nil || used != 0 || err != nil {
			t.Fatalf("%d bytes: %+v, %d, %v", n, f, used, err)
		}
		want := len(frame)
		if n < FrameHeaderSize {
			want = 0
		}
		if got := FrameSize(stream[:n]); got != want {
			t.Fatalf("%d bytes: FrameSize %d, want %d", n, got, want)
		}
	}
	f, used, err := ParseFrame(stream, uint32(len(frame)-FrameOverhead))
	if err != nil || used != len(frame) || f.Type != FrameMethod || f.Channel != 513 || !bytes.Equal(f.Payload, frame[7:len(frame)-1]) {
		t.Fatalf("%+v, %d, %v", f, used, err)
	}
	if &f.Payload[0] != &stream[7] || cap(f.Payload) != len(f.Payload) {
		t.Error("the payload should lie in the buffer, and leave what follows alone")
	}
}

func TestHeartbeatIsAFrame(t *testing.T) {
	f, n, err := ParseFrame(AppendHeartbeat(nil), 0)
	if err != nil || n != FrameOverhead || f.Type != FrameHeartbeat || f.Channel != 0 || len(f.Payload) != 0 {
		t.Errorf("%+v, %d, %v", f, n, err)
	}
}

func TestFrameErrors(t *testing.T) {
	for _, tt := range []struct {
		name, frame string
		max         uint32
		kind        FrameErrorKind
		text        string
	}{
		{"a byte too large", "\x03\x00\x01\x00\x02\x00\x01", 131072, FrameTooLarge, "type 3, all octets = <<>>: {frame_too_large,131073,131064}"},
		{"4 GiB", "\x01\x00\x00\xff\xff\xff\xff", 8192, FrameTooLarge, "type 1, all octets = <<>>: {frame_too_large,4294967295,8184}"},
		{"too large of no type", "GET / HTTP/1.1\r\n", 8192, FrameTooLarge, "type 71, all octets = <<>>: {frame_too_large,539959368,8184}"},
		{"wrong end", "\x02\x00\x01\x00\x00\x00\x02\x00\x3c\x00", 8192, FrameBadEnd, "type 2, all octets = <<0,60>>: {invalid_frame_end_marker,0}"},
		{"wrong end of text", "\x03\x00\x01\x00\x00\x00\x03a\"\\x", 8192, FrameBadEnd, `type 3, all octets = <<"a\"\\">>: {invalid_frame_end_marker,120}`},
		{"type 4", "\x04\x00\x01\x00\x00\x00\x00\xce", 8192, FrameUnknownType, "type 4, all octets = <<>>: unknown_frame"},
		{"type 0", "\x00\x00\x01\x00\x00\x00\x11" + strings.Repeat("\x07", 17) + "\xce", 8192, FrameUnknownType,
			"type 0, first 16 octets = <<7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7>>: unknown_frame"},
		{"type 73", "\x49\x00\x01\x00\x00\x00\x10" + strings.Repeat("a", 16) + "\xce", 8192, FrameUnknownType,
			`type 73, all octets = <<"aaaaaaaaaaaaaaaa">>: unknown_frame`},
	} {
		_, n, err := ParseFrame([]byte(tt.frame), tt.max)
		var fe *FrameError
		if !errors.As(err, &fe) || n != 0 {
			t.Errorf("%s: %d, %v", tt.name, n, err)
			continue
		}
		if fe.Kind != tt.kind || fe.Channel != uint16(tt.frame[1])<<8|uint16(tt.frame[2]) || err.Error() != tt.text {
			t.Errorf("%s: %+v\ngot  %s\nwant %s", tt.name, fe, err, tt.text)
		}
	}
}

func TestReplies(t *testing.T) {
	for code, want := range map[uint16]string{
		200: "REPLY_SUCCESS", 311: "CONTENT_TOO_LARGE", 312: "NO_ROUTE", 313: "NO_CONSUMERS", 320: "CONNECTION_FORCED", 402: "INVALID_PATH",
		403: "ACCESS_REFUSED", 404: "NOT_FOUND", 405: "RESOURCE_LOCKED", 406: "PRECONDITION_FAILED", 501: "FRAME_ERROR", 502: "SYNTAX_ERROR",
		503: "COMMAND_INVALID", 504: "CHANNEL_ERROR", 505: "UNEXPECTED_FRAME", 506: "RESOURCE_ERROR", 530: "NOT_ALLOWED",
		540: "NOT_IMPLEMENTED", 541: "INTERNAL_ERROR", 999: "",
	} {
		if got := ReplyName(code); got != want {
			t.Errorf("%d: %q, want %q", code, got, want)
		}
	}
	for code, hard := range map[uint16]bool{404: false, 406: false, 311: false, 320: true, 402: true, 501: true, 530: true, 541: true, 999: true} {
		if ReplyIsHard(code) != hard {
			t.Errorf("%d: hard is %v", code, !hard)
		}
	}
}
