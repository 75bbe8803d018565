package coretest

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the expectations of scripts")

// step is one block of a script.
type step struct {
	line     int      // Of its first command.
	head     []string // Comments, empty lines and commands as written.
	commands []string
	want     string
}

// RunDir runs every script of a directory as a subtest.
func RunDir(t *testing.T, dir string) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts in %s (%v)", dir, err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) { Run(t, f) })
	}
}

// Run runs one script against a broker of its own.
func Run(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	steps, tail, err := parse(string(text))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	env := NewEnv(t)
	var out strings.Builder
	for _, s := range steps {
		var seen []string
		for _, c := range s.commands {
			seen = append(seen, env.Do(c)...)
		}
		got := strings.Join(seen, "\n")
		for _, h := range s.head {
			out.WriteString(h + "\n")
		}
		out.WriteString("----\n")
		if got != "" {
			out.WriteString(got + "\n")
		}
		out.WriteString("\n")
		if got != s.want && !*update {
			t.Errorf("%s:%d: %s\nsaw:\n%s\nwant:\n%s", file, s.line, strings.Join(s.commands, "; "), indent(got), indent(s.want))
		}
	}
	for _, l := range tail {
		out.WriteString(l + "\n")
	}
	if *update {
		if err := os.WriteFile(file, []byte(strings.TrimRight(out.String(), "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func indent(s string) string { return "\t" + strings.ReplaceAll(s, "\n", "\n\t") }

// parse cuts a script into steps; tail is what follows the last one.
func parse(text string) (steps []step, tail []string, err error) {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	var s step
	for i := 0; i < len(lines); i++ {
		l := lines[i]
		if l != "----" {
			s.head = append(s.head, l)
			if c := strings.TrimSpace(l); c != "" && !strings.HasPrefix(c, "#") {
				if s.line == 0 {
					s.line = i + 1
				}
				s.commands = append(s.commands, c)
			}
			continue
		}
		if len(s.commands) == 0 {
			return nil, nil, fmt.Errorf("line %d: expectation without a command", i+1)
		}
		var want []string
		for i++; i < len(lines) && lines[i] != ""; i++ {
			want = append(want, lines[i])
		}
		s.want = strings.Join(want, "\n")
		steps = append(steps, s)
		s = step{}
	}
	if len(s.commands) != 0 {
		return nil, nil, fmt.Errorf("line %d: commands without an expectation", s.line)
	}
	return steps, s.head, nil
}
