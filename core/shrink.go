package core

// shrinkAbove is how many entries a map must have had for its memory to matter.
const shrinkAbove = 1024

// deleteFrom deletes key from m and returns m, or a copy of what is left in it.
// A map of Go's keeps the room of the most it ever held; after a client that
// declared a hundred thousand things has gone, that is not to stay. most is
// where it is noted. A copy is made only after many times as many deletions.
func deleteFrom[K comparable, V any](m map[K]V, key K, most *int) map[K]V {
	*most = max(*most, len(m))
	delete(m, key)
	if *most <= shrinkAbove || len(m) > *most/8 {
		return m
	}
	small := make(map[K]V, len(m))
	for k, v := range m {
		small[k] = v
	}
	*most = len(m)
	return small
}
