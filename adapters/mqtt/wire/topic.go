package wire

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"
)

// AppendTopic appends the topic name of a routing key: '.' becomes '/'.
func AppendTopic(dst []byte, key string) []byte {
	at := len(dst)
	dst = append(dst, key...)
	swap(dst[at:], '.')
	return dst
}

// swap turns each c, which is '.' or '/', into the other, eight bytes at a
// time: the two differ in their lowest bit.
func swap(t []byte, c byte) {
	const (
		low  = 0x0101010101010101
		high = 0x8080808080808080
	)
	for len(t) >= 8 {
		x := binary.LittleEndian.Uint64(t)
		v := x ^ low*uint64(c)
		// The high bit of each byte of v that is zero, exactly.
		zero := ^((v&^high + (high - low)) | v) & high
		binary.LittleEndian.PutUint64(t, x^zero>>7)
		t = t[8:]
	}
	for i := range t {
		if t[i] == c {
			t[i] ^= 1
		}
	}
}

// KeyInPlace turns a topic name into a routing key: '/' becomes '.'.
func KeyInPlace(topic []byte) { swap(topic, '/') }

var toPattern = strings.NewReplacer("/", ".", "+", "*")

// PatternOf is the binding key of a topic filter.
func PatternOf(filter string) string { return toPattern.Replace(filter) }

// TopicOf is the topic name of a routing key, or the filter of a binding key.
func TopicOf(key string) string { return strings.NewReplacer(".", "/", "*", "+").Replace(key) }

// Filter limits.
const (
	// LevelsMax bounds the levels of a topic name or filter: matching takes time
	// for each, and nobody has a use for thousands.
	LevelsMax = 128
)

// Levels counts the levels of a topic name or filter, also of one that is a
// routing or binding key already.
func Levels(topic []byte) int {
	n := 1
	for _, c := range topic {
		if c == '/' || c == '.' {
			n++
		}
	}
	return n
}

// Filter is a topic filter that was taken apart.
type Filter struct {
	Group string // Of a shared subscription, else empty.
	Topic string // The filter itself.
}

var (
	errFilterEmpty  = &Error{TopicFilterInvalid, "empty topic filter"}
	errFilterWild   = &Error{TopicFilterInvalid, "wildcard that is not alone in its level, or # that is not the last"}
	errFilterUTF8   = malformed("topic filter is not a UTF-8 string")
	errFilterShare  = &Error{TopicFilterInvalid, "shared subscription without a group or filter"}
	errFilterLevels = &Error{TopicFilterInvalid, "too many levels"}
)

// ParseFilter checks a topic filter (4.7.1, 4.8.2). Shared subscriptions are there
// for clients of all versions.
func ParseFilter(s string) (f Filter, err error) {
	if s == "" {
		return f, errFilterEmpty
	}
	if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		return f, errFilterUTF8
	}
	f.Topic = s
	if rest, ok := strings.CutPrefix(s, "$share/"); ok {
		var found bool
		f.Group, f.Topic, found = strings.Cut(rest, "/")
		if !found || f.Group == "" || f.Topic == "" || strings.ContainsAny(f.Group, "+#") {
			return f, errFilterShare
		}
	}
	levels := 0
	for rest, more := f.Topic, true; more; levels++ {
		var level string
		level, rest, more = strings.Cut(rest, "/")
		if strings.ContainsAny(level, "+#") && (len(level) != 1 || level == "#" && more) {
			return f, errFilterWild
		}
	}
	if levels > LevelsMax {
		return f, errFilterLevels
	}
	return f, nil
}

// HidesDollar reports whether topics that begin with '$' do not match the
// filter although its pattern does (4.7.2-1).
func HidesDollar(filter string) bool {
	return filter != "" && (filter[0] == '+' || filter[0] == '#')
}
