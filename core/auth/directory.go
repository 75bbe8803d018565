package auth

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"leveret/core/hamt"
	"leveret/core/pattern"
)

// Directory holds all users and their rights. The zero Directory is empty. Any
// goroutine may use it.
type Directory struct {
	// Replaced whole by each change; nil while nothing was ever changed.
	current atomic.Pointer[state]

	mu struct {
		sync.Mutex // Held to change current.

		// Expressions compiled lately: thousands of users share a few.
		compiled map[string]*pattern.Regex
	}
}

// state is everything a Directory knows at one time. It is never changed.
type state struct {
	epoch  uint64
	users  hamt.Map[string, *userRow]
	access hamt.Map[string, *access] // By user; a row may come before its user.
}

type userRow struct {
	user     User
	verifier verifier
}

// access is what one user may do, never nil and never empty in state.
type access struct {
	vhosts hamt.Map[string, *permission]
	topics hamt.Map[topicKey, *topicPermission]
}

type topicKey struct{ vhost, exchange string }

var emptyState state

func (d *Directory) state() *state {
	if s := d.current.Load(); s != nil {
		return s
	}
	return &emptyState
}

// change replaces the state by what edit makes of a copy of it.
func (d *Directory) change(edit func(s *state)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := *d.state()
	edit(&s)
	s.epoch++
	d.current.Store(&s)
}

// Epoch returns a number that each change raises. Who remembers the answer to a
// check asks for the epoch before asking for the check.
func (d *Directory) Epoch() uint64 { return d.state().epoch }

// PutUser adds u or replaces the user of that name. It fails if the hash is not
// base64 or the algorithm is unknown.
func (d *Directory) PutUser(u User) error {
	v, err := newVerifier(u.PasswordHash, u.Algorithm)
	if err != nil {
		return fmt.Errorf("user '%s': %w", u.Name, err)
	}
	row := &userRow{u.clone(), v}
	d.change(func(s *state) { s.users = s.users.With(u.Name, row) })
	return nil
}

// DeleteUser removes a user with all permissions and reports whether there was
// one.
func (d *Directory) DeleteUser(name string) (existed bool) {
	d.change(func(s *state) {
		_, existed = s.users.Get(name)
		s.users = s.users.Without(name)
		s.access = s.access.Without(name)
	})
	return existed
}

// User returns the user called name, and whether there is one.
func (d *Directory) User(name string) (User, bool) {
	row, ok := d.state().users.Get(name)
	if !ok {
		return User{}, false
	}
	return row.user, true
}

// Users returns all users by name.
func (d *Directory) Users() []User {
	s := d.state()
	users := make([]User, 0, s.users.Len())
	for _, row := range s.users.All() {
		users = append(users, row.user)
	}
	slices.SortFunc(users, func(a, b User) int { return cmp.Compare(a.Name, b.Name) })
	return users
}

// DeleteVHost removes all permissions in vhost.
func (d *Directory) DeleteVHost(vhost string) {
	d.change(func(s *state) {
		for user, a := range s.access.All() {
			changed := *a
			changed.vhosts = changed.vhosts.Without(vhost)
			for key := range a.topics.All() {
				if key.vhost == vhost {
					changed.topics = changed.topics.Without(key)
				}
			}
			s.setAccess(user, changed)
		}
	})
}

// setAccess makes a what user may do. s must not be current yet.
func (s *state) setAccess(user string, a access) {
	if a.vhosts.Len() == 0 && a.topics.Len() == 0 {
		s.access = s.access.Without(user)
	} else if old, ok := s.access.Get(user); !ok || *old != a {
		s.access = s.access.With(user, &a)
	}
}

// accessOf returns what user may do, nothing if there is no row.
func (s *state) accessOf(user string) access {
	if a, ok := s.access.Get(user); ok {
		return *a
	}
	return access{}
}

// ErrRefused is in every error that Authenticate returns.
var ErrRefused = errors.New("invalid credentials")

// Reason is why a login was refused. It is for the broker's log; a client that
// learned it could find out which users exist.
type Reason uint8

// The reasons.
const (
	UnknownUser   Reason = iota + 1
	WrongPassword        // Also for users that have no valid password hash.
	EmptyPassword        // None was given.
)

// String names r for logs.
func (r Reason) String() string {
	switch r {
	case UnknownUser:
		return "unknown user"
	case WrongPassword:
		return "wrong password"
	case EmptyPassword:
		return "empty password"
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// LoginError is the error of Authenticate. Its text is the same for every
// reason and may be shown to the client.
type LoginError struct {
	User   string
	Reason Reason
}

func (e *LoginError) Error() string { return fmt.Sprintf("user '%s': %v", e.User, ErrRefused) }

// Unwrap makes errors.Is find ErrRefused.
func (e *LoginError) Unwrap() error { return ErrRefused }

// Authenticate returns the user called name if password is the right one, or
// else a *LoginError. An unknown user is refused as slowly as a wrong password.
func (d *Directory) Authenticate(name, password string) (User, error) {
	row, known := d.state().users.Get(name)
	v := nobody
	if known {
		v = row.verifier
	}
	right := v.accepts(password)
	switch {
	case known && right:
		return row.user, nil
	case password == "":
		return User{}, &LoginError{name, EmptyPassword}
	case !known:
		return User{}, &LoginError{name, UnknownUser}
	}
	return User{}, &LoginError{name, WrongPassword}
}
