package clients

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadmeOperationsHaveTests holds the table of operations in README.md
// against the tests it names: each cell names the one of its operation and
// protocol, and there is no other.
func TestReadmeOperationsHaveTests(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(filepath.Join("python", "test_operations.py"))
	if err != nil {
		t.Fatal(err)
	}
	tests := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)^def (test_\w+)\(`).FindAllStringSubmatch(string(source), -1) {
		tests[m[1]] = true
	}

	_, section, found := strings.Cut(string(readme), "## The same operation in three protocols\n")
	if !found {
		t.Fatal("the README has no section with the table")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	protocols := []string{"amqp", "mqtt", "stomp"}
	row := regexp.MustCompile(`^\| \*\*(\w+)\*\* \|(.*)\|$`)
	named := regexp.MustCompile("`(test_\\w+)` $")
	for line := range strings.Lines(section) {
		m := row.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		cells := strings.Split(m[2], "|")
		if len(cells) != len(protocols) {
			t.Errorf("%s: %d cells, there are %d protocols", m[1], len(cells), len(protocols))
			continue
		}
		for i, cell := range cells {
			want := "test_" + m[1] + "_" + protocols[i]
			if n := named.FindStringSubmatch(cell); n == nil || n[1] != want {
				t.Errorf("%s: the cell of %s does not end with `%s`", m[1], protocols[i], want)
			} else if !tests[want] {
				t.Errorf("there is no %s", want)
			}
			delete(tests, want)
		}
	}
	for name := range tests {
		t.Errorf("no cell names %s", name)
	}
	for _, path := range regexp.MustCompile(`(?:\]\(|src=")([^)"#:]+)`).FindAllStringSubmatch(section, -1) {
		if _, err := os.Stat(filepath.Join("..", "..", filepath.FromSlash(path[1]))); err != nil {
			t.Error(err)
		}
	}
}
