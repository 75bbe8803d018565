package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// webService answers as those that rabbitmq_auth_backend_http asks: anna may
// use what is called a, and bob is known, but nothing of what he may do.
func webService(w http.ResponseWriter, r *http.Request) {
	user, name := r.FormValue("username"), r.FormValue("name")
	answer := false
	switch r.URL.Path {
	case "/user":
		answer = (user == "anna" || user == "bob" || user == "guest") && r.FormValue("password") == "secret"
	case "/vhost":
		answer = user == "anna" && r.FormValue("vhost") == "/"
	case "/resource":
		answer = user == "anna" && (name == "amq.topic" || name == "amq.default" || strings.HasPrefix(name, "stomp-subscription"))
	case "/topic":
		answer = user == "anna" && strings.HasPrefix(r.FormValue("routing_key"), "a.")
	}
	if answer {
		fmt.Fprint(w, "allow")
	} else {
		fmt.Fprint(w, "deny")
	}
}

// TestUsersOfAWebService log in and use what it allows, in every protocol, until
// it is down.
func TestUsersOfAWebService(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(webService))
	defer web.Close()
	flags := []string{"--mqtt-addr", "127.0.0.1:0", "--stomp-addr", "127.0.0.1:0", "--auth-http-method", "post", "--auth-cache-ttl", "0s"}
	for _, what := range []string{"user", "vhost", "resource", "topic"} {
		flags = append(flags, "--auth-http-"+what+"-path", web.URL+"/"+what)
	}
	p := serving(t, append(flags, "--auth-backends", "http,internal")...)
	q := serving(t, append(flags, "--auth-backends", "http+internal")...)
	var held []holder
	for name, hold := range holders {
		h, err := hold(t, p, shown{user: "anna", password: "secret", vhost: "/"})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		held = append(held, h)
		if err := h.use("a/b"); err != nil {
			t.Errorf("%s: what is allowed: %v", name, err)
		}
		if _, err := hold(t, p, shown{user: "bob", password: "secret", vhost: "/"}); err == nil {
			t.Errorf("%s: bob is let into a virtual host", name)
		}
		if _, err := hold(t, p, shown{user: "guest", password: "guest", vhost: "/"}); err != nil {
			t.Errorf("%s: who only the broker knows: %v", name, err)
		}
		// Here the service says who one is, and the broker what that may do.
		h, err = hold(t, q, shown{user: "guest", password: "secret", vhost: "/"})
		if err != nil {
			t.Errorf("%s: a user of both: %v", name, err)
		} else if err := h.use("b/b"); err != nil {
			t.Errorf("%s: what the broker allows: %v", name, err)
		}
		if _, err := hold(t, q, shown{user: "anna", password: "secret", vhost: "/"}); err == nil {
			t.Errorf("%s: let in without rights in the directory", name)
		}
	}
	web.Close()
	for _, h := range held {
		if err := h.use("a/b"); err == nil {
			t.Error("a permission outlives the service, though none is to be remembered")
		}
	}
	if !strings.Contains(p.stderr.String(), "does not answer; who needs it is refused") {
		t.Errorf("the log does not say that the service is down:\n%s", p.stderr)
	}
}
