package wire

import "github.com/go-stomp/stomp/v3/frame"

// Command is what a client's frame asks for.
type Command uint8

// The commands of clients.
const (
	Unknown Command = iota
	Connect         // Also STOMP.
	Send
	Subscribe
	Unsubscribe
	Ack
	Nack
	Begin
	Commit
	Abort
	Disconnect
	Refresh // Ours: a fresh passcode.
)

// RefreshText is the command of Refresh, which STOMP does not have.
const RefreshText = "REFRESH"

var commandNames = [...]string{
	Unknown: "", Connect: frame.CONNECT, Send: frame.SEND, Subscribe: frame.SUBSCRIBE, Unsubscribe: frame.UNSUBSCRIBE,
	Ack: frame.ACK, Nack: frame.NACK, Begin: frame.BEGIN, Commit: frame.COMMIT, Abort: frame.ABORT, Disconnect: frame.DISCONNECT,
	Refresh: RefreshText,
}

// String is the command as it is written.
func (c Command) String() string { return commandNames[c] }

// CommandMax is the longest command that is read, in bytes.
const CommandMax = 32

// commandOf returns Unknown for what is not exactly a command.
func commandOf(b []byte) Command {
	switch string(b) {
	case frame.SEND:
		return Send
	case frame.ACK:
		return Ack
	case frame.NACK:
		return Nack
	case frame.SUBSCRIBE:
		return Subscribe
	case frame.UNSUBSCRIBE:
		return Unsubscribe
	case frame.BEGIN:
		return Begin
	case frame.COMMIT:
		return Commit
	case frame.ABORT:
		return Abort
	case frame.DISCONNECT:
		return Disconnect
	case RefreshText:
		return Refresh
	case frame.CONNECT, frame.STOMP:
		return Connect
	}
	return Unknown
}

// Version is a version of STOMP. They differ in how headers are escaped and in
// what an ACK names.
type Version uint8

// The versions there are, in order.
const (
	V10 Version = iota
	V11
	V12
)

// String is "1.0", "1.1" or "1.2".
func (v Version) String() string { return [...]string{"1.0", "1.1", "1.2"}[v] }
