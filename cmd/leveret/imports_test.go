package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// module is what our import paths begin with.
const module = "leveret/"

// TestImportsPointDown holds the whole module against the map of packages: cmd
// knows everybody; adapters and persist know core; core knows its leaves and
// neither sockets nor files; leaves know nothing of ours.
func TestImportsPointDown(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		from := f[0]
		seen[from] = true
		for _, to := range f[1:] {
			if why := forbidden(from, to); why != "" {
				t.Errorf("%s imports %s: %s", from, to, why)
			}
		}
	}
	for _, must := range []string{"leveret/core", "leveret/core/auth", "leveret/adapters/amqp", "leveret/adapters/mgmt", "leveret/cmd/leveret"} {
		if !seen[must] {
			t.Errorf("%s was not looked at", must)
		}
	}
}

// leafArrows are the arrows between leaves that the map has.
var leafArrows = map[string][]string{
	"leveret/core/auth":  {"leveret/core/pattern", "leveret/core/hamt"},
	"leveret/core/topic": {"leveret/core/hamt"},
}

// part names the part of the tree that a package belongs to.
func part(pkg string) string {
	rest, ours := strings.CutPrefix(pkg, module)
	if !ours {
		return ""
	}
	f := strings.Split(rest, "/")
	switch {
	case f[0] == "core" && len(f) == 1, rest == "core/coretest":
		return "core"
	case f[0] == "core":
		return "leaf"
	case f[0] == "adapters" && len(f) > 1:
		return "adapters/" + f[1]
	}
	return f[0] // cmd, persist, examples, tests.
}

// forbidden says why from must not import to, "" if it may.
func forbidden(from, to string) string {
	a, b := part(from), part(to)
	if b == "" {
		if a == "core" || a == "leaf" {
			switch to {
			case "net", "os", "syscall", "io/fs", "net/http", "os/exec", "path/filepath":
				if strings.HasPrefix(from, "leveret/core/coretest") {
					return "" // It reads scripts from files.
				}
				return "core has no sockets and no files"
			}
		}
		return ""
	}
	switch {
	case to == "leveret/core/invariant": // A constant; everybody may ask for it.
		return ""
	case a == b && a != "leaf", a == "cmd", a == "examples", a == "tests":
		return ""
	case a == "leaf":
		if slices.Contains(leafArrows[from], to) {
			return ""
		}
		return "a leaf imports nothing of ours"
	case b == "cmd":
		return "nobody imports cmd"
	case a == "core" && b == "leaf":
		return ""
	case a == "core":
		return "core knows nobody above it"
	case strings.HasPrefix(a, "adapters/") && (b == "core" || b == "leaf" || b == "adapters/internal"):
		if from == "leveret/adapters/internal/settle" && b == "core" {
			return "" // What adapters have in common with core behind it.
		}
		if from == "leveret/adapters/amqp/wire" || a == "adapters/internal" && b != "leaf" {
			return "it is a leaf beside its adapter"
		}
		return ""
	case strings.HasPrefix(a, "adapters/"):
		return "adapters know only core"
	case a == "persist" && (b == "core" || b == "leaf"):
		return ""
	}
	return "no arrow leads there"
}

// TestForbidden makes sure that the rules can fail.
func TestForbidden(t *testing.T) {
	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{"leveret/cmd/leveret", "leveret/adapters/amqp", true},
		{"leveret/adapters/amqp", "leveret/core", true},
		{"leveret/adapters/amqp", "leveret/core/auth", true},
		{"leveret/adapters/amqp", "leveret/adapters/internal/netx", true},
		{"leveret/adapters/amqp", "leveret/adapters/amqp/wire", true},
		{"leveret/persist", "leveret/core", true},
		{"leveret/core", "leveret/core/topic", true},
		{"leveret/core/auth", "leveret/core/pattern", true},
		{"leveret/core/topic", "leveret/core/hamt", true},
		{"leveret/adapters/amqp", "leveret/adapters/mgmt", false},
		{"leveret/adapters/amqp", "leveret/persist", false},
		{"leveret/adapters/amqp/wire", "leveret/core", false},
		{"leveret/adapters/internal/netx", "leveret/adapters/amqp", false},
		{"leveret/adapters/mgmt", "leveret/cmd/internal/config", false},
		{"leveret/core", "leveret/adapters/amqp", false},
		{"leveret/core", "leveret/persist", false},
		{"leveret/core", "net", false},
		{"leveret/core", "os", false},
		{"leveret/core/wheel", "syscall", false},
		{"leveret/core/topic", "leveret/core", false},
		{"leveret/core/wheel", "leveret/core/hamt", false},
		{"leveret/core/pattern", "leveret/core/auth", false},
		{"leveret/persist", "leveret/adapters/amqp", false},
	} {
		if got := forbidden(c.from, c.to) == ""; got != c.ok {
			t.Errorf("%s -> %s: allowed is %v, want %v", c.from, c.to, got, c.ok)
		}
	}
}
