package ctl

import "strings"

// setState asks the node to be running, suspended or stopped.
func (t *tool) setState(node, state string) error {
	return t.explain(t.put(path("nodes", node, "state"), map[string]any{"state": state}), exitUnavailable)
}

type stop struct {
	PIDFile string `arg:"" name:"pidfile" optional:"" help:"Taken as rabbitmqctl takes it; the broker itself is asked."`
	Wait    bool   `name:"wait" default:"true" negatable:"" help:"Return when it has stopped."`
}

func (v *stop) Run(t *tool) error {
	node, err := t.nodeName()
	if err != nil {
		return err
	}
	t.print.banner("Stopping and halting node %s ...", node)
	if err := t.setState(node, "stopped"); err != nil || !v.Wait {
		return err
	}
	return t.gone(node)
}

type stopApp struct{}

func (v *stopApp) Run(t *tool) error {
	node, err := t.nodeName()
	if err != nil {
		return err
	}
	t.print.banner("Stopping rabbit application on node %s ...", node)
	return t.setState(node, "suspended")
}

type startApp struct{}

func (v *startApp) Run(t *tool) error {
	node, err := t.nodeName()
	if err != nil {
		return err
	}
	t.print.banner("Starting node %s ...", node)
	return t.setState(node, "running")
}

type suspendListeners struct{}

func (v *suspendListeners) Run(t *tool) error {
	node, err := t.nodeName()
	if err != nil {
		return err
	}
	t.print.banner("Will suspend client connection listeners on node %s ...", node)
	return t.setState(node, "suspended")
}

type resumeListeners struct{}

func (v *resumeListeners) Run(t *tool) error {
	node, err := t.nodeName()
	if err != nil {
		return err
	}
	t.print.banner("Will resume client connection listeners on node %s ...", node)
	return t.setState(node, "running")
}

type reset struct{}

func (v *reset) Run(t *tool) error {
	node, err := t.nodeName()
	if err != nil {
		return err
	}
	t.print.banner("Resetting node %s ...", node)
	return t.explain(t.post(path("nodes", node, "reset"), nil, nil), exitUnavailable)
}

type restartVHost struct {
	VHost string `arg:"" name:"vhost" optional:""`
}

func (v *restartVHost) Run(t *tool) error {
	node, err := t.nodeName()
	if err != nil {
		return err
	}
	if v.VHost == "" {
		v.VHost = t.vhost
	}
	t.print.banner("Trying to restart vhost '%s' on node '%s' ...", v.VHost, node)
	if there, err := t.exists(path("vhosts", v.VHost)); err != nil {
		return t.explain(err, exitUnavailable)
	} else if !there {
		return noVHost(v.VHost, exitUnavailable)
	}
	t.print.line("Vhost '%s' is already running on node '%s'", v.VHost, node)
	return nil
}

type rotateLogs struct{}

func (v *rotateLogs) Run(*tool) error {
	return exitf(exitUnavailable, "This command does not rotate logs anymore [deprecated]")
}

type hashPassword struct {
	Password string `arg:"" name:"password" optional:""`
}

func (v *hashPassword) Run(t *tool) error {
	password, err := t.password(v.Password)
	if err != nil {
		return err
	}
	var answer struct {
		OK string `json:"ok"`
	}
	if err := t.get(path("auth", "hash_password", password), &answer); err != nil {
		return t.explain(err, exitUnavailable)
	}
	t.print.banner("Will hash password %s", strings.Repeat("*", 6))
	t.print.line("%s", answer.OK)
	return nil
}

// eval answers the expressions that scripts use to find out whether a node is
// ready. There is no Erlang here to evaluate others.
type eval struct {
	Expression []string `arg:"" name:"expression"`
}

func (v *eval) Run(t *tool) error {
	text := strings.TrimSuffix(strings.Join(strings.Fields(strings.Join(v.Expression, " ")), ""), ".")
	node, err := t.nodeName()
	if err != nil {
		return err
	}
	switch text {
	case "node()":
		t.print.line("%s", node)
	case "rabbit:is_running()", "rabbit:is_running(node())":
		t.print.line("%t", t.health("is-in-service", nil) == nil)
	case "rabbit_mnesia:is_clustered()", "rabbit_db_cluster:is_clustered()", "rabbit_nodes:is_clustered()":
		t.print.line("false")
	case "rabbit:await_startup()":
		if err := t.await("ready-to-serve-clients"); err != nil {
			return err
		}
		t.print.line("ok")
	default:
		return exitf(exitUnavailable, "leveret has no Erlang to evaluate %q; node(), rabbit:is_running(), rabbit:await_startup() and is_clustered() are understood", strings.Join(v.Expression, " "))
	}
	return nil
}

type listFeatureFlags struct {
	Columns []string `arg:"" name:"column" optional:""`
}

var featureColumns = same("name", "state", "stability", "provided_by", "desc", "doc_url")

// Help lists the columns.
func (v *listFeatureFlags) Help() string { return columnsHelp(featureColumns) }

func (v *listFeatureFlags) Run(t *tool) error {
	cols, err := choose(featureColumns, v.Columns, 2)
	if err != nil {
		return err
	}
	t.print.banner("Listing feature flags ...")
	return t.listing("/feature-flags", cols, nil)
}

type enableFeatureFlag struct {
	Name string `arg:"" name:"feature_flag" help:"all for all there are."`
}

func (v *enableFeatureFlag) Run(t *tool) error {
	t.print.banner("Enabling feature flag: %s ...", v.Name)
	if v.Name == "all" {
		return nil // Every one is enabled; there is nothing to ask for.
	}
	return t.explain(t.put(path("feature-flags", v.Name, "enable"), nil), exitUnavailable)
}

type quorumStatus struct {
	Queue string `arg:"" name:"queue"`
}

func (v *quorumStatus) Run(t *tool) error {
	t.print.banner("Status of quorum queue %s on node %s ...", v.Queue, t.where())
	var q struct {
		Type    string   `json:"type"`
		State   string   `json:"state"`
		Leader  string   `json:"leader"`
		Members []string `json:"members"`
	}
	err := t.get(path("queues", t.vhost, v.Queue), &q)
	switch {
	case statusOf(err) == 404:
		return exitf(exitUnavailable, "not_found")
	case err != nil:
		return t.explain(err, exitUnavailable)
	case q.Type != "quorum":
		return exitf(exitUnavailable, "%s is a queue of type %s, not quorum", v.Queue, q.Type)
	}
	rows := [][]any{}
	for _, m := range q.Members {
		rows = append(rows, []any{m, "leader", "voter"})
	}
	t.print.table([]string{"Node Name", "Raft State", "Membership"}, rows)
	return nil
}
