package mgmt

import (
	"slices"
	"strings"

	"leveret/core"
)

// topicKey turns an MQTT topic into the routing key that it is published with:
// the levels of the one are the words of the other, and a dot in a level is a
// slash in a word.
var topicKey = strings.NewReplacer("/", ".", ".", "/")

// routeMessage says where a message would go, and why; nothing is published.
func (c *call) routeMessage() error {
	b, err := c.body()
	if err != nil {
		return err
	}
	v, x, err := c.exchange()
	if err != nil {
		return err
	}
	key, err := b.text("routing_key")
	if err != nil {
		return err
	}
	if b.has("topic") {
		topic, err := b.text("topic")
		if err != nil {
			return err
		}
		if b.has("routing_key") {
			return badRequest("Either routing_key or topic, which is the same as MQTT writes it, can be given.")
		}
		key = topicKey.Replace(topic)
	}
	props, err := propertiesFromJSON(b["properties"])
	if err != nil {
		return err
	}
	if b.has("headers") {
		if props.Headers, err = b.table("headers"); err != nil {
			return err
		}
		props.HeadersSet = true
	}
	further, err := furtherKeys(props)
	if err != nil {
		return err
	}
	m := &core.Message{Exchange: x.Name(), RoutingKey: key}
	m.SetProperties(props)
	w, err := v.Whereto(x.Name(), append([]string{key}, further...), m)
	if err != nil {
		return err
	}
	bindings := []object{}
	for i := range w.Bindings {
		bindings = append(bindings, bindingObject(v.Name(), &w.Bindings[i]))
	}
	delayed := false
	paths := [][]object{}
	for _, p := range w.Paths {
		steps := []object{}
		for i := range p {
			steps = append(steps, hopObject(v.Name(), &p[i]))
			delayed = delayed || p[i].Via == core.HopDelay
		}
		paths = append(paths, steps)
	}
	queues := append([]string{}, w.Queues...)
	slices.Sort(queues)
	return c.ok(object{
		"routed": len(queues) > 0, "queues": queues, "bindings": bindings, "paths": paths, "alternate": w.Alternate,
		"delayed": delayed, "routing_key": key, "truncated": w.Cut,
	})
}

// hopObject is a step of a path in JSON.
func hopObject(vhost string, h *core.Hop) object {
	out := object{"kind": kindName(h.Kind), "name": h.Name, "via": h.Via.String(), "binding": nil}
	if h.Via == core.HopBinding {
		out["binding"] = bindingObject(vhost, &h.Binding)
	}
	return out
}
