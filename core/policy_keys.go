package core

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// policyKey is a setting that policies may have, and what becomes of it where
// several say something else.
type policyKey struct {
	name string
	// not are the queue types that cannot have it: a policy with it passes them
	// over altogether, as in RabbitMQ.
	not typeSet
	// operator says that operator policies may have it too, as the lesser of
	// both (see merged).
	operator bool
	// check returns what is wrong with v in RabbitMQ's words, or "".
	check func(v any) string
	// merge is what counts of a policy's and an operator policy's value; nil
	// for the operator's.
	merge func(policy, operator any) any
	// argument is what counts of a value of policies and one that the queue was
	// declared with; nil for the latter. It is given for classic queues: see
	// argumentOrPolicy.
	argument func(policy, argument any) any
}

const (
	notClassic = onQuorum | onStream
	onlyQuorum = onClassic | onStream
	onlyStream = onClassic | onQuorum
)

// policyKeys are all of them, in the order in which they are checked. Mirroring
// of classic queues, federation and the storage choices of older releases mean
// nothing here, but policies with them come out of other brokers.
var policyKeys = []policyKey{
	{name: argAlternateExchange, check: textKey("a valid alternate exchange name")},
	{name: "consumer-disconnected-timeout", check: atLeast(0, "a valid consumer disconnected timeout"), argument: lesser},
	{name: "consumer-timeout", check: atLeast(0, "a valid consumer timeout"), argument: lesser},
	{name: "dead-letter-exchange", not: onStream, check: textKey("a valid dead letter exchange name")},
	{name: "dead-letter-routing-key", not: onStream, check: textKey("a valid dead letter routing key")},
	{name: "dead-letter-strategy", not: onlyQuorum, check: oneOf("a valid dead letter strategy", "at-most-once", "at-least-once")},
	{name: "message-ttl", not: onStream, operator: true, check: atLeast(0, "a valid message TTL"), merge: lesser, argument: lesser},
	{name: "expires", not: onStream, operator: true, check: atLeast(1, "a valid queue expiry"), merge: lesser, argument: lesser},
	{name: "max-length", not: onStream, operator: true, check: atLeast(0, "a valid maximum length"), merge: lesser, argument: lesser},
	{name: "max-length-bytes", operator: true, check: atLeast(0, "a valid maximum length in bytes"), merge: lesser, argument: lesser},
	{name: "max-in-memory-length", not: onlyQuorum, operator: true, check: atLeast(0, "a valid maximum memory in bytes"), merge: lesser, argument: lesser},
	{name: "max-in-memory-bytes", not: onlyQuorum, operator: true, check: atLeast(0, "a valid maximum memory in bytes"), merge: lesser, argument: lesser},
	{name: "max-priority", not: notClassic, check: func(any) string { return "max-priority can only be given when a queue is declared" }},
	{name: "queue-mode", not: notClassic, check: oneOf("a valid queue-mode value", "default", "lazy")},
	{name: "queue-version", operator: true, check: queueVersionKey},
	{name: "overflow", not: onStream, operator: true, check: oneOf("a valid overflow value", "drop-head", "reject-publish", "reject-publish-dlx")},
	{name: "delivery-limit", not: onStream, operator: true, check: integerKey("a valid delivery limit"), merge: stricter, argument: stricter},
	{name: "delivery-limit-exceeded", not: onStream, check: oneOf("a valid action, which is park or drop", "park", "drop")},
	{name: "delayed-retry-type", not: onStream, operator: true, check: retryTypeKey, argument: policyWins},
	{name: "delayed-retry-min", not: onStream, operator: true, check: retryTimeKey("minimum"), merge: greater, argument: lesser},
	{name: "delayed-retry-max", not: onStream, operator: true, check: retryTimeKey("maximum"), merge: lesser, argument: lesser},
	{name: "delayed-retry-backoff", not: onStream, check: oneOf("a valid back-off, which is linear or exponential", "linear", "exponential")},
	{name: "delayed-retry-jitter", not: onStream, check: within(0, 100, "a valid jitter, which is 0 to 100 percent")},
	{name: "max-age", not: onlyStream, check: maxAgeKey, argument: policyWins},
	{name: "stream-max-segment-size-bytes", not: onlyStream, check: within(0, 3_000_000_000, "a valid segment size"), argument: policyWins},
	{name: "stream-filter-size-bytes", check: within(16, 255, "a valid filter size. Valid range is 16-255"), argument: policyWins},
	{name: "queue-leader-locator", check: oneOf("a valid queue leader locator value", "client-local", "balanced", "random", "least-leaders")},
	{name: "initial-cluster-size", not: onlyStream, check: atLeast(0, "a valid cluster size")},
	{name: "target-group-size", not: onlyQuorum, operator: true, check: atLeast(1, "a valid qq target count value"), merge: greater},
	{name: "member-placement-tag", operator: true, check: textKey("a valid member-placement-tag value. Must be a non-empty string")},
	{name: "queue-master-locator", not: notClassic, operator: true, check: anyKey},

	{name: argDeduplicate, not: onStream, check: boolKey},
	{name: argCacheSize, check: dedupKey},
	{name: argCacheTTL, check: dedupKey},
	{name: argCachePersistence, check: oneOf("a persistence of this release, which is memory", "memory")},

	{name: "ha-mode", not: notClassic, check: anyKey},
	{name: "ha-params", not: notClassic, check: anyKey},
	{name: "ha-sync-mode", not: notClassic, check: anyKey},
	{name: "ha-sync-batch-size", not: notClassic, check: anyKey},
	{name: "ha-promote-on-shutdown", not: notClassic, check: anyKey},
	{name: "ha-promote-on-failure", not: notClassic, check: anyKey},
	{name: "federation-upstream", check: anyKey},
	{name: "federation-upstream-set", check: anyKey},
	{name: "federation-upstream-pattern", check: anyKey},
}

func policyKeyCalled(name string) *policyKey {
	for i := range policyKeys {
		if policyKeys[i].name == name {
			return &policyKeys[i]
		}
	}
	return nil
}

// What is to be of the values of a setting.

func lesser(a, b any) any  { return chosen(a, b, -1) }
func greater(a, b any) any { return chosen(a, b, 1) }

// policyWins is how quorum queues and streams see most of their settings.
func policyWins(policy, _ any) any { return policy }

// chosen returns the one of a and b that compares as wanted; the one that is an
// integer if the other is not.
func chosen(a, b any, wanted int) any {
	x, isX := Integer(a)
	y, isY := Integer(b)
	if !isY || isX && cmp.Compare(x, y) == wanted {
		return a
	}
	return b
}

// stricter is the lower of two delivery limits, where negative means none: then
// the other one counts.
func stricter(a, b any) any {
	x, _ := Integer(a)
	y, _ := Integer(b)
	if x < 0 || y < 0 {
		return greater(a, b)
	}
	return lesser(a, b)
}

// argumentOrPolicy is what counts of a value of policies and one that a queue
// of type t was declared with.
func (k *policyKey) argumentOrPolicy(t QueueType, policy, argument any) any {
	switch {
	case t == QueueStream, t == QueueQuorum && k.name == "overflow":
		return policy
	case k.argument == nil:
		return argument
	}
	return k.argument(policy, argument)
}

// Checks. A value appears in RabbitMQ's texts as an Erlang term.

func isNot(v any, what string) string { return jsonTerm(v) + " is not " + what }

func anyKey(any) string { return "" }

func textKey(what string) func(any) string {
	return func(v any) string {
		if _, ok := v.(string); !ok {
			return isNot(v, what)
		}
		return ""
	}
}

func integerKey(what string) func(any) string {
	return func(v any) string {
		if _, ok := Integer(v); !ok {
			return isNot(v, what)
		}
		return ""
	}
}

func within(least, most int64, what string) func(any) string {
	return func(v any) string {
		if n, ok := Integer(v); !ok || n < least || n > most {
			return isNot(v, what)
		}
		return ""
	}
}

// atLeast bounds times too, which core counts in ms of 64 bits from now.
func atLeast(least int64, what string) func(any) string {
	return within(least, 1<<53, what)
}

func oneOf(what string, values ...string) func(any) string {
	return func(v any) string {
		if checkOneOf(v, "no", values...) != "" {
			return isNot(v, what)
		}
		return ""
	}
}

func queueVersionKey(v any) string {
	if checkQueueVersion(v, nil) != "" {
		return isNot(v, "a valid queue-version value")
	}
	return ""
}

func retryTypeKey(v any) string {
	if checkDelayedRetryType(v, nil) != "" {
		return isNot(v, "a valid delayed retry type. Must be one of: all, failed, returned, disabled")
	}
	return ""
}

func retryTimeKey(which string) func(any) string {
	return atLeast(1, "a valid delayed retry "+which+" delay. Must be a positive integer")
}

func maxAgeKey(v any) string {
	if checkMaxAge(v, nil) != "" {
		return isNot(v, "a valid max age")
	}
	return ""
}

func boolKey(v any) string {
	if _, ok := v.(bool); !ok {
		return fmt.Sprintf("%q must be a boolean, got %s", argDeduplicate, jsonTerm(v))
	}
	return ""
}

func dedupKey(v any) string {
	if n, ok := Integer(v); !ok || n <= 0 {
		return "a deduplication cache needs an integer greater than 0, got " + jsonTerm(v)
	}
	return ""
}

// jsonTerm prints a value that came as JSON as an Erlang term.
func jsonTerm(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = jsonTerm(v[i])
		}
		return "[" + strings.Join(parts, ",") + "]"
	case Table:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = jsonTerm(v[i].Name) + " => " + jsonTerm(v[i].Value)
		}
		return "#{" + strings.Join(parts, ",") + "}"
	case string:
		if v != "" && strconv.Quote(v) != `"`+v+`"` {
			return "<<" + strconv.QuoteToASCII(v) + ">>"
		}
	}
	return erlangTerm(v)
}
