package core

import (
	"math"
	"strconv"
	"strings"
)

// delayedMessageType keeps a message with the header x-delay for so many
// milliseconds, and then routes it as the type named by the argument
// x-delayed-type does. Messages without the header are routed at once.
type delayedMessageType struct{ plainType }

const (
	exchangeDelayed = "x-delayed-message"
	argDelayedType  = "x-delayed-type"
	headerDelay     = "x-delay"
	// headerDelayedKeys holds further routing keys while a message is delayed.
	headerDelayedKeys = "x-delayed-routing-keys"
)

// delayedType returns the type that args ask for, nil if it makes no sense.
func delayedType(args Table) exchangeType {
	v, _ := args.Get(argDelayedType)
	name, _ := v.(string)
	switch name {
	case exchangeDelayed, "x-recent-history", exchangeDeduplicate:
		return nil // What they keep is theirs alone.
	}
	return exchangeTypes[name]
}

func (delayedMessageType) checkArguments(what string, args Table) error {
	inner := delayedType(args)
	if inner == nil {
		return errorf(Invalid, "Invalid argument, 'x-delayed-type' must be an existing exchange type")
	}
	return inner.checkArguments(what, args)
}

func (delayedMessageType) readsMessage(Table) bool { return true }

func (delayedMessageType) newTable(args Table) routingTable {
	return &delayedTable{routingTable: delayedType(args).newTable(args)}
}

// delayedTable sends a message with a delay to the delayer, any other where
// the table of the exchange's own type says.
type delayedTable struct {
	routingTable
	to *destination // The delayer.
}

func (t *delayedTable) match(dst []*destination, keys []string, m *Message) ([]*destination, bool) {
	if m != nil {
		if _, ok := delayOf(m); ok {
			return append(dst, t.to), true
		}
	}
	return t.routingTable.match(dst, keys, m)
}

// delayOf returns how long m is to be delayed, in ms; false for not at all. The
// header's name stands as it is in every encoded form, so that messages without
// it need not be decoded.
func delayOf(m *Message) (ms int64, ok bool) {
	if m.Form != FormNeutral && !strings.Contains(bytesString(m.Encoded), headerDelay) {
		return 0, false
	}
	v, ok := m.Properties().Headers.Get(headerDelay)
	if !ok {
		return 0, false
	}
	switch n := v.(type) {
	case float32:
		ms = wholeMS(float64(n))
	case float64:
		ms = wholeMS(n)
	case string:
		if f, err := strconv.ParseFloat(n, 64); err == nil {
			ms = wholeMS(f)
		}
	default:
		ms, _ = Integer(v)
	}
	return min(ms, delayMaxMS), ms > 0
}

// wholeMS cuts f to what an integer can hold.
func wholeMS(f float64) int64 {
	if math.IsNaN(f) || f <= 0 {
		return 0
	}
	return int64(math.Min(f, delayMaxMS))
}

// negated returns the delay v as it is told to consumers when it is over.
func negated(v any) any {
	switch n := v.(type) {
	case float32:
		return -n
	case float64:
		return -n
	case string:
		return "-" + n
	}
	n, _ := Integer(v)
	return -n
}

// Delays reports whether x keeps messages until they are due.
func (x *Exchange) Delays() bool { return x.delayer != nil }

// Delayed lists messages that x keeps until they are due, in that order, from
// the one behind after on, limit of them at most.
func (x *Exchange) Delayed(after DelayedID, limit int) []DelayedMessage {
	var list []DelayedMessage
	if x.delayer != nil && limit > 0 {
		x.delayer.list(after, func(m DelayedMessage) bool {
			list = append(list, m)
			return len(list) < limit
		})
	}
	return list
}

// CancelDelayed drops a message that is not due yet.
func (x *Exchange) CancelDelayed(id DelayedID) error {
	if x.delayer == nil {
		return errorf(Invalid, "%s does not delay messages", x.vhost.exchangeText(x.name))
	}
	return x.delayer.cancel(id)
}

// RetimeDelayed makes a message that is not due yet due at dueMS, ms since
// 1970, and returns its new name. It returns when that is stored.
func (x *Exchange) RetimeDelayed(id DelayedID, dueMS int64) (DelayedID, error) {
	if x.delayer == nil {
		return id, errorf(Invalid, "%s does not delay messages", x.vhost.exchangeText(x.name))
	}
	return x.delayer.retime(id, dueMS)
}
