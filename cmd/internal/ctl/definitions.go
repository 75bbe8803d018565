package ctl

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
)

type exportDefinitions struct {
	File string `arg:"" name:"file" help:"- for standard output."`
}

func (v *exportDefinitions) Run(t *tool) error {
	var all json.RawMessage
	if v.File == "-" {
		if err := t.get("/definitions", &all); err != nil {
			return t.explain(err, exitUnavailable)
		}
		t.print.line("%s", all)
		return nil
	}
	t.print.banner("Exporting definitions in JSON to a file at \"%s\" ...", v.File)
	if err := t.get("/definitions", &all); err != nil {
		return t.explain(err, exitUnavailable)
	}
	// Password hashes are in it: nobody but the owner reads the file.
	if err := os.WriteFile(v.File, append(all, '\n'), 0o600); err != nil {
		return exitf(exitData, "%v", err)
	}
	return nil
}

type importDefinitions struct {
	File string `arg:"" name:"file" optional:"" help:"Standard input if left out or -."`
}

func (v *importDefinitions) Run(t *tool) error {
	var all []byte
	var err error
	if v.File == "" || v.File == "-" {
		t.print.banner("Importing definitions in JSON from standard input ...")
		all, err = io.ReadAll(t.stdin)
	} else {
		t.print.banner("Importing definitions in JSON from a file at \"%s\" ...", v.File)
		all, err = os.ReadFile(v.File)
	}
	if err != nil {
		return exitf(exitData, "%v", err)
	}
	if !json.Valid(all) {
		return exitf(exitData, "%s does not hold JSON", v.File)
	}
	// Leveret says what it did not take; RabbitMQ never answers with a body.
	var report struct {
		Skipped []string `json:"skipped"`
		Idle    []string `json:"without_effect"`
	}
	if err := t.call(http.MethodPost, "/definitions", json.RawMessage(all), &report); err != nil {
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
