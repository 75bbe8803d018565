// Package persist keeps the messages of durable queues: a core.MessageLog on
// segment files.
package persist
