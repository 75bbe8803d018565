package mgmt

import (
	"math"
	"net/http"

	"leveret/core"
	"leveret/core/auth"
)

// The messages that an exchange of type x-delayed-message keeps until they are
// due, which RabbitMQ has no API for:
//
//	GET    …/delayed?after=ID&page_size=N  the next N behind ID, by due time
//	DELETE …/delayed/ID                    cancel one
//	PUT    …/delayed/ID                    {"due_ms":…} or {"delay_ms":…}
//
// Listing needs the permission to read the exchange, the others that to
// configure it.

// delayer finds the exchange of the path, as long as the user may do a to it.
// The permission is looked at first: without it nobody learns what there is.
func (c *call) delayer(a auth.Action) (*core.Exchange, error) {
	name := c.exchangeName("exchange")
	resource := name
	if resource == "" {
		resource = "amq.default"
	}
	q := core.AccessQuestion{Kind: core.OnExchange, VHost: c.param("vhost"), Action: a, Name: resource}
	if !c.s.broker.Allowed(c.r.Context(), &c.user.Principal, q) {
		return nil, errAccessRefused
	}
	v, x, err := c.exchange()
	if err != nil {
		return nil, err
	}
	if !x.Delays() {
		return nil, core.Errorf(core.Invalid, "exchange '%s' in vhost '%s' does not delay messages", name, v.Name())
	}
	return x, nil
}

// delayedObject is a delayed message in JSON.
func delayedObject(m core.DelayedMessage) object {
	return object{"id": m.ID.String(), "due_ms": m.ID.DueMS, "payload_bytes": m.BodyBytes}
}

// listDelayed shows the next messages that are due. A page is found by where
// the one before it ended: a million messages may wait, and some become due in
// between.
func (c *call) listDelayed() error {
	x, err := c.delayer(auth.Read)
	if err != nil {
		return err
	}
	q := c.r.URL.Query()
	var after core.DelayedID
	if s := q.Get("after"); s != "" {
		if after, err = core.ParseDelayedID(s); err != nil {
			return err
		}
	}
	size := int64(defaultPageSize)
	if q.Has("page_size") {
		if size, err = (body{"page_size": q.Get("page_size")}).integer("page_size"); err != nil {
			return err
		}
		if size < 1 || size > maxPageSize {
			return badRequest([]any{"not_in_range", "page_size"})
		}
	}
	items := []object{}
	list := x.Delayed(after, int(size)+1)
	var next any
	if len(list) > int(size) {
		list = list[:size]
		next = list[size-1].ID.String()
	}
	for _, m := range list {
		items = append(items, delayedObject(m))
	}
	i := x.Info()
	return c.ok(object{
		"total_count": i.Delayed, "total_payload_bytes": i.DelayedBytes, "item_count": len(items), "page_size": size,
		"next": next, "items": items,
	})
}

// delayedMessage is the message of the path and its exchange.
func (c *call) delayedMessage() (x *core.Exchange, id core.DelayedID, err error) {
	if x, err = c.delayer(auth.Configure); err == nil {
		id, err = core.ParseDelayedID(c.param("id"))
	}
	return x, id, err
}

func (c *call) cancelDelayed() error {
	x, id, err := c.delayedMessage()
	if err != nil {
		return err
	}
	if err := x.CancelDelayed(id); err != nil {
		return err
	}
	return c.done(false)
}

// retimeDelayed gives a message another due time; one in the past is now.
func (c *call) retimeDelayed() error {
	b, err := c.body()
	if err != nil {
		return err
	}
	x, id, err := c.delayedMessage()
	if err != nil {
		return err
	}
	key, from := "due_ms", int64(0)
	if b.has("delay_ms") {
		key, from = "delay_ms", c.s.broker.Now()
	}
	if b.has("due_ms") == b.has("delay_ms") {
		return badRequest("Either due_ms, ms since 1970, or delay_ms, ms from now, is needed.")
	}
	n, err := b.integer(key)
	if err != nil {
		return err
	}
	if n < 0 || n > math.MaxInt64-from {
		return badRequest([]any{"not_in_range", key})
	}
	if id, err = x.RetimeDelayed(id, from+n); err != nil {
		return err
	}
	c.json(http.StatusOK, object{"id": id.String(), "due_ms": id.DueMS})
	return nil
}
