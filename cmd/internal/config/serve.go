package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"leveret/cmd/internal/logs"
)

// Serve are the broker's flags. Tags carry the whole description; kong fills
// the fields from flags, then environment, then default.
//
// Further tags are this package's own: conf names RabbitMQ's keys of a setting
// (see boundKey), secret masks it where settings are shown, live says that SIGHUP
// can change it.
type Serve struct {
	Config         []string `name:"config" group:"configuration" env:"LEVERET_CONFIG" placeholder:"FILE" help:"Read this file, in the format of rabbitmq.conf, or the files of this directory and of conf.d in it whose names end in .conf; repeated or with commas. [/etc/leveret/leveret.conf and conf.d there, if they exist]"`
	Strict         bool     `name:"strict" group:"configuration" env:"LEVERET_STRICT" help:"Refuse to start when the configuration has something unknown in it, or asks for what is not there."`
	EnabledPlugins []string `name:"enabled-plugins" group:"configuration" env:"LEVERET_ENABLED_PLUGINS" default:"all" placeholder:"PLUGIN" help:"Open only the listeners of these of RabbitMQ's plugins, besides AMQP: rabbitmq_management, rabbitmq_mqtt, rabbitmq_web_mqtt, rabbitmq_stomp, rabbitmq_web_stomp, rabbitmq_prometheus. [all]"`
	Boot           Boot     `kong:"-"`

	AMQPAddr       []string `name:"amqp-addr" conf:"listeners.tcp.*:addr" group:"listeners" env:"LEVERET_AMQP_ADDR" default:":5672" placeholder:"ADDR" help:"Where AMQP 0-9-1 clients connect: host:port, :port or port, repeated or with commas; none to serve no AMQP. [:5672]"`
	MQTTAddr       []string `name:"mqtt-addr" conf:"mqtt.listeners.tcp.*:addr" group:"listeners" env:"LEVERET_MQTT_ADDR" default:":1883" placeholder:"ADDR" help:"Where MQTT clients connect; none to serve no MQTT. [:1883]"`
	WebMQTTAddr    []string `name:"web-mqtt-addr" conf:"web_mqtt.tcp.port:port,web_mqtt.tcp.ip:ip,web_mqtt.tcp.listener:addr" group:"listeners" env:"LEVERET_WEB_MQTT_ADDR" default:":15675" placeholder:"ADDR" help:"Where MQTT clients connect over WebSocket, path /ws; none to serve none. [:15675]"`
	WebMQTTOrigins []string `name:"web-mqtt-origins" conf:"web_mqtt.allow_origins.*:all" group:"listeners" env:"LEVERET_WEB_MQTT_ORIGINS" default:"all" placeholder:"ORIGIN" help:"The web pages that may do so, as https://example.org, or all. [all]"`
	HTTPAddr       []string `name:"http-addr" conf:"management.tcp.port:port,management.tcp.ip:ip,management.listener.port:port,management.listener.ip:ip" group:"listeners" env:"LEVERET_HTTP_ADDR" default:":15672" placeholder:"ADDR" help:"Where the management API answers, which leveret ctl uses; none to serve none. [:15672]"`

	RatesMode string `name:"rates-mode" conf:"management.rates_mode" group:"listeners" env:"LEVERET_RATES_MODE" default:"basic" enum:"none,basic,detailed" placeholder:"MODE" help:"What the management API says of message rates and their history: none, or basic, for each object. detailed, which is by pairs of them, counts as basic. [basic]"`

	PrometheusAddr      []string `name:"prometheus-addr" conf:"prometheus.tcp.port:port,prometheus.tcp.ip:ip,prometheus.tcp.listener:addr" group:"listeners" env:"LEVERET_PROMETHEUS_ADDR" default:":15692" placeholder:"ADDR" help:"Where Prometheus fetches metrics; none to serve none. [:15692]"`
	PrometheusPath      string   `name:"prometheus-path" conf:"prometheus.path" group:"listeners" env:"LEVERET_PROMETHEUS_PATH" default:"/metrics" placeholder:"PATH" help:"The path of the metrics; /per-object, /detailed and /memory-breakdown are below it. [/metrics]"`
	PrometheusPerObject bool     `name:"prometheus-per-object" conf:"prometheus.return_per_object_metrics" group:"listeners" env:"LEVERET_PROMETHEUS_PER_OBJECT" help:"That path itself has a row for each queue, channel, connection and exchange in place of sums."`
	PrometheusTLSAddr   []string `name:"prometheus-tls-addr" conf:"prometheus.ssl.port:port,prometheus.ssl.ip:ip" group:"tls" env:"LEVERET_PROMETHEUS_TLS_ADDR" default:"none" placeholder:"ADDR" help:"Where Prometheus fetches metrics with TLS, for example :15691. [none]"`
	PrometheusAuth      bool     `name:"prometheus-auth" conf:"prometheus.authentication.enabled" group:"listeners" env:"LEVERET_PROMETHEUS_AUTH" help:"Metrics are for users with the tag monitoring or administrator."`

	HTTPPathPrefix     string        `name:"http-path-prefix" conf:"management.path_prefix" group:"listeners" env:"LEVERET_HTTP_PATH_PREFIX" placeholder:"PATH" help:"What stands before every path of the management API and its console, /broker for example; for proxies that do not cut it off."`
	HTTPCORSOrigins    []string      `name:"http-cors-origins" conf:"management.cors.allow_origins.*" group:"listeners" env:"LEVERET_HTTP_CORS_ORIGINS" default:"none" placeholder:"ORIGIN" help:"Web pages of other origins that may use the management API, as https://example.org, * for any, or none. [none]"`
	HTTPCORSMaxAge     time.Duration `name:"http-cors-max-age" conf:"management.cors.max_age:s" group:"listeners" env:"LEVERET_HTTP_CORS_MAX_AGE" default:"30m" placeholder:"TIME" help:"How long browsers may remember that. [30m]"`
	HTTPMaxBody        Size          `name:"http-max-body" conf:"management.http.max_body_size" group:"listeners" env:"LEVERET_HTTP_MAX_BODY" default:"10MiB" placeholder:"SIZE" help:"The largest body of a request to the management API; definitions may be larger. [10MiB]"`
	HTTPDisableStats   bool          `name:"http-disable-stats" conf:"management.disable_stats" group:"listeners" env:"LEVERET_HTTP_DISABLE_STATS" help:"The management API shows no statistics, only what is set and declared, as with disable_stats=true in a request; for brokers that are watched through Prometheus."`
	HTTPQueueTotals    bool          `name:"http-queue-totals" conf:"management.enable_queue_totals" group:"listeners" env:"LEVERET_HTTP_QUEUE_TOTALS" help:"Without statistics, it shows nevertheless how many messages queues have."`
	HTTPSessionTimeout time.Duration `name:"http-session-timeout" conf:"management.login_session_timeout:min" group:"listeners" env:"LEVERET_HTTP_SESSION_TIMEOUT" default:"8h" placeholder:"TIME" help:"After how long without anybody there the console logs out, in whole minutes. [8h]"`

	STOMPAddr            []string `name:"stomp-addr" conf:"stomp.listeners.tcp.*:addr" group:"listeners" env:"LEVERET_STOMP_ADDR" default:":61613" placeholder:"ADDR" help:"Where STOMP clients connect; none to serve none. [:61613]"`
	WebSTOMPAddr         []string `name:"web-stomp-addr" conf:"web_stomp.tcp.port:port,web_stomp.port:port,web_stomp.tcp.ip:ip,web_stomp.tcp.listener:addr" group:"listeners" env:"LEVERET_WEB_STOMP_ADDR" default:":15674" placeholder:"ADDR" help:"Where STOMP clients connect over WebSocket, at /ws; none to serve none. [:15674]"`
	WebSTOMPOrigins      []string `name:"web-stomp-origins" conf:"web_stomp.allow_origins.*:all" group:"listeners" env:"LEVERET_WEB_STOMP_ORIGINS" default:"all" placeholder:"ORIGIN" help:"The web pages that may do so, as https://example.org, or all. [all]"`
	WebSTOMPAuth         bool     `name:"web-stomp-basic-auth" conf:"web_stomp.use_http_auth" group:"listeners" env:"LEVERET_WEB_STOMP_BASIC_AUTH" help:"Take user and password from the Authorization header of the WebSocket request, not from CONNECT."`
	STOMPUser            string   `name:"stomp-default-user" conf:"stomp.default_user" group:"users" env:"LEVERET_STOMP_DEFAULT_USER" default:"guest" placeholder:"NAME" help:"Who STOMP clients are that do not log in; none to refuse them. [guest]"`
	STOMPPass            string   `name:"stomp-default-pass" conf:"stomp.default_pass" secret:"" group:"users" env:"LEVERET_STOMP_DEFAULT_PASS" default:"guest" placeholder:"PASSWORD" help:"Their password. [guest]"`
	STOMPVHost           string   `name:"stomp-default-vhost" conf:"stomp.default_vhost" group:"users" env:"LEVERET_STOMP_DEFAULT_VHOST" placeholder:"NAME" help:"The virtual host of STOMP clients that name none. [that of --default-vhost]"`
	STOMPAckAcross       bool     `name:"stomp-ack-across" group:"limits" env:"LEVERET_STOMP_ACK_ACROSS" help:"A cumulative ACK also settles older deliveries of the connection's other subscriptions, as in RabbitMQ."`
	STOMPNackDiscards    bool     `name:"stomp-nack-discards" conf:"stomp.default_nack_requeue:not" group:"limits" env:"LEVERET_STOMP_NACK_DISCARDS" help:"A NACK without the header requeue discards or dead-letters the message instead of requeueing it."`
	STOMPImplicitConnect bool     `name:"stomp-implicit-connect" conf:"stomp.implicit_connect" group:"users" env:"LEVERET_STOMP_IMPLICIT_CONNECT" help:"STOMP clients on TCP may begin without CONNECT, as the default user."`
	STOMPHideServer      bool     `name:"stomp-hide-server" conf:"stomp.hide_server_info" group:"limits" env:"LEVERET_STOMP_HIDE_SERVER" help:"Leave the header server out of CONNECTED."`
	STOMPTopicExchange   string   `name:"stomp-topic-exchange" conf:"stomp.default_topic_exchange" group:"limits" env:"LEVERET_STOMP_TOPIC_EXCHANGE" default:"amq.topic" placeholder:"NAME" help:"The exchange behind /topic destinations. [amq.topic]"`
	WebSTOMPBinary       bool     `name:"web-stomp-binary" conf:"web_stomp.ws_frame:frame" group:"listeners" env:"LEVERET_WEB_STOMP_BINARY" help:"Send all messages as binary over WebSocket, not only those that are no UTF-8."`

	AuthMechanisms []string `name:"auth-mechanisms" conf:"auth_mechanisms.*" group:"users" env:"LEVERET_AUTH_MECHANISMS" default:"PLAIN,AMQPLAIN,ANONYMOUS,EXTERNAL" placeholder:"NAME" help:"How AMQP clients may log in: PLAIN, AMQPLAIN, ANONYMOUS (as guest), EXTERNAL (by certificate, if the client has shown one of --tls-ca). [PLAIN,AMQPLAIN,ANONYMOUS,EXTERNAL]"`
	ProxyProtocol  []string `name:"proxy-protocol" conf:"proxy_protocol=amqp,mqtt.proxy_protocol=mqtt,stomp.proxy_protocol=stomp,web_mqtt.proxy_protocol=web-mqtt,web_stomp.proxy_protocol=web-stomp" group:"listeners" env:"LEVERET_PROXY_PROTOCOL" default:"none" placeholder:"PROTOCOL" help:"Whose clients come through a proxy that begins each connection with a PROXY header, version 1 or 2: amqp, mqtt, web-mqtt, stomp, web-stomp, http, repeated or with commas, or all; none for none. Their ports, with TLS or without, then take no other connection. [none]"`

	AMQPTLSAddr     []string `name:"amqp-tls-addr" conf:"listeners.ssl.*:addr" group:"tls" env:"LEVERET_AMQP_TLS_ADDR" default:"none" placeholder:"ADDR" help:"Where AMQP clients connect with TLS, for example :5671. [none]"`
	MQTTTLSAddr     []string `name:"mqtt-tls-addr" conf:"mqtt.listeners.ssl.*:addr" group:"tls" env:"LEVERET_MQTT_TLS_ADDR" default:"none" placeholder:"ADDR" help:"Where MQTT clients connect with TLS, for example :8883. [none]"`
	WebMQTTTLSAddr  []string `name:"web-mqtt-tls-addr" conf:"web_mqtt.ssl.port:port,web_mqtt.ssl.ip:ip,web_mqtt.ssl.listener:addr" group:"tls" env:"LEVERET_WEB_MQTT_TLS_ADDR" default:"none" placeholder:"ADDR" help:"Where MQTT clients connect over WebSocket with TLS, for example :15676. [none]"`
	STOMPTLSAddr    []string `name:"stomp-tls-addr" conf:"stomp.listeners.ssl.*:addr" group:"tls" env:"LEVERET_STOMP_TLS_ADDR" default:"none" placeholder:"ADDR" help:"Where STOMP clients connect with TLS, for example :61614. [none]"`
	WebSTOMPTLSAddr []string `name:"web-stomp-tls-addr" conf:"web_stomp.ssl.port:port,web_stomp.ssl.ip:ip,web_stomp.ssl.listener:addr" group:"tls" env:"LEVERET_WEB_STOMP_TLS_ADDR" default:"none" placeholder:"ADDR" help:"Where STOMP clients connect over WebSocket with TLS, for example :15673. [none]"`
	HTTPSAddr       []string `name:"https-addr" conf:"management.ssl.port:port,management.ssl.ip:ip" group:"tls" env:"LEVERET_HTTPS_ADDR" default:"none" placeholder:"ADDR" help:"Where the management API answers with TLS, for example :15671. [none]"`
	TLSCert         []string `name:"tls-cert" conf:"ssl_options.certfile" group:"tls" env:"LEVERET_TLS_CERT" placeholder:"FILE" help:"The server's certificate and those between it and an authority, PEM. Read again when it changes, and on SIGHUP. Repeated, or with commas, for servers of several names: a client gets the first that is good for the name it asks for (SNI), else the first."`
	TLSKey          []string `name:"tls-key" conf:"ssl_options.keyfile" group:"tls" env:"LEVERET_TLS_KEY" placeholder:"FILE" help:"The certificate's private key, PEM; as many as certificates, in their order."`
	TLSCA           string   `name:"tls-ca" conf:"ssl_options.cacertfile" group:"tls" env:"LEVERET_TLS_CA" placeholder:"FILE" help:"The authorities whose clients' certificates are good, PEM; without it, those of the system."`
	TLSVerify       string   `name:"tls-verify" group:"tls" env:"LEVERET_TLS_VERIFY" default:"none" enum:"none,peer,require" placeholder:"HOW" help:"none asks clients for no certificate; peer wants one that a client has to be good; require wants one of every client. [none]"`
	TLSMin          string   `name:"tls-min" group:"tls" env:"LEVERET_TLS_MIN" default:"1.2" enum:"1.2,1.3" placeholder:"VERSION" help:"The oldest version of TLS. [1.2]"`

	CertLoginFrom     string `name:"cert-login-from" conf:"ssl_cert_login_from" group:"tls" env:"LEVERET_CERT_LOGIN_FROM" default:"distinguished_name" enum:"distinguished_name,common_name,subject_alternative_name" placeholder:"FIELD" help:"What in a client's certificate is its user name: distinguished_name, as CN=app,O=shop; common_name; or subject_alternative_name. AMQP clients log in by it with the mechanism EXTERNAL. [distinguished_name]"`
	CertLoginSANType  string `name:"cert-login-san-type" conf:"ssl_cert_login_san_type" group:"tls" env:"LEVERET_CERT_LOGIN_SAN_TYPE" default:"dns" enum:"dns,ip,email,uri,other_name" placeholder:"TYPE" help:"Which of the alternative names: dns, ip, email, uri or other_name. [dns]"`
	CertLoginSANIndex int    `name:"cert-login-san-index" conf:"ssl_cert_login_san_index" group:"tls" env:"LEVERET_CERT_LOGIN_SAN_INDEX" default:"0" placeholder:"N" help:"Which of several of that type, from 0. [0]"`
	MQTTCertLogin     bool   `name:"mqtt-cert-login" conf:"mqtt.ssl_cert_login" group:"tls" env:"LEVERET_MQTT_CERT_LOGIN" help:"MQTT clients that give neither user nor password are the user of their certificate."`
	HTTPCertLogin     bool   `name:"http-cert-login" group:"tls" env:"LEVERET_HTTP_CERT_LOGIN" help:"Who uses the management API over TLS without an Authorization header is the user of their certificate."`
	STOMPCertLogin    bool   `name:"stomp-cert-login" conf:"stomp.ssl_cert_login" group:"tls" env:"LEVERET_STOMP_CERT_LOGIN" help:"STOMP clients that give no login are the user of their certificate."`

	DefaultUser     string   `name:"default-user" conf:"default_user" group:"users" env:"LEVERET_DEFAULT_USER" default:"guest" placeholder:"NAME" help:"The administrator a new broker has. [guest]"`
	DefaultPass     string   `name:"default-pass" conf:"default_pass" secret:"" group:"users" env:"LEVERET_DEFAULT_PASS" default:"guest" placeholder:"PASSWORD" help:"That user's password; better given by environment than by flag. [guest]"`
	DefaultVHost    string   `name:"default-vhost" conf:"default_vhost" group:"users" env:"LEVERET_DEFAULT_VHOST" default:"/" placeholder:"NAME" help:"The virtual host a new broker has. [/]"`
	LoopbackUsers   []string `name:"loopback-users" group:"users" env:"LEVERET_LOOPBACK_USERS" default:"guest" placeholder:"NAME" help:"Users that may log in from this machine only; none for no such rule. [guest]"`
	LoadDefinitions string   `name:"load-definitions" conf:"load_definitions,definitions.local.path,management.load_definitions,definitions.https.url" group:"users" env:"LEVERET_LOAD_DEFINITIONS" placeholder:"FILE" help:"Import this file as exported by RabbitMQ or leveret, or the files *.json of this directory, or what this https:// URL answers, at each start. The default user and virtual host are not made then."`
	SkipUnchanged   bool     `name:"skip-unchanged-definitions" conf:"definitions.skip_if_unchanged" group:"users" env:"LEVERET_SKIP_UNCHANGED_DEFINITIONS" help:"Import them only when they are not those of the last start."`

	AuthBackends     []string      `name:"auth-backends" group:"access" env:"LEVERET_AUTH_BACKENDS" default:"internal" placeholder:"LIST" help:"Where users are looked for, in this order: internal, http, oauth2. NAME+RIGHTS asks one who the user is and the other what it may do. [internal]"`
	AuthHold         time.Duration `name:"auth-cache-ttl" conf:"auth_cache.cache_ttl:ms" group:"access" env:"LEVERET_AUTH_CACHE_TTL" default:"15s" placeholder:"TIME" help:"How long a connection remembers what --auth-http answered about its permissions; 0 has it ask each time. [15s]"`
	AuthHTTPMethod   string        `name:"auth-http-method" conf:"auth_http.http_method" group:"access" env:"LEVERET_AUTH_HTTP_METHOD" default:"get" enum:"get,post" placeholder:"METHOD" help:"How the web service is asked: get, with the password in the address, or post. [get]"`
	AuthHTTPUser     string        `name:"auth-http-user-path" conf:"auth_http.user_path" group:"access" env:"LEVERET_AUTH_HTTP_USER_PATH" default:"http://localhost:8000/auth/user" placeholder:"URL" help:"Where the web service says who may log in. [http://localhost:8000/auth/user]"`
	AuthHTTPVHost    string        `name:"auth-http-vhost-path" conf:"auth_http.vhost_path" group:"access" env:"LEVERET_AUTH_HTTP_VHOST_PATH" default:"http://localhost:8000/auth/vhost" placeholder:"URL" help:"Where it says who may enter a virtual host. [http://localhost:8000/auth/vhost]"`
	AuthHTTPResource string        `name:"auth-http-resource-path" conf:"auth_http.resource_path" group:"access" env:"LEVERET_AUTH_HTTP_RESOURCE_PATH" default:"http://localhost:8000/auth/resource" placeholder:"URL" help:"Where it says who may do what to queues and exchanges. [http://localhost:8000/auth/resource]"`
	AuthHTTPTopic    string        `name:"auth-http-topic-path" conf:"auth_http.topic_path" group:"access" env:"LEVERET_AUTH_HTTP_TOPIC_PATH" default:"http://localhost:8000/auth/topic" placeholder:"URL" help:"Where it says who may use which routing keys. [http://localhost:8000/auth/topic]"`
	AuthHTTPTimeout  time.Duration `name:"auth-http-timeout" conf:"auth_http.request_timeout:ms" group:"access" env:"LEVERET_AUTH_HTTP_TIMEOUT" default:"10s" placeholder:"TIME" help:"How long it may take to answer; then the client is refused. [10s]"`
	AuthHTTPConnect  time.Duration `name:"auth-http-connect-timeout" conf:"auth_http.connection_timeout:ms" group:"access" env:"LEVERET_AUTH_HTTP_CONNECT_TIMEOUT" default:"0s" placeholder:"TIME" help:"How long a connection to it may take to open; 0 for --auth-http-timeout. [0s]"`
	AuthHTTPCA       string        `name:"auth-http-ca" conf:"auth_http.ssl_options.cacertfile" group:"access" env:"LEVERET_AUTH_HTTP_CA" placeholder:"FILE" help:"The authorities whose certificate it may have, PEM; without it, those of the system."`
	AuthHTTPCert     string        `name:"auth-http-cert" conf:"auth_http.ssl_options.certfile" group:"access" env:"LEVERET_AUTH_HTTP_CERT" placeholder:"FILE" help:"The certificate shown to it, PEM."`
	AuthHTTPKey      string        `name:"auth-http-key" conf:"auth_http.ssl_options.keyfile" group:"access" env:"LEVERET_AUTH_HTTP_KEY" placeholder:"FILE" help:"That certificate's private key, PEM."`
	AuthHTTPName     string        `name:"auth-http-server-name" conf:"auth_http.ssl_options.sni" group:"access" env:"LEVERET_AUTH_HTTP_SERVER_NAME" placeholder:"NAME" help:"The name that its certificate must have, if not that of its address."`
	AuthHTTPVerify   bool          `name:"auth-http-verify" conf:"auth_http.ssl_options.verify:verify" group:"access" env:"LEVERET_AUTH_HTTP_VERIFY" default:"true" negatable:"" help:"Its certificate must be good. [true]"`
	OAuthServer      string        `name:"oauth2-resource-server-id" conf:"auth_oauth2.resource_server_id" group:"access" env:"LEVERET_OAUTH2_RESOURCE_SERVER_ID" placeholder:"ID" help:"What tokens call this broker: their audience, and what their scopes begin with."`
	OAuthPrefix      string        `name:"oauth2-scope-prefix" conf:"auth_oauth2.scope_prefix:text" group:"access" env:"LEVERET_OAUTH2_SCOPE_PREFIX" placeholder:"TEXT" help:"What scopes begin with instead of --oauth2-resource-server-id and a dot; none for nothing."`
	OAuthScopesKey   string        `name:"oauth2-additional-scopes-key" conf:"auth_oauth2.additional_scopes_key" group:"access" env:"LEVERET_OAUTH2_ADDITIONAL_SCOPES_KEY" placeholder:"PATHS" help:"Claims that have scopes besides scope, as roles or realm.access, with spaces between."`
	OAuthAliases     []string      `name:"oauth2-scope-aliases" group:"access" env:"LEVERET_OAUTH2_SCOPE_ALIASES" placeholder:"NAME=SCOPES" help:"Scopes that another name in a token stands for, with spaces between."`
	OAuthSyntax      string        `name:"oauth2-scope-pattern-syntax" conf:"auth_oauth2.scope_pattern_syntax" group:"access" env:"LEVERET_OAUTH2_SCOPE_PATTERN_SYNTAX" default:"wildcard" enum:"wildcard,regex" placeholder:"SYNTAX" help:"What the patterns in scopes are: wildcard or regex. [wildcard]"`
	OAuthClaims      []string      `name:"oauth2-preferred-username-claims" conf:"auth_oauth2.preferred_username_claims.*" group:"access" env:"LEVERET_OAUTH2_PREFERRED_USERNAME_CLAIMS" default:"sub,client_id" placeholder:"CLAIM" help:"The claims that may name the user, the first that is there does. [sub,client_id]"`
	OAuthIssuer      string        `name:"oauth2-issuer" conf:"auth_oauth2.issuer" group:"access" env:"LEVERET_OAUTH2_ISSUER" placeholder:"URL" help:"Who tokens must be from; it also tells where its keys are, unless --oauth2-jwks does."`
	OAuthJWKS        string        `name:"oauth2-jwks" conf:"auth_oauth2.jwks_uri,auth_oauth2.jwks_url" group:"access" env:"LEVERET_OAUTH2_JWKS" placeholder:"URL" help:"The JWK set with the keys of tokens, an address or a file."`
	OAuthJWKSRefresh time.Duration `name:"oauth2-jwks-refresh" group:"access" env:"LEVERET_OAUTH2_JWKS_REFRESH" default:"15m" placeholder:"TIME" help:"How often the JWK set is read again; an unknown key has that done at once. [15m]"`
	OAuthKeys        []string      `name:"oauth2-signing-keys" group:"access" env:"LEVERET_OAUTH2_SIGNING_KEYS" placeholder:"ID=FILE" help:"Keys of tokens that have a file each, PEM."`
	OAuthDefaultKey  string        `name:"oauth2-default-key" conf:"auth_oauth2.default_key" group:"access" env:"LEVERET_OAUTH2_DEFAULT_KEY" placeholder:"ID" help:"The key of tokens that name none."`
	OAuthAlgorithms  []string      `name:"oauth2-algorithms" conf:"auth_oauth2.algorithms.*" group:"access" env:"LEVERET_OAUTH2_ALGORITHMS" placeholder:"NAME" help:"How tokens may be signed, as RS256,ES256; without it, in any way that is safe."`
	OAuthVerifyAud   bool          `name:"oauth2-verify-aud" conf:"auth_oauth2.verify_aud" group:"access" env:"LEVERET_OAUTH2_VERIFY_AUD" default:"true" negatable:"" help:"Tokens must be meant for --oauth2-resource-server-id. [true]"`
	OAuthRequireExp  bool          `name:"oauth2-require-exp" conf:"auth_oauth2.require_exp" group:"access" env:"LEVERET_OAUTH2_REQUIRE_EXP" default:"true" negatable:"" help:"Tokens must expire. [true]"`
	OAuthCA          string        `name:"oauth2-ca" conf:"auth_oauth2.https.cacertfile" group:"access" env:"LEVERET_OAUTH2_CA" placeholder:"FILE" help:"The authorities whose certificate the issuer may have, PEM; without it, those of the system."`
	OAuthVerify      bool          `name:"oauth2-verify" conf:"auth_oauth2.https.verify:verify,auth_oauth2.https.peer_verification:verify" group:"access" env:"LEVERET_OAUTH2_VERIFY" default:"true" negatable:"" help:"The issuer's certificate must be good. [true]"`

	MemoryLimit      MemoryLimit   `name:"memory-limit" conf:"vm_memory_high_watermark.relative,vm_memory_high_watermark.absolute" live:"" group:"limits" env:"LEVERET_MEMORY_LIMIT" default:"0.6" placeholder:"SIZE" help:"Messages may take this much memory before publishers have to wait: 2GiB, or 0.6 of the machine or container. [0.6]"`
	DiskFreeLimit    DiskLimit     `name:"disk-free-limit" conf:"disk_free_limit.absolute,disk_free_limit.relative:times" live:"" group:"limits" env:"LEVERET_DISK_FREE_LIMIT" default:"50MB" placeholder:"SIZE" help:"Publishers have to wait while the data directory's disk has less room than this: 2GB, or 1.5x the memory of machine or container; 0 for no such rule. [50MB]"`
	RefuseAfter      time.Duration `name:"refuse-after" group:"limits" env:"LEVERET_REFUSE_AFTER" default:"0s" placeholder:"TIME" help:"How long publishers wait while memory or disk is short, before they are refused instead (a nack, reason 0x97, an ERROR frame); 0 is for ever. [0s]"`
	TotalMemory      Size          `name:"total-memory" conf:"total_memory_available_override_value" live:"" group:"limits" env:"LEVERET_TOTAL_MEMORY" default:"0" placeholder:"SIZE" help:"Take this for the memory of machine or container; 0 looks. [0]"`
	MaxConnections   int           `name:"max-connections" conf:"max_connections:count,connection_max:count" group:"limits" env:"LEVERET_MAX_CONNECTIONS" default:"0" placeholder:"N" help:"Connections of clients there may be; 0 for any number. [0]"`
	MaxChannels      int           `name:"max-channels" conf:"channel_max_per_node:count" group:"limits" env:"LEVERET_MAX_CHANNELS" default:"0" placeholder:"N" help:"Channels of AMQP there may be on all connections together; 0 for any number. [0]"`
	MaxVHosts        int           `name:"max-vhosts" conf:"vhost_max:count" group:"limits" env:"LEVERET_MAX_VHOSTS" default:"0" placeholder:"N" help:"Virtual hosts there may be; 0 for any number. [0]"`
	MaxQueues        int           `name:"max-queues" conf:"cluster_queue_limit:count" group:"limits" env:"LEVERET_MAX_QUEUES" default:"0" placeholder:"N" help:"Queues there may be in all virtual hosts together, for who declares one more; 0 for any number. [0]"`
	MaxConsumers     int           `name:"max-consumers" conf:"consumer_max_per_channel:count" group:"limits" env:"LEVERET_MAX_CONSUMERS" default:"0" placeholder:"N" help:"Consumers a channel of AMQP may have; 0 for any number. [0]"`
	DefaultQueueType string        `name:"default-queue-type" conf:"default_queue_type" group:"limits" env:"LEVERET_DEFAULT_QUEUE_TYPE" default:"classic" enum:"classic,quorum,stream" placeholder:"TYPE" help:"What queues are that are declared without a type, in virtual hosts that do not say it: classic, quorum or stream. [classic]"`
	MaxMessageSize   Size          `name:"max-message-size" conf:"max_message_size" group:"limits" env:"LEVERET_MAX_MESSAGE_SIZE" default:"128MiB" placeholder:"SIZE" help:"The largest body a client may publish. [128MiB]"`
	Heartbeat        time.Duration `name:"heartbeat" conf:"heartbeat:s" group:"limits" env:"LEVERET_HEARTBEAT" default:"60s" placeholder:"TIME" help:"The heartbeat offered to AMQP clients; 0 offers none. [60s]"`
	ChannelMax       uint16        `name:"channel-max" conf:"channel_max,max_channels_per_connection" group:"limits" env:"LEVERET_CHANNEL_MAX" default:"2047" placeholder:"N" help:"Channels an AMQP connection may open; 0 for as many as the protocol can number. [2047]"`
	FrameMax         Size          `name:"frame-max" conf:"frame_max" group:"limits" env:"LEVERET_FRAME_MAX" default:"131072" placeholder:"SIZE" help:"The largest AMQP frame, at least 4096. [131072]"`
	ConsumerTimeout  time.Duration `name:"consumer-timeout" conf:"consumer_timeout:ms" live:"" group:"limits" env:"LEVERET_CONSUMER_TIMEOUT" default:"0s" placeholder:"TIME" help:"How long a consumer may take to acknowledge a delivery before it is ended and loses it; queues and policies may say otherwise. 0 is for ever. [0s]"`
	HandshakeTimeout time.Duration `name:"handshake-timeout" conf:"handshake_timeout:ms" group:"limits" env:"LEVERET_HANDSHAKE_TIMEOUT" default:"10s" placeholder:"TIME" help:"How long a client may take to log in. [10s]"`

	MQTTExchange      string        `name:"mqtt-exchange" conf:"mqtt.exchange" group:"mqtt" env:"LEVERET_MQTT_EXCHANGE" default:"amq.topic" placeholder:"NAME" help:"The topic exchange that MQTT topics are routing keys of. [amq.topic]"`
	MQTTVHost         string        `name:"mqtt-vhost" conf:"mqtt.vhost" group:"mqtt" env:"LEVERET_MQTT_VHOST" default:"/" placeholder:"NAME" help:"The virtual host of MQTT clients whose user name does not begin with one, as in VHOST:USER. [/]"`
	MQTTAnonymous     bool          `name:"mqtt-anonymous" conf:"mqtt.allow_anonymous" negatable:"" group:"mqtt" env:"LEVERET_MQTT_ANONYMOUS" default:"true" help:"MQTT clients without credentials are the user guest, as far as that may log in from where they are. [true]"`
	MQTTMaxPacket     Size          `name:"mqtt-max-packet" conf:"mqtt.max_packet_size_authenticated" group:"mqtt" env:"LEVERET_MQTT_MAX_PACKET" default:"16MiB" placeholder:"SIZE" help:"The largest MQTT packet. [16MiB]"`
	MQTTSessionExpiry time.Duration `name:"mqtt-session-expiry" conf:"mqtt.max_session_expiry_interval_seconds:expiry,mqtt.subscription_ttl:expiry_ms" group:"mqtt" env:"LEVERET_MQTT_SESSION_EXPIRY" default:"24h" placeholder:"TIME" help:"How long an MQTT session may outlive its connection; negative for as long as it asks for. [24h]"`
	MQTTMaxSessions   int           `name:"mqtt-max-sessions" group:"mqtt" env:"LEVERET_MQTT_MAX_SESSIONS" default:"0" placeholder:"N" help:"MQTT sessions there may be, connected or not; 0 for any number. [0]"`
	MQTTPrefetch      int           `name:"mqtt-prefetch" conf:"mqtt.prefetch" group:"mqtt" env:"LEVERET_MQTT_PREFETCH" default:"256" placeholder:"N" help:"Messages of QoS 1 and 2 sent to an MQTT client before it acknowledges one. [256]"`
	MQTTMaxKeepAlive  time.Duration `name:"mqtt-max-keepalive" group:"mqtt" env:"LEVERET_MQTT_MAX_KEEPALIVE" default:"0s" placeholder:"TIME" help:"The longest keep alive of an MQTT 5 client, who is told; 0 for any. [0s]"`
	MQTTSys           time.Duration `name:"mqtt-sys" group:"mqtt" env:"LEVERET_MQTT_SYS" default:"0s" placeholder:"TIME" help:"Publish figures under $SYS this often; 0 for never. [0s]"`
	MQTTKeepRefused   bool          `name:"mqtt-keep-refused" conf:"mqtt.disconnect_on_unauthorized:not" group:"mqtt" env:"LEVERET_MQTT_KEEP_REFUSED" default:"false" help:"Leave MQTT connections open whose publish or subscription lacks a permission. [false]"`

	DataDir     string        `name:"data-dir" group:"storage" env:"LEVERET_DATA_DIR" default:"./leveret-data" placeholder:"DIR" help:"Where the broker keeps what must survive a restart; made if need be. :memory: keeps nothing. [./leveret-data]"`
	Sync        string        `name:"sync" group:"storage" env:"LEVERET_SYNC" default:"always" enum:"always,interval,none" placeholder:"POLICY" help:"When a persistent message counts as stored: always, when it is on disk and survives the loss of power; interval, when the operating system has it, which syncs every --sync-every; none, the same without syncs. A crash of leveret alone loses nothing in either. [always]"`
	SyncEvery   time.Duration `name:"sync-every" group:"storage" env:"LEVERET_SYNC_EVERY" default:"1s" placeholder:"TIME" help:"How often --sync interval syncs. [1s]"`
	QueueMemory Size          `name:"queue-memory" group:"storage" env:"LEVERET_QUEUE_MEMORY" default:"16MiB" placeholder:"SIZE" help:"What the messages of one queue may take in memory; the rest of a long queue stays on disk. [16MiB]"`

	ClusterName string `name:"cluster-name" conf:"cluster_name" group:"node" env:"LEVERET_CLUSTER_NAME" placeholder:"NAME" help:"The name that programs and the API show for this broker, unless one was set in the API. [the node's name]"`
	PidFile     string `name:"pid-file" group:"node" env:"LEVERET_PID_FILE" placeholder:"FILE" help:"Write the process's number there once all ports are open; removed at the end."`
	NodeName    string `name:"node-name" group:"node" env:"LEVERET_NODE_NAME" placeholder:"NAME" help:"This broker's name in the API and in names it makes up. [leveret@HOST]"`
	CtlSocket   string `name:"ctl-socket" group:"node" env:"LEVERET_CTL_SOCKET" placeholder:"PATH" help:"The Unix socket over which leveret ctl needs no password; only the user leveret runs as can open it. none for no such way. [leveret.sock in the data directory]"`

	LogConsole     string     `name:"log-console" live:"" group:"logging" env:"LEVERET_LOG_CONSOLE" default:"stderr" enum:"stderr,stdout,none" placeholder:"WHERE" help:"Log to stderr, stdout or none. [stderr]"`
	LogLevel       slog.Level `name:"log-level" conf:"log.console.level:level" live:"" group:"logging" env:"LEVERET_LOG_LEVEL" default:"info" placeholder:"LEVEL" help:"debug, info, warn or error. [info]"`
	LogFormat      string     `name:"log-format" conf:"log.console.formatter:formatter" live:"" group:"logging" env:"LEVERET_LOG_FORMAT" default:"text" enum:"text,json" placeholder:"FORMAT" help:"text or json, one line an event. [text]"`
	LogFile        string     `name:"log-file" conf:"log.file:name" live:"" group:"logging" env:"LEVERET_LOG_FILE" placeholder:"FILE" help:"Log to this file too; none for no file. Opened anew on SIGHUP. [none, or leveret.log with --log-dir]"`
	LogDir         string     `name:"log-dir" conf:"log.dir" live:"" group:"logging" env:"LEVERET_LOG_DIR" placeholder:"DIR" help:"Where the log file is, unless --log-file has a directory in it; made if need be."`
	LogFileLevel   slog.Level `name:"log-file-level" conf:"log.file.level:level" live:"" group:"logging" env:"LEVERET_LOG_FILE_LEVEL" default:"info" placeholder:"LEVEL" help:"What goes to the file. [info]"`
	LogFileFormat  string     `name:"log-file-format" conf:"log.file.formatter:formatter" live:"" group:"logging" env:"LEVERET_LOG_FILE_FORMAT" default:"text" enum:"text,json" placeholder:"FORMAT" help:"text or json. [text]"`
	LogRotateSize  Size       `name:"log-rotate-size" conf:"log.file.rotation.size" live:"" group:"logging" env:"LEVERET_LOG_ROTATE_SIZE" default:"0" placeholder:"SIZE" help:"Turn the file over (to FILE.0, FILE.1 ...) before it is larger; 0 for any size. [0]"`
	LogRotateDate  logs.Date  `name:"log-rotate-date" conf:"log.file.rotation.date" live:"" group:"logging" env:"LEVERET_LOG_ROTATE_DATE" placeholder:"WHEN" help:"Turn it over at these times, as RabbitMQ writes them: $$D0 at midnight, $$W0D23 on Sundays at 23, $$M1D0 on the first of the month."`
	LogRotateCount int        `name:"log-rotate-count" conf:"log.file.rotation.count" live:"" group:"logging" env:"LEVERET_LOG_ROTATE_COUNT" default:"10" placeholder:"N" help:"How many old files stay. [10]"`
	LogLevels      []string   `name:"log-levels" live:"" group:"logging" env:"LEVERET_LOG_LEVELS" placeholder:"CATEGORY=LEVEL" help:"Levels of categories of their own, wherever they go: connection for what clients do, queue for what happens to messages, default for the rest."`

	EventVHost       string     `name:"event-exchange-vhost" group:"logging" env:"LEVERET_EVENT_EXCHANGE_VHOST" conf:"event_exchange.vhost" placeholder:"VHOST" help:"The virtual host that has the exchange amq.rabbitmq.event, where the broker tells what happens; none for no such exchange. [that of --default-vhost]"`
	AuditLog         string     `name:"audit-log" group:"logging" env:"LEVERET_AUDIT_LOG" placeholder:"FILE" help:"Write down administrative acts in this file, as lines of JSON, instead of in the log."`
	LogExchangeLevel slog.Level `name:"log-exchange-level" conf:"log.exchange.level:level" group:"logging" env:"LEVERET_LOG_EXCHANGE_LEVEL" default:"debug" placeholder:"LEVEL" help:"Publish only lines of this level and above, of those that are logged. [debug]"`
	LogExchange      bool       `name:"log-exchange" group:"logging" env:"LEVERET_LOG_EXCHANGE" conf:"log.exchange" help:"Publish the log, too, to the exchange amq.rabbitmq.log of the default virtual host, with the level as routing key."`

	Pprof string `name:"pprof" group:"logging" env:"LEVERET_PPROF" placeholder:"ADDR" help:"Serve Go's profiles on this address, for example localhost:6060. Anyone who reaches it can read memory."`
}

// InMemory is the data directory of a broker that keeps nothing.
const InMemory = ":memory:"

// SocketName is the Unix socket's name in a data directory.
const SocketName = "leveret.sock"

// SocketPath is where the Unix socket is to be, "" for nowhere: a broker that
// keeps nothing has no directory for it.
func (s *Serve) SocketPath() string {
	switch {
	case s.CtlSocket == "none", s.CtlSocket == "" && s.DataDir == InMemory:
		return ""
	case s.CtlSocket != "":
		return s.CtlSocket
	}
	return filepath.Join(s.DataDir, SocketName)
}

// Listener is where one protocol is to be served.
type Listener struct {
	Protocol string // As the management API calls it.
	TLS      bool
	Proxied  bool   // Connections begin with a PROXY header.
	Flag     string // The one that says so.
	Addr     string // host:port
}

// The protocols of listeners, as the API calls them; over TLS they have another
// name there.
const (
	AMQP     = "amqp"
	MQTT     = "mqtt"
	WebMQTT  = "http/web-mqtt"
	STOMP    = "stomp"
	WebSTOMP = "http/web-stomp"
	HTTP     = "http"

	Prometheus = "http/prometheus"
)

// Settings are what Serve comes to on this machine.
type Settings struct {
	Listeners      []Listener // At least one.
	TLS            bool       // One of them is served over TLS.
	WebOrigins     []string   // Of STOMP; nil for all.
	WebMQTTOrigins []string   // Nil for all.
	PprofAddr      string     // Empty serves none.
	NodeName       string
	ClusterName    string
	LoopbackUsers  []string   // Not nil.
	AuthSteps      [][]string // Backends of users: who says who one is, then who says what it may do, if others do.
	MachineBytes   int64      // Memory of machine or container; 0 if unknown.
	MemoryBytes    int64      // What live messages may take.
	DiskFreeBytes  int64      // What is to be left free on the disk.
	GoMemoryBytes  int64      // What the Go runtime is told to stay under.
}

// Resolve checks s and works out what depends on the machine. Its errors name
// the flag to change.
func (s *Serve) Resolve() (*Settings, error) {
	var out Settings
	var err error
	if err := s.listeners(&out); err != nil {
		return nil, err
	}
	if !only(s.WebSTOMPOrigins, "all") {
		out.WebOrigins = s.WebSTOMPOrigins
	}
	if !only(s.WebMQTTOrigins, "all") {
		out.WebMQTTOrigins = s.WebMQTTOrigins
	}
	if s.Pprof != "" {
		if out.PprofAddr, err = address("--pprof", s.Pprof); err != nil {
			return nil, err
		}
	}

	for _, m := range s.AuthMechanisms {
		if !slices.Contains([]string{"PLAIN", "AMQPLAIN", "ANONYMOUS", "EXTERNAL"}, m) {
			return nil, fmt.Errorf("--auth-mechanisms %s is not one of PLAIN, AMQPLAIN, ANONYMOUS, EXTERNAL", m)
		}
	}
	switch {
	case len(s.TLSCert) != len(s.TLSKey):
		return nil, fmt.Errorf("there are %d of --tls-cert and %d of --tls-key; each certificate needs its key", len(s.TLSCert), len(s.TLSKey))
	case s.CertLoginSANIndex < 0:
		return nil, fmt.Errorf("--cert-login-san-index %d is negative; the first is 0", s.CertLoginSANIndex)
	case (s.MQTTCertLogin || s.STOMPCertLogin || s.HTTPCertLogin) && (s.TLSCA == "" || s.TLSVerify == "none"):
		return nil, errors.New("--mqtt-cert-login, --stomp-cert-login and --http-cert-login need --tls-verify peer or require, and --tls-ca: not every authority of the system may name our users")
	case s.DefaultUser == "":
		return nil, errors.New("--default-user must not be empty")
	case s.STOMPUser == "":
		return nil, errors.New("--stomp-default-user must not be empty; none refuses clients that do not log in")
	case s.STOMPTopicExchange == "":
		return nil, errors.New("--stomp-topic-exchange must not be empty")
	case s.DefaultVHost == "":
		return nil, errors.New("--default-vhost must not be empty")
	case s.MaxConnections < 0 || s.MaxChannels < 0 || s.MaxVHosts < 0 || s.MaxQueues < 0 || s.MaxConsumers < 0:
		return nil, errors.New("--max-connections, --max-channels, --max-vhosts, --max-queues and --max-consumers must not be negative")
	case s.HTTPMaxBody < 1:
		return nil, errors.New("--http-max-body must be a byte or more")
	case s.MaxMessageSize < 1:
		return nil, errors.New("--max-message-size must be at least 1")
	case s.FrameMax < 4096 || s.FrameMax > 1<<30:
		return nil, fmt.Errorf("--frame-max %d is not between 4096 and 1GiB", s.FrameMax)
	case s.Heartbeat < 0 || s.Heartbeat > 65535*time.Second || s.Heartbeat%time.Second != 0:
		return nil, fmt.Errorf("--heartbeat %v is not a whole number of seconds between 0 and 65535", s.Heartbeat)
	case s.DataDir == "":
		return nil, fmt.Errorf("--data-dir must not be empty; %s keeps nothing", InMemory)
	case s.SyncEvery <= 0:
		return nil, fmt.Errorf("--sync-every %v is not a time to wait", s.SyncEvery)
	case s.QueueMemory < 64<<10:
		return nil, fmt.Errorf("--queue-memory %d is less than 64KiB", s.QueueMemory)
	case s.HTTPCORSMaxAge < time.Second:
		return nil, fmt.Errorf("--http-cors-max-age %v is not a second or more", s.HTTPCORSMaxAge)
	case s.HTTPSessionTimeout < time.Minute || s.HTTPSessionTimeout%time.Minute != 0:
		return nil, fmt.Errorf("--http-session-timeout %v is not a number of whole minutes", s.HTTPSessionTimeout)
	case strings.ContainsAny(s.HTTPPathPrefix, "?#% "):
		return nil, fmt.Errorf("--http-path-prefix %q is not a path such as /broker", s.HTTPPathPrefix)
	case s.RefuseAfter < 0:
		return nil, fmt.Errorf("--refuse-after %v is not a time to wait", s.RefuseAfter)
	case s.ConsumerTimeout < 0:
		return nil, fmt.Errorf("--consumer-timeout %v is not a time to wait", s.ConsumerTimeout)
	case s.MQTTExchange == "" || s.MQTTVHost == "":
		return nil, errors.New("--mqtt-exchange and --mqtt-vhost must not be empty")
	case s.MQTTMaxPacket < 64<<10 || s.MQTTMaxPacket > 256<<20:
		return nil, fmt.Errorf("--mqtt-max-packet %d is not between 64KiB and 256MiB", s.MQTTMaxPacket)
	case s.MQTTPrefetch < 1 || s.MQTTPrefetch > 16384:
		return nil, fmt.Errorf("--mqtt-prefetch %d is not between 1 and 16384", s.MQTTPrefetch)
	case s.MQTTMaxSessions < 0:
		return nil, fmt.Errorf("--mqtt-max-sessions %d is negative", s.MQTTMaxSessions)
	case s.MQTTMaxKeepAlive < 0 || s.MQTTMaxKeepAlive > 65535*time.Second || s.MQTTMaxKeepAlive%time.Second != 0:
		return nil, fmt.Errorf("--mqtt-max-keepalive %v is not a whole number of seconds between 0 and 65535", s.MQTTMaxKeepAlive)
	case s.MQTTSys < 0:
		return nil, fmt.Errorf("--mqtt-sys %v is not a time", s.MQTTSys)
	case s.HandshakeTimeout <= 0:
		return nil, fmt.Errorf("--handshake-timeout %v is not a time to wait", s.HandshakeTimeout)
	}

	if out.NodeName = s.NodeName; out.NodeName == "" {
		out.NodeName = "leveret@" + hostName()
	}
	if out.AuthSteps, err = authSteps(s.AuthBackends); err != nil {
		return nil, err
	}
	out.LoopbackUsers = []string{}
	if !only(s.LoopbackUsers, "none") {
		out.LoopbackUsers = s.LoopbackUsers
	}
	if s.LoadDefinitions != "" && !remote(s.LoadDefinitions) {
		if _, err := os.Stat(s.LoadDefinitions); err != nil {
			return nil, fmt.Errorf("--load-definitions: %w", err)
		}
	}
	if _, err := s.LogOptions(nil, nil); err != nil {
		return nil, err
	}
	if out.MachineBytes = int64(s.TotalMemory); out.MachineBytes == 0 {
		out.MachineBytes = MachineMemory()
	}
	if out.ClusterName = s.ClusterName; out.ClusterName == "" {
		out.ClusterName = out.NodeName
	}
	if out.MemoryBytes, err = s.MemoryLimit.Of(out.MachineBytes); err != nil {
		return nil, err
	}
	if out.DiskFreeBytes, err = s.DiskFreeLimit.Of(out.MachineBytes); err != nil {
		return nil, err
	}
	out.GoMemoryBytes = GoMemory(out.MemoryBytes, out.MachineBytes)
	return &out, nil
}

// listeners adds to out where each protocol is to be served.
func (s *Serve) listeners(out *Settings) error {
	proxied, err := s.proxied()
	if err != nil {
		return err
	}
	for _, l := range []struct {
		protocol, flag string
		tls            bool
		addrs          []string
	}{
		{AMQP, "--amqp-addr", false, s.AMQPAddr}, {AMQP, "--amqp-tls-addr", true, s.AMQPTLSAddr},
		{MQTT, "--mqtt-addr", false, s.MQTTAddr}, {MQTT, "--mqtt-tls-addr", true, s.MQTTTLSAddr},
		{WebMQTT, "--web-mqtt-addr", false, s.WebMQTTAddr}, {WebMQTT, "--web-mqtt-tls-addr", true, s.WebMQTTTLSAddr},
		{HTTP, "--http-addr", false, s.HTTPAddr}, {HTTP, "--https-addr", true, s.HTTPSAddr},
		{Prometheus, "--prometheus-addr", false, s.PrometheusAddr}, {Prometheus, "--prometheus-tls-addr", true, s.PrometheusTLSAddr},
		{STOMP, "--stomp-addr", false, s.STOMPAddr}, {STOMP, "--stomp-tls-addr", true, s.STOMPTLSAddr},
		{WebSTOMP, "--web-stomp-addr", false, s.WebSTOMPAddr}, {WebSTOMP, "--web-stomp-tls-addr", true, s.WebSTOMPTLSAddr},
	} {
		addrs, err := addresses(l.flag, l.addrs)
		if err != nil {
			return err
		}
		for _, addr := range addrs {
			out.Listeners = append(out.Listeners, Listener{l.protocol, l.tls, proxied[l.protocol], l.flag, addr})
			out.TLS = out.TLS || l.tls
		}
		if l.tls && len(addrs) > 0 && (len(s.TLSCert) == 0 || len(s.TLSKey) == 0) {
			return fmt.Errorf("%s %s needs --tls-cert and --tls-key", l.flag, addrs[0])
		}
	}
	if len(out.Listeners) == 0 {
		return errors.New("--amqp-addr none and all the others: nothing is left to listen on")
	}
	return nil
}

// proxied are the protocols of --proxy-protocol.
func (s *Serve) proxied() (map[string]bool, error) {
	names := map[string]string{"amqp": AMQP, "mqtt": MQTT, "web-mqtt": WebMQTT, "stomp": STOMP, "web-stomp": WebSTOMP, "http": HTTP}
	out := make(map[string]bool)
	if only(s.ProxyProtocol, "none") {
		return out, nil
	}
	for _, name := range s.ProxyProtocol {
		switch protocol, ok := names[name]; {
		case ok:
			out[protocol] = true
		case name == "all":
			for _, p := range names {
				out[p] = true
			}
		default:
			return nil, fmt.Errorf("--proxy-protocol %s: not a protocol; choose of amqp, mqtt, web-mqtt, stomp, web-stomp, http, all", name)
		}
	}
	return out, nil
}

// GoMemory is the soft limit for the Go runtime: room for what is accounted,
// for a quarter of garbage on top and for what a broker is without messages.
// It stays below the machine's memory where it can, because a collector that
// works harder is better than one that is killed.
func GoMemory(limit, machine int64) int64 {
	soft := limit + limit/4 + 128<<20
	if ceiling := machine / 10 * 9; machine > 0 && soft > ceiling {
		soft = max(ceiling, limit)
	}
	return soft
}

// EventExchangeVHost is the virtual host of the exchange for events, "" if there
// is to be none.
func (s *Serve) EventExchangeVHost() string {
	switch s.EventVHost {
	case "":
		return s.DefaultVHost
	case "none":
		return ""
	}
	return s.EventVHost
}

// LogOptions say where the log goes. The console is one of stdout and stderr.
func (s *Serve) LogOptions(stdout, stderr io.Writer) (logs.Options, error) {
	o := logs.Options{
		ConsoleLevel: s.LogLevel, ConsoleJSON: s.LogFormat == "json",
		FileLevel: s.LogFileLevel, FileJSON: s.LogFileFormat == "json",
		Rotation: logs.Rotation{Size: int64(s.LogRotateSize), Date: s.LogRotateDate, Count: s.LogRotateCount},
		Levels:   map[string]slog.Level{},
	}
	switch s.LogConsole {
	case "stdout":
		o.Console = stdout
	case "stderr":
		o.Console = stderr
	}
	switch {
	case s.LogFile == "none" || s.LogFile == "" && s.LogDir == "":
	case s.LogFile == "":
		o.File = filepath.Join(s.LogDir, "leveret.log")
	case filepath.Dir(s.LogFile) != "." || s.LogDir == "":
		o.File = s.LogFile
	default:
		o.File = filepath.Join(s.LogDir, s.LogFile)
	}
	if s.LogRotateCount < 0 {
		return o, fmt.Errorf("--log-rotate-count %d is negative", s.LogRotateCount)
	}
	for _, entry := range s.LogLevels {
		category, text, _ := strings.Cut(entry, "=")
		if !slices.Contains(logs.Categories, category) {
			return o, fmt.Errorf("--log-levels %s: there is no such category; they are %s", entry, strings.Join(logs.Categories, ", "))
		}
		var level slog.Level
		if err := level.UnmarshalText([]byte(text)); err != nil {
			return o, fmt.Errorf("--log-levels %s: write for example %s=debug", entry, category)
		}
		o.Levels[category] = level
	}
	return o, nil
}

// Unless is list, or nil if that is nothing but word.
func Unless(list []string, word string) []string {
	if only(list, word) {
		return nil
	}
	return list
}

func only(list []string, word string) bool { return len(list) == 1 && list[0] == word }

// addresses completes a list of listening addresses; "none" is the empty list.
func addresses(flag string, list []string) ([]string, error) {
	if only(list, "none") {
		return nil, nil
	}
	var out []string
	for _, a := range list {
		full, err := address(flag, a)
		if err != nil {
			return nil, err
		}
		out = append(out, full)
	}
	return out, nil
}

// address accepts host:port, :port and a bare port.
func address(flag, a string) (string, error) {
	a = strings.TrimSpace(a)
	if a != "" && strings.Trim(a, "0123456789") == "" {
		a = ":" + a
	}
	host, port, err := net.SplitHostPort(a)
	if err != nil {
		return "", fmt.Errorf("%s %q is not an address; write host:port, :port or [::1]:port", flag, a)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return "", fmt.Errorf("%s %q: the port is not a number between 0 and 65535", flag, a)
	}
	return net.JoinHostPort(host, port), nil
}

// AMQPChannelMax is the channel maximum to offer: 0, no limit, is what the
// protocol can number.
func (s *Serve) AMQPChannelMax() uint16 {
	if s.ChannelMax == 0 {
		return 65535
	}
	return s.ChannelMax
}

// MQTTSessionExpiryMax is the longest life of an MQTT session without a
// connection, as the adapter wants it: 0 would be its default.
func (s *Serve) MQTTSessionExpiryMax() time.Duration {
	if s.MQTTSessionExpiry == 0 {
		return time.Nanosecond
	}
	return s.MQTTSessionExpiry
}
