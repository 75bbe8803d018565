package auth

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"leveret/core/pattern"
)

// put adds a user with a hashed password.
func put(t testing.TB, d *Directory, name, password string, tags ...string) {
	t.Helper()
	hash, err := HashPassword(password, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.PutUser(User{Name: name, PasswordHash: hash, Tags: tags}); err != nil {
		t.Fatal(err)
	}
}

func allow(t testing.TB, d *Directory, user, vhost, configure, write, read string) {
	t.Helper()
	if err := d.SetPermission(user, vhost, Permission{configure, write, read}); err != nil {
		t.Fatal(err)
	}
}

// The first two hashes were made by RabbitMQ, the first with a known salt; the
// others follow from the form.
func TestHashesOfRabbitMQ(t *testing.T) {
	got, err := hashPassword([saltSize]byte{0x90, 0x8D, 0xC6, 0x0A}, "test12", SHA256)
	if want := "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"; err != nil || got != want {
		t.Errorf("hash %q, %v, want %q", got, err, want)
	}
	for _, c := range []struct{ hash, algorithm, password string }{
		{"kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR", "", "test12"},
		{"bFY19QME9GUX37hiYc5SRJWFxKLv41PYy54VDFHkRGyhi/00", SHA256, "test12"},
		// (printf '\1\2\3\4'; printf '\1\2\3\4secret' | openssl dgst -sha512 -binary) | base64
		{"AQIDBPhTH2L5HGYB1LWOrn+YpvuQmVOXKGqgsuiJRIZTILRoEvblSJo/WAsym3IZTfuaIaK5KR2o5KwFfTv6KsxfMIE=", SHA512, "secret"},
		{"AQIDBDgk9ci8Lfh6CKE9Y0AUfmU=", MD5, "secret"},
	} {
		d := new(Directory)
		if err := d.PutUser(User{Name: "u", PasswordHash: c.hash, Algorithm: c.algorithm}); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Authenticate("u", c.password); err != nil {
			t.Errorf("%s %q: %v", c.algorithm, c.password, err)
		}
		for _, wrong := range []string{"", "x", c.password + "x", c.password[1:], strings.ToUpper(c.password)} {
			if _, err := d.Authenticate("u", wrong); err == nil {
				t.Errorf("%s: %q is accepted", c.algorithm, wrong)
			}
		}
	}
}

func TestHashPassword(t *testing.T) {
	seen := make(map[string]bool)
	for _, algorithm := range []string{"", SHA256, SHA512, MD5} {
		for range 5 {
			hash, err := HashPassword("pässword", algorithm)
			if err != nil {
				t.Fatal(err)
			}
			if seen[hash] {
				t.Error("the same salt twice")
			}
			seen[hash] = true
			d := new(Directory)
			if err := d.PutUser(User{Name: "u", PasswordHash: hash, Algorithm: algorithm}); err != nil {
				t.Fatal(err)
			}
			if u, err := d.Authenticate("u", "pässword"); err != nil || u.Name != "u" {
				t.Errorf("%s: %v %v", algorithm, u, err)
			}
		}
	}
	if _, err := HashPassword("", ""); !errors.Is(err, ErrEmptyPassword) {
		t.Errorf("empty password: %v", err)
	}
	if _, err := HashPassword("x", "rot13"); err == nil {
		t.Error("unknown algorithm is accepted")
	}
}

func TestRefusedLogins(t *testing.T) {
	d := new(Directory)
	put(t, d, "anna", "secret")
	emptyHash, _ := hashPassword([saltSize]byte{}, "x", "")
	for name, hash := range map[string]string{
		"disabled": "", "short": "AAA=", "salt": "AAAAAA==", "cut": emptyHash[:40],
		// The hash of the empty password under a salt of zeros.
		"empty": "AAAAAN8/YZgEqS/bQFcZLcQ910jqd4rcUrxJjOgFJMAUuBEZ",
	} {
		if err := d.PutUser(User{Name: name, PasswordHash: hash}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	for _, c := range []struct {
		user, password string
		reason         Reason
	}{
		{"anna", "", EmptyPassword},
		{"anna", "Secret", WrongPassword},
		{"nobody", "secret", UnknownUser},
		{"nobody", "", EmptyPassword},
		{"", "", EmptyPassword},
		{"disabled", "", EmptyPassword},
		{"disabled", "x", WrongPassword},
		{"short", "x", WrongPassword},
		{"salt", "x", WrongPassword},
		{"cut", "x", WrongPassword},
		{"empty", "", EmptyPassword},
	} {
		u, err := d.Authenticate(c.user, c.password)
		var refused *LoginError
		if !errors.As(err, &refused) || !errors.Is(err, ErrRefused) || refused.Reason != c.reason || refused.User != c.user {
			t.Errorf("%q, %q: %v, want reason %v", c.user, c.password, err, c.reason)
			continue
		}
		if want := fmt.Sprintf("user '%s': invalid credentials", c.user); err.Error() != want {
			t.Errorf("the text %q tells the reason, want %q", err, want)
		}
		if u.Name != "" {
			t.Errorf("%q, %q: refused, but with a user", c.user, c.password)
		}
	}
}

func TestBadUsersAreNotStored(t *testing.T) {
	d := new(Directory)
	for _, u := range []User{
		{Name: "u", PasswordHash: "not base64!"},
		{Name: "u", PasswordHash: "AAAA", Algorithm: "rot13"},
	} {
		err := d.PutUser(u)
		if err == nil || strings.Contains(err.Error(), u.PasswordHash) {
			t.Errorf("error %v", err)
		}
	}
	if d.Epoch() != 0 || len(d.Users()) != 0 {
		t.Error("a user that was refused is there")
	}
}

func TestUsers(t *testing.T) {
	d := new(Directory)
	tags := []string{TagMonitoring, "own tag"}
	limits := map[string]int64{LimitConnections: 5, LimitChannels: -1, "other": 0}
	if err := d.PutUser(User{Name: "b", Tags: tags, Limits: limits}); err != nil {
		t.Fatal(err)
	}
	tags[0], limits[LimitConnections] = TagAdministrator, 99
	put(t, d, "a", "x")

	u, ok := d.User("b")
	if !ok || !u.HasTag(TagMonitoring) || !u.HasTag("own tag") || u.HasTag(TagAdministrator) {
		t.Errorf("user %v %v", u, ok)
	}
	if n, ok := u.Limit(LimitConnections); !ok || n != 5 {
		t.Errorf("connections: %d %v", n, ok)
	}
	if _, ok := u.Limit(LimitChannels); ok {
		t.Error("a negative limit counts")
	}
	if n, ok := u.Limit("other"); !ok || n != 0 {
		t.Errorf("limit zero: %d %v", n, ok)
	}
	if _, ok := u.Limit("unset"); ok {
		t.Error("an unset limit counts")
	}

	var names []string
	for _, u := range d.Users() {
		names = append(names, u.Name)
	}
	if !slices.Equal(names, []string{"a", "b"}) {
		t.Errorf("users %v", names)
	}

	allow(t, d, "a", "/", "", "", "")
	if !d.DeleteUser("a") || d.DeleteUser("a") {
		t.Error("DeleteUser is wrong about what was there")
	}
	if _, ok := d.User("a"); ok || len(d.Permissions()) != 0 {
		t.Error("deleted user is still there, or its permissions")
	}
}

func TestPermissions(t *testing.T) {
	d := new(Directory)
	allow(t, d, "anna", "/", "", "^jobs", ".*")
	allow(t, d, "anna", "prod", "^(?!amq\\.)", "", "")
	for _, c := range []struct {
		user, vhost string
		action      Action
		resource    string
		want        bool
	}{
		{"anna", "/", Configure, "jobs", false},
		{"anna", "/", Configure, "", true},
		{"anna", "/", Write, "jobs.1", true},
		{"anna", "/", Write, "my jobs", false},
		{"anna", "/", Write, "", false},
		{"anna", "/", Read, "anything", true},
		{"anna", "/", Action(3), "anything", false},
		{"anna", "prod", Configure, "jobs", true},
		{"anna", "prod", Configure, "amq.topic", false},
		{"anna", "other", Read, "jobs", false},
		{"bob", "/", Read, "jobs", false},
	} {
		if got := d.Allowed(c.user, c.vhost, c.action, c.resource); got != c.want {
			t.Errorf("%s in %s may %v %q: %v", c.user, c.vhost, c.action, c.resource, got)
		}
	}
	if !d.HasVHost("anna", "/") || d.HasVHost("anna", "other") || d.HasVHost("bob", "/") {
		t.Error("HasVHost is wrong")
	}

	before := d.Epoch()
	if err := d.SetPermission("anna", "/", Permission{Configure: ".*", Write: "(", Read: ".*"}); err == nil {
		t.Error("a bad expression is accepted")
	}
	if p, ok := d.Permission("anna", "/"); !ok || p != (Permission{"", "^jobs", ".*"}) || d.Epoch() != before {
		t.Errorf("after a refused change: %v %v", p, ok)
	}
	if !d.ClearPermission("anna", "/") || d.ClearPermission("anna", "/") || d.HasVHost("anna", "/") || !d.HasVHost("anna", "prod") {
		t.Error("ClearPermission is wrong")
	}
}

func TestTopicPermissions(t *testing.T) {
	d := new(Directory)
	for _, p := range []TopicPermission{
		{"plain", "^a\\.", ""},
		{"own", `^{vhost}\.{username}\.{client_id}\.`, ".*"},
		{"bare", "{client_id}", "^{unknown}$"},
	} {
		if err := d.SetTopicPermission("an.na", "v*", p); err != nil {
			t.Fatal(err)
		}
	}
	vars := func(id string) map[string]string { return map[string]string{"client_id": id} }
	for _, c := range []struct {
		exchange string
		action   Action
		key      string
		vars     map[string]string
		want     bool
	}{
		{"plain", Write, "a.b", nil, true},
		{"plain", Write, "b.a.", nil, false},
		{"plain", Read, "a.b", nil, false},
		{"plain", Read, "", nil, true},
		{"plain", Configure, "a.b", nil, false},
		{"without a row", Write, "anything", nil, true},
		{"own", Write, "v*.an.na.c1.temp", vars("c1"), true},
		{"own", Write, "v*.an.na.c2.temp", vars("c1"), false},
		{"own", Write, "vv.anxna.c1.temp", vars("c1"), false},
		{"own", Write, "v*.an.na.cX.temp", vars("c."), false},
		{"own", Write, "v*.an.na.anything.temp", vars(".*"), false},
		{"own", Write, "v*.an.na.x.temp", vars("x|.*"), false},
		{"own", Write, "v*.an.na.an.na.temp", vars("{username}"), false},
		{"own", Write, "v*.an.na.{username}.temp", vars("{username}"), true},
		{"own", Write, "v*.an.na.{client_id}.temp", nil, true}, // Stands for itself.
		{"own", Write, "v*.an.na..temp", vars(""), true},
		{"own", Write, "v*.an.na.x.temp", vars(strings.Repeat("x", pattern.LenMax)), false},
		{"bare", Write, "xc1x", vars("c1"), true},
		{"bare", Write, "anything", vars(""), false},
		{"bare", Read, "{unknown}", vars("c1"), true},
		{"bare", Read, "v", map[string]string{"unknown": "v"}, true},
	} {
		for range 2 { // Once compiled, once remembered.
			if got := d.TopicAllowed("an.na", "v*", c.exchange, c.action, c.key, c.vars); got != c.want {
				t.Errorf("exchange %s, %v %q with %.30v: %v", c.exchange, c.action, c.key, c.vars, got)
			}
		}
	}
	if !d.TopicAllowed("bob", "v*", "plain", Write, "x", nil) || !d.TopicAllowed("an.na", "/", "plain", Write, "x", nil) {
		t.Error("a row of somebody else counts")
	}
	for _, p := range []TopicPermission{{"plain", "(", ""}, {"plain", "", "[{username}"}, {"plain", strings.Repeat("{vhost}", pattern.LenMax), ""}} {
		if d.SetTopicPermission("an.na", "v*", p) == nil {
			t.Errorf("%.30v is accepted", p)
		}
	}
	if err := d.SetTopicPermission("{client_id}", "/", TopicPermission{"x", "^{username}$", ""}); err != nil {
		t.Fatal(err)
	}
	if d.TopicAllowed("{client_id}", "/", "x", Write, "c1", vars("c1")) || !d.TopicAllowed("{client_id}", "/", "x", Write, "{client_id}", vars("c1")) {
		t.Error("a user name is taken for a placeholder")
	}
	d.DeleteUser("{client_id}")
	if !d.ClearTopicPermission("an.na", "v*", "plain") || d.ClearTopicPermission("an.na", "v*", "plain") {
		t.Error("ClearTopicPermission is wrong")
	}
	if !d.TopicAllowed("an.na", "v*", "plain", Read, "b", nil) || d.TopicAllowed("an.na", "v*", "bare", Write, "b", vars("c")) {
		t.Error("the wrong row was cleared")
	}
	if !d.ClearTopicPermissions("an.na", "v*") || d.ClearTopicPermissions("an.na", "v*") || len(d.TopicPermissions()) != 0 {
		t.Error("ClearTopicPermissions is wrong")
	}
}

// Clients choose their ids; what is remembered of them must stay small.
func TestExpansionsAreBounded(t *testing.T) {
	d := new(Directory)
	if err := d.SetTopicPermission("u", "/", TopicPermission{"x", "^{client_id}$", ""}); err != nil {
		t.Fatal(err)
	}
	a, _ := d.state().access.Get("u")
	row, _ := a.topics.Get(topicKey{"/", "x"})
	for i := range 2500 {
		id := fmt.Sprint(i)
		if i < 1000 {
			id += strings.Repeat("c", i%300) // So few that bytes are the bound.
		}
		if !d.TopicAllowed("u", "/", "x", Write, id, map[string]string{"client_id": id}) {
			t.Fatalf("client %d is refused", i)
		}
		bytes := 0
		for expr := range row.write.mu.expanded {
			bytes += len(expr)
		}
		if n := len(row.write.mu.expanded); n > expandedMax || bytes > expandedBytesMax || bytes != row.write.mu.bytes {
			t.Fatalf("%d expansions of %d bytes, counted %d", n, bytes, row.write.mu.bytes)
		}
	}
	for i := range 3 * compiledMax {
		allow(t, d, "u", "/", fmt.Sprint("^", i), "", "")
	}
	if n := len(d.mu.compiled); n > compiledMax {
		t.Errorf("%d expressions kept", n)
	}
}

func TestLists(t *testing.T) {
	d := new(Directory)
	for _, user := range []string{"b", "a"} {
		for _, vhost := range []string{"/", "prod"} {
			allow(t, d, user, vhost, user, vhost, "")
			for _, exchange := range []string{"y", "x"} {
				if err := d.SetTopicPermission(user, vhost, TopicPermission{exchange, user, ""}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	row := func(r PermissionRow) string {
		if r.Configure != r.User || r.Write != r.VHost {
			t.Errorf("row %v has somebody else's permission", r)
		}
		return r.VHost + " " + r.User
	}
	topicRow := func(r TopicPermissionRow) string {
		if r.Write != r.User {
			t.Errorf("row %v has somebody else's permission", r)
		}
		return r.VHost + " " + r.User + " " + r.Exchange
	}
	check(t, d.Permissions(), row, "/ a", "/ b", "prod a", "prod b")
	check(t, d.PermissionsOf("b"), row, "/ b", "prod b")
	check(t, d.PermissionsIn("prod"), row, "prod a", "prod b")
	check(t, d.PermissionsOf("nobody"), row)
	check(t, d.TopicPermissions(), topicRow, "/ a x", "/ a y", "/ b x", "/ b y", "prod a x", "prod a y", "prod b x", "prod b y")
	check(t, d.TopicPermissionsOf("a"), topicRow, "/ a x", "/ a y", "prod a x", "prod a y")
	check(t, d.TopicPermissionsIn("/"), topicRow, "/ a x", "/ a y", "/ b x", "/ b y")

	d.DeleteVHost("/")
	check(t, d.Permissions(), row, "prod a", "prod b")
	check(t, d.TopicPermissions(), topicRow, "prod a x", "prod a y", "prod b x", "prod b y")
	d.DeleteUser("a")
	d.DeleteVHost("prod")
	if d.state().access.Len() != 0 {
		t.Errorf("%d users keep empty rows", d.state().access.Len())
	}
}

func check[R any](t *testing.T, rows []R, describe func(R) string, want ...string) {
	t.Helper()
	var got []string
	for _, r := range rows {
		got = append(got, describe(r))
	}
	if rows == nil || !slices.Equal(got, want) {
		t.Errorf("rows %v, want %v", got, want)
	}
}

func TestEveryChangeRaisesTheEpoch(t *testing.T) {
	d := new(Directory)
	for i, change := range []func(){
		func() { put(t, d, "u", "x") },
		func() { allow(t, d, "u", "/", "", "", "") },
		func() {
			if err := d.SetTopicPermission("u", "/", TopicPermission{"x", "", ""}); err != nil {
				t.Fatal(err)
			}
		},
		func() { d.ClearTopicPermission("u", "/", "x") },
		func() { d.ClearTopicPermissions("u", "/") },
		func() { d.ClearPermission("u", "/") },
		func() { d.DeleteVHost("/") },
		func() { d.DeleteUser("u") },
	} {
		before := d.Epoch()
		change()
		if d.Epoch() <= before {
			t.Errorf("change %d left the epoch at %d", i, before)
		}
	}
}

func TestUserPrintsWithoutHash(t *testing.T) {
	const hash = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
	u := User{Name: "anna", PasswordHash: hash, Tags: []string{"management"}}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{u, &u, []User{u}, map[string]User{"u": u}, struct{ User User }{u}} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("login", "user", u, "pointer", &u)
	}
	d := new(Directory)
	if err := d.PutUser(u); err != nil {
		t.Fatal(err)
	}
	_, err := d.Authenticate("anna", "pass phrase")
	fmt.Fprintf(&out, "%v %+v %#v\n", err, err, err)
	if s := out.String(); strings.Contains(s, hash[:10]) || strings.Contains(s, fmt.Sprintf("%x", hash[:5])) || strings.Contains(s, "pass phrase") {
		t.Errorf("a secret is in %s", s)
	}
	if got := fmt.Sprint(u); got != "user 'anna' [management]" {
		t.Errorf("prints as %q", got)
	}
}

// Readers check while others change: each answer must be one of a whole state.
func TestChecksDuringChanges(t *testing.T) {
	d := new(Directory)
	put(t, d, "u", "x")
	allow(t, d, "u", "/", "^a$", "^a$", "")
	done := make(chan struct{})
	var readers, writers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				epoch := d.Epoch()
				a, b := d.Allowed("u", "/", Write, "a"), d.Allowed("u", "/", Write, "b")
				if d.Epoch() == epoch && a == b {
					t.Error("both or neither of a and b are allowed")
					return
				}
				d.TopicAllowed("u", "/", "x", Write, "k", map[string]string{"client_id": "c"})
				d.Permissions()
				if _, err := d.Authenticate("u", "x"); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for g := range uint64(2) {
		writers.Go(func() {
			rng := rand.New(rand.NewPCG(g, 1))
			for range 500 {
				expr := []string{"^a$", "^b$"}[rng.IntN(2)]
				if err := d.SetPermission("u", "/", Permission{expr, expr, ""}); err != nil {
					t.Error(err)
				}
				if err := d.SetTopicPermission("u", "/", TopicPermission{"x", "{client_id}", ""}); err != nil {
					t.Error(err)
				}
				d.ClearTopicPermission("u", "/", "x")
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	// Each of the writers' changes counts, none was lost.
	if want := uint64(2 + 2*500*3); d.Epoch() != want {
		t.Errorf("epoch %d, want %d", d.Epoch(), want)
	}
}

func TestChecksDoNotAllocate(t *testing.T) {
	d := new(Directory)
	allow(t, d, "u", "/", "^jobs", ".*", "")
	if err := d.SetTopicPermission("u", "/", TopicPermission{"x", "^a\\.", ""}); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		d.Allowed("u", "/", Configure, "jobs.1")
		d.Allowed("u", "/", Write, "jobs.1")
		d.HasVHost("u", "/")
		d.TopicAllowed("u", "/", "x", Write, "a.b", nil)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzTopicAllowed holds that a client id is taken literally, whatever it is.
func FuzzTopicAllowed(f *testing.F) {
	f.Add("device-1", "device-2")
	f.Add(".*", "x")
	f.Add("a|", "")
	f.Add(`\E(?i)`, "{client_id}")
	f.Fuzz(func(t *testing.T, id, key string) {
		if len(id) > 200 {
			return
		}
		d := new(Directory)
		if err := d.SetTopicPermission("u", "/", TopicPermission{"x", `^(?:{client_id})$`, ""}); err != nil {
			t.Fatal(err)
		}
		vars := map[string]string{"client_id": id}
		// Bytes that are no UTF-8 all look alike to an expression.
		if valid := strings.ToValidUTF8(key, "\uFFFD"); d.TopicAllowed("u", "/", "x", Write, key, vars) && valid != strings.ToValidUTF8(id, "\uFFFD") && !strings.ContainsRune(id, '\uFFFD') && strings.ToValidUTF8(id, "") == id {
			t.Errorf("id %q lets key %q pass", id, key)
		}
		if strings.ToValidUTF8(id, "") == id && !d.TopicAllowed("u", "/", "x", Write, id, vars) {
			t.Errorf("id %q does not match itself", id)
		}
	})
}

// FuzzPutUser holds that no stored hash breaks a login, and that none of random
// bytes accepts anything.
func FuzzPutUser(f *testing.F) {
	f.Add("kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR", SHA256, "test13")
	f.Add("AAAA", MD5, "")
	f.Add("", "", "x")
	f.Fuzz(func(t *testing.T, hash, algorithm, password string) {
		d := new(Directory)
		if d.PutUser(User{Name: "u", PasswordHash: hash, Algorithm: algorithm}) != nil {
			return
		}
		if _, err := d.Authenticate("u", password); err == nil && password != "test12" {
			t.Errorf("%q accepts %q", hash, password)
		}
	})
}

func BenchmarkDirectory(b *testing.B) {
	d := new(Directory)
	for i := range 10_000 {
		name := fmt.Sprint("user-", i)
		put(b, d, name, "secret")
		allow(b, d, name, "/", "^user-.*", ".*", "^(jobs|mail)")
		if err := d.SetTopicPermission(name, "/", TopicPermission{"amq.topic", `^{username}\.`, ""}); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("authenticate", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := d.Authenticate("user-77", "secret"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("unknown user", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := d.Authenticate("stranger", "secret"); err == nil {
				b.Fatal("let in")
			}
		}
	})
	b.Run("allowed", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !d.Allowed("user-77", "/", Read, "jobs.1") {
				b.Fatal("refused")
			}
		}
	})
	b.Run("topic allowed", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !d.TopicAllowed("user-77", "/", "amq.topic", Write, "user-77.x", nil) {
				b.Fatal("refused")
			}
		}
	})
	b.Run("put user and permission", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := d.PutUser(User{Name: "new"}); err != nil {
				b.Fatal(err)
			}
			allow(b, d, "new", "/", ".*", ".*", ".*")
		}
	})
}
