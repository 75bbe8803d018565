package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParseFile(t *testing.T) {
	const text = "\ufeff# A comment.\r\n" +
		"\n" +
		"listeners.tcp.default = 5672\r\n" +
		"  default_pass='with # and = and  spaces '   # and a comment\n" +
		"default_vhost =/ # the root\n" +
		"cluster_name = my cluster\n" +
		"default_users.a\\.b.tags = x\n" +
		"empty = ''\n" +
		"log.console.formatter.plaintext.format = $time [$level] $msg=x\n" +
		"multi = '''first\n# second\nthird'''\n" +
		"include = value\n" +
		"last = 1"
	p := parseFile("f", []byte(text))
	if len(p.problems)+len(p.odd) > 0 {
		t.Fatalf("problems: %v %v", p.problems, p.odd)
	}
	want := []Entry{
		{"listeners.tcp.default", nil, "5672", Pos{"f", 3}},
		{"default_pass", nil, "with # and = and  spaces ", Pos{"f", 4}},
		{"default_vhost", nil, "/", Pos{"f", 5}},
		{"cluster_name", nil, "my cluster", Pos{"f", 6}},
		{`default_users.a\.b.tags`, nil, "x", Pos{"f", 7}},
		{"empty", nil, "", Pos{"f", 8}},
		{"log.console.formatter.plaintext.format", nil, "$time [$level] $msg=x", Pos{"f", 9}},
		{"multi", nil, "first\n# second\nthird", Pos{"f", 10}},
		{"include", nil, "value", Pos{"f", 13}},
		{"last", nil, "1", Pos{"f", 14}},
	}
	if len(p.entries) != len(want) {
		t.Fatalf("%d entries, want %d: %v", len(p.entries), len(want), p.entries)
	}
	for i, e := range p.entries {
		if e.Key != want[i].Key || e.Value != want[i].Value || e.Pos != want[i].Pos {
			t.Errorf("entry %d: %+v, want %+v", i, e, want[i])
		}
	}
	if w := p.entries[4].Words; !slices.Equal(w, []string{"default_users", "a.b", "tags"}) {
		t.Errorf("words %q", w)
	}
}

func TestParseFileProblemsHaveLines(t *testing.T) {
	for text, want := range map[string]string{
		"a = 1\nnonsense":            "f:2: \"nonsense\"",
		"a..b = 1":                   "f:1: \"a..b\"",
		"a b = 1":                    "f:1: \"a b\"",
		".a = 1":                     "a word is missing",
		"= 1":                        "f:1: \"\"",
		"a =":                        "a has no value",
		"a = # nothing":              "a has no value",
		"\n\na = 'open":              "f:3: a",
		"a = 'x' y":                  "stands behind",
		"a = '''open\nb = 1":         "has no end",
		"a = '''x\n''' y\nb = 1":     "stands behind",
		"a = x\x00y":                 "control character",
		"[{rabbit, [{a, 1}]}].":      "no setting",
		"{\"json\": true}":           "no setting",
		strings.Repeat("x", 1000):    "xxx...",
		"# fine\n\n \t\nä = 1":       "f:4",
		strings.Repeat("a = 1\n", 1): "",
	} {
		p := parseFile("f", []byte(text))
		switch {
		case want == "" && len(p.problems) > 0:
			t.Errorf("%q: %v", text, p.problems)
		case want != "" && (len(p.problems) != 1 || !strings.Contains(p.problems[0].String(), want)):
			t.Errorf("%q: problems %v, want one with %q", text, p.problems, want)
		}
	}
	if p := parseFile("f", []byte("default_pass = pa#ss")); len(p.odd) != 1 || p.entries[0].Value != "pa" {
		t.Errorf("a comment in the middle of a word: %+v", p)
	}
	if p := parseFile("f", make([]byte, maxFileBytes+1)); len(p.problems) != 1 {
		t.Errorf("a huge file: %v", p.problems)
	}
}

// write makes a file below dir and returns its path.
func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestIncludesStandWhereTheyAre(t *testing.T) {
	dir := t.TempDir()
	main := write(t, dir, "main.conf", "a = 1\ninclude more/*.conf\nb = 1\ninclude none/*.conf\n")
	write(t, dir, "more/20.conf", "a = 20\n")
	write(t, dir, "more/10.conf", "a = 10\nb = 10\n")
	var r reader
	if err := r.file(main); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range r.entries {
		got = append(got, e.Key+e.Value)
	}
	if want := []string{"a1", "a10", "b10", "a20", "b1"}; !slices.Equal(got, want) || len(r.problems) > 0 {
		t.Errorf("entries %v, want %v; problems %v", got, want, r.problems)
	}

	loop := write(t, dir, "loop.conf", "include loop.conf\ninclude missing.conf\nx = 1\n")
	r = reader{}
	if err := r.file(loop); err != nil || len(r.problems) != 2 || len(r.entries) != 1 {
		t.Errorf("a file that includes itself: %v, %v, %v", err, r.problems, r.entries)
	}
}

func TestSuggestions(t *testing.T) {
	for key, want := range map[string]string{
		"hearbeat": "heartbeat", "listeners.tpc.1": "listeners.tcp.1", "ssl_options.certfil": "ssl_options.certfile",
		"mqtt.alow_anonymous": "mqtt.allow_anonymous", "leveret.queue_memroy": "leveret.queue_memory", "default_user.x.tags": "default_users.x.tags",
		"colour": "", "x": "",
	} {
		words, err := splitKey(key)
		if err != nil {
			t.Fatal(err)
		}
		if got := nearest(key, names(words, ownKeys())); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
}

func FuzzParseFile(f *testing.F) {
	for _, seed := range []string{
		"listeners.tcp.default = 5672\n", "a = 'x' # y\n", "a = '''x\ny'''\nb=1", "include x*\n", "a\\.b.c = 1\n", "=\n", "a = '", "\ufeffa = 1\r\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p := parseFile("f", []byte(text))
		lines := strings.Count(text, "\n") + 1
		if len(p.entries)+len(p.includes) != len(p.order) || len(p.order)+len(p.problems) > lines {
			t.Fatalf("%d lines gave %d entries, %d includes, %d in order, %d problems", lines, len(p.entries), len(p.includes), len(p.order), len(p.problems))
		}
		last := 0
		for _, e := range p.entries {
			if e.Pos.Line <= last || e.Pos.Line > lines {
				t.Fatalf("%s is on line %d of %d, behind %d", e.Key, e.Pos.Line, lines, last)
			}
			last = e.Pos.Line
			// What is printed is read as the same.
			line := e.Key + " = " + quote(e.Value)
			if strings.Contains(e.Value, "'''") || strings.Contains(e.Value, "'") && strings.HasSuffix(e.Value, "'") {
				continue // Nothing can be written for this.
			}
			again := parseFile("f", []byte(line))
			if len(again.entries) != 1 || again.entries[0].Value != e.Value || !slices.Equal(again.entries[0].Words, e.Words) {
				t.Fatalf("%q is read as %+v with %v", line, again.entries, again.problems)
			}
		}
	})
}
