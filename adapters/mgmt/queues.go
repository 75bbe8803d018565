package mgmt

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"leveret/core"
)

func (c *call) listQueues() error {
	vhosts, err := c.vhosts()
	if err != nil {
		return err
	}
	show := func(v *core.VHost, q core.Queue) object { return c.queueObject(v, q, false) }
	if c.noStats() {
		show = c.staticQueueObject
	}
	n := 0
	for _, v := range vhosts {
		n += v.QueueCount()
	}
	rows := make([]row, 0, n)
	for _, v := range vhosts {
		for q := range v.Queues() {
			rows = append(rows, row{v.Name(), q.Options().Name, func() object { return show(v, q) }})
		}
	}
	if c.noStats() {
		return c.list(rows)
	}
	return c.listBy(rows, c.queueColumn)
}

// queueColumn is what queueObject has at path, of what tables are sorted by.
func (c *call) queueColumn(r *row, path string) (any, bool) {
	v, _ := c.s.broker.VHost(r.vhost)
	if v == nil {
		return nil, true
	}
	q, ok := v.Queue(r.name)
	if !ok {
		return nil, true
	}
	o := q.Options()
	switch path {
	case "vhost":
		return o.VHost, true
	case "type":
		return string(o.Type), true
	case "durable":
		return o.Durable, true
	case "exclusive":
		return o.Exclusive, true
	case "auto_delete":
		return o.AutoDelete, true
	case "state":
		return "running", true
	}
	if name, ok := strings.CutSuffix(path, "_details.rate"); ok {
		name = strings.TrimPrefix(name, "message_stats.")
		if at := slices.Index(ratedNames[ratedQueue], name); at >= 0 {
			return c.s.rates.sample(rateKey{ratedQueue, r.vhost, r.name}).rate(at), true
		}
		return nil, false
	}
	i := q.Info()
	switch path {
	case "messages":
		return i.Ready + i.Unacked, true
	case "messages_ready":
		return i.Ready, true
	case "messages_unacknowledged":
		return i.Unacked, true
	case "messages_delayed":
		return i.Delayed, true
	case "message_bytes":
		return i.ReadyBytes + i.UnackedBytes, true
	case "consumers":
		return i.Consumers, true
	case "memory":
		return i.MemoryBytes, true
	}
	return nil, false
}

// staticQueueObject is what does not change about a queue and, if the request
// wants totals, its three counts.
func (c *call) staticQueueObject(v *core.VHost, q core.Queue) object {
	o := q.Options()
	out := object{
		"name": o.Name, "vhost": v.Name(), "type": string(o.Type), "node": c.s.node(),
		"durable": o.Durable, "auto_delete": o.AutoDelete, "exclusive": o.Exclusive, "arguments": tableJSON(o.Arguments),
	}
	if c.queueTotals() {
		i := q.Info()
		out["messages"], out["messages_ready"], out["messages_unacknowledged"] = i.Ready+i.Unacked, i.Ready, i.Unacked
	}
	return out
}

// queue finds the queue of the path.
func (c *call) queue() (*core.VHost, core.Queue, error) {
	if v := c.vhost(); v != nil {
		if q, ok := v.Queue(c.param("queue")); ok {
			return v, q, nil
		}
	}
	return nil, nil, errNotFound
}

func (c *call) getQueue() error {
	v, q, err := c.queue()
	if err != nil {
		return err
	}
	if c.noStats() {
		return c.one(c.staticQueueObject(v, q))
	}
	return c.one(c.queueObject(v, q, true))
}

// idleAfter is how long nothing must happen to a queue to call it idle.
const idleAfter = 10 * time.Second

// queueObject is a queue in JSON; detailed adds what only the queue's own page
// shows.
func (c *call) queueObject(v *core.VHost, q core.Queue, detailed bool) object {
	i := q.Info()
	o := i.Options
	inTurn(i.ConsumerList)
	messages := i.Ready + i.Unacked
	bytes := i.ReadyBytes + i.UnackedBytes
	utilisation := c.s.utilisation(v, &i)
	out := object{
		"name": o.Name, "vhost": v.Name(), "type": string(o.Type), "node": c.s.node(),
		"durable": o.Durable, "auto_delete": o.AutoDelete, "exclusive": o.Exclusive,
		"arguments": tableJSON(o.Arguments), "state": "running",

		"messages_delayed": i.Delayed, "messages_leaving": i.Leaving,
		"messages_persistent": i.Persistent, "messages_ram": i.InMemory, "messages_paged_out": messages - i.InMemory,
		"message_bytes": bytes, "message_bytes_ready": i.ReadyBytes, "message_bytes_unacknowledged": i.UnackedBytes,
		"memory": i.MemoryBytes,

		"consumers": i.Consumers, "consumer_utilisation": utilisation, "consumer_capacity": utilisation,
		"exclusive_consumer_tag": nil, "single_active_consumer_tag": nil, "head_message_timestamp": nil,
	}
	putApplied(out, v.QueuePolicy(q))
	if i.InMemory == messages {
		// What lies on disk is not counted by state: then nothing is said.
		out["messages_ready_ram"], out["messages_unacknowledged_ram"] = i.Ready, i.Unacked
		out["message_bytes_ram"], out["message_bytes_paged_out"] = bytes, 0
	}
	if s := i.Stream; s != nil {
		out["readers"] = object{c.s.node(): i.Consumers}
		out["segments"], out["first_offset"], out["committed_offset"] = s.Segments, s.First, int64(s.Next)-1
		out["leader"], out["members"], out["online"] = c.s.node(), []string{c.s.node()}, []string{c.s.node()}
	}
	if i.HeadTimestamp != 0 {
		out["head_message_timestamp"] = i.HeadTimestamp / 1000
	}
	// A consumer at work on a backlog is not seen in IdleSinceMS.
	if quiet := c.s.broker.Now() - i.IdleSinceMS; quiet >= idleAfter.Milliseconds() && (i.Consumers == 0 || messages == 0) {
		out["idle_since"] = time.UnixMilli(i.IdleSinceMS).UTC().Format("2006-01-02T15:04:05.000-07:00")
	}
	if i.ExclusiveUse && len(i.ConsumerList) > 0 {
		out["exclusive_consumer_tag"] = i.ConsumerList[0].Tag
	}
	for k := range i.ConsumerList {
		if one := &i.ConsumerList[k]; o.SingleActive && one.Active {
			out["single_active_consumer_tag"] = one.Tag
		}
	}
	if owner := v.ExclusiveOwner(q); o.Exclusive && owner != nil {
		if r := c.rowOf(owner); r != nil {
			out["owner_pid_details"] = peerDetails(r, "name")
		}
	}
	key := rateKey{kind: ratedQueue, vhost: v.Name(), name: o.Name}
	is := queueValues(&i)
	c.s.rates.put(out, key, is, levels, blockedMS, c.spans.lengths)
	if stats := c.s.rates.messageStats(key, is, c.spans.messages); stats != nil {
		out["message_stats"] = stats
	}
	if detailed {
		consumers := []object{}
		for k := range i.ConsumerList {
			consumers = append(consumers, c.consumerObject(o, &i.ConsumerList[k]))
		}
		out["consumer_details"] = consumers
		out["incoming"], out["deliveries"] = []object{}, []object{}
	}
	return out
}

// utilisation is the part of the time, between the last two looks, in which a
// message need not have waited for consumers to have room.
func (s *Server) utilisation(v *core.VHost, i *core.QueueInfo) float64 {
	if i.Consumers == 0 {
		return 0
	}
	blocked := s.rates.sample(rateKey{ratedQueue, v.Name(), i.Options.Name}).rate(blockedMS)
	return min(1, max(0, 1-blocked/1000))
}

func (c *call) putQueue() error {
	b, err := c.body()
	if err != nil {
		return err
	}
	// Absent means durable: RabbitMQ 4 refuses anything else, RabbitMQ 3 made
	// queues that are gone after a restart of who wrote {}.
	durable, err := b.boolean("durable", true)
	if err != nil {
		return err
	}
	autoDelete, err := b.boolean("auto_delete", false)
	if err != nil {
		return err
	}
	arguments, err := b.table("arguments")
	if err != nil {
		return err
	}
	s, err := c.session()
	if err != nil {
		return err
	}
	defer s.Close()
	name := c.param("queue")
	_, existed := c.vhost().Queue(name)
	if _, err := s.DeclareQueue(core.QueueDeclare{Name: name, Durable: durable, AutoDelete: autoDelete, Arguments: arguments}); err != nil {
		return err
	}
	return c.done(!existed)
}

func (c *call) deleteQueue() error {
	if _, _, err := c.queue(); err != nil {
		return err
	}
	s, err := c.session()
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := s.DeleteQueue(c.param("queue"), c.flag("if-unused"), c.flag("if-empty")); err != nil {
		return err
	}
	return c.done(false)
}

func (c *call) purgeQueue() error {
	if _, _, err := c.queue(); err != nil {
		return err
	}
	s, err := c.session()
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := s.PurgeQueue(c.param("queue")); err != nil {
		return err
	}
	return c.done(false)
}

// queueAction takes RabbitMQ 3's sync, which had mirrors copy a queue; with
// one copy it is done already.
func (c *call) queueAction() error {
	if _, _, err := c.queue(); err != nil {
		return err
	}
	b, err := c.body()
	if err != nil {
		return err
	}
	action, err := b.text("action")
	if err != nil {
		return err
	}
	switch action {
	case "sync", "cancel_sync":
		return c.done(false)
	case "":
		return b.need("action")
	}
	return badRequest([]string{"unknown", action})
}

func (c *call) listConsumers() error {
	vhosts, err := c.vhosts()
	if err != nil {
		return err
	}
	rows := []row{}
	for _, v := range vhosts {
		for q := range v.Queues() {
			i := q.Info()
			inTurn(i.ConsumerList)
			for k := range i.ConsumerList {
				one := &i.ConsumerList[k]
				if !c.maySee(one.Session) {
					continue
				}
				rows = append(rows, row{v.Name(), i.Options.Name, func() object { return c.consumerObject(i.Options, one) }})
			}
		}
	}
	return c.list(rows)
}

// inTurn puts a queue's consumers in an order that is the same each time.
func inTurn(list []core.ConsumerInfo) {
	id := func(i *core.ConsumerInfo) uint64 {
		if i.Session == nil {
			return 0
		}
		return i.Session.ID()
	}
	slices.SortFunc(list, func(a, b core.ConsumerInfo) int {
		return cmp.Or(cmp.Compare(id(&a), id(&b)), cmp.Compare(a.Scope, b.Scope), cmp.Compare(a.Tag, b.Tag))
	})
}

// consumerObject is a consumer in JSON.
func (c *call) consumerObject(q *core.QueueOptions, i *core.ConsumerInfo) object {
	status := "up"
	if q.SingleActive {
		if status = "waiting"; i.Active {
			status = "single_active"
		}
	}
	var timeout any
	if i.TimeoutMS > 0 {
		timeout = i.TimeoutMS
	}
	var protocol, destination any
	if i.Session != nil {
		if r := c.rowOf(i.Session); r != nil {
			protocol = attributes(r)["protocol"]
		}
	}
	if i.Destination != "" {
		destination = i.Destination
	}
	return object{
		"protocol": protocol, "destination": destination,
		"queue": object{"name": q.Name, "vhost": q.VHost}, "consumer_tag": i.Tag, "channel_details": c.channelDetails(i.Session, i.Scope),
		"ack_required": !i.NoAck, "exclusive": i.Exclusive, "prefetch_count": i.Prefetch, "active": i.Active, "activity_status": status,
		"arguments": tableJSON(i.Arguments), "consumer_timeout": timeout,
	}
}

// channelNumber reads the number out of a consumer's scope or a row's name.
func channelNumber(scope string) int {
	end := len(scope)
	for end > 0 && (scope[end-1] < '0' || scope[end-1] > '9') {
		end--
	}
	begin := end
	for begin > 0 && scope[begin-1] >= '0' && scope[begin-1] <= '9' {
		begin--
	}
	n, err := strconv.Atoi(scope[begin:end])
	if err != nil {
		return 0
	}
	return n
}
