package main

import (
	"net/http"
	"net/url"
	"testing"

	rabbithole "github.com/michaelklishin/rabbit-hole/v2"
	amqp "github.com/rabbitmq/amqp091-go"
)

// hole drives the API through the Go client that Terraform's provider and the
// cluster operators use.
type hole struct {
	*testing.T
	*rabbithole.Client
}

// took checks the answer to a change.
func (h hole) took(status int) func(res *http.Response, err error) {
	return func(res *http.Response, err error) {
		h.Helper()
		if err != nil {
			h.Fatal(err)
		}
		if res.StatusCode != status {
			h.Fatalf("%s %s: %s, want %d", res.Request.Method, res.Request.URL, res.Status, status)
		}
	}
}

// got returns what a list or look-up brought.
func got[V any](h hole) func(v V, err error) V {
	return func(v V, err error) V {
		h.Helper()
		if err != nil {
			h.Fatal(err)
		}
		return v
	}
}

func TestRabbitHole(t *testing.T) {
	p := serving(t, "--node-name=rabbit@test")
	client, err := rabbithole.NewClient(p.httpURL(), "guest", "guest")
	if err != nil {
		t.Fatal(err)
	}
	h := hole{t, client}

	t.Run("vhosts and users", func(t *testing.T) {
		h := hole{t, client}
		h.took(201)(h.PutVhost("shop", rabbithole.VhostSettings{Description: "d", Tags: rabbithole.VhostTags{"a", "b"}}))
		v := got[*rabbithole.VhostInfo](h)(h.GetVhost("shop"))
		if v.Name != "shop" || v.Description != "d" || len(v.Tags) != 2 {
			t.Errorf("vhost: %+v", v)
		}
		if n := len(got[[]rabbithole.VhostInfo](h)(h.ListVhosts())); n != 2 {
			t.Errorf("%d vhosts", n)
		}
		h.took(201)(h.PutUser("app", rabbithole.UserSettings{Password: "secret", Tags: rabbithole.UserTags{"management", "x"}}))
		h.took(204)(h.PutUser("app", rabbithole.UserSettings{Password: "secret2", Tags: rabbithole.UserTags{"management"}}))
		u := got[*rabbithole.UserInfo](h)(h.GetUser("app"))
		if len(u.PasswordHash) != 48 || u.HashingAlgorithm != rabbithole.HashingAlgorithmSHA256 || len(u.Tags) != 1 {
			t.Errorf("user: %+v", u)
		}
		h.took(201)(h.PutUserWithoutPassword("cert", rabbithole.UserSettings{Tags: rabbithole.UserTags{}}))
		if n := len(got[[]rabbithole.UserInfo](h)(h.ListUsers())); n != 3 {
			t.Errorf("%d users", n)
		}
		if w := got[*rabbithole.WhoamiInfo](h)(h.Whoami()); w.Name != "guest" || len(w.Tags) != 1 {
			t.Errorf("whoami: %+v", w)
		}
		h.took(201)(h.UpdatePermissionsIn("shop", "app", rabbithole.Permissions{Configure: "^a", Write: ".*", Read: ".*"}))
		if perm := got[rabbithole.PermissionInfo](h)(h.GetPermissionsIn("shop", "app")); perm.Configure != "^a" {
			t.Errorf("permission: %+v", perm)
		}
		if n := len(got[[]rabbithole.PermissionInfo](h)(h.ListPermissionsOf("app"))); n != 1 {
			t.Errorf("%d permissions", n)
		}
		h.took(201)(h.UpdateTopicPermissionsIn("shop", "app", rabbithole.TopicPermissions{Exchange: "amq.topic", Write: "^w", Read: "^r"}))
		if tp := got[[]rabbithole.TopicPermissionInfo](h)(h.GetTopicPermissionsIn("shop", "app")); len(tp) != 1 || tp[0].Write != "^w" {
			t.Errorf("topic permissions: %+v", tp)
		}
		h.took(204)(h.DeleteTopicPermissionsIn("shop", "app", "amq.topic"))
		h.took(204)(h.PutUserLimits("app", rabbithole.UserLimitsValues{"max-connections": 5, "max-channels": 6}))
		if l := got[[]rabbithole.UserLimitsInfo](h)(h.GetUserLimits("app")); len(l) != 1 || l[0].Value["max-connections"] != 5 {
			t.Errorf("user limits: %+v", l)
		}
		h.took(204)(h.DeleteUserLimits("app", rabbithole.UserLimits{"max-connections"}))
		h.took(204)(h.PutVhostLimits("shop", rabbithole.VhostLimitsValues{"max-queues": 7}))
		if l := got[[]rabbithole.VhostLimitsInfo](h)(h.GetAllVhostLimits()); len(l) != 1 || l[0].Vhost != "shop" || l[0].Value["max-queues"] != 7 {
			t.Errorf("vhost limits: %+v", l)
		}
		h.took(204)(h.DeleteVhostLimits("shop", rabbithole.VhostLimits{"max-queues"}))
		h.took(204)(h.ClearPermissionsIn("shop", "app"))
		h.took(204)(h.DeleteUser("app"))
		h.took(404)(h.DeleteUser("app"))
	})

	t.Run("topology", func(t *testing.T) {
		h := hole{t, client}
		h.took(201)(h.DeclareQueue("shop", "q 1/2", rabbithole.QueueSettings{Durable: true, Arguments: map[string]any{"x-expires": 600000}}))
		h.took(201)(h.DeclareExchange("shop", "x", rabbithole.ExchangeSettings{Type: "topic", Durable: true}))
		res, err := h.DeclareBinding("shop", rabbithole.BindingInfo{
			Source: "x", Vhost: "shop", Destination: "q 1/2", DestinationType: "queue", RoutingKey: "order.#", Arguments: map[string]any{"a": 1},
		})
		h.took(201)(res, err)
		bindings := got[[]rabbithole.BindingInfo](h)(h.ListQueueBindingsBetween("shop", "x", "q 1/2"))
		if len(bindings) != 1 || bindings[0].RoutingKey != "order.#" {
			t.Fatalf("bindings: %+v", bindings)
		}
		// As Terraform does: the Location's last part, unescaped once, is the key in the list.
		_, last := cutLast(res.Header.Get("Location"), '/')
		if key, err := url.PathUnescape(last); err != nil || key != bindings[0].PropertiesKey {
			t.Errorf("Location %q does not lead to %q", res.Header.Get("Location"), bindings[0].PropertiesKey)
		}
		if n := len(got[[]rabbithole.BindingInfo](h)(h.ListQueueBindings("shop", "q 1/2"))); n != 2 {
			t.Errorf("%d bindings of the queue, want the implicit one too", n)
		}
		if n := len(got[[]rabbithole.BindingInfo](h)(h.ListExchangeBindingsWithSource("shop", "x"))); n != 1 {
			t.Errorf("%d bindings from the exchange", n)
		}
		q := got[*rabbithole.DetailedQueueInfo](h)(h.GetQueue("shop", "q 1/2"))
		if q.Name != "q 1/2" || !q.Durable || q.Arguments["x-expires"] != 600000.0 || q.Type != "classic" {
			t.Errorf("queue: %+v", q)
		}
		x := got[*rabbithole.DetailedExchangeInfo](h)(h.GetExchange("shop", "x"))
		if x.Type != "topic" || !bool(x.Durable) {
			t.Errorf("exchange: %+v", x)
		}
		if n := len(got[[]rabbithole.ExchangeInfo](h)(h.ListExchangesIn("shop"))); n != 8 {
			t.Errorf("%d exchanges", n)
		}
		page := got[rabbithole.PagedQueueInfo](h)(h.PagedListQueuesWithParameters(url.Values{"page": {"1"}, "name": {"Q 1"}}))
		if page.FilteredCount != 1 || len(page.Items) != 1 {
			t.Errorf("page: %+v", page)
		}
		h.took(204)(h.DeleteBinding("shop", bindings[0]))
		h.took(204)(h.PurgeQueue("shop", "q 1/2"))
		h.took(204)(h.DeleteQueue("shop", "q 1/2", rabbithole.QueueDeleteOptions{IfEmpty: true, IfUnused: true}))
		h.took(204)(h.DeleteExchange("shop", "x"))
	})

	t.Run("clients", func(t *testing.T) {
		h := hole{t, client}
		conn, err := amqp.DialConfig(p.amqpURL(), amqp.Config{Properties: amqp.Table{"connection_name": "loader"}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		closed := conn.NotifyClose(make(chan *amqp.Error, 1))
		ch := got[*amqp.Channel](h)(conn.Channel())
		q := got[amqp.Queue](h)(ch.QueueDeclare("jobs", true, false, false, false, nil))
		if err := ch.Qos(10, 0, false); err != nil {
			t.Fatal(err)
		}
		got[<-chan amqp.Delivery](h)(ch.Consume(q.Name, "ctag", false, false, false, false, nil))
		conns := got[[]rabbithole.ConnectionInfo](h)(h.ListConnections())
		if len(conns) != 1 || conns[0].User != "guest" || conns[0].Protocol != "AMQP 0-9-1" || conns[0].ClientProperties["connection_name"] != "loader" {
			t.Fatalf("connections: %+v", conns)
		}
		one := got[*rabbithole.ConnectionInfo](h)(h.GetConnection(conns[0].Name))
		if one.Name != conns[0].Name || one.PeerPort == 0 || one.ConnectedAt == 0 {
			t.Errorf("connection: %+v", one)
		}
		channels := got[[]rabbithole.ChannelInfo](h)(h.ListChannels())
		if len(channels) != 1 || channels[0].Number != 1 || channels[0].PrefetchCount != 10 || channels[0].ConnectionDetails.Name != one.Name {
			t.Errorf("channels: %+v", channels)
		}
		if c := got[*rabbithole.ChannelInfo](h)(h.GetChannel(channels[0].Name)); c.ConsumerCount != 1 {
			t.Errorf("channel: %+v", c)
		}
		consumers := got[[]rabbithole.ConsumerInfo](h)(h.ListConsumersIn("/"))
		if len(consumers) != 1 || consumers[0].Queue.Name != "jobs" || consumers[0].ConsumerTag != "ctag" || !bool(consumers[0].AcknowledgementMode) ||
			consumers[0].ChannelDetails.ConnectionName != one.Name {
			t.Errorf("consumers: %+v", consumers)
		}
		if n := len(got[[]rabbithole.ConnectionInfo](h)(h.ListVhostConnections("/"))); n != 1 {
			t.Errorf("%d connections in /", n)
		}
		h.took(204)(h.CloseConnection(one.Name))
		if why := <-closed; why == nil || why.Code != 320 {
			t.Errorf("the client was told %v", why)
		}
	})

	t.Run("node", func(t *testing.T) {
		h := hole{t, client}
		o := got[*rabbithole.Overview](h)(h.Overview())
		if o.Node != "rabbit@test" || len(o.Listeners) != 2 || len(o.Contexts) != 1 || len(o.ExchangeTypes) < 4 {
			t.Errorf("overview: %+v", o)
		}
		n := got[*rabbithole.NodeInfo](h)(h.GetNode("rabbit@test"))
		if !n.IsRunning || n.MemUsed == 0 || n.FdTotal == 0 || n.Uptime == 0 {
			t.Errorf("node: %+v", n)
		}
		if ports := got[map[string]rabbithole.Port](h)(h.ProtocolPorts()); ports["amqp"] == 0 || ports["http"] == 0 {
			t.Errorf("ports: %v", ports)
		}
		h.took(204)(h.SetClusterName(rabbithole.ClusterName{Name: "hares"}))
		if c := got[*rabbithole.ClusterName](h)(h.GetClusterName()); c.Name != "hares" {
			t.Errorf("cluster name: %+v", c)
		}
		if s := got[rabbithole.ResourceAlarmCheckStatus](h)(h.HealthCheckAlarms()); s.Status != "ok" {
			t.Errorf("alarms: %+v", s)
		}
		if s := got[rabbithole.ProtocolListenerCheckStatus](h)(h.HealthCheckProtocolListener(rabbithole.AMQP)); s.Status != "ok" {
			t.Errorf("listener: %+v", s)
		}
		if s := got[rabbithole.PortListenerCheckStatus](h)(h.HealthCheckPortListener(1)); s.Status != "failed" || s.Missing != 1 {
			t.Errorf("port: %+v", s)
		}
		for what, list := range map[string]func() (int, error){
			"policies":   func() (int, error) { l, err := h.ListPolicies(); return len(l), err },
			"parameters": func() (int, error) { l, err := h.ListRuntimeParameters(); return len(l), err },
		} {
			if n, err := list(); n != 0 || err != nil {
				t.Errorf("%s: %d, %v", what, n, err)
			}
		}
		if flags, err := h.ListFeatureFlags(); err != nil || len(flags) == 0 || flags[0].State != "enabled" {
			t.Errorf("feature flags: %v, %v", flags, err)
		}
	})

	defs := got[*rabbithole.ExportedDefinitions](h)(h.ListDefinitions())
	if defs.Queues == nil || len(*defs.Queues) != 1 || defs.Vhosts == nil || len(*defs.Vhosts) != 2 {
		t.Errorf("definitions: %+v", defs)
	}
	defs.Permissions = nil // The client's type for them has no user.
	h.took(204)(h.UploadDefinitions(defs))
	h.took(204)(h.DeleteVhost("shop"))
}

// cutLast cuts s at its last sep.
func cutLast(s string, sep byte) (before, after string) {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == sep {
			return s[:i], s[i+1:]
		}
	}
	return "", s
}
