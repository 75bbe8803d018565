package config

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Value is a setting as it is in force.
type Value struct {
	Key     string `json:"name"`           // In a configuration file.
	Flag    string `json:"flag,omitempty"` // Empty for what has no flag.
	Env     string `json:"env,omitempty"`
	Value   string `json:"value"`  // As it is written in a file; masked if it is secret.
	Origin  string `json:"origin"` // default, file, environment or flag.
	Source  string `json:"source,omitempty"`
	Secret  bool   `json:"secret,omitempty"`
	Live    bool   `json:"live,omitempty"` // SIGHUP can change it.
	section string
	digest  [sha256.Size]byte // Of a secret.
}

// mask stands for a secret.
const mask = "********"

// Values lists every setting in the order of the help, with its origin, and
// then what has no flag. Secrets are masked.
func (s *Serve) Values(r *Report) []Value {
	var all []Value
	for _, f := range fields() {
		o, ok := r.origins[f.flag]
		if !ok {
			o = Origin{Kind: FromDefault}
		}
		v := Value{
			Key: f.key(), Flag: "--" + f.flag, Env: f.env, Value: f.text(s), Origin: o.Kind,
			Source: strings.TrimSpace(o.At + " " + o.Key), Secret: f.secret, Live: f.live, section: f.group,
		}
		if f.flag == "node-name" && v.Value == "" {
			v.Value = "leveret@" + hostName()
		}
		all = append(all, v)
	}
	// The struct keeps related settings together, which the help does not need.
	var sections []string
	for _, v := range all {
		if !slices.Contains(sections, v.section) {
			sections = append(sections, v.section)
		}
	}
	slices.SortStableFunc(all, func(a, b Value) int {
		return slices.Index(sections, a.section) - slices.Index(sections, b.section)
	})
	all = append(all, r.boot...)
	for i := range all {
		if all[i].Secret && all[i].Value != "" {
			all[i].digest = sha256.Sum256([]byte(all[i].Value))
			all[i].Value = mask
		}
	}
	return all
}

// Print writes what is in force: as a configuration file with the origins in
// comments, or as JSON.
func Print(w io.Writer, format string, values []Value) error {
	if format == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(values)
	}
	b := bufio.NewWriter(w)
	section := "none yet"
	for _, v := range values {
		if v.section != section {
			if section != "none yet" {
				fmt.Fprintln(b)
			}
			section = v.section
		}
		line := v.Key + " = " + quote(v.Value)
		if v.Secret && v.Value != "" || v.Flag == "--config" {
			line = "# " + line // So that the output is a configuration, but for this.
		}
		why := v.Origin
		if v.Source != "" {
			why += ": " + v.Source
		}
		fmt.Fprintf(b, "%-48s # %s\n", line, why)
	}
	return b.Flush()
}

// quote writes a value so that parseFile reads it.
func quote(v string) string {
	switch {
	case v != "" && strings.Trim(v, " \t\r") == v && !strings.ContainsAny(v, "#\n") && v[0] != '\'':
		return v
	case !strings.ContainsAny(v, "'\n"):
		return "'" + v + "'"
	}
	return "'''" + v + "'''"
}

// Same reports whether v and w set the same; secrets are compared too.
func (v Value) Same(w Value) bool { return v.Value == w.Value && v.digest == w.digest }
