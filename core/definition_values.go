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
	Protected        bool // From being deleted.
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
	ID                            QueueID // Of the queue of what it delays; 0 if it does not.
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

// ClientDef describes a client that outlives its connections. Its key is vhost,
// id.
type ClientDef struct {
	VHost, ID          string
	Number             QueueID // Of this client and no other, nor of a queue.
	ExpiryMS           int64   // How long it outlives a connection; negative for ever.
	KeepAliveMS        int64
	Queue, DirectQueue string // What its queues are called.
}

// SubscriptionDef is a subscription of a client. Its key is vhost, client,
// filter.
type SubscriptionDef struct {
	VHost, Client string
	Number        QueueID // The client's.
	Subscription
}

// WillDef is the will of a client. Its key is vhost, client.
type WillDef struct {
	VHost, Client string
	Number        QueueID // The client's.
	Author        WillAuthor
	Vars          Table // Strings: what topic permissions may name.
	Will
}

// RetainedDef says where the retained messages of an exchange are: in the log,
// as those of a queue that nobody sees. Its key is vhost, exchange.
type RetainedDef struct {
	VHost, Exchange string
	ID              QueueID
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
	// User put it, and is whom the component acts as where it acts here; "" if
	// that was the broker's operator. It is neither shown nor exported.
	User string
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
