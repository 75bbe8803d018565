package mqtt

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestStatements checks that every statement in testdata/statements.txt has the
// test that it names.
func TestStatements(t *testing.T) {
	sources := map[string][]byte{}
	for prefix, dir := range map[string]string{"": ".", "wire.": "wire"} {
		files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			sources[prefix] = append(sources[prefix], b...)
		}
	}
	b, err := os.ReadFile(filepath.Join("testdata", "statements.txt"))
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		rows++
		cells := strings.Split(line, " | ")
		if len(cells) != 4 {
			t.Errorf("not a row of four: %s", line)
			continue
		}
		for name := range strings.SplitSeq(cells[3], ", ") {
			prefix, rest := "", name
			if r, ok := strings.CutPrefix(name, "wire."); ok {
				prefix, rest = "wire.", r
			}
			if !bytes.Contains(sources[prefix], []byte("\nfunc "+rest+"(t *testing.T)")) {
				t.Errorf("%s: there is no %s", cells[1], name)
			}
		}
	}
	if rows < 60 {
		t.Errorf("%d rows", rows)
	}
}
