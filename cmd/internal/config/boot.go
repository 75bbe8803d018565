package config

// Boot is what a new broker, or a new virtual host, is given besides the
// default user: RabbitMQ's keys default_*, which have no flags.
type Boot struct {
	UserTags         []string    // Of the default user; nil for administrator.
	Permission       *Permission // Of the default user; nil for everything.
	Users            []DefaultUser
	Limits           []DefaultLimit
	OperatorPolicies []DefaultPolicy
}

// Permission has the three patterns of a permission.
type Permission struct{ Configure, Write, Read string }

// DefaultUser is made with, and permitted in, each new virtual host whose name
// matches.
type DefaultUser struct {
	Name       string
	Password   string // Empty: none, so nobody can log in with one.
	VHosts     string // A pattern.
	Permission Permission
	Tags       []string
}

func (u *DefaultUser) init() {
	u.VHosts, u.Permission = ".*", Permission{".*", ".*", ".*"}
}

// DefaultLimit limits each new virtual host whose name matches.
type DefaultLimit struct {
	ID, VHosts                string
	MaxConnections, MaxQueues int64 // 0 for none.
}

func (d *DefaultLimit) init() { d.VHosts = ".*" }

// DefaultPolicy is an operator policy of each new virtual host whose name
// matches.
type DefaultPolicy struct {
	ID, VHosts, Queues, ApplyTo string
	Definition                  map[string]int64
}

func (p *DefaultPolicy) init() {
	p.VHosts, p.Queues, p.ApplyTo, p.Definition = ".*", ".*", "queues", map[string]int64{}
}
