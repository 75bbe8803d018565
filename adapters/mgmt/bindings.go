package mgmt

import (
	"encoding/base64"
	"encoding/json"
	"hash/fnv"
	"net/http"
	"net/url"
	"strings"

	"leveret/core"
)

func (c *call) listBindings() error {
	vhosts, err := c.vhosts()
	if err != nil {
		return err
	}
	rows := []row{}
	for _, v := range vhosts {
		rows = appendBindings(rows, v, core.BindingFilter{})
	}
	return c.list(rows)
}

// appendBindings appends v's bindings as rows; they sort by all that makes
// them up.
func appendBindings(rows []row, v *core.VHost, f core.BindingFilter) []row {
	for _, b := range v.Bindings(f) {
		name := strings.Join([]string{b.Source, b.Destination, kindName(b.DestinationKind), b.Key}, "\x00")
		rows = append(rows, row{v.Name(), name, func() object { return bindingObject(v.Name(), &b) }})
	}
	return rows
}

func kindName(k core.DestinationKind) string {
	if k == core.ToExchange {
		return "exchange"
	}
	return "queue"
}

func bindingObject(vhost string, b *core.Binding) object {
	return object{
		"source": b.Source, "vhost": vhost, "destination": b.Destination, "destination_type": kindName(b.DestinationKind),
		"routing_key": b.Key, "arguments": tableJSON(b.Arguments), "properties_key": propertiesKey(b),
	}
}

// propertiesKey tells apart the bindings between one pair: the key and a hash
// of the arguments, opaque to clients, encoded once.
func propertiesKey(b *core.Binding) string {
	if b.Key == "" && len(b.Arguments) == 0 {
		return "~"
	}
	key := strings.ReplaceAll(url.QueryEscape(b.Key), "~", "%7E")
	if len(b.Arguments) == 0 {
		return key
	}
	// The JSON of a map has its names in order.
	text, _ := json.Marshal(tableJSON(b.Arguments))
	h := fnv.New32a()
	h.Write(text)
	return key + "~" + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

func (c *call) listQueueBindings() error {
	v, q, err := c.queue()
	if err != nil {
		return err
	}
	name, kind := q.Options().Name, core.ToQueue
	return c.list(appendBindings(nil, v, core.BindingFilter{Destination: &name, DestinationKind: &kind}))
}

func (c *call) listBindingsFrom() error {
	v, x, err := c.exchange()
	if err != nil {
		return err
	}
	name := x.Name()
	return c.list(appendBindings(nil, v, core.BindingFilter{Source: &name}))
}

func (c *call) listBindingsTo() error {
	v, x, err := c.exchange()
	if err != nil {
		return err
	}
	name, kind := x.Name(), core.ToExchange
	return c.list(appendBindings(nil, v, core.BindingFilter{Destination: &name, DestinationKind: &kind}))
}

// ends are the two ends of the path's bindings, which exist.
func (c *call) ends() (v *core.VHost, b core.Binding, err error) {
	if v = c.vhost(); v == nil {
		return nil, b, errNotFound
	}
	b = core.Binding{Source: c.exchangeName("source"), Destination: c.param("destination")}
	switch c.param("kind") {
	case "q":
		_, ok := v.Queue(b.Destination)
		if !ok {
			err = noEnd("queue", b.Destination, v)
		}
	case "e":
		b.DestinationKind = core.ToExchange
		if _, ok := v.Exchange(b.Destination); !ok {
			err = noEnd("exchange", b.Destination, v)
		}
	default:
		err = errNotFound
	}
	if _, ok := v.Exchange(b.Source); !ok {
		err = noEnd("exchange", b.Source, v)
	}
	return v, b, err
}

func noEnd(kind, name string, v *core.VHost) *failure {
	return &failure{http.StatusNotFound, "not_found", "no " + kind + " '" + name + "' in vhost '" + v.Name() + "'"}
}

func (c *call) listBindingsBetween() error {
	v, b, err := c.ends()
	if err != nil {
		return errNotFound
	}
	return c.list(appendBindings(nil, v, core.BindingFilter{Source: &b.Source, Destination: &b.Destination, DestinationKind: &b.DestinationKind}))
}

func (c *call) postBinding() error {
	_, b, err := c.ends()
	if err != nil {
		return err
	}
	in, err := c.body()
	if err != nil {
		return err
	}
	if b.Key, err = in.text("routing_key"); err != nil {
		return err
	}
	if b.Arguments, err = in.table("arguments"); err != nil {
		return err
	}
	s, err := c.session()
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.Bind(b); err != nil {
		return err
	}
	// Relative, and with the key's encoding encoded again.
	c.w.Header().Set("Location", url.PathEscape(b.Destination)+"/"+url.PathEscape(propertiesKey(&b)))
	return c.done(true)
}

// binding finds the binding of the path. Clients send its properties key
// encoded once or twice.
func (c *call) binding() (*core.VHost, *core.Binding, error) {
	v, want, err := c.ends()
	if err != nil {
		return nil, nil, errNotFound
	}
	props := c.param("props")
	all := v.Bindings(core.BindingFilter{Source: &want.Source, Destination: &want.Destination, DestinationKind: &want.DestinationKind})
	for i := range all {
		if propertiesKey(&all[i]) == props {
			return v, &all[i], nil
		}
	}
	for i := range all {
		if once, err := url.QueryUnescape(propertiesKey(&all[i])); err == nil && once == props {
			return v, &all[i], nil
		}
	}
	return nil, nil, errNotFound
}

func (c *call) getBinding() error {
	v, b, err := c.binding()
	if err != nil {
		return err
	}
	return c.one(bindingObject(v.Name(), b))
}

func (c *call) deleteBinding() error {
	_, b, err := c.binding()
	if err != nil {
		return err
	}
	s, err := c.session()
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.Unbind(*b); err != nil {
		return err
	}
	return c.done(false)
}
