package vfs

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestWriteZerosKeepsContent(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := bytes.Repeat([]byte("leveret "), 1000)
	if _, err := f.Write(want); err != nil {
		t.Fatal(err)
	}
	if err := (osFile{f}).writeZeros(100, 3<<20); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(f.Name())
	if err != nil || len(got) != 100+(3<<20) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if !bytes.Equal(got[:len(want)], want) || len(bytes.Trim(got[len(want):], "\x00")) > 0 {
		t.Fatal("content changed")
	}
}
