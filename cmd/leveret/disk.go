package main

import (
	"context"
	"log/slog"
	"time"

	"leveret/cmd/internal/config"
	"leveret/core"
)

// diskLook is how often the room on the disk is looked at: a fast writer fills
// a gigabyte meanwhile.
const diskLook = time.Second

// diskDir is the directory whose disk is watched.
func diskDir(dataDir string) string {
	if dataDir == config.InMemory {
		return "."
	}
	return dataDir
}

// watchDisk tells alarms how much room there is until ctx ends.
func watchDisk(ctx context.Context, alarms *core.Alarms, dir string, log *slog.Logger) {
	look := time.NewTicker(diskLook)
	defer look.Stop()
	for failed := false; ; {
		free, err := diskFree(dir)
		if err == nil {
			alarms.SetDiskFree(free)
		} else if !failed {
			log.Warn("how much room the disk has cannot be found out", slog.String("dir", dir), slog.Any("error", err))
		}
		failed = err != nil
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}
