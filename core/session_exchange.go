package core

import (
	"strings"

	"leveret/core/auth"
)

var errDefaultExchange = &Error{AccessRefused, "operation not permitted on the default exchange"}

// DeclareExchange declares an exchange, or compares with the one that is there.
// A passive declare only looks whether it exists.
func (s *Session) DeclareExchange(d ExchangeDeclare) error {
	v := s.vhost
	name := cleanName(d.Name)
	if !d.Passive && exchangeTypes[d.Type] == nil {
		return errorf(Invalid, "unknown exchange type '%s'", d.Type)
	}
	if name == "" {
		return errDefaultExchange
	}
	if d.Passive {
		if err := s.permitAny(OnExchange, name, v.exchangeText(name)); err != nil {
			return err
		}
		if v.exchange(name) == nil {
			return v.noExchange(name)
		}
		return nil
	}
	if err := s.permitExchange(auth.Configure, name); err != nil {
		return err
	}
	if err := boundedArguments(v.exchangeText(name), d.Arguments); err != nil {
		return err
	}
	if x := v.exchange(name); x != nil {
		return x.sameAs(&d)
	}
	if err := reservedName("exchange", name); err != nil {
		return err
	}
	alternate, ok, err := stringArgument(d.Arguments, argAlternateExchange, v.exchangeText(name))
	if err != nil {
		return err
	}
	if ok {
		if err := s.permitExchange(auth.Read, name); err != nil {
			return err
		}
		if err := s.permitExchange(auth.Write, alternate); err != nil {
			return err
		}
	}
	if err := exchangeTypes[d.Type].checkArguments(v.exchangeText(name), d.Arguments); err != nil {
		return err
	}

	defer v.lockName(name)()
	if err := v.gone(); err != nil {
		return err
	}
	if x := v.exchange(name); x != nil {
		return x.sameAs(&d)
	}
	return v.putExchange(ExchangeDef{
		VHost: v.name, Name: name, Type: d.Type, Durable: d.Durable,
		AutoDelete: d.AutoDelete, Internal: d.Internal, Arguments: d.Arguments,
	}, s.User().Name)
}

// putExchange stores a new exchange, with a queue of its own if it needs one.
// user is who asked for it.
func (v *VHost) putExchange(d ExchangeDef, user string) error {
	if d.Type == exchangeDelayed && d.Durable {
		id, err := v.broker.definitions.NextQueueID()
		if err != nil {
			return errorf(Unavailable, "the broker cannot store definitions now: %v", err)
		}
		d.ID = id
	}
	return v.commit(Change{Kind: DefExchange, Key: []string{v.name, d.Name}, Value: d, Transient: !d.Durable, By: user})
}

// sameAs refuses a redeclaration that differs from x.
func (x *Exchange) sameAs(d *ExchangeDeclare) error {
	what := x.vhost.exchangeText(x.name)
	err := sameField("type", what, d.Type, x.typ)
	if err == nil {
		err = sameField("durable", what, d.Durable, x.durable)
	}
	if err == nil {
		err = sameField("auto_delete", what, d.AutoDelete, x.autoDelete)
	}
	if err == nil {
		err = sameField("internal", what, d.Internal, x.internal)
	}
	if err == nil {
		err = sameArgument(argAlternateExchange, what, d.Arguments, x.arguments)
	}
	return err
}

// DeleteExchange deletes an exchange with its bindings in both directions. One
// that does not exist is no error.
func (s *Session) DeleteExchange(name string, ifUnused bool) error {
	v := s.vhost
	name = cleanName(name)
	if name == "" {
		return errDefaultExchange
	}
	if reservedName("exchange", name) != nil {
		return errorf(AccessRefused, "deletion of system %s not allowed", v.exchangeText(name))
	}
	if err := s.permitExchange(auth.Configure, name); err != nil {
		return err
	}
	user := s.User().Name
	sources, err := v.deleteExchange(name, ifUnused, user)
	v.autoDelete(sources, user)
	return err
}

func (v *VHost) deleteExchange(name string, ifUnused bool, user string) (sources []*Exchange, err error) {
	v.topology.Lock()
	defer v.topology.Unlock()
	x := v.exchange(name)
	if x == nil {
		return nil, nil
	}
	v.tables.Lock()
	used := x.sourceOf.n > 0
	v.tables.Unlock()
	if ifUnused && used {
		return nil, errorf(InUse, "%s in use", v.exchangeText(name))
	}
	return v.deleteExchangeLocked(x, user)
}

// Bind makes a binding. One that is there already is no error.
func (s *Session) Bind(b Binding) error { return s.changeBinding(b, true) }

// Unbind removes a binding. One that does not exist is no error.
func (s *Session) Unbind(b Binding) error { return s.changeBinding(b, false) }

func (s *Session) changeBinding(b Binding, add bool) error {
	v := s.vhost
	b.Source, b.Destination = cleanName(b.Source), cleanName(b.Destination)
	b.Key = strings.Clone(b.Key)
	if err := s.permitBinding(&b); err != nil {
		return err
	}

	var unlock func()
	if b.DestinationKind == ToQueue {
		unlock = v.lockName(b.Destination)
	} else {
		v.topology.Lock()
		unlock = v.topology.Unlock
	}
	source, err := s.changeBindingLocked(&b, add)
	unlock()
	if add && source != nil && source.history != nil {
		source.history.bound()
	}
	if !add && source != nil && source.autoDelete {
		v.autoDelete([]*Exchange{source}, s.User().Name)
	}
	return err
}

// permitBinding refuses what no binding may be, in RabbitMQ's order.
func (s *Session) permitBinding(b *Binding) error {
	v := s.vhost
	if b.DestinationKind == ToQueue {
		if isReplyTo(b.Destination) {
			return errorf(AccessRefused, "cannot bind or unbind to a volatile (direct reply-to) queue")
		}
		if err := s.permitQueue(auth.Write, b.Destination); err != nil {
			return err
		}
	} else if err := s.permitExchange(auth.Write, b.Destination); err != nil {
		return err
	}
	if b.Source == "" || b.DestinationKind == ToExchange && b.Destination == "" {
		return errDefaultExchange
	}
	if err := s.permitExchange(auth.Read, b.Source); err != nil {
		return err
	}
	if x := v.exchange(b.Source); x != nil {
		return s.permitTopic(x, auth.Read, b.Key)
	}
	return nil
}

// changeBindingLocked returns the source, if it exists. The topology lock is
// held as the kind of destination needs it.
func (s *Session) changeBindingLocked(b *Binding, add bool) (source *Exchange, err error) {
	v := s.vhost
	if err := v.gone(); err != nil {
		return nil, err
	}
	source = v.exchange(b.Source)
	dest := v.bindingDestination(b)
	switch {
	case add && source == nil:
		return nil, v.noExchange(b.Source)
	case add && dest == nil && b.DestinationKind == ToQueue:
		return nil, v.noQueue(b.Destination)
	case add && dest == nil:
		return nil, v.noExchange(b.Destination)
	case source == nil || dest == nil:
		return nil, nil
	}
	if err := s.exclusiveTo(dest); err != nil {
		return source, err
	}
	if add {
		if err := boundedArguments("a binding of "+v.exchangeText(b.Source), b.Arguments); err != nil {
			return source, err
		}
		if err := source.kind.checkBinding(b, dest); err != nil {
			return source, err
		}
	}
	argsID := argumentsID(b.Arguments)
	v.tables.Lock()
	found, _ := dest.bindings.find(b.Source, b.Key, argsID)
	v.tables.Unlock()
	if (found != nil) == add {
		return source, nil
	}
	if add && source.history != nil && v.broker.alarms.Refusing() {
		return source, errorf(Unavailable, "the broker is out of memory and cannot hand on what %s remembers; try again later", v.exchangeText(b.Source))
	}
	c := Change{
		Kind: DefBinding, Key: bindingKey(v.name, b, argsID), Was: AnyRevision,
		Transient: !(source.durable && dest.durable),
	}
	if add {
		c.Was, c.Value = 0, BindingDef{VHost: v.name, Binding: *b}
	}
	return source, s.commit(c)
}

// bindingDestination finds where b ends, or nil.
func (v *VHost) bindingDestination(b *Binding) *destination {
	if b.DestinationKind == ToQueue {
		return v.declared(b.Destination)
	}
	if x := v.exchange(b.Destination); x != nil && x.table != nil {
		return x.self
	}
	return nil
}
