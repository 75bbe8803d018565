package config

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// translations turn a value as RabbitMQ writes it into what the flag takes, by
// the word behind the key in a conf tag.
var translations = map[string]func(text string) (string, error){
	"":     func(text string) (string, error) { return text, nil },
	"s":    inUnits(time.Second),
	"ms":   inUnits(time.Millisecond),
	"min":  inUnits(time.Minute),
	"not":  negated,
	"addr": rabbitAddr,
	"level": func(text string) (string, error) {
		// slog has four levels; what RabbitMQ has between them is the next quieter.
		switch text {
		case "debug", "info", "error":
			return text, nil
		case "notice":
			return "info+2", nil
		case "warning":
			return "warn", nil
		case "critical", "alert", "emergency":
			return "error+4", nil
		case "none":
			return "error+90", nil
		}
		return "", fmt.Errorf("%q is not one of debug, info, notice, warning, error, critical, alert, emergency, none", text)
	},
	"verify":    oneOf(map[string]string{"verify_peer": "true", "verify_none": "false"}),
	"formatter": oneOf(map[string]string{"plaintext": "text", "json": "json"}),
	"frame":     oneOf(map[string]string{"text": "false", "binary": "true"}),
	// A number, where RabbitMQ has infinity and we have 0.
	"count": func(text string) (string, error) {
		if text == "infinity" {
			return "0", nil
		}
		return text, nil
	},
	// disk_free_limit.relative is a multiple of the memory there is.
	"times": func(text string) (string, error) { return text + "x", nil },
	// A session's life: we write a negative time for as long as the client asks.
	"expiry": func(text string) (string, error) {
		if text == "infinity" || text == "undefined" {
			return "-1s", nil
		}
		return inUnits(time.Second)(text)
	},
	"expiry_ms": func(text string) (string, error) {
		if text == "infinity" || text == "undefined" {
			return "-1s", nil
		}
		return inUnits(time.Millisecond)(text)
	},
	"all": func(text string) (string, error) {
		if text == "none" {
			return "all", nil
		}
		return text, nil
	},
	// A text that may be empty, where we write none.
	"text": func(text string) (string, error) {
		if text == "" {
			return "none", nil
		}
		return text, nil
	},
	// log.file and the like: false for none, a name otherwise.
	"name": func(text string) (string, error) {
		if text == "false" {
			return "none", nil
		}
		return text, nil
	},
}

// inUnits reads a time whose number without a unit is in units.
func inUnits(unit time.Duration) func(string) (string, error) {
	return func(text string) (string, error) {
		if text == "infinity" || text == "undefined" {
			return "0s", nil
		}
		d, err := parseDuration(text, unit)
		return durationText(d), err
	}
}

func negated(text string) (string, error) {
	b, err := parseBool(text)
	return strconv.FormatBool(!b), err
}

func oneOf(values map[string]string) func(string) (string, error) {
	return func(text string) (string, error) {
		if v, ok := values[text]; ok {
			return v, nil
		}
		var names []string
		for name := range values {
			names = append(names, name)
		}
		slices.Sort(names)
		return "", fmt.Errorf("%q is not one of %s", text, strings.Join(names, ", "))
	}
}

// rabbitAddr reads an address as RabbitMQ writes it: 5672, 127.0.0.1:5672,
// ::1:5672 or [::1]:5672.
func rabbitAddr(text string) (string, error) {
	if text == "none" {
		return text, nil
	}
	if _, err := strconv.ParseUint(text, 10, 16); err == nil {
		return ":" + text, nil
	}
	i := strings.LastIndexByte(text, ':')
	if i < 0 {
		return "", fmt.Errorf("%q is not an address; write 5672, 127.0.0.1:5672 or [::1]:5672", text)
	}
	host, port := strings.Trim(text[:i], "[]"), text[i+1:]
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("%q is not an address: %q is no port", text, port)
	}
	return net.JoinHostPort(host, port), nil
}
