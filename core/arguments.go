package core

import (
	"fmt"
	"math"
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
	argMaxPriority        = "x-max-priority"
	argDeduplicate        = "x-message-deduplication"
	argCacheSize          = "x-cache-size"
	argCacheTTL           = "x-cache-ttl"
	argConsumerTimeout    = "x-consumer-timeout"
	argSingleActive       = "x-single-active-consumer"
)

// timerMaxMS is the longest time that arguments may ask for: ten years.
const timerMaxMS = 315360000000

// typeSet is a set of queue types.
type typeSet uint8

const (
	onClassic typeSet = 1 << iota
	onQuorum
	onStream
	onAny = onClassic | onQuorum | onStream
)

// bit returns t's set.
func (t QueueType) bit() typeSet {
	switch t {
	case QueueQuorum:
		return onQuorum
	case QueueStream:
		return onStream
	}
	return onClassic
}

// argumentRule is one queue argument that RabbitMQ, or a plugin that we serve,
// knows. Others are accepted and kept.
type argumentRule struct {
	name string
	// types have it; on others it is refused.
	types typeSet
	// check returns what is wrong with v as RabbitMQ's Erlang term, or "".
	check func(v any, all Table) string
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

// queueArguments are checked in this order, which is RabbitMQ's. The columns
// are RabbitMQ's too, but that delivery limits, delayed retry and consumer
// timeouts are for classic queues as well, with some settings of our own.
var queueArguments = []argumentRule{
	{argExpires, onClassic | onQuorum, checkExpires},
	{argMessageTTL, onClassic | onQuorum, checkTime},
	{argDeadLetterExchange, onClassic | onQuorum, checkString},
	{"x-dead-letter-routing-key", onClassic | onQuorum, checkDeadLetterKey},
	{"x-dead-letter-strategy", onQuorum, checkDeadLetterStrategy},
	{"x-max-length", onClassic | onQuorum, checkNotNegative},
	{"x-max-length-bytes", onAny, checkNotNegative},
	{"x-max-in-memory-length", onQuorum, checkNotNegative},
	{"x-max-in-memory-bytes", onQuorum, checkNotNegative},
	{argMaxPriority, onClassic, checkMaxPriority},
	{"x-overflow", onClassic | onQuorum, checkOverflow},
	{"x-queue-mode", onClassic, anyValue},
	{"x-queue-version", onClassic, checkQueueVersion},
	{argSingleActive, onClassic | onQuorum, checkBool},
	{argConsumerTimeout, onClassic | onQuorum, checkNotNegative},
	{"x-consumer-disconnected-timeout", onQuorum, checkNotNegative},
	{argQueueType, onAny, checkQueueType},
	{"x-quorum-initial-group-size", onQuorum, checkPositive},
	{"x-member-placement-tag", onQuorum, checkString},
	{"x-max-age", onStream, checkMaxAge},
	{argStreamSegment, onStream, checkStreamSegment},
	{argStreamFilterSize, onStream, checkStreamFilterSize},
	{"x-initial-cluster-size", onStream, checkPositive},
	{"x-queue-master-locator", onClassic, checkString},
	{"x-queue-leader-locator", onAny, checkLeaderLocator},
	{"x-delivery-limit", onClassic | onQuorum, checkInteger},
	{"x-delayed-retry-type", onClassic | onQuorum, checkDelayedRetryType},
	{"x-delayed-retry-min", onClassic | onQuorum, checkNotNegative},
	{"x-delayed-retry-max", onClassic | onQuorum, checkNotNegative},
	{"x-delayed-retry-backoff", onClassic | onQuorum, checkBackOff},
	{"x-delayed-retry-jitter", onClassic | onQuorum, checkPercent},
	{"x-delivery-limit-exceeded", onClassic | onQuorum, checkLimitExceeded},
	{argDeduplicate, onClassic | onQuorum, checkBool},
}

// consumerArguments are those of consumers.
var consumerArguments = []argumentRule{
	{"x-priority", onAny, checkConsumerPriority},
	{argConsumerTimeout, onQuorum, checkNotNegative},
	{"x-stream-offset", onStream, anyValue},
	{"x-stream-filter", onStream, anyValue},
	{"x-stream-match-unfiltered", onStream, anyValue},
}

func consumerArgumentCalled(name string) *argumentRule {
	for i := range consumerArguments {
		if consumerArguments[i].name == name {
			return &consumerArguments[i]
		}
	}
	return nil
}

func checkConsumerPriority(v any, _ Table) string {
	if _, ok := Integer(v); !ok {
		return unacceptable(v)
	}
	return ""
}

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

// checkPositive is checkNotNegative without zero.
func checkPositive(v any, all Table) string {
	if n, ok := Integer(v); ok && n == 0 {
		return "{value_zero,0}"
	}
	return checkNotNegative(v, all)
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

func checkDeadLetterStrategy(v any, _ Table) string {
	return checkOneOf(v, "invalid_dlx_strategy", "at-most-once", "at-least-once")
}

func checkDelayedRetryType(v any, _ Table) string {
	return checkOneOf(v, "invalid_delayed_retry_type", "disabled", "all", "failed", "returned")
}

// checkBackOff and those that follow are about arguments that are ours alone.
func checkBackOff(v any, _ Table) string {
	return checkOneOf(v, "invalid_delayed_retry_backoff", "linear", "exponential")
}

func checkPercent(v any, all Table) string {
	if n, ok := Integer(v); ok && n > 100 {
		return fmt.Sprintf("{value_too_large,%d}", n)
	}
	return checkNotNegative(v, all)
}

func checkLimitExceeded(v any, _ Table) string {
	return checkOneOf(v, "invalid_delivery_limit_exceeded", "park", "drop")
}

// checkStreamSegment has RabbitMQ's upper limit.
func checkStreamSegment(v any, all Table) string {
	if n, ok := Integer(v); ok && n > 3_000_000_000 {
		return fmt.Sprintf("{max_value_exceeded,%d}", n)
	}
	return checkNotNegative(v, all)
}

func checkStreamFilterSize(v any, all Table) string {
	switch n, ok := Integer(v); {
	case !ok:
		return checkInteger(v, all)
	case n < 16:
		return fmt.Sprintf("{value_too_small,%d}", n)
	case n > 255:
		return fmt.Sprintf("{max_value_exceeded,%d}", n)
	}
	return ""
}

func checkMaxAge(v any, _ Table) string {
	s, ok := v.(string)
	if !ok {
		return unacceptable(v)
	}
	if _, ok := maxAgeMS(s); !ok {
		return "invalid_max_age"
	}
	return ""
}

// maxAgeMS reads an age such as 7D in ms. The units are Y, M, D, h, m and s.
func maxAgeMS(age string) (int64, bool) {
	if age == "" {
		return 0, false
	}
	var unit int64
	switch age[len(age)-1] {
	case 'Y':
		unit = 365 * 86400_000
	case 'M':
		unit = 30 * 86400_000
	case 'D':
		unit = 86400_000
	case 'h':
		unit = 3600_000
	case 'm':
		unit = 60_000
	case 's':
		unit = 1000
	default:
		return 0, false
	}
	n, err := strconv.ParseUint(age[:len(age)-1], 10, 63)
	if err != nil || n == 0 || age[0] == '+' {
		return 0, false
	}
	return int64(min(n, math.MaxInt64/uint64(unit))) * unit, true
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

// checkQueueArguments refuses arguments that make no sense or belong to other
// types. what is the queue as error texts name it.
func checkQueueArguments(what string, args Table, byDefault QueueType) error {
	if len(args) == 0 && byDefault == QueueClassic {
		return nil
	}
	if v, ok := args.Get(argQueueType); ok {
		if why := checkQueueType(v, args); why != "" {
			return errorf(Invalid, "invalid arg '%s' for %s: %s", argQueueType, what, why)
		}
	}
	t := queueTypeOf(args, byDefault)
	for i := range queueArguments {
		r := &queueArguments[i]
		if v, ok := args.Get(r.name); ok && r.types&t.bit() != 0 {
			if why := r.check(v, args); why != "" {
				return errorf(Invalid, "invalid arg '%s' for %s: %s", r.name, what, why)
			}
		}
	}
	for i := range args {
		if r := argumentCalled(args[i].Name); r != nil && r.types&t.bit() == 0 {
			return errorf(Invalid, "invalid arg '%s' for %s of queue type %s", r.name, what, t.module())
		}
	}
	return nil
}

// argumentCalled returns the rule of a queue argument, nil if there is none.
func argumentCalled(name string) *argumentRule {
	for i := range queueArguments {
		if queueArguments[i].name == name {
			return &queueArguments[i]
		}
	}
	return nil
}

// module is what RabbitMQ's error texts call a queue type.
func (t QueueType) module() string { return "rabbit_" + string(t) + "_queue" }

// checkQueueProperties refuses what a queue of type t cannot be.
func checkQueueProperties(what string, d *QueueDeclare, t QueueType) error {
	property := ""
	switch {
	case t == QueueClassic:
	case d.AutoDelete:
		property = "auto-delete"
	case d.Exclusive:
		property = "exclusive-owner"
	case !d.Durable:
		property = "non-durable"
	}
	if property != "" {
		return errorf(Invalid, "invalid property '%s' for %s", property, what)
	}
	return nil
}

// withQueueType returns args with the type that a queue of another type than
// classic has, so that they say so wherever they are read.
func withQueueType(args Table, t QueueType) Table {
	if v, _ := args.Get(argQueueType); t == QueueClassic || v == string(t) {
		return args
	}
	return args.With(argQueueType, string(t))
}

// queueOptions translates a definition.
func queueOptions(d QueueDef) *QueueOptions {
	o := &QueueOptions{
		Name: d.Name, VHost: d.VHost, Type: d.Type, Durable: d.Durable, Exclusive: d.Exclusive,
		AutoDelete: d.AutoDelete, Arguments: d.Arguments, ID: d.ID, Shard: d.Shard,
	}
	o.MaxPriority, o.DefaultPriority = prioritiesOf(d)
	if v, _ := d.Arguments.Get(argSingleActive); v == true {
		o.SingleActive = d.Type != QueueStream
	}
	return o
}

// prioritiesOf returns the highest priority that a queue tells apart and that of
// messages without one. A maximum of 0 acts as 1.
func prioritiesOf(d QueueDef) (highest, absent uint8) {
	if d.Type == QueueQuorum {
		return 31, 4
	}
	v, _ := d.Arguments.Get(argMaxPriority)
	if n, ok := Integer(v); ok && d.Type == QueueClassic {
		return uint8(min(max(n, 1), 255)), 0
	}
	return 0, 0
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
		case r.name == argDeduplicate: // A plugin's, which RabbitMQ does not compare.
		case r.types&currentType.bit() != 0:
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
