package mgmt

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"leveret/core"
)

// getMax bounds the messages one request may fetch, and getMaxBytes their
// bodies: they are all in memory at once.
const (
	getMax      = 10_000
	getMaxBytes = 64 << 20
)

// publish hands one message to an exchange.
func (c *call) publish() error {
	b, err := c.body()
	if err != nil {
		return err
	}
	if err := b.need("payload_encoding", "payload", "routing_key", "properties"); err != nil {
		return err
	}
	payload, err := b.text("payload")
	if err != nil {
		return err
	}
	body := []byte(payload)
	switch encoding, _ := b.text("payload_encoding"); encoding {
	case "string":
	case "base64":
		if body, err = base64.StdEncoding.DecodeString(payload); err != nil {
			return badRequest([]string{"not_base64", payload})
		}
	default:
		return badRequest([]string{"unsupported_encoding", encoding})
	}
	key, err := b.text("routing_key")
	if err != nil {
		return err
	}
	props, err := propertiesFromJSON(b["properties"])
	if err != nil {
		return err
	}
	if props.UserID != nil && *props.UserID != c.user.Name {
		return badRequest(fmt.Sprintf("406 PRECONDITION_FAILED - user_id property set to '%s' but authenticated user was '%s'", *props.UserID, c.user.Name))
	}
	further, err := furtherKeys(props)
	if err != nil {
		return err
	}
	if alarms := c.s.broker.Alarms(); alarms.Set() {
		// Clients of AMQP wait; one of HTTP would wait with nothing to show for it.
		return core.Errorf(core.Unavailable, "publishing is blocked: the broker is %s", alarms.Reason())
	}
	s, err := c.session()
	if err != nil {
		return err
	}
	defer s.Close()
	routed, err := publishOne(s, c.exchangeName("exchange"), key, further, body, props)
	if err != nil {
		return amqpStyle(err)
	}
	return c.ok(object{"routed": routed})
}

// amqpStyle gives a core error the status and text that publish has it in,
// where RabbitMQ passes an AMQP exception on.
func amqpStyle(err error) error {
	ce, ok := err.(*core.Error)
	if !ok {
		return err
	}
	switch ce.Kind {
	case core.NotFound:
		return badRequest("404 NOT_FOUND - " + ce.Why)
	case core.AccessRefused:
		return errAccessRefused
	case core.Unavailable, core.Internal:
		return err
	}
	return badRequest("406 PRECONDITION_FAILED - " + ce.Why)
}

// furtherKeys are the routing keys in the headers CC and BCC. It removes BCC,
// which receivers do not see.
func furtherKeys(p *core.Properties) ([]string, error) {
	var keys []string
	for _, name := range []string{"CC", "BCC"} {
		v, ok := p.Headers.Get(name)
		if !ok {
			continue
		}
		list, ok := v.([]any)
		if !ok {
			return nil, badRequest("406 PRECONDITION_FAILED - invalid message: header " + name + " is not a list")
		}
		for _, k := range list {
			if key, ok := k.(string); ok {
				keys = append(keys, key)
			}
		}
	}
	p.Headers = p.Headers.Without("BCC")
	return keys, nil
}

// propertiesFromJSON reads the properties of publish.
func propertiesFromJSON(v any) (*core.Properties, error) {
	p := &core.Properties{}
	var b body
	switch v := v.(type) {
	case map[string]any:
		b = v
	case []any:
		if len(v) > 0 {
			return nil, badRequest([]any{"not_an_object", "properties"})
		}
	case nil:
	default:
		return nil, badRequest([]any{"not_an_object", "properties"})
	}
	var failed error
	text := func(key string) *string {
		if !b.has(key) {
			return nil
		}
		s, err := b.text(key)
		if err != nil && failed == nil {
			failed = err
		}
		if len(s) > math.MaxUint8 && failed == nil {
			failed = badRequest([]any{"too_long", key})
		}
		return &s
	}
	number := func(key string, low, high int64) *int64 {
		if !b.has(key) {
			return nil
		}
		n, err := b.integer(key)
		if err == nil && (n < low || n > high) {
			err = badRequest([]any{"not_in_range", key})
		}
		if err != nil && failed == nil {
			failed = err
		}
		return &n
	}
	if s := text("content_type"); s != nil {
		p.ContentType, p.ContentTypeSet = *s, true
	}
	if s := text("content_encoding"); s != nil {
		p.ContentEncoding, p.ContentEncodingSet = *s, true
	}
	if h, ok := b["headers"]; ok {
		if h == nil {
			return nil, badRequest([]string{"null_not_allowed", "headers"})
		}
		t, err := b.table("headers")
		if err != nil {
			return nil, err
		}
		for _, f := range t {
			if f.Value == nil {
				return nil, badRequest([]string{"null_not_allowed", f.Name})
			}
		}
		p.Headers, p.HeadersSet = t, true
	}
	if n := number("delivery_mode", 0, math.MaxUint8); n != nil {
		p.DeliveryMode = uint8(*n)
	}
	if n := number("priority", 0, math.MaxUint8); n != nil {
		v := uint8(*n)
		p.Priority = &v
	}
	if n := number("timestamp", 0, math.MaxInt64); n != nil {
		v := core.Timestamp(*n)
		p.Timestamp = &v
	}
	p.CorrelationID = text("correlation_id")
	p.ReplyTo = text("reply_to")
	p.MessageID = text("message_id")
	p.Type = text("type")
	p.UserID = text("user_id")
	p.AppID = text("app_id")
	p.ClusterID = text("cluster_id")
	if p.Expiration = text("expiration"); p.Expiration != nil && failed == nil {
		if n, err := strconv.ParseInt(*p.Expiration, 10, 64); err != nil || n < 0 {
			failed = badRequest(fmt.Sprintf("406 PRECONDITION_FAILED - invalid expiration '%s'", *p.Expiration))
		}
	}
	if failed != nil {
		return nil, failed
	}
	return p, nil
}

// propertiesJSON shows a message's properties. None are an empty object, where
// RabbitMQ shows an empty array that typed clients stumble over.
func propertiesJSON(p *core.Properties) object {
	out := object{}
	text := func(key string, s *string) {
		if s != nil {
			out[key] = *s
		}
	}
	if p.ContentType != "" || p.ContentTypeSet {
		out["content_type"] = p.ContentType
	}
	if p.ContentEncoding != "" || p.ContentEncodingSet {
		out["content_encoding"] = p.ContentEncoding
	}
	if p.HeadersSet || len(p.Headers) > 0 {
		out["headers"] = tableJSON(p.Headers)
	}
	if p.DeliveryMode != 0 {
		out["delivery_mode"] = p.DeliveryMode
	}
	if p.Priority != nil {
		out["priority"] = *p.Priority
	}
	if p.Timestamp != nil {
		out["timestamp"] = int64(*p.Timestamp)
	}
	text("correlation_id", p.CorrelationID)
	text("reply_to", p.ReplyTo)
	text("expiration", p.Expiration)
	text("message_id", p.MessageID)
	text("type", p.Type)
	text("user_id", p.UserID)
	text("app_id", p.AppID)
	text("cluster_id", p.ClusterID)
	return out
}

// getRequest is what getMessages was asked for.
type getRequest struct {
	count    int
	settle   core.Settlement
	noAck    bool
	base64   bool
	truncate int // Bytes of payload to show; negative for all.
}

func (c *call) getRequest() (*getRequest, error) {
	b, err := c.body()
	if err != nil {
		return nil, err
	}
	if err := b.need("ackmode", "count", "encoding"); err != nil {
		return nil, err
	}
	g := &getRequest{truncate: -1}
	switch mode, _ := b.text("ackmode"); mode {
	case "ack_requeue_false":
		g.noAck = true
	case "ack_requeue_true", "reject_requeue_true":
		g.settle = core.Requeue
	case "reject_requeue_false":
		g.settle = core.Discard
	default:
		return nil, badRequest("Unsupported ackmode. Please use ack_requeue_true, ack_requeue_false, reject_requeue_true or reject_requeue_false.")
	}
	n, err := b.integer("count")
	if err != nil {
		return nil, err
	}
	g.count = int(min(max(n, 0), getMax))
	switch encoding, _ := b.text("encoding"); encoding {
	case "auto":
	case "base64":
		g.base64 = true
	default:
		return nil, badRequest("Unsupported encoding. Please use auto or base64.")
	}
	if b.has("truncate") {
		n, err := b.integer("truncate")
		if err != nil {
			return nil, err
		}
		g.truncate = int(min(max(n, 0), math.MaxInt32))
	}
	return g, nil
}

// getMessages shows messages of a queue, for good or to be put back. All are
// fetched before any is settled, so that one put back is not seen twice.
func (c *call) getMessages() error {
	if c.vhost() == nil {
		return errNotFound
	}
	g, err := c.getRequest()
	if err != nil {
		return err
	}
	s, err := c.session()
	if err != nil {
		return err
	}
	defer s.Close()
	rows, err := fetch(s, c.param("queue"), g)
	if ce, ok := err.(*core.Error); ok && ce.Kind == core.NotFound {
		return &failure{404, "not_found", "NOT_FOUND - " + ce.Why}
	} else if ok && ce.Kind == core.NotImplemented {
		return badRequest("540 " + ce.Why)
	} else if err != nil {
		return err
	}
	return c.ok(rows)
}

// messageObject is a fetched message in JSON. d is good only during a get.
func (g *getRequest) messageObject(d *core.Delivery, remaining int) object {
	m := d.Message
	payload := m.Body
	if g.truncate >= 0 && len(payload) > g.truncate {
		payload = payload[:g.truncate]
	}
	encoding, shown := "string", ""
	if g.base64 || !utf8.Valid(payload) {
		encoding, shown = "base64", base64.StdEncoding.EncodeToString(payload)
	} else {
		shown = string(payload)
	}
	// Properties may alias the message, which is gone after the get.
	props, err := json.Marshal(propertiesJSON(m.Properties()))
	if err != nil {
		props = []byte("{}")
	}
	return object{
		"payload_bytes": len(m.Body), "redelivered": d.Redelivered, "exchange": string([]byte(m.Exchange)), "routing_key": string([]byte(m.RoutingKey)),
		"message_count": remaining, "properties": json.RawMessage(props), "payload": shown, "payload_encoding": encoding,
	}
}

// confirmWait is how long publish waits for the queues to have its message.
const confirmWait = 30 * time.Second

// confirmation is the Completer of a publisher of one message.
type confirmation chan core.Kind

// Completed takes the outcome of the one message there is.
func (c confirmation) Completed(_, _ uint64, k core.Kind) { c <- k }

// publishOne publishes and waits for the confirm. It reports whether there was
// a queue to go to.
func publishOne(s *core.Session, exchange, key string, further []string, body []byte, props *core.Properties) (routed bool, err error) {
	done := make(confirmation, 1)
	p := s.NewPublisher(done)
	target, err := p.Target(exchange)
	if err != nil {
		return false, err
	}
	ms := make([]core.Publication, 1)
	m := &ms[0]
	m.Reset()
	m.Exchange, m.RoutingKey, m.Body, m.OwnBody, m.Number = exchange, key, body, true, 1
	m.Persistent = props.DeliveryMode == 2
	if props.Priority != nil {
		m.Priority, m.HasPriority = *props.Priority, true
	}
	if props.Expiration != nil {
		// propertiesFromJSON has read it before.
		if m.TTLMS, err = strconv.ParseInt(*props.Expiration, 10, 64); err != nil {
			return false, err
		}
	}
	m.SetProperties(props)
	m.SetExtraKeys(further)
	route, err := p.Route(target, m)
	if err != nil {
		return false, err
	}
	unroutable := route.Unroutable()
	if unroutable {
		m.Number = 0 // Exchanges count it and may remember it; there is nothing to wait for.
	}
	var touched core.Touched
	p.Publish(ms, &touched)
	touched.Flush()
	if unroutable {
		return false, nil
	}
	t := time.NewTimer(confirmWait)
	defer t.Stop()
	select {
	case k := <-done:
		if k != core.OK {
			return false, core.Errorf(k, "the message was refused: %v", k)
		}
		return true, nil
	case <-t.C:
		return false, core.Errorf(core.Unavailable, "no confirm within %v", confirmWait)
	}
}

// fetch gets what g asks for, then settles all of it.
func fetch(s *core.Session, queue string, g *getRequest) ([]object, error) {
	rows := []object{}
	size := 0
	var holder *core.Holder
	var seqs []core.Seq
	var failed error
	for len(rows) < g.count && size < getMaxBytes {
		got, err := s.Get(queue, g.noAck, func(h *core.Holder, d *core.Delivery, remaining int) {
			rows = append(rows, g.messageObject(d, remaining))
			size += len(d.Message.Body)
			holder, seqs = h, append(seqs, d.Seq)
		})
		if err != nil || !got {
			failed = err
			break
		}
	}
	if holder != nil && !g.noAck {
		var t core.Touched
		holder.Settle(g.settle, seqs, &t)
		t.Flush()
	}
	return rows, failed
}
