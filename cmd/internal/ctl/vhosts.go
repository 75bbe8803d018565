package ctl

import "net/http"

func noVHost(name string, code int) error {
	return exitf(code, "Virtual host '%s' does not exist", name)
}

type addVHost struct {
	Name             string `arg:"" name:"vhost"`
	Description      string `name:"description" placeholder:"TEXT" help:"What it is for."`
	Tags             string `name:"tags" placeholder:"A,B" help:"Words to find it by."`
	DefaultQueueType string `name:"default-queue-type" placeholder:"TYPE" help:"The type of queues declared without one."`
}

func (v *addVHost) Run(t *tool) error {
	t.print.banner("Adding vhost \"%s\" ...", v.Name)
	meta := map[string]any{}
	for key, value := range map[string]string{"description": v.Description, "tags": v.Tags, "default_queue_type": v.DefaultQueueType} {
		if value != "" {
			meta[key] = value
		}
	}
	return t.explain(t.put(path("vhosts", v.Name), meta), exitData)
}

type deleteVHost struct {
	Name string `arg:"" name:"vhost"`
}

func (v *deleteVHost) Run(t *tool) error {
	t.print.banner("Deleting vhost \"%s\" ...", v.Name)
	err := t.delete(path("vhosts", v.Name))
	if statusOf(err) == http.StatusNotFound {
		return noVHost(v.Name, exitData)
	}
	return t.explain(err, exitUnavailable)
}

var vhostColumns = same("name", "description", "tags", "default_queue_type", "tracing", "cluster_state")

type listVHosts struct {
	Columns []string `arg:"" name:"column" optional:""`
}

func (v *listVHosts) Run(t *tool) error {
	cols, err := choose(vhostColumns, v.Columns, 1)
	if err != nil {
		return err
	}
	t.print.banner("Listing vhosts ...")
	return t.listing("/vhosts", cols, nil)
}
