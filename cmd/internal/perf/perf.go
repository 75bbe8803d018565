package perf

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
)

// Cmd is `leveret perf`: load generators, one per protocol.
type Cmd struct {
	AMQP  AMQPCmd  `cmd:"" name:"amqp" help:"Load an AMQP 0-9-1 broker and report rates, latencies, loss, duplicates and order."`
	MQTT  MQTTCmd  `cmd:"" name:"mqtt" help:"The same for an MQTT broker."`
	STOMP STOMPCmd `cmd:"" name:"stomp" help:"The same for a STOMP broker with RabbitMQ's destinations."`
}

// ErrVerification is returned by Run when a message was lost, duplicated, out of
// order or never confirmed. The report says which.
var ErrVerification = errors.New("verification failed")

// Run loads the broker as the flags say, writes interval lines to standard
// error and the report to standard output. When ctx ends it stops early and
// reports what it has. It returns ErrVerification, or the error that ended the
// run.
func (c *AMQPCmd) Run(ctx context.Context) error {
	return c.run(ctx, os.Stdout, os.Stderr)
}

func (c *AMQPCmd) run(ctx context.Context, out, log io.Writer) error {
	o, err := c.options()
	if err != nil {
		return err
	}
	if o.idle > 0 {
		rep, err := idle(ctx, o, log)
		if rep != nil {
			err = errors.Join(err, c.write(out, rep))
		}
		return err
	}
	r, err := newRunner(o, log)
	if err != nil {
		return err
	}
	rep, err := r.load(ctx)
	if rep == nil {
		return err
	}
	err = errors.Join(err, c.write(out, rep))
	if err == nil && !rep.Verification.OK {
		err = ErrVerification
	}
	return err
}

func (c *AMQPCmd) write(w io.Writer, rep interface{ writeText(io.Writer) }) error {
	return writeReport(w, rep, c.JSON)
}

func writeReport(w io.Writer, rep interface{ writeText(io.Writer) }, asJSON bool) error {
	if !asJSON {
		rep.writeText(w)
		return nil
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(rep)
}
