//go:build !linux

package perf

import "time"

func preciseSleep() {}

func sleep(d time.Duration) { time.Sleep(d) }
