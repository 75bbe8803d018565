package core

import (
	"cmp"
	"encoding/json"
	"slices"
)

// settingKey names a policy, operator policy, parameter or global parameter:
// its kind and the parts of its key.
type settingKey struct {
	kind DefinitionKind
	key  [3]string
}

func keyOfSetting(kind DefinitionKind, key []string) settingKey {
	k := settingKey{kind: kind}
	copy(k.key[:], key)
	return k
}

// vhostOf returns the virtual host that a setting belongs to, "" for none.
func (k settingKey) vhostOf() string {
	switch k.kind {
	case DefPolicy, DefOperatorPolicy:
		return k.key[0]
	case DefParameter:
		return k.key[1]
	}
	return ""
}

func (k settingKey) parts() []string {
	switch k.kind {
	case DefPolicy, DefOperatorPolicy:
		return k.key[:2]
	case DefParameter:
		return k.key[:3]
	}
	return k.key[:1]
}

// applySetting keeps a setting for those who list it.
func (b *Broker) applySetting(c *Change) {
	b.stored.Lock()
	defer b.stored.Unlock()
	if k := keyOfSetting(c.Kind, c.Key); c.Value == nil {
		delete(b.stored.settings, k)
	} else {
		b.stored.settings[k] = c.Value
	}
}

// settingChanges removes the settings of a virtual host.
func (b *Broker) settingChanges(vhost string) []Change {
	b.stored.RLock()
	defer b.stored.RUnlock()
	var changes []Change
	for k := range b.stored.settings {
		if k.kind != DefGlobal && k.vhostOf() == vhost {
			changes = append(changes, Change{Kind: k.kind, Key: k.parts(), Was: AnyRevision})
		}
	}
	return changes
}

// SetGlobal sets a parameter of the whole broker, such as cluster_name.
func (b *Broker) SetGlobal(name string, value json.RawMessage) error {
	if name == "" || !json.Valid(value) {
		return errorf(Invalid, "a global parameter needs a name and a value")
	}
	return b.commit(Change{Kind: DefGlobal, Key: []string{name}, Value: GlobalDef{name, string(value)}, Was: AnyRevision})
}

// Global returns a parameter of the whole broker as JSON, nil if it is not set.
func (b *Broker) Global(name string) json.RawMessage {
	b.stored.RLock()
	defer b.stored.RUnlock()
	if g, ok := b.stored.settings[keyOfSetting(DefGlobal, []string{name})].(GlobalDef); ok {
		return json.RawMessage(g.Value)
	}
	return nil
}

// settings lists the stored values of a kind, by key.
func settings[T any](b *Broker, kind DefinitionKind) []T {
	b.stored.RLock()
	defer b.stored.RUnlock()
	var keys []settingKey
	for k := range b.stored.settings {
		if k.kind == kind {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(x, y settingKey) int {
		return cmp.Or(cmp.Compare(x.key[0], y.key[0]), cmp.Compare(x.key[1], y.key[1]), cmp.Compare(x.key[2], y.key[2]))
	})
	values := make([]T, 0, len(keys))
	for _, k := range keys {
		values = append(values, b.stored.settings[k].(T))
	}
	return values
}
