package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"leveret/adapters/amqp"
	"leveret/core"
)

// Broker is a broker inside this process. It keeps everything in memory.
type Broker struct {
	Core *core.Broker
	URL  string // Where AMQP clients find it, as guest.

	stopServing, stopRunning context.CancelFunc
	running                  sync.WaitGroup
	served                   chan error
}

// Start starts a broker that serves AMQP on addr; port 0 takes a free one.
func Start(addr string) (*Broker, error) {
	c, err := core.New(core.Options{})
	if err != nil {
		return nil, fmt.Errorf("make the broker: %w", err)
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		c.Close()
		return nil, err
	}
	b := &Broker{Core: c, URL: "amqp://guest:guest@" + ln.Addr().String() + "/", served: make(chan error, 1)}
	var serving, running context.Context
	serving, b.stopServing = context.WithCancel(context.Background())
	running, b.stopRunning = context.WithCancel(context.Background())

	b.running.Go(func() { c.Run(running) }) // Whatever happens by time: TTLs, expiry.
	server := amqp.NewServer(amqp.Options{Broker: c, Logger: slog.New(slog.DiscardHandler)})
	go func() { b.served <- server.Serve(serving, ln) }() // Stop waits for it.
	return b, nil
}

// Stop closes all connections and the broker. Call it once.
func (b *Broker) Stop() error {
	b.stopServing()
	err := <-b.served
	b.stopRunning()
	b.running.Wait()
	if e := b.Core.Close(); err == nil {
		err = e
	}
	return err
}
