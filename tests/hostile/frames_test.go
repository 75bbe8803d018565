package hostile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"leveret/adapters/amqp/wire"
)

// TestHalfFrames: hundreds of clients that begin a frame and say no more.
func TestHalfFrames(t *testing.T) {
	t.Parallel()
	const clients = 300
	declare := appendMethods(nil, 1, &wire.QueueDeclare{Queue: "never", Arguments: wire.Table{{Name: "x", Value: string(make([]byte, 10_000))}}})
	attack(t, rules{growth: clients*strangerMax*3 + 4*mib}, func(a *arena) {
		for i := range clients {
			c := a.open(dialOptions{}, loginOptions{})
			var b []byte
			switch i % 4 {
			case 0: // A method, nearly all of it.
				b = declare[:len(declare)-1]
			case 1: // As long a frame as is allowed, and nothing of it.
				b = wire.AppendFrameHeader(nil, wire.FrameMethod, 1, 131064)
			case 2: // The header of a frame, in part.
				b = declare[:3]
			case 3: // A body frame of which there is one byte.
				b = wire.AppendMethod(nil, 1, &wire.BasicPublish{RoutingKey: "never"})
				b = wire.AppendContentHeader(b, 1, 131064, &wire.Properties{})
				b = append(wire.AppendFrameHeader(b, wire.FrameBody, 1, 131064), 'x')
			}
			a.must(c.write(b))
		}
		<-a.ctx.Done()
	})
}

// TestGiantLengths: a length is believed when the bytes have come, not before.
func TestGiantLengths(t *testing.T) {
	attack(t, rules{growth: 24 * mib}, func(a *arena) {
		giant := func(size int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(size)) }
		declare := func(arguments []byte) []byte {
			p := []byte{0, 50, 0, 10, 0, 0, 1, 'q', 0}
			return rawFrame(wire.FrameMethod, 1, append(p, arguments...))
		}
		header := func(size uint64, properties []byte) []byte {
			b := wire.AppendMethod(nil, 1, &wire.BasicPublish{RoutingKey: "q"})
			p := binary.BigEndian.AppendUint64([]byte{0, 60, 0, 0}, size)
			return append(b, rawFrame(wire.FrameHeader, 1, append(p, properties...))...)
		}
		for name, test := range map[string]struct {
			b    []byte
			code uint16
		}{
			"frame of 4 GiB":           {wire.AppendFrameHeader(nil, wire.FrameMethod, 1, 1<<32-1), wire.ReplyFrameError},
			"frame above the limit":    {wire.AppendFrameHeader(nil, wire.FrameBody, 1, 131073), wire.ReplyFrameError},
			"heartbeat of 2 GiB":       {wire.AppendFrameHeader(nil, wire.FrameHeartbeat, 0, 1<<31), wire.ReplyFrameError},
			"frame of unknown type":    {rawFrame(7, 1, nil), wire.ReplyFrameError},
			"wrong end of a frame":     {append(wire.AppendFrameHeader(nil, wire.FrameMethod, 1, 0), 'x'), wire.ReplyFrameError},
			"table of 4 GiB":           {declare(giant(-1)), wire.ReplyFrameError},
			"table of 2 GiB":           {declare(giant(1<<31 - 1)), wire.ReplyFrameError},
			"string of 4 GiB":          {declare(append(giant(7), append([]byte("\x01aS"), giant(-1)...)...)), wire.ReplyFrameError},
			"array of 4 GiB":           {declare(append(giant(7), append([]byte("\x01aA"), giant(-1)...)...)), wire.ReplyFrameError},
			"table in a table":         {declare(append(giant(7), append([]byte("\x01aF"), giant(-1)...)...)), wire.ReplyFrameError},
			"body of 2^64-1":           {header(1<<64-1, []byte{0, 0}), wire.ReplyFrameError},
			"body of 2^63":             {header(1<<63, []byte{0, 0}), wire.ReplyFrameError},
			"body of 512 MiB + 1":      {header(512<<20+1, []byte{0, 0}), wire.ReplyFrameError},
			"headers of 4 GiB":         {append(header(0, append([]byte{0x20, 0}, giant(-1)...)), message(1, "", "q", false, nil)...), wire.ReplyInternalError},
			"shortstr past the end":    {rawFrame(wire.FrameMethod, 1, []byte{0, 50, 0, 10, 0, 0, 255, 'q'}), wire.ReplyFrameError},
			"method that is too short": {rawFrame(wire.FrameMethod, 1, []byte{0}), wire.ReplyFrameError},
		} {
			c := a.open(dialOptions{}, loginOptions{})
			if err := c.write(test.b); err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if code, err := c.closedWith(); err != nil || code != test.code {
				t.Errorf("%s: closed with %d, %v, want %d", name, code, err, test.code)
			}
		}
	})
}

// nested is a table nested so deep, as it travels, without the length in front.
// Each level is a field called "n".
func nested(depth int) []byte {
	inner := []byte{}
	for range depth {
		inner = append(append([]byte{1, 'n', 'F'}, binary.BigEndian.AppendUint32(nil, uint32(len(inner)))...), inner...)
		if len(inner) > 120_000 {
			break
		}
	}
	return inner
}

// withHeaders are the properties of a message with a headers table that travels
// as t.
func withHeaders(t []byte) []byte {
	return append(append([]byte{0x20, 0}, binary.BigEndian.AppendUint32(nil, uint32(len(t)))...), t...)
}

// TestNestedTables: tables in tables, a hundred, a thousand and ten thousand
// deep, in arguments, in headers, and through an exchange that looks at them.
func TestNestedTables(t *testing.T) {
	tables := [][]byte{nested(100), nested(1000), nested(10_000), nested(17_000)}
	attack(t, rules{growth: 48 * mib}, func(a *arena) {
		admin := a.open(dialOptions{}, loginOptions{})
		a.queue(admin, "deep")
		a.must(admin.methods(1, &wire.QueueBind{Queue: "deep", Exchange: "amq.headers", Arguments: wire.Table{{Name: "x-match", Value: "any"}, {Name: "n", Value: nil}}},
			&wire.BasicConsume{Queue: "deep", NoAck: true}))
		a.sync(admin)
		each(4, func(i int) {
			for n := i; a.ctx.Err() == nil; n++ {
				table := tables[n%4]
				c, err := open(a.addr, dialOptions{}, loginOptions{})
				if err != nil {
					t.Errorf("log in: %v", err)
					return
				}
				switch n / 4 % 3 {
				case 0:
					p := []byte{0, 50, 0, 10, 0, 0, 4, 'd', 'e', 'e', 'p', 0}
					p = binary.BigEndian.AppendUint32(p, uint32(len(table)))
					c.write(rawFrame(wire.FrameMethod, 1, append(p, table...)))
				case 1:
					c.write(wire.AppendPublish(nil, 1, "", "deep", false, withHeaders(table), nil, 131072))
				default:
					c.write(wire.AppendPublish(nil, 1, "amq.headers", "", false, withHeaders(table), nil, 131072))
				}
				// Either it is served, or it is told why not.
				c.methods(1, &wire.BasicQos{})
				if _, err := await[*wire.BasicQosOk](c, 1); err != nil && n%4 == 0 {
					t.Errorf("a hundred levels: %v", err)
				}
				c.crash()
			}
		})
	})
}

// longArray and manyFields are tables of about tableSize bytes on the wire that
// take many times that in memory.
const tableSize = 100_000

func longArray() wire.Table { return wire.Table{{Name: "v", Value: voids(tableSize)}} }

func manyFields() (t wire.Table) {
	for i := range tableSize / 7 {
		t = append(t, wire.Field{Name: fmt.Sprint(i)})
	}
	return t
}

// TestHugeHeaders: headers that decode into many times their size, or into
// thousands of routing keys, do not let a client allocate at will.
func TestHugeHeaders(t *testing.T) {
	keys := make([]any, tableSize/10)
	for i := range keys {
		keys[i] = fmt.Sprint(i)
	}
	for _, test := range []struct {
		name, exchange string
		headers        wire.Table
	}{
		{"many fields", "amq.headers", manyFields()},
		{"long array", "amq.headers", longArray()},
		{"routing keys", "amq.topic", wire.Table{{Name: "CC", Value: keys}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := wire.AppendProperties(nil, &wire.Properties{Flags: wire.FlagHeaders, Headers: test.headers})
			attack(t, rules{growth: 64 * mib}, func(a *arena) {
				c := a.open(dialOptions{}, loginOptions{})
				c.flood(a.ctx, wire.AppendPublish(nil, 1, test.exchange, "", false, p, nil, 131072))
			})
		})
	}
}

// TestChannelZero: frames that have no business on channel 0, or outside of
// it, close the connection with a code.
func TestChannelZero(t *testing.T) {
	attack(t, rules{growth: 24 * mib}, func(a *arena) {
		content := bytes.Join([][]byte{wire.AppendContentHeader(nil, 0, 1, &wire.Properties{}), rawFrame(wire.FrameBody, 0, []byte("x"))}, nil)
		for name, test := range map[string]struct {
			b    []byte
			code uint16
		}{
			"channel.open":               {appendMethods(nil, 0, &wire.ChannelOpen{}), wire.ReplyChannelError},
			"queue.declare":              {appendMethods(nil, 0, &wire.QueueDeclare{Queue: "q"}), wire.ReplyChannelError},
			"basic.publish":              {message(0, "", "q", false, []byte("x")), wire.ReplyChannelError},
			"content":                    {content, wire.ReplyUnexpectedFrame},
			"start-ok again":             {appendMethods(nil, 0, &wire.ConnectionStartOk{Mechanism: "PLAIN"}), wire.ReplyChannelError},
			"tune-ok again":              {appendMethods(nil, 0, &wire.ConnectionTuneOk{ChannelMax: 1, FrameMax: 4096}), wire.ReplyChannelError},
			"open again":                 {appendMethods(nil, 0, &wire.ConnectionOpen{VirtualHost: "/"}), wire.ReplyChannelError},
			"unknown method":             {rawFrame(wire.FrameMethod, 0, []byte{0, 10, 0, 99}), wire.ReplyCommandInvalid},
			"heartbeat with a payload":   {rawFrame(wire.FrameHeartbeat, 0, []byte("x")), wire.ReplyFrameError},
			"heartbeat on a channel":     {rawFrame(wire.FrameHeartbeat, 1, nil), wire.ReplyUnexpectedFrame},
			"connection.close elsewhere": {appendMethods(nil, 1, &wire.ConnectionClose{Code: 200}), wire.ReplyCommandInvalid},
			"a channel that is not open": {appendMethods(nil, 77, &wire.QueueDeclare{Queue: "q"}), wire.ReplyChannelError},
		} {
			c := a.open(dialOptions{}, loginOptions{})
			a.must(c.write(test.b))
			if code, err := c.closedWith(); err != nil || code != test.code {
				t.Errorf("%s: closed with %d, %v, want %d", name, code, err, test.code)
			}
		}
	})
}
