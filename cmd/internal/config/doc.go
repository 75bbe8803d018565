// Package config says what a broker can be told and turns it into the Options
// of the packages that make one up.
//
//	flags  -> Serve (this package's struct, filled by kong)
//	env    -> Serve   flags win over the environment, that over the defaults
//	Serve.Resolve -> Settings: sizes in bytes, addresses split, files read
//
// Only cmd/leveret imports it; it starts no goroutine and opens no socket.
// A configuration file is one more source in front of the environment, which
// is why each setting is named once, here, with its unit and its default.
//
// Read serve.go first, then size.go and memory.go.
package config
