//go:build !unix

package main

import "errors"

func diskFree(string) (int64, error) { return 0, errors.ErrUnsupported }
