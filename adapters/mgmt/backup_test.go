package mgmt

import (
	"errors"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestBackup(t *testing.T) {
	f := newFixture(t)
	f.user("watcher", "monitoring")
	dir := filepath.Join(t.TempDir(), "copy")
	body := `{"directory":"` + filepath.ToSlash(dir) + `"}`
	if a := f.do(http.MethodPost, "/api/backup", "admin", body); a.status != 400 || !strings.Contains(string(a.body), "keeps nothing on disk") {
		t.Errorf("without a data directory: %d %s", a.status, a.body)
	}
	var asked []string
	var fails error
	f.server.opts.Backup = func(dir string) error {
		asked = append(asked, dir)
		return fails
	}
	for _, c := range []struct {
		user, body string
		status     int
		says       string
	}{
		{"watcher", body, 401, "Not administrator user"},
		{"", body, 401, ""},
		{"admin", ``, 400, "key_missing,directory"},
		{"admin", `{"directory":"copy"}`, 400, "absolute"},
		{"admin", `{"directory":""}`, 400, "absolute"},
	} {
		if a := f.do(http.MethodPost, "/api/backup", c.user, c.body); a.status != c.status || !strings.Contains(string(a.body), c.says) {
			t.Errorf("%s posts %s: %d %s", c.user, c.body, a.status, a.body)
		}
	}
	if len(asked) != 0 {
		t.Fatalf("backups were made: %v", asked)
	}
	if a := f.do(http.MethodPost, "/api/backup", "admin", body); a.status != 204 {
		t.Errorf("%d %s", a.status, a.body)
	}
	fails = errors.New("copy somewhere: no space left on device")
	if a := f.do(http.MethodPost, "/api/backup", "admin", body); a.status != 500 || !strings.Contains(string(a.body), "no space left") {
		t.Errorf("a failure: %d %s", a.status, a.body)
	}
	if want := []string{dir, dir}; !slices.Equal(asked, want) {
		t.Errorf("backups of %v, want %v", asked, want)
	}
}
