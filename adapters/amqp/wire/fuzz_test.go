package wire

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

// Each target holds a decoder to the same: it returns, with an error that it
// documents or with something that says the same when it is written again.
// More inputs lie in testdata/fuzz.

func FuzzParseFrame(f *testing.F) {
	f.Add(AppendHeartbeat(nil), uint32(4096))
	f.Add(AppendPublish(nil, 1, "ex", "key", true, someProps, []byte("body"), 0), uint32(4096))
	f.Add([]byte("\x01\x00\x00\xff\xff\xff\xff"), uint32(1<<32-1))
	f.Fuzz(func(t *testing.T, b []byte, maxPayload uint32) {
		frame, n, err := ParseFrame(b, maxPayload)
		switch {
		case err != nil:
			var fe *FrameError
			if !errors.As(err, &fe) || n != 0 || err.Error() == "" {
				t.Fatalf("%d, %v", n, err)
			}
		case n == 0:
			size := FrameSize(b)
			if frame.Payload != nil || size == 0 && len(b) >= FrameHeaderSize || size != 0 && (size <= len(b) || uint64(size) > uint64(maxPayload)+FrameOverhead) {
				t.Fatalf("%+v, needs %d bytes of at most %d, has %d", frame, size, maxPayload, len(b))
			}
		default:
			again := append(AppendFrameHeader(nil, frame.Type, frame.Channel, uint32(len(frame.Payload))), frame.Payload...)
			if again = append(again, FrameEnd); !bytes.Equal(again, b[:n]) || n != FrameSize(b) {
				t.Fatalf("%x became %x", b[:n], again)
			}
			if _, part, err := ParseFrame(b[:n-1], maxPayload); part != 0 || err != nil {
				t.Fatalf("all but the last byte: %d, %v", part, err)
			}
		}
	})
}

func FuzzDecodeMethod(f *testing.F) {
	for _, info := range methods {
		m := info.new()
		fill(m)
		f.Add(m.Append(nil))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		m, err := DecodeMethod(payload)
		checkHotParser(t, payload, m, err)
		if err != nil {
			if m != nil || !errors.Is(err, ErrUnknownMethod) && !errors.Is(err, ErrArguments) && !errors.Is(err, ErrUTF8) && !errors.Is(err, ErrTable) {
				t.Fatalf("%v, %v", m, err)
			}
			return
		}
		if m.ID() != MethodID(payload) {
			t.Fatalf("%x decoded as %s", payload, MethodName(m.ID()))
		}
		// Compared as bytes, since a table may hold NaN.
		printed := m.Append(nil)
		again, err := DecodeMethod(printed)
		if err != nil || !bytes.Equal(again.Append(nil), printed) {
			t.Fatalf("%+v became %+v, %v", m, again, err)
		}
	})
}

// checkHotParser compares the parser a method has on the hot path, if any,
// with what DecodeMethod made of the same payload.
func checkHotParser(t *testing.T, payload []byte, want Method, wantErr error) {
	t.Helper()
	var got Method
	var err error
	switch MethodID(payload) {
	case IDBasicPublish:
		exchange, key, mandatory, immediate, e := ParsePublish(payload)
		got, err = &BasicPublish{string(exchange), string(key), mandatory, immediate}, e
	case IDBasicDeliver:
		ctag, tag, redelivered, exchange, key, e := ParseDeliver(payload)
		got, err = &BasicDeliver{string(ctag), tag, redelivered, string(exchange), string(key)}, e
	case IDBasicAck:
		tag, multiple, e := ParseAck(payload)
		got, err = &BasicAck{tag, multiple}, e
	case IDBasicNack:
		tag, multiple, requeue, e := ParseNack(payload)
		got, err = &BasicNack{tag, multiple, requeue}, e
	case IDBasicReject:
		tag, requeue, e := ParseReject(payload)
		got, err = &BasicReject{tag, requeue}, e
	default:
		return
	}
	if (err == nil) != (wantErr == nil) || err == nil && !reflect.DeepEqual(got, want) {
		t.Fatalf("hot %+v, %v, cold %+v, %v", got, err, want, wantErr)
	}
}

func FuzzDecodeTable(f *testing.F) {
	f.Add(AppendTableFields(nil, someTable))
	f.Add(AppendTableFields(nil, nested(MaxTableDepth+1)))
	f.Add([]byte("\x01kL\x00\x00\x00\x00\x00\x00\x00\x01\x01bt\x02"))
	f.Fuzz(func(t *testing.T, b []byte) {
		table, err := DecodeTable(b)
		if err != nil {
			if table != nil || !errors.Is(err, ErrTable) {
				t.Fatalf("%v, %v", table, err)
			}
			return
		}
		printed := AppendTableFields(nil, table)
		if len(printed) != len(b) {
			t.Fatalf("%x became %x", b, printed)
		}
		again, err := DecodeTable(printed)
		if err != nil || !bytes.Equal(AppendTableFields(nil, again), printed) {
			t.Fatalf("%v became %v, %v", table, again, err)
		}
	})
}

func FuzzProperties(f *testing.F) {
	f.Add(AppendProperties(nil, &fullProperties))
	f.Add(AppendProperties(nil, benchProperties["celery"]))
	f.Add([]byte{0, 0})
	f.Add([]byte("\x20\x03\x00\x00\x00\x0d\x01kL\x00\x00\x00\x00\x00\x00\x00\x01\x00V"))
	f.Fuzz(func(t *testing.T, props []byte) {
		info, err := ScanProperties(props)
		p, parseErr := ParseProperties(props)
		if err != nil {
			if !errors.Is(err, ErrProperties) && !errors.Is(err, ErrTable) || parseErr == nil || !reflect.DeepEqual(info, PropInfo{}) {
				t.Fatalf("scan %+v, %v, parse %v", info, err, parseErr)
			}
			return
		}
		if parseErr != nil {
			t.Fatalf("scan %+v, parse %v", info, parseErr)
		}

		if info.Flags != p.Present() || info.DeliveryMode != p.DeliveryMode || info.Priority != p.Priority ||
			string(info.ReplyTo.Of(props)) != p.ReplyTo || string(info.Expiration.Of(props)) != p.Expiration || string(info.UserID.Of(props)) != p.UserID {
			t.Fatalf("scan %+v, parse %+v", info, p)
		}
		for name, has := range map[string]bool{"CC": info.HasCC, "BCC": info.HasBCC, "x-delay": info.HasDelay} {
			if _, ok := p.Headers.Get(name); ok != has {
				t.Fatalf("scan says %v to %s, headers are %v", has, name, p.Headers)
			}
		}

		printed := AppendProperties(nil, &p)
		if len(printed) != len(props) {
			t.Fatalf("%x became %x", props, printed)
		}
		fixed := bytes.Clone(props)
		if info.Fix(fixed); info.NeedsFix != false {
			t.Fatal("not fixed")
		}
		again, err := ScanProperties(fixed)
		if err != nil || !reflect.DeepEqual(again, info) {
			t.Fatalf("fixed: %+v, %v, before %+v", again, err, info)
		}
		fixedP, err := ParseProperties(fixed)
		if err != nil || !bytes.Equal(AppendProperties(nil, &fixedP), printed) {
			t.Fatalf("fixed: %+v, %v, before %+v", fixedP, err, p)
		}
	})
}

func FuzzContentHeader(f *testing.F) {
	f.Add(AppendHeaderRaw(nil, 1, 128, someProps)[FrameHeaderSize:])
	f.Add(make([]byte, 14))
	f.Fuzz(func(t *testing.T, payload []byte) {
		class, size, props, err := ParseContentHeader(payload)
		if err != nil || class != ClassBasic {
			return
		}
		frame, _, err := ParseFrame(AppendHeaderRaw(nil, 1, size, props), 1<<32-1)
		if err != nil || !bytes.Equal(frame.Payload, payload) {
			t.Fatalf("%x became %x, %v", payload, frame.Payload, err)
		}
	})
}

// Whatever a message is made of, its frames read back as what it was.
func FuzzAppendDelivery(f *testing.F) {
	f.Add(uint16(1), "tag", uint64(1), true, "ex", "key", []byte("body"), uint32(4096))
	f.Add(uint16(65535), "", uint64(0), false, "", "", []byte(""), uint32(0))
	f.Add(uint16(1), "tag", uint64(1), true, "ex", "key", []byte("a body of several frames"), uint32(12))
	f.Fuzz(func(t *testing.T, channel uint16, ctag string, tag uint64, redelivered bool, exchange, key string, body []byte, frameMax uint32) {
		out := AppendDelivery(nil, channel, ctag, tag, redelivered, exchange, key, someProps, body, frameMax)
		m, props, gotBody := readMessage(t, out, channel, 1<<30)
		if len(ctag)|len(exchange)|len(key) <= 255 {
			if want := (&BasicDeliver{ctag, tag, redelivered, exchange, key}); !reflect.DeepEqual(m, want) {
				t.Fatalf("%+v became %+v", want, m)
			}
		}
		if !bytes.Equal(props, someProps) || !bytes.Equal(gotBody, body) {
			t.Fatal("content came out different")
		}
		for _, frame := range readFrames(t, out, 1<<30) {
			if frame.Type == FrameBody && frameMax > FrameOverhead && len(frame.Payload) > int(frameMax-FrameOverhead) {
				t.Fatalf("body frame of %d bytes, frame_max %d", len(frame.Payload), frameMax)
			}
		}
	})
}
