package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// load does what leveret does: the command line, then files and variables.
func load(t *testing.T, env map[string]string, args ...string) (*Serve, *Report, error) {
	t.Helper()
	for _, e := range os.Environ() { // Those of the machine do not count.
		name, _, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, "RABBITMQ_") || strings.HasPrefix(name, "LEVERET_") {
			t.Setenv(name, "")
			os.Unsetenv(name)
		}
	}
	for k, v := range env {
		t.Setenv(k, v)
	}
	var s Serve
	k, err := kong.New(&s)
	if err != nil {
		t.Fatal(err)
	}
	kctx, err := k.Parse(args)
	if err != nil {
		t.Fatal(err)
	}
	given := map[string]bool{}
	for _, p := range kctx.Path {
		if p.Flag != nil {
			given[p.Flag.Name] = true
		}
	}
	r, err := Load(&s, given)
	return &s, r, err
}

// loadText loads one file with text.
func loadText(t *testing.T, text string, args ...string) (*Serve, *Report, error) {
	t.Helper()
	file := write(t, t.TempDir(), "rabbitmq.conf", text)
	return load(t, nil, append([]string{"--config", file}, args...)...)
}

// valueOf is what is in force for one of our keys, with its origin.
func valueOf(s *Serve, r *Report, key string) Value {
	for _, v := range s.Values(r) {
		if v.Key == key {
			return v
		}
	}
	return Value{}
}

func TestPrecedence(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, "rabbitmq.conf", "heartbeat = 10\nheartbeat = 11\nchannel_max = 1\nframe_max = 8192\ndefault_user = file\nmax_message_size = 1000\nmqtt.prefetch = 3\n")
	write(t, dir, "conf.d/20-b.conf", "channel_max = 20\nmqtt.prefetch = 5\n")
	write(t, dir, "conf.d/10-a.conf", "channel_max = 10\nframe_max = 16384\ndefault_user = confd\nmax_message_size = 2000\n")
	write(t, dir, "conf.d/30.conf.bak", "heartbeat = 99\n")
	s, r, err := load(t, map[string]string{
		"RABBITMQ_CONFIG_FILE": file, "RABBITMQ_DEFAULT_USER": "variable", "LEVERET_MAX_MESSAGE_SIZE": "3000", "LEVERET_FRAME_MAX": "32768",
	}, "--frame-max=65536")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []Value{
		{Key: "leveret.handshake_timeout", Value: "10s", Origin: FromDefault},
		{Key: "leveret.heartbeat", Value: "11s", Origin: FromFile, Source: file + ":2 heartbeat"},
		{Key: "leveret.channel_max", Value: "20", Origin: FromFile, Source: filepath.Join(dir, "conf.d/20-b.conf") + ":1 channel_max"},
		{Key: "leveret.mqtt_prefetch", Value: "5", Origin: FromFile, Source: filepath.Join(dir, "conf.d/20-b.conf") + ":2 mqtt.prefetch"},
		{Key: "leveret.default_user", Value: "variable", Origin: FromEnvironment, Source: "RABBITMQ_DEFAULT_USER"},
		{Key: "leveret.max_message_size", Value: "3000", Origin: FromEnvironment, Source: "LEVERET_MAX_MESSAGE_SIZE"},
		{Key: "leveret.frame_max", Value: "65536", Origin: FromFlag, Source: "--frame-max"},
	} {
		if got := valueOf(s, r, want.Key); got.Value != want.Value || got.Origin != want.Origin || got.Source != want.Source {
			t.Errorf("%s: %+v, want %+v", want.Key, got, want)
		}
	}
}

func TestWhereFilesAreLookedFor(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.conf", "heartbeat = 1\n")
	write(t, dir, "b.conf", "heartbeat = 2\n")
	write(t, dir, "conf.d/c.conf", "heartbeat = 3\n")
	for _, c := range []struct {
		env  map[string]string
		args []string
		want string
	}{
		{nil, nil, "1m"},
		{nil, []string{"--config", dir}, "3s"},
		{nil, []string{"--config", dir + "/b.conf", "--config", dir + "/a.conf"}, "1s"},
		{map[string]string{"LEVERET_CONFIG": dir + "/b.conf", "RABBITMQ_CONFIG_FILE": dir + "/a.conf"}, nil, "2s"},
		{map[string]string{"RABBITMQ_CONFIG_FILE": dir + "/b"}, nil, "3s"}, // RabbitMQ adds .conf, and conf.d is beside it.
		{map[string]string{"RABBITMQ_CONFIG_FILE": dir + "/missing", "RABBITMQ_CONFIG_FILES": dir + "/conf.d"}, nil, "3s"},
		{map[string]string{"RABBITMQ_CONFIG_FILES": dir + "/[ab].conf"}, nil, "2s"},
		{map[string]string{"RABBITMQ_CONFIG_FILE": dir + "/absent.conf", "RABBITMQ_CONFIG_FILES": dir + "/absent.d"}, nil, "1m"},
	} {
		s, r, err := load(t, c.env, c.args...)
		if err != nil {
			t.Errorf("%v %v: %v", c.env, c.args, err)
		} else if got := valueOf(s, r, "leveret.heartbeat").Value; got != c.want {
			t.Errorf("%v %v: %s, want %s", c.env, c.args, got, c.want)
		}
		for name := range c.env {
			os.Unsetenv(name)
		}
	}
	if _, _, err := load(t, nil, "--config", dir+"/missing.conf"); err == nil || !strings.Contains(err.Error(), "--config") {
		t.Errorf("a missing --config: %v", err)
	}
}

// TestRabbitKeys has a value for every key of RabbitMQ that makes a setting.
func TestRabbitKeys(t *testing.T) {
	for _, c := range []struct{ text, key, want string }{
		{"listeners.tcp.default = 5673", "amqp_addr", ":5673"},
		{"listeners.tcp.1 = 127.0.0.1:5672\nlisteners.tcp.2 = ::1:5672\nlisteners.tcp.1 = 10.0.0.1:5672", "amqp_addr", "10.0.0.1:5672,[::1]:5672"},
		{"listeners.tcp.1 = 5673\nlisteners.tcp = none", "amqp_addr", "none"},
		{"listeners.tcp = none\nlisteners.tcp.1 = [::]:5673", "amqp_addr", "[::]:5673"},
		{"listeners.ssl.default = 5671", "amqp_tls_addr", ":5671"},
		{"ssl_options.certfile = /c.pem", "tls_cert", "/c.pem"},
		{"ssl_options.keyfile = /k.pem", "tls_key", "/k.pem"},
		{"ssl_options.cacertfile = /ca.pem", "tls_ca", "/ca.pem"},
		{"ssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true", "tls_verify", "require"},
		{"ssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = false", "tls_verify", "peer"},
		{"ssl_options.verify = verify_none\nssl_options.fail_if_no_peer_cert = true", "tls_verify", "none"},
		{"ssl_options.versions.1 = tlsv1.3", "tls_min", "1.3"},
		{"ssl_options.versions.1 = tlsv1.3\nssl_options.versions.2 = tlsv1.2", "tls_min", "1.2"},
		{"default_user = app", "default_user", "app"},
		{"default_pass = secret", "default_pass", mask},
		{"default_vhost = shop", "default_vhost", "shop"},
		{"loopback_users = none", "loopback_users", "none"},
		{"loopback_users.guest = false", "loopback_users", "none"},
		{"loopback_users.guest = true\nloopback_users.app = true", "loopback_users", "guest,app"},
		{"load_definitions = /d.json", "load_definitions", "/d.json"},
		{"definitions.import_backend = local_filesystem\ndefinitions.local.path = /d", "load_definitions", "/d"},
		{"definitions.import_backend = https\ndefinitions.https.url = https://x/d", "load_definitions", "https://x/d"},
		{"heartbeat = 30", "heartbeat", "30s"},
		{"heartbeat = 0", "heartbeat", "0s"},
		{"frame_max = 65536", "frame_max", "65536"},
		{"channel_max = 100", "channel_max", "100"},
		{"max_channels_per_connection = 101", "channel_max", "101"},
		{"max_message_size = 134217728", "max_message_size", "128MiB"},
		{"vm_memory_high_watermark.relative = 0.4", "memory_limit", "0.4"},
		{"vm_memory_high_watermark.absolute = 2GB", "memory_limit", "2000MB"},
		{"vm_memory_high_watermark.absolute = 1073741824", "memory_limit", "1GiB"},
		{"disk_free_limit.absolute = 2GB", "disk_free_limit", "2000MB"},
		{"disk_free_limit.relative = 1.5", "disk_free_limit", "1.5x"},
		{"proxy_protocol = true\nmqtt.proxy_protocol = true\nstomp.proxy_protocol = false", "proxy_protocol", "amqp,mqtt"},
		{"proxy_protocol = true\nproxy_protocol = false", "proxy_protocol", "none"},
		{"auth_mechanisms.1 = PLAIN\nauth_mechanisms.2 = EXTERNAL", "auth_mechanisms", "PLAIN,EXTERNAL"},
		{"ssl_cert_login_from = common_name", "cert_login_from", "common_name"},
		{"mqtt.ssl_cert_login = true\nssl_options.cacertfile = /ca.pem\nssl_options.verify = verify_peer", "mqtt_cert_login", "true"},
		{"consumer_timeout = 1800000", "consumer_timeout", "30m"},
		{"handshake_timeout = 5000", "handshake_timeout", "5s"},
		{"log.console.level = warning", "log_level", "warn"},
		{"log.console.formatter = json", "log_format", "json"},
		{"log.console = false", "log_console", "none"},
		{"log.console = true", "log_console", "stderr"},
		{"log.console = true\nlog.console.stdio = stdout", "log_console", "stdout"},
		{"log.console.stdio = stdout\nlog.console = true", "log_console", "stdout"},
		{"log.console.stdio = stdout\nlog.console = false", "log_console", "none"},
		{"log.dir = /var/log", "log_dir", "/var/log"},
		{"log.file = x.log", "log_file", "x.log"},
		{"log.file = false", "log_file", "none"},
		{"log.file.level = critical", "log_file_level", "error+4"},
		{"log.file.formatter = json", "log_file_format", "json"},
		{"log.file.rotation.size = 10485760", "log_rotate_size", "10MiB"},
		{"log.file.rotation.date = $W0D23", "log_rotate_date", "$W0D23"},
		{"log.file.rotation.count = 3", "log_rotate_count", "3"},
		{"log.connection.level = debug\nlog.queue.level = error\nlog.connection.level = warning", "log_levels", "queue=error,connection=warn"},
		{"definitions.skip_if_unchanged = true", "skip_unchanged_definitions", "true"},
		{"management.tcp.port = 15673\nmanagement.tcp.ip = ::1", "http_addr", "[::1]:15673"},
		{"management.tcp.ip = 127.0.0.1", "http_addr", "127.0.0.1:15672"},
		{"management.listener.port = 15673\nmanagement.listener.ip = 0.0.0.0", "http_addr", "0.0.0.0:15673"},
		{"management.listener.port = 15671\nmanagement.listener.ssl = true", "https_addr", ":15671"},
		{"management.listener.port = 15671\nmanagement.listener.ssl = true", "http_addr", "none"},
		{"management.ssl.port = 15671", "https_addr", ":15671"},
		{"management.ssl.port = 15671", "http_addr", "none"},
		{"management.ssl.port = 15671\nmanagement.tcp.port = 15672", "http_addr", ":15672"},
		{"management.ssl.port = 15671\nmanagement.ssl.certfile = /c.pem\nmanagement.ssl.keyfile = /k.pem", "tls_cert", "/c.pem"},
		{"ssl_options.certfile = /c.pem\nmanagement.ssl.certfile = /c.pem", "tls_cert", "/c.pem"},
		{"mqtt.listeners.tcp.default = 1884", "mqtt_addr", ":1884"},
		{"mqtt.listeners.ssl.default = 8883", "mqtt_tls_addr", ":8883"},
		{"mqtt.allow_anonymous = false", "mqtt_anonymous", "false"},
		{"mqtt.vhost = devices", "mqtt_vhost", "devices"},
		{"mqtt.exchange = mqtt", "mqtt_exchange", "mqtt"},
		{"mqtt.prefetch = 10", "mqtt_prefetch", "10"},
		{"mqtt.max_session_expiry_interval_seconds = 86400", "mqtt_session_expiry", "24h"},
		{"mqtt.max_session_expiry_interval_seconds = infinity", "mqtt_session_expiry", "-1s"},
		{"mqtt.subscription_ttl = 86400000", "mqtt_session_expiry", "24h"},
		{"mqtt.max_packet_size_authenticated = 1048576", "mqtt_max_packet", "1MiB"},
		{"mqtt.disconnect_on_unauthorized = false", "mqtt_keep_refused", "true"},
		{"stomp.listeners.tcp.1 = 127.0.0.1:61613", "stomp_addr", "127.0.0.1:61613"},
		{"stomp.listeners.ssl.1 = 61614", "stomp_tls_addr", ":61614"},
		{"stomp.default_user = app", "stomp_default_user", "app"},
		{"stomp.default_pass = secret", "stomp_default_pass", mask},
		{"stomp.default_topic_exchange = x", "stomp_topic_exchange", "x"},
		{"stomp.default_nack_requeue = false", "stomp_nack_discards", "true"},
		{"stomp.implicit_connect = true", "stomp_implicit_connect", "true"},
		{"stomp.hide_server_info = true", "stomp_hide_server", "true"},
		{"web_mqtt.tcp.port = 15676", "web_mqtt_addr", ":15676"},
		{"web_mqtt.tcp.listener = 127.0.0.1:12345", "web_mqtt_addr", "127.0.0.1:12345"},
		{"web_mqtt.ssl.port = 15677", "web_mqtt_tls_addr", ":15677"},
		{"web_mqtt.allow_origins.1 = https://a\nweb_mqtt.allow_origins.2 = https://b", "web_mqtt_origins", "https://a,https://b"},
		{"web_stomp.tcp.port = 15675\nweb_stomp.tcp.ip = 127.0.0.1", "web_stomp_addr", "127.0.0.1:15675"},
		{"web_stomp.ssl.port = 15673", "web_stomp_tls_addr", ":15673"},
		{"web_stomp.allow_origins = none", "web_stomp_origins", "all"},
		{"web_stomp.ws_frame = binary", "web_stomp_binary", "true"},
		{"web_stomp.use_http_auth = true", "web_stomp_basic_auth", "true"},
		{"leveret.queue_memory = 1MiB", "queue_memory", "1MiB"},
		{"leveret.heartbeat = 1m30s", "heartbeat", "1m30s"},
		{"leveret.amqp_addr = :1,:2", "amqp_addr", ":1,:2"},
		{"heartbeat = 5\nleveret.heartbeat = 6s", "heartbeat", "6s"},
		{"leveret.heartbeat = 6s\nheartbeat = 5", "heartbeat", "5s"},
	} {
		s, r, err := loadText(t, c.text, "--strict")
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got := valueOf(s, r, ownPrefix+c.key).Value; got != c.want {
			t.Errorf("%s: %s is %q, want %q", c.text, c.key, got, c.want)
		}
	}
}

func TestBoot(t *testing.T) {
	s, r, err := loadText(t, `
default_user_tags.administrator = false
default_user_tags.monitoring = true
default_permissions.configure = ^app
default_users.qa.password = sesame
default_users.qa.tags = policymaker, monitoring
default_users.qa.vhost_pattern = qa.*
default_users.qa.read = ^q
default_limits.vhosts.small.pattern = ^small
default_limits.vhosts.small.max_connections = 10
default_limits.vhosts.small.max_queues = 20
default_policies.operator.ttl.vhost_pattern = ^tmp
default_policies.operator.ttl.queue_pattern = .*
default_policies.operator.ttl.message_ttl = 1d
default_policies.operator.ttl.max_length_bytes = 1GB
`, "--strict")
	if err != nil {
		t.Fatal(err)
	}
	b := s.Boot
	if !slices.Equal(b.UserTags, []string{"monitoring"}) || *b.Permission != (Permission{"^app", ".*", ".*"}) {
		t.Errorf("default user: %v %v", b.UserTags, b.Permission)
	}
	if u := b.Users[0]; len(b.Users) != 1 || u.Name != "qa" || u.Password != "sesame" || u.VHosts != "qa.*" || u.Permission != (Permission{".*", ".*", "^q"}) || !slices.Equal(u.Tags, []string{"policymaker", "monitoring"}) {
		t.Errorf("users: %+v", b.Users)
	}
	if d := b.Limits[0]; len(b.Limits) != 1 || d != (DefaultLimit{"small", "^small", 10, 20}) {
		t.Errorf("limits: %+v", b.Limits)
	}
	if p := b.OperatorPolicies[0]; len(b.OperatorPolicies) != 1 || p.VHosts != "^tmp" || p.ApplyTo != "queues" || p.Definition["message-ttl"] != 86400000 || p.Definition["max-length-bytes"] != 1e9 {
		t.Errorf("policies: %+v", b.OperatorPolicies)
	}
	var out bytes.Buffer
	if err := Print(&out, "text", s.Values(r)); err != nil || strings.Contains(out.String(), "sesame") || !strings.Contains(out.String(), "default_users.qa.tags = policymaker, monitoring") {
		t.Errorf("printed as %s", &out)
	}
}

func TestWrongValuesAreRefusedTogether(t *testing.T) {
	_, _, err := loadText(t, "heartbeat = often\nfrobnicate = 1\nlisteners.tcp.1 = 127.0.0.1\nssl_options.versions.1 = ssl3\nmqtt.allow_anonymous = maybe\nlog.console.level = loud\n"+
		"management.tcp.port = x\nchannel_max = 70000\ndefault_limits.vhosts.a.max_queues = -1\ndefault_permissions.read = [\ndefinitions.import_backend = ftp\nleveret.sync = often\nleveret.config = x\nbroken\n")
	var refusal *Refusal
	if !errors.As(err, &refusal) {
		t.Fatal(err)
	}
	var lines []string
	for _, p := range refusal.Problems {
		_, line, _ := strings.Cut(p.At, "rabbitmq.conf:")
		lines = append(lines, line)
	}
	slices.Sort(lines)
	if want := []string{"1", "10", "11", "12", "13", "14", "3", "4", "5", "6", "7", "8", "9"}; !slices.Equal(lines, want) {
		t.Errorf("lines %v, want %v:\n%v", lines, want, err)
	}
}

func TestStrictListsAll(t *testing.T) {
	const text = "hearbeat = 1\nauth_ldap.port = 389\nnet_ticktime = 60\nreverse_dns_lookups = false\ncluster_exchange_limit = 5\n"
	s, r, err := loadText(t, text)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Unknown) != 1 || len(r.Missing) != 2 || len(r.Idle) != 2 {
		t.Errorf("report: %+v", r)
	}
	var log bytes.Buffer
	r.Log(slog.New(slog.NewTextHandler(&log, nil)))
	for _, want := range []string{"rabbitmq.conf:1", "did you mean heartbeat?", "auth_ldap.port", "rabbitmq.conf:2", "net_ticktime", "LDAP"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log has no %q:\n%s", want, &log)
		}
	}
	if got := strings.Count(log.String(), "\n"); got != 4 { // Unknown, two that are missed, one for all that is idle.
		t.Errorf("%d lines in the log:\n%s", got, &log)
	}
	_ = s
	_, _, err = loadText(t, text, "--strict")
	var refusal *Refusal
	if !errors.As(err, &refusal) || len(refusal.Problems) != 3 {
		t.Errorf("strict: %v", err)
	}
}

// TestEveryKeyHasItsFate walks all of RabbitMQ's keys.
func TestEveryKeyHasItsFate(t *testing.T) {
	used := map[string]bool{}
	for _, k := range rabbitKeys() {
		if fateOf(k) == Applied {
			continue
		}
		r := ruleFor(k)
		if r == nil {
			t.Errorf("%s: nothing says what becomes of it", strings.Join(k, "."))
			continue
		}
		used[r.pattern] = true
		if r.text == "" || r.fate != Idle && r.fate != Missing || r.fate == Idle && r.fine != nil {
			t.Errorf("rule %s: %+v", r.pattern, r)
		}
	}
	for _, r := range rules {
		if !used[r.pattern] {
			t.Errorf("rule %s is for no key, or for none that makes no setting: remove it", r.pattern)
		}
	}
	for _, f := range fields() {
		for _, k := range f.keys {
			if !slices.ContainsFunc(rabbitKeys(), func(known []string) bool { return slices.Equal(known, k.pattern) }) {
				t.Errorf("--%s: RabbitMQ has no key %s", f.flag, strings.Join(k.pattern, "."))
			}
			if _, ok := translations[k.how]; !ok && k.how != "ip" && k.how != "port" {
				t.Errorf("--%s: there is no translation %q", f.flag, k.how)
			}
		}
	}
}

// fateOf says Applied for what makes a setting, else Unknown.
func fateOf(key []string) Fate {
	for _, s := range specials {
		if _, ok := matches(s.pattern, key); ok {
			return Applied
		}
	}
	for _, f := range fields() {
		for _, k := range f.keys {
			if _, ok := matches(k.pattern, key); ok || slices.Equal(k.pattern, append(slices.Clone(key), "*")) {
				return Applied
			}
		}
	}
	return Unknown
}

// TestReferenceKeys has the fate of each key that RabbitMQ's documentation
// names, and that operators use.
func TestReferenceKeys(t *testing.T) {
	b, err := os.ReadFile("testdata/fates.txt")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		want, entry, _ := strings.Cut(line, " ")
		s, r, err := loadText(t, entry)
		if err != nil {
			t.Errorf("%s: %v", entry, err)
			continue
		}
		got := "applied"
		switch {
		case len(r.Unknown) > 0:
			got = "unknown"
		case len(r.Missing) > 0:
			got = "missing"
		case len(r.Idle) > 0:
			got = "idle"
		default:
			key, _, _ := strings.Cut(entry, " ")
			if !slices.ContainsFunc(s.Values(r), func(v Value) bool { return strings.HasSuffix(v.Source, " "+key) || v.Key == key }) &&
				!slices.Contains([]string{"definitions.import_backend", "management.listener.ssl"}, key) {
				got = "lost"
			}
		}
		if got != want {
			t.Errorf("%s: %s, want %s", entry, got, want)
		}
		n++
	}
	if n < 150 {
		t.Errorf("only %d keys", n)
	}
}

func TestEverySettingCanBeInAFile(t *testing.T) {
	s, r, err := load(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	var printed bytes.Buffer
	if err := Print(&printed, "text", s.Values(r)); err != nil {
		t.Fatal(err)
	}
	again, r2, err := loadText(t, printed.String())
	if err != nil {
		t.Fatalf("what is printed is not accepted: %v\n%s", err, &printed)
	}
	after := again.Values(r2)
	for i, v := range s.Values(r) {
		if v.Flag != "--config" && after[i].Value != v.Value {
			t.Errorf("%s: printed as %q, read as %q", v.Key, v.Value, after[i].Value)
		}
	}
	for _, f := range fields() {
		if err := f.set(new(Serve), f.text(s)); err != nil && f.text(s) != "" {
			t.Errorf("--%s: its default %q cannot be set: %v", f.flag, f.text(s), err)
		}
		if secret := strings.Contains(f.flag, "pass") || strings.Contains(f.flag, "secret"); secret && !f.secret {
			t.Errorf("--%s has no tag secret", f.flag)
		}
	}
	var out bytes.Buffer
	if err := Print(&out, "json", s.Values(r)); err != nil {
		t.Fatal(err)
	}
	var values []Value
	if err := json.Unmarshal(out.Bytes(), &values); err != nil || len(values) != len(fields()) {
		t.Errorf("%d values in JSON, %v", len(values), err)
	}
}

func TestWhereTheLogGoes(t *testing.T) {
	for _, c := range []struct {
		args []string
		file string
	}{
		{nil, ""},
		{[]string{"--log-dir=/var/log"}, "/var/log/leveret.log"},
		{[]string{"--log-dir=/var/log", "--log-file=none"}, ""},
		{[]string{"--log-dir=/var/log", "--log-file=x.log"}, "/var/log/x.log"},
		{[]string{"--log-dir=/var/log", "--log-file=/tmp/x.log"}, "/tmp/x.log"},
		{[]string{"--log-file=x.log"}, "x.log"},
	} {
		s, _, err := load(t, nil, c.args...)
		if err != nil {
			t.Fatal(err)
		}
		if o, err := s.LogOptions(os.Stdout, os.Stderr); err != nil || o.File != c.file || o.Console != os.Stderr {
			t.Errorf("%v: %+v, %v", c.args, o, err)
		}
	}
	for _, arg := range []string{"--log-levels=x=debug", "--log-levels=queue=loud", "--log-rotate-count=-1"} {
		s, _, err := load(t, nil, arg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Resolve(); err == nil || !strings.Contains(err.Error(), arg[:12]) {
			t.Errorf("%s: %v", arg, err)
		}
	}
}

func TestReadDefinitions(t *testing.T) {
	dir := t.TempDir()
	one := write(t, dir, "20.json", "{}")
	write(t, dir, "10.json", "{ }")
	write(t, dir, "notes.txt", "x")
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/d.json" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		io.WriteString(w, `{"users":[]}`)
	}))
	defer server.Close()
	before := http.DefaultClient
	http.DefaultClient = server.Client()
	defer func() { http.DefaultClient = before }()

	read := func(name string) []Definitions {
		t.Helper()
		all, err := (&Serve{LoadDefinitions: name}).ReadDefinitions(t.Context())
		if err != nil {
			t.Error(err)
		}
		return all
	}
	if all := read(dir); len(all) != 2 || string(all[0].Data) != "{ }" || all[1].Name != one {
		t.Errorf("a directory: %+v", all)
	}
	if all := read(server.URL + "/d.json"); len(all) != 1 || string(all[0].Data) != `{"users":[]}` {
		t.Errorf("a URL: %+v", all)
	}
	if first := Digest(read(dir)); first != Digest(read(dir)) || Digest(read(dir)) == Digest(read(one)) {
		t.Error("the digest does not tell definitions apart")
	}
	for _, name := range []string{dir + "/missing", t.TempDir(), server.URL + "/x"} {
		if all, err := (&Serve{LoadDefinitions: name}).ReadDefinitions(t.Context()); err == nil || !strings.Contains(err.Error(), "--load-definitions") {
			t.Errorf("%s: %v, %v", name, all, err)
		}
	}
}

func TestRabbitVariables(t *testing.T) {
	dir := t.TempDir()
	pass := write(t, dir, "pass", "from a file\n")
	plugins := write(t, dir, "enabled_plugins", "% ours\n[rabbitmq_management, rabbitmq_web_mqtt,\n 'rabbitmq_prometheus'].\n")
	s, r, err := load(t, map[string]string{
		"RABBITMQ_DEFAULT_USER": "app", "RABBITMQ_DEFAULT_PASS_FILE": pass, "RABBITMQ_DEFAULT_VHOST": "shop",
		"RABBITMQ_NODE_PORT": "5673", "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1", "RABBITMQ_NODENAME": "rabbit@host", "RABBITMQ_MNESIA_BASE": "/var/lib/rabbitmq/mnesia",
		"RABBITMQ_ENABLED_PLUGINS_FILE": plugins, "RABBITMQ_ERLANG_COOKIE": "x", "RABBITMQ_URL": "amqp://localhost", "RABBITMQ_PORT_5672_TCP": "tcp://x", "RABBITMQ_LOGS": "-", "RABBITMQ_LOG": "debug,connection=warning,+color",
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.DefaultUser != "app" || s.DefaultPass != "from a file" || s.DefaultVHost != "shop" || s.NodeName != "rabbit@host" || s.DataDir != "/var/lib/rabbitmq/mnesia/leveret" || !slices.Equal(s.AMQPAddr, []string{"127.0.0.1:5673"}) {
		t.Errorf("settings: %+v", s)
	}
	if !only(s.STOMPAddr, "none") || !only(s.WebSTOMPAddr, "none") || !only(s.MQTTAddr, ":1883") || !only(s.WebMQTTAddr, ":15675") || !only(s.HTTPAddr, ":15672") {
		t.Errorf("listeners: %v %v %v %v %v", s.STOMPAddr, s.WebSTOMPAddr, s.MQTTAddr, s.WebMQTTAddr, s.HTTPAddr)
	}
	if s.LogConsole != "stdout" || s.LogFile != "none" || s.LogLevel != slog.LevelDebug || !slices.Equal(s.LogLevels, []string{"connection=warn"}) {
		t.Errorf("log: %s %s %v %v", s.LogConsole, s.LogFile, s.LogLevel, s.LogLevels)
	}
	if len(r.Unknown) > 0 || len(r.Missing) > 0 || len(r.Idle) != 1 {
		t.Errorf("report: %+v", r)
	}

	for name, want := range map[string]string{
		"RABBITMQ_SSL_CERTFILE": "ssl_options.certfile", "RABBITMQ_VM_MEMORY_HIGH_WATERMARK": "vm_memory_high_watermark", "RABBITMQ_MANAGEMENT_SSL_KEYFILE": "management.ssl.keyfile",
		"RABBITMQ_DEFAULT_PASS_FILE": "no such file", "RABBITMQ_NODE_PORT": "port",
	} {
		_, _, err := load(t, map[string]string{name: "/x"})
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
		os.Unsetenv(name)
	}
	_, r, err = load(t, map[string]string{"RABBITMQ_DEFAULT_PASSS": "x", "LEVERET_HEARTBEET": "1s", "LEVERET_COLOUR": "red"})
	if err != nil || len(r.Unknown) != 2 {
		t.Errorf("near misses: %v, %v", r.Unknown, err)
	}
}

func TestPlugins(t *testing.T) {
	s, r, err := load(t, map[string]string{"RABBITMQ_ENABLED_PLUGINS": "rabbitmq_mqtt rabbitmq_stream,rabbitmq_nonesuch", "LEVERET_STOMP_ADDR": ":1"})
	if err != nil {
		t.Fatal(err)
	}
	if !only(s.MQTTAddr, ":1883") || !only(s.STOMPAddr, ":1") || !only(s.WebMQTTAddr, "none") || !only(s.HTTPAddr, "none") {
		t.Errorf("listeners: %v %v %v %v", s.MQTTAddr, s.STOMPAddr, s.WebMQTTAddr, s.HTTPAddr)
	}
	if len(r.Missing) != 1 || !strings.Contains(r.Missing[0].Text, "5552") || len(r.Unknown) != 1 {
		t.Errorf("report: %+v", r)
	}
	for text, want := range map[string]string{"[].": "none", "[a,b].\n": "a,b", " [ 'a' ] ": "a", "% x\n[a]. % y": "a"} {
		if got, err := parsePlugins(text); err != nil || got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "a,b", "[a", "[A b].", "[{a,b}]."} {
		if got, err := parsePlugins(text); err == nil {
			t.Errorf("%q is taken for %q", text, got)
		}
	}
}

func TestAdvancedConfigIsNamed(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, "rabbitmq.conf", "heartbeat = 1\n")
	write(t, dir, "advanced.config", "[].\n")
	_, r, err := load(t, nil, "--config", file)
	if err != nil || len(r.Missing) != 1 || !strings.Contains(r.Missing[0].Text, "NOT read") {
		t.Errorf("%+v %v", r.Missing, err)
	}
}

func TestOneCertificateForAllListeners(t *testing.T) {
	s, r, err := loadText(t, "management.ssl.certfile = /b.pem\nssl_options.certfile = /a.pem\nweb_mqtt.ssl.certfile = /a.pem\n")
	if err != nil || valueOf(s, r, "leveret.tls_cert").Value != "/a.pem" || len(r.Missing) != 1 || r.Missing[0].Key != "management.ssl.certfile" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestResolveErrorsNameTheLine(t *testing.T) {
	s, r, err := loadText(t, "\nframe_max = 100\n")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Resolve()
	if err = r.Explain(err); err == nil || !strings.Contains(err.Error(), "rabbitmq.conf:2: frame_max") || !errors.As(err, new(*Refusal)) {
		t.Errorf("%v", err)
	}
}

func TestParseDuration(t *testing.T) {
	for in, want := range map[string]string{"0": "0s", "10s": "10s", "1h30m": "1h30m", "1.5s": "1.5s", "2d": "48h", "1w": "168h", "250ms": "250ms", "-1s": "-1s", "1m": "1m"} {
		if d, err := parseDuration(in, 0); err != nil || durationText(d) != want {
			t.Errorf("%q: %v, %v", in, d, err)
		}
	}
	for _, in := range []string{"", "5", "s", "1x", "1s2", "1 s", "--1s", "99999999999999999999s", "1e9s"} {
		if d, err := parseDuration(in, 0); err == nil {
			t.Errorf("%q was taken for %v", in, d)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("heartbeat = 1\nlisteners.tcp.1 = x\n")
	f.Add("default_users.a.password = 'x'\nssl_options.verify = verify_peer\n")
	f.Add("loopback_users.guest = false\nlog.console.level = none\nleveret.memory_limit = 50%\n")
	f.Add("default_policies.operator.a.message_ttl = 1d\nmanagement.listener.ssl = true\n")
	f.Fuzz(func(t *testing.T, text string) {
		p := parseFile("f", []byte(text))
		l := &loader{s: new(Serve), report: &Report{origins: map[string]Origin{}}, assigned: map[string]*assigned{}, parts: map[string]*addrParts{}}
		for _, e := range p.entries {
			l.entry(e)
		}
		l.finishFiles()
		l.plugins()
		l.apply()
		for _, v := range l.s.Values(l.report) {
			if v.Secret && v.Value != "" && v.Value != mask {
				t.Fatalf("%s is shown", v.Key)
			}
		}
	})
}

func FuzzValues(f *testing.F) {
	for _, seed := range []string{"1h30m", "[a,'b'].", "::1:5672", "99999999999h", "$D0", "-", "all"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := parseDuration(text, 0); err == nil {
			if again, err := parseDuration(durationText(d), 0); err != nil || again != d {
				t.Errorf("%q is %v, written %q, read %v, %v", text, d, durationText(d), again, err)
			}
		}
		if list, err := parsePlugins(text); err == nil {
			if again, err := parsePlugins("[" + list + "]"); list != "none" && (err != nil || again != list) {
				t.Errorf("%q is %q, then %q, %v", text, list, again, err)
			}
		}
		if addr, err := rabbitAddr(text); err == nil && addr != "none" {
			if again, err := rabbitAddr(addr); err != nil || again != addr {
				t.Errorf("%q is %q, then %q, %v", text, addr, again, err)
			}
		}
		for _, field := range fields() {
			if field.set(new(Serve), text) != nil {
				continue
			}
			var one, two Serve
			field.set(&one, text)
			if err := field.set(&two, field.text(&one)); err == nil && field.text(&one) != field.text(&two) {
				t.Errorf("--%s %q is %q, then %q", field.flag, text, field.text(&one), field.text(&two))
			}
		}
	})
}
