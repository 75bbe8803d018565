package crash

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"syscall"

	amqp "github.com/rabbitmq/amqp091-go"
)

// definitions is what one actor has declared and deleted. A definition is a
// line of words; false is one that is gone for sure, one that is missing may be
// there or not.
type definitions struct {
	known map[string]bool
}

const definitionsOfKind = 6

// changeDefinitions declares and deletes definitions of every kind until the
// broker ends.
func (r *round) changeDefinitions(c *amqp.Connection, random *rand.Rand) error {
	ch, err := c.Channel()
	if err != nil {
		return err
	}
	d := r.defs
	for r.ctx.Err() == nil {
		i, k := random.IntN(definitionsOfKind), random.IntN(definitionsOfKind)
		queue, exchange := fmt.Sprint("def.q", i), fmt.Sprint("def.x", k)
		var err error
		switch random.IntN(9) {
		case 0:
			err = d.change([]string{"queue " + queue}, true, func() error {
				_, err := ch.QueueDeclare(queue, true, false, false, false, amqp.Table{"x-message-ttl": int32(1000 + i)})
				return err
			})
		case 1:
			gone := []string{"queue " + queue}
			for x := range definitionsOfKind {
				gone = append(gone, fmt.Sprintf("binding def.x%d %s", x, queue))
			}
			err = d.change(gone, false, func() error {
				_, err := ch.QueueDelete(queue, false, false, false)
				return err
			})
		case 2:
			err = d.change([]string{"exchange " + exchange}, true, func() error {
				return ch.ExchangeDeclare(exchange, "topic", true, false, false, false, amqp.Table{"x-of": int32(k)})
			})
		case 3:
			gone := []string{"exchange " + exchange}
			for q := range definitionsOfKind {
				gone = append(gone, fmt.Sprintf("binding %s def.q%d", exchange, q))
			}
			err = d.change(gone, false, func() error { return ch.ExchangeDelete(exchange, false, false) })
		case 4, 5:
			if !d.known["queue "+queue] || !d.known["exchange "+exchange] {
				continue
			}
			there := random.IntN(3) > 0
			err = d.change([]string{"binding " + exchange + " " + queue}, there, func() error {
				if there {
					return ch.QueueBind(queue, "a.*.#", exchange, false, amqp.Table{"x": int32(i)})
				}
				return ch.QueueUnbind(queue, "a.*.#", exchange, amqp.Table{"x": int32(i)})
			})
		case 6:
			user := fmt.Sprint("def.u", i)
			there := random.IntN(2) > 0
			err = d.change([]string{"user " + user}, there, func() error {
				return r.api(there, "/users/"+user, `{"password":"p","tags":"monitoring"}`)
			})
		case 7:
			vhost := fmt.Sprint("def.v", i)
			there := random.IntN(2) > 0
			err = d.change([]string{"vhost " + vhost}, there, func() error {
				return r.api(there, "/vhosts/"+vhost, `{"description":"d"}`)
			})
		case 8:
			name, kind := fmt.Sprint("def.p", i), []string{"policies", "operator-policies"}[k%2]
			there := random.IntN(2) > 0
			err = d.change([]string{kind + " " + name}, there, func() error {
				return r.api(there, "/"+kind+"/%2F/"+name, `{"pattern":"^def\\.q","definition":{"max-length":9}}`)
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// change notes what do changes: nothing is known about it until do returns.
func (d *definitions) change(what []string, there bool, do func() error) error {
	for _, w := range what {
		delete(d.known, w)
	}
	if err := do(); err != nil {
		return err
	}
	for _, w := range what {
		d.known[w] = there
	}
	return nil
}

// api puts or deletes a resource of the management API.
func (r *round) api(put bool, path, body string) error {
	method := http.MethodDelete
	if put {
		method = http.MethodPut
	}
	_, err := apiCall(r.http, method, path, body)
	if err != nil && !put && strings.Contains(err.Error(), "404") {
		return nil
	}
	return err
}

// apiCall makes a request as guest. Everything but a success is an error.
func apiCall(addr, method, path, body string) ([]byte, error) {
	req, err := http.NewRequest(method, "http://"+addr+"/api"+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return nil, err
	}
	req.SetBasicAuth("guest", "guest")
	client := http.Client{Timeout: patience}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= 300 {
		return b, fmt.Errorf("%s %s: %s: %s", method, path, res.Status, b)
	}
	return b, nil
}

// isConnectionError reports whether err is what a client sees when its broker
// is killed.
func isConnectionError(err error) bool {
	var ae *amqp.Error
	var ne *net.OpError
	switch {
	case err == nil, errors.Is(err, amqp.ErrClosed), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.As(err, &ne):
		return true
	case errors.As(err, &ae):
		// The last two are how the library calls an end during the handshake.
		return ae.Code == amqp.FrameError || ae.Code == amqp.ChannelError || ae.Code == amqp.ConnectionForced || ae == amqp.ErrVhost || ae == amqp.ErrCredentials
	}
	return false
}

// found asks a broker for its definitions, as the model writes them.
func foundDefinitions(addr string) (map[string]bool, error) {
	b, err := apiCall(addr, http.MethodGet, "/definitions", "")
	if err != nil {
		return nil, err
	}
	var all struct {
		Users     []struct{ Name string }
		VHosts    []struct{ Name string }
		Queues    []struct{ Name string }
		Exchanges []struct{ Name string }
		Bindings  []struct{ Source, Destination string }
		Policies  []struct{ Name string }

		Parameters []struct{ Component, Name string }
	}
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for _, u := range all.Users {
		found["user "+u.Name] = true
	}
	for _, v := range all.VHosts {
		found["vhost "+v.Name] = true
	}
	for _, q := range all.Queues {
		found["queue "+q.Name] = true
	}
	for _, x := range all.Exchanges {
		found["exchange "+x.Name] = true
	}
	for _, p := range all.Policies {
		found["policies "+p.Name] = true
	}
	for _, p := range all.Parameters {
		if p.Component == "operator_policy" {
			found["operator-policies "+p.Name] = true
		}
	}
	for _, bound := range all.Bindings {
		found["binding "+bound.Source+" "+bound.Destination] = true
	}
	return found, nil
}

// check compares what is known with what a broker has, and takes over the rest.
func (d *definitions) check(found map[string]bool) (problems []error) {
	for what, there := range d.known {
		if found[what] != there {
			problems = append(problems, fmt.Errorf("%s: there %v, want %v", what, found[what], there))
		}
	}
	for what := range found {
		if strings.Contains(what, "def.") {
			d.known[what] = true
		}
	}
	return problems
}
