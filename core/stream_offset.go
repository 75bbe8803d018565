package core

import (
	"math"
	"strconv"
)

// Arguments of streams and of their consumers.
const (
	argStreamSegment         = "x-stream-max-segment-size-bytes"
	argStreamFilterSize      = "x-stream-filter-size-bytes"
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
		age, ok := maxAgeMS(v)
		if !ok {
			return s, "invalid_max_age"
		}
		return streamStart{kind: startTime, ms: max(nowMS, age) - age}, ""
	}
	return s, unacceptable(v)
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
