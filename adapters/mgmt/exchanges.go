package mgmt

import (
	"strings"

	"leveret/core"
)

// systemUser is who RabbitMQ says declared what nobody declared.
const systemUser = "rmq-internal"

func (c *call) listExchanges() error {
	vhosts, err := c.vhosts()
	if err != nil {
		return err
	}
	rows := []row{}
	for _, v := range vhosts {
		for x := range v.Exchanges() {
			rows = append(rows, row{v.Name(), x.Name(), func() object { return c.exchangeObject(v, x) }})
		}
	}
	return c.list(rows)
}

// exchangeName is the exchange of the path; an empty segment and amq.default
// are the default one.
func (c *call) exchangeName(param string) string {
	if name := c.param(param); name != "amq.default" {
		return name
	}
	return ""
}

// exchange finds the exchange of the path.
func (c *call) exchange() (*core.VHost, *core.Exchange, error) {
	if v := c.vhost(); v != nil {
		if x, ok := v.Exchange(c.exchangeName("exchange")); ok {
			return v, x, nil
		}
	}
	return nil, nil, errNotFound
}

func (c *call) getExchange() error {
	v, x, err := c.exchange()
	if err != nil {
		return err
	}
	o := c.exchangeObject(v, x)
	if !c.noStats() {
		o["incoming"], o["outgoing"] = []object{}, []object{}
	}
	return c.one(o)
}

func (c *call) exchangeObject(v *core.VHost, x *core.Exchange) object {
	i := x.Info()
	out := object{
		"name": i.Name, "vhost": v.Name(), "type": i.Type, "durable": i.Durable, "auto_delete": i.AutoDelete,
		"internal": i.Internal, "arguments": tableJSON(i.Arguments), "policy": orNull(i.Policy.Policy),
	}
	if i.Name == "" || strings.HasPrefix(i.Name, "amq.") {
		out["user_who_performed_action"] = systemUser
	}
	if c.noStats() {
		return out
	}
	if x.Delays() {
		out["messages_delayed"], out["message_bytes_delayed"] = i.Delayed, i.DelayedBytes
	}
	key := rateKey{kind: ratedExchange, vhost: v.Name(), name: i.Name}
	if stats := c.s.rates.messageStats(key, exchangeValues(&i), c.spans.messages); stats != nil {
		out["message_stats"] = stats
	}
	return out
}

func (c *call) putExchange() error {
	b, err := c.body()
	if err != nil {
		return err
	}
	d := core.ExchangeDeclare{Name: c.exchangeName("exchange")}
	if d.Type, err = b.text("type"); err != nil {
		return err
	}
	if d.Type == "" {
		d.Type = "direct"
	}
	if d.Durable, err = b.boolean("durable", true); err != nil {
		return err
	}
	if d.AutoDelete, err = b.boolean("auto_delete", false); err != nil {
		return err
	}
	if d.Internal, err = b.boolean("internal", false); err != nil {
		return err
	}
	if d.Arguments, err = b.table("arguments"); err != nil {
		return err
	}
	s, err := c.session()
	if err != nil {
		return err
	}
	defer s.Close()
	_, existed := c.vhost().Exchange(d.Name)
	if err := s.DeclareExchange(d); err != nil {
		return err
	}
	return c.done(!existed)
}

func (c *call) deleteExchange() error {
	if _, _, err := c.exchange(); err != nil {
		return err
	}
	s, err := c.session()
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.DeleteExchange(c.exchangeName("exchange"), c.flag("if-unused")); err != nil {
		return err
	}
	return c.done(false)
}
