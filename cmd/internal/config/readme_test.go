package config

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// TestReadmeNamesEverySetting holds the README's tables against the flags and
// the keys.
func TestReadmeNamesEverySetting(t *testing.T) {
	b, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	flags := reflect.TypeFor[Serve]()
	settings := 0
	for i := range flags.NumField() {
		tag := flags.Field(i).Tag
		if tag.Get("kong") == "-" {
			continue
		}
		settings++
		row := "| `--" + tag.Get("name") + "` | `" + tag.Get("env") + "` |"
		if d := tag.Get("default"); d != "" {
			row += " `" + d + "` |"
		}
		if !strings.Contains(text, row) {
			t.Errorf("the README has no row that begins %s", row)
		}
		if tag.Get("help") == "" || tag.Get("group") == "" {
			t.Errorf("--%s has no help or no group", tag.Get("name"))
		}
	}
	if n := strings.Count(text, "\n| `--"); n != settings {
		t.Errorf("the README has %d settings, there are %d", n, settings)
	}

	// The table of RabbitMQ's keys: "| `key` `key` | ...", N for what the user chooses.
	_, table, found := strings.Cut(text, "\n| RabbitMQ's keys |")
	table, _, _ = strings.Cut(table, "\n\n")
	keys := regexp.MustCompile("`([a-z0-9_.]+(\\.[A-Z]+)?[a-z0-9_.]*)`").FindAllStringSubmatch(table, -1)
	if !found || len(keys) < 40 {
		t.Fatalf("the README's table of keys has %d of them", len(keys))
	}
	for _, k := range keys {
		key := regexp.MustCompile(`\b[A-Z]+\b`).ReplaceAllString(k[1], "x")
		if fateOf(strings.Split(key, ".")) != Applied {
			t.Errorf("the README says that %s makes a setting", k[1])
		}
	}
}
