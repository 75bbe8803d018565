//go:build clients

package clients

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/go-stomp/stomp/v3/frame"
	amqp "github.com/rabbitmq/amqp091-go"
)

// lack is the right that a user does not have, on what.
type lack int

const (
	configureQ     lack = iota // Of the queue that the row is about.
	writeQ                     //
	readQ                      //
	configureX                 // Of the exchange that it is about.
	writeX                     //
	readX                      //
	writeDefault               // Of the default exchange.
	writeTopicX                // Of amq.topic.
	readTopicX                 //
	topicWrite                 // Of the routing key, on topic exchanges.
	topicRead                  //
	allThree                   // Configure, write and read, of either.
	vhostAccess                // A permission entry in the virtual host.
	impersonate                // The tag impersonator.
	nothingMissing             // The control.
)

func (l lack) String() string {
	return [...]string{
		"configure queue", "write queue", "read queue", "configure exchange", "write exchange", "read exchange", "write default exchange",
		"write amq.topic", "read amq.topic", "topic write", "topic read", "configure, write and read", "virtual host", "tag impersonator", "nothing",
	}[l]
}

// What is not about the object in question is allowed by these patterns.
const (
	butQueue   = `^(mine-|amq\.|.*-x$)`
	butX       = `^(mine-|amq\.|.*-q$)`
	butDefault = `^(mine-|there-|gone-|amq\.topic)`
	butTopicX  = `^(mine-|there-|gone-|amq\.default|mqtt-|stomp-)`
)

// rights are the configure, write and read patterns of a user that lacks l.
func (l lack) rights() [3]string {
	r := [3]string{".*", ".*", ".*"}
	switch l {
	case configureQ, writeQ, readQ:
		r[l-configureQ] = butQueue
	case configureX, writeX, readX:
		r[l-configureX] = butX
	case writeDefault:
		r[1] = butDefault
	case writeTopicX:
		r[1] = butTopicX
	case readTopicX:
		r[2] = butTopicX
	case allThree:
		return [3]string{"^mine-", "^mine-", "^mine-"}
	}
	return r
}

// refusal is a row of a table: who does op without the right is told want, the
// same whether what it is about is there or not, and changes nothing. Who has
// the right is told nothing bad.
//
// In want NAME is the object's name, 'V' the virtual host, 'U' the user.
type refusal struct {
	op    string
	lacks lack
	do    func(v *visitor, name string) (told string)
	want  string
	// there: without the right the object cannot but exist (amq.topic), or the
	// right is not about it.
	there bool
}

// visitor is the user whose rights are tried.
type visitor struct {
	t           *testing.T
	vhost, user string
	amqpURL     string
	tags        string
	sessions    int // Client ids of MQTT used up.
}

const visitorPassword = "visitor-secret"

func newVisitor(t *testing.T) *visitor {
	t.Helper()
	u, err := url.Parse(newVhost(t))
	if err != nil {
		t.Fatal(err)
	}
	v := &visitor{t: t, vhost: path.Base(u.Path)}
	v.user = "visitor-" + v.vhost
	u.User = url.UserPassword(v.user, visitorPassword)
	v.amqpURL = u.String()
	v.tag("")
	t.Cleanup(func() { api(t, "DELETE", "/api/users/"+url.PathEscape(v.user), "", 204) })
	return v
}

func (v *visitor) tag(tags string) {
	v.t.Helper()
	v.tags = tags
	api(v.t, "PUT", "/api/users/"+url.PathEscape(v.user), fmt.Sprintf(`{"password":%q,"tags":%q}`, visitorPassword, tags), 201, 204)
}

// grant gives v all rights but l.
func (v *visitor) grant(l lack) {
	v.t.Helper()
	at := "/" + url.PathEscape(v.vhost) + "/" + url.PathEscape(v.user)
	if l == vhostAccess {
		api(v.t, "DELETE", "/api/permissions"+at, "", 204, 404)
		return
	}
	r := l.rights()
	b, _ := json.Marshal(map[string]string{"configure": r[0], "write": r[1], "read": r[2]})
	api(v.t, "PUT", "/api/permissions"+at, string(b), 201, 204)
	topic := map[string]string{"write": ".*", "read": ".*"}
	switch l {
	case topicWrite:
		topic["write"] = "^allowed"
	case topicRead:
		topic["read"] = "^allowed"
	}
	for _, x := range []string{"amq.topic", "there-x", "mine-x"} {
		topic["exchange"] = x
		b, _ := json.Marshal(topic)
		api(v.t, "PUT", "/api/topic-permissions"+at, string(b), 201, 204)
	}
	if l == impersonate {
		v.tag("")
	} else if l == nothingMissing {
		v.tag("impersonator")
	}
}

// restore makes the virtual host what every row begins with: of each kind what
// is there and what the user calls its own.
func (v *visitor) restore(admin *amqp.Connection) {
	v.t.Helper()
	in := "/" + url.PathEscape(v.vhost)
	var have []struct{ Name string }
	for _, kind := range []string{"queues", "exchanges"} {
		if err := json.Unmarshal([]byte(api(v.t, "GET", "/api/"+kind+in+"?columns=name", "", 200)), &have); err != nil {
			v.t.Fatal(err)
		}
		for _, o := range have {
			if o.Name != "" && !strings.HasPrefix(o.Name, "amq.") {
				api(v.t, "DELETE", "/api/"+kind+in+"/"+url.PathEscape(o.Name), "", 204, 404)
			}
		}
	}
	ch, err := admin.Channel()
	if err != nil {
		v.t.Fatal(err)
	}
	defer ch.Close()
	for _, name := range []string{"there", "mine"} {
		_, err := ch.QueueDeclare(name+"-q", true, false, false, false, nil)
		err = errors.Join(err, ch.ExchangeDeclare(name+"-x", "topic", true, false, false, false, nil),
			ch.QueueBind(name+"-q", "key", name+"-x", false, nil), ch.Confirm(false))
		if err != nil {
			v.t.Fatal(err)
		}
		publish(v.t, ch, name+"-q", "a message")
	}
	for _, pair := range [][2]string{{"mine-q", "there-x"}, {"there-q", "mine-x"}} {
		if err := ch.QueueBind(pair[0], "key", pair[1], false, nil); err != nil {
			v.t.Fatal(err)
		}
	}
	for _, pair := range [][2]string{{"mine-x", "there-x"}, {"there-x", "mine-x"}} {
		if err := ch.ExchangeBind(pair[0], "xkey", pair[1], false, nil); err != nil {
			v.t.Fatal(err)
		}
	}
}

// state is all that the virtual host holds.
func (v *visitor) state() string {
	v.t.Helper()
	in := "/" + url.PathEscape(v.vhost)
	var all []string
	for _, part := range []string{"/api/bindings" + in, "/api/exchanges" + in + "?columns=name,type,durable", "/api/policies" + in,
		"/api/queues" + in + "?columns=name,durable,messages,messages_ready,messages_unacknowledged,consumers,arguments"} {
		all = append(all, api(v.t, "GET", part, "", 200))
	}
	return strings.ReplaceAll(strings.Join(all, "\n"), "},", "},\n")
}

// differences are the lines of one state that the other lacks.
func differences(before, after string) []string {
	var out []string
	for line := range strings.Lines(after) {
		if !strings.Contains(before, line) {
			out = append(out, "+ "+strings.TrimSpace(line))
		}
	}
	for line := range strings.Lines(before) {
		if !strings.Contains(after, line) {
			out = append(out, "- "+strings.TrimSpace(line))
		}
	}
	return out
}

// run holds the broker against a table of rows.
func (v *visitor) run(rows []refusal) {
	t := v.t
	adminURL, err := url.Parse(v.amqpURL)
	if err != nil {
		t.Fatal(err)
	}
	adminURL.User = broker.amqp.User
	admin, err := amqp.Dial(adminURL.String())
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	for _, r := range rows {
		t.Run(strings.ReplaceAll(r.op+" without "+r.lacks.String(), " ", "_"), func(t *testing.T) {
			outer := v.t
			v.t = t
			defer func() { v.t = outer }()
			v.restore(admin)
			v.grant(r.lacks)
			before := v.state()
			names := []string{"there", "gone"}
			if r.there {
				names = names[:1]
			}
			for _, name := range names {
				want := strings.NewReplacer("NAME", name, "'V'", "'"+v.vhost+"'", "'U'", "'"+v.user+"'").Replace(r.want)
				if told := r.do(v, name); told != want {
					t.Errorf("%s: told %q\nwant %q", name, told, want)
				}
			}
			// Consumers that were never there cannot go late, so that one look does.
			if after := v.state(); after != before {
				t.Errorf("it has changed:\n%s", strings.Join(differences(before, after), "\n"))
			}
			v.grant(nothingMissing)
			if told := r.do(v, "there"); told != "" {
				t.Errorf("with the right: told %q", told)
			}
		})
	}
}

// onChannel is a row's action over AMQP.
func onChannel(f func(ch *amqp.Channel, name string) error) func(*visitor, string) string {
	return func(v *visitor, name string) string {
		c, err := amqp.Dial(v.amqpURL)
		if err != nil {
			return err.Error()
		}
		defer c.Close()
		ch, err := c.Channel()
		if err != nil {
			return err.Error()
		}
		err = f(ch, name)
		var e *amqp.Error
		if errors.As(err, &e) {
			return fmt.Sprintf("%d %s", e.Code, e.Reason)
		} else if err != nil {
			return err.Error()
		}
		return ""
	}
}

// published publishes and waits for what comes of it.
func published(exchange func(name string) string, key string, p amqp.Publishing) func(*visitor, string) string {
	return onChannel(func(ch *amqp.Channel, name string) error {
		closed := ch.NotifyClose(make(chan *amqp.Error, 1))
		if err := ch.Confirm(false); err != nil {
			return err
		}
		confirm, err := ch.PublishWithDeferredConfirm(exchange(name), strings.ReplaceAll(key, "NAME", name), false, false, p)
		if err != nil {
			return err
		}
		select {
		case <-confirm.Done():
			return nil
		case err := <-closed:
			if err == nil {
				return errors.New("closed")
			}
			return err
		case <-time.After(patience):
			return errors.New("nothing comes of it")
		}
	})
}

func TestMissingRightsAMQP(t *testing.T) {
	t.Parallel()
	const (
		noQ  = " access to queue 'NAME-q' in vhost 'V' refused for user 'U'"
		noX  = " access to exchange 'NAME-x' in vhost 'V' refused for user 'U'"
		no   = "403 ACCESS_REFUSED - "
		noTo = " access to topic 'key' in exchange 'there-x' in vhost 'V' refused for user 'U'"
	)
	x := func(name string) string { return name + "-x" }
	defaultX := func(string) string { return "" }
	queueDeclare := func(args amqp.Table) func(*visitor, string) string {
		return onChannel(func(ch *amqp.Channel, name string) error {
			a := amqp.Table{}
			for k, v := range args {
				a[k] = strings.ReplaceAll(v.(string), "NAME", name)
			}
			_, err := ch.QueueDeclare("mine-new", true, false, false, false, a)
			if err == nil {
				_, err = ch.QueueDelete("mine-new", false, false, false)
			}
			return err
		})
	}
	v := newVisitor(t)
	v.run([]refusal{
		{"queue.declare", configureQ, onChannel(func(ch *amqp.Channel, name string) error {
			_, err := ch.QueueDeclare(name+"-q", true, false, false, false, nil)
			return err
		}), no + "configure" + noQ, false},
		{"queue.declare passive", allThree, onChannel(func(ch *amqp.Channel, name string) error {
			_, err := ch.QueueDeclarePassive(name+"-q", true, false, false, false, nil)
			return err
		}), no + "configure" + noQ, false},
		{"queue.declare dead-lettering", writeX, queueDeclare(amqp.Table{"x-dead-letter-exchange": "NAME-x"}), no + "write" + noX, false},
		{"queue.declare dead-lettering", readQ, onChannel(func(ch *amqp.Channel, name string) error {
			_, err := ch.QueueDeclare("new-q", true, false, false, false, amqp.Table{"x-dead-letter-exchange": "mine-x"})
			return err
		}), no + "read access to queue 'new-q' in vhost 'V' refused for user 'U'", true},
		{"queue.delete", configureQ, onChannel(func(ch *amqp.Channel, name string) error {
			_, err := ch.QueueDelete(name+"-q", false, false, false)
			return err
		}), no + "configure" + noQ, false},
		{"queue.purge", readQ, onChannel(func(ch *amqp.Channel, name string) error {
			_, err := ch.QueuePurge(name+"-q", false)
			return err
		}), no + "read" + noQ, false},
		{"queue.bind", writeQ, onChannel(func(ch *amqp.Channel, name string) error {
			return ch.QueueBind(name+"-q", "new", "mine-x", false, nil)
		}), no + "write" + noQ, false},
		{"queue.bind", readX, onChannel(func(ch *amqp.Channel, name string) error {
			return ch.QueueBind("mine-q", "new", name+"-x", false, nil)
		}), no + "read" + noX, false},
		{"queue.bind", topicRead, onChannel(func(ch *amqp.Channel, name string) error {
			return ch.QueueBind("mine-q", "key", "there-x", false, nil)
		}), no + "read" + noTo, true},
		{"queue.unbind", writeQ, onChannel(func(ch *amqp.Channel, name string) error {
			return ch.QueueUnbind(name+"-q", "key", "mine-x", nil)
		}), no + "write" + noQ, false},
		{"queue.unbind", readX, onChannel(func(ch *amqp.Channel, name string) error {
			return ch.QueueUnbind("mine-q", "key", name+"-x", nil)
		}), no + "read" + noX, false},
		{"queue.unbind", topicRead, onChannel(func(ch *amqp.Channel, name string) error {
			return ch.QueueUnbind("mine-q", "key", "there-x", nil)
		}), no + "read" + noTo, true},
		{"exchange.declare", configureX, onChannel(func(ch *amqp.Channel, name string) error {
			return ch.ExchangeDeclare(name+"-x", "topic", true, false, false, false, nil)
		}), no + "configure" + noX, false},
		{"exchange.declare passive", allThree, onChannel(func(ch *amqp.Channel, name string) error {
			return ch.ExchangeDeclarePassive(name+"-x", "topic", true, false, false, false, nil)
		}), no + "configure" + noX, false},
		{"exchange.declare with alternate-exchange", writeX, onChannel(func(ch *amqp.Channel, name string) error {
			return ch.ExchangeDeclare("mine-new", "direct", false, true, false, false, amqp.Table{"alternate-exchange": name + "-x"})
		}), no + "write" + noX, false},
		{"exchange.declare with alternate-exchange", readX, onChannel(func(ch *amqp.Channel, name string) error {
			return ch.ExchangeDeclare("new-x", "direct", true, false, false, false, amqp.Table{"alternate-exchange": "mine-x"})
		}), no + "read access to exchange 'new-x' in vhost 'V' refused for user 'U'", true},
		{"exchange.delete", configureX, onChannel(func(ch *amqp.Channel, name string) error {
			return ch.ExchangeDelete(name+"-x", false, false)
		}), no + "configure" + noX, false},
		{"exchange.bind", writeX, onChannel(func(ch *amqp.Channel, name string) error {
			return ch.ExchangeBind(name+"-x", "new", "mine-x", false, nil)
		}), no + "write" + noX, false},
		{"exchange.bind", readX, onChannel(func(ch *amqp.Channel, name string) error {
			return ch.ExchangeBind("mine-x", "new", name+"-x", false, nil)
		}), no + "read" + noX, false},
		{"exchange.bind", topicRead, onChannel(func(ch *amqp.Channel, name string) error {
			return ch.ExchangeBind("mine-x", "key", "there-x", false, nil)
		}), no + "read" + noTo, true},
		{"exchange.unbind", writeX, onChannel(func(ch *amqp.Channel, name string) error {
			return ch.ExchangeUnbind(name+"-x", "xkey", "mine-x", false, nil)
		}), no + "write" + noX, false},
		{"exchange.unbind", readX, onChannel(func(ch *amqp.Channel, name string) error {
			return ch.ExchangeUnbind("mine-x", "xkey", name+"-x", false, nil)
		}), no + "read" + noX, false},
		{"exchange.unbind", topicRead, onChannel(func(ch *amqp.Channel, name string) error {
			return ch.ExchangeUnbind("mine-x", "key", "there-x", false, nil)
		}), no + "read" + noTo, true},
		{"basic.publish", writeX, published(x, "k", amqp.Publishing{}), no + "write" + noX, false},
		{"basic.publish to the default exchange", writeDefault, published(defaultX, "NAME-q", amqp.Publishing{}),
			no + "write access to exchange 'amq.default' in vhost 'V' refused for user 'U'", false},
		{"basic.publish", topicWrite, published(x, "key", amqp.Publishing{}), no + "write" + noTo, true},
		{"basic.publish with CC", topicWrite, published(x, "allowed", amqp.Publishing{Headers: amqp.Table{"CC": []any{"key"}}}), no + "write" + noTo, true},
		{"basic.publish with BCC", topicWrite, published(x, "allowed", amqp.Publishing{Headers: amqp.Table{"BCC": []any{"key"}}}), no + "write" + noTo, true},
		{"basic.publish as another", impersonate, published(x, "key", amqp.Publishing{UserId: "another"}),
			"406 PRECONDITION_FAILED - user_id property set to 'another' but authenticated user was 'U'", true},
		{"basic.get", readQ, onChannel(func(ch *amqp.Channel, name string) error {
			_, _, err := ch.Get(name+"-q", false)
			return err
		}), no + "read" + noQ, false},
		{"basic.consume", readQ, onChannel(func(ch *amqp.Channel, name string) error {
			_, err := ch.Consume(name+"-q", "", false, false, false, false, nil)
			return err
		}), no + "read" + noQ, false},
		{"connection.open", vhostAccess, func(v *visitor, name string) string {
			return v.open(name)
		}, "530 NOT_ALLOWED - access to vhost 'VHOST' refused for user 'U'", false},
	})
}

// open enters the virtual host, or one that is gone, and returns what it is told
// with VHOST for the name.
func (v *visitor) open(name string) string {
	u, err := url.Parse(v.amqpURL)
	if err != nil {
		v.t.Fatal(err)
	}
	vhost := v.vhost
	if name == "gone" {
		vhost += "-gone"
	}
	nc, err := net.DialTimeout("tcp", u.Host, patience)
	if err != nil {
		v.t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	return strings.ReplaceAll(openRaw(nc, v.user, visitorPassword, vhost), "'"+vhost+"'", "'VHOST'")
}

// openRaw goes through AMQP's handshake and returns what connection.open is
// answered with if that is not open-ok. (amqp091-go does not tell.)
func openRaw(nc net.Conn, user, password, vhost string) string {
	read := func() []byte {
		head := make([]byte, 7)
		if _, err := io.ReadFull(nc, head); err != nil {
			return nil
		}
		body := make([]byte, int(head[3])<<24|int(head[4])<<16|int(head[5])<<8|int(head[6])+1)
		if _, err := io.ReadFull(nc, body); err != nil {
			return nil
		}
		return body
	}
	send := func(method string) {
		n := len(method)
		nc.Write(append([]byte{1, 0, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, method+"\xce"...))
	}
	short := func(s string) string { return string([]byte{byte(len(s))}) + s }
	long := func(s string) string { return string([]byte{0, 0, byte(len(s) >> 8), byte(len(s))}) + s }
	io.WriteString(nc, "AMQP\x00\x00\x09\x01")
	read() // start
	send("\x00\x0a\x00\x0b" + long("") + short("PLAIN") + long("\x00"+user+"\x00"+password) + short("en_US"))
	tune := read()
	if len(tune) < 12 {
		return "no tune"
	}
	send("\x00\x0a\x00\x1f" + string(tune[4:12]))
	send("\x00\x0a\x00\x28" + short(vhost) + "\x00\x00")
	answer := read()
	switch {
	case len(answer) > 7 && bytes.HasPrefix(answer, []byte("\x00\x0a\x00\x32")):
		return fmt.Sprintf("%d %s", int(answer[4])<<8|int(answer[5]), answer[7:7+answer[6]])
	case bytes.HasPrefix(answer, []byte("\x00\x0a\x00\x29")):
		return ""
	}
	return fmt.Sprintf("% x", answer)
}

// stompTalk sends frames on a session of v, the last with a receipt, and returns
// what the ERROR says, "" for a RECEIPT.
func stompTalk(frames ...*frame.Frame) func(*visitor, string) string {
	return func(v *visitor, name string) string {
		nc, err := net.DialTimeout("tcp", broker.stomp, patience)
		if err != nil {
			v.t.Fatal(err)
		}
		defer nc.Close()
		nc.SetDeadline(time.Now().Add(patience))
		vhost := v.vhost
		if len(frames) == 0 && name == "gone" {
			vhost += "-gone"
		}
		var out bytes.Buffer
		w := frame.NewWriter(&out)
		w.Write(frame.New("CONNECT", "accept-version", "1.2", "host", vhost, "login", v.user, "passcode", visitorPassword))
		for i, f := range frames {
			f = f.Clone()
			for j := range f.Header.Len() {
				key, value := f.Header.GetAt(j)
				f.Header.Set(key, strings.ReplaceAll(value, "NAME", name))
			}
			if i == len(frames)-1 {
				f.Header.Add("receipt", "last")
			}
			w.Write(f)
		}
		nc.Write(out.Bytes())
		r := frame.NewReader(nc)
		for {
			f, err := r.Read()
			switch {
			case err != nil:
				return err.Error()
			case f == nil, f.Command == "MESSAGE":
			case f.Command == "ERROR":
				told := f.Header.Get("message") + ": " + strings.TrimSpace(string(f.Body))
				return strings.ReplaceAll(told, "'"+vhost+"' access", "'VHOST' access")
			case f.Command == "RECEIPT", f.Command == "CONNECTED" && len(frames) == 0:
				return ""
			}
		}
	}
}

func TestMissingRightsSTOMP(t *testing.T) {
	t.Parallel()
	const (
		no  = "access_refused: ACCESS_REFUSED - "
		noQ = " access to queue 'NAME-q' in vhost 'V' refused for user 'U'"
		noX = " access to exchange 'NAME-x' in vhost 'V' refused for user 'U'"
	)
	onAMQTopic := " access to exchange 'amq.topic' in vhost 'V' refused for user 'U'"
	topic := func(right string) string {
		return no + right + " access to topic 'key' in exchange 'amq.topic' in vhost 'V' refused for user 'U'"
	}
	send := func(destination string, more ...string) *frame.Frame {
		return frame.New("SEND", append([]string{"destination", destination}, more...)...)
	}
	subscribe := func(destination string, more ...string) *frame.Frame {
		return frame.New("SUBSCRIBE", append([]string{"id", "1", "destination", destination, "ack", "client"}, more...)...)
	}
	v := newVisitor(t)
	v.run([]refusal{
		{"CONNECT", vhostAccess, stompTalk(), "Bad CONNECT: Virtual host 'VHOST' access denied", false},
		{"SEND to /queue", configureQ, stompTalk(send("/queue/NAME-q")), no + "configure" + noQ, false},
		{"SEND to /queue", writeDefault, stompTalk(send("/queue/NAME-q")), no + "write access to exchange 'amq.default' in vhost 'V' refused for user 'U'", true},
		{"SEND to /amq/queue", writeDefault, stompTalk(send("/amq/queue/NAME-q")), no + "write access to exchange 'amq.default' in vhost 'V' refused for user 'U'", false},
		{"SEND to /exchange", writeX, stompTalk(send("/exchange/NAME-x/key")), no + "write" + noX, false},
		{"SEND to /topic", writeTopicX, stompTalk(send("/topic/key")), no + "write" + onAMQTopic, true},
		{"SEND to /topic", topicWrite, stompTalk(send("/topic/key")), topic("write"), true},
		{"SEND in a transaction", writeX, stompTalk(frame.New("BEGIN", "transaction", "1"), send("/exchange/NAME-x/key", "transaction", "1"),
			frame.New("COMMIT", "transaction", "1")), no + "write" + noX, false},
		{"SEND as another", impersonate, stompTalk(send("/topic/key", "user-id", "another")),
			"precondition_failed: PRECONDITION_FAILED - user_id property set to 'another' but authenticated user was 'U'", true},
		{"SUBSCRIBE to /queue", configureQ, stompTalk(subscribe("/queue/NAME-q")), no + "configure" + noQ, false},
		{"SUBSCRIBE to /queue", readQ, stompTalk(subscribe("/queue/NAME-q")), no + "read" + noQ, false},
		{"SUBSCRIBE to /queue, dead-lettering", writeX, stompTalk(subscribe("/queue/mine-new", "x-dead-letter-exchange", "NAME-x"), frame.New("UNSUBSCRIBE", "id", "1")), no + "write" + noX, false},
		{"SUBSCRIBE to /amq/queue", readQ, stompTalk(subscribe("/amq/queue/NAME-q")), no + "read" + noQ, false},
		{"SUBSCRIBE to /topic", readTopicX, stompTalk(subscribe("/topic/key", "x-queue-name", "mine-new")), no + "read" + onAMQTopic, true},
		{"SUBSCRIBE to /topic", topicRead, stompTalk(subscribe("/topic/key", "x-queue-name", "mine-new")), topic("read"), true},
		{"SUBSCRIBE to /topic", configureQ, stompTalk(subscribe("/topic/key", "x-queue-name", "NAME-q", "durable", "true", "auto-delete", "false")), no + "configure" + noQ, false},
		{"SUBSCRIBE to /topic", writeQ, stompTalk(subscribe("/topic/key", "x-queue-name", "NAME-q", "durable", "true", "auto-delete", "false")), no + "write" + noQ, false},
		{"SUBSCRIBE to /topic", readQ, stompTalk(subscribe("/topic/key", "x-queue-name", "NAME-q", "durable", "true", "auto-delete", "false")), no + "read" + noQ, false},
		{"SUBSCRIBE to /exchange", readX, stompTalk(subscribe("/exchange/NAME-x/key", "x-queue-name", "mine-new")), no + "read" + noX, false},
	})
}

// mqttTalk is what a client of MQTT says after a CONNECT that asks for a session
// that stays.
type mqttTalk struct {
	will bool // On the topic will.
	// says are packets, each made for a version.
	says []func(version byte) []byte
}

// over is a row's action: what a client is told that is bad.
func (m mqttTalk) over(version byte) func(*visitor, string) string {
	return func(v *visitor, name string) string {
		nc, err := net.DialTimeout("tcp", broker.mqtt, patience)
		if err != nil {
			v.t.Fatal(err)
		}
		defer nc.Close()
		nc.SetDeadline(time.Now().Add(patience))
		vhost := v.vhost
		if name == "gone" {
			vhost += "-gone"
		}
		v.sessions++
		flags, will := byte(0xC0), ""
		if m.will {
			flags |= 4
			if will = mqttText("will") + mqttText("gone"); version == 5 {
				will = "\x00" + will
			}
		}
		properties := ""
		if version == 5 {
			properties = "\x05\x11\x00\x00\x0e\x10" // Session Expiry Interval 3600
		}
		client := fmt.Sprintf("client-%d", v.sessions)
		io.WriteString(nc, mqttPacket(0x10, mqttText("MQTT")+string([]byte{version, flags, 0, 60})+properties+mqttText(client)+will+
			mqttText(vhost+":"+v.user)+mqttText(visitorPassword)))
		for _, p := range m.says {
			nc.Write(p(version))
		}
		io.WriteString(nc, "\xc0\x00") // PINGREQ, whose answer comes behind all others.
		var told []string
		bad := func(what string, code byte) {
			if code >= 0x80 || version < 5 && code > 2 {
				told = append(told, fmt.Sprintf("%s 0x%02X", what, code))
			}
		}
		r := bufio.NewReader(nc)
		for {
			first, err := r.ReadByte()
			if err != nil {
				return strings.Join(append(told, "closed"), ", ")
			}
			n, err := binary.ReadUvarint(r)
			body := make([]byte, n)
			if _, err2 := io.ReadFull(r, body); err != nil || err2 != nil {
				return strings.Join(append(told, "half a packet"), ", ")
			}
			switch first >> 4 {
			case 2:
				bad("CONNACK", body[1])
			case 4:
				if len(body) > 2 {
					bad("PUBACK", body[2])
				}
			case 9:
				bad("SUBACK", body[len(body)-1])
			case 11:
				bad("UNSUBACK", body[len(body)-1])
			case 13:
				return strings.Join(told, ", ")
			case 14:
				bad("DISCONNECT", body[0])
			}
		}
	}
}

func mqttText(s string) string { return string([]byte{byte(len(s) >> 8), byte(len(s))}) + s }

func mqttPacket(first byte, body string) string {
	return string(binary.AppendUvarint([]byte{first}, uint64(len(body)))) + body
}

// mqttProperties are none, for the versions that have any.
func mqttProperties(version byte) string {
	if version == 5 {
		return "\x00"
	}
	return ""
}

func mqttPublish(topic string, qos byte, retain bool) func(byte) []byte {
	return func(version byte) []byte {
		first, id := 0x30|qos<<1, ""
		if retain {
			first |= 1
		}
		if qos > 0 {
			id = "\x00\x01"
		}
		return []byte(mqttPacket(first, mqttText(topic)+id+mqttProperties(version)+"body"))
	}
}

func mqttSubscribe(filter string) func(byte) []byte {
	return func(version byte) []byte {
		return []byte(mqttPacket(0x82, "\x00\x02"+mqttProperties(version)+mqttText(filter)+"\x01"))
	}
}

func mqttUnsubscribe(filter string) func(byte) []byte {
	return func(version byte) []byte {
		return []byte(mqttPacket(0xA2, "\x00\x03"+mqttProperties(version)+mqttText(filter)))
	}
}

func TestMissingRightsMQTT(t *testing.T) {
	t.Parallel()
	says := func(p ...func(byte) []byte) mqttTalk { return mqttTalk{says: p} }
	var rows []refusal
	for _, m := range []struct {
		op     string
		lacks  []lack
		talk   mqttTalk
		v5, v4 string
	}{
		{"PUBLISH QoS 0", []lack{writeTopicX, topicWrite}, says(mqttPublish("key", 0, false)), "DISCONNECT 0x87, closed", "closed"},
		{"PUBLISH QoS 1", []lack{writeTopicX, topicWrite}, says(mqttPublish("key", 1, false)), "DISCONNECT 0x87, closed", "closed"},
		{"PUBLISH QoS 2", []lack{writeTopicX, topicWrite}, says(mqttPublish("key", 2, false)), "DISCONNECT 0x87, closed", "closed"},
		{"PUBLISH retained", []lack{writeTopicX, topicWrite}, says(mqttPublish("key", 1, true)), "DISCONNECT 0x87, closed", "closed"},
		{"will", []lack{writeTopicX, topicWrite}, mqttTalk{will: true}, "CONNACK 0x87, closed", "CONNACK 0x05, closed"},
		{"SUBSCRIBE", []lack{configureQ, writeQ, readQ, readTopicX, topicRead}, says(mqttSubscribe("key")), "SUBACK 0x87, DISCONNECT 0x87, closed", "SUBACK 0x80, closed"},
		{"SUBSCRIBE shared", []lack{configureQ, writeQ, readQ, readTopicX, topicRead}, says(mqttSubscribe("$share/group/key")), "SUBACK 0x87, DISCONNECT 0x87, closed", "SUBACK 0x80, closed"},
	} {
		for _, l := range m.lacks {
			rows = append(rows, refusal{m.op + " in MQTT 5", l, m.talk.over(5), m.v5, true}, refusal{m.op + " in MQTT 3.1.1", l, m.talk.over(4), m.v4, true})
		}
	}
	rows = append(rows,
		refusal{"CONNECT in MQTT 5", vhostAccess, mqttTalk{}.over(5), "CONNACK 0x87, closed", false},
		refusal{"CONNECT in MQTT 3.1.1", vhostAccess, mqttTalk{}.over(4), "CONNACK 0x05, closed", false},
	)
	newVisitor(t).run(rows)
}

// TestRevokedRightsMQTT takes rights away from a client that has subscribed: it
// may not unsubscribe, and stays subscribed.
func TestRevokedRightsMQTT(t *testing.T) {
	t.Parallel()
	v := newVisitor(t)
	for _, l := range []lack{writeQ, readTopicX, topicRead} {
		var before string
		key := fmt.Sprintf("key%d", l)
		revoke := func(version byte) []byte {
			for deadline := time.Now().Add(patience); !strings.Contains(v.state(), `"routing_key":"`+key+`"`); {
				if time.Now().After(deadline) {
					t.Fatal("the subscription makes no binding")
				}
			}
			v.grant(l)
			before = v.state()
			return mqttUnsubscribe(key)(version)
		}
		v.grant(nothingMissing)
		talk := mqttTalk{says: []func(byte) []byte{mqttSubscribe(key), revoke}}
		if told := talk.over(5)(v, "there"); told != "UNSUBACK 0x87" {
			t.Errorf("without %v: told %q", l, told)
		}
		// Its consumer has gone with the connection.
		gone := func(s string) string { return strings.ReplaceAll(s, `"consumers":1`, `"consumers":0`) }
		if after := v.state(); gone(after) != gone(before) {
			t.Errorf("without %v it has changed:\n%s", l, strings.Join(differences(before, after), "\n"))
		}
	}
}
