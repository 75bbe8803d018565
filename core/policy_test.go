package core

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
)

func policyDef(name, patt, definition string) PolicyDef {
	return PolicyDef{VHost: "/", Name: name, Pattern: patt, Definition: definition}
}

// rulesInForce is what q does by.
func rulesInForce(q Queue) queueRules {
	c := q.(*classic)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.rules
}

func TestPoliciesComeBack(t *testing.T) {
	store := NewMemoryDefinitions()
	b, err := New(Options{Definitions: store})
	must(t, err)
	s := testSession(t, b, "guest")
	must(t, s.declareQueue("q", QueueDeclare{Durable: true}, "x-message-ttl", int32(50)))
	must(t, s.DeclareExchange(ExchangeDeclare{Name: "x", Type: "direct", Durable: true}))
	must(t, b.PutPolicy(policyDef("p", "^[qx]$", `{"message-ttl": 20, "alternate-exchange": "amq.fanout"}`)))
	must(t, b.PutOperatorPolicy(policyDef("o", "^q$", `{"message-ttl": 10}`)))
	must(t, b.Close())

	b, err = New(Options{Definitions: store})
	must(t, err)
	defer b.Close()
	v, _ := b.VHost("/")
	q, _ := v.Queue("q")
	if p := v.QueuePolicy(q); p.Policy != "p" || p.Operator != "o" {
		t.Errorf("policies of q: %+v", p)
	}
	if ttl := rulesInForce(q).ttlMS; ttl != 10 {
		t.Errorf("TTL is %d", ttl)
	}
	if ae := v.exchange("x").alternate.Load(); ae == nil || *ae != "amq.fanout" {
		t.Error("x has no alternate exchange")
	}
	must(t, b.ClearOperatorPolicy("/", "o"))
	must(t, b.ClearPolicy("/", "p"))
	if ttl := rulesInForce(q).ttlMS; ttl != 50 {
		t.Errorf("TTL is %d without policies", ttl)
	}
	if v.exchange("x").alternate.Load() != nil {
		t.Error("x still has an alternate exchange")
	}
}

// TestPoliciesRace changes policies while queues and exchanges come and go and
// messages are published. In the end everything is under what the policies say.
func TestPoliciesRace(t *testing.T) {
	b := testBroker(t)
	v, _ := b.VHost("/")
	rounds := 300
	if testing.Short() {
		rounds = 50
	}
	var wg sync.WaitGroup
	for w := range 4 {
		s := testSession(t, b, "guest")
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(w)))
			p := s.NewPublisher(discardCompletions{})
			for i := range rounds {
				name := fmt.Sprintf("%c%d", 'a'+rnd.IntN(3), rnd.IntN(20))
				switch rnd.IntN(8) {
				case 0:
					s.DeleteQueue(name, false, false)
				case 1:
					s.DeleteExchange("x"+name, false)
				case 2:
					s.DeclareExchange(ExchangeDeclare{Name: "x" + name, Type: "fanout"})
				case 3:
					b.PutPolicy(PolicyDef{
						VHost: "/", Name: fmt.Sprint("p", rnd.IntN(4)), Pattern: string(rune('a' + rnd.IntN(3))), Priority: rnd.IntN(3),
						Definition: fmt.Sprintf(`{"message-ttl": %d, "alternate-exchange": "x%s"}`, 1000+i, name),
					})
				case 4:
					b.ClearPolicy("/", fmt.Sprint("p", rnd.IntN(4)))
				case 5:
					b.PutOperatorPolicy(policyDef("o", "1$", fmt.Sprintf(`{"message-ttl": %d}`, 1000+rnd.IntN(100))))
				default:
					s.declareQueue(name, QueueDeclare{})
					target, err := p.Target("")
					if err != nil {
						t.Error(err)
						return
					}
					var m [1]Publication
					m[0].Reset()
					m[0].RoutingKey, m[0].Body = name, []byte("m")
					if _, err := p.Route(target, &m[0]); err != nil {
						t.Error(err)
						return
					}
					var touched Touched
					p.Publish(m[:], &touched)
					touched.Flush()
				}
			}
		})
	}
	wg.Wait()
	v.sweep()
	set := v.policies.Load()
	for d := range v.declaredQueues() {
		a := set.forQueue(d.queue.Options())
		if !a.same(d.policy.Load()) || rulesInForce(d.queue) != rulesUnder(d.queue.Options(), a) {
			t.Errorf("queue %s: %+v in force, %+v is due", d.name, rulesInForce(d.queue), rulesUnder(d.queue.Options(), a))
		}
	}
	upstream := make(map[string]map[*Exchange]int)
	for x := range v.Exchanges() {
		if x.name == "" {
			continue
		}
		due := x.alternateUnder(set.forExchange(x.name))
		now := x.alternate.Load()
		if (due == nil) != (now == nil) || due != nil && *due != *now {
			t.Errorf("exchange %s has another alternate than the policies say", x.name)
		}
		if now != nil {
			if upstream[*now] == nil {
				upstream[*now] = make(map[*Exchange]int)
			}
			upstream[*now][x]++
		}
	}
	v.tables.Lock()
	defer v.tables.Unlock()
	if got, want := fmt.Sprint(v.tables.upstream), fmt.Sprint(upstream); got != want {
		t.Errorf("ways between exchanges\n%s\nwant\n%s", got, want)
	}
}

type discardCompletions struct{}

func (discardCompletions) Completed(uint64, uint64, Kind) {}

// BenchmarkPolicySweep is what a policy change for 100,000 queues takes.
func BenchmarkPolicySweep(b *testing.B) {
	broker := testBroker(b)
	s := testSession(b, broker, "guest")
	for i := range 100_000 {
		must(b, s.declareQueue(fmt.Sprint("device.", i), QueueDeclare{}))
	}
	for i := range 10 {
		must(b, broker.PutPolicy(policyDef(fmt.Sprint("other", i), "^other", `{"max-length": 10}`)))
	}
	n := 0
	for b.Loop() {
		n++
		must(b, broker.PutPolicy(policyDef("p", "^device", fmt.Sprintf(`{"message-ttl": %d}`, n))))
	}
}

// FuzzPolicy holds that any definition is refused or can be in force.
func FuzzPolicy(f *testing.F) {
	f.Add(`{"message-ttl": 1000, "overflow": "reject-publish"}`, "^q", "queues", `{"message-ttl": 5}`)
	f.Add(`{"delivery-limit": -1, "delayed-retry-type": "all", "delayed-retry-min": 5}`, "(?=q)", "all", `{"delivery-limit": 3}`)
	f.Add(`{"max-age": "1D", "alternate-exchange": {"a": [1, null]}}`, "(", "", `[]`)
	f.Fuzz(func(t *testing.T, definition, patt, applyTo, operator string) {
		p, err := newPolicy(DefPolicy, PolicyDef{Name: "p", Pattern: patt, ApplyTo: applyTo, Definition: definition})
		if err != nil {
			return
		}
		operators := []*policy{}
		if o, err := newPolicy(DefOperatorPolicy, PolicyDef{Name: "o", Pattern: patt, ApplyTo: applyTo, Definition: operator}); err == nil {
			operators = append(operators, o)
		}
		set := newPolicySet([]*policy{p}, operators)
		for _, queueType := range []QueueType{QueueClassic, QueueQuorum, QueueStream} {
			o := &QueueOptions{Name: "q", Type: queueType, Arguments: table("x-max-length", int8(5), "x-overflow", "drop-head")}
			if r := rulesUnder(o, set.forQueue(o)); r.ttlMS < -1 || r.maxLength < -1 || queueType != QueueStream && r.maxLength > 5 {
				t.Errorf("%s gives a %s queue %+v", definition, queueType, r)
			}
		}
		set.forExchange("q")
	})
}
