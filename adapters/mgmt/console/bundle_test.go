//go:build clients

package console

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestBundle proves that what is committed in dist is what src makes, and that
// src passes the type checker.
func TestBundle(t *testing.T) {
	if _, err := os.Stat("node_modules"); err != nil {
		t.Fatalf("%v: run make prepare", err)
	}
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("node", args...).CombinedOutput(); err != nil {
			t.Fatalf("node %v: %v\n%s", args, err, out)
		}
	}
	run(filepath.Join("node_modules", "typescript", "bin", "tsc"), "-p", ".")
	made := t.TempDir()
	run("build.js", made)
	for name := range types {
		want, err := os.ReadFile(filepath.Join(made, name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join("dist", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("dist/%s is not what src makes: run make console and commit it", name)
		}
	}
	committed, err := os.ReadDir("dist")
	if err != nil {
		t.Fatal(err)
	}
	if len(committed) != len(types) {
		t.Errorf("dist has %v, and only %d files are served", committed, len(types))
	}
}

// TestLibrary runs what src/lib can show without a browser.
func TestLibrary(t *testing.T) {
	if _, err := os.Stat("node_modules"); err != nil {
		t.Fatalf("%v: run make prepare", err)
	}
	if out, err := exec.Command("node", "--test", "lib_test.mjs").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
