package ctl

import (
	"encoding/json"
	"net/http"
	"net/url"
)

type purgeQueue struct {
	Name string `arg:"" name:"queue"`
}

func (v *purgeQueue) Run(t *tool) error {
	t.print.banner("Purging queue '%s' in vhost '%s' ...", v.Name, t.vhost)
	err := t.delete(path("queues", t.vhost, v.Name, "contents"))
	if statusOf(err) == http.StatusNotFound {
		return noQueue(v.Name, t.vhost, exitUnavailable)
	}
	return t.explain(err, exitUnavailable)
}

func noQueue(name, vhost string, code int) error {
	return exitf(code, "no queue '%s' in vhost '%s'", name, vhost)
}

type deleteQueue struct {
	Name     string `arg:"" name:"queue"`
	IfEmpty  bool   `name:"if-empty" short:"e" help:"Only if it has no ready messages."`
	IfUnused bool   `name:"if-unused" short:"u" help:"Only if it has no consumers."`
}

func (v *deleteQueue) Run(t *tool) error {
	t.print.banner("Deleting queue '%s' on vhost '%s' ...", v.Name, t.vhost)
	at := path("queues", t.vhost, v.Name)
	var q struct {
		Ready json.Number `json:"messages_ready"`
	}
	err := t.get(at, &q)
	if err == nil {
		query := url.Values{}
		if v.IfEmpty {
			query.Set("if-empty", "true")
		}
		if v.IfUnused {
			query.Set("if-unused", "true")
		}
		err = t.delete(at + "?" + query.Encode())
	}
	switch statusOf(err) {
	case http.StatusNotFound:
		return noQueue(v.Name, t.vhost, exitUsage)
	case 0:
		if err != nil {
			return err
		}
	default:
		return t.explain(err, exitUnavailable)
	}
	t.print.line("Queue was successfully deleted with %s ready messages", q.Ready)
	return nil
}
