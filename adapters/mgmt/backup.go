package mgmt

import (
	"log/slog"
	"net/http"
	"path/filepath"
	"time"
)

// postBackup copies the data directory to a directory of the broker's machine.
// RabbitMQ has nothing like it. It answers 204 when the copy is complete and on
// disk.
func (c *call) postBackup() error {
	b, err := c.body()
	if err != nil {
		return err
	}
	if err := b.need("directory"); err != nil {
		return err
	}
	dir, err := b.text("directory")
	if err != nil {
		return err
	}
	if !filepath.IsAbs(dir) {
		return badRequest("directory must be an absolute path on the broker's machine")
	}
	if c.s.opts.Backup == nil {
		return badRequest("this broker keeps nothing on disk: there is nothing to copy")
	}
	// To another file system it takes as long as it takes.
	_ = http.NewResponseController(c.w).SetWriteDeadline(time.Time{}) // Where it is not supported there is none.
	began := time.Now()
	if err := c.s.opts.Backup(filepath.Clean(dir)); err != nil {
		c.s.log.Error("backup failed", slog.String("directory", dir), slog.Any("error", err))
		return &failure{http.StatusInternalServerError, "backup_failed", err.Error()}
	}
	c.s.log.Info("backup made", slog.String("directory", dir), slog.String("user", c.user.Name), slog.Duration("took", time.Since(began).Round(time.Millisecond)))
	return c.done(false)
}
