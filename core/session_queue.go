package core

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"strings"

	"leveret/core/auth"
)

// replyTo is the name under which clients ask for direct replies. The names of
// the hidden queues that take them begin with it.
const replyTo = "amq.rabbitmq.reply-to"

// isReplyTo reports whether name is that of direct replies.
func isReplyTo(name string) bool {
	rest, ok := strings.CutPrefix(name, replyTo)
	return ok && (rest == "" || rest[0] == '.')
}

// generatedName returns a name for a queue that came without one.
func generatedName() string {
	var b [16]byte
	rand.Read(b[:])
	return "amq.gen-" + base64.RawURLEncoding.EncodeToString(b[:])
}

// DeclareQueue declares a queue, or compares with the one that is there. A
// passive declare only looks whether it exists. Either restarts the clock of
// x-expires.
func (s *Session) DeclareQueue(d QueueDeclare) (QueueDeclared, error) {
	answer, err := s.declareNamed(d)
	if err == nil {
		s.broker.stats.declared.Add(1)
	}
	return answer, err
}

func (s *Session) declareNamed(d QueueDeclare) (QueueDeclared, error) {
	v := s.vhost
	name := cleanName(d.Name)
	if isReplyTo(name) {
		if name != replyTo && v.destination(name) == nil {
			return QueueDeclared{}, v.noQueue(name)
		}
		return QueueDeclared{Name: name, Consumers: 1}, nil
	}
	if d.Passive {
		return s.inspectQueue(name)
	}
	d.Durable = d.Durable && !d.Exclusive
	byDefault := v.defaultQueueType(&d)
	if name == "" {
		if t := queueTypeOf(d.Arguments, QueueClassic); t == QueueQuorum || t == QueueStream {
			return QueueDeclared{}, errorf(Invalid, "Cannot declare a server-named queue for type %s", t.module())
		}
		name, byDefault = generatedName(), QueueClassic
	} else if err := reservedName("queue", name); err != nil {
		return QueueDeclared{}, err
	}
	if err := s.permitQueue(auth.Configure, name); err != nil {
		return QueueDeclared{}, err
	}
	if err := boundedArguments(v.queueText(name), d.Arguments); err != nil {
		return QueueDeclared{}, err
	}
	d.Name = name
	if q := v.declared(name); q != nil {
		return s.redeclared(q, &d, byDefault)
	}
	return s.createQueue(&d, byDefault)
}

// inspectQueue answers a passive declare.
func (s *Session) inspectQueue(name string) (QueueDeclared, error) {
	if err := s.permitAny(OnQueue, name, s.vhost.queueText(name)); err != nil {
		return QueueDeclared{}, err
	}
	d := s.vhost.declared(name)
	if d == nil {
		return QueueDeclared{}, s.vhost.noQueue(name)
	}
	if err := s.exclusiveTo(d); err != nil {
		return QueueDeclared{}, err
	}
	return declaredAnswer(d), nil
}

func declaredAnswer(d *destination) QueueDeclared {
	d.queue.touch()
	ready, consumers := d.queue.counts()
	return QueueDeclared{Name: d.name, Ready: ready, Consumers: consumers}
}

// DefaultQueueType is what queues without x-queue-type are where their virtual
// host does not say it.
func (b *Broker) DefaultQueueType() QueueType { return b.defaultQueueType }

// defaultQueueType is what a queue without x-queue-type is: the virtual host's
// default if that type can be what is asked for.
func (v *VHost) defaultQueueType(d *QueueDeclare) QueueType {
	t := cmp.Or(QueueType(v.definition.Load().DefaultQueueType), v.broker.defaultQueueType)
	if t == QueueQuorum || t == QueueStream {
		if d.Durable && !d.Exclusive && !d.AutoDelete {
			return t
		}
	}
	return QueueClassic
}

// redeclared compares a declare with the queue that is there.
func (s *Session) redeclared(q *destination, d *QueueDeclare, byDefault QueueType) (QueueDeclared, error) {
	what, o := s.vhost.queueText(q.name), q.queue.Options()
	if o.Exclusive != d.Exclusive || o.Exclusive && q.owner != s {
		return QueueDeclared{}, s.vhost.locked(q.name)
	}
	err := sameField("durable", what, d.Durable, o.Durable)
	if err == nil {
		err = sameField("auto_delete", what, d.AutoDelete, o.AutoDelete)
	}
	if err == nil {
		err = sameQueueArguments(what, d.Arguments, o.Arguments, queueTypeOf(d.Arguments, byDefault), o.Type)
	}
	if err != nil {
		return QueueDeclared{}, err
	}
	return declaredAnswer(q), nil
}

func (s *Session) createQueue(d *QueueDeclare, byDefault QueueType) (QueueDeclared, error) {
	v := s.vhost
	what := v.queueText(d.Name)
	dlx, ok, err := stringArgument(d.Arguments, argDeadLetterExchange, what)
	if err != nil {
		return QueueDeclared{}, err
	}
	if ok {
		if err := s.permitQueue(auth.Read, d.Name); err != nil {
			return QueueDeclared{}, err
		}
		if err := s.permitExchange(auth.Write, dlx); err != nil {
			return QueueDeclared{}, err
		}
	}
	if err := checkQueueArguments(what, d.Arguments, byDefault); err != nil {
		return QueueDeclared{}, err
	}
	if err := checkQueueProperties(what, d, queueTypeOf(d.Arguments, byDefault)); err != nil {
		return QueueDeclared{}, err
	}

	unlock := v.lockName(d.Name)
	answer, made, err := s.createQueueLocked(d, byDefault)
	unlock()
	if made != nil && d.Exclusive && !s.own(made) {
		// The session has ended meanwhile, and its end did not see the queue.
		var t Touched
		v.deleteQueueIf(made.queue, always, "exclusive owner gone", s.User().Name, &t)
		t.Flush()
		return QueueDeclared{}, errorf(Unavailable, "the session has ended")
	}
	return answer, err
}

// createQueueLocked makes the queue unless someone else has. made is nil then.
// The name's lock is held.
func (s *Session) createQueueLocked(d *QueueDeclare, byDefault QueueType) (answer QueueDeclared, made *destination, err error) {
	v := s.vhost
	if err := v.gone(); err != nil {
		return QueueDeclared{}, nil, err
	}
	if q := v.declared(d.Name); q != nil {
		answer, err = s.redeclared(q, d, byDefault)
		return answer, nil, err
	}
	t := queueTypeOf(d.Arguments, byDefault)
	def := QueueDef{
		VHost: v.name, Name: d.Name, Type: t, Durable: d.Durable, Exclusive: d.Exclusive,
		AutoDelete: d.AutoDelete, Arguments: withQueueType(d.Arguments, t),
	}
	release, err := s.numberQueue(&def)
	if err != nil {
		return QueueDeclared{}, nil, err
	}
	defer release()
	if d.Exclusive {
		def.Owner = s.id
	}
	if err := s.commit(v.queueChanges(def)...); err != nil {
		return QueueDeclared{}, nil, err
	}
	return QueueDeclared{Name: d.Name}, v.declared(d.Name), nil
}

// numberQueue gives def an id, if one queue more is allowed. release is to be
// called when it is declared, or not.
func (s *Session) numberQueue(def *QueueDef) (release func(), err error) {
	v := s.vhost
	release = func() {}
	if limit := s.broker.maxQueues; limit > 0 {
		s.broker.declaring.Lock()
		if s.broker.queueCount() >= limit {
			s.broker.declaring.Unlock()
			return nil, errorf(Limit, "cannot declare queue '%s': queue limit in cluster (%d) is reached", def.Name, limit)
		}
		release = s.broker.declaring.Unlock
	}
	if limit := v.maxQueues.Load(); limit >= 0 {
		// Declares go one by one here, or several would pass below the limit.
		v.limited.Lock()
		outer := release
		release = func() { v.limited.Unlock(); outer() }
		if v.queueCount.Load() >= limit {
			release()
			return nil, errorf(Limit, "cannot declare queue '%s': queue limit in vhost '%s' (%d) is reached", def.Name, v.name, limit)
		}
	}
	if def.ID, err = s.broker.definitions.NextQueueID(); err != nil {
		release()
		return nil, errorf(Unavailable, "the broker cannot number the queue: %v", err)
	}
	return release, nil
}

// queueCount is how many queues all virtual hosts have.
func (b *Broker) queueCount() (n int64) {
	for _, v := range b.vhosts.Load().All() {
		n += v.queueCount.Load()
	}
	return n
}

// DeleteQueue deletes a queue with its bindings and returns how many messages
// were ready. One that does not exist is no error.
func (s *Session) DeleteQueue(name string, ifUnused, ifEmpty bool) (int, error) {
	v := s.vhost
	name = cleanName(name)
	if err := s.permitQueue(auth.Configure, name); err != nil {
		return 0, err
	}
	d := v.declared(name)
	if d == nil {
		return 0, nil
	}
	if err := s.exclusiveTo(d); err != nil {
		return 0, err
	}
	if err := v.conditionalDelete(d.queue.Options(), ifUnused, ifEmpty); err != nil {
		return 0, err
	}
	var t Touched
	defer t.Flush()
	return v.deleteQueueIf(d.queue, func(i QueueInfo) error {
		switch {
		case ifUnused && i.Consumers > 0:
			return errorf(InUse, "%s in use", v.queueText(name))
		case ifEmpty && i.Ready > 0:
			return errorf(InUse, "%s not empty", v.queueText(name))
		}
		return nil
	}, "queue deleted", s.User().Name, &t)
}

// conditionalDelete refuses the conditions that quorum queues do not check: in
// RabbitMQ they would have to hold on several nodes at once.
func (v *VHost) conditionalDelete(o *QueueOptions, ifUnused, ifEmpty bool) error {
	flag := ""
	switch {
	case o.Type != QueueQuorum:
	case ifUnused:
		flag = "if-unused"
	case ifEmpty:
		flag = "if-empty"
	}
	if flag == "" {
		return nil
	}
	return errorf(NotImplemented, "cannot delete %s. queue.delete operations with %s flag set are not supported by quorum queues", v.queueText(o.Name), flag)
}

// PurgeQueue removes the ready messages of a queue and returns how many.
func (s *Session) PurgeQueue(name string) (int, error) {
	q, err := s.queueFor(name, auth.Read)
	if err != nil {
		return 0, err
	}
	if q.Options().Type == QueueStream {
		return 0, errorf(NotImplemented, "queue.purge not supported by stream queues %s", s.vhost.queueText(name))
	}
	var t Touched
	defer t.Flush()
	return q.purge(&t), nil
}
