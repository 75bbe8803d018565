package core

import (
	"errors"

	"leveret/core/auth"
)

// defaults is what a broker without definitions begins with.
type defaults struct {
	user, password, vhost string
	tags                  []string
	may                   auth.Permission
}

// Reset forgets everything that was declared, with all messages, and begins
// again with the default user and virtual host, unless skipDefaults. Sessions
// are ended.
func (b *Broker) Reset(skipDefaults bool) error {
	for _, v := range b.VHosts() {
		d := v.Definition()
		d.Protected = false
		if err := b.PutVHost(d); err != nil {
			return err
		}
		if err := b.DeleteVHost(v.Name()); err != nil && !isNotFound(err) {
			return err
		}
	}
	for _, u := range b.directory.Users() {
		if err := b.DeleteUser(u.Name); err != nil && !isNotFound(err) {
			return err
		}
	}
	for _, g := range b.Globals() {
		if err := b.ClearGlobal(g.Name); err != nil && !isNotFound(err) {
			return err
		}
	}
	b.logger.Warn("the broker was reset: all that was declared is gone")
	if skipDefaults {
		return nil
	}
	return b.makeDefaults()
}

// isNotFound reports whether err says that something is not there, which may
// have been deleted a moment ago.
func isNotFound(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == NotFound
}
