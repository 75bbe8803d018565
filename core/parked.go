package core

// parkedPrefix begins the name of the queue that takes what a queue has handed
// out in vain too often, if it is neither dead-lettered nor to be dropped.
const parkedPrefix = "parked."

// parkedMax bounds such a queue, unless a policy says less: the oldest go first.
const parkedMax = 100_000

// parkingQueue returns the parking queue of the queue called name. It is an
// ordinary durable queue, declared when it is first needed, and outlives that
// one. No lock is held by the caller.
func (v *VHost) parkingQueue(name string) (Queue, error) {
	parked := parkedPrefix + name
	if parked = parked[:min(len(parked), 255)]; v.declared(parked) != nil {
		return v.declared(parked).queue, nil
	}
	defer v.lockName(parked)()
	if err := v.gone(); err != nil {
		return nil, err
	}
	if d := v.declared(parked); d != nil {
		return d.queue, nil
	}
	id, err := v.broker.definitions.NextQueueID()
	if err != nil {
		return nil, err
	}
	def := QueueDef{
		VHost: v.name, Name: parked, Type: QueueClassic, Durable: true, ID: id,
		Arguments: Table{{"x-max-length", int64(parkedMax)}},
	}
	if err := v.commit(v.queueChanges(def)...); err != nil {
		return nil, err
	}
	return v.declared(parked).queue, nil
}
