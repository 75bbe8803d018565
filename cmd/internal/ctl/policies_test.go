package ctl

import (
	"strings"
	"testing"

	"leveret/core"
)

func TestPolicies(t *testing.T) {
	r := newRig(t)
	guest, _ := r.broker.Auth().User("guest")
	s, err := r.broker.OpenSession(core.SessionOptions{VHost: "/", User: guest, Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.DeclareQueue(core.QueueDeclare{Name: "jobs", Durable: true}); err != nil {
		t.Fatal(err)
	}
	header := "vhost\tname\tpattern\tapply-to\tdefinition\tpriority\n"
	r.wants(0, "set_policy ttl ^jobs '{\"message-ttl\": 1000}' --priority 3 --apply-to queues",
		"Setting policy \"ttl\" for pattern \"^jobs\" to \"{\"message-ttl\": 1000}\" with priority \"3\" for vhost \"/\" ...\n")
	r.wants(0, "-q set_policy len .* '{\"max-length\":5}'", "")
	r.wants(0, "list_policies", "Listing policies for vhost \"/\" ...\n"+header+
		"/\tlen\t.*\tall\t{\"max-length\":5}\t0\n/\tttl\t^jobs\tqueues\t{\"message-ttl\":1000}\t3\n")
	r.wants(0, "list_policies --formatter json", "[\n"+
		"{\"vhost\":\"/\",\"name\":\"len\",\"pattern\":\".*\",\"apply-to\":\"all\",\"definition\":{\"max-length\":5},\"priority\":0}\n,"+
		"{\"vhost\":\"/\",\"name\":\"ttl\",\"pattern\":\"^jobs\",\"apply-to\":\"queues\",\"definition\":{\"message-ttl\":1000},\"priority\":3}\n]\n")
	r.wants(0, "-q set_operator_policy o jobs '{\"message-ttl\":500}'", "")
	r.wants(0, "-q list_operator_policies", header+"/\to\tjobs\tall\t{\"message-ttl\":500}\t0\n")
	r.wants(0, "-q list_queues name policy operator_policy effective_policy_definition",
		"name\tpolicy\toperator_policy\teffective_policy_definition\njobs\tttl\to\t[{\"message-ttl\",500}]\n")
	r.wants(0, "-q clear_operator_policy o", "")
	r.wants(0, "clear_policy ttl", "Clearing policy \"ttl\" on vhost \"/\" ...\n")
	r.wants(0, "-q list_queues name policy", "name\tpolicy\njobs\tlen\n")

	for line, why := range map[string]string{
		"clear_policy ttl":                         "does not exist",
		"clear_operator_policy o":                  "does not exist",
		"set_policy bad .* nonsense":               "Could not parse JSON document",
		"set_policy bad .* '{\"bogus\":1}'":        "not recognised policy settings",
		"set_policy bad ( '{\"max-length\":1}'":    "regular expression",
		"set_policy -p no p .* '{\"expires\":1}'":  "Virtual host 'no' does not exist",
		"list_policies -p no":                      "Virtual host 'no' does not exist",
		"set_policy bad .* '{\"expires\":\"no\"}'": "is not a valid queue expiry",
	} {
		if _, errs, code := ctl(line, ""); code != exitUnavailable || !strings.Contains(errs, why) {
			t.Errorf("%s: exit code %d, %s", line, code, errs)
		}
	}
}

func TestParameters(t *testing.T) {
	r := newRig(t)
	r.wants(0, "set_parameter shovel s '{\"src-uri\":\"amqp://\"}'",
		"Setting runtime parameter \"s\" for component \"shovel\" to \"{\"src-uri\":\"amqp://\"}\" in vhost \"/\" ...\n")
	r.wants(0, "-q set_parameter vhost-limits limits '{\"max-queues\":7}'", "")
	r.wants(0, "-q list_vhost_limits", "vhost\tlimits\n/\t{\"max-queues\":7}\n")
	r.wants(0, "-q list_parameters", "component\tname\tvalue\nvhost-limits\tlimits\t{\"max-queues\":7}\nshovel\ts\t{\"src-uri\":\"amqp://\"}\n")
	r.wants(0, "-q clear_parameter shovel s", "")
	r.wants(0, "-q clear_parameter vhost-limits limits", "")
	r.wants(0, "-q list_parameters", "")
	r.wants(69, "clear_parameter shovel s", "")
	r.wants(69, "set_parameter bogus s 1", "")
	r.wants(69, "set_parameter shovel s {", "")
	r.wants(69, "set_parameter policy p {}", "")

	r.wants(0, "set_global_parameter place '\"here\"'", "Setting global runtime parameter \"place\" to \"\"here\"\" ...\n")
	r.wants(0, "-q list_global_parameters", "name\tvalue\nplace\t\"here\"\n")
	r.wants(0, "clear_global_parameter place", "Clearing global runtime parameter \"place\" ...\n")
	r.wants(69, "clear_global_parameter place", "")
	r.wants(0, "-q list_global_parameters", "")
}
