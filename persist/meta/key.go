package meta

import (
	"encoding/binary"
	"strings"

	"leveret/core"
)

// A key is one letter for its kind, for definitions followed by the parts, each
// behind its length as a uvarint, because names hold any byte. Small letters
// are definitions, in the order of their kinds; capitals are ours:
const (
	keyFormat   = "F" // The format of the file: the first record of any.
	keyIntent   = "I" // The last change of several keys, whole.
	keyMark     = "M" // How far the file was synced.
	keyQueueIDs = "Q" // Up to where queue ids are given out.
)

// kindMax is what fits into the small letters.
const kindMax = 26

func kindLetter(k core.DefinitionKind) byte { return 'a' + byte(k) - 1 }

// keyKind returns the kind of definition at key, or 0.
func keyKind(key string) core.DefinitionKind {
	if key == "" || key[0] < 'a' || key[0] > 'z' {
		return 0
	}
	return core.DefinitionKind(key[0]-'a') + 1
}

func appendKey(dst []byte, kind core.DefinitionKind, parts []string) []byte {
	dst = append(dst, kindLetter(kind))
	for _, p := range parts {
		dst = binary.AppendUvarint(dst, uint64(len(p)))
		dst = append(dst, p...)
	}
	return dst
}

// keyParts returns the parts of a definition's key as pieces of it.
func keyParts(key string) (parts []string, ok bool) {
	if key == "" {
		return nil, false
	}
	key = key[1:]
	parts = make([]string, 0, 6) // A binding has six.
	for key != "" {
		n, size := uvarint(key)
		if size <= 0 || n > uint64(len(key)-size) {
			return nil, false
		}
		key = key[size:]
		parts = append(parts, key[:n])
		key = key[n:]
	}
	return parts, true
}

// keyText is a key for people to read.
func keyText(key string) string {
	kind := keyKind(key)
	parts, ok := keyParts(key)
	if kind == 0 || !ok {
		return ""
	}
	name := "definition"
	if int(kind) < len(kindNames) {
		name = kindNames[kind]
	}
	return name + " " + strings.Join(parts, " / ")
}

var kindNames = [...]string{
	core.DefVHost: "vhost", core.DefUser: "user", core.DefPermission: "permission",
	core.DefTopicPermission: "topic permission", core.DefExchange: "exchange", core.DefQueue: "queue",
	core.DefBinding: "binding", core.DefPolicy: "policy", core.DefOperatorPolicy: "operator policy",
	core.DefParameter: "parameter", core.DefVHostLimit: "vhost limit", core.DefGlobal: "global parameter",
	core.DefClient: "client", core.DefSubscription: "subscription", core.DefWill: "will", core.DefRetained: "retained messages",
}

// uvarint is binary.Uvarint of a string.
func uvarint(s string) (v uint64, size int) {
	for i := 0; i < len(s); i++ {
		b := s[i]
		if i == binary.MaxVarintLen64-1 && b > 1 {
			return 0, -1
		}
		if b < 0x80 {
			return v | uint64(b)<<(7*i), i + 1
		}
		v |= uint64(b&0x7f) << (7 * i)
		if i == binary.MaxVarintLen64-1 {
			return 0, -1
		}
	}
	return 0, 0
}
