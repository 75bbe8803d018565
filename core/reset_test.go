package core_test

import (
	"encoding/json"
	"testing"

	"leveret/core"
	"leveret/core/auth"
)

// TestReset: what was declared goes, the defaults come back, and sessions end.
func TestReset(t *testing.T) {
	for _, skip := range []bool{false, true} {
		b, err := core.New(core.Options{DefaultUser: "root", DefaultVHost: "home"})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		if err := b.PutVHost(core.VHostDef{Name: "shop"}); err != nil {
			t.Fatal(err)
		}
		if err := b.PutUser(auth.User{Name: "app"}); err != nil {
			t.Fatal(err)
		}
		if err := b.SetGlobal("g", json.RawMessage(`1`)); err != nil {
			t.Fatal(err)
		}
		if err := b.Reset(skip); err != nil {
			t.Fatal(err)
		}
		vhosts, users := len(b.VHosts()), len(b.Auth().Users())
		if len(b.Globals()) != 0 {
			t.Errorf("global parameters %v stay", b.Globals())
		}
		if skip && (vhosts != 0 || users != 0) {
			t.Errorf("%d virtual hosts and %d users stay", vhosts, users)
		}
		if !skip {
			if _, ok := b.VHost("home"); !ok || vhosts != 1 {
				t.Errorf("virtual hosts %v", b.VHosts())
			}
			if _, ok := b.Auth().User("root"); !ok || users != 1 {
				t.Errorf("users %v", b.Auth().Users())
			}
		}
	}
}
