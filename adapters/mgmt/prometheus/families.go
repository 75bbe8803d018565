package prometheus

// metric is a column of a family: what it is called behind the prefix, and which
// of the numbers of its objects it shows.
type metric struct {
	name string
	kind kind
	help string
	col  int
}

// family is a group of metrics about the same objects.
type family struct {
	name    string
	of      objects
	metrics []metric
	// part says that another family has it as well, so that it comes only when it
	// is asked for.
	part bool
	// rows says that there are rows only, and no sum over them.
	rows bool
	// ours says that the names begin with leveret_.
	ours bool
}

// objects is what a family is about.
type objects uint8

const (
	queues objects = iota
	channels
	connections
	exchanges
	vhosts
)

// The columns of queues.
const (
	qReady = iota
	qUnacked
	qMessages
	qConsumers
	qCapacity
	qMemory
	qRAM
	qRAMBytes
	qReadyRAM
	qUnackedRAM
	qPersistent
	qBytes
	qReadyBytes
	qUnackedBytes
	qPagedOut
	qPagedOutBytes
	qHead
	qGetAck
	qGet
	qDeliveredAck
	qDelivered
	qRedelivered
	qAcked
	qGetEmpty
	qPublished
	qSegments
	qPublishRate
	qDeliverRate
	qAckRate
	qAge
	qInfo
	queueColumns
)

// The columns of channels, connections, exchanges and virtual hosts.
const (
	chConsumers = iota
	chUnacked
	chUnconfirmed
	chUncommitted
	chAcksUncommitted
	chPrefetch
	chGlobalPrefetch
	chPublished
	chReturned
	chDelivered
	chAcked
	channelColumns

	coIn = iota - channelColumns - 1
	coOut
	coChannels
	connectionColumns

	xPublished = iota - channelColumns - connectionColumns - 2
	xName
	xBindings
	exchangeColumns

	vStatus      = 0
	vhostColumns = 1
)

// families are all there are about objects, in the order in which they are written.
var families = []family{
	{name: "queue_coarse_metrics", of: queues, metrics: []metric{
		{"queue_messages_ready", gauge, "Messages ready to be delivered to consumers", qReady},
		{"queue_messages_unacked", gauge, "Messages delivered to consumers but not yet acknowledged", qUnacked},
		{"queue_messages", gauge, "Sum of ready and unacknowledged messages - total queue depth", qMessages},
		{"queue_info", gauge, "A metric with a constant '1' value and labels that provide some queue details", qInfo},
	}},
	{name: "queue_consumer_count", of: queues, part: true, metrics: []metric{
		{"queue_consumers", gauge, "Consumers on a queue", qConsumers},
	}},
	{name: "queue_metrics", of: queues, metrics: []metric{
		{"queue_consumers", gauge, "Consumers on a queue", qConsumers},
		{"queue_consumer_capacity", gauge, "Consumer capacity", qCapacity},
		{"queue_consumer_utilisation", gauge, "Same as consumer capacity", qCapacity},
		{"queue_process_memory_bytes", gauge, "Memory in bytes used by the queue", qMemory},
		{"queue_messages_ram", gauge, "Ready and unacknowledged messages stored in memory", qRAM},
		{"queue_messages_ram_bytes", gauge, "Size of ready and unacknowledged messages stored in memory", qRAMBytes},
		{"queue_messages_ready_ram", gauge, "Ready messages stored in memory", qReadyRAM},
		{"queue_messages_unacked_ram", gauge, "Unacknowledged messages stored in memory", qUnackedRAM},
		{"queue_messages_persistent", gauge, "Persistent messages", qPersistent},
		{"queue_messages_bytes", gauge, "Size in bytes of ready and unacknowledged messages", qBytes},
		{"queue_messages_ready_bytes", gauge, "Size in bytes of ready messages", qReadyBytes},
		{"queue_messages_unacked_bytes", gauge, "Size in bytes of all unacknowledged messages", qUnackedBytes},
		{"queue_messages_paged_out", gauge, "Messages paged out to disk", qPagedOut},
		{"queue_messages_paged_out_bytes", gauge, "Size in bytes of messages paged out to disk", qPagedOutBytes},
		{"queue_head_message_timestamp", gauge, "Timestamp of the first message in the queue, if any", qHead},
		{"stream_segments", gauge, "Total number of stream segment files", qSegments},
	}},
	{name: "queue_delivery_metrics", of: queues, metrics: []metric{
		{"queue_get_ack_total", counter, "Total number of messages fetched from a queue with basic.get in manual acknowledgement mode", qGetAck},
		{"queue_get_total", counter, "Total number of messages fetched from a queue with basic.get in automatic acknowledgement mode", qGet},
		{"queue_messages_delivered_ack_total", counter, "Total number of messages delivered from a queue to consumers in manual acknowledgement mode", qDeliveredAck},
		{"queue_messages_delivered_total", counter, "Total number of messages delivered from a queue to consumers in automatic acknowledgement mode", qDelivered},
		{"queue_messages_redelivered_total", counter, "Total number of messages redelivered from a queue to consumers", qRedelivered},
		{"queue_messages_acked_total", counter, "Total number of messages acknowledged by consumers on a queue", qAcked},
		{"queue_get_empty_total", counter, "Total number of times basic.get operations fetched no message on a queue", qGetEmpty},
	}},
	{name: "queue_exchange_metrics", of: queues, metrics: []metric{
		{"queue_messages_published_total", counter, "Total number of messages published to queues", qPublished},
	}},
	{name: "leveret_queue_metrics", of: queues, ours: true, metrics: []metric{
		{"queue_publish_rate", gauge, "Messages a second that came to a queue, over the last 5 s", qPublishRate},
		{"queue_deliver_rate", gauge, "Messages a second that were delivered or fetched, over the last 5 s", qDeliverRate},
		{"queue_ack_rate", gauge, "Messages a second that were acknowledged, over the last 5 s", qAckRate},
		{"queue_oldest_message_age_seconds", gauge, "How long the oldest ready message has been in its queue; over all queues the longest", qAge},
	}},
	{name: "channel_metrics", of: channels, metrics: []metric{
		{"channel_consumers", gauge, "Consumers on a channel", chConsumers},
		{"channel_messages_unacked", gauge, "Delivered but not yet acknowledged messages", chUnacked},
		{"channel_messages_unconfirmed", gauge, "Published but not yet confirmed messages", chUnconfirmed},
		{"channel_messages_uncommitted", gauge, "Messages received in a transaction but not yet committed", chUncommitted},
		{"channel_acks_uncommitted", gauge, "Message acknowledgements in a transaction not yet committed", chAcksUncommitted},
		{"consumer_prefetch", gauge, "Limit of unacknowledged messages for each consumer", chPrefetch},
		{"channel_prefetch", gauge, "Total limit of unacknowledged messages for all consumers on a channel", chGlobalPrefetch},
	}},
	{name: "channel_exchange_metrics", of: channels, metrics: []metric{
		{"channel_messages_published_total", counter, "Total number of messages published on a channel", chPublished},
		{"channel_messages_unroutable_returned_total", counter, "Total number of messages published as mandatory into an exchange and returned to the publisher as unroutable", chReturned},
	}},
	{name: "channel_queue_metrics", of: channels, metrics: []metric{
		{"channel_messages_delivered_total", counter, "Total number of messages delivered or fetched on a channel", chDelivered},
		{"channel_messages_acked_total", counter, "Total number of messages acknowledged by consumers", chAcked},
	}},
	{name: "connection_coarse_metrics", of: connections, metrics: []metric{
		{"connection_incoming_bytes_total", counter, "Total number of bytes received on a connection", coIn},
		{"connection_outgoing_bytes_total", counter, "Total number of bytes sent on a connection", coOut},
	}},
	{name: "connection_metrics", of: connections, metrics: []metric{
		{"connection_channels", gauge, "Channels on a connection", coChannels},
	}},
	{name: "exchange_metrics", of: exchanges, metrics: []metric{
		{"exchange_messages_published_total", counter, "Total number of messages published into an exchange", xPublished},
	}},
	{name: "vhost_status", of: vhosts, part: true, rows: true, metrics: []metric{
		{"cluster_vhost_status", gauge, "Whether a given vhost is running", vStatus},
	}},
	{name: "exchange_names", of: exchanges, part: true, rows: true, metrics: []metric{
		{"cluster_exchange_name", gauge, "Enumerates exchanges without any additional info. A cheaper alternative to `exchange_bindings`", xName},
	}},
	{name: "exchange_bindings", of: exchanges, part: true, rows: true, metrics: []metric{
		{"cluster_exchange_bindings", gauge, "Number of bindings for an exchange", xBindings},
	}},
}
