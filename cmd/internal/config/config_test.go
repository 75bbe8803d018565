package config

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

// parse fills Serve as the command line does, from args and env alone.
func parse(t *testing.T, env map[string]string, args ...string) (*Serve, error) {
	t.Helper()
	for k, v := range env {
		t.Setenv(k, v)
	}
	var s Serve
	k, err := kong.New(&s, kong.Exit(func(int) { t.Fatal("kong wants to exit") }))
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.Parse(args)
	return &s, err
}

func TestParseSize(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "4096": 4096, "128MiB": 128 << 20, "500KB": 500e3, "50mb": 50e6, "1.5GB": 15e8, "2GiB": 2 << 30, "1k": 1024, "7b": 7, " 3 GiB ": 3 << 30,
	} {
		if got, err := ParseSize(in); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "x", "-1", "12qb", "1e300", "NaN", "9999999TiB"} {
		if got, err := ParseSize(in); err == nil {
			t.Errorf("%q was taken for %d", in, got)
		}
	}
}

func TestMemoryLimit(t *testing.T) {
	for in, want := range map[string]int64{"0.5": 500, "1": 1000, "40%": 400, "2GiB": 2 << 30, "200": 200} {
		var l MemoryLimit
		if err := l.UnmarshalText([]byte(in)); err != nil {
			t.Errorf("%q: %v", in, err)
		} else if got, err := l.Of(1000); err != nil || got != want {
			t.Errorf("%q of 1000: %d, %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "0", "-0.5", "101%", "much"} {
		if err := new(MemoryLimit).UnmarshalText([]byte(in)); err == nil {
			t.Errorf("%q was accepted", in)
		}
	}
	if _, err := (MemoryLimit{Fraction: .6}).Of(0); err == nil || !strings.Contains(err.Error(), "--memory-limit") {
		t.Errorf("a share of unknown memory: %v", err)
	}
}

// addrs are those where protocol is served.
func (set *Settings) addrs(protocol string) (addrs []string) {
	for _, l := range set.Listeners {
		if l.Protocol == protocol {
			addrs = append(addrs, l.Addr)
		}
	}
	return addrs
}

func TestDefaults(t *testing.T) {
	s, err := parse(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	set, err := s.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(set.addrs(AMQP), []string{":5672"}) || !slices.Equal(set.addrs(HTTP), []string{":15672"}) || set.TLS || !slices.Equal(set.LoopbackUsers, []string{"guest"}) {
		t.Errorf("addresses and loopback users: %+v", set)
	}
	if s.MaxMessageSize != 128<<20 || s.FrameMax != 131072 || s.ChannelMax != 2047 || s.Heartbeat != time.Minute {
		t.Errorf("limits: %+v", s)
	}
	if set.MemoryBytes <= 0 || set.GoMemoryBytes < set.MemoryBytes || !strings.HasPrefix(set.NodeName, "leveret@") {
		t.Errorf("settings: %+v", set)
	}
}

func TestFlagsBeatEnvironment(t *testing.T) {
	env := map[string]string{"LEVERET_AMQP_ADDR": "127.0.0.1:1,[::1]:2", "LEVERET_HTTP_ADDR": "none", "LEVERET_MEMORY_LIMIT": "1GiB"}
	s, err := parse(t, env, "--memory-limit=2GiB", "--loopback-users=none")
	if err != nil {
		t.Fatal(err)
	}
	set, err := s.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(set.addrs(AMQP), []string{"127.0.0.1:1", "[::1]:2"}) || set.addrs(HTTP) != nil || set.MemoryBytes != 2<<30 || len(set.LoopbackUsers) != 0 {
		t.Errorf("settings: %+v", set)
	}
}

func TestRefusalsNameTheFlag(t *testing.T) {
	for _, args := range [][]string{
		{"--data-dir", ""},
		{"--sync-every", "0s"},
		{"--queue-memory", "1KiB"},
		{"--amqp-addr", "localhost"},
		{"--amqp-addr", ":70000"},
		{"--http-addr", "none,:1"},
		{"--amqp-addr=none", "--http-addr=none", "--stomp-addr=none", "--web-stomp-addr=none", "--mqtt-addr=none", "--web-mqtt-addr=none", "--prometheus-addr=none"},
		{"--stomp-addr", "localhost"},
		{"--web-stomp-addr", "x:y"},
		{"--stomp-default-user="},
		{"--stomp-topic-exchange="},
		{"--pprof", "x"},
		{"--amqp-tls-addr", ":5671"}, // Without a certificate.
		{"--https-addr", "x"},
		{"--frame-max", "100"},
		{"--heartbeat", "1500ms"},
		{"--handshake-timeout", "0s"},
		{"--consumer-timeout", "-1s"},
		{"--max-message-size", "0"},
		{"--load-definitions", filepath.Join(t.TempDir(), "missing.json")},
		{"--default-user="},
	} {
		s, err := parse(t, nil, args...)
		if err == nil {
			_, err = s.Resolve()
		}
		flag, _, _ := strings.Cut(args[0], "=")
		if err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%q: %v", args, err)
		}
	}
}

func TestMachineMemoryIsTheSmallestLimit(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	check := func(what string, want int64) {
		t.Helper()
		if got := machineMemory(root); got != want {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}
	write("proc/meminfo", "MemFree: 1 kB\nMemTotal:       8388608 kB\n")
	check("no control groups", 8<<30)
	write("proc/self/cgroup", "0::/a/b\n")
	write("sys/fs/cgroup/a/b/memory.max", "max\n")
	check("group without a limit", 8<<30)
	write("sys/fs/cgroup/a/memory.max", "1073741824\n")
	check("limit of the parent", 1<<30)
	write("proc/self/cgroup", "5:cpu:/x\n4:memory:/x\n")
	write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
	write("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "536870912\n")
	check("version 1", 512<<20)
}

func TestGoMemoryStaysBelowTheMachine(t *testing.T) {
	for _, c := range []struct{ limit, machine, want int64 }{
		{1 << 30, 0, 1<<30 + 1<<28 + 128<<20},
		{6 << 30, 10 << 30, 6<<30 + 3<<29 + 128<<20},
		{9 << 30, 10 << 30, 9 << 30},
		{100 << 20, 160 << 20, 144 << 20},
	} {
		if got := GoMemory(c.limit, c.machine); got != c.want {
			t.Errorf("GoMemory(%d, %d) = %d, want %d", c.limit, c.machine, got, c.want)
		}
	}
}

func FuzzParseSize(f *testing.F) {
	f.Add("128MiB")
	f.Add("1e9")
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := ParseSize(s); err == nil && n < 0 {
			t.Errorf("%q: %d", s, n)
		}
	})
}

func TestAuthBackendsOfTheFile(t *testing.T) {
	const text = "auth_backends.2 = internal\nauth_backends.1.authz = internal\nauth_backends.1.authn = http\nauth_backends.10 = oauth2\n" +
		"auth_oauth2.signing_keys.b = /b.pem\nauth_oauth2.signing_keys.a = /a.pem\n" +
		"auth_oauth2.scope_aliases.1.alias = admin\nauth_oauth2.scope_aliases.1.scope = r.tag:administrator r.read:*/*\nauth_oauth2.scope_prefix = ''\n"
	s, _, err := loadText(t, text)
	if err != nil {
		t.Fatal(err)
	}
	steps, err := authSteps(s.AuthBackends)
	if err != nil || !reflect.DeepEqual(steps, [][]string{{"http", "internal"}, {"internal"}, {"oauth2"}}) {
		t.Errorf("steps %v, %v", steps, err)
	}
	if !slices.Equal(s.OAuthKeys, []string{"a=/a.pem", "b=/b.pem"}) || !slices.Equal(s.OAuthAliases, []string{"admin=r.tag:administrator r.read:*/*"}) || s.OAuthPrefix != "none" {
		t.Errorf("keys %q, aliases %q, prefix %q", s.OAuthKeys, s.OAuthAliases, s.OAuthPrefix)
	}
	for _, bad := range []string{"ldap", "http+", "", "internal,"} {
		if _, err := authSteps(strings.Split(bad, ",")); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
