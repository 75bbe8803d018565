package amqp

import (
	"strconv"
	"strings"
	"testing"

	"leveret/adapters/amqp/wire"
	"leveret/core"
)

func methodFrame(channel uint16, ms ...wire.Method) []byte {
	var b []byte
	for _, m := range ms {
		b = wire.AppendMethod(b, channel, m)
	}
	return b
}

func header(channel uint16, bodySize uint64, p *wire.Properties) []byte {
	return wire.AppendContentHeader(nil, channel, bodySize, p)
}

func join(bs ...[]byte) (all []byte) {
	for _, b := range bs {
		all = append(all, b...)
	}
	return all
}

// TestExceptions sends what is wrong and reads how the server puts it.
func TestExceptions(t *testing.T) {
	s := newTestServer(t, func(o *Options, _ *core.Options) { o.MaxMessageSize = 1000 })
	declare := &wire.QueueDeclare{Queue: "q"}
	publish := &wire.BasicPublish{RoutingKey: "q"}
	expiring := func(e string) []byte {
		return publishFrames(1, "", "q", "x", &wire.Properties{Flags: wire.FlagExpiration, Expiration: e})
	}
	consume := &wire.BasicConsume{Queue: "q", ConsumerTag: "c"}
	tests := []struct {
		name string
		send []byte
		text string // Code and reply text, and class.method if they are not those of send's last method.
		hard bool
	}{
		{"missing queue", methodFrame(1, &wire.QueueDeclare{Queue: "none", Passive: true}), "404 NOT_FOUND - no queue 'none' in vhost '/' 50.10", false},
		{"missing exchange", publishFrames(1, "none", "k", "x", nil), "404 NOT_FOUND - no exchange 'none' in vhost '/' 60.40", false},
		{"default exchange", methodFrame(1, &wire.QueueBind{Queue: "q", RoutingKey: "k"}), "403 ACCESS_REFUSED - operation not permitted on the default exchange 50.20", false},
		{"bind the reply queue", methodFrame(1, &wire.QueueBind{Queue: replyToName, Exchange: "amq.direct"}), "403 ACCESS_REFUSED - cannot bind or unbind to a volatile (direct reply-to) queue 50.20", false},
		{"unknown tag", methodFrame(1, &wire.BasicAck{DeliveryTag: 7}), "406 PRECONDITION_FAILED - unknown delivery tag 7 60.80", false},
		{"tag 0", methodFrame(1, &wire.BasicAck{}), "406 PRECONDITION_FAILED - unknown delivery tag 0 60.80", false},
		{"unknown tag in multiple", methodFrame(1, &wire.BasicNack{DeliveryTag: 7, Multiple: true}), "406 PRECONDITION_FAILED - unknown delivery tag 7 60.120", false},
		{"too large", join(methodFrame(1, publish), header(1, 1001, &wire.Properties{})), "406 PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000 60.40", false},
		{"expiration abc", expiring("abc"), "406 PRECONDITION_FAILED - invalid expiration 'abc': no_integer 60.40", false},
		{"expiration empty", expiring(""), "406 PRECONDITION_FAILED - invalid expiration '': no_integer 60.40", false},
		{"expiration 5ms", expiring("5ms"), `406 PRECONDITION_FAILED - invalid expiration '5ms': {leftover_string,"ms"} 60.40`, false},
		{"expiration -1", expiring("-1"), "406 PRECONDITION_FAILED - invalid expiration '-1': {value_negative,-1} 60.40", false},
		{"expiration eleven years", expiring("346896000000"), "406 PRECONDITION_FAILED - invalid expiration '346896000000': {value_too_large,346896000000} 60.40", false},
		{"user-id", publishFrames(1, "", "q", "x", &wire.Properties{UserID: "bob"}), "406 PRECONDITION_FAILED - user_id property set to 'bob' but authenticated user was 'guest' 60.40", false},
		{"CC", publishFrames(1, "", "q", "x", &wire.Properties{Headers: wire.Table{{Name: "CC", Value: "k"}}}), `406 PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,"CC",longstr} 60.40`, false},
		{"confirm to tx", methodFrame(1, &wire.ConfirmSelect{NoWait: true}, &wire.TxSelect{}), "406 PRECONDITION_FAILED - cannot switch from confirm to tx mode 90.10", false},
		{"commit without tx", methodFrame(1, &wire.TxCommit{}), "406 PRECONDITION_FAILED - channel is not transactional 90.20", false},
		{"rollback without tx", methodFrame(1, &wire.TxRollback{}), "406 PRECONDITION_FAILED - channel is not transactional 90.30", false},
		{"no reply consumer", publishFrames(1, "", "q", "x", &wire.Properties{ReplyTo: replyToName}), "406 PRECONDITION_FAILED - fast reply consumer does not exist 60.40", false},
		{"reply consumer with acks", methodFrame(1, &wire.BasicConsume{Queue: replyToName}), "406 PRECONDITION_FAILED - reply consumer cannot acknowledge 60.20", false},
		{"second reply consumer", methodFrame(1, &wire.BasicConsume{Queue: replyToName, NoAck: true, NoWait: true}, &wire.BasicConsume{Queue: replyToName, NoAck: true}), "406 PRECONDITION_FAILED - reply consumer already set 60.20", false},
		{"priority of a wrong type", methodFrame(1, &wire.BasicConsume{Queue: "q", Arguments: wire.Table{{Name: "x-priority", Value: "high"}}}), "406 PRECONDITION_FAILED - invalid arg 'x-priority' for queue 'q' in vhost '/': {unacceptable_type,longstr} 60.20", false},
		{"exclusive use", methodFrame(1, &wire.BasicConsume{Queue: "q", NoWait: true}, &wire.BasicConsume{Queue: "q", Exclusive: true}), "403 ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use 60.20", false},

		{"channel not open", methodFrame(2, declare), "504 CHANNEL_ERROR - expected 'channel.open' 50.10", true},
		{"second channel.open", methodFrame(1, &wire.ChannelOpen{}), "504 CHANNEL_ERROR - second 'channel.open' seen 20.10", true},
		{"queue method on channel 0", methodFrame(0, declare), "504 CHANNEL_ERROR - unexpected method in connection state running 50.10", true},
		{"connection method on a channel", methodFrame(1, &wire.ConnectionOpen{}), "503 COMMAND_INVALID - unimplemented method 10.40", true},
		{"server's method", methodFrame(1, &wire.QueueDeclareOk{}), "503 COMMAND_INVALID - unimplemented method 50.11", true},
		{"unknown method", frame(wire.FrameMethod, 1, []byte{0, 50, 0, 99}), "503 COMMAND_INVALID - unknown method 50.99 50.99", true},
		{"body without a method", frame(wire.FrameBody, 1, []byte("x")), "505 UNEXPECTED_FRAME - expected method frame, got non method frame instead 0.0", true},
		{"header expected, method", methodFrame(1, publish, declare), "505 UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead 60.40", true},
		{"header of another class", join(methodFrame(1, publish), frame(wire.FrameHeader, 1, make([]byte, 14))), "505 UNEXPECTED_FRAME - expected content header for class 60, got one for class 0 instead 60.40", true},
		{"body expected, method", join(methodFrame(1, publish), header(1, 5, &wire.Properties{}), methodFrame(1, declare)), "505 UNEXPECTED_FRAME - expected content body, got non content body frame instead 60.40", true},
		{"body on channel 0", frame(wire.FrameBody, 0, []byte{1, 2}), "505 UNEXPECTED_FRAME - type 3, all octets = <<1,2>> 0.0", true},
		{"heartbeat on a channel", frame(wire.FrameHeartbeat, 1, nil), "505 UNEXPECTED_FRAME - type 8, all octets = <<>> 0.0", true},
		{"heartbeat with a payload", frame(wire.FrameHeartbeat, 0, []byte{1}), "501 FRAME_ERROR - type 8, all octets = <<1>> 0.0", true},
		{"too much body", join(methodFrame(1, publish), header(1, 1, &wire.Properties{}), frame(wire.FrameBody, 1, []byte("xy"))), "501 FRAME_ERROR - content body frame exceeds remaining content size 60.40", true},
		{"enormous body", join(methodFrame(1, publish), header(1, 1<<30, &wire.Properties{})), "501 FRAME_ERROR - content body size 1073741824 exceeds maximum allowed size 536870912 60.40", true},
		{"frame too large", wire.AppendFrameHeader(nil, wire.FrameBody, 1, 140000), "501 FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,140000,131064} 0.0", true},
		{"wrong end of frame", []byte{1, 0, 1, 0, 0, 0, 1, 'x', 'y'}, `501 FRAME_ERROR - type 1, all octets = <<"x">>: {invalid_frame_end_marker,121} 0.0`, true},
		{"unknown frame type", []byte{7, 0, 1, 0, 0, 0, 0, wire.FrameEnd}, "501 FRAME_ERROR - type 7, all octets = <<>>: unknown_frame 0.0", true},
		{"arguments too short", frame(wire.FrameMethod, 1, []byte{0, 60, 0, 10, 1}), "501 FRAME_ERROR - cannot decode <<0,60,0,10,1>> 60.10", true},
		{"ack too short", frame(wire.FrameMethod, 1, []byte{0, 60, 0, 80, 1}), "501 FRAME_ERROR - cannot decode <<0,60,0,80,1>> 60.80", true},
		{"publish too short", frame(wire.FrameMethod, 1, []byte{0, 60, 0, 40, 1}), "501 FRAME_ERROR - cannot decode <<0,60,0,40,1>> 60.40", true},
		{"broken UTF-8", methodFrame(1, &wire.QueueDeclare{Queue: "\xff"}), "501 FRAME_ERROR - Malformed UTF-8 in shortstr 50.10", true},
		{"broken table", frame(wire.FrameMethod, 1, []byte{0, 50, 0, 10, 0, 0, 1, 'q', 0, 0, 0, 0, 3, 1, 'k', '?'}), "501 FRAME_ERROR - queue.declare: broken field table 50.10", true},
		{"broken properties", join(methodFrame(1, publish), frame(wire.FrameHeader, 1, []byte{0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0})), "541 INTERNAL_ERROR 60.40", true},
		{"reused consumer tag", methodFrame(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "c", NoWait: true}, consume), "530 NOT_ALLOWED - attempt to reuse consumer tag 'c' 60.20", true},
		{"immediate", join(methodFrame(1, &wire.BasicPublish{RoutingKey: "q", Immediate: true}), header(1, 0, &wire.Properties{})), "540 NOT_IMPLEMENTED - immediate=true 60.40", true},
		{"flow off", methodFrame(1, &wire.ChannelFlow{}), "540 NOT_IMPLEMENTED - active=false 20.20", true},
		{"prefetch size", methodFrame(1, &wire.BasicQos{PrefetchSize: 9}), "540 NOT_IMPLEMENTED - prefetch_size!=0 (9) 60.10", true},
		{"recover without requeue", methodFrame(1, &wire.BasicRecover{}), "540 NOT_IMPLEMENTED - requeue=false 60.110", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := s.openRaw(t)
			r.method(1, declare)
			expect[*wire.QueueDeclareOk](r, 1)
			r.write(test.send)
			if test.hard {
				m := expect[*wire.ConnectionClose](r, 0)
				checkException(t, test.text, m.Code, m.Text, m.Class, m.Method)
				r.method(0, &wire.ConnectionCloseOk{})
				r.expectEnd()
				return
			}
			m := expect[*wire.ChannelClose](r, 1)
			checkException(t, test.text, m.Code, m.Text, m.Class, m.Method)
			// What races with the close is swallowed, and the number can be used again.
			r.write(publishFrames(1, "none", "q", "x", nil))
			r.method(1, &wire.BasicAck{DeliveryTag: 99}, declare, &wire.ChannelCloseOk{}, &wire.ChannelOpen{})
			expect[*wire.ChannelOpenOk](r, 1)
			r.method(1, declare)
			expect[*wire.QueueDeclareOk](r, 1)
		})
	}
}

func checkException(t *testing.T, want string, code uint16, text string, class, method uint16) {
	t.Helper()
	got := strings.Join([]string{sprint(code), text, sprint(class) + "." + sprint(method)}, " ")
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestNoQueueDeclaredBefore(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.openRaw(t)
	r.method(1, &wire.BasicGet{})
	m := expect[*wire.ChannelClose](r, 1)
	checkException(t, "404 NOT_FOUND - no previously declared queue 60.70", m.Code, m.Text, m.Class, m.Method)
}

func TestReplyTextIsCut(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.openRaw(t)
	r.method(1, &wire.QueueDeclare{Queue: strings.Repeat("é", 127), Passive: true})
	m := expect[*wire.ChannelClose](r, 1)
	if len(m.Text) > 255 || len(m.Text) < 250 || !strings.HasSuffix(m.Text, "é...") {
		t.Errorf("text of %d bytes: %s", len(m.Text), m.Text)
	}
}

func TestEveryKindHasReply(t *testing.T) {
	for _, k := range core.Kinds() {
		r, ok := replies[k]
		if !ok {
			t.Errorf("kind %q has no reply", k)
		} else if wire.ReplyIsHard(r.code) != r.fatal {
			t.Errorf("kind %q: code %d and fatal=%v do not go together", k, r.code, r.fatal)
		}
	}
}

func sprint(n uint16) string { return strconv.Itoa(int(n)) }

func TestUserChannelLimit(t *testing.T) {
	s := newTestServer(t, nil)
	if err := s.broker.SetUserLimit("guest", "max-channels", 2); err != nil {
		t.Fatal(err)
	}
	r := s.openRaw(t)
	r.method(2, &wire.ChannelOpen{}, &wire.ChannelClose{}, &wire.ChannelOpen{})
	expect[*wire.ChannelOpenOk](r, 2)
	expect[*wire.ChannelCloseOk](r, 2)
	expect[*wire.ChannelOpenOk](r, 2)
	other := s.dialRaw(t)
	other.login(nil)
	other.method(0, &wire.ConnectionTuneOk{ChannelMax: 10, FrameMax: 8192}, &wire.ConnectionOpen{VirtualHost: "/"})
	expect[*wire.ConnectionOpenOk](other, 0)
	other.method(1, &wire.ChannelOpen{})
	m := expect[*wire.ConnectionClose](other, 0)
	checkException(t, "530 NOT_ALLOWED - number of channels opened for user 'guest' has reached the maximum allowed user limit of 2 0.0", m.Code, m.Text, m.Class, m.Method)
}

// TestErrorsAreLoggedInBounds: each is logged, but not a client that does
// nothing else.
func TestErrorsAreLoggedInBounds(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.openRaw(t)
	for range 200 {
		r.method(1, &wire.QueueDeclare{Queue: "none", Passive: true}, &wire.ChannelCloseOk{}, &wire.ChannelOpen{})
		expect[*wire.ChannelClose](r, 1)
		expect[*wire.ChannelOpenOk](r, 1)
	}
	n := strings.Count(s.logs.String(), "no queue 'none' in vhost '/'")
	if n < exceptionsLogged || n > 150 {
		t.Errorf("logged %d of 200 errors", n)
	}
	if !strings.Contains(s.logs.String(), `user=guest vhost=/ channel=1 method=queue.declare code=404 why="NOT_FOUND - no queue 'none' in vhost '/'"`) {
		t.Errorf("logged %s", s.logs)
	}
}
