package ctl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
)

// definitions compares files with a broker, and applies them.
type definitions struct {
	Plan  planDefinitions  `cmd:"" help:"Say what a file would add or change, and what is refused. Exit code 0: nothing, 2: something, 65: something is refused."`
	Apply applyDefinitions `cmd:"" help:"Do it, as a whole or not at all."`
}

type definitionsFile struct {
	File string `arg:"" name:"file" help:"- for standard input."`
}

func (f *definitionsFile) read(t *tool) (json.RawMessage, error) {
	var all []byte
	var err error
	if f.File == "-" {
		all, err = io.ReadAll(t.stdin)
	} else {
		all, err = os.ReadFile(f.File)
	}
	if err != nil {
		return nil, exitf(exitData, "%v", err)
	}
	if !json.Valid(all) {
		return nil, exitf(exitData, "%s does not hold JSON", f.File)
	}
	return all, nil
}

// planItem is an item as the API shows it.
type planItem struct {
	Kind   string          `json:"kind"`
	VHost  string          `json:"vhost"`
	Name   string          `json:"name"`
	Value  json.RawMessage `json:"value"`
	Before json.RawMessage `json:"before"`
	After  json.RawMessage `json:"after"`
	Reason string          `json:"reason"`
}

func (i *planItem) text() string {
	s := i.Kind + " " + i.Name
	if i.VHost != "" {
		s += " in vhost " + i.VHost
	}
	return s
}

// exitDifferent is what plan ends with when the broker is not as the file says.
const exitDifferent = 2

// planDefinitions is "definitions plan".
type planDefinitions struct {
	definitionsFile
	Only string `name:"only" placeholder:"VHOST" help:"The file is that of one virtual host, to be applied to this one."`
}

func planQuery(only string, more url.Values) string {
	if only != "" {
		more.Set("vhost", only)
	}
	if len(more) == 0 {
		return ""
	}
	return "?" + more.Encode()
}

func (v *planDefinitions) Run(t *tool) error {
	all, err := v.read(t)
	if err != nil {
		return err
	}
	var p struct {
		Add    []planItem `json:"add"`
		Change []planItem `json:"change"`
		Refuse []planItem `json:"refuse"`
		Same   int        `json:"same"`
	}
	if err := t.call(http.MethodPost, "/definitions/plan"+planQuery(v.Only, url.Values{}), all, &p); err != nil {
		return t.explain(err, exitData)
	}
	for i := range p.Add {
		t.print.line("+ %s  %s", p.Add[i].text(), p.Add[i].Value)
	}
	for i := range p.Change {
		t.print.line("~ %s", p.Change[i].text())
		for _, line := range differences(p.Change[i].Before, p.Change[i].After) {
			t.print.line("    %s", line)
		}
	}
	for i := range p.Refuse {
		t.print.line("! %s: %s", p.Refuse[i].text(), p.Refuse[i].Reason)
	}
	t.print.line("%d to add, %d to change, %d refused, %d the same", len(p.Add), len(p.Change), len(p.Refuse), p.Same)
	switch {
	case len(p.Refuse) > 0:
		return exitf(exitData, "%d items are refused", len(p.Refuse))
	case len(p.Add)+len(p.Change) > 0:
		return exitf(exitDifferent, "the broker is not as the file says")
	}
	return nil
}

// differences are the fields in which two objects differ, a line for each.
func differences(before, after json.RawMessage) (lines []string) {
	var a, b map[string]json.RawMessage
	if json.Unmarshal(before, &a) != nil || json.Unmarshal(after, &b) != nil {
		return []string{fmt.Sprintf("%s -> %s", before, after)}
	}
	names := maps.Clone(a)
	if names == nil {
		names = map[string]json.RawMessage{}
	}
	maps.Copy(names, b)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		was, is := a[name], b[name]
		if was == nil {
			was = json.RawMessage("nothing")
		}
		if is == nil {
			is = json.RawMessage("nothing")
		}
		if !bytes.Equal(was, is) {
			lines = append(lines, fmt.Sprintf("%s: %s -> %s", name, was, is))
		}
	}
	return lines
}

// applyDefinitions is "definitions apply".
type applyDefinitions struct {
	definitionsFile
	Only  string `name:"only" placeholder:"VHOST" help:"The file is that of one virtual host, to be applied to this one."`
	Force bool   `name:"force" help:"Pass over what is refused instead of doing nothing."`
}

func (v *applyDefinitions) Run(t *tool) error {
	all, err := v.read(t)
	if err != nil {
		return err
	}
	t.print.banner("Applying definitions in JSON from %s ...", v.File)
	query := url.Values{}
	if v.Force {
		query.Set("force", "true")
	}
	var report struct {
		Skipped []string `json:"skipped"`
		Idle    []string `json:"without_effect"`
	}
	if err := t.call(http.MethodPost, "/definitions/apply"+planQuery(v.Only, query), all, &report); err != nil {
		return t.explain(err, exitData)
	}
	for _, what := range report.Skipped {
		fmt.Fprintln(t.stderr, "Not imported:", what)
	}
	for _, what := range report.Idle {
		fmt.Fprintln(t.stderr, "Without effect:", what)
	}
	return nil
}
