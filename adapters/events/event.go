package events

import "leveret/core"

// nobody is who does what the broker does by itself.
const nobody = "rmq-internal"

// headerNames are what RabbitMQ calls some fields of core's events.
var headerNames = map[core.EventKind]map[string]string{
	core.ConsumerCreated: {"tag": "consumer_tag", "scope": "channel"},
	core.ConsumerDeleted: {"tag": "consumer_tag", "scope": "channel"},
}

// passing are fields of connections and channels that say nothing about them at
// the moment of the event.
var passing = map[string]bool{
	"state": true, "channels": true, "consumer_count": true, "subscriptions": true, "acks_uncommitted": true,
	"messages_unacknowledged": true, "messages_unconfirmed": true, "messages_uncommitted": true,
}

// eventMessage is e as RabbitMQ publishes it: no body, and all that is known in
// the headers.
func eventMessage(vhost string, e *core.Event) core.Announcement {
	names := headerNames[e.Kind]
	headers := make(core.Table, 0, len(e.Fields)+4)
	add := func(name string, value any) {
		if _, twice := headers.Get(name); !twice {
			headers = append(headers, core.Field{Name: name, Value: value})
		}
	}
	if e.Name != "" {
		add("name", e.Name)
	}
	if e.VHost != "" {
		add("vhost", e.VHost)
	}
	by := e.By
	if by == "" {
		by = nobody
	}
	add("user_who_performed_action", by)
	add("timestamp_in_ms", e.AtMS)
	for _, f := range e.Fields {
		name := f.Name
		if names[name] != "" {
			name = names[name]
		}
		if !passing[name] {
			add(name, f.Value)
		}
	}
	// 0-9-1's timestamps count seconds.
	at := core.Timestamp(e.AtMS / 1000)
	return core.Announcement{
		VHost: vhost, Exchange: EventExchange, Key: string(e.Kind),
		Properties: &core.Properties{Headers: headers, HeadersSet: true, DeliveryMode: 2, Timestamp: &at},
	}
}
