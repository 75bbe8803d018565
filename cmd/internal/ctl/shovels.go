package ctl

import "net/http"

var shovelColumns = []column{
	{"name", "name"}, {"vhost", "vhost"}, {"type", "type"}, {"state", "state"}, {"source", "src_uri"}, {"source_queue", "src_queue"},
	{"destination", "dest_uri"}, {"destination_queue", "dest_queue"}, {"termination_reason", "reason"},
	{"last_changed", "timestamp"}, {"transferred", "transferred"}, {"remaining", "remaining"}, {"pending", "pending"},
}

type shovelStatus struct{}

func (v *shovelStatus) Run(t *tool) error {
	t.print.banner("Shovel status on node %s", t.where())
	return t.explain(t.listing("/shovels", shovelColumns, nil), exitUnavailable)
}

type restartShovel struct {
	Name string `arg:"" name:"name"`
}

func (v *restartShovel) Run(t *tool) error {
	t.print.banner("Restarting dynamic Shovel %s in virtual host %s on node %s", v.Name, t.vhost, t.where())
	return t.shovel(v.Name, t.delete(path("shovels", "vhost", t.vhost, v.Name, "restart")))
}

type deleteShovel struct {
	Name string `arg:"" name:"name"`
}

func (v *deleteShovel) Run(t *tool) error {
	t.print.banner("Deleting shovel %s in vhost %s", v.Name, t.vhost)
	return t.shovel(v.Name, t.delete(path("shovels", "vhost", t.vhost, v.Name)))
}

// shovel explains an error of a verb about one shovel.
func (t *tool) shovel(name string, err error) error {
	if statusOf(err) == http.StatusNotFound {
		return exitf(exitData, "Shovel with the given name was not found: '%s' in virtual host '%s'", name, t.vhost)
	}
	return t.explain(err, exitUnavailable)
}
