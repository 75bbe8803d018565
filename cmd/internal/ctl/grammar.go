package ctl

import "github.com/alecthomas/kong"

// Connection says where the broker is and who asks.
type Connection struct {
	Socket   string `name:"socket" env:"LEVERET_CTL_SOCKET" placeholder:"PATH" help:"The Unix socket in the broker's data directory, where no password is needed. Without it and --url, one in LEVERET_DATA_DIR, ./leveret-data or /var/lib/leveret is used if it is there."`
	URL      string `name:"url" env:"LEVERET_URL" placeholder:"URL" help:"The broker's management API; may hold user and password. [http://guest:guest@127.0.0.1:15672]"`
	User     string `name:"user" env:"LEVERET_USER" placeholder:"NAME" help:"Log in as this user, an administrator for most verbs."`
	Password string `name:"password" env:"LEVERET_PASSWORD" placeholder:"PASSWORD" help:"With this password; better given by environment."`
	Node     string `name:"node" short:"n" placeholder:"NAME@HOST" help:"As for rabbitmqctl: without --url, the host after the @ is asked."`
	Timeout  int    `name:"timeout" short:"t" default:"60" placeholder:"SECONDS" help:"Give up after so long, with exit code 75; 0 waits for ever. [60]"`
}

// options are what every verb takes.
type options struct {
	Connection
	VHost          string `name:"vhost" short:"p" default:"/" placeholder:"VHOST" help:"The virtual host that the verb is about. [/]"`
	Quiet          bool   `name:"quiet" short:"q" help:"Print no banner."`
	Silent         bool   `name:"silent" short:"s" help:"Print neither banner nor table header."`
	NoTableHeaders bool   `name:"no-table-headers" help:"Print no table header."`
	Formatter      string `name:"formatter" enum:"table,csv,json,pretty_table" default:"table" placeholder:"FORMAT" help:"table, csv, json or pretty_table. [table]"`
	LongNames      bool   `name:"longnames" short:"l" help:"Taken as rabbitmqctl takes it: nodes have no Erlang names here."`
}

// grammar is the whole command line.
type grammar struct {
	options

	AddUser            addUser            `cmd:"" name:"add_user" group:"users" help:"Make a user; the password may come on standard input."`
	DeleteUser         deleteUser         `cmd:"" name:"delete_user" group:"users" help:"Delete a user."`
	ChangePassword     changePassword     `cmd:"" name:"change_password" group:"users" help:"Change a user's password."`
	ClearPassword      clearPassword      `cmd:"" name:"clear_password" group:"users" help:"Make a user unable to log in with a password."`
	AuthenticateUser   authenticateUser   `cmd:"" name:"authenticate_user" group:"users" help:"Try a user's password."`
	SetUserTags        setUserTags        `cmd:"" name:"set_user_tags" group:"users" help:"Replace a user's tags, e.g. administrator."`
	ListUsers          listUsers          `cmd:"" name:"list_users" group:"users" help:"List users and their tags."`
	SetUserLimits      setUserLimits      `cmd:"" name:"set_user_limits" group:"users" help:"Limit a user: '{\"max-connections\": 5}'."`
	ClearUserLimits    clearUserLimits    `cmd:"" name:"clear_user_limits" group:"users" help:"Remove one limit of a user, or all."`
	ListUserLimits     listUserLimits     `cmd:"" name:"list_user_limits" group:"users" help:"List the limits of users."`
	SetPermissions     setPermissions     `cmd:"" name:"set_permissions" group:"access" help:"Let a user configure, write and read what matches."`
	ClearPermissions   clearPermissions   `cmd:"" name:"clear_permissions" group:"access" help:"Take a user's permissions in the virtual host away."`
	ListPermissions    listPermissions    `cmd:"" name:"list_permissions" group:"access" help:"List the permissions in the virtual host."`
	ListUserPerms      listUserPerms      `cmd:"" name:"list_user_permissions" group:"access" help:"List a user's permissions."`
	SetTopicPerms      setTopicPerms      `cmd:"" name:"set_topic_permissions" group:"access" help:"Limit routing keys a user may write and read at an exchange."`
	ClearTopicPerms    clearTopicPerms    `cmd:"" name:"clear_topic_permissions" group:"access" help:"Take topic permissions away, of one exchange or all."`
	ListTopicPerms     listTopicPerms     `cmd:"" name:"list_topic_permissions" group:"access" help:"List the topic permissions in the virtual host."`
	Auth               authVerbs          `cmd:"" name:"auth" group:"access" help:"Say why somebody may do something, or not (explain)."`
	ListUserTopicPerms listUserTopicPerms `cmd:"" name:"list_user_topic_permissions" group:"access" help:"List a user's topic permissions."`

	AddVHost         addVHost         `cmd:"" name:"add_vhost" group:"vhosts" help:"Make a virtual host."`
	DeleteVHost      deleteVHost      `cmd:"" name:"delete_vhost" group:"vhosts" help:"Delete a virtual host with all that is in it."`
	ListVHosts       listVHosts       `cmd:"" name:"list_vhosts" group:"vhosts" help:"List virtual hosts."`
	SetVHostLimits   setVHostLimits   `cmd:"" name:"set_vhost_limits" group:"vhosts" help:"Limit the virtual host: '{\"max-queues\": 100}'."`
	ClearVHostLimits clearVHostLimits `cmd:"" name:"clear_vhost_limits" group:"vhosts" help:"Remove the virtual host's limits."`
	ListVHostLimits  listVHostLimits  `cmd:"" name:"list_vhost_limits" group:"vhosts" help:"List the limits of virtual hosts."`

	SetPolicy            setPolicy            `cmd:"" name:"set_policy" group:"policies" help:"Set a policy for queues and exchanges whose names match."`
	ClearPolicy          clearPolicy          `cmd:"" name:"clear_policy" group:"policies" help:"Remove a policy."`
	ListPolicies         listPolicies         `cmd:"" name:"list_policies" group:"policies" help:"List the virtual host's policies."`
	SetOperatorPolicy    setOperatorPolicy    `cmd:"" name:"set_operator_policy" group:"policies" help:"Set a policy that limits what policies and clients ask for."`
	ClearOperatorPolicy  clearOperatorPolicy  `cmd:"" name:"clear_operator_policy" group:"policies" help:"Remove an operator policy."`
	ListOperatorPolicies listOperatorPolicies `cmd:"" name:"list_operator_policies" group:"policies" help:"List the virtual host's operator policies."`
	SetParameter         setParameter         `cmd:"" name:"set_parameter" group:"policies" help:"Set a parameter of a component."`
	ClearParameter       clearParameter       `cmd:"" name:"clear_parameter" group:"policies" help:"Remove a parameter of a component."`
	ListParameters       listParameters       `cmd:"" name:"list_parameters" group:"policies" help:"List the parameters of components in the virtual host."`
	SetGlobalParameter   setGlobalParameter   `cmd:"" name:"set_global_parameter" group:"policies" help:"Set a parameter of the whole broker."`
	ClearGlobalParameter clearGlobalParameter `cmd:"" name:"clear_global_parameter" group:"policies" help:"Remove a parameter of the whole broker."`
	ListGlobalParameters listGlobalParameters `cmd:"" name:"list_global_parameters" group:"policies" help:"List the parameters of the whole broker."`

	ListQueues    listQueues    `cmd:"" name:"list_queues" group:"objects" help:"List queues; name the columns wanted."`
	PurgeQueue    purgeQueue    `cmd:"" name:"purge_queue" group:"objects" help:"Remove a queue's ready messages."`
	DeleteQueue   deleteQueue   `cmd:"" name:"delete_queue" group:"objects" help:"Delete a queue."`
	Move          moveMessages  `cmd:"" name:"move" group:"objects" help:"Move ready messages of a queue to another queue or exchange, or dead-lettered ones back home."`
	ListDelayed   listDelayed   `cmd:"" name:"list_delayed" group:"objects" help:"List messages that an x-delayed-message exchange keeps."`
	CancelDelayed cancelDelayed `cmd:"" name:"cancel_delayed" group:"objects" help:"Drop one of them."`
	RetimeDelayed retimeDelayed `cmd:"" name:"retime_delayed" group:"objects" help:"Have one of them be due at another time."`
	ListExchanges listExchanges `cmd:"" name:"list_exchanges" group:"objects" help:"List exchanges."`
	ListBindings  listBindings  `cmd:"" name:"list_bindings" group:"objects" help:"List bindings."`
	ListConsumers listConsumers `cmd:"" name:"list_consumers" group:"objects" help:"List consumers."`

	ListConnections         listConnections         `cmd:"" name:"list_connections" group:"clients" help:"List AMQP connections."`
	ListChannels            listChannels            `cmd:"" name:"list_channels" group:"clients" help:"List channels."`
	ListMQTTConnections     listMQTTConnections     `cmd:"" name:"list_mqtt_connections" group:"clients" help:"List MQTT connections."`
	ListSTOMPConnections    listSTOMPConnections    `cmd:"" name:"list_stomp_connections" group:"clients" help:"List STOMP connections."`
	CloseConnection         closeConnection         `cmd:"" name:"close_connection" group:"clients" help:"Close a connection, telling its client why."`
	CloseAllConnections     closeAllConnections     `cmd:"" name:"close_all_connections" group:"clients" help:"Close the virtual host's connections, or all."`
	CloseAllUserConnections closeAllUserConnections `cmd:"" name:"close_all_user_connections" group:"clients" help:"Close a user's connections."`

	ExportDefinitions exportDefinitions `cmd:"" name:"export_definitions" group:"definitions" help:"Write all that is declared to a file, or - for standard output."`
	ImportDefinitions importDefinitions `cmd:"" name:"import_definitions" group:"definitions" help:"Add what a file, or standard input, declares."`
	Definitions       definitions       `cmd:"" name:"definitions" group:"definitions" help:"Compare a file with what is declared (plan), or have it so (apply)."`

	Migrate       migrate       `cmd:"" name:"migrate" group:"moving" help:"Take over from a RabbitMQ that runs: definitions, then messages."`
	ShovelStatus  shovelStatus  `cmd:"" name:"shovel_status" group:"moving" help:"List the shovels and what they do."`
	RestartShovel restartShovel `cmd:"" name:"restart_shovel" group:"moving" help:"Have a shovel connect anew."`
	DeleteShovel  deleteShovel  `cmd:"" name:"delete_shovel" group:"moving" help:"End a shovel and delete its parameter."`

	Store store `cmd:"" name:"store" group:"store" help:"Look at the data directory of a stopped broker (check, dump) or copy that of a running one (backup)."`

	SetMemoryWatermark setMemoryWatermark `cmd:"" name:"set_vm_memory_high_watermark" group:"node" help:"Change how much memory messages may take: 0.6 of what there is, or absolute 2GB."`
	SetDiskFreeLimit   setDiskFreeLimit   `cmd:"" name:"set_disk_free_limit" group:"node" help:"Change how much room is to be left on the disk: 2GB, or mem_relative 1.5."`
	ListAlarms         listAlarms         `cmd:"" name:"list_alarms" group:"node" help:"List the alarms that are set, with what to do."`

	Environment       showEnvironment   `cmd:"" name:"environment" group:"node" help:"Show every setting, its value and where it comes from."`
	ClusterStatus     clusterStatus     `cmd:"" name:"cluster_status" group:"node" help:"Show the node, its listeners and alarms."`
	Report            report            `cmd:"" name:"report" group:"node" help:"Show everything that helps to find a fault."`
	Listeners         listListeners     `cmd:"" name:"listeners" group:"node" help:"List the ports that are open."`
	MemoryBreakdown   memoryBreakdown   `cmd:"" name:"memory_breakdown" group:"node" help:"Show what memory is used for."`
	ServerVersion     serverVersion     `cmd:"" name:"server_version" group:"node" help:"Show which RabbitMQ clients may take the broker for."`
	Stop              stop              `cmd:"" name:"stop" group:"node" help:"Stop the broker."`
	Shutdown          stop              `cmd:"" name:"shutdown" group:"node" help:"Stop the broker and wait until it has stopped."`
	StopApp           stopApp           `cmd:"" name:"stop_app" group:"node" help:"Close all clients' connections and let none in."`
	StartApp          startApp          `cmd:"" name:"start_app" group:"node" help:"Let clients in again."`
	SuspendListeners  suspendListeners  `cmd:"" name:"suspend_listeners" group:"node" help:"As stop_app."`
	ResumeListeners   resumeListeners   `cmd:"" name:"resume_listeners" group:"node" help:"As start_app."`
	Reset             reset             `cmd:"" name:"reset" group:"node" help:"Forget everything, messages too; after stop_app only."`
	ForceReset        reset             `cmd:"" name:"force_reset" group:"node" help:"As reset."`
	RestartVHost      restartVHost      `cmd:"" name:"restart_vhost" group:"node" help:"Check that a virtual host runs."`
	RotateLogs        rotateLogs        `cmd:"" name:"rotate_logs" group:"node" help:"Refused, as rabbitmqctl does."`
	HashPassword      hashPassword      `cmd:"" name:"hash_password" group:"users" help:"Hash a password for definitions files."`
	Eval              eval              `cmd:"" name:"eval" group:"node" help:"Answer what scripts ask to learn whether the broker is ready."`
	ListFeatureFlags  listFeatureFlags  `cmd:"" name:"list_feature_flags" group:"node" help:"List feature flags; all are enabled."`
	EnableFeatureFlag enableFeatureFlag `cmd:"" name:"enable_feature_flag" group:"node" help:"Check that a feature flag is there."`
	QuorumStatus      quorumStatus      `cmd:"" name:"quorum_status" group:"objects" help:"Show the members of a quorum queue."`
	ListUnresponsive  listUnresponsive  `cmd:"" name:"list_unresponsive_queues" group:"objects" help:"List queues that do not answer."`
	Wait              wait              `cmd:"" name:"wait" group:"node" help:"Wait until clients can connect."`
	AwaitOnline       awaitOnline       `cmd:"" name:"await_online_nodes" group:"node" help:"The same."`

	CheckRunning      checkRunning               `cmd:"" name:"check_running" group:"checks" help:"Exit with 0 if the broker serves clients."`
	IsRunning         isRunning                  `cmd:"" name:"is_running" group:"checks" help:"Say whether it does."`
	IsBooting         isBooting                  `cmd:"" name:"is_booting" group:"checks" help:"Say whether it is starting."`
	Alarms            showAlarms                 `cmd:"" name:"alarms" group:"checks" help:"Say which alarms are set."`
	CheckAlarms       checkAlarms                `cmd:"" name:"check_alarms" group:"checks" help:"Exit with 0 if no alarm is set."`
	CheckLocalAlarms  checkLocalAlarms           `cmd:"" name:"check_local_alarms" group:"checks" help:"The same."`
	CheckPort         checkPortListener          `cmd:"" name:"check_port_listener" group:"checks" help:"Exit with 0 if a port is open."`
	CheckProtocol     checkProtocolListener      `cmd:"" name:"check_protocol_listener" group:"checks" help:"Exit with 0 if a protocol is served."`
	CheckConnectivity checkPortConnectivity      `cmd:"" name:"check_port_connectivity" group:"checks" help:"Exit with 0 if all ports accept connections."`
	CheckVHosts       checkVirtualHosts          `cmd:"" name:"check_virtual_hosts" group:"checks" help:"Exit with 0 if all virtual hosts run."`
	CheckCertificates checkCertificateExpiration `cmd:"" name:"check_certificate_expiration" group:"checks" help:"Exit with 0 if no certificate expires soon."`
	NodeHealthCheck   nodeHealthCheck            `cmd:"" name:"node_health_check" group:"checks" help:"Deprecated: a few of the checks above."`

	ListAudit listAudit `cmd:"" name:"list_audit" group:"node" help:"List the last administrative acts, the newest first."`

	TraceOn  traceOn  `cmd:"" name:"trace_on" group:"vhosts" help:"Publish what passes through the virtual host to its exchange amq.rabbitmq.trace, until trace_off or a restart."`
	TraceOff traceOff `cmd:"" name:"trace_off" group:"vhosts" help:"Stop doing that."`

	Ping           ping           `cmd:"" name:"ping" group:"node" help:"Check that the broker answers."`
	AwaitStartup   awaitStartup   `cmd:"" name:"await_startup" group:"node" help:"Wait until the broker answers."`
	Status         status         `cmd:"" name:"status" group:"node" help:"Show the broker's version, memory, totals and listeners."`
	Version        showVersion    `cmd:"" name:"version" group:"node" help:"Show the broker's version."`
	SetClusterName setClusterName `cmd:"" name:"set_cluster_name" group:"node" help:"Change the name shown for the broker."`
}

// groups are the headings of the help.
var groups = []kong.Group{
	{Key: "users", Title: "Users"},
	{Key: "access", Title: "Permissions"},
	{Key: "vhosts", Title: "Virtual hosts"},
	{Key: "policies", Title: "Policies and parameters"},
	{Key: "objects", Title: "Queues, exchanges, bindings, consumers"},
	{Key: "clients", Title: "Connections and channels"},
	{Key: "definitions", Title: "Definitions"},
	{Key: "moving", Title: "Moving messages"},
	{Key: "store", Title: "Data directories"},
	{Key: "node", Title: "The broker"},
	{Key: "checks", Title: "Health checks"},
}
