package mgmt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"

	"leveret/core"
)

// maxBody bounds what a request may carry, if Options do not say it; definitions
// may be larger.
const (
	maxBody            = 10 << 20
	maxDefinitionsBody = 256 << 20
)

// body is a request's JSON object. Its accessors are as lenient as RabbitMQ's:
// tools send every scalar as a string.
type body map[string]any

// bytes reads the body up to limit.
func (c *call) bytes(limit int64) ([]byte, error) {
	b, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, limit))
	var tooBig *http.MaxBytesError
	if errors.As(err, &tooBig) {
		return nil, badRequest(fmt.Sprintf("payload size exceeds the limit of %d bytes", limit))
	} else if err != nil {
		return nil, badRequest("the request body ended early")
	}
	return b, nil
}

// body decodes the request's object; nothing, null and undefined are an empty
// one. What the request is called by Content-Type does not matter: curl -d
// calls everything a form.
func (c *call) body() (body, error) {
	raw, err := c.bytes(c.s.opts.MaxBody)
	if err != nil {
		return nil, err
	}
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "undefined" {
		return body{}, nil
	}
	v, err := decodeJSON(raw)
	if err != nil {
		return nil, errNotJSON
	}
	switch v := v.(type) {
	case map[string]any:
		c.sent = v
		return v, nil
	case nil:
		return body{}, nil
	case string:
		return nil, badRequest("invalid payload: the request body JSON-decoded to a string. Is the input doubly-JSON-encoded?")
	}
	return nil, errNotJSON
}

// decodeJSON decodes exactly one value and keeps numbers as they are written.
func decodeJSON(raw []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("more than one JSON value")
	}
	return v, nil
}

// need checks that keys are there, in RabbitMQ's words.
func (b body) need(keys ...string) error {
	for _, k := range keys {
		if _, ok := b[k]; !ok {
			return badRequest("[{key_missing," + k + "}]")
		}
	}
	return nil
}

// has reports whether key is there with a value.
func (b body) has(key string) bool {
	v, ok := b[key]
	return ok && v != nil
}

// boolean reads true, "true", false and "false"; otherwise it is absent.
func (b body) boolean(key string, absent bool) (bool, error) {
	switch v := b[key].(type) {
	case nil:
		return absent, nil
	case bool:
		return v, nil
	case string:
		switch v {
		case "true":
			return true, nil
		case "false":
			return false, nil
		case "":
			return absent, nil
		}
	}
	return false, badRequest([]any{"not_boolean", b[key]})
}

// text reads a string; a number or boolean is taken as it is written.
func (b body) text(key string) (string, error) {
	switch v := b[key].(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	case bool:
		return strconv.FormatBool(v), nil
	}
	return "", badRequest([]any{"not_string", key})
}

// integer reads 5 and "5".
func (b body) integer(key string) (int64, error) {
	var s string
	switch v := b[key].(type) {
	case json.Number:
		s = v.String()
	case string:
		s = v
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, badRequest([]any{"not_int", key})
	}
	return n, nil
}

// number reads 0.4 and "0.4".
func (b body) number(key string) (float64, error) {
	var s string
	switch v := b[key].(type) {
	case json.Number:
		s = v.String()
	case string:
		s = v
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, badRequest([]any{"not_number", key})
	}
	return f, nil
}

// table reads an object of arguments.
func (b body) table(key string) (core.Table, error) {
	switch v := b[key].(type) {
	case nil:
		return nil, nil
	case map[string]any:
		return tableFromJSON(v), nil
	case []any:
		if len(v) == 0 { // What RabbitMQ itself prints for no properties.
			return nil, nil
		}
	case string:
		if v == "" {
			return nil, nil
		}
	}
	return nil, badRequest([]any{"not_an_object", key})
}

// numberValue gives a JSON number the type RabbitMQ gives it in an AMQP table.
func numberValue(n json.Number) any {
	if i, err := n.Int64(); err == nil {
		return i
	}
	f, err := n.Float64()
	if err != nil || math.IsInf(f, 0) {
		return n.String()
	}
	return f
}
