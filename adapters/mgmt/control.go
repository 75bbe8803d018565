package mgmt

import (
	"fmt"
	"net/http"
)

// Control is what the process around the broker can be asked for.
type Control interface {
	// Stop ends the process as SIGTERM does. It returns at once.
	Stop(why string)
	// Suspend ends the connections of messaging clients and lets no more in;
	// the management API stays.
	Suspend()
	// Resume ends Suspend.
	Resume()
	// Suspended reports whether clients are kept out.
	Suspended() bool
	// Reset forgets all that was declared, with all messages.
	Reset() error
}

// What a node can be asked to be.
const (
	stateRunning   = "running"
	stateSuspended = "suspended"
	stateStopped   = "stopped"
)

func (s *Server) suspended() bool { return s.opts.Control != nil && s.opts.Control.Suspended() }

// putNodeState takes {"state": "running" | "suspended" | "stopped"}.
func (c *call) putNodeState() error {
	if err := c.thisNode(); err != nil {
		return err
	}
	control := c.s.opts.Control
	if control == nil {
		return errNotFound
	}
	b, err := c.body()
	if err != nil {
		return err
	}
	state, err := b.text("state")
	if err != nil {
		return err
	}
	why := fmt.Sprintf("asked for by '%s'", c.user.Name)
	switch state {
	case stateRunning:
		control.Resume()
	case stateSuspended:
		control.Suspend()
	case stateStopped:
		control.Stop(why)
	default:
		return badRequest(fmt.Sprintf("state '%s' is none of running, suspended and stopped", state))
	}
	c.s.log.Warn("the node's state was changed", "state", state, "why", why)
	return c.done(false)
}

// resetNode forgets everything, if clients have been kept out before: nobody
// does that by mistake to a broker that is in use.
func (c *call) resetNode() error {
	if err := c.thisNode(); err != nil {
		return err
	}
	if c.s.opts.Control == nil {
		return errNotFound
	}
	if !c.s.suspended() {
		return badRequest("a node is reset while it is suspended (stop_app)")
	}
	if err := c.s.opts.Control.Reset(); err != nil {
		return err
	}
	return c.done(false)
}

// checkInService fails while clients are kept out.
func (c *call) checkInService() error {
	if c.s.suspended() {
		return c.failed("this node is suspended", nil)
	}
	return c.healthy()
}

// features are the feature flags of RabbitMQ that clients and tools ask for. All
// they stand for is always there.
var features = []string{
	"classic_mirrored_queue_version", "classic_queue_type_delivery_support", "detailed_queues_endpoint", "direct_exchange_routing_v2",
	"drop_unroutable_metric", "empty_basic_get_metric", "implicit_default_bindings", "listener_records_in_ets", "maintenance_mode_status",
	"message_containers", "quorum_queue", "quorum_queue_non_voters", "rabbit_exchange_type_local_random", "rabbitmq_4.0.0",
	"restart_streams", "stream_filtering", "stream_queue", "stream_sac_coordinator_unblock_group", "stream_single_active_consumer",
	"stream_update_config_command", "tracking_records_in_ets", "user_limits", "virtual_host_metadata",
}

func (c *call) listFeatures() error {
	rows := []row{}
	for _, name := range features {
		rows = append(rows, row{"", name, func() object {
			return object{"name": name, "state": "enabled", "stability": "required", "desc": "", "doc_url": "", "provided_by": "rabbit"}
		}})
	}
	return c.list(rows)
}

// enableFeature has nothing to do for one that there is.
func (c *call) enableFeature() error {
	for _, name := range features {
		if name == c.param("feature") {
			return c.done(false)
		}
	}
	return &failure{http.StatusBadRequest, "bad_request", "unsupported"}
}

// plugins are RabbitMQ's that are part of Leveret.
var plugins = []string{
	"rabbitmq_auth_backend_http", "rabbitmq_auth_backend_oauth2", "rabbitmq_auth_mechanism_ssl", "rabbitmq_consistent_hash_exchange",
	"rabbitmq_delayed_message_exchange", "rabbitmq_event_exchange", "rabbitmq_management", "rabbitmq_management_agent",
	"rabbitmq_message_deduplication", "rabbitmq_mqtt", "rabbitmq_prometheus", "rabbitmq_random_exchange", "rabbitmq_recent_history_exchange",
	"rabbitmq_shovel", "rabbitmq_shovel_management", "rabbitmq_stomp", "rabbitmq_web_mqtt", "rabbitmq_web_stomp",
}
