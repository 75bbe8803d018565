package core

import "errors"

// Definitions keeps everything declared. Routing tables are built only from
// what its watch reports, so that later several nodes can share one store; a
// declare answers once its own node has applied it. Transient definitions pass
// through it like durable ones and are gone with the process (a store of
// several nodes drops them when their node goes).
//
// Implementations are safe for any goroutine.
type Definitions interface {
	// Watch reports what is stored, in bulk and ordered by kind, then every
	// later commit in its order. It is called once, before Commit. fn runs
	// before the Commit that caused it returns, one call at a time.
	Watch(fn func(changes []Change)) error

	// Commit makes all of changes or none, and returns when the durable ones
	// are on disk. It fails with ErrConflict if one of them expected another
	// revision; nothing has happened then.
	Commit(changes []Change) error

	// Get returns one definition and its revision; revision 0 means none.
	Get(kind DefinitionKind, key []string) (value any, revision uint64, err error)

	// NextQueueID returns an id never returned before, over restarts too.
	NextQueueID() (QueueID, error)

	// Close releases the store.
	Close() error
}

// ErrConflict is returned by Commit when a definition has changed meanwhile.
var ErrConflict = errors.New("definition changed meanwhile")

// DefinitionKind is a table of definitions.
type DefinitionKind uint8

// The tables, in the order in which a watch reports them at first. Numbers are
// stored: never reuse one.
const (
	DefVHost           DefinitionKind = 1
	DefUser            DefinitionKind = 2
	DefPermission      DefinitionKind = 3
	DefTopicPermission DefinitionKind = 4
	DefExchange        DefinitionKind = 5
	DefQueue           DefinitionKind = 6
	DefBinding         DefinitionKind = 7
	DefPolicy          DefinitionKind = 8
	DefOperatorPolicy  DefinitionKind = 9
	DefParameter       DefinitionKind = 10
	DefVHostLimit      DefinitionKind = 11
	DefGlobal          DefinitionKind = 12
	DefClient          DefinitionKind = 13
	DefSubscription    DefinitionKind = 14
	DefWill            DefinitionKind = 15
	DefRetained        DefinitionKind = 16
)

// AnyRevision in Change.Was means that whatever is stored may be replaced.
const AnyRevision = ^uint64(0)

// Change puts (Value set) or deletes (Value nil) one definition.
type Change struct {
	Kind  DefinitionKind
	Key   []string // Identifies it within its kind: its names, in order.
	Value any      // One of the …Def types, by value; never changed afterwards.
	// Was is the revision it replaces, 0 for none, or AnyRevision.
	Was       uint64
	Transient bool   // Not written to disk.
	By        string // The user who asked for it, for events; "" for the broker itself. Not stored.
}
