// Package mqtt holds no code but tests: they run other people's MQTT clients
// (mosquitto_pub and mosquitto_sub, paho for Python, MQTT.js over TCP and
// WebSocket, paho.golang) against real leveret processes, some of which are
// killed in the middle, and check what those clients see.
//
// The tests need programs that make installs (tests/clients/prepare.sh), so
// they stand behind the build tag "clients".
//
// Reading order: broker_test.go, then any of the others.
package mqtt
