// Package topic finds the patterns that match a routing key.
//
// It serves AMQP topic exchanges and, with '/' and '+' translated to '.' and
// '*', MQTT subscriptions. A key is a list of words between dots; in a pattern
// '*' stands for exactly one word and '#' for any number of them, also none.
// The empty key has no words: "" and "#" match it, "*" does not. Two dots in a
// row enclose an empty word, which '*' matches.
//
//	bind:    With(pattern, id, value) ──► new Trie, sharing all but one path
//	publish: key ──► Match ──► values of all matching patterns
//
//	                 root
//	     ┌────────────┼──────────┐
//	  "stocks"       '*'        '#'
//	     │            │          │
//	   "usd"        "eur"     "error"
//
// A Trie never changes, so a publish takes no lock. The words under a node are
// a short list or, from wideMin on, a persistent hash trie; so are the values of one
// pattern. Neither 100,000 devices under one word nor 100,000 queues on one
// pattern make a bind copy them.
//
// Goroutines: none. Any goroutine may use a Trie; a Builder belongs to one.
//
// Read trie.go (what a Trie is and how one is derived), then match.go.
package topic
