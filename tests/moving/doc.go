// Package moving holds no code but tests: shovels between brokers that die, and
// the migration from a RabbitMQ that is in use. The brokers are processes of their
// own, killed with kill -9; every message has a number, so that what is lost,
// repeated or out of order shows.
//
// The migration runs against Debian's rabbitmq-server, which make prepare
// installs; it stands behind the build tag "clients" for that. Its server is
// started on free ports with directories of its own, and an epmd of its own.
package moving
