// Package auth knows who may log in and what they may do: users, password
// hashes, permissions and topic permissions, in RabbitMQ's forms.
//
//	definitions ──► Directory.Put…, Set… ──► new state, epoch + 1
//	                                            │ atomic pointer
//	login, checks ◄── Authenticate, Allowed, … ─┘
//
// A Directory lives in memory; whoever changes it also keeps the change. It is
// read without a lock: a check works on one immutable state. Each change raises
// the epoch, so a session may remember what it was granted for as long as the
// epoch stays the same.
//
// Rows need not be added in any order. A permission for a user that is not there
// yet is kept, as loading stored definitions needs it; whoever lets people set
// permissions checks first that user and virtual host exist.
//
// Passwords and hashes stay out of logs: neither appears in an error, and a User
// prints without its hash, unless it is printed as an unexported field of
// something else, where package fmt does not ask it.
//
// Goroutines: none. One lock orders changes; it is a leaf.
//
// Read user.go and password.go, then directory.go, permission.go and check.go.
package auth
