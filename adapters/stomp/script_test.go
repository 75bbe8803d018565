package stomp

import (
	"bufio"
	"flag"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-stomp/stomp/v3/frame"

	"leveret/adapters/stomp/wire"
	"leveret/core"
	"leveret/core/auth"
)

var update = flag.Bool("update", false, "rewrite what the scripts in testdata expect")

// TestScripts runs the scripts in testdata: commands, a line of dashes, and
// what comes of them. A frame is written on one line:
//
//	a connect 1.2                     client a logs in (web-connect over WebSocket)
//	a SEND destination:/queue/q "k:v w" | body
//	a raw "SEND\n..."                 bytes as they are
//	a drop                            the socket is closed
//
// and so it is shown, "a <- MESSAGE ...", with S in place of the session and R
// in place of random names. After each command it is waited for what every
// client has asked for; what it got comes in order, receipts last. The broker is seen
// through "queue NAME", "get QUEUE", "publish EXCHANGE KEY k=v | body",
// "declare QUEUE", "delete QUEUE", "exchange NAME TYPE", "unbind", "user".
func TestScripts(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txt")
	if len(files) == 0 {
		t.Fatal("no scripts")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			runScript(t, file)
		})
	}
}

type scriptEnv struct {
	t       *testing.T
	s       *testServer
	clients map[string]*scriptClient
	out     []string
}

type scriptClient struct {
	*client
	session string
	wants   map[string]bool // Receipts.
	later   []string        // Receipts that come after a COMMIT.
	closed  bool
	spoke   bool // Has sent something.
	syncs   int
}

func runScript(t *testing.T, file string) {
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	e := &scriptEnv{t: t, clients: map[string]*scriptClient{}}
	e.s = newTestServer(t, func(o *Options) {
		o.AckAcross = strings.Contains(string(b), "# option: ack-across\n")
		o.ImplicitConnect = strings.Contains(string(b), "# option: implicit-connect\n")
		o.NackDiscards = strings.Contains(string(b), "# option: nack-discards\n")
	})
	var rewritten strings.Builder
	var commands, want []string
	expecting, ok := false, true
	flush := func() {
		if commands == nil {
			return
		}
		got := e.block(commands)
		if !slices.Equal(got, want) && !*update {
			ok = false
			t.Errorf("%s:\n\t%s\ngot:\n\t%s\nwant:\n\t%s", file, strings.Join(commands, "\n\t"), strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
		}
		rewritten.WriteString(strings.Join(commands, "\n") + "\n----\n")
		for _, l := range got {
			rewritten.WriteString(l + "\n")
		}
		rewritten.WriteString("\n")
		commands, want, expecting = nil, nil, false
	}
	lines := bufio.NewScanner(strings.NewReader(string(b)))
	for lines.Scan() && ok {
		switch l := lines.Text(); {
		case l == "----":
			expecting = true
		case l == "":
			flush()
		case expecting:
			want = append(want, l)
		case strings.HasPrefix(l, "#") && commands == nil:
			rewritten.WriteString(l + "\n")
		default:
			commands = append(commands, l)
		}
	}
	if ok {
		flush()
	}
	if *update {
		if err := os.WriteFile(file, []byte(strings.TrimRight(rewritten.String(), "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// block runs commands and returns what came of them.
func (e *scriptEnv) block(commands []string) []string {
	e.out = nil
	for _, c := range commands {
		e.command(c)
	}
	e.collectAll()
	e.collectAll() // What one asked for may have reached another after its turn.
	for name, c := range e.clients {
		if c.closed {
			delete(e.clients, name)
		}
	}
	return e.out
}

// collectAll reads what the clients have coming, by their names.
func (e *scriptEnv) collectAll() {
	names := slices.Sorted(maps.Keys(e.clients))
	for _, name := range names {
		e.collect(name)
	}
}

// tokens splits at blanks; a token in quotes may hold some.
func tokens(t *testing.T, s string) []string {
	var out []string
	for s = strings.TrimLeft(s, " "); s != ""; s = strings.TrimLeft(s, " ") {
		if s[0] == '"' {
			q, err := strconv.QuotedPrefix(s)
			if err != nil {
				t.Fatalf("%q: %v", s, err)
			}
			u, _ := strconv.Unquote(q)
			out, s = append(out, u), s[len(q):]
			continue
		}
		one, rest, _ := strings.Cut(s, " ")
		out, s = append(out, one), rest
	}
	return out
}

func (e *scriptEnv) command(line string) {
	head, body, _ := strings.Cut(line, " | ")
	w := tokens(e.t, head)
	if strings.HasPrefix(body, `"`) {
		body, _ = strconv.Unquote(body)
	}
	if e.brokerCommand(w, body) {
		return
	}
	name, w := w[0], w[1:]
	c := e.clients[name]
	if c == nil && !strings.HasSuffix(w[0], "connect") {
		e.say("%s is not connected", name)
		return
	}
	switch w[0] {
	case "connect", "web-connect":
		dial := e.s.dial
		if w[0] == "web-connect" {
			dial = e.s.dialWeb
		}
		c = &scriptClient{client: dial(e.t), wants: map[string]bool{}}
		e.clients[name] = c
		if len(w) > 1 {
			c.frames("CONNECT\naccept-version:" + w[1] + "\nlogin:guest\npasscode:guest\nhost:/")
			c.session = c.expect("CONNECTED", "version", w[1]).Header.Get("session")
		}
	case "raw":
		c.send(w[1])
	case "drop":
		c.nc.Close()
		delete(e.clients, name)
		e.waitSessions(len(e.clients))
	default:
		var b strings.Builder
		b.WriteString(w[0] + "\n")
		for _, h := range w[1:] {
			h = strings.ReplaceAll(h, "@@S@@", "@@"+c.session+"@@")
			b.WriteString(h + "\n")
			if id, ok := strings.CutPrefix(h, "receipt:"); ok {
				id, _ = wire.Unescape([]byte(id), wire.V12) // As the reader returns it.
				if w[0] == "SEND" && strings.Contains(line, " transaction:") {
					c.later = append(c.later, id)
				} else {
					c.wants[id] = true
				}
			}
			if w[0] == "COMMIT" {
				for _, id := range c.later {
					c.wants[id] = true
				}
				c.later = nil
			}
		}
		if strings.Contains(body, "\x00") && !strings.Contains(b.String(), "content-length:") {
			fmt.Fprintf(&b, "content-length:%d\n", len(body))
		}
		c.send(b.String() + "\n" + body + "\x00")
	}
	c.spoke = c.spoke || !strings.HasSuffix(w[0], "connect")
	if w[0] != "drop" && (c.session != "" || !strings.HasSuffix(w[0], "connect")) {
		e.collect(name) // One thing after the other, however reads are cut.
		e.collectAll()
	}
}

// waitSessions waits until the broker has noticed that clients have gone.
func (e *scriptEnv) waitSessions(n int) {
	late := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for e.s.broker.SessionCount() > n {
		select {
		case <-tick.C:
		case <-late:
			e.t.Fatal("the session of a client that has gone is still there")
		}
	}
}

var randoms = regexp.MustCompile(`stomp\.gen-[\w-]{22}|session-[\w-]{22}|stomp-subscription-[\w-]{22}`)

// collect reads all that a client has coming.
func (e *scriptEnv) collect(name string) {
	c := e.clients[name]
	if c.closed || c.session == "" && !c.spoke {
		return
	}
	var got, receipts []string
	for round := 0; round < 2 || len(c.wants) > 0; round++ {
		if c.session == "" && len(got) > 0 {
			break
		}
		sync := fmt.Sprintf("sync-%d", c.syncs)
		c.syncs++
		if c.session != "" {
			// A transaction nobody else has; the receipt is the point.
			fmt.Fprintf(c.nc, "BEGIN\ntransaction:%s\n\n\x00ABORT\ntransaction:%s\nreceipt:%s\n\n\x00", sync, sync, sync)
		}
		for done := false; !done; {
			f, err := c.next()
			if err != nil {
				if t, ok := err.(net.Error); ok && t.Timeout() {
					e.t.Fatalf("%s waits in vain, for %v", name, c.wants)
				}
				c.closed = true
				got = append(got, name+" closed")
				break
			}
			id := f.Header.Get("receipt-id")
			delete(c.wants, id)
			c.later = slices.DeleteFunc(c.later, func(l string) bool { return l == id })
			switch {
			case f.Command == "RECEIPT" && id == sync:
				done = true
			case f.Command == "RECEIPT" && strings.HasPrefix(id, "sync-"):
			case f.Command == "RECEIPT":
				receipts = append(receipts, name+" <- "+showLine(f, c.session))
			default:
				if f.Command == "CONNECTED" {
					c.session = f.Header.Get("session")
					done = true
				}
				got = append(got, name+" <- "+showLine(f, c.session))
			}
		}
		if c.closed {
			break
		}
	}
	sort.Strings(receipts)
	if n := len(got); n > 0 && c.closed {
		e.out = append(append(append(e.out, got[:n-1]...), receipts...), got[n-1])
		return
	}
	e.out = append(append(e.out, got...), receipts...)
}

func showLine(f *frame.Frame, session string) string {
	var b strings.Builder
	b.WriteString(f.Command)
	for i := range f.Header.Len() {
		k, v := f.Header.GetAt(i)
		if f.Command == "ERROR" && (k == "content-type" || k == "version" || k == "content-length") {
			continue // The same in all.
		}
		h := k + ":" + v
		if session != "" {
			h = strings.ReplaceAll(h, session, "S")
		}
		if !(k == "subscription" || k == "x-queue-name") {
			h = randoms.ReplaceAllString(h, "R")
		}
		if strings.ContainsAny(h, " \n\r\t\"\\") {
			h = strconv.Quote(h)
		}
		b.WriteString(" " + h)
	}
	if len(f.Body) > 0 {
		body := string(f.Body)
		if session != "" {
			body = strings.ReplaceAll(body, session, "S")
		}
		if strings.ContainsAny(body, "\n\r\x00\"") {
			body = strconv.Quote(body)
		}
		b.WriteString(" | " + body)
	}
	return b.String()
}

func (e *scriptEnv) say(format string, args ...any) {
	e.out = append(e.out, fmt.Sprintf(format, args...))
}

// session opens a session of the administrator.
func (e *scriptEnv) session() *core.Session {
	u, err := e.s.broker.Login(e.t.Context(), core.Credentials{User: "guest", Password: "guest", Loopback: true})
	if err != nil {
		e.t.Fatal(err)
	}
	s, err := e.s.broker.OpenSession(core.SessionOptions{VHost: "/", Principal: u, Loopback: true, Internal: true})
	if err != nil {
		e.t.Fatal(err)
	}
	return s
}

type ignore struct{}

func (ignore) Completed(_, _ uint64, _ core.Kind) {}

var brokerCommands = []string{"queue", "get", "publish", "declare", "delete", "exchange", "user", "queues"}

// brokerCommand runs what is not a client's.
func (e *scriptEnv) brokerCommand(w []string, body string) bool {
	check := func(err error) {
		if err != nil {
			e.say("%v", err)
		}
	}
	if !slices.Contains(brokerCommands, w[0]) {
		return false
	}
	e.collectAll() // What clients sent before comes first.
	switch w[0] {
	case "queue":
		e.showQueue(w[1])
	case "queues":
		v, _ := e.s.broker.VHost("/")
		var names []string
		for q := range v.Queues() {
			names = append(names, randoms.ReplaceAllString(q.Options().Name, "R"))
		}
		sort.Strings(names)
		e.say("queues %s", strings.Join(names, " "))
	case "declare":
		s := e.session()
		defer s.Close()
		_, err := s.DeclareQueue(core.QueueDeclare{Name: w[1], Durable: true})
		check(err)
	case "delete":
		s := e.session()
		defer s.Close()
		_, err := s.DeleteQueue(w[1], false, false)
		check(err)
	case "exchange":
		s := e.session()
		defer s.Close()
		check(s.DeclareExchange(core.ExchangeDeclare{Name: w[1], Type: w[2], Internal: len(w) > 3}))
	case "user":
		hash, err := auth.HashPassword(w[2], "")
		check(err)
		check(e.s.broker.PutUser(auth.User{Name: w[1], PasswordHash: hash}))
		if len(w) > 3 {
			check(e.s.broker.SetPermission(w[1], "/", auth.Permission{Configure: w[3], Write: w[4], Read: w[5]}))
		}
	case "publish":
		e.publish(w[1], w[2], w[3:], body)
	case "get":
		e.get(w[1])
	}
	return true
}

func (e *scriptEnv) showQueue(name string) {
	v, _ := e.s.broker.VHost("/")
	q, ok := v.Queue(name)
	if !ok {
		e.say("no queue %s", name)
		return
	}
	i := q.Info()
	o := i.Options
	line := "queue " + name
	for _, f := range []struct {
		is   bool
		name string
	}{{o.Durable, "durable"}, {o.Exclusive, "exclusive"}, {o.AutoDelete, "auto-delete"}} {
		if f.is {
			line += " " + f.name
		}
	}
	line += fmt.Sprintf(" ready=%d unacked=%d consumers=%d", i.Ready, i.Unacked, i.Consumers)
	for _, a := range o.Arguments {
		line += fmt.Sprintf(" %s=%v", a.Name, a.Value)
	}
	e.say("%s", line)
}

// publish publishes as an AMQP client does, with properties in its form.
func (e *scriptEnv) publish(exchange, key string, props []string, body string) {
	p := &core.Properties{}
	for _, kv := range props {
		k, v, _ := strings.Cut(kv, "=")
		switch k {
		case "content-type":
			p.ContentType, p.ContentTypeSet = v, true
		case "delivery-mode":
			p.DeliveryMode = v[0] - '0'
		case "reply-to":
			p.ReplyTo = &v
		case "message-id":
			p.MessageID = &v
		case "correlation-id":
			p.CorrelationID = &v
		case "priority":
			n := v[0] - '0'
			p.Priority = &n
		default:
			kind, name, _ := strings.Cut(k, "/")
			var value any = v
			switch kind {
			case "int":
				n, _ := strconv.ParseInt(v, 10, 64)
				value = n
			case "bool":
				value = v == "true"
			case "list":
				value = []any{v}
			case "null":
				value = nil
			default:
				name = k
			}
			p.Headers, p.HeadersSet = append(p.Headers, core.Field{Name: name, Value: value}), true
		}
	}
	s := e.session()
	defer s.Close()
	pub := s.NewPublisher(ignore{})
	if exchange == "default" {
		exchange = ""
	}
	target, err := pub.Target(exchange)
	if err != nil {
		e.say("%v", err)
		return
	}
	ms := make([]core.Publication, 1)
	m := &ms[0]
	m.Reset()
	m.RoutingKey, m.Body = key, []byte(body)
	m.SetProperties(p)
	m.Form, m.Encoded = m.Stored(nil)
	m.Persistent = p.DeliveryMode == 2
	if _, err := pub.Route(target, m); err != nil {
		e.say("%v", err)
		return
	}
	var t core.Touched
	pub.Publish(ms, &t)
	t.Flush()
}

// get shows the first message of a queue as an AMQP client sees it.
func (e *scriptEnv) get(queue string) {
	s := e.session()
	defer s.Close()
	found, err := s.Get(queue, true, func(_ *core.Holder, d *core.Delivery, remaining int) {
		m := d.Message
		line := fmt.Sprintf("got exchange=%s key=%s", m.Exchange, m.RoutingKey)
		var again core.Message
		again.Form, again.Encoded = core.FormAMQP091, m.EncodedAs(core.FormAMQP091, nil)
		p := again.Properties()
		add := func(name string, s *string) {
			if s != nil {
				line += " " + name + "=" + randoms.ReplaceAllString(*s, "R")
			}
		}
		if p.ContentTypeSet {
			add("content-type", &p.ContentType)
		}
		if p.ContentEncodingSet {
			add("content-encoding", &p.ContentEncoding)
		}
		if p.DeliveryMode != 0 {
			line += fmt.Sprintf(" delivery-mode=%d", p.DeliveryMode)
		}
		if p.Priority != nil {
			line += fmt.Sprintf(" priority=%d", *p.Priority)
		}
		add("correlation-id", p.CorrelationID)
		add("reply-to", p.ReplyTo)
		add("expiration", p.Expiration)
		add("message-id", p.MessageID)
		if p.Timestamp != nil {
			line += fmt.Sprintf(" timestamp=%d", *p.Timestamp)
		}
		add("type", p.Type)
		add("user-id", p.UserID)
		add("app-id", p.AppID)
		for _, f := range p.Headers {
			line += fmt.Sprintf(" headers[%s]=%q", f.Name, f.Value)
		}
		if d.Redelivered {
			line += " redelivered"
		}
		e.say("%s | %s", line, m.Body)
	})
	if err != nil {
		e.say("%v", err)
	} else if !found {
		e.say("%s is empty", queue)
	}
}
