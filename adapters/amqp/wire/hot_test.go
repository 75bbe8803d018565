package wire

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
)

// readFrames takes all frames off b and fails if anything is left.
func readFrames(t testing.TB, b []byte, frameMax uint32) (frames []Frame) {
	t.Helper()
	for len(b) > 0 {
		f, n, err := ParseFrame(b, frameMax-FrameOverhead)
		if err != nil || n == 0 {
			t.Fatalf("after %d frames: %d bytes left, n = %d, %v", len(frames), len(b), n, err)
		}
		frames = append(frames, f)
		b = b[n:]
	}
	return frames
}

// readMessage takes a method that has content, and the content, off b.
func readMessage(t testing.TB, b []byte, channel uint16, frameMax uint32) (m Method, props, body []byte) {
	t.Helper()
	frames := readFrames(t, b, frameMax)
	if len(frames) < 2 || frames[0].Type != FrameMethod || frames[1].Type != FrameHeader {
		t.Fatalf("not a message: %+v", frames)
	}
	for _, f := range frames {
		if f.Channel != channel {
			t.Fatalf("frame on channel %d, want %d", f.Channel, channel)
		}
	}
	m, err := DecodeMethod(frames[0].Payload)
	if err != nil {
		t.Fatal(err)
	}
	class, size, props, err := ParseContentHeader(frames[1].Payload)
	if err != nil || class != ClassBasic {
		t.Fatalf("header of class %d, %v", class, err)
	}
	for _, f := range frames[2:] {
		if f.Type != FrameBody || len(f.Payload) == 0 {
			t.Fatalf("%+v where a body frame should be", f)
		}
		body = append(body, f.Payload...)
	}
	if uint64(len(body)) != size {
		t.Fatalf("body of %d bytes, announced with %d", len(body), size)
	}
	return m, props, body
}

var someProps = AppendProperties(nil, &Properties{ContentType: "text/plain", DeliveryMode: Persistent, Headers: someTable})

func TestAppendedMessagesReadBack(t *testing.T) {
	const frameMax = 4096
	long := strings.Repeat("k", 255)
	for _, size := range []int{0, 1, 128, frameMax - 9, frameMax - 8, frameMax - 7, 2 * (frameMax - 8), 3*frameMax + 1} {
		for _, key := range []string{"", "key", long} {
			for _, props := range [][]byte{{0, 0}, someProps} {
				body := bytes.Repeat([]byte{0xCE}, size)
				for _, tt := range []struct {
					name string
					got  []byte
					want Method
				}{
					{"delivery",
						AppendDelivery([]byte("x"), 65535, "tag", 1<<40, true, "ex", key, props, body, frameMax),
						&BasicDeliver{ConsumerTag: "tag", DeliveryTag: 1 << 40, Redelivered: true, Exchange: "ex", RoutingKey: key}},
					{"publish",
						AppendPublish([]byte("x"), 65535, "ex", key, true, props, body, frameMax),
						&BasicPublish{Exchange: "ex", RoutingKey: key, Mandatory: true}},
					{"get-ok",
						AppendContent(AppendGetOk([]byte("x"), 65535, 9, true, "ex", key, 77), 65535, props, body, frameMax),
						&BasicGetOk{DeliveryTag: 9, Redelivered: true, Exchange: "ex", RoutingKey: key, MessageCount: 77}},
					{"return",
						AppendBody(AppendHeaderRaw(AppendReturn([]byte("x"), 65535, ReplyNoRoute, "NO_ROUTE", "ex", key), 65535, uint64(size), props), 65535, body, frameMax),
						&BasicReturn{Code: ReplyNoRoute, Text: "NO_ROUTE", Exchange: "ex", RoutingKey: key}},
				} {
					t.Run(fmt.Sprintf("%s/body=%d/key=%d/props=%d", tt.name, size, len(key), len(props)), func(t *testing.T) {
						m, gotProps, gotBody := readMessage(t, tt.got[1:], 65535, frameMax)
						if !reflect.DeepEqual(m, tt.want) {
							t.Errorf("method %+v, want %+v", m, tt.want)
						}
						if !bytes.Equal(gotProps, props) || !bytes.Equal(gotBody, body) {
							t.Error("content came out different")
						}
					})
				}
			}
		}
	}
}

// An MQTT topic may be longer than AMQP's names; it must not break the frame.
func TestNamesTooLongForAMQPAreCut(t *testing.T) {
	key := strings.Repeat("k", 1000)
	m, _, body := readMessage(t, AppendDelivery(nil, 1, key, 1, false, key, key, []byte{0, 0}, []byte("body"), 0), 1, 1<<20)
	want := &BasicDeliver{ConsumerTag: key[:255], DeliveryTag: 1, Exchange: key[:255], RoutingKey: key[:255]}
	if !reflect.DeepEqual(m, want) || string(body) != "body" {
		t.Errorf("got %+v, %q", m, body)
	}
	m, _, _ = readMessage(t, AppendPublish(nil, 1, key, key, false, []byte{0, 0}, nil, 0), 1, 1<<20)
	if want := (&BasicPublish{Exchange: key[:255], RoutingKey: key[:255]}); !reflect.DeepEqual(m, want) {
		t.Errorf("got %+v", m)
	}
}

func TestAppendBodySplitsAtFrameMax(t *testing.T) {
	body := []byte("0123456789")
	for _, tt := range []struct {
		frameMax uint32
		want     string
	}{
		{0, "[0123456789]"},
		{8, "[0123456789]"}, // Leaves no room, so it cannot be meant.
		{9, "[0 1 2 3 4 5 6 7 8 9]"},
		{12, "[0123 4567 89]"},
		{13, "[01234 56789]"},
		{18, "[0123456789]"},
		{math.MaxUint32, "[0123456789]"},
	} {
		var parts []string
		for _, f := range readFrames(t, AppendBody(nil, 3, body, tt.frameMax), 1<<20) {
			parts = append(parts, string(f.Payload))
		}
		if got := fmt.Sprint(parts); got != tt.want {
			t.Errorf("frame_max %d: %s, want %s", tt.frameMax, got, tt.want)
		}
	}
	if got := AppendBody([]byte("x"), 3, nil, 4096); string(got) != "x" {
		t.Errorf("an empty body gave %x", got)
	}
}

func TestSettlesReadBack(t *testing.T) {
	for flags := range 4 {
		a, b := flags&1 != 0, flags&2 != 0
		for _, tt := range []struct {
			got  []byte
			want Method
		}{
			{AppendAck(nil, 300, 1<<63, a), &BasicAck{DeliveryTag: 1 << 63, Multiple: a}},
			{AppendNack(nil, 300, 1<<63, a, b), &BasicNack{DeliveryTag: 1 << 63, Multiple: a, Requeue: b}},
			{AppendReject(nil, 300, 1<<63, a), &BasicReject{DeliveryTag: 1 << 63, Requeue: a}},
		} {
			if want := AppendMethod(nil, 300, tt.want); !bytes.Equal(tt.got, want) {
				t.Errorf("%+v\ngot  %x\nwant %x", tt.want, tt.got, want)
			}
		}
		if tag, multiple, err := ParseAck((&BasicAck{5, a}).Append(nil)); tag != 5 || multiple != a || err != nil {
			t.Errorf("ack %v: %d %v %v", a, tag, multiple, err)
		}
		if tag, multiple, requeue, err := ParseNack((&BasicNack{5, a, b}).Append(nil)); tag != 5 || multiple != a || requeue != b || err != nil {
			t.Errorf("nack %v %v: %d %v %v %v", a, b, tag, multiple, requeue, err)
		}
		if tag, requeue, err := ParseReject((&BasicReject{5, a}).Append(nil)); tag != 5 || requeue != a || err != nil {
			t.Errorf("reject %v: %d %v %v", a, tag, requeue, err)
		}
		ex, key, mandatory, immediate, err := ParsePublish((&BasicPublish{"ex", "key", a, b}).Append(nil))
		if string(ex) != "ex" || string(key) != "key" || mandatory != a || immediate != b || err != nil {
			t.Errorf("publish %v %v: %q %q %v %v %v", a, b, ex, key, mandatory, immediate, err)
		}
		ctag, tag, redelivered, ex, key, err := ParseDeliver((&BasicDeliver{"tag", 5, a, "ex", "key"}).Append(nil))
		if string(ctag) != "tag" || tag != 5 || redelivered != a || string(ex) != "ex" || string(key) != "key" || err != nil {
			t.Errorf("deliver %v: %q %d %v %q %q %v", a, ctag, tag, redelivered, ex, key, err)
		}
	}
}

func TestHotParsersRefuseEveryOtherLength(t *testing.T) {
	for name, tt := range map[string]struct {
		payload []byte
		parse   func([]byte) error
	}{
		"publish": {(&BasicPublish{"ex", "key", true, false}).Append(nil), func(b []byte) error { _, _, _, _, err := ParsePublish(b); return err }},
		"deliver": {(&BasicDeliver{"tag", 5, true, "ex", "key"}).Append(nil), func(b []byte) error { _, _, _, _, _, err := ParseDeliver(b); return err }},
		"ack":     {(&BasicAck{5, true}).Append(nil), func(b []byte) error { _, _, err := ParseAck(b); return err }},
		"nack":    {(&BasicNack{5, true, true}).Append(nil), func(b []byte) error { _, _, _, err := ParseNack(b); return err }},
		"reject":  {(&BasicReject{5, true}).Append(nil), func(b []byte) error { _, _, err := ParseReject(b); return err }},
	} {
		for n := 4; n < len(tt.payload); n++ {
			if err := tt.parse(tt.payload[:n:n]); !errors.Is(err, ErrArguments) {
				t.Errorf("%s: the first %d of %d bytes: %v", name, n, len(tt.payload), err)
			}
		}
		if err := tt.parse(tt.payload); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := tt.parse(append(tt.payload, 0)); !errors.Is(err, ErrArguments) {
			t.Errorf("%s with a byte too many: %v", name, err)
		}
	}
}
