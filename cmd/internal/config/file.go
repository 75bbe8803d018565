package config

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Pos is a line of a configuration file.
type Pos struct {
	File string
	Line int // From 1.
}

func (p Pos) String() string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

// Entry is one `key = value` of a configuration file.
type Entry struct {
	Key   string   // As written: "default_users.a\.b.tags".
	Words []string // Its parts, unescaped: "default_users", "a.b", "tags".
	Value string   // Without quotes and comment.
	Pos   Pos
}

// Problem is something about a configuration that its author should know.
type Problem struct {
	At   string // file:line, or the name of a variable.
	Text string
}

func (p Problem) String() string { return p.At + ": " + p.Text }

// parsed is what is in one file.
type parsed struct {
	entries  []Entry
	includes []Entry // Value is the pattern; they stand for entries behind those before them.
	order    []bool  // Of both together: true is an include.
	problems []Problem
	odd      []Problem // What is valid and perhaps not what was meant.
}

const (
	maxFileBytes = 4 << 20
	maxIncludes  = 64 // Files read by one Load.
)

// parseFile reads the format of rabbitmq.conf: a key and a value on each line,
// joined by =, with # before comments. A value in single quotes may hold #, one
// in three of them line breaks. Nothing in data makes it fail as a whole: what
// is not understood is a problem with a line number, and the rest is read.
func parseFile(name string, data []byte) parsed {
	var out parsed
	if len(data) > maxFileBytes {
		out.problems = append(out.problems, Problem{name, fmt.Sprintf("the file has %d bytes; a configuration has at most %d", len(data), maxFileBytes)})
		return out
	}
	text := string(bytes.TrimPrefix(data, []byte("\ufeff")))
	for line := 1; text != ""; line++ {
		at := Pos{name, line}
		var row string
		row, text, _ = strings.Cut(text, "\n")
		row = strings.Trim(row, " \t\r")
		bad := func(format string, args ...any) {
			out.problems = append(out.problems, Problem{at.String(), fmt.Sprintf(format, args...)})
		}
		if row == "" || row[0] == '#' {
			continue
		}
		if rest, ok := strings.CutPrefix(row, "include"); ok && rest != "" && (rest[0] == ' ' || rest[0] == '\t') && !strings.HasPrefix(strings.TrimLeft(rest, " \t"), "=") {
			pattern, _, _ := strings.Cut(rest, "#")
			out.includes = append(out.includes, Entry{Key: "include", Value: strings.TrimSpace(pattern), Pos: at})
			out.order = append(out.order, true)
			continue
		}
		key, value, ok := strings.Cut(row, "=")
		if !ok {
			bad("%q is no setting; write key = value", shorten(row))
			continue
		}
		key, value = strings.Trim(key, " \t"), strings.TrimLeft(value, " \t")
		words, err := splitKey(key)
		if err != nil {
			bad("%v", err)
			continue
		}
		if rest, ok := strings.CutPrefix(value, "'''"); ok {
			whole := rest + "\n" + text
			body, after, closed := strings.Cut(whole, "'''")
			if !closed {
				bad("%s: the value that begins with ''' has no end", key)
				return out
			}
			line += strings.Count(body, "\n")
			var tail string
			tail, text, _ = strings.Cut(after, "\n")
			if tail = strings.Trim(tail, " \t\r"); tail != "" && tail[0] != '#' {
				bad("%s: %q stands behind the quoted value", key, shorten(tail))
				continue
			}
			value = strings.Trim(strings.ReplaceAll(body, "\r\n", "\n"), "\n")
		} else if rest, ok := strings.CutPrefix(value, "'"); ok {
			body, tail, closed := strings.Cut(rest, "'")
			if !closed {
				bad("%s: the value begins with ' and does not end with one", key)
				continue
			}
			if tail = strings.Trim(tail, " \t"); tail != "" && tail[0] != '#' {
				bad("%s: %q stands behind the quoted value", key, shorten(tail))
				continue
			}
			value = body
		} else {
			if i := strings.IndexByte(value, '#'); i >= 0 {
				if i > 0 && value[i-1] != ' ' && value[i-1] != '\t' {
					out.odd = append(out.odd, Problem{at.String(), key + ": the value ends before #, where a comment begins; put it in single quotes if # belongs to it"})
				}
				value = strings.TrimRight(value[:i], " \t")
			}
			if value == "" {
				bad("%s has no value; write '' for an empty one", key)
				continue
			}
		}
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r == 0x7f }) {
			bad("%s: the value has a control character in it", key)
			continue
		}
		out.entries = append(out.entries, Entry{key, words, value, at})
		out.order = append(out.order, false)
	}
	return out
}

// splitKey takes a key apart: words of letters, digits, - and _ between dots;
// a dot that belongs to a word is written \. there.
func splitKey(key string) ([]string, error) {
	var words []string
	var word strings.Builder
	for i := 0; i < len(key); i++ {
		switch c := key[i]; {
		case c == '\\' && i+1 < len(key) && key[i+1] == '.':
			word.WriteByte('.')
			i++
		case c == '.':
			words = append(words, word.String())
			word.Reset()
		case c == '-' || c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			word.WriteByte(c)
		default:
			return nil, fmt.Errorf("%q is no key: keys are words of letters, digits, - and _ with dots between them", shorten(key))
		}
	}
	words = append(words, word.String())
	if slices.Contains(words, "") {
		return nil, fmt.Errorf("%q is no key: a word is missing between dots", shorten(key))
	}
	return words, nil
}

// shorten keeps messages about garbage readable.
func shorten(s string) string {
	const most = 60
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "?") + "..."
	}
	return s
}

// reader collects the entries of files, and what they include, in the order in
// which later ones win.
type reader struct {
	files    []string // Those that were read.
	entries  []Entry
	problems []Problem
	odd      []Problem
	open     []string // Those being read, for includes that go round.
}

// file reads one file and what it includes.
func (r *reader) file(name string) error {
	if len(r.files) >= maxIncludes {
		return fmt.Errorf("%s: more than %d configuration files", name, maxIncludes)
	}
	if slices.Contains(r.open, name) {
		return fmt.Errorf("%s includes itself", name)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	r.files = append(r.files, name)
	r.open = append(r.open, name)
	defer func() { r.open = r.open[:len(r.open)-1] }()
	p := parseFile(name, data)
	r.problems = append(r.problems, p.problems...)
	r.odd = append(r.odd, p.odd...)
	for _, isInclude := range p.order {
		if !isInclude {
			r.entries = append(r.entries, p.entries[0])
			p.entries = p.entries[1:]
			continue
		}
		in := p.includes[0]
		p.includes = p.includes[1:]
		pattern := in.Value
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(filepath.Dir(name), pattern)
		}
		names, err := filepath.Glob(pattern)
		if err == nil && len(names) == 0 && !strings.ContainsAny(pattern, "*?[") {
			err = os.ErrNotExist
		}
		for _, name := range names {
			if err == nil {
				err = r.file(name)
			}
		}
		if err != nil {
			r.problems = append(r.problems, Problem{in.Pos.String(), fmt.Sprintf("include %s: %v", in.Value, err)})
		}
	}
	return nil
}

// dir reads the files of a directory whose names end in .conf, by name.
func (r *reader) dir(name string) error {
	names, err := filepath.Glob(filepath.Join(escapeGlob(name), "*.conf"))
	for _, n := range names {
		if err == nil {
			err = r.file(n)
		}
	}
	return err
}

// escapeGlob makes a path match itself.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
