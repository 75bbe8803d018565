package ctl

import (
	"encoding/json"
	"net/http"
)

// readLimits reads the JSON argument of set_…_limits.
func readLimits(text string) (map[string]json.Number, error) {
	var limits map[string]json.Number
	if err := json.Unmarshal([]byte(text), &limits); err != nil {
		return nil, exitf(exitData, "could not parse limits: %q is not an object of numbers such as '{\"max-connections\": 5}'", text)
	}
	return limits, nil
}

// setLimits sets each limit of text at path/NAME.
func (t *tool) setLimits(text string, missing error, segments ...string) error {
	limits, err := readLimits(text)
	if err != nil {
		return err
	}
	for name, n := range limits {
		err := t.put(path(append(segments, name)...), map[string]any{"value": n})
		if statusOf(err) == http.StatusNotFound {
			return missing
		} else if err != nil {
			return t.explain(err, exitUnavailable)
		}
	}
	return nil
}

// limitsAt lists the limits of the objects at path by name.
func (t *tool) limitsAt(path string) ([]map[string]any, error) {
	var list []map[string]any
	err := t.get(path, &list)
	return list, err
}

// showLimits prints list with its limits as JSON texts, as rabbitmqctl does.
func (t *tool) showLimits(list []map[string]any, who string) {
	rows := [][]any{}
	for _, o := range list {
		limits := any(string(compact(o["value"])))
		if t.print.format == "json" {
			limits = o["value"]
		}
		rows = append(rows, []any{o[who], limits})
	}
	t.print.table([]string{who, "limits"}, rows)
}

type setVHostLimits struct {
	Definition string `arg:"" name:"definition"`
}

func (v *setVHostLimits) Run(t *tool) error {
	t.print.banner("Setting vhost limits to \"%s\" for vhost \"%s\" ...", v.Definition, t.vhost)
	return t.setLimits(v.Definition, noVHost(t.vhost, exitUnavailable), "vhost-limits", t.vhost)
}

type clearVHostLimits struct{}

func (v *clearVHostLimits) Run(t *tool) error {
	t.print.banner("Clearing vhost \"%s\" limits ...", t.vhost)
	list, err := t.limitsAt(path("vhost-limits", t.vhost))
	if statusOf(err) == http.StatusNotFound {
		return noVHost(t.vhost, exitUnavailable)
	} else if err != nil {
		return t.explain(err, exitUnavailable)
	}
	return t.clearLimits(list, "", "vhost-limits", t.vhost)
}

// clearLimits deletes the limit called name, or all of list if that is empty.
func (t *tool) clearLimits(list []map[string]any, name string, segments ...string) error {
	for _, o := range list {
		limits, _ := o["value"].(map[string]any)
		for _, key := range sortedKeys(limits) {
			if name != "" && key != name {
				continue
			}
			if err := t.delete(path(append(segments, key)...)); err != nil && statusOf(err) != http.StatusNotFound {
				return t.explain(err, exitUnavailable)
			}
		}
	}
	return nil
}

type listVHostLimits struct {
	Global bool `name:"global" help:"List those of every virtual host."`
}

func (v *listVHostLimits) Run(t *tool) error {
	where := "/vhost-limits"
	if v.Global {
		t.print.banner("Listing limits for all vhosts ...")
	} else {
		t.print.banner("Listing limits for vhost \"%s\" ...", t.vhost)
		where = path("vhost-limits", t.vhost)
	}
	list, err := t.limitsAt(where)
	if statusOf(err) == http.StatusNotFound {
		return noVHost(t.vhost, exitUnavailable)
	} else if err != nil {
		return t.explain(err, exitUnavailable)
	}
	t.showLimits(list, "vhost")
	return nil
}

type setUserLimits struct {
	User       string `arg:"" name:"username"`
	Definition string `arg:"" name:"definition"`
}

func (v *setUserLimits) Run(t *tool) error {
	t.print.banner("Setting user limits to \"%s\" for user \"%s\" ...", v.Definition, v.User)
	return t.setLimits(v.Definition, noUser(v.User), "user-limits", v.User)
}

type clearUserLimits struct {
	User  string `arg:"" name:"username"`
	Limit string `arg:"" name:"limit" help:"max-connections, max-channels or all."`
}

func (v *clearUserLimits) Run(t *tool) error {
	t.print.banner("Clearing \"%s\" limits for user \"%s\" ...", v.Limit, v.User)
	list, err := t.limitsAt(path("user-limits", v.User))
	if statusOf(err) == http.StatusNotFound {
		return noUser(v.User)
	} else if err != nil {
		return t.explain(err, exitUnavailable)
	}
	if v.Limit == "all" {
		v.Limit = ""
	}
	return t.clearLimits(list, v.Limit, "user-limits", v.User)
}

type listUserLimits struct {
	User string `name:"user-name" placeholder:"NAME" help:"List only this user's."`
}

func (v *listUserLimits) Run(t *tool) error {
	where := "/user-limits"
	if v.User == "" {
		t.print.banner("Listing limits for all users ...")
	} else {
		t.print.banner("Listing limits for user \"%s\" ...", v.User)
		where = path("user-limits", v.User)
	}
	list, err := t.limitsAt(where)
	if statusOf(err) == http.StatusNotFound {
		return noUser(v.User)
	} else if err != nil {
		return t.explain(err, exitUnavailable)
	}
	t.showLimits(list, "user")
	return nil
}
