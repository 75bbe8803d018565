// Package prometheus serves the broker's figures to scrapers, in the text format
// of Prometheus, under the names that RabbitMQ's plugin has for them: what was
// made for that, the public Grafana dashboards above all, fills.
//
//	GET /metrics ----------------> sums, without labels of objects
//	    /metrics/per-object -----> a row for each queue, channel, connection, exchange
//	    /metrics/detailed -------> the same of chosen families, virtual hosts and queues
//	    /metrics/memory-breakdown
//
//	families.go: what there is --+
//	collect.go: rows of numbers -+-> writer.go: text -> gzip, if asked for -> socket
//	global.go, runtime.go -------+
//
// A family is a group of metrics that are found out together. Its objects are
// looked at once; their numbers wait in a table until they are written metric by
// metric, as the format wants it. Tables are used again by the next scrape, and
// there is one scrape at a time, so that what a scrape needs stays bounded.
//
// Goroutines: net/http's. Locks: Server.scraping, held for a scrape.
//
// Read server.go, families.go, collect.go.
package prometheus
