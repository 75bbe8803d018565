package core

import (
	"strings"
	"testing"

	"leveret/core/auth"
)

func TestExplainNamesTheRule(t *testing.T) {
	f := &fakeBackend{name: "web", hold: -1, users: map[string]Identity{"anna a": {User: "anna", Tags: []string{"management"}}, "anna ": {User: "anna"}},
		allowed: map[string]bool{"anna vhost /": true, "anna queue / read q": true}}
	b, err := New(Options{Access: []AccessStep{{Authenticator: f}, {}}, MaxConnections: 1})
	must(t, err)
	t.Cleanup(func() { b.Close() })
	must(t, b.PutUser(auth.User{Name: "u", Limits: map[string]int64{auth.LimitConnections: 0}}))
	must(t, b.PutUser(auth.User{Name: "stranger"}))
	must(t, b.SetPermission("u", "/", auth.Permission{Configure: "^mine", Write: ".*", Read: "^$"}))
	must(t, b.SetTopicPermission("u", "/", auth.TopicPermission{Exchange: "amq.topic", Write: `^{client_id}\.`, Read: ".*"}))
	for _, c := range []struct {
		e    Explain
		want bool
		last string // What decided, as "what backend: rule".
	}{
		{Explain{Credentials: Credentials{User: "nobody"}, Act: ActLogin}, false, "login internal: unknown user"},
		{Explain{Credentials: Credentials{User: "u", Password: "x"}, Act: ActLogin}, false, "login internal: wrong password"},
		{Explain{Credentials: Credentials{User: "u"}, Act: ActLogin}, true, "login internal: has the user"},
		{Explain{Credentials: Credentials{User: "guest", Password: "guest", Loopback: true}, Act: ActLogin}, true, "login internal: accepts what the user shows"},
		{Explain{Credentials: Credentials{User: "guest"}, Act: ActLogin}, false, "login : loopback_users: 'guest' may log in from this machine only"},
		{Explain{Credentials: Credentials{User: "anna", Password: "a"}, Act: ActLogin}, true, "login web: accepts what the user shows"},
		{Explain{Credentials: Credentials{User: "stranger"}, Act: ActEnter}, false, "vhost '/' internal: no permission of 'stranger' in vhost '/'"},
		{Explain{Credentials: Credentials{User: "u"}, Act: ActRead, VHost: "v", Name: "q"}, false, "vhost : there is no virtual host 'v'"},
		{Explain{Credentials: Credentials{User: "u"}, Act: ActEnter}, false, "connections : connection refused for user 'u': user connection limit (0) is reached"},
		{Explain{Credentials: Credentials{User: "u"}, Act: ActConfigure, Kind: OnQueue, Name: "mine.1"}, true, `configure queue 'mine.1' internal: permission of 'u' in vhost '/': configure "^mine"`},
		{Explain{Credentials: Credentials{User: "u"}, Act: ActConfigure, Kind: OnQueue, Name: "other"}, false, `configure queue 'other' internal: permission of 'u' in vhost '/': configure "^mine"`},
		{Explain{Credentials: Credentials{User: "u"}, Act: ActWrite, Kind: OnExchange}, true, `write exchange 'amq.default' internal: permission of 'u' in vhost '/': write ".*"`},
		{Explain{Credentials: Credentials{User: "u"}, Act: ActLook, Kind: OnQueue, Name: "q"}, true, `write queue 'q' internal: permission of 'u' in vhost '/': write ".*"`},
		{Explain{Credentials: Credentials{User: "u"}, Act: ActWriteTopic, Name: "amq.topic", Key: "c1.x", Vars: map[string]string{"client_id": "c1"}}, true,
			`write key 'c1.x' internal: topic permission of 'u' in vhost '/' for exchange 'amq.topic': write "^{client_id}\\."`},
		{Explain{Credentials: Credentials{User: "u"}, Act: ActWriteTopic, Name: "amq.topic", Key: "c2.x", Vars: map[string]string{"client_id": "c1"}}, false,
			`write key 'c2.x' internal: topic permission of 'u' in vhost '/' for exchange 'amq.topic': write "^{client_id}\\."`},
		{Explain{Credentials: Credentials{User: "u"}, Act: ActWriteTopic, Name: "amq.direct", Key: "k"}, true, "write key 'k' : exchange 'amq.direct' is direct: keys are not looked at"},
		{Explain{Credentials: Credentials{User: "u"}, Act: ActWriteTopic, Name: "none", Key: "k"}, true, "write key 'k' internal: no topic permission of 'u' in vhost '/' for exchange 'none': every key is allowed"},
		{Explain{Credentials: Credentials{User: "anna"}, Act: ActRead, Kind: OnQueue, Name: "q"}, true, "read queue 'q' web: allows"},
		{Explain{Credentials: Credentials{User: "anna"}, Act: ActWrite, Kind: OnQueue, Name: "q"}, false, "write queue 'q' web: refuses"},
		{Explain{Credentials: Credentials{User: "u"}, Act: "fly"}, false, "fly : there is no such operation"},
	} {
		if c.e.VHost == "" {
			c.e.VHost = "/"
		}
		x := b.Explain(t.Context(), c.e)
		r := x.Reasons[len(x.Reasons)-1]
		if got := r.What + " " + r.Backend + ": " + r.Rule; x.Allowed != c.want || got != c.last {
			t.Errorf("%s of %s on %q: %v, %s\nwant %v, %s", c.e.Act, c.e.Credentials.User, c.e.Name, x.Allowed, got, c.want, c.last)
		}
	}
	if rows := b.LoginAttempts().Sources(); len(rows) != 0 {
		t.Errorf("explaining counts as logging in: %v", rows)
	}
}

func TestMostVHosts(t *testing.T) {
	b, err := New(Options{MaxVHosts: 2})
	must(t, err)
	t.Cleanup(func() { b.Close() })
	must(t, b.PutVHost(VHostDef{Name: "a"}))
	must(t, b.PutVHost(VHostDef{Name: "a", Description: "changed"}))
	refused(t, b.PutVHost(VHostDef{Name: "b"}), Limit, "cannot create vhost 'b': vhost limit of 2 is reached")
	if !strings.Contains(b.vhost("a").Definition().Description, "changed") {
		t.Error("not changed")
	}
}
