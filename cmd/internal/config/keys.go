package config

import (
	_ "embed"
	"iter"
	"slices"
	"strings"
	"sync"
)

// Every key that RabbitMQ has had from 3.8 to 4.3, a * for what is chosen by
// the user. One that is not here is nobody's, and is answered with the nearest.
//
//go:embed rabbitmq_keys.txt
var rabbitKeysText string

var rabbitKeys = sync.OnceValue(func() [][]string {
	var keys [][]string
	for line := range strings.Lines(rabbitKeysText) {
		keys = append(keys, strings.Split(strings.TrimSpace(line), "."))
	}
	return keys
})

// Fate is what becomes of a key.
type Fate uint8

// The fates.
const (
	Unknown Fate = iota // Neither RabbitMQ's key nor ours.
	Applied             // It makes a setting.
	Idle                // It has nothing to change here, and nothing is missing for that.
	Missing             // It asks for what we do not have; the rule says what happens instead.
)

func (f Fate) String() string { return [...]string{"unknown", "applied", "idle", "missing"}[f] }

// rule says what becomes of the keys that match pattern and that no setting
// takes. * is one word, ** is all further words, or none.
type rule struct {
	pattern string
	fate    Fate
	// Values that say what is so anyway: with one of them a key is idle.
	fine []string
	text string // What is not there and what is instead; for an idle key why.
}

// Reasons that many keys share.
const (
	oneNode     = "this broker is one node"
	otherEngine = "it tunes RabbitMQ's engine, which is not this one"
	osDefaults  = "sockets have the operating system's settings, TCP_NODELAY and keep-alive"
	goTLS       = "TLS is Go's, with its safe choices"
	httpServer  = "it tunes RabbitMQ's HTTP server, which is not this one"
	logWords    = "log lines have one form in text and one in JSON"
)

// rules are asked in order; the first that matches decides.
var rules = []rule{
	// Clusters.
	{"cluster_formation.**", Idle, nil, oneNode},
	{"cluster_partition_handling.**", Idle, nil, oneNode},
	{"cluster_keepalive_interval", Idle, nil, oneNode},
	{"cluster_tags.*", Idle, nil, oneNode},
	{"node_tags.*", Idle, nil, oneNode},
	{"net_ticktime", Idle, nil, oneNode},
	{"distribution.**", Idle, nil, oneNode},
	{"delegate_count", Idle, nil, oneNode},
	{"mirroring_sync_batch_size", Idle, nil, oneNode},
	{"mirroring_sync_max_throughput", Idle, nil, oneNode},
	{"queue_leader_locator", Idle, nil, oneNode},
	{"queue_master_locator", Idle, nil, oneNode},
	{"management.delegate_count", Idle, nil, oneNode},
	{"quorum_queue.**", Idle, nil, "a quorum queue here is one log on one node"},
	{"classic_queue.default_version", Idle, nil, otherEngine},
	{"prevent_startup_if_node_was_reset", Missing, []string{"false"}, "a broker starts with an empty data directory too"},
	{"aws.prefer_imdsv2", Idle, nil, oneNode},

	// RabbitMQ's engine.
	{"erlang.K", Idle, nil, otherEngine},
	{"hipe_compile", Idle, nil, otherEngine},
	{"socket_writer.gc_threshold", Idle, nil, otherEngine},
	{"num_acceptors.*", Idle, nil, otherEngine},
	{"*.num_acceptors.*", Idle, nil, otherEngine},
	{"default_worker_pool_size", Idle, nil, otherEngine},
	{"background_gc_enabled", Idle, nil, otherEngine},
	{"background_gc_target_interval", Idle, nil, otherEngine},
	{"sysmon_handler.**", Idle, nil, otherEngine},
	{"raft.**", Idle, nil, otherEngine},
	{"metadata_store.**", Idle, nil, otherEngine},
	{"mnesia_table_loading_retry_limit", Idle, nil, otherEngine},
	{"mnesia_table_loading_retry_timeout", Idle, nil, otherEngine},
	{"queue_index_embed_msgs_below", Idle, nil, otherEngine},
	{"message_store_shutdown_timeout", Idle, nil, otherEngine},
	{"memory_monitor_interval", Idle, nil, otherEngine},
	{"vm_memory_calculation_strategy", Idle, nil, "memory is accounted for, not estimated"},
	{"vm_memory_high_watermark_paging_ratio", Idle, nil, "queues leave memory by --queue-memory, and sooner when half of --memory-limit is used"},
	{"vhost_restart_strategy", Idle, nil, otherEngine},
	{"collect_statistics", Idle, nil, "counters are always kept, at no price"},
	{"collect_statistics_interval", Idle, nil, "counters are read when they are asked for"},
	{"management.db_cache_multiplier", Idle, nil, httpServer},
	{"management_agent.disable_metrics_collector", Idle, nil, "counters are always kept, at no price"},
	{"management_agent.filter_aggregated_queue_metrics_pattern", Missing, nil, "all queues count in the sums"},
	{"deprecated_features.permit.*", Idle, nil, "what RabbitMQ has deprecated is served"},
	{"exchange_types.local_random.enabled", Missing, []string{"true"}, "all types of exchanges are served"},
	{"queue_types.*.enabled", Missing, []string{"true"}, "all types of queues are served"},
	{"tcp_listen_options.**", Idle, nil, osDefaults},
	{"*.tcp_listen_options.**", Idle, nil, osDefaults},
	{"*.tcp.backlog", Idle, nil, osDefaults},
	{"*.ssl.backlog", Idle, nil, osDefaults},
	{"ranch_connection_max", Missing, []string{"infinity"}, "use max_connections"},
	{"reverse_dns_lookups", Missing, []string{"false"}, "peers are shown by address"},
	{"product.name", Idle, nil, "the product is Leveret"},
	{"product.version", Idle, nil, "the product is Leveret"},
	{"motd_file", Idle, nil, "nothing is printed besides the log"},
	{"consumer_disconnected_timeout", Idle, nil, oneNode},
	{"initial_frame_max", Idle, nil, "the first frames of a connection may be 8 KiB, as in RabbitMQ"},

	// Limits and definitions.
	{"session_max_per_connection", Idle, nil, "it is about AMQP 1.0, which is not served"},
	{"link_max_per_session", Idle, nil, "it is about AMQP 1.0, which is not served"},
	{"*.max_connections", Missing, []string{"infinity"}, "connections are limited by virtual host and by user, not by listener"},
	{"*.tcp.max_connections", Missing, []string{"infinity"}, "connections to it are not limited"},
	{"*.ssl.max_connections", Missing, []string{"infinity"}, "connections to it are not limited"},
	{"cluster_exchange_limit", Missing, []string{"infinity"}, "exchanges are not limited"},
	{"runtime_parameters.limits.*", Missing, nil, "parameters are not limited"},
	{"default_policies.operator.*.classic_queues.**", Idle, nil, oneNode},
	{"definitions.hashing.algorithm", Idle, nil, "SHA-256 tells files of definitions apart"},
	{"definitions.tls.cacertfile", Missing, nil, "definitions come over HTTPS with the system's authorities"},
	{"definitions.tls.verify", Missing, []string{"verify_peer"}, "a server of definitions must have a good certificate"},
	{"definitions.tls.certfile", Missing, nil, "no client certificate is shown to a server of definitions"},
	{"definitions.tls.keyfile", Missing, nil, "no client certificate is shown to a server of definitions"},
	{"definitions.tls.cert", Missing, nil, "no client certificate is shown to a server of definitions"},
	{"definitions.tls.**", Idle, nil, goTLS},
	{"channel_interceptor.priorities.*", Missing, nil, "there are no interceptors"},
	{"message_interceptors.**", Missing, nil, "there are no interceptors; consumers have the time in x-opt-... headers only of streams"},

	// Logging in.
	{"auth_ldap.**", Missing, nil, "LDAP: auth_backends knows internal, http and oauth2"},
	{"auth_http.authorization_failure_disclosure", Missing, []string{"false"}, "clients are not told why the web service refuses; the log is"},
	{"auth_http.ssl_options.password", Missing, nil, "a private key must not be encrypted"},
	{"auth_http.ssl_options.cert", Missing, nil, "write auth_http.ssl_options.certfile"},
	{"auth_http.ssl_options.key.*", Missing, nil, "write auth_http.ssl_options.keyfile"},
	{"auth_http.ssl_options.cacerts.*", Missing, nil, "write auth_http.ssl_options.cacertfile"},
	{"auth_http.ssl_options.**", Idle, nil, goTLS},
	{"auth_oauth2.oauth_providers.**", Missing, nil, "there is one issuer of tokens: write auth_oauth2.issuer, jwks_uri, signing_keys"},
	{"auth_oauth2.default_oauth_provider", Missing, nil, "there is one issuer of tokens"},
	{"auth_oauth2.resource_servers.**", Missing, nil, "there is one audience of tokens: write auth_oauth2.resource_server_id"},
	{"auth_oauth2.resource_server_type", Missing, nil, "rich authorization requests are not read; scopes are"},
	{"auth_oauth2.discovery_endpoint_*.**", Missing, nil, "the issuer's OpenID configuration is where the standard says"},
	{"auth_oauth2.https.**", Idle, nil, goTLS},
	{"auth_oauth2.authorization_endpoint", Idle, nil, "the broker asks for no tokens"},
	{"auth_oauth2.end_session_endpoint", Idle, nil, "the broker asks for no tokens"},
	{"auth_oauth2.token_endpoint", Idle, nil, "the broker asks for no tokens"},
	{"auth_cache.cache_module", Idle, nil, "each connection remembers its permissions"},
	{"auth_cache.cache_refusals", Idle, nil, "refusals are remembered as permissions are; logins are not"},
	{"auth_cache.cached_backend", Missing, nil, "write the backend itself into auth_backends"},
	{"auth_cache.cached_backend.*", Missing, nil, "write the backend itself into auth_backends"},
	{"http_dispatch.auth_backends.**", Missing, []string{"internal", "rabbit_auth_backend_internal"}, "the HTTP API has the users that all protocols have"},
	{"http_dispatch.access_log_dir", Missing, nil, "the HTTP API writes no access log"},
	{"anonymous_login_user", Missing, []string{"guest"}, "ANONYMOUS logs in as guest"},
	{"anonymous_login_pass", Missing, []string{"guest"}, "ANONYMOUS logs in as guest"},
	{"stream.ssl_cert_login", Missing, []string{"false"}, "the stream protocol is not served"},
	{"mqtt.ssl_cert_client_id_from", Missing, nil, "client identifiers need not be those of certificates"},
	{"mqtt.ssl_cert_login_san_type", Missing, nil, "client identifiers need not be those of certificates"},
	{"mqtt.ssl_cert_login_san_index", Missing, nil, "client identifiers need not be those of certificates"},
	{"trust_store.**", Missing, nil, "the trust store plugin: clients' certificates are held against ssl_options.cacertfile"},
	{"password_hashing_module", Missing, []string{"rabbit_password_hashing_sha256"}, "new passwords are hashed with SHA-256; hashes of other kinds are imported and checked"},
	{"credential_validator.**", Missing, []string{"rabbit_credential_validator_accept_everything"}, "passwords are not judged"},

	// TLS.
	{"ssl_handshake_timeout", Missing, nil, "handshake_timeout counts from the beginning of a connection"},
	{"ssl_allow_poodle_attack", Idle, nil, goTLS},
	{"ssl_options", Missing, []string{"none"}, "name the certificate with ssl_options.certfile and .keyfile"},
	{"ssl_options.password", Missing, nil, "the key file must not be encrypted"},
	{"ssl_options.cert", Missing, nil, "certificates are read from files: ssl_options.certfile"},
	{"ssl_options.cacerts.*", Missing, nil, "authorities are read from a file: ssl_options.cacertfile"},
	{"ssl_options.key.*", Missing, nil, "keys are read from files: ssl_options.keyfile"},
	{"ssl_options.crl_check", Missing, []string{"false"}, "lists of revoked certificates are not asked"},
	{"ssl_options.crl_sources.**", Missing, nil, "lists of revoked certificates are not asked"},
	{"ssl_options.psk_identity", Missing, nil, "TLS works with certificates only"},
	{"ssl_options.**", Idle, nil, goTLS},
	{"*.ssl.certfile", Missing, nil, "all listeners show the certificate of ssl_options.certfile"},
	{"*.ssl.keyfile", Missing, nil, "all listeners use the key of ssl_options.keyfile"},
	{"*.ssl.cacertfile", Missing, nil, "clients' certificates are held against ssl_options.cacertfile everywhere"},
	{"*.ssl.password", Missing, nil, "the key file must not be encrypted"},
	{"*.ssl.verify", Missing, []string{"verify_none"}, "ssl_options.verify decides for all listeners"},
	{"*.ssl.fail_if_no_peer_cert", Missing, []string{"false"}, "ssl_options.fail_if_no_peer_cert decides for all listeners"},
	{"*.ssl.versions.*", Missing, []string{"tlsv1.2", "tlsv1.3"}, "ssl_options.versions decides for all listeners"},
	{"*.ssl.crl_check", Missing, []string{"false"}, "lists of revoked certificates are not asked"},
	{"management.listener.ssl_opts.cacertfile", Missing, nil, "all listeners have the files of ssl_options"},
	{"management.listener.ssl_opts.certfile", Missing, nil, "all listeners have the files of ssl_options"},
	{"management.listener.ssl_opts.keyfile", Missing, nil, "all listeners have the files of ssl_options"},
	{"management.listener.ssl_opts.**", Idle, nil, "ssl_options decides for all listeners"},
	{"amqp_client.**", Idle, nil, "there is no AMQP client in this broker that they would be about"},
	{"amqp10_client.**", Missing, nil, "AMQP 1.0: nothing here speaks it"},

	// The HTTP API and Prometheus.
	{"management.csp.policy", Missing, nil, "the API sends a policy of its own"},
	{"management.hsts.policy", Missing, nil, "the API sends no such header"},
	{"management.headers.**", Missing, nil, "the API sends its own headers"},
	{"management.http.hide_allow_header", Missing, []string{"false"}, "405 answers have Allow"},
	{"management.http_log_dir", Missing, nil, "the HTTP API writes no access log"},
	{"management.disable_basic_auth", Missing, []string{"false"}, "the API takes user and password"},
	{"management.credential_encryption_secret", Idle, nil, "the API keeps no credentials"},
	{"management.definitions.require_json_extension", Idle, nil, "definitions are known by what is in them"},
	{"management.require_auth_for_api_reference", Idle, nil, "the reference is not served"},
	{"management.restrictions.operator_policy_changes.disabled", Missing, []string{"false"}, "administrators may change operator policies"},
	{"management.restrictions.quorum_queue_replica_operations.disabled", Idle, nil, oneNode},
	{"management.sample_retention_policies.**", Missing, nil, "how long rates are kept is fixed"},
	{"management.enable_uaa", Missing, []string{"false"}, "logging in to the console with OAuth 2: it takes user and password, the API takes tokens"},
	{"management.uaa_*", Missing, nil, "logging in to the console with OAuth 2: it takes user and password, the API takes tokens"},
	{"management.oauth_enabled", Missing, []string{"false"}, "logging in to the console with OAuth 2: it takes user and password, the API takes tokens"},
	{"management.oauth_disable_basic_auth", Missing, []string{"false"}, "logging in to the console with OAuth 2: it takes user and password, the API takes tokens"},
	{"management.oauth_*", Missing, nil, "logging in to the console with OAuth 2: it takes user and password, the API takes tokens"},
	{"management.oauth_resource_servers.**", Missing, nil, "logging in to the console with OAuth 2: it takes user and password, the API takes tokens"},
	{"management.oauth_authorization_endpoint_params.*", Missing, nil, "logging in to the console with OAuth 2: it takes user and password, the API takes tokens"},
	{"management.oauth_token_endpoint_params.*", Missing, nil, "logging in to the console with OAuth 2: it takes user and password, the API takes tokens"},
	{"management.listener.server.*", Idle, nil, httpServer},
	{"management.tcp.*", Idle, nil, httpServer},
	{"management.ssl.**", Idle, nil, goTLS},
	{"prometheus.filter_aggregated_queue_metrics_pattern", Missing, nil, "all queues count in the sums"},
	{"prometheus.tcp.*", Idle, nil, httpServer},
	{"prometheus.ssl.**", Idle, nil, goTLS},

	// MQTT, STOMP and WebSockets.
	{"*.login_timeout", Missing, nil, "handshake_timeout holds for all protocols"},
	{"mqtt.default_user", Missing, []string{"guest"}, "MQTT clients without credentials are guest; mqtt.allow_anonymous = false refuses them"},
	{"mqtt.default_pass", Missing, []string{"guest"}, "MQTT clients without credentials are guest; mqtt.allow_anonymous = false refuses them"},
	{"mqtt.max_packet_size_unauthenticated", Missing, []string{"65536"}, "packets before login have at most 64 KiB"},
	{"mqtt.topic_alias_maximum", Missing, []string{"16"}, "a client of MQTT 5 may have 16 topic aliases"},
	{"mqtt.mailbox_soft_limit", Idle, nil, "QoS 0 messages for a slow client are bounded by bytes"},
	{"mqtt.retained_message_store", Idle, nil, "retained messages are in the data directory"},
	{"mqtt.retained_message_store_dets_sync_interval", Idle, nil, "retained messages are in the data directory"},
	{"mqtt.retained_message_store.*", Missing, []string{"infinity"}, "retained messages are not limited by number"},
	{"mqtt.durable_queue_type", Idle, nil, oneNode},
	{"mqtt.sparkplug", Missing, []string{"false"}, "Sparkplug's topics are topics like all others"},
	{"mqtt.message_interceptors.**", Missing, nil, "there are no interceptors"},
	{"stomp.max_frame_size", Missing, nil, "bodies have at most --max-message-size in all protocols"},
	{"stomp.max_frame_size_unauthenticated", Missing, []string{"65536"}, "frames before login have at most 64 KiB"},
	{"web_mqtt.ws_path", Missing, []string{"/ws"}, "the path is /ws"},
	{"web_stomp.ws_path", Missing, []string{"/ws"}, "the path is /ws"},
	{"*.ws_opts.compress", Missing, []string{"false"}, "WebSocket messages are not compressed"},
	{"*.ws_opts.max_frame_size", Missing, []string{"0"}, "bodies have at most --max-message-size in all protocols"},
	{"*.ws_opts.idle_timeout", Missing, nil, "heart-beats and keep alive end what is dead"},
	{"*.cowboy_opts.*", Idle, nil, httpServer},
	{"*.hsts.policy", Missing, nil, "no such header is sent"},
	{"*.use_file_handle_cache", Idle, nil, otherEngine},
	{"web_mqtt.ssl.**", Idle, nil, goTLS},
	{"web_stomp.ssl.**", Idle, nil, goTLS},

	// Protocols and plugins that are not there.
	{"stream.listeners.**", Missing, nil, "the stream protocol of port 5552: streams are read and written over AMQP 0-9-1, MQTT and STOMP"},
	{"stream.**", Idle, nil, "it is about the stream protocol of port 5552, which is not served"},
	{"amqp1_0.**", Missing, nil, "AMQP 1.0: its clients are refused; AMQP 0-9-1 is served on the same port"},
	{"event_exchange.protocol", Missing, []string{"amqp_0_9_1"}, "events have the form of AMQP 0-9-1"},
	{"federation.**", Idle, nil, "there is no federation to tune"},
	{"shovel.**", Idle, nil, otherEngine},
	{"tracing.**", Missing, nil, "the tracing plugin writes no files here; the firehose exchange does its work"},

	// Logs.
	{"log.*.formatter.**", Idle, nil, logWords},
	{"log.console.use_colors", Idle, nil, logWords},
	{"log.console.color_esc_seqs.*", Idle, nil, logWords},
	{"log.channel.level", Missing, nil, "what is said of channels is in the category connection"},
	{"log.*.level", Idle, nil, "nothing is logged in such a category"},
	{"log.file.rotation.compress", Missing, []string{"false"}, "old log files are not compressed"},
	{"log.syslog.**", Missing, []string{"false"}, "syslog: the log goes to standard error or a file, which journald and the like take from there"},
	{"log.journald.**", Missing, []string{"false"}, "journald: a service's standard error is in the journal"},
	{"log.*.file", Missing, nil, "all categories are in one log"},
	{"log.*.rotation.*", Missing, nil, "all categories are in one log; log.file.rotation.* is about that"},
	{"log.summarize_process_state", Idle, nil, otherEngine},
	{"log.error_logger_format_depth", Idle, nil, otherEngine},
}

// matches reports whether words are what pattern describes, and what stood for
// its *.
func matches(pattern, words []string) (stars []string, ok bool) {
	for i, p := range pattern {
		switch {
		case p == "**":
			return append(stars, words[i:]...), true
		case i == len(words):
			return nil, false
		case p == "*":
			stars = append(stars, words[i])
		case strings.HasSuffix(p, "_*"):
			if !strings.HasPrefix(words[i], p[:len(p)-1]) {
				return nil, false
			}
		case p != words[i]:
			return nil, false
		}
		if i+1 == len(pattern) && len(words) > len(pattern) {
			return nil, false
		}
	}
	return stars, true
}

// isRabbitKey reports whether RabbitMQ has, or had, such a key.
func isRabbitKey(words []string) bool {
	return slices.ContainsFunc(rabbitKeys(), func(k []string) bool {
		_, ok := matches(k, words)
		return ok
	})
}

// ruleFor finds the rule for one of RabbitMQ's keys that makes no setting.
func ruleFor(words []string) *rule {
	for i := range rules {
		if _, ok := matches(strings.Split(rules[i].pattern, "."), words); ok {
			return &rules[i]
		}
	}
	return nil
}

// names yields what could have been meant by words: RabbitMQ's keys, with what
// words has in the places that are the user's choice, and ours.
func names(words []string, own iter.Seq[string]) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, k := range rabbitKeys() {
			if len(k) == len(words) {
				k = slices.Clone(k)
				for i := range k {
					if k[i] == "*" {
						k[i] = words[i]
					}
				}
			}
			if !yield(strings.Join(k, ".")) {
				return
			}
		}
		for name := range own {
			if !yield(name) {
				return
			}
		}
	}
}
