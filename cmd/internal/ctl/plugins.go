package ctl

import (
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// pluginsGrammar is what the binary answers when it is called rabbitmq-plugins.
// RabbitMQ's plugins that Leveret has are part of it and always there.
type pluginsGrammar struct {
	options

	List      pluginsList      `cmd:"" name:"list" group:"plugins" help:"List what of RabbitMQ's plugins is part of leveret."`
	Enable    pluginsEnable    `cmd:"" name:"enable" group:"plugins" help:"Check that plugins are there; there is nothing to enable."`
	Disable   pluginsDisable   `cmd:"" name:"disable" group:"plugins" help:"Refused: say which listener is not to be opened instead."`
	Set       pluginsEnable    `cmd:"" name:"set" group:"plugins" help:"As enable."`
	IsEnabled pluginsIsEnabled `cmd:"" name:"is_enabled" group:"plugins" help:"Exit with 0 if all of these are there."`
	Version   showVersion      `cmd:"" name:"version" group:"plugins" help:"Show the broker's version."`
}

var pluginGroups = []kong.Group{{Key: "plugins", Title: "Plugins"}}

// plugins asks which there are.
func (t *tool) plugins() (node string, plugins []string, err error) {
	if node, err = t.nodeName(); err != nil {
		return "", nil, err
	}
	var n struct {
		Plugins []string `json:"enabled_plugins"`
	}
	err = t.get(path("nodes", node), &n)
	return node, n.Plugins, t.explain(err, exitUnavailable)
}

type pluginsList struct {
	Pattern  string `arg:"" name:"pattern" optional:""`
	Minimal  bool   `name:"minimal" short:"m" help:"Only names."`
	Verbose  bool   `name:"verbose" short:"v" help:"Taken as rabbitmq-plugins takes it."`
	Enabled  bool   `name:"enabled" short:"E" help:"Only those enabled, which all are."`
	Implicit bool   `name:"implicitly-enabled" short:"e" help:"The same."`
}

func (v *pluginsList) Run(t *tool) error {
	node, all, err := t.plugins()
	if err != nil {
		return err
	}
	pattern := v.Pattern
	if pattern == "" {
		pattern = ".*"
	}
	all = slices.DeleteFunc(all, func(p string) bool { return v.Pattern != "" && !strings.Contains(p, v.Pattern) })
	t.print.banner("Listing plugins with pattern \"%s\" ...", pattern)
	if v.Minimal {
		for _, p := range all {
			t.print.line("%s", p)
		}
		return nil
	}
	t.print.banner(" Configured: E = explicitly enabled; e = implicitly enabled\n | Status: * = running on %s\n |/", node)
	for _, p := range all {
		t.print.line("[E*] %s", p)
	}
	return nil
}

// missing are those of names that are not part of Leveret.
func missing(all, names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(all, n) })
}

type pluginsEnable struct {
	Names   []string `arg:"" name:"plugin" optional:""`
	All     bool     `name:"all" help:"All there are."`
	Offline bool     `name:"offline" help:"Taken as rabbitmq-plugins takes it."`
	Online  bool     `name:"online" help:"Taken as rabbitmq-plugins takes it."`
}

func (v *pluginsEnable) Run(t *tool) error {
	node, all, err := t.plugins()
	if err != nil {
		return err
	}
	if not := missing(all, v.Names); len(not) > 0 {
		return exitf(exitData, "leveret has no %s; rabbitmq-plugins list shows what it has", strings.Join(not, ", "))
	}
	t.print.banner("Enabling plugins on node %s:", node)
	for _, n := range v.Names {
		t.print.line("%s", n)
	}
	t.print.line("Plugin configuration unchanged.")
	return nil
}

type pluginsDisable struct {
	Names []string `arg:"" name:"plugin" optional:""`
	All   bool     `name:"all" help:"All there are."`
}

func (v *pluginsDisable) Run(*tool) error {
	return exitf(exitUnavailable, "what leveret has of RabbitMQ's plugins is part of it; a listener is closed with its flag, for example --mqtt-addr none")
}

type pluginsIsEnabled struct {
	Names   []string `arg:"" name:"plugin"`
	Offline bool     `name:"offline" help:"Taken as rabbitmq-plugins takes it."`
	Online  bool     `name:"online" help:"Taken as rabbitmq-plugins takes it."`
}

func (v *pluginsIsEnabled) Run(t *tool) error {
	node, all, err := t.plugins()
	if err != nil {
		return err
	}
	t.print.banner("Asking node %s if plugins %s are enabled ...", node, strings.Join(v.Names, ", "))
	if not := missing(all, v.Names); len(not) > 0 {
		return exitf(exitUnavailable, "Plugin(s) not enabled on node %s: %s", node, strings.Join(not, ", "))
	}
	if len(v.Names) == 1 {
		t.print.line("Plugin %s is enabled on node %s", v.Names[0], node)
	} else {
		t.print.line("Plugins %s are enabled on node %s", strings.Join(v.Names, ", "), node)
	}
	return nil
}
