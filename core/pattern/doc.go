// Package pattern compiles the regular expressions that users give: in
// permissions, topic permissions, policies and list filters.
//
// RabbitMQ's users write them for PCRE. Nearly all of them mean the same to Go's
// regexp, which matches in linear time, so that comes first. An expression that
// it cannot take, with look-around or back-references, goes to a backtracking
// engine; there a match has a time limit, because otherwise one unlucky policy
// and one long queue name would hold a goroutine for years.
//
//	expression ─► regexp ────────── ok ─► linear time
//	                └─ not possible ─► regexp2 ─ ok ─► at most timeoutMax a match
//	                                      └─ error for the user
//
// Goroutines: the backtracking engine keeps a clock in one for as long as it is
// in use. A Regex may be used by any goroutine.
package pattern
