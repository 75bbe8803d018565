package mqtt

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"leveret/adapters/mqtt/wire"
	"leveret/core"
	"leveret/core/auth"
)

// elsewhere knows anna by any password, and allows her all but the topics listed.
type elsewhere struct {
	mu      sync.Mutex
	refused []string // "write KEY" and "read KEY"
}

func (f *elsewhere) refuse(what ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused = what
}

func (f *elsewhere) Name() string { return "elsewhere" }

func (f *elsewhere) Authenticate(_ context.Context, c *core.Credentials) (core.Identity, error) {
	if c.User != "anna" {
		return core.Identity{}, errors.New("nobody")
	}
	return core.Identity{User: "anna"}, nil
}

func (f *elsewhere) Authorise(context.Context, string, *core.Credentials) (core.Identity, error) {
	return core.Identity{}, auth.ErrRefused
}

func (f *elsewhere) Allows(_ context.Context, _ any, q *core.AccessQuestion) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return q.Kind != core.OnTopic || !slices.Contains(f.refused, q.Action.String()+" "+q.Key), nil
}

func (f *elsewhere) Hold() time.Duration { return -1 }

// anna connects with the authentication method that lets her renew.
func anna(p *wire.ConnectPacket) {
	p.HasUser, p.User = true, "anna"
	p.HasAuthMethod, p.AuthMethod, p.AuthData = true, authMethod, []byte("token")
}

func TestRenewalEndsWhatIsNoLongerAllowed(t *testing.T) {
	for _, keep := range []bool{false, true} {
		f := &elsewhere{}
		s := newTestServer(t, func(o *Options, co *core.Options) {
			o.KeepUnauthorized = keep
			co.Access = []core.AccessStep{{Authenticator: f}, {}}
		})
		c, _ := s.open(t, wire.V5, "c", func(p *wire.ConnectPacket) { anna(p); lasting(p) })
		if got := c.subscribe(1, "a", "b", "$share/g/d"); !slices.Equal(got, []wire.Code{1, 1, 1}) {
			t.Fatal(got)
		}
		f.refuse("read a", "read d")
		c.send(wire.AppendAuth(nil, &wire.AuthPacket{Code: wire.ReAuthenticate, Method: authMethod, Data: []byte("less")}, 0))
		if !keep {
			c.expectClosed(wire.NotAuthorized)
			var ack *wire.ConnackPacket
			c, ack = s.open(t, wire.V5, "c", func(p *wire.ConnectPacket) { anna(p); lasting(p) })
			if !ack.SessionPresent {
				t.Error("the session is gone")
			}
		} else {
			c.expect(wire.Auth)
		}
		from, _ := s.open(t, wire.V5, "from", nil)
		for i, topic := range []string{"a", "d", "b"} {
			from.publish(pub{topic: topic, payload: topic, qos: 1, id: uint16(i + 1)})
		}
		if m := c.expectPublish(); m.topic != "b" {
			t.Errorf("keep %v: %+v", keep, m)
		}
		from.nc.Close()
	}
}

func TestWillOfAUserFromElsewhere(t *testing.T) {
	f, said := &elsewhere{}, &logBuffer{}
	s := newTestServer(t, func(_ *Options, co *core.Options) {
		co.Access = []core.AccessStep{{Authenticator: f}, {}}
		co.Logger = slog.New(slog.NewTextHandler(said, nil))
	})
	leave := func(p *wire.ConnectPacket) {
		anna(p)
		p.Will = &wire.Will{Topic: "gone/" + p.ClientID, Payload: []byte("x"), QoS: 1}
	}
	f.refuse("write gone.first")
	if ack := s.dial(t).connect(wire.V5, "first", leave); ack.Code != wire.NotAuthorized {
		t.Error(ack.Code)
	}
	watch, _ := s.open(t, wire.V5, "watch", nil)
	watch.subscribe(0, "gone/#")
	second, _ := s.open(t, wire.V5, "second", leave)
	third, _ := s.open(t, wire.V5, "third", leave)
	f.refuse("write gone.second") // Taken back while it is connected.
	second.nc.Close()
	waitFor(t, "the end of the will", func() bool { return strings.Contains(said.String(), "will not sent") })
	third.nc.Close()
	if m := watch.expectPublish(); m.topic != "gone/third" {
		t.Errorf("%+v", m)
	}
}
