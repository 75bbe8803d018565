package core

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"leveret/core/auth"
)

// login logs in with a password.
func login(b *Broker, user, password string, loopback bool) (Principal, error) {
	return b.Login(context.Background(), Credentials{User: user, Password: password, Loopback: loopback})
}

// fakeBackend knows users by "name password" and allows what is listed.
type fakeBackend struct {
	name string
	hold time.Duration

	mu      sync.Mutex
	users   map[string]Identity // By name and password.
	allowed map[string]bool     // As say writes questions.
	asked   []string
	down    bool
}

func say(q *AccessQuestion) string {
	s := fmt.Sprintf("%s %s %s", q.User.Name, q.Kind, q.VHost)
	if q.Kind != OnVHost {
		s += fmt.Sprintf(" %s %s", q.Action, q.Name)
	}
	if q.Kind == OnTopic {
		s += " " + q.Key
	}
	return s
}

var errDown = errors.New("the backend is down")

func (f *fakeBackend) Name() string { return f.name }

func (f *fakeBackend) Authenticate(_ context.Context, c *Credentials) (Identity, error) {
	return f.find(c.User + " " + c.Password)
}

func (f *fakeBackend) Authorise(_ context.Context, user string, _ *Credentials) (Identity, error) {
	return f.find(user)
}

func (f *fakeBackend) find(key string) (Identity, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return Identity{}, errDown
	}
	id, ok := f.users[key]
	if !ok {
		return Identity{}, errors.New("nobody")
	}
	return id, nil
}

func (f *fakeBackend) Allows(_ context.Context, _ any, q *AccessQuestion) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, say(q))
	if f.down {
		return false, errDown
	}
	return f.allowed[say(q)], nil
}

func (f *fakeBackend) Hold() time.Duration { return f.hold }

// takeAsked returns what was asked since it was called last.
func (f *fakeBackend) takeAsked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	asked := f.asked
	f.asked = nil
	return asked
}

func (f *fakeBackend) set(question string, yes bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.allowed[question] = yes
}

func TestFirstStepThatKnowsTheUserWins(t *testing.T) {
	first := &fakeBackend{name: "first", users: map[string]Identity{
		"anna a":  {User: "anna", Tags: []string{"monitoring"}},
		"guest x": {User: "guest"},
	}}
	names := &fakeBackend{name: "names", users: map[string]Identity{"carl c": {User: "carl"}, "guest g": {User: "guest"}, "eve e": {User: "eve"}}}
	rights := &fakeBackend{name: "rights", users: map[string]Identity{"carl": {User: "carl", Tags: []string{"management"}}}}
	b, err := New(Options{Access: []AccessStep{
		{Authenticator: first},
		{},
		{Authenticator: names, Authorisers: []AccessBackend{rights}},
		{Authenticator: names, Authorisers: []AccessBackend{nil}},
	}})
	must(t, err)
	t.Cleanup(func() { b.Close() })
	for _, c := range []struct {
		user, password string
		tags           []string
		grants         int // -1 if refused.
	}{
		{"anna", "a", []string{"monitoring"}, 1},
		{"guest", "x", nil, 1},
		{"guest", "guest", []string{"administrator"}, 0},
		{"carl", "c", []string{"management"}, 1},
		{"guest", "g", []string{"administrator"}, 0}, // Known to names; its rights are the directory's.
		{"eve", "e", nil, -1},                        // Known to names, but nobody knows what it may do.
		{"anna", "", nil, -1},
		{"", "", nil, -1},
	} {
		p, err := login(b, c.user, c.password, true)
		if c.grants < 0 {
			refused(t, err, AccessRefused, "user '"+c.user+"': invalid credentials")
			continue
		}
		if err != nil || p.Name != c.user || !slices.Equal(p.Tags, c.tags) || len(p.grants) != c.grants {
			t.Errorf("%s %s: %v with %d grants, %v", c.user, c.password, p, len(p.grants), err)
		}
	}
	if _, err := login(b, "guest", "x", false); !errors.Is(err, ErrLoopbackOnly) {
		t.Errorf("guest from elsewhere: %v", err)
	}
	first.down = true
	if p, err := login(b, "guest", "guest", true); err != nil || p.asked() {
		t.Errorf("behind a step that is down: %v, %v", p, err)
	}
	if _, err := login(b, "anna", "a", true); err == nil {
		t.Error("let in though the backend is down")
	}
}

func TestAllAuthorisersMustAgree(t *testing.T) {
	names := &fakeBackend{name: "names", hold: -1, users: map[string]Identity{"guest g": {User: "guest"}, "guest": {User: "guest"}},
		allowed: map[string]bool{"guest vhost /": true, "guest queue / read q": true}}
	b, err := New(Options{Access: []AccessStep{{Authenticator: names, Authorisers: []AccessBackend{names, nil}}}})
	must(t, err)
	t.Cleanup(func() { b.Close() })
	p, err := login(b, "guest", "g", true)
	must(t, err)
	s, err := b.OpenSession(SessionOptions{VHost: "/", Principal: p})
	must(t, err)
	defer s.Close()
	if !s.allowed(OnQueue, auth.Read, "q", "") || s.allowed(OnQueue, auth.Write, "q", "") {
		t.Error("what both allow is refused, or what one refuses allowed")
	}
	must(t, b.SetPermission("guest", "/", auth.Permission{}))
	if s.allowed(OnQueue, auth.Read, "q", "") {
		t.Error("the directory's refusal does not count")
	}
	must(t, b.ClearPermission("guest", "/"))
	if _, err := b.OpenSession(SessionOptions{VHost: "/", Principal: p}); err == nil {
		t.Error("entered a virtual host that the directory refuses")
	}
}

// opened is a session of anna, whom a backend knows.
func opened(t *testing.T, f *fakeBackend, id Identity) (*Broker, *Session) {
	t.Helper()
	id.User = "anna"
	f.users = map[string]Identity{"anna a": id}
	if f.allowed == nil {
		f.allowed = make(map[string]bool)
	}
	f.allowed["anna vhost /"] = true
	b, err := New(Options{Access: []AccessStep{{Authenticator: f}, {}}})
	must(t, err)
	p, err := login(b, "anna", "a", false)
	must(t, err)
	s, err := b.OpenSession(SessionOptions{VHost: "/", Principal: p})
	must(t, err)
	t.Cleanup(func() { s.Close(); b.Close() })
	return b, s
}

func TestAnswersOfOthersAreRememberedForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeBackend{name: "f", hold: 10 * time.Second, allowed: map[string]bool{
			"anna exchange / write amq.topic": true, "anna topic / write amq.topic a.b": true,
		}}
		_, s := opened(t, f, Identity{})
		p := s.NewPublisher(completion(func(Kind) {}))
		route := func(key string) error {
			target, err := p.Target("amq.topic")
			if err != nil {
				return err
			}
			var m Publication
			m.Reset()
			m.RoutingKey = key
			_, err = p.Route(target, &m)
			p.Discard()
			return err
		}
		f.takeAsked()
		for range 3 {
			must(t, route("a.b"))
			refused(t, route("c"), AccessRefused, "write access to topic 'c' in exchange 'amq.topic' in vhost '/' refused for user 'anna'")
		}
		want := []string{"anna exchange / write amq.topic", "anna topic / write amq.topic a.b", "anna topic / write amq.topic c"}
		if got := f.takeAsked(); !slices.Equal(got, want) {
			t.Errorf("asked %q, want %q", got, want)
		}
		f.set("anna topic / write amq.topic a.b", false)
		time.Sleep(9 * time.Second)
		must(t, route("a.b"))
		time.Sleep(time.Second)
		refused(t, route("a.b"), AccessRefused, "write access to topic 'a.b' in exchange 'amq.topic' in vhost '/' refused for user 'anna'")
	})
}

func TestPassiveDeclareNeedsAnyRightAndShowsNothingWithoutOne(t *testing.T) {
	b := testBroker(t)
	must(t, b.PutUser(auth.User{Name: "u"}))
	guest := testSession(t, b, "guest")
	for _, name := range []string{"c", "w", "r", "none"} {
		declare(t, guest, name)
		must(t, guest.DeclareExchange(ExchangeDeclare{Name: name, Type: "direct"}))
	}
	must(t, b.SetPermission("u", "/", auth.Permission{Configure: "^c", Write: "^w", Read: "^r"}))
	s := testSession(t, b, "u")
	for _, name := range []string{"c", "w", "r"} {
		_, err := s.DeclareQueue(QueueDeclare{Name: name, Passive: true})
		must(t, err)
		must(t, s.DeclareExchange(ExchangeDeclare{Name: name, Passive: true, Type: "direct"}))
		_, err = s.DeclareQueue(QueueDeclare{Name: name + "?", Passive: true})
		refused(t, err, NotFound, "no queue '"+name+"?' in vhost '/'")
	}
	for _, name := range []string{"none", "no such"} {
		_, err := s.DeclareQueue(QueueDeclare{Name: name, Passive: true})
		refused(t, err, AccessRefused, "configure access to queue '"+name+"' in vhost '/' refused for user 'u'")
		err = s.DeclareExchange(ExchangeDeclare{Name: name, Passive: true, Type: "direct"})
		refused(t, err, AccessRefused, "configure access to exchange '"+name+"' in vhost '/' refused for user 'u'")
	}
}

func TestExpiryEndsTheSessionAndWhatItMayDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeBackend{name: "f", hold: -1, allowed: map[string]bool{"anna exchange / write amq.direct": true}}
		b, s := opened(t, f, Identity{ExpiresAt: time.Now().Add(time.Minute)})
		ctx, cancel := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() { b.Run(ctx) })
		defer running.Wait()
		defer cancel()
		ended := make(chan string, 1)
		s.OnClose(func(reason string) { ended <- reason })
		p := s.NewPublisher(completion(func(Kind) {}))

		time.Sleep(30 * time.Second)
		f.users["anna fresh"] = Identity{User: "anna", ExpiresAt: time.Now().Add(time.Minute)}
		must(t, b.Renew(ctx, s, Credentials{User: "anna", Password: "fresh"}))
		f.users["anna other"] = Identity{User: "eve"}
		if err := b.Renew(ctx, s, Credentials{User: "anna", Password: "other"}); err == nil {
			t.Error("a renewal made another user of anna")
		}
		if err := b.Renew(ctx, s, Credentials{User: "anna", Password: "wrong"}); err == nil {
			t.Error("a renewal with a wrong password")
		}
		time.Sleep(59 * time.Second)
		if _, err := p.Target("amq.direct"); err != nil {
			t.Errorf("a second before the end: %v", err)
		}
		select {
		case reason := <-ended:
			t.Fatalf("ended too early: %s", reason)
		default:
		}
		time.Sleep(time.Second)
		synctest.Wait()
		select {
		case reason := <-ended:
			if reason != ExpiredReason || !s.Expired() {
				t.Errorf("ended: %s, expired %v", reason, s.Expired())
			}
		default:
			t.Error("not ended")
		}
		_, err := p.Target("amq.direct")
		refused(t, err, AccessRefused, "write access to exchange 'amq.direct' in vhost '/' refused for user 'anna'")
	})
}

func TestRenewalAppliesAtOnce(t *testing.T) {
	f := &fakeBackend{name: "f", hold: -1, allowed: map[string]bool{"anna queue / read q": true, "anna exchange / write amq.direct": true}}
	b, s := opened(t, f, Identity{})
	guest := testSession(t, b, "guest")
	declare(t, guest, "q")
	cancelled := ""
	_, err := s.Consume(ConsumeOptions{Queue: "q", Cancelled: func(_ *Consumer, why string) { cancelled = why }})
	must(t, err)
	p := s.NewPublisher(completion(func(Kind) {}))
	_, err = p.Target("amq.direct")
	must(t, err)

	f.set("anna queue / read q", false)
	f.set("anna exchange / write amq.direct", false)
	must(t, b.Renew(t.Context(), s, Credentials{User: "anna", Password: "a"}))
	if cancelled == "" || len(s.Consumers()) != 0 {
		t.Error("the consumer stays")
	}
	if _, err := p.Target("amq.direct"); err == nil {
		t.Error("what was allowed before counts on")
	}
}

func TestAskingHoldsUpNobodyElse(t *testing.T) {
	f := &slowBackend{asked: make(chan struct{})}
	b, err := New(Options{Access: []AccessStep{{Authenticator: f}, {}}})
	must(t, err)
	p, err := login(b, "slow", "x", false)
	must(t, err)
	s, err := b.OpenSession(SessionOptions{VHost: "/", Principal: p})
	must(t, err)
	t.Cleanup(func() { s.Close(); b.Close() })
	done := make(chan error, 1)
	go func() { // Ends when the question is answered.
		_, err := s.DeclareQueue(QueueDeclare{Name: "q"})
		done <- err
	}()
	<-f.asked
	guest := testSession(t, b, "guest")
	declare(t, guest, "q") // The same name, meanwhile.
	must(t, b.PutUser(auth.User{Name: "new"}))
	go s.End("enough") // Also ends the question.
	if err := <-done; err == nil {
		t.Error("an unanswered question allows")
	}
}

// slowBackend answers questions about queues when their context ends.
type slowBackend struct{ asked chan struct{} }

func (f *slowBackend) Name() string { return "slow" }
func (f *slowBackend) Authenticate(_ context.Context, c *Credentials) (Identity, error) {
	if c.User != "slow" {
		return Identity{}, errors.New("nobody")
	}
	return Identity{User: c.User}, nil
}
func (f *slowBackend) Authorise(context.Context, string, *Credentials) (Identity, error) {
	return Identity{}, errDown
}
func (f *slowBackend) Allows(ctx context.Context, _ any, q *AccessQuestion) (bool, error) {
	if q.Kind == OnVHost {
		return true, nil
	}
	close(f.asked)
	<-ctx.Done()
	return true, ctx.Err()
}
func (f *slowBackend) Hold() time.Duration { return 0 }

func TestWillsOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeBackend{name: "f", hold: -1, allowed: map[string]bool{"anna exchange / write amq.topic": true, "anna topic / write amq.topic gone": true}}
		_, s := opened(t, f, Identity{ExpiresAt: time.Now().Add(time.Minute)})
		_, _, err := s.Attach(t.Context(), ClientOptions{ID: "refused", Will: &Will{Exchange: "amq.topic", RoutingKey: "other"}})
		refused(t, err, AccessRefused, "write access to topic 'other' in exchange 'amq.topic' in vhost '/' refused for user 'anna'")
		w, err := newWill(s, &Will{Exchange: "amq.topic", RoutingKey: "gone", TTLMS: -1})
		must(t, err)
		again := *w // As a restart brings it back.
		again.by = nil
		anothers := again // It needs a user in the directory as well, and there is none.
		anothers.author.Directory = true
		nobodys := again
		nobodys.author = WillAuthor{}
		publish := func(w *will) (sent bool) {
			if err := w.publish(s.vhost, 0, func() { sent = true }); (err == nil) != sent {
				t.Errorf("sent %v: %v", sent, err)
			}
			return sent
		}
		for _, c := range []struct {
			what  string
			w     *will
			sent  bool
			first func()
		}{
			{"as it was left", w, true, func() {}},
			{"no more allowed", w, false, func() { f.set("anna topic / write amq.topic gone", false) }},
			{"allowed, but nobody says so", w, false, func() { f.set("anna topic / write amq.topic gone", true); f.down = true }},
			{"after a restart", &again, true, func() {}},
			{"after a restart, the user is gone", &anothers, false, func() {}},
			{"of nobody", &nobodys, false, func() {}},
			{"expired", w, false, func() { f.down = false; time.Sleep(time.Minute) }},
			{"expired, after a restart", &again, false, func() {}},
		} {
			if c.first(); publish(c.w) != c.sent {
				t.Errorf("%s: sent %v, want %v", c.what, !c.sent, c.sent)
			}
		}
	})
}

func TestRenewalEndsSubscriptionsAndRedatesTheWill(t *testing.T) {
	f := &fakeBackend{name: "f", hold: -1, allowed: map[string]bool{
		"anna queue / configure q": true, "anna queue / write q": true, "anna queue / read q": true, "anna exchange / read amq.topic": true,
		"anna topic / read amq.topic a": true, "anna topic / read amq.topic b": true,
		"anna exchange / write amq.topic": true, "anna topic / write amq.topic gone": true,
	}}
	soon := time.Now().Add(time.Hour)
	b, s := opened(t, f, Identity{ExpiresAt: soon})
	c, _, err := s.Attach(t.Context(), ClientOptions{ID: "c", ExpiryMS: -1, Queue: "q", DirectQueue: "d",
		Will: &Will{Exchange: "amq.topic", RoutingKey: "gone", TTLMS: -1}})
	must(t, err)
	_, errs := c.Subscribe([]Subscription{{Filter: "a", Exchange: "amq.topic", Key: "a", Grade: 1}, {Filter: "b", Exchange: "amq.topic", Key: "b", Grade: 1}})
	must(t, errors.Join(errs...))

	f.set("anna topic / read amq.topic a", false)
	f.users["anna fresh"] = Identity{User: "anna", ExpiresAt: soon.Add(time.Hour)}
	must(t, b.Renew(t.Context(), s, Credentials{User: "anna", Password: "fresh"}))
	ended, err := c.Renewed(nil)
	must(t, err)
	if len(ended) != 1 || ended[0].Filter != "a" || len(c.Subscriptions()) != 1 {
		t.Errorf("ended %v, left %v", ended, c.Subscriptions())
	}
	d, _, err := b.definitions.Get(DefWill, c.key())
	must(t, err)
	if got := d.(WillDef).Author; got.ExpiresMS != soon.Add(time.Hour).UnixMilli() || !got.Vouched || got.Directory {
		t.Errorf("the stored will is of %+v", got)
	}
	if _, _, err := b.definitions.Get(DefSubscription, append(c.key(), "a")); err != nil {
		t.Error(err)
	}
	if ended, err = c.Renewed(nil); len(ended) != 0 || err != nil {
		t.Errorf("again: %v, %v", ended, err)
	}
}

func TestLoginAttemptsAreCounted(t *testing.T) {
	b := testBroker(t)
	try := func(protocol, peer, password string) {
		b.Login(t.Context(), Credentials{User: "guest", Password: password, Protocol: protocol, Peer: peer, Loopback: true})
	}
	try(ProtocolAMQP, "10.0.0.1", "guest")
	try(ProtocolAMQP, "10.0.0.1", "no")
	try(ProtocolMQTT, "10.0.0.2", "no")
	try("new", "", "guest")
	want := []LoginAttemptRow{
		{AttemptSource{"", "guest", "other"}, 1, 0},
		{AttemptSource{"10.0.0.1", "guest", ProtocolAMQP}, 1, 1},
		{AttemptSource{"10.0.0.2", "guest", ProtocolMQTT}, 0, 1},
	}
	if got := b.LoginAttempts().Sources(); !slices.Equal(got, want) {
		t.Errorf("sources %v, want %v", got, want)
	}
	if got := b.LoginAttempts().Protocols()[2]; got != (LoginAttemptRow{AttemptSource{Protocol: ProtocolAMQP}, 1, 1}) {
		t.Errorf("protocol %v", got)
	}
	for i := range 3 * attemptSourcesMax {
		try(ProtocolHTTP, fmt.Sprint(i), "no")
	}
	if n := len(b.LoginAttempts().Sources()); n > attemptSourcesMax {
		t.Errorf("%d sources are remembered", n)
	}
	b.LoginAttempts().Reset()
	if got := b.LoginAttempts().Protocols()[1]; got.Failed != 0 || len(b.LoginAttempts().Sources()) != 0 {
		t.Error("not reset")
	}
}
