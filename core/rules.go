package core

import (
	"strings"
)

// overflow is what a queue does with a message that would exceed its limits.
type overflow uint8

const (
	overflowDropHead   overflow = iota // The oldest make room.
	overflowReject                     // It is refused.
	overflowRejectDead                 // It is refused, and dead-lettered.
)

// retryType says which returned messages wait before they are ready again.
type retryType uint8

const (
	retryDisabled retryType = iota
	retryFailed             // Those whose delivery failed.
	retryReturned           // Those given back without blame.
	retryAll
)

// queueRules are the settings of a queue in force: what its declaration asks
// for, merged with policies. They may change at any time, see
// classic.applyRules. Times are milliseconds; -1 means none.
type queueRules struct {
	ttlMS     int64 // message-ttl; of messages that come later
	expiresMS int64 // expires

	maxLength      int64 // max-length, of ready messages
	maxLengthBytes int64 // max-length-bytes, of their bodies
	overflow       overflow

	deadLetters    bool   // There is a dead-letter-exchange,
	deadExchange   string // called so; it need not exist.
	deadKeySet     bool   // There is a dead-letter-routing-key,
	deadKey        string // which is this.
	deadKeepTrying bool   // dead-letter-strategy at-least-once

	deliveryLimit int64 // delivery-limit: failed deliveries that are borne
	dropAtLimit   bool  // delivery-limit-exceeded: drop instead of parking

	retry            retryType // delayed-retry-type
	retryExponential bool      // delayed-retry-backoff: exponential instead of linear
	retryJitter      int64     // delayed-retry-jitter, percent
	retryMinMS       int64
	retryMaxMS       int64

	consumerTimeoutMS int64 // consumer-timeout

	deduplicate bool // message-deduplication

	maxAgeMS int64 // max-age, of messages in streams; 0 for none
}

// What delayed-retry-min and -max are if only the type is given.
const (
	retryMinDefaultMS = 1000
	retryMaxDefaultMS = 3600_000
)

// rulesFrom makes rules of settings, which get finds by the names that policies
// have for them: those of queue arguments without "x-". Values that make no
// sense count as absent.
func rulesFrom(get func(name string) (any, bool)) queueRules {
	number := func(name string, least int64) int64 {
		if v, ok := get(name); ok {
			if n, ok := Integer(v); ok && n >= least {
				return n
			}
		}
		return -1
	}
	text := func(name string) (string, bool) {
		v, _ := get(name)
		s, ok := v.(string)
		return s, ok
	}
	r := queueRules{
		ttlMS: number("message-ttl", 0), expiresMS: number("expires", 1),
		maxLength: number("max-length", 0), maxLengthBytes: number("max-length-bytes", 0),
		deliveryLimit: number("delivery-limit", 0), consumerTimeoutMS: number("consumer-timeout", 0),
		retryMinMS: retryMinDefaultMS, retryMaxMS: retryMaxDefaultMS,
	}
	v, _ := get("message-deduplication")
	r.deduplicate = v == true
	switch s, _ := text("overflow"); s {
	case "reject-publish":
		r.overflow = overflowReject
	case "reject-publish-dlx":
		r.overflow = overflowRejectDead
	}
	r.deadExchange, r.deadLetters = text("dead-letter-exchange")
	if r.deadLetters {
		r.deadKey, r.deadKeySet = text("dead-letter-routing-key")
		// Messages must not be dropped to make room while others wait to be
		// dead-lettered: without reject-publish there is no such promise.
		s, _ := text("dead-letter-strategy")
		r.deadKeepTrying = s == "at-least-once" && r.overflow == overflowReject
	}
	if s, ok := text("max-age"); ok {
		if ms, ok := maxAgeMS(s); ok {
			r.maxAgeMS = ms
		}
	}
	s, _ := text("delivery-limit-exceeded")
	r.dropAtLimit = s == "drop"
	switch s, _ := text("delayed-retry-type"); s {
	case "all":
		r.retry = retryAll
	case "failed":
		r.retry = retryFailed
	case "returned":
		r.retry = retryReturned
	}
	s, _ = text("delayed-retry-backoff")
	r.retryExponential = s == "exponential"
	r.retryJitter = min(max(number("delayed-retry-jitter", 0), 0), 100)
	if n := number("delayed-retry-min", 0); n >= 0 {
		r.retryMinMS = n
	}
	if n := number("delayed-retry-max", 0); n >= 0 {
		r.retryMaxMS = n
	}
	r.retryMaxMS = max(r.retryMaxMS, r.retryMinMS)
	return r
}

// rulesOf are the rules that o asks for by itself.
func rulesOf(o *QueueOptions) queueRules { return rulesUnder(o, nil) }

// ruleArgument returns the argument that says something about a rule.
func ruleArgument(o *QueueOptions, name string) (any, bool) {
	for _, f := range o.Arguments {
		if rest, ok := strings.CutPrefix(f.Name, "x-"); ok && rest == name {
			return f.Value, true
		}
	}
	return nil, false
}

// applyRules makes r the rules in force. All but the TTL takes effect at once.
func (q *classic) applyRules(r queueRules) {
	q.mu.Lock()
	defer q.unlock()
	old := q.mu.rules
	q.mu.rules = r
	q.deduplicateLocked(r.deduplicate)
	if q.gone.Load() {
		return
	}
	if r.limited() {
		q.dropHeadLocked()
	}
	if e := &q.mu.entries; r.ttlMS != old.ttlMS && e.ready+e.out+e.delayed > 0 {
		q.mu.mixedTTL = true
	}
	if r.consumerTimeoutMS != old.consumerTimeoutMS {
		q.watchAllLocked()
	}
	if r.expiresMS != old.expiresMS {
		if r.expiresMS < 0 {
			q.broker.wheel.Stop(&q.idleTimer)
		} else {
			q.broker.wheel.Schedule(&q.idleTimer, q.broker.now()+r.expiresMS)
		}
	}
}
