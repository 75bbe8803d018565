package core

import (
	"encoding/json"
	"fmt"
	"strings"
)

// definitionsFile is RabbitMQ's JSON format of definitions, as 3.x and 4.x
// write it. Fields that only one of them knows are read and written for the
// sake of that one. Form "single_virtual_host" lacks users, virtual hosts,
// permissions and globals, and names no virtual host in its items.
type definitionsFile struct {
	RabbitVersion   string `json:"rabbit_version,omitempty"`
	RabbitMQVersion string `json:"rabbitmq_version,omitempty"`
	ProductName     string `json:"product_name,omitempty"`
	ProductVersion  string `json:"product_version,omitempty"`
	Format          string `json:"rabbitmq_definition_format,omitempty"`
	ClusterName     string `json:"original_cluster_name,omitempty"`
	VHostName       string `json:"original_vhost_name,omitempty"`
	Explanation     string `json:"explanation,omitempty"`

	Description      string           `json:"description,omitempty"`
	Metadata         *vhostMetadata   `json:"metadata,omitempty"`
	DefaultQueueType string           `json:"default_queue_type,omitempty"`
	Limits           fileLimits       `json:"limits,omitempty"`
	Users            []fileUser       `json:"users,omitempty"`
	VHosts           []fileVHost      `json:"vhosts,omitempty"`
	Permissions      []filePermission `json:"permissions,omitempty"`

	TopicPermissions []fileTopicPermission `json:"topic_permissions,omitempty"`
	Parameters       []fileParameter       `json:"parameters"`
	GlobalParameters []fileParameter       `json:"global_parameters,omitempty"`
	Policies         []filePolicy          `json:"policies"`
	Queues           []fileQueue           `json:"queues"`
	Exchanges        []fileExchange        `json:"exchanges"`
	Bindings         []fileBinding         `json:"bindings"`
}

type fileUser struct {
	Name         string     `json:"name"`
	PasswordHash string     `json:"password_hash"`
	Password     string     `json:"password,omitempty"`
	Algorithm    string     `json:"hashing_algorithm,omitempty"`
	Tags         fileTags   `json:"tags"`
	Limits       fileLimits `json:"limits"`
}

type vhostMetadata struct {
	Description      string   `json:"description"`
	Tags             fileTags `json:"tags"`
	DefaultQueueType string   `json:"default_queue_type,omitempty"`
	Protected        bool     `json:"protected_from_deletion,omitempty"`
}

type fileVHost struct {
	Name             string         `json:"name"`
	Description      string         `json:"description,omitempty"`
	Tags             fileTags       `json:"tags,omitempty"`
	DefaultQueueType string         `json:"default_queue_type,omitempty"`
	Tracing          bool           `json:"tracing,omitempty"`
	Limits           fileLimits     `json:"limits"`
	Metadata         *vhostMetadata `json:"metadata,omitempty"`
}

type filePermission struct {
	User      string `json:"user"`
	VHost     string `json:"vhost"`
	Configure string `json:"configure"`
	Write     string `json:"write"`
	Read      string `json:"read"`
}

type fileTopicPermission struct {
	User     string `json:"user"`
	VHost    string `json:"vhost"`
	Exchange string `json:"exchange"`
	Write    string `json:"write"`
	Read     string `json:"read"`
}

type fileParameter struct {
	Value     json.RawMessage `json:"value"`
	VHost     string          `json:"vhost,omitempty"`
	Component string          `json:"component,omitempty"`
	Name      string          `json:"name"`
}

type filePolicy struct {
	VHost      string          `json:"vhost,omitempty"`
	Name       string          `json:"name"`
	Pattern    string          `json:"pattern"`
	ApplyTo    string          `json:"apply-to"`
	Definition json.RawMessage `json:"definition"`
	Priority   int             `json:"priority"`
}

type fileQueue struct {
	Name       string `json:"name"`
	VHost      string `json:"vhost,omitempty"`
	Type       string `json:"type,omitempty"`
	Durable    *bool  `json:"durable"`
	AutoDelete bool   `json:"auto_delete"`
	Arguments  Table  `json:"arguments"`
}

type fileExchange struct {
	Name       string `json:"name"`
	VHost      string `json:"vhost,omitempty"`
	Type       string `json:"type"`
	Durable    *bool  `json:"durable"`
	AutoDelete bool   `json:"auto_delete"`
	Internal   bool   `json:"internal"`
	Arguments  Table  `json:"arguments"`
}

type fileBinding struct {
	Source          string `json:"source"`
	VHost           string `json:"vhost,omitempty"`
	Destination     string `json:"destination"`
	DestinationType string `json:"destination_type"`
	RoutingKey      string `json:"routing_key"`
	Arguments       Table  `json:"arguments"`
}

// fileTags are written as a list and read as one, or with commas between.
type fileTags []string

func (t fileTags) MarshalJSON() ([]byte, error) {
	if t == nil {
		return []byte("[]"), nil
	}
	return json.Marshal([]string(t))
}

func (t *fileTags) UnmarshalJSON(data []byte) error {
	var list []string
	if json.Unmarshal(data, &list) == nil {
		*t = list
		return nil
	}
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("tags must be a list or a string, not %.40s", data)
	}
	*t = nil
	for tag := range strings.SplitSeq(s, ",") {
		if tag = strings.TrimSpace(tag); tag != "" {
			*t = append(*t, tag)
		}
	}
	return nil
}

// fileLimits are written as an object and read as one, or as an empty list.
type fileLimits map[string]int64

func (l fileLimits) MarshalJSON() ([]byte, error) {
	if l == nil {
		return []byte("{}"), nil
	}
	return json.Marshal(map[string]int64(l))
}

func (l *fileLimits) UnmarshalJSON(data []byte) error {
	var m map[string]int64
	err := json.Unmarshal(data, &m)
	if err != nil {
		var none []struct{}
		if json.Unmarshal(data, &none) != nil || len(none) > 0 {
			return fmt.Errorf("limits must be an object of numbers: %w", err)
		}
	}
	*l = m
	return nil
}
