// Package wire is the codec of STOMP 1.0, 1.1 and 1.2 frames. It knows bytes
// and limits, and no broker.
//
//	bytes as they arrive --> Skip --> Scanner.Head --> Send, Settle: hot frames, in place
//	                        (noise)        |
//	                                       +--> Scanner.Frame: everything else, as a
//	                                            go-stomp frame.Frame
//
//	AppendMessage, AppendReceipt, AppendFrame --> bytes to send
//
// github.com/go-stomp/stomp/v3/frame supplies the model of frames and the names
// of commands and headers. Its Reader does not bound what it takes, and costs
// eight times as much as the Scanner for a SEND; it is what the fuzz tests hold
// the Scanner against.
//
// # The canonical form
//
// What the broker keeps of a message's headers (core.FormSTOMP) is lines as
// STOMP 1.2 writes them: "name:value\n", escaped, each name once, none of those
// that a MESSAGE has of its own. So one client's headers are the next one's
// without being looked at. If the publisher used such a name nevertheless, its
// lines come first, between two line feeds: AMQP consumers get them, STOMP
// subscribers do not.
//
// # Reading order
//
// command.go, escape.go, scan.go, send.go, append.go.
package wire
