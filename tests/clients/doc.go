// Package clients holds no code but tests: they run other people's clients (for
// AMQP pika, aio-pika, Celery, amqplib, amqp091-go; for STOMP stomp.py and
// stompjs, in node and in Chromium; for MQTT paho) against a real leveret
// process and check what those clients see, and that what one protocol sends
// arrives in the others.
//
//	make test ──▶ .venv, node_modules ──▶ go test -tags clients ./...
//	                                          │
//	                 TestMain builds and starts one broker
//	                                          │
//	        ┌─────────────────┬───────────────┴──┬──────────────────┬────────────────┐
//	 examples/python    examples/node       examples/go      python/test_*.py   examples/web
//	 (programs as a reader of the tutorials has them)        (pytest, asserts)  (in Chromium)
//
// The tests need Python and Node packages that make installs, so they stand
// behind the build tag "clients" and a plain "go test ./..." needs neither.
//
// Programs use the queue names a tutorial would use. What keeps them apart is
// that each test has a virtual host of its own, made over the management API
// and deleted at its end; so all of them can run at once.
//
// The tests are known to be right about RabbitMQ because they run against it
// as well. With these two set no broker is built or started:
//
//	LEVERET_TEST_AMQP_URL=amqp://guest:guest@127.0.0.1:5672
//	LEVERET_TEST_HTTP_URL=http://guest:guest@127.0.0.1:15672
//	LEVERET_TEST_STOMP_ADDR, LEVERET_TEST_WEB_STOMP_ADDR, LEVERET_TEST_MQTT_ADDR (host:port)
//
// LEVERET_TEST_PYTHON names another interpreter than the one in .venv.
//
// console_test.go drives the web console in Chromium over a broker of its own
// with traffic in all protocols; console/ has a file for each part of it.
//
// Reading order: broker_test.go (the broker under test), process_test.go
// (programs and what they print), then any of the others.
package clients
