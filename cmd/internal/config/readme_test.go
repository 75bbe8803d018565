package config

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestReadmeNamesEverySetting holds the README's table against the flags.
func TestReadmeNamesEverySetting(t *testing.T) {
	b, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	flags := reflect.TypeFor[Serve]()
	for i := range flags.NumField() {
		tag := flags.Field(i).Tag
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
	if n := strings.Count(text, "| `--"); n != flags.NumField() {
		t.Errorf("the README has %d settings, there are %d", n, flags.NumField())
	}
}
