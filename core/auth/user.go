package auth

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
)

// The tags that mean something. Any others are kept for whoever set them.
const (
	TagAdministrator = "administrator" // May do everything in the management API.
	TagMonitoring    = "monitoring"    // Sees all virtual hosts and connections there.
	TagPolicymaker   = "policymaker"   // Manages policies of virtual hosts it may enter.
	TagManagement    = "management"    // May use the management API.
	TagImpersonator  = "impersonator"  // May publish with another's user-id property.
	TagProtected     = "protected"     // Not to be changed over HTTP.
)

// The limits a user may have.
const (
	LimitConnections = "max-connections"
	LimitChannels    = "max-channels"
)

// User is someone who may log in. As a value it is never changed: what its
// slices and maps hold is read only.
type User struct {
	Name         string
	PasswordHash string           // As HashPassword returns it; "" lets nobody in.
	Algorithm    string           // One of the names beside HashPassword; "" for SHA256.
	Tags         []string         // In the order they were given.
	Limits       map[string]int64 // By Limit… name; missing or negative for none.
}

// HasTag reports whether u has tag.
func (u User) HasTag(tag string) bool { return slices.Contains(u.Tags, tag) }

// Limit returns the limit of u called name, and whether it has one.
func (u User) Limit(name string) (int64, bool) {
	n, ok := u.Limits[name]
	return n, ok && n >= 0
}

// String describes u without its hash.
func (u User) String() string {
	return fmt.Sprintf("user '%s' [%s]", u.Name, strings.Join(u.Tags, " "))
}

// Format prints u as String does, whatever the verb, so that no log line and no
// failing test shows a hash.
func (u User) Format(f fmt.State, _ rune) { fmt.Fprint(f, u.String()) }

// LogValue is what log/slog shows of u.
func (u User) LogValue() slog.Value {
	return slog.GroupValue(slog.String("name", u.Name), slog.Any("tags", u.Tags))
}

// clone returns a copy that shares nothing with u.
func (u User) clone() User {
	u.Tags = slices.Clone(u.Tags)
	u.Limits = maps.Clone(u.Limits)
	return u
}
