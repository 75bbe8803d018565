package amqp

import (
	"strconv"
	"strings"

	"leveret/adapters/amqp/wire"
	"leveret/core"
)

// checkedProps is what the properties of a channel's last publish came to.
// Publishers tend to send the same bytes again: then nothing is looked at.
type checkedProps struct {
	known bool
	raw   []byte // As the client sent them.

	encoded     []byte // What to keep and send instead of raw, nil if nothing.
	keys        []string
	ttlMS       int64
	priority    uint8
	hasPriority bool
	persistent  bool
	userErr     *exception // Raised after topic permissions are asked.
}

// rawMax bounds the properties that are remembered.
const rawMax = 1 << 10

// maxExpirationMS is ten years, the longest time RabbitMQ takes.
const maxExpirationMS = 315360000000

// checkProps validates a publish's properties and notes in ch.props what
// matters of them.
func (c *conn) checkProps(ch *channel, props []byte) error {
	p := &ch.props
	*p = checkedProps{raw: p.raw[:0], ttlMS: -1}
	info, err := wire.ScanProperties(props)
	if err != nil {
		return &exception{code: wire.ReplyInternalError, fatal: true}
	}
	p.known = len(props) <= rawMax
	if p.known {
		p.raw = append(p.raw, props...)
	}
	p.persistent = info.DeliveryMode == wire.Persistent
	p.priority, p.hasPriority = info.Priority, info.Flags&wire.FlagPriority != 0
	if info.NeedsFix {
		p.encoded = append([]byte(nil), props...)
		info.Fix(p.encoded)
	}
	if info.Flags&wire.FlagReplyTo != 0 && string(info.ReplyTo.Of(props)) == replyToName {
		if ch.replyQueue == "" {
			return raise(wire.ReplyPreconditionFailed, wire.IDBasicPublish, "fast reply consumer does not exist")
		}
		p.rewrite(props, func(w *wire.Properties) { w.ReplyTo = ch.replyQueue })
	}
	if info.Flags&wire.FlagExpiration != 0 {
		ttl, bad := parseExpiration(string(info.Expiration.Of(props)))
		if bad != "" {
			return raise(wire.ReplyPreconditionFailed, wire.IDBasicPublish, "invalid expiration '%s': %s", info.Expiration.Of(props), bad)
		}
		p.ttlMS = ttl
	}
	if info.HasCC || info.HasBCC {
		if err := p.furtherKeys(props, info); err != nil {
			return err
		}
	}
	if info.Flags&wire.FlagUserID != 0 && !c.user.impersonator && string(info.UserID.Of(props)) != c.user.name {
		p.userErr = raise(wire.ReplyPreconditionFailed, wire.IDBasicPublish,
			"user_id property set to '%s' but authenticated user was '%s'", info.UserID.Of(props), c.user.name)
	}
	return nil
}

// rewrite changes what is kept of the properties. raw has been scanned.
func (p *checkedProps) rewrite(raw []byte, change func(w *wire.Properties)) {
	if p.encoded != nil {
		raw = p.encoded
	}
	w, err := wire.ParseProperties(raw)
	if err != nil {
		return // It parses what scanning took.
	}
	change(&w)
	p.encoded = wire.AppendProperties(nil, &w)
}

// furtherKeys notes the routing keys in the headers CC and BCC, and removes BCC.
func (p *checkedProps) furtherKeys(props []byte, info wire.PropInfo) error {
	headers, err := wire.DecodeTable(info.Headers.Of(props))
	if err != nil {
		return &exception{code: wire.ReplyInternalError, fatal: true}
	}
	for _, name := range []string{"CC", "BCC"} {
		v, ok := headers.Get(name)
		if !ok {
			continue
		}
		list, ok := v.([]any)
		if !ok && v != nil {
			return raise(wire.ReplyPreconditionFailed, wire.IDBasicPublish,
				`invalid message: {unacceptable_type_in_header,"%s",%s}`, name, core.TypeName(valueFromWire(v)))
		}
		for _, k := range list {
			if k, ok := k.(string); ok {
				p.keys = append(p.keys, k)
			}
		}
	}
	if info.HasBCC {
		p.rewrite(props, func(w *wire.Properties) {
			kept := w.Headers[:0]
			for _, f := range w.Headers {
				if f.Name != "BCC" {
					kept = append(kept, f)
				}
			}
			w.Headers = kept
		})
	}
	return nil
}

// parseExpiration reads the property expiration. bad is what is wrong with it,
// as RabbitMQ puts it.
func parseExpiration(s string) (ms int64, bad string) {
	digits := strings.TrimLeft(s, "+-")
	if len(s)-len(digits) > 1 {
		return 0, "no_integer"
	}
	n := 0
	for n < len(digits) && digits[n] >= '0' && digits[n] <= '9' {
		n++
	}
	if n == 0 {
		return 0, "no_integer"
	}
	if n < len(digits) {
		return 0, `{leftover_string,"` + digits[n:] + `"}`
	}
	significant := strings.TrimLeft(digits, "0")
	switch {
	case s[0] == '-' && significant != "":
		return 0, "{value_negative,-" + significant + "}"
	case len(significant) > 18:
		return 0, "{value_too_large," + significant + "}"
	}
	ms, _ = strconv.ParseInt("0"+significant, 10, 64)
	if ms > maxExpirationMS {
		return 0, "{value_too_large," + significant + "}"
	}
	return ms, ""
}
