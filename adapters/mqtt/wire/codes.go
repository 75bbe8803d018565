package wire

import "fmt"

// Code is a reason code of MQTT 5 (2.4), which also stands for what is wrong
// with a client of an older version.
type Code byte

// The reason codes. Some numbers have several names in the standard.
const (
	Success                  Code = 0x00
	GrantedQoS0              Code = 0x00
	GrantedQoS1              Code = 0x01
	GrantedQoS2              Code = 0x02
	DisconnectWithWill       Code = 0x04
	NoMatchingSubscribers    Code = 0x10
	NoSubscriptionExisted    Code = 0x11
	ContinueAuthentication   Code = 0x18
	ReAuthenticate           Code = 0x19
	UnspecifiedError         Code = 0x80
	MalformedPacket          Code = 0x81
	ProtocolError            Code = 0x82
	ImplementationSpecific   Code = 0x83
	UnsupportedVersion       Code = 0x84
	ClientIDNotValid         Code = 0x85
	BadUserNameOrPassword    Code = 0x86
	NotAuthorized            Code = 0x87
	ServerUnavailable        Code = 0x88
	ServerBusy               Code = 0x89
	ServerShuttingDown       Code = 0x8B
	BadAuthenticationMethod  Code = 0x8C
	KeepAliveTimeout         Code = 0x8D
	SessionTakenOver         Code = 0x8E
	TopicFilterInvalid       Code = 0x8F
	TopicNameInvalid         Code = 0x90
	PacketIDInUse            Code = 0x91
	PacketIDNotFound         Code = 0x92
	ReceiveMaximumExceeded   Code = 0x93
	TopicAliasInvalid        Code = 0x94
	PacketTooLarge           Code = 0x95
	QuotaExceeded            Code = 0x97
	AdministrativeAction     Code = 0x98
	PayloadFormatInvalid     Code = 0x99
	QoSNotSupported          Code = 0x9B
	SharedSubsNotSupported   Code = 0x9E
	MaximumConnectTime       Code = 0xA0
	WildcardSubsNotSupported Code = 0xA2
)

var codeNames = map[Code]string{
	Success:                  "success",
	GrantedQoS1:              "granted QoS 1",
	GrantedQoS2:              "granted QoS 2",
	DisconnectWithWill:       "disconnect with will message",
	NoMatchingSubscribers:    "no matching subscribers",
	NoSubscriptionExisted:    "no subscription existed",
	ContinueAuthentication:   "continue authentication",
	ReAuthenticate:           "re-authenticate",
	UnspecifiedError:         "unspecified error",
	MalformedPacket:          "malformed packet",
	ProtocolError:            "protocol error",
	ImplementationSpecific:   "implementation specific error",
	UnsupportedVersion:       "unsupported protocol version",
	ClientIDNotValid:         "client identifier not valid",
	BadUserNameOrPassword:    "bad user name or password",
	NotAuthorized:            "not authorized",
	ServerUnavailable:        "server unavailable",
	ServerBusy:               "server busy",
	ServerShuttingDown:       "server shutting down",
	BadAuthenticationMethod:  "bad authentication method",
	KeepAliveTimeout:         "keep alive timeout",
	SessionTakenOver:         "session taken over",
	TopicFilterInvalid:       "topic filter invalid",
	TopicNameInvalid:         "topic name invalid",
	PacketIDInUse:            "packet identifier in use",
	PacketIDNotFound:         "packet identifier not found",
	ReceiveMaximumExceeded:   "receive maximum exceeded",
	TopicAliasInvalid:        "topic alias invalid",
	PacketTooLarge:           "packet too large",
	QuotaExceeded:            "quota exceeded",
	AdministrativeAction:     "administrative action",
	PayloadFormatInvalid:     "payload format invalid",
	QoSNotSupported:          "QoS not supported",
	SharedSubsNotSupported:   "shared subscriptions not supported",
	MaximumConnectTime:       "maximum connect time",
	WildcardSubsNotSupported: "wildcard subscriptions not supported",
}

// String is the standard's name of c.
func (c Code) String() string {
	if s, ok := codeNames[c]; ok {
		return s
	}
	return fmt.Sprintf("reason code 0x%02X", byte(c))
}

// IsError reports whether c says that something failed.
func (c Code) IsError() bool { return c >= 0x80 }

// Error is what is wrong with a packet: the reason code to answer with, and
// words for the log and the reason string.
type Error struct {
	Code Code
	Why  string
}

func (e *Error) Error() string { return e.Code.String() + ": " + e.Why }

// malformed and violation make errors; most are made once, in variables.
func malformed(why string) *Error { return &Error{MalformedPacket, why} }

func violation(why string) *Error { return &Error{ProtocolError, why} }
