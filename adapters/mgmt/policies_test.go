package mgmt

import (
	"fmt"
	"testing"
)

func TestPolicyRights(t *testing.T) {
	f := newFixture(t)
	for _, u := range []string{"management", "policymaker"} {
		f.user("u_"+u, u)
		f.must(f.broker.SetPermission("u_"+u, "/", all))
	}
	policy := `{"pattern":"^q","definition":{"max-length":10}}`
	for _, c := range []struct {
		method, path, user string
		status             int
	}{
		{"PUT", "/api/policies/%2F/p", "u_management", 401},
		{"PUT", "/api/policies/%2F/p", "u_policymaker", 201},
		{"PUT", "/api/policies/%2F/p", "u_policymaker", 204},
		{"GET", "/api/policies/%2F", "u_management", 200},
		{"GET", "/api/policies/%2F/p", "u_policymaker", 200},
		{"PUT", "/api/operator-policies/%2F/o", "u_policymaker", 401},
		{"PUT", "/api/operator-policies/%2F/o", "admin", 201},
		{"GET", "/api/operator-policies/%2F/o", "u_policymaker", 200},
		{"DELETE", "/api/operator-policies/%2F/o", "u_policymaker", 401},
		{"DELETE", "/api/operator-policies/%2F/o", "admin", 204},
		{"DELETE", "/api/operator-policies/%2F/o", "admin", 404},
		{"DELETE", "/api/policies/%2F/p", "u_management", 401},
		{"DELETE", "/api/policies/%2F/p", "u_policymaker", 204},
		{"PUT", "/api/policies/nowhere/p", "admin", 404},
		{"PUT", "/api/parameters/shovel/%2F/s", "u_management", 401},
		{"PUT", "/api/global-parameters/g", "u_management", 401},
	} {
		if a := f.do(c.method, c.path, c.user, policy); a.status != c.status {
			t.Errorf("%s %s as %s: %d, want %d: %s", c.method, c.path, c.user, a.status, c.status, a.body)
		}
	}
}

// TestPolicyInForce sees in objects what policies do to them.
func TestPolicyInForce(t *testing.T) {
	f := newFixture(t)
	f.want(201, "PUT", "/api/queues/%2F/q1", `{}`)
	f.want(201, "PUT", "/api/exchanges/%2F/q2", `{}`)
	// rabbitmqadmin sends numbers as strings.
	f.want(201, "PUT", "/api/policies/%2F/p", `{"pattern":"^q","definition":{"max-length":10,"alternate-exchange":"amq.fanout"},"priority":"5"}`)
	f.want(201, "PUT", "/api/operator-policies/%2F/o", `{"pattern":"^q","definition":{"max-length":7,"expires":3600000},"apply-to":"queues"}`)

	q := f.want(200, "GET", "/api/queues/%2F/q1", "").(map[string]any)
	got := fmt.Sprintln(q["policy"], q["operator_policy"], q["effective_policy_definition"])
	if want := "p o map[alternate-exchange:amq.fanout expires:3.6e+06 max-length:7]\n"; got != want {
		t.Errorf("queue: %s, want %s", got, want)
	}
	if x := f.want(200, "GET", "/api/exchanges/%2F/q2", "").(map[string]any); x["policy"] != "p" {
		t.Errorf("exchange: %v", x["policy"])
	}
	if x := f.want(200, "GET", "/api/exchanges/%2F/amq.topic", "").(map[string]any); x["policy"] != nil {
		t.Errorf("another exchange: %v", x["policy"])
	}

	// Definitions carry them from one broker to the next.
	defs := f.do("GET", "/api/definitions", "admin", "").body
	g := newFixture(t)
	g.want(204, "POST", "/api/definitions", string(defs))
	q = g.want(200, "GET", "/api/queues/%2F/q1", "").(map[string]any)
	if again := fmt.Sprintln(q["policy"], q["operator_policy"], q["effective_policy_definition"]); again != got {
		t.Errorf("after an import: %s, want %s", again, got)
	}

	f.want(204, "DELETE", "/api/policies/%2F/p", "")
	f.want(204, "DELETE", "/api/operator-policies/%2F/o", "")
	q = f.want(200, "GET", "/api/queues/%2F/q1", "").(map[string]any)
	if got := fmt.Sprintln(q["policy"], q["operator_policy"], q["effective_policy_definition"]); got != "<nil> <nil> map[]\n" {
		t.Errorf("without policies: %s", got)
	}
}

func TestParametersInForce(t *testing.T) {
	f := newFixture(t)
	f.want(201, "PUT", "/api/parameters/vhost-limits/%2F/limits", `{"value":{"max-queues":1}}`)
	f.want(201, "PUT", "/api/queues/%2F/q1", `{}`)
	a := f.want(400, "PUT", "/api/queues/%2F/q2", `{}`).(map[string]any)
	if a["reason"] != "cannot declare queue 'q2': queue limit in vhost '/' (1) is reached" {
		t.Errorf("refused with %v", a["reason"])
	}
	f.want(204, "DELETE", "/api/parameters/vhost-limits/%2F/limits", "")
	f.want(404, "DELETE", "/api/parameters/vhost-limits/%2F/limits", "")
	f.want(201, "PUT", "/api/queues/%2F/q2", `{}`)

	f.want(204, "PUT", "/api/cluster-name", `{"name":"hares"}`)
	if g := f.want(200, "GET", "/api/global-parameters/cluster_name", "").(map[string]any); g["value"] != "hares" {
		t.Errorf("the cluster's name is %v", g)
	}
	f.want(400, "PUT", "/api/global-parameters/g", `{}`)
	f.want(404, "GET", "/api/global-parameters/g", "")
}
