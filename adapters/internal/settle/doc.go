// Package settle is what adapters have in common between a client's ack and
// core: which delivery a number stands for, and settlements sorted so that each
// queue is locked once.
//
//	Deliver ──Add──▶ Unacked ──Take*──▶ Groups ──Settle──▶ core.Holder
//
// Nothing here locks or starts a goroutine.
package settle
