package wire

import (
	"bytes"
	"fmt"
	"testing"
)

func BenchmarkParseFrame(b *testing.B) {
	buf := AppendPublish(nil, 1, "exchange", "routing.key", false, someProps, make([]byte, 128), 0)
	b.ReportAllocs()
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		for at := 0; at < len(buf); {
			_, n, err := ParseFrame(buf[at:], 131072)
			if n == 0 || err != nil {
				b.Fatal(n, err)
			}
			at += n
		}
	}
}

func BenchmarkParsePublish(b *testing.B) {
	payload := (&BasicPublish{Exchange: "exchange", RoutingKey: "routing.key"}).Append(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, _, _, err := ParsePublish(payload); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseAck(b *testing.B) {
	payload := (&BasicAck{DeliveryTag: 1}).Append(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := ParseAck(payload); err != nil {
			b.Fatal(err)
		}
	}
}

// A publish as the broker sees it: three frames, the method, the properties.
func BenchmarkReadPublish(b *testing.B) {
	for name, p := range benchProperties {
		buf := AppendPublish(nil, 1, "exchange", "routing.key", false, AppendProperties(nil, p), make([]byte, 128), 0)
		b.Run("props="+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				for at := 0; at < len(buf); {
					f, n, err := ParseFrame(buf[at:], 131072)
					if n == 0 || err != nil {
						b.Fatal(n, err)
					}
					at += n
					switch f.Type {
					case FrameMethod:
						if MethodID(f.Payload) != IDBasicPublish {
							b.Fatal("not a publish")
						}
						_, _, _, _, err = ParsePublish(f.Payload)
					case FrameHeader:
						var props []byte
						if _, _, props, err = ParseContentHeader(f.Payload); err == nil {
							_, err = ScanProperties(props)
						}
					}
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

var benchProperties = map[string]*Properties{
	"none": {},
	"pika": {DeliveryMode: 2, ContentType: "text/plain"},
	"celery": {ContentType: "application/json", ContentEncoding: "utf-8", DeliveryMode: 2, Priority: 0,
		CorrelationID: "7a6b6a43-5d3c-4a5e-a3c4-7b1d5b2c9f10", ReplyTo: "0b2f6c9e-1b7a-3f0e-9d0c-5a3f8a4b7c21",
		Headers: Table{{"lang", "py"}, {"task", "proj.tasks.add"}, {"id", "7a6b6a43-5d3c-4a5e-a3c4-7b1d5b2c9f10"}, {"shadow", nil}, {"eta", nil},
			{"expires", nil}, {"group", nil}, {"group_index", nil}, {"retries", int32(0)}, {"timelimit", []any{nil, nil}},
			{"root_id", "7a6b6a43-5d3c-4a5e-a3c4-7b1d5b2c9f10"}, {"parent_id", nil}, {"argsrepr", "(2, 2)"}, {"kwargsrepr", "{}"}, {"origin", "gen1@host"}}},
}

func BenchmarkScanProperties(b *testing.B) {
	for name, p := range benchProperties {
		props := AppendProperties(nil, p)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ScanProperties(props); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParseProperties(b *testing.B) {
	props := AppendProperties(nil, benchProperties["celery"])
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseProperties(props); err != nil {
			b.Fatal(err)
		}
	}
}

// Deliveries are appended to a buffer as large as a consumer's, which is
// emptied when it is full, so that the copies do not all hit the same cache lines.
func BenchmarkAppendDelivery(b *testing.B) {
	props := AppendProperties(nil, benchProperties["pika"])
	for _, size := range []int{0, 16, 128, 1024} {
		body := bytes.Repeat([]byte{'b'}, size)
		b.Run(fmt.Sprintf("body=%d", size), func(b *testing.B) {
			out := make([]byte, 0, 64<<10)
			b.ReportAllocs()
			var tag uint64
			for b.Loop() {
				if cap(out)-len(out) < 2048 {
					out = out[:0]
				}
				tag++
				out = AppendDelivery(out, 1, "ctag1.0123456789abcdef", tag, false, "exchange", "routing.key", props, body, 131072)
			}
			b.SetBytes(int64(len(AppendDelivery(nil, 1, "ctag1.0123456789abcdef", tag, false, "exchange", "routing.key", props, body, 131072))))
		})
	}
}

// The same out of the single frames, as one would without AppendDelivery.
func BenchmarkAppendDeliveryInParts(b *testing.B) {
	props := AppendProperties(nil, benchProperties["pika"])
	body := make([]byte, 128)
	out := make([]byte, 0, 64<<10)
	b.ReportAllocs()
	for b.Loop() {
		if cap(out)-len(out) < 2048 {
			out = out[:0]
		}
		out = AppendDeliver(out, 1, "ctag1.0123456789abcdef", 1, false, "exchange", "routing.key")
		out = AppendHeaderRaw(out, 1, uint64(len(body)), props)
		out = AppendBody(out, 1, body, 131072)
	}
}

func BenchmarkAppendPublish(b *testing.B) {
	props := AppendProperties(nil, benchProperties["pika"])
	body := make([]byte, 128)
	out := make([]byte, 0, 64<<10)
	b.ReportAllocs()
	for b.Loop() {
		if cap(out)-len(out) < 2048 {
			out = out[:0]
		}
		out = AppendPublish(out, 1, "exchange", "routing.key", false, props, body, 131072)
	}
}

func BenchmarkAppendAck(b *testing.B) {
	out := make([]byte, 0, 64<<10)
	b.ReportAllocs()
	for b.Loop() {
		if cap(out)-len(out) < 64 {
			out = out[:0]
		}
		out = AppendAck(out, 1, 1, true)
	}
}

func BenchmarkDecodeQueueDeclare(b *testing.B) {
	payload := (&QueueDeclare{Queue: "orders", Durable: true, Arguments: Table{{"x-message-ttl", int32(60000)}, {"x-queue-type", "classic"}}}).Append(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeMethod(payload); err != nil {
			b.Fatal(err)
		}
	}
}
