package ctl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"leveret/adapters/mgmt"
	"leveret/core"
	"leveret/persist"
	"leveret/persist/vfs"
)

// storedRig is a rig whose broker keeps its messages.
type storedRig struct {
	*rig
	url  string
	stop func()
}

func newStoredRig(t *testing.T, dir string) *storedRig {
	t.Helper()
	store, err := persist.Open(vfs.OS, dir, persist.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	b, err := core.New(core.Options{NodeName: "rabbit@test", Definitions: store.Definitions, Log: store.Log, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(mgmt.NewServer(mgmt.Options{
		Broker: b, Version: "9.8.7", Logger: slog.New(slog.DiscardHandler), Backup: store.Backup,
	}).Handler())
	t.Setenv("LEVERET_URL", web.URL)
	t.Setenv("LEVERET_USER", "")
	t.Setenv("LEVERET_PASSWORD", "")
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		web.Close()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return &storedRig{&rig{t, b, dir}, web.URL, stop}
}

// request makes a request to the API that must succeed.
func (r *storedRig) request(method, path, body string) {
	r.Helper()
	req, err := http.NewRequest(method, r.url+"/api"+path, strings.NewReader(body))
	if err != nil {
		r.Fatal(err)
	}
	req.SetBasicAuth("guest", "guest")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode >= 300 {
		r.Fatalf("%s %s: %s", method, path, res.Status)
	}
}

// fill declares a queue and publishes n messages to it.
func (r *storedRig) fill(queue string, n int) {
	r.Helper()
	r.request(http.MethodPut, "/queues/%2F/"+queue, `{"durable":true}`)
	for i := range n {
		r.request(http.MethodPost, "/exchanges/%2F/amq.default/publish",
			fmt.Sprintf(`{"properties":{"delivery_mode":2},"routing_key":%q,"payload":"secret-%04d","payload_encoding":"string"}`, queue, i))
	}
}

func TestStoreCheck(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	r := newStoredRig(t, dir)
	r.fill("orders", 12)
	r.fill("empty", 0)
	r.request(http.MethodPut, "/users/app", `{"password":"hunter2","tags":""}`)
	_, errs, code := ctl("store check "+dir, "")
	if code != 69 || !strings.Contains(errs, dir+" is in use by a running broker") {
		t.Errorf("while a broker runs: %d %s", code, errs)
	}
	if _, _, code := ctl("store dump "+dir, ""); code != 69 {
		t.Errorf("dump while a broker runs: %d", code)
	}
	r.stop()

	r.wants(0, "-q store check "+dir, "vhost\tname\tmessages\tmessage_bytes\n/\tempty\t0\t0\n/\torders\t12\t132\n")
	out, _, _ := ctl("store check "+dir, "")
	if !strings.Contains(out, "2 of kind queue") || !strings.Contains(out, "The store is sound.") {
		t.Errorf("check prints\n%s", out)
	}
	out, _, _ = ctl("store check --formatter json "+dir, "")
	var doc struct {
		Sound  bool
		Queues []struct {
			Name     string
			Messages int
		}
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil || !doc.Sound || len(doc.Queues) != 2 || doc.Queues[1].Messages != 12 {
		t.Errorf("%v in\n%s", err, out)
	}

	out, _, code = ctl("store dump "+dir, "")
	if code != 0 || !strings.Contains(out, `queue "/" "orders", number `) || !strings.Contains(out, `key "orders"`) || strings.Contains(out, "secret-") || strings.Contains(out, "hash") {
		t.Errorf("dump ends with %d and prints\n%s", code, out)
	}
}

func TestStoreCheckDamaged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	r := newStoredRig(t, dir)
	r.fill("orders", 12)
	r.stop()
	flipped := 0
	segments, err := filepath.Glob(filepath.Join(dir, "log", "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range segments {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(b, []byte("secret-0003"))
		if at < 0 {
			continue
		}
		b[at] ^= 1
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		flipped++
	}
	if flipped != 1 {
		t.Fatalf("message 3 is in %d segments", flipped)
	}
	out, errs, code := ctl("-q store check "+dir, "")
	if code != 65 || !strings.Contains(errs, ".seg at ") || !strings.Contains(errs, "is damaged in ") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	out, _, code = ctl("store check --formatter json "+dir, "")
	var doc struct {
		Sound  bool
		Damage []string
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil || code != 65 || doc.Sound || len(doc.Damage) == 0 {
		t.Errorf("exit code %d, %v in\n%s", code, err, out)
	}
}

func TestStoreIsNone(t *testing.T) {
	empty := t.TempDir()
	file := filepath.Join(empty, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{filepath.Join(empty, "nothing"), file, t.TempDir()} {
		for _, verb := range []string{"check", "dump"} {
			_, errs, code := ctl("store "+verb+" "+dir, "")
			if code != 78 || !strings.Contains(errs, dir) {
				t.Errorf("%s of %s: exit code %d %s", verb, dir, code, errs)
			}
		}
	}
	if names, err := os.ReadDir(empty); err != nil || len(names) != 1 {
		t.Errorf("it has left something: %v %v", names, err)
	}
	if _, _, code := ctl("store check", ""); code != 64 {
		t.Errorf("without a directory: exit code %d", code)
	}
}

func TestStoreBackup(t *testing.T) {
	parent := t.TempDir()
	r := newStoredRig(t, filepath.Join(parent, "data"))
	r.fill("orders", 12)
	to := filepath.Join(parent, "copy")
	r.wants(0, "-q store backup "+to, "")
	r.fill("orders", 1) // It goes on.
	_, errs, code := ctl("store backup "+to, "")
	if code != 69 || !strings.Contains(errs, to+" is not empty") {
		t.Errorf("a second backup to the same directory: %d %s", code, errs)
	}
	r.request(http.MethodPut, "/users/app", `{"password":"hunter2","tags":"monitoring"}`)
	if _, _, code := ctl("--user app --password hunter2 store backup "+filepath.Join(parent, "no"), ""); code != 69 {
		t.Errorf("by a user who is no administrator: %d", code)
	}
	r.stop()
	r.wants(0, "-q store check "+to, "vhost\tname\tmessages\tmessage_bytes\n/\torders\t12\t132\n")

	again := newStoredRig(t, to)
	again.wants(0, "-q list_queues name messages", "name\tmessages\norders\t12\n")
}

func TestStoreBackupOfNothing(t *testing.T) {
	r := newRig(t)
	_, errs, code := ctl("store backup "+filepath.Join(r.dir, "copy"), "")
	if code != 69 || !strings.Contains(errs, "keeps nothing on disk") {
		t.Errorf("exit code %d %s", code, errs)
	}
}

// TestKindNames fails when there are definitions without a word for them.
func TestKindNames(t *testing.T) {
	for k := core.DefVHost; k <= core.DefGlobal; k++ {
		if kindNames[k] == "" {
			t.Errorf("definitions of kind %d have no name", k)
		}
	}
}
