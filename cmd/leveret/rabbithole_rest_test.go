package main

import (
	"net/url"
	"testing"

	rabbithole "github.com/michaelklishin/rabbit-hole/v2"
)

// TestRabbitHoleOperations drives what operators do through the Go client:
// policies, parameters, shovels, health checks, and every list.
func TestRabbitHoleOperations(t *testing.T) {
	p := serving(t, "--node-name=rabbit@test")
	client, err := rabbithole.NewClient(p.httpURL(), "guest", "guest")
	if err != nil {
		t.Fatal(err)
	}
	h := hole{t, client}
	h.SetTimeout(patience)
	h.took(201)(h.PutVhost("ops", rabbithole.VhostSettings{}))
	h.took(201)(h.PutUser("app", rabbithole.UserSettings{Password: "secret"}))
	h.took(201)(h.UpdateTopicPermissionsIn("ops", "app", rabbithole.TopicPermissions{Exchange: "amq.topic", Write: "^w", Read: "^r"}))
	h.took(201)(h.DeclareExchange("ops", "x", rabbithole.ExchangeSettings{Type: "topic", Durable: true}))
	h.took(201)(h.DeclareExchange("ops", "y", rabbithole.ExchangeSettings{Type: "fanout", Durable: true}))
	for _, name := range []string{"a", "b", "c"} {
		h.took(201)(h.DeclareQueue("ops", name, rabbithole.QueueSettings{Durable: true}))
	}
	h.took(201)(h.DeclareBinding("ops", rabbithole.BindingInfo{Source: "x", Vhost: "ops", Destination: "a", DestinationType: "queue", RoutingKey: "k"}))
	h.took(201)(h.DeclareBinding("ops", rabbithole.BindingInfo{Source: "x", Vhost: "ops", Destination: "y", DestinationType: "exchange", RoutingKey: "k"}))

	t.Run("policies", func(t *testing.T) {
		h := hole{t, client}
		h.took(201)(h.PutPolicy("ops", "p", rabbithole.Policy{Pattern: "^a$", ApplyTo: "queues", Priority: 2, Definition: rabbithole.PolicyDefinition{"max-length": 10}}))
		if p := got[*rabbithole.Policy](h)(h.GetPolicy("ops", "p")); p.Priority != 2 || p.Definition["max-length"] != float64(10) {
			t.Errorf("policy: %+v", p)
		}
		if q := got[*rabbithole.DetailedQueueInfo](h)(h.GetQueueWithParameters("ops", "a", url.Values{"lengths_age": {"60"}, "lengths_incr": {"5"}})); q.Policy != "p" {
			t.Errorf("the queue has policy %q", q.Policy)
		}
		if n := len(got[[]rabbithole.Policy](h)(h.ListPoliciesIn("ops"))); n != 1 {
			t.Errorf("%d policies", n)
		}
		h.took(204)(h.DeletePolicy("ops", "p"))
		h.took(201)(h.PutOperatorPolicy("ops", "o", rabbithole.OperatorPolicy{Pattern: ".*", ApplyTo: "queues", Definition: rabbithole.PolicyDefinition{"max-length": 5}}))
		if o := got[*rabbithole.OperatorPolicy](h)(h.GetOperatorPolicy("ops", "o")); o.Pattern != ".*" {
			t.Errorf("operator policy: %+v", o)
		}
		if n, m := len(got[[]rabbithole.OperatorPolicy](h)(h.ListOperatorPolicies())), len(got[[]rabbithole.OperatorPolicy](h)(h.ListOperatorPoliciesIn("ops"))); n != 1 || m != 1 {
			t.Errorf("%d and %d operator policies", n, m)
		}
		h.took(204)(h.DeleteOperatorPolicy("ops", "o"))
	})

	t.Run("parameters", func(t *testing.T) {
		h := hole{t, client}
		h.took(201)(h.PutGlobalParameter("g", map[string]any{"a": 1}))
		if g := got[*rabbithole.GlobalRuntimeParameter](h)(h.GetGlobalParameter("g")); g.Name != "g" {
			t.Errorf("global parameter: %+v", g)
		}
		if n := len(got[[]rabbithole.GlobalRuntimeParameter](h)(h.ListGlobalParameters())); n < 1 {
			t.Errorf("%d global parameters", n)
		}
		h.took(204)(h.DeleteGlobalParameter("g"))
		def := rabbithole.FederationDefinition{Uri: rabbithole.URISet{"amqp://elsewhere"}, Expires: 1000}
		h.took(201)(h.PutFederationUpstream("ops", "up", def))
		if up := got[*rabbithole.FederationUpstream](h)(h.GetFederationUpstream("ops", "up")); up.Definition.Expires != 1000 {
			t.Errorf("upstream: %+v", up)
		}
		if n, m := len(got[[]rabbithole.FederationUpstream](h)(h.ListFederationUpstreams())), len(got[[]rabbithole.FederationUpstream](h)(h.ListFederationUpstreamsIn("ops"))); n != 1 || m != 1 {
			t.Errorf("%d and %d upstreams", n, m)
		}
		if n, m := len(got[[]map[string]any](h)(h.ListFederationLinks())), len(got[[]map[string]any](h)(h.ListFederationLinksIn("ops"))); n != 0 || m != 0 {
			t.Errorf("%d and %d links", n, m)
		}
		if p := got[*rabbithole.RuntimeParameter](h)(h.GetRuntimeParameter("federation-upstream", "ops", "up")); p.Component != "federation-upstream" {
			t.Errorf("parameter: %+v", p)
		}
		if n, m := len(got[[]rabbithole.RuntimeParameter](h)(h.ListRuntimeParametersFor("federation-upstream"))), len(got[[]rabbithole.RuntimeParameter](h)(h.ListRuntimeParametersIn("federation-upstream", "ops"))); n != 1 || m != 1 {
			t.Errorf("%d and %d parameters", n, m)
		}
		h.took(204)(h.DeleteFederationUpstream("ops", "up"))
		h.took(201)(h.PutRuntimeParameter("federation-upstream", "ops", "other", def))
		h.took(204)(h.DeleteRuntimeParameter("federation-upstream", "ops", "other"))
		if err := h.DeleteAllRuntimeParameters(); err != nil {
			t.Error(err)
		}
	})

	t.Run("shovels", func(t *testing.T) {
		h := hole{t, client}
		h.took(201)(h.DeclareShovel("ops", "s", rabbithole.ShovelDefinition{
			SourceURI: rabbithole.URISet{"amqp:///ops"}, SourceQueue: "b", DestinationURI: rabbithole.URISet{"amqp:///ops"}, DestinationQueue: "c", AckMode: "on-confirm",
		}))
		if s := got[*rabbithole.ShovelInfo](h)(h.GetShovel("ops", "s")); s.Definition.SourceQueue != "b" {
			t.Errorf("shovel: %+v", s)
		}
		if n, m := len(got[[]rabbithole.ShovelInfo](h)(h.ListShovels())), len(got[[]rabbithole.ShovelInfo](h)(h.ListShovelsIn("ops"))); n != 1 || m != 1 {
			t.Errorf("%d and %d shovels", n, m)
		}
		until(t, "the shovel to run", func() bool {
			list := got[[]rabbithole.ShovelStatus](h)(h.ListShovelStatus("ops"))
			return len(list) == 1 && list[0].State == "running"
		})
		h.took(204)(h.DeleteShovel("ops", "s"))
	})

	t.Run("lists", func(t *testing.T) {
		h := hole{t, client}
		for what, list := range map[string]struct {
			least int
			list  func() (int, error)
		}{
			"bindings":            {5, func() (int, error) { l, err := h.ListBindings(); return len(l), err }},
			"bindings of a vhost": {5, func() (int, error) { l, err := h.ListBindingsIn("ops"); return len(l), err }},
			"bindings from x": {2, func() (int, error) {
				l, err := h.ListExchangeBindings("ops", "x", rabbithole.BindingSource)
				return len(l), err
			}},
			"bindings to y":     {1, func() (int, error) { l, err := h.ListExchangeBindingsWithDestination("ops", "y"); return len(l), err }},
			"bindings x to y":   {1, func() (int, error) { l, err := h.ListExchangeBindingsBetween("ops", "x", "y"); return len(l), err }},
			"consumers":         {0, func() (int, error) { l, err := h.ListConsumers(); return len(l), err }},
			"exchanges":         {16, func() (int, error) { l, err := h.ListExchanges(); return len(l), err }},
			"nodes":             {1, func() (int, error) { l, err := h.ListNodes(); return len(l), err }},
			"permissions":       {2, func() (int, error) { l, err := h.ListPermissions(); return len(l), err }},
			"protocols":         {2, func() (int, error) { l, err := h.EnabledProtocols(); return len(l), err }},
			"queues":            {3, func() (int, error) { l, err := h.ListQueues(); return len(l), err }},
			"queues of a vhost": {3, func() (int, error) { l, err := h.ListQueuesIn("ops"); return len(l), err }},
			"queues with rates": {3, func() (int, error) {
				l, err := h.ListQueuesWithParameters(url.Values{"msg_rates_age": {"60"}, "msg_rates_incr": {"5"}})
				return len(l), err
			}},
			"queues in, sorted": {3, func() (int, error) {
				l, err := h.ListQueuesWithParametersIn("ops", url.Values{"sort": {"name"}})
				return len(l), err
			}},
			"topic permissions":     {1, func() (int, error) { l, err := h.ListTopicPermissions(); return len(l), err }},
			"topic permissions of":  {1, func() (int, error) { l, err := h.ListTopicPermissionsOf("app"); return len(l), err }},
			"user limits":           {0, func() (int, error) { l, err := h.GetAllUserLimits(); return len(l), err }},
			"limits of a vhost":     {0, func() (int, error) { l, err := h.GetVhostLimits("ops"); return len(l), err }},
			"definitions, exchange": {2, func() (int, error) { d, err := h.ListVhostDefinitions("ops"); return len(*d.Exchanges), err }},
		} {
			if n, err := list.list(); n < list.least || err != nil {
				t.Errorf("%s: %d, %v", what, n, err)
			}
		}
		if page := got[rabbithole.PagedQueueInfo](h)(h.PagedListQueuesWithParametersIn("ops", url.Values{"page": {"1"}, "page_size": {"2"}})); len(page.Items) != 2 || page.TotalCount != 3 {
			t.Errorf("page: %+v", page)
		}
	})

	t.Run("health", func(t *testing.T) {
		h := hole{t, client}
		if s := got[rabbithole.ResourceAlarmCheckStatus](h)(h.HealthCheckLocalAlarms()); s.Status != "ok" {
			t.Errorf("alarms: %+v", s)
		}
		for what, check := range map[string]func() (rabbithole.HealthCheckStatus, error){
			"certificates": func() (rabbithole.HealthCheckStatus, error) {
				return h.HealthCheckCertificateExpiration(1, rabbithole.MONTHS)
			},
			"vhosts": h.HealthCheckVirtualHosts, "mirrors": h.HealthCheckNodeIsMirrorSyncCritical, "quorum": h.HealthCheckNodeIsQuorumCritical,
		} {
			if s, err := check(); err != nil || s.Status != "ok" {
				t.Errorf("%s: %+v, %v", what, s, err)
			}
		}
		h.took(204)(h.EnableFeatureFlag("quorum_queue"))
		h.took(204)(h.ClearTopicPermissionsIn("ops", "app"))
		h.took(204)(h.SyncQueue("ops", "a"))
		h.took(204)(h.CancelSyncQueue("ops", "a"))
	})
}
