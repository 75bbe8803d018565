// Package wire reads and writes AMQP 0-9-1: frames, methods, content headers,
// field tables. It knows no broker and no socket; server, load generator and
// tests use it from both ends of a connection.
//
//	read buffer --ParseFrame--> Frame --MethodID--> ParsePublish, ParseAck ...  (hot, in place)
//	                              |          '----> DecodeMethod                (cold, copies)
//	                              |--ParseContentHeader--> props --ScanProperties--> PropInfo   (hot)
//	                              |                   '-----ParseProperties--> Properties (cold)
//	                              '--body: Payload
//
//	out buffer <--AppendDelivery, AppendPublish, AppendAck ...  (hot, whole frames)
//	           <--AppendMethod, AppendContent                   (cold)
//
// Hot functions neither copy what they parse nor allocate: their results
// alias the read buffer and die with it. Appending functions take a slice and
// return it longer, as append does. Two words are kept apart: Properties is
// the decoded struct; props are the bytes on the wire, property flags followed
// by the property list, which a broker hands through as they came once
// ScanProperties has looked at them.
//
// Nothing here trusts its input. Whatever the bytes, a parser returns an
// error or a result, in time linear in their number, and takes memory at most
// a fixed multiple of it. The fuzz tests hold it to that.
//
// There are no goroutines and no shared state: everything may be called from
// anywhere.
//
// Reading order: frame.go, method.go and one of method_*.go, table.go,
// properties.go, hot.go.
package wire
