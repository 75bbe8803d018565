package ctl

import (
	"net/http"
	"net/url"
	"strings"
)

type closeConnection struct {
	Name   string   `arg:"" name:"connection" help:"Its name, which list_connections pid shows."`
	Reason []string `arg:"" name:"reason" help:"What its client is told."`
}

func (v *closeConnection) Run(t *tool) error {
	if v.Name == "" {
		return exitf(exitUsage, "which connection? list_connections pid shows those there are")
	}
	reason := strings.Join(v.Reason, " ")
	t.print.banner("Closing connection %s, reason: %s...", v.Name, reason)
	err := t.delete(path("connections", v.Name), "X-Reason", reason)
	if statusOf(err) == http.StatusNotFound {
		return exitf(exitUnavailable, "no connection '%s'; list_connections pid shows which there are", v.Name)
	}
	return t.explain(err, exitUnavailable)
}

type closeAllConnections struct {
	Global bool     `name:"global" help:"Those of every virtual host."`
	Limit  int      `name:"limit" placeholder:"N" help:"At most so many."`
	Reason []string `arg:"" name:"reason" help:"What their clients are told."`
}

func (v *closeAllConnections) Run(t *tool) error {
	reason := strings.Join(v.Reason, " ")
	where := path("vhosts", t.vhost, "connections")
	if v.Global {
		t.print.banner("Closing all connections, reason: %s...", reason)
		where = "/connections"
	} else {
		t.print.banner("Closing all connections in vhost %s, reason: %s...", t.vhost, reason)
	}
	var list []struct {
		Name string `json:"name"`
	}
	err := t.get(where+"?"+url.Values{"columns": {"name"}}.Encode(), &list)
	if statusOf(err) == http.StatusNotFound {
		return noVHost(t.vhost, exitUnavailable)
	} else if err != nil {
		return t.explain(err, exitUnavailable)
	}
	closed := 0
	bar := t.progress("Closing")
	defer bar.end()
	for i, c := range list {
		bar.show(int64(i), int64(len(list)))
		if v.Limit > 0 && closed == v.Limit {
			break
		}
		err := t.delete(path("connections", c.Name), "X-Reason", reason)
		if statusOf(err) == http.StatusNotFound {
			continue // It left by itself.
		} else if err != nil {
			return t.explain(err, exitUnavailable)
		}
		closed++
	}
	t.print.line("Closed %d connections", closed)
	return nil
}

type closeAllUserConnections struct {
	User   string   `arg:"" name:"username"`
	Reason []string `arg:"" name:"reason" help:"What their clients are told."`
}

func (v *closeAllUserConnections) Run(t *tool) error {
	reason := strings.Join(v.Reason, " ")
	t.print.banner("Closing connections of user %s, reason: %s ...", v.User, reason)
	return t.explain(t.delete(path("connections", "username", v.User), "X-Reason", reason), exitUnavailable)
}
