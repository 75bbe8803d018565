package core

// Delivery is one message on its way to a consumer. It is small, and of few
// fields, so that the compiler keeps it in registers: they are made by the
// million.
type Delivery struct {
	Message *Message
	Seq     Seq // With the Holder, the opaque token that settles it.
	DeliveryHistory
}

// DeliveryHistory is what became of a message before it was delivered.
type DeliveryHistory struct {
	Redelivered bool // It was handed out before.
	// Resumed says that the consumer's client held it before it lost its last
	// connection; see Slot. There is no Message if that slot was Released.
	Resumed bool
	// Acquired is how often it was handed out before, or 65,535 if that is
	// more. Only quorum queues tell.
	Acquired uint16
	note     uint32 // The slot of a resumed one; how often others failed.
}

// Slot is what the consumer's client noted in Slot.Data, if the delivery is
// Resumed.
func (h *DeliveryHistory) Slot() uint32 { return h.note }

// Failed is how many of the times that it was handed out before were failures.
// Only quorum queues tell.
func (h *DeliveryHistory) Failed() uint32 {
	if h.Resumed {
		return 0
	}
	return h.note
}

// Outlet is the adapter's end of a consumer: the place deliveries are encoded
// into. Core calls it with a queue's lock held, so it never blocks and never
// calls back into core.
type Outlet interface {
	// Room reports whether the connection's outgoing buffer is below its limit
	// now. If not, it keeps w and calls w.Wake once when there is room again,
	// holding no lock. Registering and a last try are one step: a wake-up that
	// comes meanwhile is not lost.
	Room(w *Waiter) bool

	// Deliver encodes ds for c in order. Messages are good only during the
	// call, but for bodies marked OwnBody. It reports whether the caller has
	// to see to it that Flush is called.
	Deliver(c *Consumer, ds []Delivery) (flush bool)

	// Flush starts sending what Deliver left, without blocking. No lock of
	// core's is held.
	Flush()
}

// Touched collects the outlets that got something and are waiting for a flush.
// It belongs to one goroutine. The zero value is ready.
type Touched struct{ outlets []Outlet }

func (t *Touched) add(o Outlet) { t.outlets = append(t.outlets, o) }

// Any reports whether something waits to be flushed.
func (t *Touched) Any() bool { return len(t.outlets) != 0 }

// Flush flushes and forgets all of them.
func (t *Touched) Flush() {
	for i, o := range t.outlets {
		o.Flush()
		t.outlets[i] = nil
	}
	t.outlets = t.outlets[:0]
}

// FlushFrom flushes those that have n bytes to send, or do not say how many,
// and keeps the others: for a reader that carries small output over while its
// reads come back full.
func (t *Touched) FlushFrom(n int) {
	kept := t.outlets[:0]
	for _, o := range t.outlets {
		if p, ok := o.(interface{ Pending() int }); ok && p.Pending() < n {
			kept = append(kept, o)
		} else {
			o.Flush()
		}
	}
	clear(t.outlets[len(kept):])
	t.outlets = kept
}

// Waiter is a consumer waiting for room. It is embedded in its consumer, so
// that registering allocates nothing; each limiter keeps it at most once.
type Waiter struct{ c *Consumer }

// Wake lets the consumer's queue try again. Call it without any lock held.
func (w *Waiter) Wake() {
	var t Touched
	w.c.queue.credit(w.c, &t)
	t.Flush()
}

// WakeInto is Wake for a caller that flushes later itself.
func (w *Waiter) WakeInto(t *Touched) { w.c.queue.credit(w.c, t) }
