package core

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Arguments of a stream's consumers.
const (
	argStreamOffset          = "x-stream-offset"
	argStreamFilter          = "x-stream-filter"
	argStreamMatchUnfiltered = "x-stream-match-unfiltered"
)

// streamStart is where a consumer wants to begin.
type streamStart struct {
	kind   startKind
	offset uint64
	ms     int64
}

type startKind uint8

const (
	startNext startKind = iota
	startFirst
	startLast
	startOffset
	startTime
)

// parseStreamStart reads the argument x-stream-offset. why is what is wrong
// with it, as RabbitMQ's Erlang term.
func parseStreamStart(v any, nowMS int64) (s streamStart, why string) {
	if n, ok := Integer(v); ok {
		if n < 0 {
			return s, "{value_negative," + strconv.FormatInt(n, 10) + "}"
		}
		return streamStart{kind: startOffset, offset: uint64(n)}, ""
	}
	switch v := v.(type) {
	case Timestamp:
		seconds := min(max(int64(v), 0), math.MaxInt64/1000)
		return streamStart{kind: startTime, ms: seconds * 1000}, ""
	case string:
		switch v {
		case "first":
			return streamStart{kind: startFirst}, ""
		case "last":
			return streamStart{kind: startLast}, ""
		case "next":
			return streamStart{kind: startNext}, ""
		}
		age, ok := parseAge(v)
		if !ok {
			return s, "invalid_max_age"
		}
		return streamStart{kind: startTime, ms: max(nowMS-age, 0)}, ""
	}
	return s, unacceptable(v)
}

// parseAge reads a time like "7D" or "90s" in ms. Years have 365 days, months
// 30.
func parseAge(s string) (ms int64, ok bool) {
	if s == "" {
		return 0, false
	}
	const day = 24 * time.Hour
	units := map[byte]time.Duration{'Y': 365 * day, 'M': 30 * day, 'D': day, 'h': time.Hour, 'm': time.Minute, 's': time.Second}
	unit, digits := units[s[len(s)-1]], s[:len(s)-1]
	if unit == 0 || strings.TrimLeft(digits, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n <= 0 || n > math.MaxInt64/4/unit.Milliseconds() {
		return 0, false
	}
	return n * unit.Milliseconds(), true
}

// streamFilter reads the arguments that select messages; nil is for all. As in
// RabbitMQ, what is neither a string nor a list of them selects nothing.
func streamFilter(args Table) *StreamFilter {
	v, _ := args.Get(argStreamFilter)
	var f StreamFilter
	switch v := v.(type) {
	case string:
		f.Values = []string{v}
	case []any:
		for _, e := range v {
			if s, ok := e.(string); ok {
				f.Values = append(f.Values, s)
			}
		}
	}
	if len(f.Values) == 0 {
		return nil
	}
	v, _ = args.Get(argStreamMatchUnfiltered)
	f.Unfiltered, _ = v.(bool)
	return &f
}

// checkConsumerArguments refuses arguments that RabbitMQ knows for other types
// of queues.
func checkConsumerArguments(what string, t QueueType, args Table) error {
	for i := range args {
		known := t
		switch args[i].Name {
		case argStreamOffset, argStreamFilter, argStreamMatchUnfiltered:
			known = QueueStream
		case "x-priority":
			if t == QueueStream {
				known = QueueClassic
			}
		}
		if known != t {
			return errorf(Invalid, "invalid arg '%s' for %s of queue type rabbit_%s_queue", args[i].Name, what, t)
		}
	}
	return nil
}
