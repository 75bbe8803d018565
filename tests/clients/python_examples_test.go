//go:build clients

package clients

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

func TestHelloWorld(t *testing.T) {
	t.Parallel()
	// The one pair of programs that uses the default virtual host, as the first
	// program of every newcomer does.
	t.Cleanup(func() { api(t, "DELETE", "/api/queues/%2F/hello", "", 204) })
	env := []string{"AMQP_HOST=" + broker.amqp.Hostname(), "AMQP_PORT=" + broker.amqp.Port()}

	wantLines(t, python(t, "hello_send.py").with(env...).run(t, ""), "sent 'Hello World!'")
	receive := python(t, "hello_receive.py").with(env...).start(t, "")
	receive.waitLine("^received 'Hello World!'$")
	python(t, "hello_send.py", "and", "again").with(env...).run(t, "")
	receive.waitLine("^received 'and again'$")
	receive.interrupt()
}

func TestWorkQueueSpreadsJobsByPrefetch(t *testing.T) {
	t.Parallel()
	url := newVhost(t)
	a := python(t, "work_worker.py", "ann").start(t, url)
	a.waitLine("^ann waiting")
	python(t, "work_submit.py", "long..............").run(t, url)
	a.waitLine("^ann starts 'long")
	ch := dial(t, url)
	b := python(t, "work_worker.py", "bob").start(t, url)
	b.waitLine("^bob waiting")
	// With a prefetch of one, everything goes past the busy worker.
	for i := range 4 {
		publish(t, ch, "jobs", fmt.Sprint("short ", i))
		b.waitLine(fmt.Sprintf("^bob finished 'short %d'$", i))
	}
	for _, line := range a.lines() {
		if strings.Contains(line, "short") {
			t.Errorf("the busy worker got a job: %s", line)
		}
	}
}

func TestKilledWorkersJobGoesToAnother(t *testing.T) {
	t.Parallel()
	url := newVhost(t)
	a := python(t, "work_worker.py", "ann").start(t, url)
	a.waitLine("^ann waiting")
	ch := dial(t, url)
	publish(t, ch, "jobs", "important...")
	publish(t, ch, "jobs", "next")
	a.waitLine("^ann starts 'important...'$")
	a.kill()

	b := python(t, "work_worker.py", "bob").start(t, url)
	// The interrupted job keeps its place before the one submitted after it.
	b.waitLine("^bob waiting")
	if got := b.waitLine("^bob starts (.*)$")[1]; got != "'important...' again" {
		t.Errorf("first job after the crash is %s, want the interrupted one, redelivered", got)
	}
	b.waitLine("^bob finished 'important...'$")
	b.waitLine("^bob starts 'next'$")
	// No Control-C for bob: pika may be amid writing the ack, and then does not
	// write anything after it.
	b.waitLine("^bob finished 'next'$")
}

func TestPublishSubscribe(t *testing.T) {
	t.Parallel()
	url := newVhost(t)
	python(t, "fanout_emit.py", "nobody hears this").run(t, url)
	a := python(t, "fanout_listen.py").start(t, url)
	b := python(t, "fanout_listen.py").start(t, url)
	queueA := a.waitLine(`^listening on (amq\.gen-[A-Za-z0-9_-]{22})$`)[1]
	queueB := b.waitLine(`^listening on (amq\.gen-[A-Za-z0-9_-]{22})$`)[1]
	if queueA == queueB {
		t.Errorf("two listeners share the queue %s", queueA)
	}
	python(t, "fanout_emit.py", "good", "news").run(t, url)
	a.waitLine("^heard 'good news'$")
	b.waitLine("^heard 'good news'$")
	a.interrupt()
	python(t, "fanout_emit.py", "more").run(t, url)
	if got := b.waitLine("^heard (.*)$")[1]; got != "'more'" {
		t.Errorf("heard %s, want 'more'", got)
	}
	b.interrupt()
}

func TestRoutingByDirectExchange(t *testing.T) {
	t.Parallel()
	url := newVhost(t)
	all := python(t, "direct_listen.py", "info", "warning", "error").start(t, url)
	all.waitLine("^listening")
	errors := python(t, "direct_listen.py", "error").start(t, url)
	errors.waitLine("^listening")
	for _, level := range []string{"info", "debug", "warning", "error"} {
		python(t, "direct_emit.py", level, "text").run(t, url)
	}
	errors.waitLine("^error: 'text'$")
	all.waitLine("^error: 'text'$")
	all.interrupt()
	errors.interrupt()
	wantLines(t, strings.Join(all.lines(), "\n"),
		"listening for info warning error", "info: 'text'", "warning: 'text'", "error: 'text'")
	wantLines(t, strings.Join(errors.lines(), "\n"), "listening for error", "error: 'text'")
}

func TestTopics(t *testing.T) {
	t.Parallel()
	url := newVhost(t)
	kern := python(t, "topic_listen.py", "kern.*", "*.critical").start(t, url)
	all := python(t, "topic_listen.py", "#").start(t, url)
	deep := python(t, "topic_listen.py", "a.#.z", "last").start(t, url)
	for _, p := range []*process{kern, all, deep} {
		p.waitLine("^listening")
	}
	keys := []string{"kern.info", "kern.critical", "cron.critical", "kern.a.b", "a.z", "a.b.c.z", "a.b", "kern", "last"}
	var every []string
	for _, key := range keys {
		python(t, "topic_emit.py", key, "x").run(t, url)
		every = append(every, key+": 'x'")
	}
	all.waitLine("^last:")
	deep.waitLine("^last:")
	kern.waitLine("^cron.critical:")
	for _, p := range []*process{kern, all, deep} {
		p.interrupt()
	}
	wantLines(t, strings.Join(all.lines()[1:], "\n"), every...)
	// A message that matches two bindings of a queue arrives once.
	wantLines(t, strings.Join(kern.lines()[1:], "\n"), "kern.info: 'x'", "kern.critical: 'x'", "cron.critical: 'x'")
	wantLines(t, strings.Join(deep.lines()[1:], "\n"), "a.z: 'x'", "a.b.c.z: 'x'", "last: 'x'")
}

func TestRPC(t *testing.T) {
	t.Parallel()
	url := newVhost(t)
	for range 2 {
		server := python(t, "rpc_server.py").start(t, url)
		server.waitLine("^ready")
	}
	wantLines(t, python(t, "rpc_client.py", "0", "10", "90").run(t, url),
		"fibonacci(0) = 0", "fibonacci(10) = 55", "fibonacci(90) = 2880067194370816120")
	wantLines(t, python(t, "rpc_direct_reply.py", "1", "20", "30").run(t, url),
		"fibonacci(1) = 1", "fibonacci(20) = 6765", "fibonacci(30) = 832040")
}

// TestProgramsThatEnd runs those that need no partner and print the same each time.
func TestProgramsThatEnd(t *testing.T) {
	for _, tt := range []struct {
		script string
		args   []string
		want   []string
	}{
		{"confirms_single.py", []string{"20"}, []string{
			"confirmed 20",
			"returned 312 NO_ROUTE: 'to nobody'",
			"in the queue: 20",
		}},
		{"confirms_batch.py", []string{"250", "100"}, []string{"confirmed 100", "confirmed 200", "confirmed 250"}},
		{"confirms_async.py", []string{"5000"}, []string{"published 5000", "acked 5000, nacked 0"}},
		{"headers_exchange.py", nil, []string{
			"reports as pdf: annual.pdf incident.pdf",
			"anything for legal or urgent: contract.doc incident.pdf",
		}},
		{"basic_get.py", nil, []string{"got 'one', 2 left", "got 'two', 1 left", "got 'three', 0 left", "empty"}},
		{"reject.py", nil, []string{
			"good: acked",
			"bad: rejected, back to the queue",
			"bad: redelivered, dropped",
			"fine: acked",
			"left in the queue: 0",
		}},
		{"many_channels.py", []string{"3"}, []string{
			"channel 1 got 'from 2'",
			"channel 2 got 'from 0'",
			"channel 3 got 'from 1'",
			"channel 1 closed: 404",
			"open: 2 of 3",
		}},
		{"aio_pika_app.py", nil, []string{
			"topics: europe.paris 21, europe.rome.centre 21",
			"returned: Message delivery failed: Basic.Return(reply_code=312, reply_text='NO_ROUTE', exchange='', routing_key='no-such-queue')",
			"rpc: 2 + 3 = 5, answer to 1",
		}},
	} {
		t.Run(tt.script, func(t *testing.T) {
			t.Parallel()
			wantLines(t, python(t, tt.script, tt.args...).run(t, newVhost(t)), tt.want...)
		})
	}
}

func TestUserAndVhostMadeOverTheAPI(t *testing.T) {
	t.Parallel()
	own, err := url.Parse(newVhost(t))
	if err != nil {
		t.Fatal(err)
	}
	vhost := strings.TrimPrefix(own.Path, "/")
	user := vhost + "-user"
	api(t, "PUT", "/api/users/"+user, `{"password":"s3cret/+ %","tags":""}`, 201)
	t.Cleanup(func() { api(t, "DELETE", "/api/users/"+user, "", 204) })
	own.User = url.UserPassword(user, "s3cret/+ %")

	fails := func(why string) {
		t.Helper()
		p := python(t, "url_parameters.py").start(t, own.String())
		p.waitLine(why)
		<-p.exited
		if p.err == nil {
			t.Errorf("the program that printed %q ended with 0", why)
		}
	}
	fails("^no access to the virtual host: .*530.*access to vhost '" + vhost + "' refused for user '" + user + "'")
	api(t, "PUT", "/api/permissions/"+vhost+"/"+user, `{"configure":".*","write":".*","read":".*"}`, 201)
	wantLines(t, python(t, "url_parameters.py").run(t, own.String()),
		fmt.Sprintf("%s in '%s' got 'hello'", user, vhost))

	own.User = url.UserPassword(user, "wrong")
	fails("^login refused: .*403.*ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN")
	own.User = url.UserPassword(user, "s3cret/+ %")
	own.Path = "/not-" + vhost
	// Who may not see which there are gets the same answer for one that is not.
	fails("^no access to the virtual host: .*530.*access to vhost 'not-" + vhost + "' refused for user '" + user + "'")
}

func TestSelectConnectionConsumer(t *testing.T) {
	t.Parallel()
	url := newVhost(t)
	p := python(t, "select_consumer.py", "async", "25").start(t, url)
	p.waitLine("^consuming$")
	ch := dial(t, url)
	for i := range 30 {
		publish(t, ch, "async", fmt.Sprint("m", i))
	}
	p.waitLine("^25: 'm24'$")
	p.waitLine("^done$")
	p.finish()

	// Five are left, were perhaps prefetched, and kept their order.
	rest := python(t, "select_consumer.py", "async").start(t, url)
	rest.waitLine("^1: 'm25'$")
	rest.waitLine("^5: 'm29'$")
	if _, err := ch.QueueDelete("async", false, false, false); err != nil {
		t.Fatal(err)
	}
	rest.waitLine("^cancelled by the broker$")
	rest.finish()
}
