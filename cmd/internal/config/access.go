package config

import (
	"errors"
	"fmt"
	"strings"
)

// The backends of users.
const (
	BackendInternal = "internal"
	BackendHTTP     = "http"
	BackendOAuth2   = "oauth2"
)

// backendNames are those that RabbitMQ's settings have for them too.
var backendNames = map[string]string{
	"internal": BackendInternal, "rabbit_auth_backend_internal": BackendInternal,
	"http": BackendHTTP, "rabbit_auth_backend_http": BackendHTTP,
	"oauth2": BackendOAuth2, "oauth": BackendOAuth2, "jwt": BackendOAuth2, "rabbit_auth_backend_oauth2": BackendOAuth2,
}

// authSteps reads --auth-backends.
func authSteps(list []string) ([][]string, error) {
	var steps [][]string
	for _, one := range list {
		var step []string
		for name := range strings.SplitSeq(one, "+") {
			known, ok := backendNames[strings.TrimSpace(name)]
			if !ok {
				return nil, fmt.Errorf("--auth-backends: %q is none of internal, http, oauth2", name)
			}
			step = append(step, known)
		}
		steps = append(steps, step)
	}
	if len(steps) == 0 {
		return nil, errors.New("--auth-backends must name one of internal, http, oauth2")
	}
	return steps, nil
}

// Uses reports whether some step of --auth-backends asks a backend.
func (s *Settings) Uses(backend string) bool {
	for _, step := range s.AuthSteps {
		for _, name := range step {
			if name == backend {
				return true
			}
		}
	}
	return false
}
