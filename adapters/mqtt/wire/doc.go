// Package wire reads and writes MQTT 3.1, 3.1.1 and 5: fixed headers, packets,
// properties, topic names and filters. It knows no broker and no socket;
// server, load generator and tests use it from both ends of a connection.
//
//	read buffer --ParseHeader--> Header + body --ParsePublish, ParseAck --> values in place  (hot)
//	                                      '------ParseConnect, ParseSubscribe ...            (cold)
//
//	out buffer <--AppendPublish, AppendAck                     (hot)
//	           <--AppendConnack, AppendSuback, AppendDisconnect (cold)
//
// Hot functions are ours: they neither copy what they parse nor allocate. The
// cold packets are decoded and encoded by mochi-mqtt's packets package, but only
// after a check of our own has walked over the whole packet: that codec reads
// past the end of a truncated SUBSCRIBE, lets properties run beyond their
// announced length and takes single-use properties twice.
//
// Nothing here trusts its input. Whatever the bytes, a parser returns an error
// or a result, in time linear in their number, and takes memory at most a fixed
// multiple of it. The fuzz tests hold it to that.
//
// There are no goroutines and no shared state: everything may be called from
// anywhere.
//
// Reading order: codes.go, header.go, publish.go, ack.go, properties.go,
// topic.go, connect.go, subscribe.go, control.go.
package wire
