package core_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"leveret/core"
	"leveret/core/coretest"
)

// planned is a plan as lines, sorted.
func planned(p *core.DefinitionsPlan) string {
	var lines []string
	for _, i := range p.Add {
		lines = append(lines, fmt.Sprintf("add %s %s %s", i.Kind, i.VHost, i.Name))
	}
	for _, i := range p.Change {
		lines = append(lines, fmt.Sprintf("change %s %s %s: %s to %s", i.Kind, i.VHost, i.Name, i.Before, i.After))
	}
	for _, i := range p.Refuse {
		lines = append(lines, fmt.Sprintf("refuse %s %s %s: %s", i.Kind, i.VHost, i.Name, i.Reason))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestPlanDefinitions(t *testing.T) {
	e := coretest.NewEnv(t)
	for _, c := range []string{
		"queue same durable x-max-length=5", "queue other durable", "exchange x topic durable", "exchange unlike direct durable", "bind x same k", "user alice monitoring",
		"allow alice .* .* .*", "policy ha ^q max-length=5", "limit max-queues to=100",
	} {
		if out := e.Do(c); len(out) > 0 {
			t.Fatalf("%s: %v", c, out)
		}
	}
	before, err := e.Broker.ExportDefinitions("")
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.Broker.PlanDefinitions([]byte(`{
		"users": [{"name":"alice","tags":"administrator","password_hash":""},{"name":"bob","tags":[],"password_hash":""},{"name":"","tags":[]}],
		"vhosts": [{"name":"/","description":"Default virtual host"},{"name":"new"}],
		"permissions": [{"user":"alice","vhost":"/","configure":".*","write":".*","read":"^x"},{"user":"bob","vhost":"new","configure":"","write":"","read":""},
			{"user":"carol","vhost":"/","configure":"","write":"","read":""},{"user":"alice","vhost":"/","configure":"(","write":"","read":""}],
		"topic_permissions": [{"user":"alice","vhost":"/","exchange":"x","write":"a","read":"b"},{"user":"alice","vhost":"none","exchange":"x","write":"","read":""}],
		"global_parameters": [{"name":"cluster_name","value":"c"}],
		"policies": [{"vhost":"/","name":"ha","pattern":"^q","apply-to":"all","priority":7,"definition":{"max-length":5}},
			{"vhost":"/","name":"bad","pattern":"(","definition":{}},{"vhost":"none","name":"p","pattern":"","definition":{}}],
		"parameters": [{"vhost":"/","component":"vhost-limits","name":"limits","value":{"max-queues":100,"max-connections":5,"max-luck":1}},
			{"vhost":"/","component":"operator_policy","name":"op","value":{"pattern":"^q","definition":{"max-length":9}}}],
		"queues": [{"name":"same","vhost":"/","durable":true,"auto_delete":false,"arguments":{"x-max-length":5}},{"name":"other","vhost":"/","durable":false},
			{"name":"fresh","vhost":"new","type":"quorum"},{"name":"fresh","vhost":"/","arguments":{"x-max-length":-1}},{"name":"","vhost":"/"},{"name":"q","vhost":"none"}],
		"exchanges": [{"name":"x","vhost":"/","type":"topic","durable":true},{"name":"unlike","vhost":"/","type":"fanout","durable":true},
			{"name":"y","vhost":"new","type":"fanout"},{"name":"odd","vhost":"/","type":"x-odd"},{"name":"amq.topic","vhost":"/","type":"topic"}],
		"bindings": [{"source":"x","vhost":"/","destination":"same","destination_type":"queue","routing_key":"k"},{"source":"x","vhost":"/","destination":"same","routing_key":"k2"},
			{"source":"y","vhost":"new","destination":"fresh","destination_type":"queue","routing_key":""},{"source":"amq.topic","vhost":"new","destination":"y","destination_type":"exchange","routing_key":"#"},
			{"source":"x","vhost":"/","destination":"none","destination_type":"queue","routing_key":""},{"source":"x","vhost":"/","destination":"same","destination_type":"heap","routing_key":""},
			{"source":"","vhost":"/","destination":"same","destination_type":"queue","routing_key":"same"}]
	}`), "")
	if err != nil {
		t.Fatal(err)
	}
	const want = `add binding / x -> same (k2)
add binding new amq.topic -> y (#)
add binding new y -> fresh ()
add exchange new y
add global_parameter  cluster_name
add operator_policy / op
add permission new bob
add queue new fresh
add topic_permission / alice x
add user  bob
add vhost  new
add vhost_limit / max-connections
change permission / alice: {"user":"alice","vhost":"/","configure":".*","write":".*","read":".*"} to {"user":"alice","vhost":"/","configure":".*","write":".*","read":"^x"}
change policy / ha: {"pattern":"^q","apply-to":"all","definition":{"max-length":5},"priority":0} to {"pattern":"^q","apply-to":"all","definition":{"max-length":5},"priority":7}
change user  alice: {"name":"alice","tags":["monitoring"],"limits":{}} to {"name":"alice","tags":["administrator"],"limits":{}}`
	got := planned(p)
	if !strings.HasPrefix(got, want+"\n") {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, refused := range []string{
		"refuse binding / x -> none (): one of its ends does not exist", "refuse binding / x -> same (): its destination is neither a queue nor an exchange",
		"refuse exchange / odd: this release does not serve exchange type 'x-odd'",
		"refuse exchange / unlike: inequivalent arg 'type' for exchange 'unlike' in vhost '/': received 'fanout' but current is 'direct'",
		"refuse permission / carol: its user does not exist", "refuse permission / alice: ", "refuse policy / bad: ", "refuse policy none p: its virtual host does not exist",
		"refuse queue / : it has no name", "refuse queue / fresh: invalid arg 'x-max-length'", "refuse queue none q: its virtual host does not exist",
		"refuse queue / other: inequivalent arg 'durable' for queue 'other' in vhost '/': received 'false' but current is 'true'",
		"refuse topic_permission none alice: its virtual host does not exist", "refuse user  : it has no name", "refuse vhost_limit / max-luck: the limit is not known",
	} {
		if !strings.Contains(got, "\n"+refused) {
			t.Errorf("missing: %s\n%s", refused, got)
		}
	}
	if n := strings.Count(got, "refuse "); n != len(p.Refuse) || n != 15 || p.Same != 5 {
		t.Errorf("%d refused, %d the same\n%s", n, p.Same, got)
	}
	if after, _ := e.Broker.ExportDefinitions(""); string(after) != string(before) {
		t.Error("a plan changes something")
	}
	if _, err := e.Broker.PlanDefinitions([]byte(`[]`), ""); err == nil {
		t.Error("an array is a file")
	}
	if _, err := e.Broker.PlanDefinitions(nil, "none"); err == nil {
		t.Error("a virtual host that is not there")
	}
}

// What is exported is the same as what is there; what a plan would add is there
// after the import.
func TestPlanTellsWhatAnImportDoes(t *testing.T) {
	files, err := filepath.Glob("testdata/definitions/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			e := coretest.NewEnv(t)
			if _, err := e.Broker.ImportDefinitions(data, ""); err != nil {
				t.Fatal(err)
			}
			p, err := e.Broker.PlanDefinitions(data, "")
			if err != nil || len(p.Add)+len(p.Change) > 0 {
				t.Errorf("after the import: %v\n%s", err, planned(p))
			}
			out, err := e.Broker.ExportDefinitions("")
			if err != nil {
				t.Fatal(err)
			}
			if p, err = e.Broker.PlanDefinitions(out, ""); err != nil || len(p.Add)+len(p.Change)+len(p.Refuse) > 0 {
				t.Errorf("what was exported: %v\n%s", err, planned(p))
			}
			empty := coretest.NewEnv(t)
			if p, err = empty.Broker.PlanDefinitions(out, ""); err != nil || len(p.Refuse) > 0 {
				t.Fatalf("elsewhere: %v\n%s", err, planned(p))
			}
			if _, err := empty.Broker.ImportDefinitions(out, ""); err != nil {
				t.Fatal(err)
			}
			if p, err = empty.Broker.PlanDefinitions(out, ""); err != nil || len(p.Add)+len(p.Change)+len(p.Refuse) > 0 {
				t.Errorf("after the second import: %v\n%s", err, planned(p))
			}
		})
	}
}

// FuzzPlanDefinitions imports whatever it is given: a file is taken or refused,
// and what is taken can be exported and is planned as the same.
func FuzzPlanDefinitions(f *testing.F) {
	files, _ := filepath.Glob("testdata/definitions/*.json")
	for _, name := range files {
		if data, err := os.ReadFile(name); err == nil {
			f.Add(data, "")
		}
	}
	f.Add([]byte(`{"queues":[{"name":"q","durable":true,"arguments":{"x-max-length":1}}],"limits":{"max-queues":3},"metadata":{"tags":"a,b"}}`), "/")
	f.Fuzz(func(t *testing.T, data []byte, vhost string) {
		b, err := core.New(core.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		plan, planErr := b.PlanDefinitions(data, vhost)
		if planErr == nil && !json.Valid(mustJSON(t, plan)) {
			t.Fatal("a plan without words")
		}
		if _, err := b.ImportDefinitions(data, vhost); err != nil {
			return
		}
		if planErr != nil {
			t.Fatalf("imported, and not planned: %v", planErr)
		}
		out, err := b.ExportDefinitions("")
		if err != nil {
			t.Fatal(err)
		}
		p, err := b.PlanDefinitions(out, "")
		if err != nil || len(p.Add)+len(p.Change)+len(p.Refuse) > 0 {
			t.Fatalf("%v\n%s\n%s", err, planned(p), out)
		}
	})
}

func mustJSON(t *testing.T, v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
