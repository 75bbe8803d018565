package core

import "leveret/core/auth"

// The values that Definitions holds, one type for each kind. They are passed by
// value and never changed once committed; slices and tables in them are shared.

// VHostDef describes a virtual host. Its key is the name. The predeclared
// exchanges come with it and have no definition of their own.
type VHostDef struct {
	Name             string
	Description      string
	Tags             []string
	DefaultQueueType string // "" for classic.
	Tracing          bool
}

// UserDef describes a user. Its key is the name.
type UserDef = auth.User

// PermissionDef grants a user access to a virtual host. Its key is vhost, user.
type PermissionDef = auth.PermissionRow

// TopicPermissionDef restricts the routing keys a user may use with one topic
// exchange. Its key is vhost, user, exchange.
type TopicPermissionDef = auth.TopicPermissionRow

// ExchangeDef describes an exchange. Its key is vhost, name.
type ExchangeDef struct {
	VHost, Name, Type             string
	Durable, AutoDelete, Internal bool
	Arguments                     Table
}

// QueueDef describes a queue. Its key is vhost, name.
type QueueDef struct {
	VHost, Name                    string
	Type                           QueueType
	Durable, Exclusive, AutoDelete bool
	Arguments                      Table
	ID                             QueueID
	Shard                          uint16
	Owner                          uint64 // The session that owns an exclusive queue.
}

// BindingDef describes a binding. Its key is made by bindingKey.
type BindingDef struct {
	VHost string
	Binding
}

// PolicyDef describes a policy or an operator policy. Its key is vhost, name.
type PolicyDef struct {
	VHost, Name, Pattern string
	ApplyTo              string
	Priority             int
	Definition           string // A JSON object.
}

// ParameterDef is a value kept for a component of the broker. Its key is
// component, vhost, name.
type ParameterDef struct {
	Component, VHost, Name string
	Value                  string // JSON.
}

// VHostLimitDef limits what a virtual host may hold. Its key is vhost, name.
type VHostLimitDef struct {
	VHost string
	Name  string // "max-connections" or "max-queues".
	Value int64  // Negative for no limit.
}

// GlobalDef is a parameter of the whole broker. Its key is the name.
type GlobalDef struct {
	Name  string
	Value string // JSON.
}
