//go:build !linux

package vfs

import "os"

func fdatasync(f *os.File) error { return f.Sync() }

func fallocate(*os.File, int64, int64) (done bool, err error) { return false, nil }

func nextData(_ *os.File, offset, size int64) (from, to int64, err error) { return offset, size, nil }
