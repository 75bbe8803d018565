package ctl

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// migrate takes over from a RabbitMQ: its definitions, then its messages.
//
//	RabbitMQ's API --definitions--> migrate --definitions, shovels--> leveret's API
//	RabbitMQ's AMQP --messages-----------------------------------> shovels in leveret
//
// The messages do not come through this program: for each queue it makes a shovel
// in the broker, looks how it gets on, and deletes it when its queue is empty. So
// nothing is lost whichever of the three dies, and what is to be gone on with is in
// the broker: the shovels that are left, with the offsets of streams, and, for
// streams that were read to their end, the global parameter migratedParameter.
type migrate struct {
	FromAMQP        string        `name:"from-amqp" required:"" placeholder:"URL" help:"RabbitMQ, as leveret reaches it: amqp://user:password@host:5672 (amqps too)."`
	FromAPI         string        `name:"from-api" required:"" placeholder:"URL" help:"Its management API, for an administrator: http://user:password@host:15672."`
	To              string        `name:"to" placeholder:"URL" help:"Leveret's management API, in place of --url."`
	VHosts          []string      `name:"vhosts" placeholder:"V,..." help:"Only these virtual hosts, with the users who may enter them."`
	Include         string        `name:"include" placeholder:"REGEX" help:"Only messages of queues whose names match."`
	Exclude         string        `name:"exclude" placeholder:"REGEX" help:"No messages of queues whose names match."`
	DefinitionsOnly bool          `name:"definitions-only" help:"Move no messages."`
	Keep            bool          `name:"keep" help:"Leave RabbitMQ as it is: copy streams only. A queue's messages cannot be had without taking them."`
	DryRun          bool          `name:"dry-run" help:"Say what would be done, and change nothing."`
	Consumers       bool          `name:"with-consumers" help:"Move queues that have consumers there too: those go on getting messages meanwhile."`
	Follow          bool          `name:"follow" help:"Go on moving what is published there until interrupted."`
	Concurrency     int           `name:"concurrency" default:"4" placeholder:"N" help:"How many queues are moved at the same time. [4]"`
	Idle            time.Duration `name:"idle" default:"2s" placeholder:"DURATION" help:"A queue is done with when it has been empty for so long. [2s]"`
}

// Help says how it goes on when it is interrupted.
func (v *migrate) Help() string {
	return `Imports the definitions of a running RabbitMQ (password hashes go over as they are), then moves the messages of
its queues and copies its streams, through shovels in the broker. A message is deleted there when it is confirmed
here; order, exchange, routing key, properties and headers stay.

Run the same command again after anything went wrong: what was moved is not moved again. Messages that were under way
when something died may be there twice; how many at most is said at the end. A stream is copied on from where it was
read to, which the broker remembers four times a second. Users and virtual hosts are overwritten, except the user you are
logged in as; existing queues, exchanges and bindings stay. Queues that are exclusive, deleted automatically or of
MQTT sessions are not moved, nor are shovels and federation links.`
}

// migratedParameter is the global parameter that remembers how far streams were
// copied that have no shovel any more.
const migratedParameter = "leveret_migrated_streams"

// lookEvery is how often the shovels are looked at.
const lookEvery = 250 * time.Millisecond

// giveUpAfter is how long a shovel may be without a connection.
const giveUpAfter = 2 * time.Minute

// tellEvery is how often it is told how far things are where there is no bar.
const tellEvery = 10 * time.Second

// migration is one run of migrate.
type migration struct {
	*migrate
	t    *tool
	from *rabbit
	jobs []*job
	// streams is how far those were copied that have no shovel, by streamKey.
	streams map[string]int64
	granted []string // Virtual hosts that our user was let into, for now.
	told    time.Time
	bar     *progress
}

// job is one queue to be moved.
type job struct {
	*sourceQueue
	state jobState
	why   string // It was left, or waits.

	moved, repeats int64 // By the shovels of this run.
	seen           shovelRow
	changed        time.Time // When something moved last.
	broken         time.Time // Since when it has no connection; zero if it has one.
	end            int64     // The next offset behind the stream, when it was last asked.
}

type jobState int

const (
	waiting jobState = iota
	moving
	done
	left // With messages in it.
)

// shovelRow is what is read of a shovel's status.
type shovelRow struct {
	VHost       string `json:"vhost"`
	Name        string `json:"name"`
	State       string `json:"state"`
	Reason      string `json:"reason"`
	Transferred int64  `json:"transferred"`
	Redelivered int64  `json:"redelivered"`
	Pending     int64  `json:"pending"`
	Offset      *int64 `json:"src_offset"`
}

// shovelName is what the shovel of a queue is called.
func shovelName(queue string) string { return "migrate " + queue }

func (v *migrate) Run(t *tool) error {
	if v.To != "" {
		c, err := newClient(&Connection{URL: v.To, Timeout: int(t.http.Timeout / time.Second)})
		if err != nil {
			return err
		}
		c.origin = "--to"
		t.client = c
	}
	if v.Concurrency < 1 {
		return exitf(exitUsage, "--concurrency must be at least 1")
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	from, err := openRabbit(v.FromAMQP, v.FromAPI, t.http.Timeout)
	if err != nil {
		return err
	}
	defer from.close()
	m := &migration{migrate: v, t: t, from: from, streams: map[string]int64{}}
	defer m.revoke()
	return m.run(ctx)
}

func (m *migration) run(ctx context.Context) error {
	if err := m.from.look(); err != nil {
		return err
	}
	var here struct {
		Node string `json:"node"`
	}
	if err := m.t.get("/overview", &here); err != nil {
		return m.t.explain(err, exitUnavailable)
	}
	m.t.print.banner("Migrating from RabbitMQ %s (%s) to %s ...", m.from.version, m.from.cluster, m.t.where())
	vhosts, err := m.vhosts()
	if err != nil {
		return err
	}
	if err := m.definitions(vhosts); err != nil {
		return err
	}
	if m.DefinitionsOnly {
		return nil
	}
	if err := m.plan(vhosts); err != nil {
		return m.interrupted(err)
	}
	if m.DryRun {
		return m.listPlan()
	}
	if err := m.move(ctx); err != nil {
		return err
	}
	return m.result(ctx)
}

// vhosts are those to be taken over.
func (m *migration) vhosts() ([]string, error) {
	if len(m.VHosts) == 0 {
		return m.from.vhosts, nil
	}
	for _, v := range m.VHosts {
		if !slices.Contains(m.from.vhosts, v) {
			return nil, exitf(exitData, "there is no virtual host '%s' at %s; it has: %s", v, m.from.api.where(), strings.Join(m.from.vhosts, ", "))
		}
	}
	return m.VHosts, nil
}

// definitions takes over what is declared in vhosts.
func (m *migration) definitions(vhosts []string) error {
	var all map[string]json.RawMessage
	if err := m.from.api.get("/definitions", &all); err != nil {
		return m.from.explain(err)
	}
	keep := ""
	if m.t.user != "" {
		keep = m.t.user
	}
	file, notes, err := chooseDefinitions(all, vhosts, len(m.VHosts) > 0, keep)
	if err != nil {
		return exitf(exitUnavailable, "%s answers with definitions that cannot be read: %v", m.from.api.where(), err)
	}
	for _, n := range notes {
		m.note("%s", n)
	}
	var counts []string
	for _, kind := range []string{"vhosts", "users", "exchanges", "queues", "bindings", "policies"} {
		var list []json.RawMessage
		json.Unmarshal(file[kind], &list) // chooseDefinitions has read it.
		counts = append(counts, fmt.Sprintf("%d %s", len(list), kind))
	}
	if m.DryRun {
		m.t.print.line("Would import %s.", strings.Join(counts, ", "))
		return nil
	}
	var report struct {
		Skipped []string `json:"skipped"`
		Idle    []string `json:"without_effect"`
	}
	if err := m.t.call(http.MethodPost, "/definitions", file, &report); err != nil {
		return m.t.explain(err, exitData)
	}
	for _, what := range report.Skipped {
		m.note("Not imported: %s", what)
	}
	for _, what := range report.Idle {
		m.note("Without effect: %s", what)
	}
	m.t.print.line("Imported %s.", strings.Join(counts, ", "))
	return nil
}

// note says on standard error what the operator should know.
func (m *migration) note(format string, args ...any) { fmt.Fprintf(m.t.stderr, format+"\n", args...) }

// plan finds out which queues are to be moved.
func (m *migration) plan(vhosts []string) error {
	include, exclude, err := m.patterns()
	if err != nil {
		return err
	}
	queues, err := m.from.queues(vhosts)
	if err != nil {
		return err
	}
	if err := m.remembered(); err != nil {
		return err
	}
	shovels, err := m.shovels()
	if err != nil {
		return err
	}
	var passed []string
	for _, q := range queues {
		if include != nil && !include.MatchString(q.Name) || exclude != nil && exclude.MatchString(q.Name) {
			continue
		}
		if why := q.temporary(); why != "" {
			passed = append(passed, fmt.Sprintf("queue '%s' in vhost '%s': %s", q.Name, q.VHost, why))
			continue
		}
		j := &job{sourceQueue: q, changed: time.Now()}
		_, resumed := shovels[[2]string{q.VHost, shovelName(q.Name)}]
		if err := m.judge(j, resumed); err != nil {
			return err
		}
		m.jobs = append(m.jobs, j)
	}
	for _, p := range passed {
		m.note("Not moved: %s", p)
	}
	return nil
}

func (m *migration) patterns() (include, exclude *regexp.Regexp, err error) {
	compile := func(flag, expr string) *regexp.Regexp {
		if expr == "" || err != nil {
			return nil
		}
		re, e := regexp.Compile(expr)
		if e != nil {
			err = exitf(exitUsage, "%s: %v", flag, e)
		}
		return re
	}
	include, exclude = compile("--include", m.Include), compile("--exclude", m.Exclude)
	return include, exclude, err
}

// judge says whether j can be moved. resumed is that it has a shovel.
func (m *migration) judge(j *job, resumed bool) error {
	leave := func(format string, args ...any) { j.state, j.why = left, fmt.Sprintf(format, args...) }
	switch j.kind() {
	case "classic", "quorum", "stream":
	default:
		leave("queues of type %s cannot be moved", j.kind())
		return nil
	}
	if j.kind() != "stream" {
		if m.Keep {
			leave("--keep: its messages cannot be had without taking them")
			return nil
		}
		ready, consumers, err := m.from.inspect(j.VHost, j.Name)
		if err != nil {
			leave("%v", err)
			return nil
		}
		if resumed {
			consumers-- // The shovel's own.
		}
		j.Messages = max(j.Messages, ready)
		if consumers > 0 && !m.Consumers {
			leave("it has %d consumers there: stop them, or give --with-consumers", consumers)
			return nil
		}
		if ready == 0 && !resumed && !m.Follow {
			j.state = done // It is looked at again at the end.
			return nil
		}
	}
	var here struct {
		Messages int64  `json:"messages"`
		Type     string `json:"type"`
	}
	err := m.t.get(path("queues", j.VHost, j.Name), &here)
	switch {
	case statusOf(err) == http.StatusNotFound:
		if !m.DryRun {
			leave("there is no such queue here: see what was not imported")
		}
		return nil
	case err != nil:
		return m.t.explain(err, exitUnavailable)
	}
	if _, known := m.streams[m.streamKey(j)]; j.kind() == "stream" && here.Messages > 0 && !known && !resumed {
		leave("the stream holds %d messages here, and nothing says how far it was copied: delete it here, or --exclude it", here.Messages)
	}
	return nil
}

// listPlan is what --dry-run prints.
func (m *migration) listPlan() error {
	rows := [][]any{}
	for _, j := range m.jobs {
		act := "move"
		switch {
		case j.state == left:
			act = "leave: " + j.why
		case j.kind() == "stream":
			act = "copy"
		}
		rows = append(rows, []any{j.VHost, j.Name, j.kind(), j.Messages, act})
	}
	m.t.print.table([]string{"vhost", "name", "type", "messages", "what"}, rows)
	return nil
}

// remembered reads how far streams have been copied.
func (m *migration) remembered() error {
	var p struct {
		Value map[string]int64 `json:"value"`
	}
	err := m.t.get(path("global-parameters", migratedParameter), &p)
	if statusOf(err) == http.StatusNotFound {
		return nil
	} else if err != nil {
		return m.t.explain(err, exitUnavailable)
	}
	if p.Value != nil {
		m.streams = p.Value
	}
	return nil
}

func (m *migration) streamKey(j *job) string { return m.from.cluster + " " + j.VHost + " " + j.Name }

// remember notes how far a stream was copied.
func (m *migration) remember(j *job, next int64) error {
	m.streams[m.streamKey(j)] = next
	return m.t.explain(m.t.put(path("global-parameters", migratedParameter), map[string]any{"value": m.streams}), exitUnavailable)
}

// rememberSeen notes how far j, if it is a stream, was copied when it was looked
// at last.
func (m *migration) rememberSeen(j *job) error {
	if o := j.seen.Offset; o != nil && j.kind() == "stream" && m.streams[m.streamKey(j)] != *o {
		return m.remember(j, *o)
	}
	return nil
}

// shovels lists the broker's shovels by virtual host and name.
func (m *migration) shovels() (map[[2]string]shovelRow, error) {
	var rows []shovelRow
	if err := m.t.get("/shovels", &rows); err != nil {
		return nil, m.t.explain(err, exitUnavailable)
	}
	byName := make(map[[2]string]shovelRow, len(rows))
	for _, r := range rows {
		byName[[2]string{r.VHost, r.Name}] = r
	}
	return byName, nil
}

// grant lets the user whom we are logged in as into a virtual host, where it has
// no permissions: shovels act as it.
func (m *migration) grant(vhost string) error {
	if m.t.user == "" {
		return nil
	}
	there, err := m.t.exists(path("permissions", vhost, m.t.user))
	if err != nil || there {
		return err
	}
	m.note("User '%s' gets permissions in vhost '%s' as long as this takes.", m.t.user, vhost)
	m.granted = append(m.granted, vhost)
	return m.t.explain(m.t.put(path("permissions", vhost, m.t.user), map[string]string{"configure": ".*", "write": ".*", "read": ".*"}), exitUnavailable)
}

// revoke takes back what grant gave.
func (m *migration) revoke() {
	for _, vhost := range m.granted {
		if err := m.t.delete(path("permissions", vhost, m.t.user)); err != nil {
			m.note("The permissions of user '%s' in vhost '%s' are still there: %v", m.t.user, vhost, err)
		}
	}
}

// begin makes the shovel of j, or takes over the one that is left of a run that
// was interrupted.
func (m *migration) begin(j *job) error {
	if err := m.grant(j.VHost); err != nil {
		return err
	}
	uri := m.from.amqpFor(j.VHost)
	value := map[string]any{
		"src-protocol": "amqp091", "src-uri": uri, "src-queue": j.Name, "src-prefetch-count": j.prefetch(), "src-predeclared": true,
		"dest-protocol": "amqp091", "dest-uri": "amqp:///" + url.PathEscape(j.VHost), "dest-queue": j.Name, "dest-predeclared": true, "dest-keep-origin": true,
		"ack-mode": "on-confirm", "reconnect-delay": 1,
	}
	at := path("parameters", "shovel", j.VHost, shovelName(j.Name))
	var before struct {
		Value map[string]any `json:"value"`
	}
	if err := m.t.get(at, &before); err != nil && statusOf(err) != http.StatusNotFound {
		return m.t.explain(err, exitUnavailable)
	}
	// One that is there and the same is left alone: it knows best how far it is.
	attached := before.Value["src-uri"] == uri && before.Value["dest-keep-origin"] == true
	if j.kind() == "stream" {
		start := any("first")
		if next, ok := m.streams[m.streamKey(j)]; ok {
			start = next
		}
		if args, _ := before.Value["src-consumer-args"].(map[string]any); args["x-stream-offset"] != nil {
			start = args["x-stream-offset"]
		}
		value["src-consumer-args"], value["src-remember-offset"] = map[string]any{"x-stream-offset": start}, true
		end, err := m.from.streamEnd(j.VHost, j.Name)
		if err != nil {
			return err
		}
		j.end = end
	}
	if !attached {
		if err := m.t.put(at, map[string]any{"value": value}); err != nil {
			return m.t.explain(err, exitUnavailable)
		}
	}
	j.state, j.changed, j.seen = moving, time.Now(), shovelRow{}
	return nil
}

// finish deletes the shovel of j and waits until it has given back what it held.
func (m *migration) finish(j *job) error {
	// How far a stream was read is noted before its shovel goes, lest it be
	// forgotten, and after, when it moves no more.
	rows, err := m.shovels()
	if err != nil {
		return err
	}
	if r, there := rows[[2]string{j.VHost, shovelName(j.Name)}]; there {
		j.saw(r)
	}
	if err := m.rememberSeen(j); err != nil {
		return err
	}
	err = m.t.delete(path("parameters", "shovel", j.VHost, shovelName(j.Name)))
	if err != nil && statusOf(err) != http.StatusNotFound {
		return m.t.explain(err, exitUnavailable)
	}
	for began := time.Now(); ; {
		rows, err := m.shovels()
		if err != nil {
			return err
		}
		r, there := rows[[2]string{j.VHost, shovelName(j.Name)}]
		if !there {
			return m.rememberSeen(j)
		}
		j.saw(r)
		if time.Since(began) > time.Minute {
			return exitf(exitTimeout, "the shovel of queue '%s' in vhost '%s' does not end", j.Name, j.VHost)
		}
		time.Sleep(retryEvery)
	}
}

// saw adds to j what its shovel has done since it was last seen. A shovel that
// began anew counts from 0.
func (j *job) saw(r shovelRow) {
	moved, repeats := r.Transferred-j.seen.Transferred, r.Redelivered-j.seen.Redelivered
	if moved < 0 || repeats < 0 {
		moved, repeats = r.Transferred, r.Redelivered
	}
	j.moved += moved
	j.repeats += repeats
	if moved > 0 || r.Pending != j.seen.Pending {
		j.changed = time.Now()
	}
	j.seen = r
	switch {
	case r.State == "running":
		j.broken, j.why = time.Time{}, ""
	case j.broken.IsZero() && r.State == "terminated":
		j.broken = time.Now()
	}
	if r.Reason != "" {
		j.why = r.Reason
	}
}

// move moves all that is to be moved.
func (m *migration) move(ctx context.Context) error {
	m.bar = m.t.progress("Moving")
	defer m.bar.end()
	m.told = time.Now()
	for again := false; ; {
		open := 0
		rows, err := m.shovels()
		if err != nil {
			return m.interrupted(err)
		}
		for _, j := range m.jobs {
			if j.state != moving {
				continue
			}
			if r, there := rows[[2]string{j.VHost, shovelName(j.Name)}]; there {
				j.saw(r)
			}
			if err := m.step(ctx, j); err != nil {
				return m.interrupted(err)
			}
			if j.state == moving {
				open++
			}
		}
		for _, j := range m.jobs {
			if ctx.Err() != nil || !m.Follow && open >= m.Concurrency {
				break
			}
			if j.state == waiting {
				if err := m.begin(j); err != nil {
					return m.interrupted(err)
				}
				open++
			}
		}
		m.tell()
		if open == 0 && (again || ctx.Err() != nil) {
			return nil
		}
		if open == 0 { // Something may have come into queues that were done with first.
			again = true
			if err := m.recheck(); err != nil {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
			if err := m.stop(); err != nil {
				return err
			}
		case <-time.After(lookEvery):
		}
	}
}

// interrupted says how to go on after err.
func (m *migration) interrupted(err error) error {
	e, ok := err.(*exitError)
	if !ok {
		return err
	}
	return exitf(e.code, "%s\n\nThe broker goes on by itself where it can. Run the same command again to see it through: nothing is lost.", e.text)
}

// stop ends the shovels.
func (m *migration) stop() error {
	for _, j := range m.jobs {
		if j.state == moving {
			if err := m.finish(j); err != nil {
				return err
			}
			j.state, j.why = left, "interrupted"
		}
	}
	return nil
}

// step looks whether j is done with.
func (m *migration) step(ctx context.Context, j *job) error {
	if !j.broken.IsZero() {
		if !hopeless(j.why) && time.Since(j.broken) < giveUpAfter {
			return nil
		}
		why := j.why
		if err := m.finish(j); err != nil {
			return err
		}
		j.state, j.why = left, why
		return nil
	}
	if m.Follow || ctx.Err() != nil || j.seen.State != "running" || j.seen.Pending > 0 || time.Since(j.changed) < m.Idle {
		return nil
	}
	if j.kind() == "stream" {
		return m.stepStream(j)
	}
	ready, _, err := m.from.inspect(j.VHost, j.Name)
	if err != nil || ready > 0 {
		return err
	}
	if err := m.finish(j); err != nil {
		return err
	}
	// What was on its way to the shovel when it ended is back now.
	if ready, _, err = m.from.inspect(j.VHost, j.Name); err != nil {
		return err
	}
	if ready > 0 {
		return m.begin(j)
	}
	m.done(j)
	return nil
}

func (m *migration) stepStream(j *job) error {
	next := int64(0)
	if j.seen.Offset != nil {
		next = *j.seen.Offset
	} else if n, ok := m.streams[m.streamKey(j)]; ok {
		next = n
	}
	if next < j.end {
		return nil
	}
	end, err := m.from.streamEnd(j.VHost, j.Name)
	if err != nil {
		return err
	}
	if end > j.end {
		j.end = end
		return nil
	}
	if err := m.finish(j); err != nil {
		return err
	}
	m.done(j)
	return m.countTwice(j)
}

// countTwice counts what a stream holds twice: that is what there is more of here
// than there.
func (m *migration) countTwice(j *job) error {
	var here, there struct {
		Messages int64 `json:"messages"`
	}
	if err := m.t.get(path("queues", j.VHost, j.Name), &here); err != nil {
		return m.t.explain(err, exitUnavailable)
	}
	if err := m.from.api.get(path("queues", j.VHost, j.Name), &there); err != nil {
		return m.from.explain(err)
	}
	j.repeats = max(0, here.Messages-there.Messages)
	return nil
}

func (m *migration) done(j *job) {
	j.state = done
	what := "queue"
	if j.kind() == "stream" {
		what = "stream"
	}
	m.bar.end()
	if j.moved > 0 {
		m.t.print.line("%s '%s' in vhost '%s': %d messages", what, j.Name, j.VHost, j.moved)
	}
}

// recheck opens queues again that have got messages since they were done with.
func (m *migration) recheck() error {
	for _, j := range m.jobs {
		if j.state != done || j.kind() == "stream" {
			continue
		}
		ready, _, err := m.from.inspect(j.VHost, j.Name)
		if err != nil {
			return err
		}
		if ready > 0 {
			j.state = waiting
		}
	}
	return nil
}

// since tells of what has been published there while we were at the end.
func (m *migration) since() error {
	var total int64
	for _, j := range m.jobs {
		if j.state != done || j.kind() == "stream" {
			continue
		}
		ready, _, err := m.from.inspect(j.VHost, j.Name)
		if err != nil {
			return err
		}
		total += ready
	}
	if total > 0 {
		m.note("%d messages have come into queues there meanwhile: stop the publishers, then run the same command again.", total)
	}
	return nil
}

// hopeless reports whether a shovel's error will not go away by itself.
func hopeless(reason string) bool {
	for _, sign := range []string{"ACCESS_REFUSED", "access refused", "NOT_FOUND", "refuses the user", "refuses the virtual host", "unroutable", "PRECONDITION_FAILED", "RESOURCE_LOCKED"} {
		if strings.Contains(reason, sign) {
			return true
		}
	}
	return false
}

// totals adds up the jobs.
func (m *migration) totals() (moved, repeats, total int64) {
	for _, j := range m.jobs {
		moved += j.moved
		repeats += j.repeats
		if j.state != left {
			total += max(j.Messages, j.moved)
		}
	}
	return moved, repeats, total
}

// tell shows how far it is.
func (m *migration) tell() {
	moved, _, total := m.totals()
	m.bar.show(moved, max(total, 1))
	if m.bar.w != nil || time.Since(m.told) < tellEvery {
		return
	}
	m.told = time.Now()
	m.t.print.banner("%d of %d messages", moved, total)
	for _, j := range m.jobs {
		if !j.broken.IsZero() {
			m.note("queue '%s' in vhost '%s' waits: %s", j.Name, j.VHost, j.why)
		}
	}
}

// result says what was done, and what was not.
func (m *migration) result(ctx context.Context) error {
	moved, repeats, _ := m.totals()
	m.bar.end()
	m.t.print.line("Moved %d messages; at most %d of them are here twice.", moved, repeats)
	if ctx.Err() == nil {
		if err := m.since(); err != nil {
			return err
		}
	}
	var leftover []string
	for _, j := range m.jobs {
		if j.state == left && (j.Messages > 0 || j.why == "interrupted") {
			leftover = append(leftover, fmt.Sprintf("queue '%s' in vhost '%s': %s", j.Name, j.VHost, j.why))
		}
	}
	if ctx.Err() != nil {
		return exitf(exitUnavailable, "Interrupted. Run the same command again to go on.")
	}
	if len(leftover) > 0 {
		return exitf(exitUnavailable, "Messages were left behind:\n%s", strings.Join(leftover, "\n"))
	}
	return nil
}
