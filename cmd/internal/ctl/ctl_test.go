package ctl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"leveret/adapters/mgmt"
	"leveret/core"
	"leveret/core/auth"
)

// rig is a broker with its API, and ctl pointed at it.
type rig struct {
	*testing.T
	broker *core.Broker
	dir    string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	b, err := core.New(core.Options{NodeName: "rabbit@test"})
	if err != nil {
		t.Fatal(err)
	}
	s := mgmt.NewServer(mgmt.Options{
		Broker: b, Version: "9.8.7", Logger: slog.New(slog.DiscardHandler),
		Listeners: []mgmt.Listener{{Protocol: "amqp", Addr: &net.TCPAddr{IP: net.IPv6unspecified, Port: 5672}}},
		Control:   &process{broker: b},
	})
	web := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		web.Close()
		b.Close()
	})
	t.Setenv("LEVERET_URL", web.URL)
	t.Setenv("LEVERET_USER", "")
	t.Setenv("LEVERET_PASSWORD", "")
	return &rig{t, b, t.TempDir()}
}

// process is what operators can ask for, without a process.
type process struct {
	broker    *core.Broker
	suspended atomic.Bool
}

func (p *process) Stop(string)     {}
func (p *process) Suspend()        { p.suspended.Store(true) }
func (p *process) Resume()         { p.suspended.Store(false) }
func (p *process) Suspended() bool { return p.suspended.Load() }
func (p *process) Reset() error    { return p.broker.Reset(false) }

// ctl runs a command line; words with spaces stand between ' quotes.
func ctl(line, stdin string) (out, errs string, code int) {
	var words []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	var o, e bytes.Buffer
	code = Main("rabbitmqctl", words, strings.NewReader(stdin), &o, &e)
	return o.String(), e.String(), code
}

// wants runs a command line and compares exit code and output.
func (r *rig) wants(code int, line, out string) {
	r.Helper()
	got, errs, is := ctl(line, "")
	if is != code {
		r.Errorf("%s: exit code %d, want %d\n%s%s", line, is, code, got, errs)
	} else if out != "" && got != out {
		r.Errorf("%s: it prints\n%s\nwant\n%s", line, got, out)
	}
	if (code != 0) != (errs != "") {
		r.Errorf("%s: exit code %d with errors %q", line, is, errs)
	}
}

func TestUsers(t *testing.T) {
	r := newRig(t)
	r.wants(0, "add_user app secret", "Adding user \"app\" ...\nDone. Don't forget to grant the user permissions to some virtual hosts! See 'help set_permissions' to learn more.\n")
	r.wants(70, "add_user app secret", "")
	r.wants(64, "add_user", "")
	r.wants(0, "-q set_user_tags app monitoring x", "")
	r.wants(0, "list_users", "Listing users ...\nuser\ttags\napp\t[monitoring, x]\nguest\t[administrator]\n")
	r.wants(0, "list_users -q", "user\ttags\napp\t[monitoring, x]\nguest\t[administrator]\n")
	r.wants(0, "list_users -s", "app\t[monitoring, x]\nguest\t[administrator]\n")
	r.wants(0, "list_users --no-table-headers", "Listing users ...\napp\t[monitoring, x]\nguest\t[administrator]\n")
	r.wants(0, "list_users --formatter json", "[\n{\"user\":\"app\",\"tags\":[\"monitoring\",\"x\"]}\n,{\"user\":\"guest\",\"tags\":[\"administrator\"]}\n]\n")
	r.wants(0, "list_users --formatter csv", "user,tags\n\"app\",\"[monitoring, x]\"\n\"guest\",\"[administrator]\"\n")
	r.wants(0, "list_users --formatter pretty_table -q", ""+
		"┌───────┬─────────────────┐\n│ user  │ tags            │\n├───────┼─────────────────┤\n│ app   │ [monitoring, x] │\n"+
		"├───────┼─────────────────┤\n│ guest │ [administrator] │\n└───────┴─────────────────┘\n")
	r.wants(64, "list_users --formatter xml", "")
	r.wants(0, "authenticate_user app secret", "Authenticating user \"app\" ...\nSuccess\n")
	r.wants(65, "authenticate_user app wrong", "")
	r.wants(0, "-q set_user_tags app", "")
	r.wants(0, "authenticate_user app secret -q", "Success\n") // Without a tag too.
	r.wants(0, "-q change_password app other", "")
	r.wants(0, "-q authenticate_user app other", "Success\n")
	if out, errs, code := ctl("add_user -q piped", "from-stdin\r\n"); code != 0 {
		t.Errorf("password from standard input: %d %s%s", code, out, errs)
	}
	r.wants(0, "-q authenticate_user piped from-stdin", "Success\n")
	r.wants(65, "add_user -q nobody", "")
	hash, err := auth.HashPassword("hashed", "")
	if err != nil {
		t.Fatal(err)
	}
	r.wants(0, "-q add_user --pre-hashed-password h "+hash, "")
	r.wants(0, "-q authenticate_user h hashed", "Success\n")
	r.wants(0, "-q clear_password h", "")
	r.wants(65, "-q authenticate_user h hashed", "")
	for _, verb := range []string{"delete_user nope", "change_password nope x", "set_user_tags nope x", "clear_password nope", "set_permissions nope .* .* .*", "set_user_limits nope {\"max-channels\":1}"} {
		r.wants(67, verb, "")
	}
	r.wants(0, "set_user_limits app '{\"max-connections\": 3, \"max-channels\": 4}'", "")
	r.wants(0, "-q list_user_limits", "user\tlimits\napp\t{\"max-channels\":4,\"max-connections\":3}\n")
	r.wants(0, "-q clear_user_limits app max-channels", "")
	r.wants(0, "-q list_user_limits --user-name app --formatter json", "[\n{\"user\":\"app\",\"limits\":{\"max-connections\":3}}\n]\n")
	r.wants(0, "-q clear_user_limits app all", "")
	r.wants(0, "-q list_user_limits", "")
	r.wants(69, "set_user_limits app {\"max-nonsense\":1}", "")
	r.wants(65, "set_user_limits app nonsense", "")
	r.wants(0, "delete_user app", "Deleting user \"app\" ...\n")
}

func TestVHostsAndPermissions(t *testing.T) {
	r := newRig(t)
	r.wants(0, "add_vhost shop --description 'for selling' --tags a,b", "Adding vhost \"shop\" ...\n")
	r.wants(0, "add_vhost shop", "")
	r.wants(0, "list_vhosts", "Listing vhosts ...\nname\n/\nshop\n")
	r.wants(0, "-q list_vhosts name description tags", "name\tdescription\ttags\n/\tDefault virtual host\t[]\nshop\tfor selling\t[a, b]\n")
	r.wants(65, "delete_vhost nope", "")
	r.wants(65, "add_vhost odd --default-queue-type odd", "")
	r.wants(0, "-q add_user app secret", "")
	r.wants(0, "set_permissions -p shop app '^app-.*' '.*' ''", "Setting permissions for user \"app\" in vhost \"shop\" ...\n")
	r.wants(0, "list_permissions -p shop", "Listing permissions for vhost \"shop\" ...\nuser\tconfigure\twrite\tread\napp\t^app-.*\t.*\t\nguest\t.*\t.*\t.*\n")
	r.wants(0, "list_user_permissions app", "Listing permissions for user \"app\" ...\nvhost\tconfigure\twrite\tread\nshop\t^app-.*\t.*\t\n")
	r.wants(69, "set_permissions -p nope app '' '' ''", "")
	r.wants(69, "set_permissions -p shop app '(' '' ''", "")
	r.wants(69, "list_permissions -p nope", "")
	r.wants(69, "list_user_permissions nope", "")
	r.wants(0, "-q set_topic_permissions -p shop app amq.topic ^w ^r", "")
	r.wants(0, "-q list_topic_permissions -p shop", "user\texchange\twrite\tread\napp\tamq.topic\t^w\t^r\n")
	r.wants(0, "-q list_user_topic_permissions app", "vhost\texchange\twrite\tread\nshop\tamq.topic\t^w\t^r\n")
	r.wants(0, "-q clear_topic_permissions -p shop app amq.topic", "")
	r.wants(0, "-q clear_topic_permissions -p shop app", "") // Nothing is left to clear.
	r.wants(0, "-q clear_permissions -p shop app", "")
	r.wants(0, "-q clear_permissions -p shop app", "")
	r.wants(69, "clear_permissions -p nope app", "")
	r.wants(0, "-q set_vhost_limits -p shop {\"max-queues\":5}", "")
	r.wants(0, "-q list_vhost_limits -p shop", "vhost\tlimits\nshop\t{\"max-queues\":5}\n")
	r.wants(0, "-q list_vhost_limits --global", "vhost\tlimits\nshop\t{\"max-queues\":5}\n")
	r.wants(0, "-q clear_vhost_limits -p shop", "")
	r.wants(0, "-q list_vhost_limits -p shop", "")
	r.wants(69, "list_vhost_limits -p nope", "")
	r.wants(0, "-q delete_vhost shop", "")
	r.wants(0, "add_vhost traced", "")
	r.wants(0, "trace_on -p traced", "Starting tracing for vhost \"traced\" ...\nTrace enabled for vhost traced\n")
	r.wants(0, "-s list_vhosts name tracing", "/\tfalse\ntraced\ttrue\n")
	r.wants(0, "-q trace_off -p traced", "Trace disabled for vhost traced\n")
	r.wants(69, "trace_on -p nope", "")
	r.wants(69, "trace_off -p nope", "")
	r.wants(0, "delete_vhost traced", "")
	r.wants(0, "-s list_audit user via act object outcome --formatter csv", "")
	if out, _, _ := ctl("-s list_audit user via act object vhost outcome", ""); !strings.HasPrefix(out, "guest\tctl\tdelete vhost\ttraced\t\tok\nguest\tctl\tset vhost\ttraced\t\tok\n") {
		r.Errorf("list_audit prints\n%s", out)
	}
}

func TestObjects(t *testing.T) {
	r := newRig(t)
	guest, _ := r.broker.Auth().User("guest")
	s, err := r.broker.OpenSession(core.SessionOptions{VHost: "/", User: guest, Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	declare := func(name string, args core.Table) {
		t.Helper()
		if _, err := s.DeclareQueue(core.QueueDeclare{Name: name, Durable: true, Arguments: args}); err != nil {
			t.Fatal(err)
		}
	}
	r.wants(0, "list_queues", "Timeout: 60.0 seconds ...\nListing queues for vhost / ...\n")
	declare("jobs", core.Table{{Name: "x-expires", Value: int64(60000)}, {Name: "x-queue-mode", Value: "lazy"}})
	declare("tab\there", nil)
	if err := s.Bind(core.Binding{Source: "amq.topic", Destination: "jobs", Key: "a.#", Arguments: core.Table{{Name: "k", Value: true}}}); err != nil {
		t.Fatal(err)
	}
	r.wants(0, "-q list_queues", "name\tmessages\njobs\t0\ntab\\there\t0\n")
	r.wants(0, "-q -t 5 list_queues name arguments durable policy", "name\targuments\tdurable\tpolicy\njobs\t[{\"x-expires\",60000},{\"x-queue-mode\",\"lazy\"}]\ttrue\t\ntab\\there\t[]\ttrue\t\n")
	r.wants(0, "-q list_queues name arguments --formatter json", "[\n{\"name\":\"jobs\",\"arguments\":{\"x-expires\":60000,\"x-queue-mode\":\"lazy\"}}\n,{\"name\":\"tab\\there\",\"arguments\":{}}\n]\n")
	r.wants(0, "-q list_queues name messages_delayed messages_leaving", "name\tmessages_delayed\tmessages_leaving\njobs\t0\t0\ntab\\there\t0\t0\n")
	r.wants(64, "list_queues nonsense", "")
	r.wants(0, "-q list_queues -p nope", "")
	r.wants(0, "-q list_exchanges name type durable", "name\ttype\tdurable\n\tdirect\ttrue\namq.direct\tdirect\ttrue\namq.fanout\tfanout\ttrue\namq.headers\theaders\ttrue\namq.match\theaders\ttrue\namq.rabbitmq.trace\ttopic\ttrue\namq.topic\ttopic\ttrue\n")
	r.wants(0, "-q list_bindings", "source_name\tsource_kind\tdestination_name\tdestination_kind\trouting_key\targuments\n"+
		"\texchange\tjobs\tqueue\tjobs\t[]\n\texchange\ttab\\there\tqueue\ttab\\there\t[]\namq.topic\texchange\tjobs\tqueue\ta.#\t[{\"k\",true}]\n")
	r.wants(0, "purge_queue jobs", "Purging queue 'jobs' in vhost '/' ...\n")
	r.wants(69, "purge_queue nope", "")
	r.wants(64, "delete_queue nope", "")
	r.wants(0, "delete_queue -e -u jobs", "Deleting queue 'jobs' on vhost '/' ...\nQueue was successfully deleted with 0 ready messages\n")
	r.wants(0, "-q list_consumers", "")
	r.wants(0, "-q list_channels", "")
}

func TestConnections(t *testing.T) {
	r := newRig(t)
	guest, _ := r.broker.Auth().User("guest")
	reasons := map[string]string{}
	for _, name := range []string{"10.0.0.1:1 -> 10.0.0.2:5672", "10.0.0.1:2 -> 10.0.0.2:5672"} {
		s, err := r.broker.OpenSession(core.SessionOptions{VHost: "/", User: guest, Loopback: true})
		if err != nil {
			t.Fatal(err)
		}
		var row *core.Row
		row = r.broker.Registry().Add(core.RowOptions{
			Kind: "connection", Name: name, Session: s,
			Attributes: func() map[string]any {
				return map[string]any{"protocol": "AMQP 0-9-1", "user": "guest", "peer_host": "10.0.0.1", "peer_port": 1, "state": "running"}
			},
			Close: func(why string) { reasons[name] = why; row.Remove() },
		})
	}
	r.wants(0, "list_connections", "Listing connections ...\nuser\tpeer_host\tpeer_port\tstate\nguest\t10.0.0.1\t1\trunning\nguest\t10.0.0.1\t1\trunning\n")
	r.wants(0, "-q list_connections pid", "pid\n10.0.0.1:1 -> 10.0.0.2:5672\n10.0.0.1:2 -> 10.0.0.2:5672\n")
	r.wants(0, "close_connection '10.0.0.1:1 -> 10.0.0.2:5672' tea time", "Closing connection 10.0.0.1:1 -> 10.0.0.2:5672, reason: tea time...\n")
	r.wants(69, "close_connection '10.0.0.1:1 -> 10.0.0.2:5672' again", "")
	r.wants(64, "close_connection '' why", "")
	r.wants(69, "close_all_connections -p nope why", "")
	r.wants(0, "-q close_all_connections 'good night'", "Closed 1 connections\n")
	r.wants(0, "-q close_all_connections --global 'good night'", "Closed 0 connections\n")
	r.wants(0, "-q close_all_user_connections guest bye", "")
	if got := fmt.Sprint(reasons); got != "map[10.0.0.1:1 -> 10.0.0.2:5672:tea time 10.0.0.1:2 -> 10.0.0.2:5672:good night]" {
		t.Errorf("reasons: %s", got)
	}
}

func TestDefinitions(t *testing.T) {
	r := newRig(t)
	file := filepath.Join(r.dir, "defs.json")
	r.wants(0, "-q add_vhost shop", "")
	r.wants(0, "export_definitions "+file, "Exporting definitions in JSON to a file at \""+file+"\" ...\n")
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the file with password hashes: %v %v", st.Mode(), err)
	}
	out, _, code := ctl("export_definitions -", "")
	var defs struct{ Vhosts, Users []any }
	if err := json.Unmarshal([]byte(out), &defs); code != 0 || err != nil || len(defs.Vhosts) != 2 || len(defs.Users) != 1 {
		t.Errorf("on standard output: %d, %v, %s", code, err, out)
	}
	r.wants(0, "-q delete_vhost shop", "")
	r.wants(0, "import_definitions "+file, "Importing definitions in JSON from a file at \""+file+"\" ...\n")
	r.wants(0, "-q list_vhosts", "name\n/\nshop\n")
	r.wants(65, "import_definitions /does/not/exist", "")
	if _, errs, code := ctl("-q import_definitions", "no json"); code != exitData || errs == "" {
		t.Errorf("garbage from standard input: %d %q", code, errs)
	}
	odd := `{"policies":[{"name":"p","vhost":"/","pattern":".*","definition":{"bogus":1}}]}`
	if _, errs, code := ctl("-q import_definitions -", odd); code != 0 || !strings.Contains(errs, "Not imported:") {
		t.Errorf("a policy that is not served: %d %q", code, errs)
	}
}

func TestNode(t *testing.T) {
	r := newRig(t)
	r.wants(0, "-q ping", "Ping succeeded\n")
	r.wants(0, "-q await_startup", "")
	r.wants(0, "version", "9.8.7\n")
	r.wants(0, "-q set_cluster_name hares", "")
	out, _, code := ctl("-q status", "")
	for _, line := range []string{"Product: Leveret 9.8.7", "Cluster name: hares", "Interface: [::], port: 5672, protocol: amqp, purpose: AMQP 0-9-1", "(none)"} {
		if code != 0 || !strings.Contains(out, line+"\n") {
			t.Errorf("status (%d) lacks %q:\n%s", code, line, out)
		}
	}
	out, _, _ = ctl("status --formatter json", "")
	var s struct {
		RabbitVersion string `json:"rabbitmq_version"`
		Alarms        []string
		Listeners     []struct {
			Port     int
			Protocol string
		}
	}
	if err := json.Unmarshal([]byte(out), &s); err != nil || s.RabbitVersion != mgmt.RabbitVersion || s.Alarms == nil || len(s.Listeners) != 1 || s.Listeners[0].Port != 5672 {
		t.Errorf("status in JSON: %v\n%s", err, out)
	}
}

func TestWhereItLooks(t *testing.T) {
	newRig(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := "http://" + ln.Addr().String()
	ln.Close()
	_, errs, code := ctl("--url "+gone+" ping", "")
	if code != exitUnavailable || !strings.Contains(errs, gone) || !strings.Contains(errs, "Is leveret running") {
		t.Errorf("nobody there: %d %s", code, errs)
	}
	_, errs, code = ctl("--user guest --password wrong list_users", "")
	if code != exitUnavailable || !strings.Contains(errs, "LEVERET_PASSWORD") {
		t.Errorf("wrong password: %d %s", code, errs)
	}
	if _, errs, code = ctl("--url gopher://x list_users", ""); code != exitUsage {
		t.Errorf("no address: %d %s", code, errs)
	}

	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, verb := range []string{"ping", "await_startup"} {
		if _, errs, code = ctl("-t 1 --url http://"+silent.Addr().String()+" "+verb, ""); code != exitTimeout {
			t.Errorf("%s of a broker that does not answer: %d %s", verb, code, errs)
		}
	}
	c, err := newClient(&Connection{Node: "rabbit@broker.example"})
	if err != nil || c.base != "http://broker.example:15672" || c.user != "guest" {
		t.Errorf("--node: %+v, %v", c, err)
	}
	c, err = newClient(&Connection{URL: "https://a:b@h/prefix/api/", Password: "c"})
	if err != nil || c.base != "https://h/prefix" || c.user != "a" || c.pass != "c" {
		t.Errorf("--url with user and path: %+v, %v", c, err)
	}
}

func TestHelp(t *testing.T) {
	for line, code := range map[string]int{"": 64, "help": 0, "--help": 0, "help list_queues": 0, "set_permissions --help": 0, "nonsense": 64, "list_users --nonsense": 64} {
		if _, _, got := ctl(line, ""); got != code {
			t.Errorf("%q: exit code %d, want %d", line, got, code)
		}
	}
}

func FuzzTerm(f *testing.F) {
	f.Add(`{"a":[1,"x",null,true,{"b":2.5}]}`)
	f.Fuzz(func(t *testing.T, s string) {
		d := json.NewDecoder(strings.NewReader(s))
		d.UseNumber()
		var v any
		if d.Decode(&v) != nil {
			return
		}
		if line := text(v); strings.ContainsAny(line, "\n\t") {
			t.Errorf("%q breaks the row: %q", s, line)
		}
	})
}

func TestAuthExplain(t *testing.T) {
	r := newRig(t)
	r.wants(0, "-q add_user app secret", "")
	r.wants(0, "-q set_permissions app ^app '' .*", "")
	r.wants(0, "auth explain app read jobs", "Explaining read for user \"app\" [] in vhost \"/\" ...\nanswer\twhat\tbackend\trule\n"+
		"allowed\tlogin\tinternal\thas the user\nallowed\tvhost '/'\tinternal\tpermission of 'app' in vhost '/'\n"+
		"allowed\tread queue 'jobs'\tinternal\tpermission of 'app' in vhost '/': read \".*\"\n")
	r.wants(69, "-s auth explain app write --exchange", "allowed\tlogin\tinternal\thas the user\nallowed\tvhost '/'\tinternal\tpermission of 'app' in vhost '/'\n"+
		"refused\twrite exchange 'amq.default'\tinternal\tpermission of 'app' in vhost '/': write \"\"\n")
	r.wants(69, "auth explain guest login --remote", "")
	r.wants(69, "auth explain nobody login", "")
	r.wants(64, "auth explain app fly", "")
	r.wants(65, "auth explain @no-such-file login", "")
	if out, errs, code := ctl("auth explain @- login", "not a token\n"); code != 69 || strings.Contains(out+errs, "not a token") {
		t.Errorf("a token on standard input: %d %s%s", code, out, errs)
	}
}
