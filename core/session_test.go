package core

import (
	"strings"
	"testing"

	"leveret/core/auth"
)

func (s *Session) declareQueue(name string, d QueueDeclare, args ...any) error {
	d.Name, d.Arguments = name, table(args...)
	_, err := s.DeclareQueue(d)
	return err
}

func TestDeclareExchangeRefusals(t *testing.T) {
	b := testBroker(t)
	s := testSession(t, b, "guest")
	poor := testUser(t, b, "poor", "^(mine.*|amq.*)$", "^mine", "^$")
	must(t, s.DeclareExchange(ExchangeDeclare{Name: "x", Type: "direct", Durable: true, Arguments: table("alternate-exchange", "ae")}))
	must(t, s.DeclareExchange(ExchangeDeclare{Name: "int", Type: "fanout", Internal: true}))

	for _, c := range []struct {
		s    *Session
		d    ExchangeDeclare
		kind Kind
		why  string // "" for success.
	}{
		{s, ExchangeDeclare{Name: "x", Type: "direct", Durable: true, Arguments: table("alternate-exchange", "ae", "other", 1)}, OK, ""},
		{s, ExchangeDeclare{Name: "x\r\n", Type: "direct", Durable: true, Arguments: table("alternate-exchange", "ae")}, OK, ""},
		{s, ExchangeDeclare{Name: "x", Type: "nonsense", Passive: true}, OK, ""},
		{s, ExchangeDeclare{Name: "amq.topic", Type: "topic", Durable: true}, OK, ""},
		{s, ExchangeDeclare{Name: "amq.rabbitmq.trace", Type: "topic", Durable: true, Internal: true}, OK, ""},
		{s, ExchangeDeclare{Name: "x", Type: "fanout", Durable: true}, Mismatch, "inequivalent arg 'type' for exchange 'x' in vhost '/': received 'fanout' but current is 'direct'"},
		{s, ExchangeDeclare{Name: "x", Type: "direct"}, Mismatch, "inequivalent arg 'durable' for exchange 'x' in vhost '/': received 'false' but current is 'true'"},
		{s, ExchangeDeclare{Name: "x", Type: "direct", Durable: true, AutoDelete: true}, Mismatch, "inequivalent arg 'auto_delete' for exchange 'x' in vhost '/': received 'true' but current is 'false'"},
		{s, ExchangeDeclare{Name: "x", Type: "direct", Durable: true, Internal: true}, Mismatch, "inequivalent arg 'internal' for exchange 'x' in vhost '/': received 'true' but current is 'false'"},
		{s, ExchangeDeclare{Name: "x", Type: "direct", Durable: true}, Mismatch, "inequivalent arg 'alternate-exchange' for exchange 'x' in vhost '/': received none but current is the value 'ae' of type 'longstr'"},
		{s, ExchangeDeclare{Name: "x", Type: "direct", Durable: true, Arguments: table("alternate-exchange", "other")}, Mismatch, "inequivalent arg 'alternate-exchange' for exchange 'x' in vhost '/': received 'other' but current is 'ae'"},
		{s, ExchangeDeclare{Name: "y", Type: "x-unheard-of"}, Invalid, "unknown exchange type 'x-unheard-of'"},
		{s, ExchangeDeclare{Name: "y", Type: "direct", Arguments: table("alternate-exchange", int32(1))}, Invalid, "invalid type 'signedint' for arg 'alternate-exchange' in exchange 'y' in vhost '/'"},
		{s, ExchangeDeclare{Name: "amq.mine", Type: "direct"}, AccessRefused, "exchange name 'amq.mine' contains reserved prefix 'amq.*'"},
		{s, ExchangeDeclare{Type: "direct"}, AccessRefused, "operation not permitted on the default exchange"},
		{s, ExchangeDeclare{Passive: true}, AccessRefused, "operation not permitted on the default exchange"},
		{s, ExchangeDeclare{Name: "none", Passive: true}, NotFound, "no exchange 'none' in vhost '/'"},
		{poor, ExchangeDeclare{Name: "none", Passive: true}, AccessRefused, "configure access to exchange 'none' in vhost '/' refused for user 'poor'"},
		{poor, ExchangeDeclare{Name: "mine", Passive: true}, NotFound, "no exchange 'mine' in vhost '/'"},
		{poor, ExchangeDeclare{Name: "x", Type: "direct"}, AccessRefused, "configure access to exchange 'x' in vhost '/' refused for user 'poor'"},
		{poor, ExchangeDeclare{Name: "amq.direct", Type: "direct", Durable: true}, OK, ""},
		{poor, ExchangeDeclare{Name: "mine", Type: "direct", Arguments: table("alternate-exchange", "x")}, AccessRefused, "read access to exchange 'mine' in vhost '/' refused for user 'poor'"},
	} {
		err := c.s.DeclareExchange(c.d)
		if c.why == "" {
			if err != nil {
				t.Errorf("declare %+v: %v", c.d, err)
			}
			continue
		}
		refused(t, err, c.kind, c.why)
	}

	reader := testUser(t, b, "reader", ".*", "^$", ".*")
	refused(t, reader.DeclareExchange(ExchangeDeclare{Name: "r", Type: "direct", Arguments: table("alternate-exchange", "")}),
		AccessRefused, "write access to exchange 'amq.default' in vhost '/' refused for user 'reader'")

	refused(t, s.DeleteExchange("", false), AccessRefused, "operation not permitted on the default exchange")
	refused(t, s.DeleteExchange("amq.direct", false), AccessRefused, "deletion of system exchange 'amq.direct' in vhost '/' not allowed")
	refused(t, poor.DeleteExchange("x", false), AccessRefused, "configure access to exchange 'x' in vhost '/' refused for user 'poor'")
	declare(t, s, "q")
	bind(t, s, "x", "k", "q")
	refused(t, s.DeleteExchange("x", true), InUse, "exchange 'x' in vhost '/' in use")
	must(t, s.Bind(toExchange("amq.direct", "", "int")))
	must(t, s.DeleteExchange("int", true)) // Bound to another it is not in use.
	must(t, s.DeleteExchange("x", false))
	must(t, s.DeleteExchange("x", true))
}

func TestDeclareQueueRefusals(t *testing.T) {
	b := testBroker(t)
	s := testSession(t, b, "guest")
	other := testSession(t, b, "guest")
	poor := testUser(t, b, "poor", "^mine", "^mine", "^$")
	must(t, b.PutVHost(VHostDef{Name: "quorums", DefaultQueueType: "quorum"}))
	must(t, b.SetPermission("guest", "quorums", auth.Permission{Configure: ".*", Write: ".*", Read: ".*"}))
	user, _ := b.Auth().User("guest")
	inQuorums, err := b.OpenSession(SessionOptions{VHost: "quorums", User: user})
	must(t, err)

	must(t, s.declareQueue("q", QueueDeclare{}, "x-message-ttl", int32(1000), "note", "mine"))
	must(t, s.declareQueue("exclusive", QueueDeclare{Exclusive: true, Durable: true}))
	must(t, s.declareQueue("types", QueueDeclare{}, "x-queue-mode", "lazy", "x-queue-version", int8(2), "x-queue-type", "classic",
		"x-queue-master-locator", "min-masters", "x-queue-leader-locator", "balanced", "x-expires", int64(60000), "x-single-active-consumer", false))

	plain, excl := QueueDeclare{}, QueueDeclare{Exclusive: true}
	passive := QueueDeclare{Passive: true, Durable: true, AutoDelete: true}
	type args = []any
	for _, c := range []struct {
		s    *Session
		name string
		d    QueueDeclare
		args args
		kind Kind
		why  string // "" for success.
	}{
		{s, "q", plain, args{"x-message-ttl", int64(1000)}, OK, ""},
		{s, "q\n", plain, args{"x-message-ttl", uint16(1000), "x-queue-type", ""}, OK, ""},
		{s, "q", plain, args{"x-message-ttl", int8(100), "x-queue-type", "classic"}, Mismatch, "inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received '100' but current is '1000'"},
		{s, "q", plain, nil, Mismatch, "inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received none but current is the value '1000' of type 'signedint'"},
		{s, "q", plain, args{"x-message-ttl", int32(1000), "x-expires", int64(60000)}, Mismatch, "inequivalent arg 'x-expires' for queue 'q' in vhost '/': received the value '60000' of type 'long' but current is none"},
		{s, "q", plain, args{"x-message-ttl", "1000"}, Mismatch, "inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received '1000' but current is '1000'"},
		{s, "q", plain, args{"x-message-ttl", int32(1000), "x-queue-type", "quorum"}, Mismatch, "inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received 'quorum' but current is 'classic'"},
		{s, "q", QueueDeclare{Durable: true}, nil, Mismatch, "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'true' but current is 'false'"},
		{s, "q", QueueDeclare{AutoDelete: true}, nil, Mismatch, "inequivalent arg 'auto_delete' for queue 'q' in vhost '/': received 'true' but current is 'false'"},
		{s, "q", excl, nil, Locked, "cannot obtain exclusive access to locked queue 'q' in vhost '/'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration."},
		{s, "exclusive", plain, nil, Locked, lockedText("exclusive")},
		{s, "exclusive", excl, nil, OK, ""},
		{s, "exclusive", QueueDeclare{Exclusive: true, Durable: true}, nil, OK, ""},
		{other, "exclusive", excl, nil, Locked, lockedText("exclusive")},
		{other, "exclusive", passive, nil, Locked, lockedText("exclusive")},
		{s, "exclusive", passive, nil, OK, ""},
		{s, "q", passive, args{"x-message-ttl", "nonsense"}, OK, ""},
		{s, "none", passive, nil, NotFound, "no queue 'none' in vhost '/'"},
		{s, "", passive, nil, NotFound, "no queue '' in vhost '/'"},
		{poor, "none", passive, nil, AccessRefused, "configure access to queue 'none' in vhost '/' refused for user 'poor'"},
		{poor, "q", plain, nil, AccessRefused, "configure access to queue 'q' in vhost '/' refused for user 'poor'"},
		{poor, "", plain, nil, AccessRefused, ""},
		{s, "amq.gen-x", plain, nil, AccessRefused, "queue name 'amq.gen-x' contains reserved prefix 'amq.*'"},
		{s, "amq.rabbitmq.reply-to.none", plain, nil, NotFound, "no queue 'amq.rabbitmq.reply-to.none' in vhost '/'"},
		{s, "amq.rabbitmq.reply-to", passive, nil, OK, ""},

		{s, "n", plain, args{"x-message-ttl", "1"}, Invalid, `invalid arg 'x-message-ttl' for queue 'n' in vhost '/': "expected integer, got longstr"`},
		{s, "n", plain, args{"x-message-ttl", int32(-1)}, Invalid, "invalid arg 'x-message-ttl' for queue 'n' in vhost '/': {value_negative,-1}"},
		{s, "n", plain, args{"x-message-ttl", int64(315360000001)}, Invalid, "invalid arg 'x-message-ttl' for queue 'n' in vhost '/': {value_too_large,315360000001}"},
		{s, "n", plain, args{"x-expires", int32(0)}, Invalid, "invalid arg 'x-expires' for queue 'n' in vhost '/': {value_zero,0}"},
		{s, "n", plain, args{"x-expires", 1.5}, Invalid, `invalid arg 'x-expires' for queue 'n' in vhost '/': "expected integer, got double"`},
		{s, "n", plain, args{"x-max-length", int32(-5)}, Invalid, "invalid arg 'x-max-length' for queue 'n' in vhost '/': {value_negative,-5}"},
		{s, "n", plain, args{"x-max-priority", int32(256)}, Invalid, "invalid arg 'x-max-priority' for queue 'n' in vhost '/': {max_value_exceeded,256}"},
		{s, "n", plain, args{"x-overflow", "none"}, Invalid, "invalid arg 'x-overflow' for queue 'n' in vhost '/': invalid_overflow"},
		{s, "n", plain, args{"x-overflow", true}, Invalid, "invalid arg 'x-overflow' for queue 'n' in vhost '/': {unacceptable_type,bool}"},
		{s, "n", plain, args{"x-dead-letter-exchange", int32(1)}, Invalid, "invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'n' in vhost '/'"},
		{s, "n", plain, args{"x-dead-letter-routing-key", "k"}, Invalid, "invalid arg 'x-dead-letter-routing-key' for queue 'n' in vhost '/': routing_key_but_no_dlx_defined"},
		{s, "n", plain, args{"x-single-active-consumer", "yes"}, Invalid, "invalid arg 'x-single-active-consumer' for queue 'n' in vhost '/': {unacceptable_type,longstr}"},
		{s, "n", plain, args{"x-queue-type", "foo"}, Invalid, `invalid arg 'x-queue-type' for queue 'n' in vhost '/': "unsupported queue type 'foo'"`},
		{s, "n", plain, args{"x-queue-type", int8(1)}, Invalid, "invalid arg 'x-queue-type' for queue 'n' in vhost '/': {unacceptable_type,byte}"},
		{s, "n", plain, args{"x-queue-version", int8(3)}, Invalid, `invalid arg 'x-queue-version' for queue 'n' in vhost '/': "unsupported queue version '3'"`},
		{s, "n", plain, args{"x-queue-leader-locator", "moon"}, Invalid, "invalid arg 'x-queue-leader-locator' for queue 'n' in vhost '/': invalid_queue_locator_arg"},
		{s, "n", plain, args{"x-consumer-timeout", int8(-3)}, Invalid, "invalid arg 'x-consumer-timeout' for queue 'n' in vhost '/': {value_negative,-3}"},
		{s, "n", plain, args{"x-max-age", "1D"}, Invalid, "invalid arg 'x-max-age' for queue 'n' in vhost '/' of queue type rabbit_classic_queue"},
		{s, "n", plain, args{"x-delivery-limit-exceeded", "shrug"}, Invalid, "invalid arg 'x-delivery-limit-exceeded' for queue 'n' in vhost '/': invalid_delivery_limit_exceeded"},
		{s, "n", plain, args{"x-delayed-retry-jitter", int32(101)}, Invalid, "invalid arg 'x-delayed-retry-jitter' for queue 'n' in vhost '/': {value_too_large,101}"},
		{s, "n", plain, args{"x-queue-type", "stream"}, Invalid, "invalid property 'non-durable' for queue 'n' in vhost '/'"},
		{s, "", plain, args{"x-queue-type", "quorum"}, Invalid, "Cannot declare a server-named queue for type rabbit_quorum_queue"},
		{poor, "mine", plain, args{"x-dead-letter-exchange", "mine"}, AccessRefused, "read access to queue 'mine' in vhost '/' refused for user 'poor'"},

		{inQuorums, "d", QueueDeclare{Durable: true}, nil, OK, ""},
		{inQuorums, "d", QueueDeclare{Durable: true}, args{"x-queue-type", "classic"}, Mismatch, "inequivalent arg 'x-queue-type' for queue 'd' in vhost 'quorums': received 'classic' but current is 'quorum'"},
		{inQuorums, "e", QueueDeclare{Durable: true}, args{"x-queue-type", "classic"}, OK, ""},
		{inQuorums, "t", plain, nil, OK, ""}, // It could not be a quorum queue.
	} {
		err := c.s.declareQueue(c.name, c.d, c.args...)
		switch {
		case c.kind == OK:
			if err != nil {
				t.Errorf("declare %q %v: %v", c.name, c.args, err)
			}
		case c.why == "":
			if e, ok := err.(*Error); !ok || e.Kind != c.kind {
				t.Errorf("declare %q: %v, want %v", c.name, err, c.kind)
			}
		default:
			refused(t, err, c.kind, c.why)
		}
	}
	if o := s.vhost.queue("exclusive").Options(); o.Durable {
		t.Error("an exclusive queue is durable")
	}
}

func lockedText(queue string) string {
	return "cannot obtain exclusive access to locked queue '" + queue + "' in vhost '/'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration."
}

func TestServerNamedQueue(t *testing.T) {
	s := testSession(t, testBroker(t), "guest")
	seen := map[string]bool{}
	for range 100 {
		d, err := s.DeclareQueue(QueueDeclare{})
		must(t, err)
		rest, ok := strings.CutPrefix(d.Name, "amq.gen-")
		if !ok || len(rest) != 22 || strings.ContainsAny(rest, "+/=") || seen[d.Name] {
			t.Fatalf("server-named queue is called %q", d.Name)
		}
		seen[d.Name] = true
	}
	if n := s.vhost.QueueCount(); n != 100 {
		t.Errorf("%d queues", n)
	}
}

func TestBindRefusals(t *testing.T) {
	b := testBroker(t)
	s := testSession(t, b, "guest")
	other := testSession(t, b, "guest")
	poor := testUser(t, b, "poor", "^$", "^(q|x|none)$", "^x")
	declare(t, s, "q")
	must(t, s.declareQueue("exclusive", QueueDeclare{Exclusive: true}))
	exchange(t, s, "x", "topic")
	must(t, b.SetTopicPermission("poor", "/", auth.TopicPermission{Exchange: "x", Write: "^$", Read: "^{username}\\."}))

	for _, c := range []struct {
		s    *Session
		b    Binding
		kind Kind
		why  string
	}{
		{s, toQueue("none", "", "nil"), NotFound, "no exchange 'none' in vhost '/'"},
		{s, toQueue("x", "", "nil"), NotFound, "no queue 'nil' in vhost '/'"},
		{s, toExchange("x", "", "nil"), NotFound, "no exchange 'nil' in vhost '/'"},
		{s, toQueue("", "q", "q"), AccessRefused, "operation not permitted on the default exchange"},
		{s, toExchange("x", "", ""), AccessRefused, "operation not permitted on the default exchange"},
		{s, toQueue("x", "", "amq.rabbitmq.reply-to.abc"), AccessRefused, "cannot bind or unbind to a volatile (direct reply-to) queue"},
		{other, toQueue("x", "", "exclusive"), Locked, lockedText("exclusive")},
		{poor, toQueue("none", "", "exclusive"), AccessRefused, "write access to queue 'exclusive' in vhost '/' refused for user 'poor'"},
		{poor, toExchange("none", "", "amq.topic"), AccessRefused, "write access to exchange 'amq.topic' in vhost '/' refused for user 'poor'"},
		{poor, toQueue("none", "", "q"), AccessRefused, "read access to exchange 'none' in vhost '/' refused for user 'poor'"},
		{poor, toQueue("x", "rich.a", "q"), AccessRefused, "read access to topic 'rich.a' in exchange 'x' in vhost '/' refused for user 'poor'"},
	} {
		refused(t, c.s.Bind(c.b), c.kind, c.why)
		if c.kind == NotFound {
			must(t, c.s.Unbind(c.b))
		} else {
			refused(t, c.s.Unbind(c.b), c.kind, c.why)
		}
	}
	must(t, poor.Bind(toQueue("x", "poor.a", "q")))
	must(t, poor.Bind(toQueue("x\r", "poor.a", "q\n")))
	src := "x"
	if bs := s.vhost.Bindings(BindingFilter{Source: &src}); len(bs) != 1 || bs[0].Key != "poor.a" {
		t.Errorf("bindings of x: %v", bs)
	}
	must(t, poor.Unbind(toQueue("x", "poor.b", "q")))
	must(t, poor.Unbind(toQueue("x", "poor.a", "q")))
}

func TestPermissionsOfQueueUse(t *testing.T) {
	b := testBroker(t)
	s := testSession(t, b, "guest")
	other := testSession(t, b, "guest")
	poor := testUser(t, b, "poor", "^$", "^$", "^mine$")
	must(t, s.declareQueue("exclusive", QueueDeclare{Exclusive: true}))

	uses := map[string]func(s *Session, q string) error{
		"purge":   func(s *Session, q string) error { _, err := s.PurgeQueue(q); return err },
		"get":     func(s *Session, q string) error { _, err := s.Get(q, true, nil); return err },
		"consume": func(s *Session, q string) error { _, err := s.Consume(ConsumeOptions{Queue: q}); return err },
	}
	for name, use := range uses {
		t.Run(name, func(t *testing.T) {
			refused(t, use(poor, "other"), AccessRefused, "read access to queue 'other' in vhost '/' refused for user 'poor'")
			refused(t, use(poor, "mine"), NotFound, "no queue 'mine' in vhost '/'")
			refused(t, use(other, "exclusive"), Locked, lockedText("exclusive"))
			must(t, use(s, "exclusive"))
		})
	}
	_, err := poor.DeleteQueue("other", false, false)
	refused(t, err, AccessRefused, "configure access to queue 'other' in vhost '/' refused for user 'poor'")
	_, err = other.DeleteQueue("exclusive", false, false)
	refused(t, err, Locked, lockedText("exclusive"))
	_, err = s.DeleteQueue("exclusive", true, false)
	refused(t, err, InUse, "queue 'exclusive' in vhost '/' in use")
	_, err = s.DeleteQueue("exclusive", false, false)
	must(t, err)
	_, err = s.DeleteQueue("exclusive", true, true)
	must(t, err)

	// A permission changed counts from the next operation.
	must(t, b.SetPermission("poor", "/", auth.Permission{Read: ".*"}))
	refused(t, uses["purge"](poor, "other"), NotFound, "no queue 'other' in vhost '/'")
	must(t, b.ClearPermission("poor", "/"))
	refused(t, uses["purge"](poor, "other"), AccessRefused, "read access to queue 'other' in vhost '/' refused for user 'poor'")
}

func TestAutoDeleteExchange(t *testing.T) {
	s := testSession(t, testBroker(t), "guest")
	exists := func(want bool, names ...string) {
		t.Helper()
		for _, name := range names {
			if _, ok := s.vhost.Exchange(name); ok != want {
				t.Errorf("exchange %q exists: %v", name, ok)
			}
		}
	}
	auto := func(names ...string) {
		for _, name := range names {
			must(t, s.DeclareExchange(ExchangeDeclare{Name: name, Type: "fanout", AutoDelete: true}))
		}
	}
	declare(t, s, "q")
	auto("never")
	auto("by unbind")
	bind(t, s, "by unbind", "1", "q")
	bind(t, s, "by unbind", "2", "q")
	must(t, s.Unbind(toQueue("by unbind", "1", "q")))
	must(t, s.Unbind(toQueue("by unbind", "1", "q")))
	exists(true, "by unbind")
	must(t, s.Unbind(toQueue("by unbind", "2", "q")))
	exists(false, "by unbind")

	// The end of a queue takes a chain of exchanges with it.
	auto("chain1", "chain2", "chain3")
	must(t, s.Bind(toExchange("chain1", "", "chain2")))
	must(t, s.Bind(toExchange("chain2", "", "chain3")))
	bind(t, s, "chain3", "", "q")
	auto("end")
	must(t, s.Bind(toExchange("amq.fanout", "", "end"))) // As destination only: stays.
	_, err := s.DeleteQueue("q", false, false)
	must(t, err)
	exists(false, "chain1", "chain2", "chain3")
	exists(true, "never", "end")

	auto("by exchange")
	exchange(t, s, "x", "fanout")
	must(t, s.Bind(toExchange("by exchange", "", "x")))
	must(t, s.DeleteExchange("x", false))
	exists(false, "by exchange")

	auto("itself")
	must(t, s.Bind(toExchange("itself", "", "itself")))
	must(t, s.DeleteExchange("itself", false))
	exists(false, "itself")
	if bs := s.vhost.Bindings(BindingFilter{}); len(bs) != 1 || bs[0].Destination != "end" {
		t.Errorf("bindings left: %v", bs)
	}
}

func TestExclusiveQueuesEndWithTheirSession(t *testing.T) {
	b := testBroker(t)
	s := testSession(t, b, "guest")
	other := testSession(t, b, "guest")
	must(t, s.declareQueue("mine", QueueDeclare{Exclusive: true}))
	must(t, s.declareQueue("early", QueueDeclare{Exclusive: true}))
	declare(t, s, "shared")
	bind(t, s, "amq.fanout", "", "mine")
	if owner := s.vhost.ExclusiveOwner(s.vhost.queue("mine")); owner != s {
		t.Errorf("owner of mine is %v", owner)
	}
	_, err := s.DeleteQueue("early", false, false)
	must(t, err)
	must(t, other.declareQueue("early", QueueDeclare{}))
	s.Close()
	s.Close()
	if q := s.vhost.queue("mine"); q != nil {
		t.Error("the queue outlives its owner")
	}
	for _, name := range []string{"shared", "early"} {
		if _, ok := s.vhost.Queue(name); !ok {
			t.Errorf("queue %s went with a session that does not own it", name)
		}
	}
	if err := s.declareQueue("late", QueueDeclare{Exclusive: true}); err == nil || s.vhost.queue("late") != nil {
		t.Errorf("a closed session got an exclusive queue, error %v", err)
	}
	wantRouted(t, other, "", "amq.fanout", nil, "")
}

func TestOpenSessionRefusals(t *testing.T) {
	b := testBroker(t)
	must(t, b.PutUser(auth.User{Name: "u"}))
	must(t, b.PutVHost(VHostDef{Name: "v"}))
	u, _ := b.Auth().User("u")
	open := func(vhost string) (*Session, error) {
		s, err := b.OpenSession(SessionOptions{VHost: vhost, User: u})
		if err == nil {
			t.Cleanup(s.Close)
		}
		return s, err
	}
	_, err := open("none")
	refused(t, err, NotAllowed, "access to vhost 'none' refused for user 'u'")
	_, err = b.OpenSession(SessionOptions{VHost: "none", User: auth.User{Name: "a", Tags: []string{auth.TagAdministrator}}})
	refused(t, err, NotAllowed, "vhost none not found")
	_, err = open("v")
	refused(t, err, NotAllowed, "access to vhost 'v' refused for user 'u'")
	must(t, b.SetPermission("u", "v", auth.Permission{}))
	s, err := open("v")
	must(t, err)

	must(t, b.SetUserLimit("u", auth.LimitConnections, 1))
	_, err = open("v")
	refused(t, err, NotAllowed, "connection refused for user 'u': user connection limit (1) is reached")
	must(t, b.SetUserLimit("u", auth.LimitConnections, -1))
	must(t, b.SetVHostLimit("v", LimitConnections, 1))
	_, err = open("v")
	refused(t, err, NotAllowed, "access to vhost 'v' refused for user 'u': connection limit (1) is reached")
	s.Close()
	s, err = open("v")
	must(t, err)
	must(t, b.SetVHostLimit("v", LimitConnections, 0))
	_, err = open("v")
	refused(t, err, NotAllowed, "access to vhost 'v' refused for user 'u': connection limit (0) is reached")
	internal, err := b.OpenSession(SessionOptions{VHost: "v", User: u, Internal: true})
	must(t, err)
	defer internal.Close()
	must(t, b.ClearVHostLimit("v", LimitConnections))
	must(t, b.ClearUserLimit("u", auth.LimitConnections))
	if n := b.SessionCount(); n != 1 || s.vhost.SessionCount() != 1 {
		t.Errorf("%d sessions, %d in v", n, s.vhost.SessionCount())
	}

	must(t, b.SetVHostLimit("v", LimitQueues, 1))
	must(t, b.SetPermission("u", "v", auth.Permission{Configure: ".*", Read: ".*", Write: ".*"}))
	declare(t, s, "q", "q")
	_, err = s.DeclareQueue(QueueDeclare{Name: "r"})
	refused(t, err, Limit, "cannot declare queue 'r': queue limit in vhost 'v' (1) is reached")
	_, err = s.DeleteQueue("q", false, false)
	must(t, err)
	declare(t, s, "r")

	small, err := New(Options{MaxConnections: 1})
	must(t, err)
	defer small.Close()
	testSession(t, small, "guest")
	guest, _ := small.Auth().User("guest")
	_, err = small.OpenSession(SessionOptions{VHost: "/", User: guest})
	refused(t, err, NotAllowed, "connection refused: node connection limit (1) is reached")
}

func TestAuthenticate(t *testing.T) {
	b := testBroker(t)
	hash, err := auth.HashPassword("pw", "")
	must(t, err)
	must(t, b.PutUser(auth.User{Name: "u", PasswordHash: hash}))
	must(t, b.PutUser(auth.User{Name: "locked"}))
	for _, c := range []struct {
		user, password string
		loopback, ok   bool
	}{
		{"guest", "guest", true, true},
		{"guest", "guest", false, false},
		{"guest", "wrong", true, false},
		{"guest", "", true, false},
		{"u", "pw", false, true},
		{"u", "pw", true, true},
		{"u", "wrong", false, false},
		{"locked", "", false, false},
		{"none", "pw", false, false},
	} {
		u, err := login(b, c.user, c.password, c.loopback)
		if c.ok {
			if err != nil || u.Name != c.user {
				t.Errorf("%+v: %v", c, err)
			}
			continue
		}
		refused(t, err, AccessRefused, "user '"+c.user+"': invalid credentials")
	}
}

func TestDeletedVHostEndsItsSessions(t *testing.T) {
	b := testBroker(t)
	must(t, b.PutVHost(VHostDef{Name: "v"}))
	must(t, b.SetPermission("guest", "v", auth.Permission{Configure: ".*", Read: ".*", Write: ".*"}))
	u, _ := b.Auth().User("guest")
	s, err := b.OpenSession(SessionOptions{VHost: "v", User: u})
	must(t, err)
	elsewhere := testSession(t, b, "guest")
	var ended []string
	s.OnClose(func(reason string) { ended = append(ended, reason) })
	elsewhere.OnClose(func(reason string) { t.Errorf("session of / ended: %s", reason) })
	declare(t, s, "q")
	must(t, s.DeclareExchange(ExchangeDeclare{Name: "x", Type: "direct", Durable: true}))
	bind(t, s, "x", "k", "q")
	must(t, s.Bind(toExchange("amq.topic", "k", "x")))
	var cancelled string
	_, err = s.Consume(ConsumeOptions{Queue: "q", Cancelled: func(_ *Consumer, reason string) { cancelled = reason }})
	must(t, err)

	must(t, b.DeleteVHost("v"))
	if len(ended) != 1 || ended[0] != "vhost 'v' is deleted" || cancelled == "" {
		t.Errorf("session ended %q, consumer cancelled %q", ended, cancelled)
	}
	refused(t, b.DeleteVHost("v"), NotFound, "vhost 'v' not found")
	if !s.vhost.exchange("amq.topic").deleted.Load() {
		t.Error("publishers still find amq.topic")
	}
	for _, err := range []error{
		s.declareQueue("r", QueueDeclare{}),
		s.DeclareExchange(ExchangeDeclare{Name: "y", Type: "direct"}),
		s.Bind(toQueue("amq.topic", "", "q")),
	} {
		if err == nil {
			t.Error("a deleted virtual host takes declarations")
		}
	}
	s.Close()

	must(t, b.PutVHost(VHostDef{Name: "v"}))
	v, _ := b.VHost("v")
	if v.QueueCount() != 0 || v.exchange("x") != nil || len(v.Bindings(BindingFilter{})) != 0 || len(b.Auth().PermissionsIn("v")) != 0 {
		t.Error("the new virtual host has things of the old one")
	}
	for _, kind := range []DefinitionKind{DefQueue, DefExchange} {
		for _, name := range []string{"q", "x"} {
			if d, _, _ := b.definitions.Get(kind, []string{"v", name}); d != nil {
				t.Errorf("definition %v is left", d)
			}
		}
	}
}

func TestDeletedUserEndsItsSessions(t *testing.T) {
	b := testBroker(t)
	s := testUser(t, b, "u", ".*", ".*", ".*")
	testSession(t, b, "guest").OnClose(func(reason string) { t.Errorf("session of guest ended: %s", reason) })
	must(t, b.SetTopicPermission("u", "/", auth.TopicPermission{Exchange: "x"}))
	must(t, b.DeleteUser("u"))
	var ended string
	s.OnClose(func(reason string) { ended = reason }) // Asked before: told at once.
	if ended != "user 'u' is deleted" {
		t.Errorf("session ended: %q", ended)
	}
	refused(t, b.DeleteUser("u"), NotFound, "user 'u' not found")
	refused(t, b.SetPermission("u", "/", auth.Permission{}), NotFound, "user 'u' not found")
	refused(t, b.SetPermission("guest", "none", auth.Permission{}), NotFound, "vhost 'none' not found")
	if err := b.SetPermission("guest", "/", auth.Permission{Read: "("}); err == nil {
		t.Error("a bad expression is a permission")
	}
	must(t, b.PutUser(auth.User{Name: "u"}))
	if len(b.Auth().PermissionsOf("u")) != 0 || len(b.Auth().TopicPermissionsOf("u")) != 0 {
		t.Error("the new user has the old one's permissions")
	}
}

func TestNewUserOfASessionLosesConsumers(t *testing.T) {
	b := testBroker(t)
	s := testSession(t, b, "guest")
	testUser(t, b, "u", "", "", "^kept$")
	declare(t, s, "kept", "lost")
	var cancelled []string
	for _, q := range []string{"kept", "lost"} {
		_, err := s.Consume(ConsumeOptions{Queue: q, Cancelled: func(*Consumer, string) { cancelled = append(cancelled, q) }})
		must(t, err)
	}
	_, err := s.ConsumeVolatile(ConsumeOptions{Queue: "amq.rabbitmq.reply-to.x", NoAck: true})
	must(t, err)
	u, _ := b.Auth().User("u")
	s.SetUser(u)
	if len(cancelled) != 1 || cancelled[0] != "lost" || len(s.Consumers()) != 2 {
		t.Errorf("cancelled %q, %d consumers left", cancelled, len(s.Consumers()))
	}
	_, err = s.PurgeQueue("lost")
	refused(t, err, AccessRefused, "read access to queue 'lost' in vhost '/' refused for user 'u'")

	// The hidden queue is known to nobody but by its name.
	d, err := s.DeclareQueue(QueueDeclare{Name: "amq.rabbitmq.reply-to.x", Passive: true})
	if err != nil || d.Consumers != 1 || s.vhost.QueueCount() != 2 {
		t.Errorf("%+v, %v, %d queues", d, err, s.vhost.QueueCount())
	}
	if _, ok := s.vhost.Queue("amq.rabbitmq.reply-to.x"); ok {
		t.Error("the hidden queue is listed")
	}
	s.Close()
	if s.vhost.queue("amq.rabbitmq.reply-to.x") != nil {
		t.Error("the hidden queue outlives its consumer")
	}
}

func TestQueuesOfTheNode(t *testing.T) {
	b, err := New(Options{MaxQueues: 2, DefaultQueueType: QueueQuorum})
	must(t, err)
	t.Cleanup(func() { b.Close() })
	must(t, b.PutVHost(VHostDef{Name: "v", DefaultQueueType: string(QueueClassic)}))
	must(t, b.SetPermission("guest", "v", auth.Permission{Configure: ".*", Read: ".*", Write: ".*"}))
	must(t, b.SetVHostLimit("/", LimitQueues, 5))
	s := testSession(t, b, "guest")
	_, err = s.DeclareQueue(QueueDeclare{Name: "q", Durable: true})
	must(t, err)
	in, err := b.OpenSession(SessionOptions{VHost: "v", User: s.User(), Loopback: true})
	must(t, err)
	defer in.Close()
	_, err = in.DeclareQueue(QueueDeclare{Name: "q", Durable: true})
	must(t, err)
	for _, in := range []*Session{s, in} {
		_, err = in.DeclareQueue(QueueDeclare{Name: "r", Durable: true})
		refused(t, err, Limit, "cannot declare queue 'r': queue limit in cluster (2) is reached")
	}
	_, err = in.DeleteQueue("q", false, false)
	must(t, err)
	_, err = s.DeclareQueue(QueueDeclare{Name: "r"})
	must(t, err)
	for name, want := range map[string]QueueType{"q": QueueQuorum, "r": QueueClassic} {
		if q, _ := s.VHost().Queue(name); q.Options().Type != want {
			t.Errorf("%s is %s", name, q.Options().Type)
		}
	}
}
