package mqtt

import (
	"errors"
	"fmt"

	"leveret/adapters/mqtt/wire"
	"leveret/core"
)

// codes is the whole translation of core's failures into MQTT 5.
// TestEveryKindHasCode fails when core gains a Kind that is missing here.
var codes = map[core.Kind]wire.Code{
	core.NotFound:       wire.UnspecifiedError,
	core.AccessRefused:  wire.NotAuthorized,
	core.Locked:         wire.NotAuthorized,
	core.Mismatch:       wire.ImplementationSpecific,
	core.Invalid:        wire.ImplementationSpecific,
	core.InUse:          wire.ImplementationSpecific,
	core.Full:           wire.QuotaExceeded,
	core.Limit:          wire.QuotaExceeded,
	core.NotAllowed:     wire.NotAuthorized,
	core.NotImplemented: wire.ImplementationSpecific,
	core.Unavailable:    wire.QuotaExceeded,
	core.Internal:       wire.ImplementationSpecific,
}

// codeOf is the reason code of what core returned.
func codeOf(err error) wire.Code {
	var e *core.Error
	if errors.As(err, &e) {
		return codes[e.Kind]
	}
	return wire.UnspecifiedError
}

// failure ends a connection: a reason code for those who understand it, and
// words.
type failure struct {
	code wire.Code
	why  string
}

func (f *failure) Error() string { return f.code.String() + ": " + f.why }

func fail(code wire.Code, format string, args ...any) *failure {
	return &failure{code, fmt.Sprintf(format, args...)}
}

// failureOf turns what the codec or core returned into what ends the
// connection.
func failureOf(err error) *failure {
	var f *failure
	var w *wire.Error
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &w):
		return &failure{w.Code, w.Why}
	}
	return &failure{codeOf(err), err.Error()}
}

// connackCodes are the return codes of CONNACK before MQTT 5 (3.2.2.3 there).
var connackCodes = map[wire.Code]byte{
	wire.UnsupportedVersion:    1,
	wire.ClientIDNotValid:      2,
	wire.ServerUnavailable:     3,
	wire.BadUserNameOrPassword: 4,
	wire.NotAuthorized:         5,
	wire.QuotaExceeded:         5,
}

// connackCode is the return code of CONNACK for clients older than MQTT 5.
func connackCode(c wire.Code) byte {
	if b, ok := connackCodes[c]; ok {
		return b
	}
	return 3
}
