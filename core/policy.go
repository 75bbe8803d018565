package core

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"leveret/core/pattern"
)

// policy is a policy or an operator policy, ready to be matched. It is
// immutable.
type policy struct {
	def      PolicyDef
	regex    *pattern.Regex
	settings Table   // Of its definition, sorted by name.
	not      typeSet // Queue types that it passes over because of one of them.
}

// newPolicy checks a policy, and says what is wrong with it in RabbitMQ's words.
func newPolicy(kind DefinitionKind, d PolicyDef) (*policy, error) {
	p := &policy{def: d}
	var wrong []string
	if err := p.settings.UnmarshalJSON([]byte(d.Definition)); err != nil {
		wrong = append(wrong, "definition must be a dictionary: "+d.Definition)
	} else if why := p.checkSettings(kind == DefOperatorPolicy); why != "" {
		wrong = append(wrong, why)
	}
	switch d.ApplyTo {
	case "all", "exchanges", "queues", "classic_queues", "quorum_queues", "streams":
	default:
		wrong = append(wrong, fmt.Sprintf("apply-to '%s' unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', 'streams', 'exchanges', or 'all'", d.ApplyTo))
	}
	var err error
	if p.regex, err = pattern.Compile(d.Pattern); err != nil {
		wrong = append(wrong, "pattern should be regular expression but is invalid: "+err.Error())
	}
	if wrong != nil {
		return nil, errorf(Invalid, "Validation failed\n\n%s\n", strings.Join(wrong, "\n"))
	}
	return p, nil
}

func (p *policy) checkSettings(operator bool) string {
	if len(p.settings) == 0 {
		return "no policy provided"
	}
	for i := range policyKeys {
		k := &policyKeys[i]
		v, ok := p.settings.Get(k.name)
		if !ok || operator && !k.operator {
			continue
		}
		if why := k.check(v); why != "" {
			return why
		}
		p.not |= k.not
	}
	var unknown []string
	for _, f := range p.settings {
		if k := policyKeyCalled(f.Name); k == nil || operator && !k.operator {
			unknown = append(unknown, "{"+jsonTerm(f.Name)+","+jsonTerm(f.Value)+"}")
		}
	}
	if unknown != nil {
		return "[" + strings.Join(unknown, ",") + "] are not recognised policy settings"
	}
	return p.checkRetry()
}

// checkRetry checks the settings of delayed retry against each other.
func (p *policy) checkRetry() string {
	kind, _ := p.settings.Get("delayed-retry-type")
	least, hasLeast := p.settings.Get("delayed-retry-min")
	most, hasMost := p.settings.Get("delayed-retry-max")
	if s, ok := kind.(string); ok && s != "disabled" && !hasLeast {
		return "delayed-retry-min is required when delayed-retry-type is " + s
	}
	if hasLeast && hasMost {
		a, _ := Integer(least)
		b, _ := Integer(most)
		if b < a {
			return fmt.Sprintf("delayed-retry-max (%d) must not be smaller than delayed-retry-min (%d)", b, a)
		}
	}
	return ""
}

// appliesToQueue reports whether p is meant for a queue of that name and type.
func (p *policy) appliesToQueue(name string, t QueueType) bool {
	switch p.def.ApplyTo {
	case "all", "queues":
	case "classic_queues":
		if t != QueueClassic {
			return false
		}
	case "quorum_queues":
		if t != QueueQuorum {
			return false
		}
	case "streams":
		if t != QueueStream {
			return false
		}
	default:
		return false
	}
	return p.not&t.bit() == 0 && p.regex.MatchString(name)
}

// appliesToExchange reports whether p is meant for an exchange of that name.
func (p *policy) appliesToExchange(name string) bool {
	return (p.def.ApplyTo == "all" || p.def.ApplyTo == "exchanges") && p.regex.MatchString(name)
}

// policySet are the policies of a virtual host at one moment. At most one
// policy and one operator policy apply to an object: those of the highest
// priority that are meant for it; of several with the same priority, the first
// by name. What policies it has is immutable.
type policySet struct {
	policies, operators []*policy // Descending priority, then by name.

	// applied has what each pair comes to, so that the many objects to which
	// the same policies apply share it.
	mu      sync.Mutex
	applied map[[2]*policy]*appliedPolicy
}

// appliedPolicy is what the policies say that apply to some object. It is
// immutable, but for old ones nobody asks which set it came from.
type appliedPolicy struct {
	policy, operator *policy // One of them may be nil.
	settings         Table   // Both, merged key by key, sorted by name.
}

func newPolicySet(policies, operators []*policy) *policySet {
	byPriority := func(a, b *policy) int {
		if a.def.Priority != b.def.Priority {
			return b.def.Priority - a.def.Priority
		}
		return strings.Compare(a.def.Name, b.def.Name)
	}
	slices.SortFunc(policies, byPriority)
	slices.SortFunc(operators, byPriority)
	return &policySet{policies: policies, operators: operators, applied: make(map[[2]*policy]*appliedPolicy)}
}

// forQueue returns what applies to a queue, nil for nothing.
func (s *policySet) forQueue(o *QueueOptions) *appliedPolicy {
	return s.pair(func(p *policy) bool { return p.appliesToQueue(o.Name, o.Type) })
}

// forExchange returns what applies to an exchange, nil for nothing.
func (s *policySet) forExchange(name string) *appliedPolicy {
	return s.pair(func(p *policy) bool { return p.appliesToExchange(name) })
}

func (s *policySet) pair(applies func(*policy) bool) *appliedPolicy {
	var pair [2]*policy
	for i, list := range [2][]*policy{s.policies, s.operators} {
		if at := slices.IndexFunc(list, applies); at >= 0 {
			pair[i] = list[at]
		}
	}
	if pair == [2]*policy{} {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.applied[pair]
	if a == nil {
		a = &appliedPolicy{policy: pair[0], operator: pair[1], settings: mergePolicies(pair[0], pair[1])}
		s.applied[pair] = a
	}
	return a
}

// mergePolicies merges a policy and an operator policy, key by key.
func mergePolicies(p, operator *policy) Table {
	switch {
	case operator == nil:
		return p.settings
	case p == nil:
		return operator.settings
	}
	merged := slices.Clone(p.settings)
	for _, f := range operator.settings {
		v, ok := merged.Get(f.Name)
		if ok {
			if k := policyKeyCalled(f.Name); k.merge != nil {
				f.Value = k.merge(v, f.Value)
			}
		}
		merged = merged.With(f.Name, f.Value)
	}
	slices.SortFunc(merged, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	return merged
}

// same reports whether a and b say the same under the same names.
func (a *appliedPolicy) same(b *appliedPolicy) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a == b || a.policy == b.policy && a.operator == b.operator
}

// get returns what the policies say about a setting.
func (a *appliedPolicy) get(name string) (any, bool) {
	if a == nil {
		return nil, false
	}
	return a.settings.Get(name)
}

// public is what operators see.
func (a *appliedPolicy) public() AppliedPolicy {
	var out AppliedPolicy
	if a != nil {
		out.Effective = a.settings
		if a.policy != nil {
			out.Policy = a.policy.def.Name
		}
		if a.operator != nil {
			out.Operator = a.operator.def.Name
		}
	}
	return out
}

// AppliedPolicy says which policies apply to a queue or an exchange.
type AppliedPolicy struct {
	Policy, Operator string // Their names, "" for none.
	Effective        Table  // Their settings, merged; read only.
}

// quorumDeliveryLimit is the delivery limit of quorum queues that name none.
const quorumDeliveryLimit = 20

// rulesUnder are the rules of a queue that was declared with o, where a
// applies, which may be nil.
func rulesUnder(o *QueueOptions, a *appliedPolicy) queueRules {
	r := rulesFrom(func(name string) (any, bool) {
		argument, declared := ruleArgument(o, name)
		set, ok := a.get(name)
		if !ok {
			// What a plugin calls the same in policies and arguments.
			set, ok = a.get("x-" + name)
		}
		switch {
		case ok && declared:
			k := policyKeyCalled(name)
			if k == nil {
				return argument, true
			}
			return k.argumentOrPolicy(o.Type, set, argument), true
		case ok:
			return set, true
		case declared:
			return argument, true
		case o.Type == QueueQuorum && name == "delivery-limit":
			return int64(quorumDeliveryLimit), true
		}
		return nil, false
	})
	if o.Type == QueueQuorum && r.overflow == overflowRejectDead {
		r.overflow = overflowDropHead // As in RabbitMQ.
	}
	return r
}
