package ctl

import "net/http"

type traceOn struct{}

func (v *traceOn) Run(t *tool) error { return t.trace("Starting", "enabled", true) }

type traceOff struct{}

func (v *traceOff) Run(t *tool) error { return t.trace("Stopping", "disabled", false) }

// trace turns tracing of the virtual host on or off. It is looked for first: a
// PUT would make it.
func (t *tool) trace(verb, outcome string, on bool) error {
	t.print.banner("%s tracing for vhost \"%s\" ...", verb, t.vhost)
	err := t.get(path("vhosts", t.vhost), nil)
	if statusOf(err) == http.StatusNotFound {
		return noVHost(t.vhost, exitUnavailable)
	}
	if err == nil {
		err = t.put(path("vhosts", t.vhost), map[string]any{"tracing": on})
	}
	if err != nil {
		return t.explain(err, exitUnavailable)
	}
	t.print.line("Trace %s for vhost %s", outcome, t.vhost)
	return nil
}
