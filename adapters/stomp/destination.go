package stomp

import (
	"strings"

	"leveret/adapters/stomp/wire"
)

// destKind says how a destination is addressed.
type destKind uint8

const (
	toQueue    destKind = iota // /queue/N or N: declared, once in a session.
	toAMQQueue                 // /amq/queue/N: one that is there.
	toTopic                    // /topic/K
	toExchange                 // /exchange/X or /exchange/X/K
	toTemp                     // /temp-queue/T: only in reply-to.
	toReply                    // /reply-queue/N: one that is there, N may hold slashes.
)

// destKindNames are RabbitMQ's, for its ERROR texts.
var destKindNames = [...]string{"queue", "amqqueue", "topic", "exchange", "temp_queue", "reply_queue"}

// destination is one as a client writes it, taken apart.
type destination struct {
	kind     destKind
	exchange string // Of SEND.
	key      string // Of SEND; of a queue its name.

	// declared says that the session has declared the queue.
	declared bool
}

// The prefixes of destinations.
const (
	prefixQueue    = "/queue/"
	prefixAMQQueue = "/amq/queue/"
	prefixTopic    = "/topic/"
	prefixExchange = "/exchange/"
	prefixTemp     = "/temp-queue/"
	prefixReply    = "/reply-queue/"
)

// validTypes ends the text about an unknown destination.
const validTypes = "/temp-queue, /exchange, /topic, /queue, /amq/queue, /reply-queue"

// parseDestination takes text apart, whose escapes of the protocol are undone.
// topicExchange is behind /topic.
func parseDestination(text, topicExchange string) (destination, error) {
	parts := strings.Split(text, "/")
	if len(parts) == 1 {
		if text == "" {
			return destination{}, invalidDestination(toQueue, nil)
		}
		return destination{kind: toQueue, key: undoPercent(text)}, nil
	}
	unknown := open("Unknown destination", "'%s' is not a valid destination.\nValid destination types are: %s.", text, validTypes)
	if parts[0] != "" {
		return destination{}, unknown
	}
	kind, rest := toQueue, parts[2:]
	switch parts[1] {
	case "queue":
	case "topic":
		kind = toTopic
	case "exchange":
		kind = toExchange
	case "temp-queue":
		kind = toTemp
	case "amq":
		if len(rest) == 0 || rest[0] != "queue" {
			return destination{}, unknown
		}
		kind, rest = toAMQQueue, rest[1:]
	case "reply-queue":
		name := strings.TrimPrefix(text, prefixReply)
		if len(rest) == 0 || name == "" {
			return destination{}, invalidDestination(toReply, rest)
		}
		return destination{kind: toReply, key: undoPercent(name)}, nil
	default:
		return destination{}, unknown
	}
	switch {
	case len(rest) == 0, rest[0] == "", len(rest) > 1 && kind != toExchange, len(rest) > 2:
		return destination{}, invalidDestination(kind, rest)
	case kind == toExchange:
		d := destination{kind: kind, exchange: undoPercent(rest[0])}
		if len(rest) == 2 {
			d.key = undoPercent(rest[1])
		}
		return d, nil
	case kind == toTopic:
		return destination{kind: kind, exchange: topicExchange, key: undoPercent(rest[0])}, nil
	}
	return destination{kind: kind, key: undoPercent(rest[0])}, nil
}

func invalidDestination(kind destKind, rest []string) error {
	what := ""
	if len(rest) > 0 {
		what = "/" + strings.Join(rest, "/")
	}
	return open("Invalid destination", "'%s' is not a valid %s destination", what, destKindNames[kind])
}

// undoPercent undoes the one escape that destinations have.
func undoPercent(s string) string { return strings.ReplaceAll(s, "%2F", "/") }

// appendPercent appends a part of a destination as RabbitMQ writes it: slashes,
// percent signs and what is not printable ASCII as %XX.
func appendPercent(dst []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		if b := s[i]; b == '/' || b == '%' || b < 32 || b > 127 {
			dst = append(dst, '%', hex[b>>4], hex[b&15])
		} else {
			dst = append(dst, b)
		}
	}
	return dst
}

// appendDestination appends the destination of a message that was published to
// exchange with key, as a header's value. scratch is used on the way and
// returned to be used again.
func appendDestination(dst, scratch []byte, exchange, key, topicExchange string, v wire.Version) (out, used []byte) {
	b := scratch[:0]
	switch exchange {
	case "":
		b = appendPercent(append(b, prefixQueue...), key)
	case topicExchange:
		b = appendPercent(append(b, prefixTopic...), key)
	default:
		b = appendPercent(append(b, prefixExchange...), exchange)
		if key != "" {
			b = appendPercent(append(b, '/'), key)
		}
	}
	return wire.AppendEscaped(dst, b, v), b
}

// hasPrefix reports whether a reply-to is a destination already.
func hasPrefix(s string) bool {
	for _, p := range [...]string{prefixQueue, prefixAMQQueue, prefixTopic, prefixExchange, prefixTemp, prefixReply} {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// destinationsMax bounds how many destinations and declared queues a connection
// remembers.
const destinationsMax = 4096

// destination finds what a client means by raw, the value of a header.
func (c *conn) destination(raw []byte) (*destination, error) {
	if d := c.destinations[string(raw)]; d != nil {
		return d, nil
	}
	text, ok := wire.Unescape(raw, c.version)
	if !ok {
		return nil, wire.ErrEscape
	}
	d, err := parseDestination(text, c.srv.opts.DefaultTopicExchange)
	if err != nil {
		return nil, err
	}
	if c.destinations == nil || len(c.destinations) >= destinationsMax {
		c.destinations = make(map[string]*destination)
	}
	c.destinations[string(raw)] = &d
	return &d, nil
}
