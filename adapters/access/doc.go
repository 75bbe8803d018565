// Package access knows users, and what they may do, from elsewhere than the
// broker's own directory: a web service, or tokens that somebody else has
// signed. It gives core.AccessBackends; package main puts them into the order
// that the operator wants.
//
//	Broker.Login ──► HTTP ──► POST user_path      username, password, …  ──► allow management
//	             └─► JWT  ──► signature, aud, exp, scopes                ◄── keys: file, URL
//	Session      ──► HTTP ──► POST resource_path  username, vhost, …     ──► allow
//	             └─► JWT  ──► the scopes noted at the login
//
// HTTP speaks the protocol of rabbitmq_auth_backend_http, JWT reads what
// rabbitmq_auth_backend_oauth2 reads. Where nobody answers, nobody is let in.
// Neither writes a password or a token anywhere, debug log included.
//
// Goroutines: none but JWT.Run, which the broker's program starts; it fetches
// keys again. Everything else works on its caller's, who holds no lock. Locks:
// keys.mu, a leaf, guards nothing but a pointer swap; a fetch happens outside.
//
// Read http.go; then jwt.go, keys.go, scope.go.
package access
