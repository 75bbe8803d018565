package ctl

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// rabbit is the RabbitMQ that migrate takes over from.
type rabbit struct {
	api   *client
	amqp  *url.URL
	conns map[string]*amqp.Connection // By virtual host.

	version, cluster string
	vhosts           []string
}

// sourceQueue is a queue there.
type sourceQueue struct {
	VHost      string         `json:"vhost"`
	Name       string         `json:"name"`
	Type       string         `json:"type"`
	Durable    bool           `json:"durable"`
	AutoDelete bool           `json:"auto_delete"`
	Exclusive  bool           `json:"exclusive"`
	Owner      map[string]any `json:"owner_pid_details"`
	Arguments  map[string]any `json:"arguments"`
	Messages   int64          `json:"messages"`
	Bytes      int64          `json:"message_bytes"`
}

// kind is the queue's type, as x-queue-type has it.
func (q *sourceQueue) kind() string {
	if q.Type != "" {
		return strings.TrimSuffix(strings.TrimPrefix(q.Type, "rabbit_"), "_queue")
	}
	if t, ok := q.Arguments["x-queue-type"].(string); ok {
		return t
	}
	return "classic"
}

// temporary says why a queue goes with its client, "" if it does not.
func (q *sourceQueue) temporary() string {
	switch {
	case q.Exclusive || len(q.Owner) > 0:
		return "it is exclusive to a connection"
	case q.AutoDelete:
		return "it is deleted with its last consumer"
	case strings.HasPrefix(q.Name, "amq.gen-"):
		return "its name was made by the broker, for one client"
	case strings.HasPrefix(q.Name, "mqtt-subscription-"):
		return "it belongs to an MQTT session"
	}
	return ""
}

// underWayMax bounds the bytes of messages on their way out of one queue.
const underWayMax = 16 << 20

// prefetch is how many messages may be under way.
func (q *sourceQueue) prefetch() int64 {
	if q.Messages == 0 || q.Bytes == 0 {
		return 1000
	}
	return min(1000, max(10, underWayMax/(q.Bytes/q.Messages+1)))
}

// openRabbit reads the two addresses. Nothing is connected yet.
func openRabbit(amqpURL, apiURL string, timeout time.Duration) (*rabbit, error) {
	u, err := url.Parse(amqpURL)
	if err != nil || u.Scheme != "amqp" && u.Scheme != "amqps" || u.Host == "" {
		return nil, exitf(exitUsage, "--from-amqp is not an AMQP address; write amqp://user:password@host:5672")
	}
	if u.User == nil {
		u.User = url.UserPassword("guest", "guest")
	}
	c, err := newClient(&Connection{URL: apiURL, Timeout: int(timeout / time.Second)})
	if err != nil {
		return nil, exitf(exitUsage, "--from-api is not the address of a management API; write http://user:password@host:15672")
	}
	c.origin = "--from-api"
	return &rabbit{api: c, amqp: u, conns: map[string]*amqp.Connection{}}, nil
}

func (r *rabbit) close() {
	for _, c := range r.conns {
		c.Close()
	}
}

// amqpFor is the address of a virtual host.
func (r *rabbit) amqpFor(vhost string) string {
	u := *r.amqp
	u.Path, u.RawPath = "/"+vhost, "/"+url.PathEscape(vhost)
	return u.String()
}

// explain turns an error of the API into what the operator reads.
func (r *rabbit) explain(err error) error {
	var e *apiError
	var x *exitError
	switch {
	case errors.As(err, &x):
		return exitf(x.code, "no management API answers at %s (--from-api)\nIs RabbitMQ's management plugin on? rabbitmq-plugins enable rabbitmq_management\n%s", r.api.where(), strings.SplitN(x.text, "\n", 2)[0])
	case errors.As(err, &e) && e.status == http.StatusUnauthorized:
		return exitf(exitUnavailable, "RabbitMQ at %s refuses user '%s': %s\nIt must be an administrator: rabbitmqctl set_user_tags %s administrator", r.api.where(), r.api.user, e.reason, r.api.user)
	case errors.As(err, &e):
		return exitf(exitUnavailable, "RabbitMQ at %s: %s", r.api.where(), e.Error())
	}
	return err
}

// look finds out whom we talk to, and whether we may.
func (r *rabbit) look() error {
	var o struct {
		Version string `json:"rabbitmq_version"`
		Cluster string `json:"cluster_name"`
		Node    string `json:"node"`
	}
	if err := r.api.get("/overview", &o); err != nil {
		return r.explain(err)
	}
	r.version, r.cluster = o.Version, o.Cluster
	if r.cluster == "" {
		r.cluster = o.Node
	}
	var vhosts []struct {
		Name string `json:"name"`
	}
	if err := r.api.get("/vhosts?columns=name", &vhosts); err != nil {
		return r.explain(err)
	}
	for _, v := range vhosts {
		r.vhosts = append(r.vhosts, v.Name)
	}
	slices.Sort(r.vhosts)
	return nil
}

// queues lists those of virtual hosts, by virtual host and name.
func (r *rabbit) queues(vhosts []string) ([]*sourceQueue, error) {
	var all []*sourceQueue
	for _, v := range vhosts {
		var list []*sourceQueue
		if err := r.api.get(path("queues", v)+"?columns=vhost,name,type,durable,auto_delete,exclusive,owner_pid_details,arguments,messages,message_bytes", &list); err != nil {
			return nil, r.explain(err)
		}
		slices.SortFunc(list, func(a, b *sourceQueue) int { return strings.Compare(a.Name, b.Name) })
		all = append(all, list...)
	}
	return all, nil
}

// channel opens a channel in a virtual host.
func (r *rabbit) channel(vhost string) (*amqp.Channel, error) {
	c := r.conns[vhost]
	if c == nil || c.IsClosed() {
		var err error
		if c, err = amqp.Dial(r.amqpFor(vhost)); err != nil {
			return nil, r.unreachable(vhost, err)
		}
		r.conns[vhost] = c
	}
	ch, err := c.Channel()
	if err != nil {
		return nil, r.unreachable(vhost, err)
	}
	return ch, nil
}

func (r *rabbit) unreachable(vhost string, err error) error {
	at := r.amqp.Host
	switch {
	case errors.Is(err, amqp.ErrCredentials):
		return exitf(exitUnavailable, "RabbitMQ at %s (--from-amqp) refuses user '%s': wrong password, or a user who may log in from that machine only", at, r.amqp.User.Username())
	case errors.Is(err, amqp.ErrVhost):
		return exitf(exitUnavailable, "RabbitMQ at %s (--from-amqp) does not let user '%s' into vhost '%s'\nrabbitmqctl set_permissions -p '%s' '%s' '.*' '.*' '.*'", at, r.amqp.User.Username(), vhost, vhost, r.amqp.User.Username())
	}
	return exitf(exitUnavailable, "no RabbitMQ answers at %s (--from-amqp): %v", at, err)
}

// inspect asks how many messages of a queue are ready, and for its consumers. The
// API's figures are seconds old.
func (r *rabbit) inspect(vhost, queue string) (ready int64, consumers int, err error) {
	ch, err := r.channel(vhost)
	if err != nil {
		return 0, 0, err
	}
	defer ch.Close()
	q, err := ch.QueueDeclarePassive(queue, false, false, false, false, nil)
	var e *amqp.Error
	switch {
	case err == nil:
		return int64(q.Messages), q.Consumers, nil
	case errors.As(err, &e) && e.Code == amqp.NotFound:
		return 0, 0, nil // It was deleted meanwhile.
	}
	return 0, 0, exitf(exitUnavailable, "RabbitMQ at %s, queue '%s' in vhost '%s': %v", r.amqp.Host, queue, vhost, err)
}

// Reading the end of a stream: how long its last chunk may take to come, and how
// long a pause ends it.
const (
	firstWait = 3 * time.Second
	pauseWait = 500 * time.Millisecond
)

// streamEnd returns the offset behind the last message of a stream, 0 if it is
// empty. The API does not know; the last chunk is read for it.
func (r *rabbit) streamEnd(vhost, stream string) (int64, error) {
	ch, err := r.channel(vhost)
	if err != nil {
		return 0, err
	}
	defer ch.Close()
	var arrivals <-chan amqp.Delivery
	if err = ch.Qos(1000, 0, false); err == nil {
		arrivals, err = ch.Consume(stream, "", false, false, false, false, amqp.Table{"x-stream-offset": "last"})
	}
	if err != nil {
		return 0, exitf(exitUnavailable, "RabbitMQ at %s, stream '%s' in vhost '%s': %v", r.amqp.Host, stream, vhost, err)
	}
	end := int64(0)
	wait := time.NewTimer(firstWait)
	defer wait.Stop()
	limit := time.After(2 * firstWait)
	for {
		select {
		case d, ok := <-arrivals:
			if !ok {
				return 0, exitf(exitUnavailable, "RabbitMQ at %s, stream '%s' in vhost '%s': the connection was lost", r.amqp.Host, stream, vhost)
			}
			if n, ok := d.Headers["x-stream-offset"].(int64); ok {
				end = max(end, n+1)
			}
			if err := d.Ack(false); err != nil {
				return 0, r.unreachable(vhost, err)
			}
			wait.Reset(pauseWait)
		case <-wait.C:
			return end, nil
		case <-limit:
			return end, nil
		}
	}
}

// chooseDefinitions keeps of all what belongs to vhosts, without what cannot or
// must not be taken over, which notes tell of. If only some virtual hosts are
// taken, so are only users who may enter them. The user called keep stays as it is
// here.
func chooseDefinitions(all map[string]json.RawMessage, vhosts []string, some bool, keep string) (file map[string]json.RawMessage, notes []string, err error) {
	file = map[string]json.RawMessage{}
	for _, k := range []string{"rabbit_version", "rabbitmq_version"} {
		if v, ok := all[k]; ok {
			file[k] = v
		}
	}
	choose := func(kind string, want func(map[string]any) bool) {
		var list, kept []map[string]any
		if raw, ok := all[kind]; ok && err == nil {
			if err = decodeNumbers(raw, &list); err != nil {
				err = fmt.Errorf("%s: %w", kind, err)
				return
			}
		}
		kept = []map[string]any{}
		for _, o := range list {
			if want(o) {
				kept = append(kept, o)
			}
		}
		if err == nil {
			file[kind], err = json.Marshal(kept)
		}
	}
	in := func(o map[string]any) bool { v, _ := o["vhost"].(string); return slices.Contains(vhosts, v) }
	choose("vhosts", func(o map[string]any) bool { v, _ := o["name"].(string); return slices.Contains(vhosts, v) })
	users := map[any]bool{}
	choose("permissions", func(o map[string]any) bool {
		if in(o) {
			users[o["user"]] = true
		}
		return in(o)
	})
	choose("users", func(o map[string]any) bool {
		if o["name"] == keep && keep != "" {
			notes = append(notes, fmt.Sprintf("User '%s' stays as it is here: you are logged in as it.", keep))
			return false
		}
		return !some || users[o["name"]]
	})
	choose("parameters", func(o map[string]any) bool {
		c, _ := o["component"].(string)
		if in(o) && (c == "shovel" || strings.HasPrefix(c, "federation")) {
			notes = append(notes, fmt.Sprintf("Not taken over: %s '%v' in vhost '%v', which goes on there.", c, o["name"], o["vhost"]))
			return false
		}
		return in(o)
	})
	for _, kind := range []string{"topic_permissions", "policies", "exchanges", "queues", "bindings"} {
		choose(kind, in)
	}
	if !some {
		// A cluster's id is its own.
		choose("global_parameters", func(o map[string]any) bool { return o["name"] != "internal_cluster_id" })
	}
	return file, notes, err
}

// decodeNumbers is json.Unmarshal that keeps numbers as they are written.
func decodeNumbers(raw json.RawMessage, v any) error {
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	return d.Decode(v)
}
