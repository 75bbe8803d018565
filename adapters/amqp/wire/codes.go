package wire

// ProtocolHeader is what a client sends before its first frame, and what the
// server answers when it got another one. 8 bytes.
const ProtocolHeader = "AMQP\x00\x00\x09\x01"

// Reply codes of connection.close, channel.close and basic.return.
const (
	ReplySuccess            uint16 = 200
	ReplyContentTooLarge    uint16 = 311
	ReplyNoRoute            uint16 = 312
	ReplyNoConsumers        uint16 = 313
	ReplyConnectionForced   uint16 = 320
	ReplyInvalidPath        uint16 = 402
	ReplyAccessRefused      uint16 = 403
	ReplyNotFound           uint16 = 404
	ReplyResourceLocked     uint16 = 405
	ReplyPreconditionFailed uint16 = 406
	ReplyFrameError         uint16 = 501
	ReplySyntaxError        uint16 = 502
	ReplyCommandInvalid     uint16 = 503
	ReplyChannelError       uint16 = 504
	ReplyUnexpectedFrame    uint16 = 505
	ReplyResourceError      uint16 = 506
	ReplyNotAllowed         uint16 = 530
	ReplyNotImplemented     uint16 = 540
	ReplyInternalError      uint16 = 541
)

// replies says of each code its name, and whether it ends the connection
// ("hard") or only the channel ("soft").
var replies = map[uint16]struct {
	name string
	hard bool
}{
	ReplySuccess:            {"REPLY_SUCCESS", false},
	ReplyContentTooLarge:    {"CONTENT_TOO_LARGE", false},
	ReplyNoRoute:            {"NO_ROUTE", false},
	ReplyNoConsumers:        {"NO_CONSUMERS", false},
	ReplyConnectionForced:   {"CONNECTION_FORCED", true},
	ReplyInvalidPath:        {"INVALID_PATH", true},
	ReplyAccessRefused:      {"ACCESS_REFUSED", false},
	ReplyNotFound:           {"NOT_FOUND", false},
	ReplyResourceLocked:     {"RESOURCE_LOCKED", false},
	ReplyPreconditionFailed: {"PRECONDITION_FAILED", false},
	ReplyFrameError:         {"FRAME_ERROR", true},
	ReplySyntaxError:        {"SYNTAX_ERROR", true},
	ReplyCommandInvalid:     {"COMMAND_INVALID", true},
	ReplyChannelError:       {"CHANNEL_ERROR", true},
	ReplyUnexpectedFrame:    {"UNEXPECTED_FRAME", true},
	ReplyResourceError:      {"RESOURCE_ERROR", true},
	ReplyNotAllowed:         {"NOT_ALLOWED", true},
	ReplyNotImplemented:     {"NOT_IMPLEMENTED", true},
	ReplyInternalError:      {"INTERNAL_ERROR", true},
}

// ReplyName returns the word a reply text begins with, "NOT_FOUND" for 404,
// and "" for a code AMQP does not define.
func ReplyName(code uint16) string { return replies[code].name }

// ReplyIsHard reports whether an error of that code closes the connection
// and not just the channel. A soft code raised on channel 0 closes the
// connection too; that is for the caller to know. Unknown codes are hard.
func ReplyIsHard(code uint16) bool {
	r, known := replies[code]
	return r.hard || !known
}
