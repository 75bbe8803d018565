package core

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Arguments that are looked at by name.
const (
	argAlternateExchange  = "alternate-exchange"
	argDeadLetterExchange = "x-dead-letter-exchange"
	argQueueType          = "x-queue-type"
	argMessageTTL         = "x-message-ttl"
	argExpires            = "x-expires"
)

// timerMaxMS is the longest time that arguments may ask for: ten years.
const timerMaxMS = 315360000000

// argumentRule is one queue argument that RabbitMQ knows. Others are accepted
// and kept.
type argumentRule struct {
	name string
	// classic is true if classic queues have it.
	classic bool
	// check returns what is wrong with v as RabbitMQ's Erlang term, or "".
	check func(v any, all Table) string
	// served says which values this release acts upon, or rightly ignores; nil
	// for all. Others are refused, so that nobody relies on what is not there.
	served func(v any) bool
}

// argumentsMax is how many values the arguments of a queue, an exchange, a
// binding or a consumer may hold, nested ones counted. They are kept for as long
// as what was declared, and a value takes far more memory than the byte that it
// may take on the wire.
const argumentsMax = 1024

// boundedArguments refuses arguments of more than argumentsMax values.
func boundedArguments(what string, args Table) error {
	if left := countValues(args, argumentsMax); left < 0 {
		return errorf(Invalid, "the arguments of %s hold more than %d values", what, argumentsMax)
	}
	return nil
}

// countValues takes the values of v from left, and stops below zero.
func countValues(v any, left int) int {
	switch v := v.(type) {
	case Table:
		for i := range v {
			if left = countValues(v[i].Value, left-1); left < 0 {
				break
			}
		}
	case []any:
		for i := range v {
			if left = countValues(v[i], left-1); left < 0 {
				break
			}
		}
	}
	return left
}

// queueArguments are checked in this order, which is RabbitMQ's.
var queueArguments = []argumentRule{
	{argExpires, true, checkExpires, nil},
	{argMessageTTL, true, checkTime, nil},
	{argDeadLetterExchange, true, checkString, never},
	{"x-dead-letter-routing-key", true, checkDeadLetterKey, never},
	{"x-dead-letter-strategy", false, checkString, never},
	{"x-max-length", true, checkNotNegative, never},
	{"x-max-length-bytes", true, checkNotNegative, never},
	{"x-max-in-memory-length", false, checkNotNegative, never},
	{"x-max-in-memory-bytes", false, checkNotNegative, never},
	{"x-max-priority", true, checkMaxPriority, never},
	{"x-overflow", true, checkOverflow, func(v any) bool { return v == "drop-head" }},
	{"x-queue-mode", true, anyValue, nil},
	{"x-queue-version", true, checkQueueVersion, nil},
	{"x-single-active-consumer", true, checkBool, func(v any) bool { return v == false }},
	{argQueueType, true, checkQueueType, nil},
	{"x-queue-master-locator", true, checkString, nil},
	{"x-queue-leader-locator", true, checkLeaderLocator, nil},
	{"x-delivery-limit", false, checkInteger, never},
	{"x-quorum-initial-group-size", false, checkNotNegative, never},
	{"x-quorum-target-group-size", false, checkNotNegative, never},
	{"x-initial-cluster-size", false, checkNotNegative, never},
	{"x-consumer-timeout", false, checkNotNegative, never},
	{"x-consumer-disconnected-timeout", false, checkNotNegative, never},
	{"x-delayed-retry-type", false, checkString, never},
	{"x-delayed-retry-min", false, checkNotNegative, never},
	{"x-delayed-retry-max", false, checkNotNegative, never},
	{"x-max-age", false, checkString, never},
	{"x-stream-max-segment-size-bytes", false, checkNotNegative, never},
	{"x-stream-filter-size-bytes", false, checkNotNegative, never},
}

func never(any) bool               { return false }
func anyValue(any, Table) string   { return "" }
func unacceptable(v any) string    { return "{unacceptable_type," + TypeName(v) + "}" }
func erlangString(s string) string { return strconv.Quote(s) }

func checkInteger(v any, _ Table) string {
	if _, ok := Integer(v); !ok {
		return erlangString("expected integer, got " + TypeName(v))
	}
	return ""
}

func checkNotNegative(v any, all Table) string {
	if n, ok := Integer(v); ok && n < 0 {
		return fmt.Sprintf("{value_negative,%d}", n)
	}
	return checkInteger(v, all)
}

func checkTime(v any, all Table) string {
	if n, ok := Integer(v); ok && n > timerMaxMS {
		return fmt.Sprintf("{value_too_large,%d}", n)
	}
	return checkNotNegative(v, all)
}

func checkExpires(v any, all Table) string {
	if n, ok := Integer(v); ok && n == 0 {
		return "{value_zero,0}"
	}
	return checkTime(v, all)
}

func checkMaxPriority(v any, all Table) string {
	if n, ok := Integer(v); ok && n > 255 {
		return fmt.Sprintf("{max_value_exceeded,%d}", n)
	}
	return checkNotNegative(v, all)
}

func checkString(v any, _ Table) string {
	if _, ok := v.(string); !ok {
		return unacceptable(v)
	}
	return ""
}

func checkBool(v any, _ Table) string {
	if _, ok := v.(bool); !ok {
		return unacceptable(v)
	}
	return ""
}

func checkDeadLetterKey(v any, all Table) string {
	if why := checkString(v, all); why != "" {
		return why
	}
	if _, ok := all.Get(argDeadLetterExchange); !ok {
		return "routing_key_but_no_dlx_defined"
	}
	return ""
}

func checkOneOf(v any, wrong string, values ...string) string {
	s, ok := v.(string)
	switch {
	case !ok:
		return unacceptable(v)
	case !slices.Contains(values, s):
		return wrong
	}
	return ""
}

func checkOverflow(v any, _ Table) string {
	return checkOneOf(v, "invalid_overflow", "drop-head", "reject-publish", "reject-publish-dlx")
}

func checkLeaderLocator(v any, _ Table) string {
	return checkOneOf(v, "invalid_queue_locator_arg", "client-local", "balanced", "random", "least-leaders", "min-masters")
}

// checkQueueVersion allows what any release of RabbitMQ did; the storage
// formats it chose between are not ours.
func checkQueueVersion(v any, all Table) string {
	n, ok := Integer(v)
	switch {
	case !ok:
		return checkInteger(v, all)
	case n != 1 && n != 2:
		return erlangString(fmt.Sprintf("unsupported queue version '%d'", n))
	}
	return ""
}

func checkQueueType(v any, _ Table) string {
	s, ok := v.(string)
	if !ok {
		return unacceptable(v)
	}
	return checkOneOf(v, erlangString("unsupported queue type '"+s+"'"), "", "classic", "quorum", "stream")
}

// queueTypeOf returns the queue type asked for, or byDefault. The argument has
// been checked.
func queueTypeOf(args Table, byDefault QueueType) QueueType {
	if v, _ := args.Get(argQueueType); v != nil && v != "" {
		if s, ok := v.(string); ok {
			return QueueType(s)
		}
	}
	return byDefault
}

// checkQueueArguments refuses arguments that make no sense or are not served
// yet. what is the queue as error texts name it.
func checkQueueArguments(what string, args Table, byDefault QueueType) error {
	if len(args) == 0 && byDefault == QueueClassic {
		return nil
	}
	if v, ok := args.Get(argQueueType); ok {
		if why := checkQueueType(v, args); why != "" {
			return errorf(Invalid, "invalid arg '%s' for %s: %s", argQueueType, what, why)
		}
	}
	if t := queueTypeOf(args, byDefault); t != QueueClassic {
		return errorf(Invalid, "invalid arg '%s' for %s: this release does not serve queue type '%s' yet", argQueueType, what, t)
	}
	for i := range queueArguments {
		r := &queueArguments[i]
		if v, ok := args.Get(r.name); ok && r.classic {
			if why := r.check(v, args); why != "" {
				return errorf(Invalid, "invalid arg '%s' for %s: %s", r.name, what, why)
			}
		}
	}
	for i := range queueArguments {
		r := &queueArguments[i]
		if _, ok := args.Get(r.name); ok && !r.classic {
			return errorf(Invalid, "invalid arg '%s' for %s of queue type rabbit_classic_queue", r.name, what)
		}
	}
	for i := range queueArguments {
		r := &queueArguments[i]
		if v, ok := args.Get(r.name); ok && r.served != nil && !r.served(v) {
			return errorf(Invalid, "invalid arg '%s' for %s: this release does not serve it yet", r.name, what)
		}
	}
	return nil
}

// queueOptions translates a definition.
func queueOptions(d QueueDef) *QueueOptions {
	return &QueueOptions{
		Name: d.Name, VHost: d.VHost, Type: d.Type, Durable: d.Durable, Exclusive: d.Exclusive,
		AutoDelete: d.AutoDelete, Arguments: d.Arguments, ID: d.ID, Shard: d.Shard,
	}
}

// stringArgument returns a string argument that need not be there. kind is
// what RabbitMQ calls the object in the error about any other type.
func stringArgument(args Table, name, what string) (value string, ok bool, err error) {
	v, ok := args.Get(name)
	if !ok {
		return "", false, nil
	}
	s, ok := v.(string)
	if !ok {
		return "", false, errorf(Invalid, "invalid type '%s' for arg '%s' in %s", TypeName(v), name, what)
	}
	return s, true, nil
}

// sameField refuses a redeclaration whose field differs.
func sameField[T comparable](name, what string, received, current T) error {
	if received == current {
		return nil
	}
	return errorf(Mismatch, "inequivalent arg '%s' for %s: received '%v' but current is '%v'", name, what, received, current)
}

// sameArgument refuses a redeclaration in which an argument differs. Integers
// are equal across their types, because clients choose the smallest that fits.
func sameArgument(name, what string, received, current Table) error {
	r, hasR := received.Get(name)
	c, hasC := current.Get(name)
	switch {
	case !hasR && !hasC:
		return nil
	case hasR && hasC:
		if typeClass(r) == typeClass(c) && string(appendValueID(nil, r)) == string(appendValueID(nil, c)) {
			return nil
		}
		return errorf(Mismatch, "inequivalent arg '%s' for %s: received '%s' but current is '%s'", name, what, erlangText(r), erlangText(c))
	}
	side := func(v any, has bool) string {
		if !has {
			return "none"
		}
		return fmt.Sprintf("the value '%s' of type '%s'", erlangText(v), TypeName(v))
	}
	return errorf(Mismatch, "inequivalent arg '%s' for %s: received %s but current is %s", name, what, side(r, hasR), side(c, hasC))
}

// sameQueueArguments compares every argument that the queue's type knows.
func sameQueueArguments(what string, received, current Table, receivedType, currentType QueueType) error {
	for i := range queueArguments {
		r := &queueArguments[i]
		var err error
		switch {
		case r.name == argQueueType:
			err = sameField(r.name, what, receivedType, currentType)
		case r.classic:
			err = sameArgument(r.name, what, received, current)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// TypeName is RabbitMQ's name of the type of a Table's value, as error texts
// have it.
func TypeName(v any) string {
	switch v.(type) {
	case nil:
		return "void"
	case bool:
		return "bool"
	case int8:
		return "byte"
	case uint8:
		return "unsignedbyte"
	case int16:
		return "short"
	case uint16:
		return "unsignedshort"
	case int32:
		return "signedint"
	case uint32:
		return "unsignedint"
	case int64, int:
		return "long"
	case float32:
		return "float"
	case float64:
		return "double"
	case string:
		return "longstr"
	case []byte:
		return "binary"
	case Decimal:
		return "decimal"
	case Timestamp:
		return "timestamp"
	case Table:
		return "table"
	case []any:
		return "array"
	}
	return fmt.Sprintf("%T", v)
}

// typeClass names the types whose values are compared by value.
func typeClass(v any) string {
	if _, ok := Integer(v); ok {
		return "int"
	}
	switch v.(type) {
	case float32, float64:
		return "float"
	}
	return TypeName(v)
}

// erlangText prints v as RabbitMQ does inside quotes: strings bare.
func erlangText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return erlangTerm(v)
}

// erlangTerm prints v as an Erlang term.
func erlangTerm(v any) string {
	if n, ok := Integer(v); ok {
		return strconv.FormatInt(n, 10)
	}
	switch v := v.(type) {
	case nil:
		return "undefined"
	case bool:
		return strconv.FormatBool(v)
	case float32:
		return erlangFloat(float64(v))
	case float64:
		return erlangFloat(v)
	case string:
		return erlangBinary(v)
	case []byte:
		return erlangBinary(string(v))
	case Timestamp:
		return strconv.FormatInt(int64(v), 10)
	case Decimal:
		return fmt.Sprintf("{%d,%d}", v.Scale, v.Value)
	case Table:
		var parts []string
		for _, f := range v {
			parts = append(parts, fmt.Sprintf("{%s,%s,%s}", erlangTerm(f.Name), TypeName(f.Value), erlangTerm(f.Value)))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case []any:
		var parts []string
		for _, e := range v {
			parts = append(parts, fmt.Sprintf("{%s,%s}", TypeName(e), erlangTerm(e)))
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	return fmt.Sprint(v)
}

func erlangBinary(s string) string {
	if s == "" {
		return "<<>>"
	}
	return "<<" + strconv.Quote(s) + ">>"
}

// erlangFloat prints f with a decimal point.
func erlangFloat(f float64) string {
	s := strconv.FormatFloat(f, 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s
}
