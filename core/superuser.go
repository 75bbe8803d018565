package core

import (
	"context"
	"time"

	"leveret/core/auth"
)

// Superuser is who the operating system vouches for: an administrator who needs
// no user and may do everything.
func Superuser(name string) Principal {
	return Principal{
		User:   auth.User{Name: name, Tags: []string{auth.TagAdministrator}},
		grants: []Grant{{Backend: operating{}}},
		holdMS: -1,
	}
}

// operating is the backend of Superuser.
type operating struct{}

func (operating) Name() string { return "operating system" }

func (operating) Authenticate(context.Context, *Credentials) (Identity, error) {
	return Identity{}, auth.ErrRefused
}

func (operating) Authorise(context.Context, string, *Credentials) (Identity, error) {
	return Identity{}, auth.ErrRefused
}

func (operating) Allows(context.Context, any, *AccessQuestion) (bool, error) { return true, nil }

func (operating) Hold() time.Duration { return -1 }
