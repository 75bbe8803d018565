package mgmt

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"leveret/core"
)

// liveClient reads a stream of events.
type liveClient struct {
	t    testing.TB
	res  *http.Response
	in   *bufio.Reader
	stop context.CancelFunc
}

// liveWait is how long a test waits for what is to come: long enough for any machine.
const liveWait = time.Minute

func (f *fixture) live(user, path string) *liveClient {
	f.t.Helper()
	return openLive(f.t, f.url, user, path)
}

func openLive(t testing.TB, base, user, path string) *liveClient {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), liveWait)
	req, err := http.NewRequestWithContext(ctx, "GET", base+"/api/live?every=1&path="+url.QueryEscape(path), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(user, user+"pw")
	req.Header.Set("Accept", "text/event-stream")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	c := &liveClient{t, res, bufio.NewReader(res.Body), stop}
	t.Cleanup(c.close)
	return c
}

func (c *liveClient) close() {
	c.stop()
	c.res.Body.Close()
}

// next returns the next event, "" at the end of the stream.
func (c *liveClient) next() (event string, data map[string]any) {
	c.t.Helper()
	for {
		line, err := c.in.ReadString('\n')
		switch {
		case err == io.EOF:
			return "", nil
		case err != nil:
			c.t.Fatal(err)
		}
		line = strings.TrimSuffix(line, "\n")
		if text, ok := strings.CutPrefix(line, "event: "); ok {
			event = text
		}
		if text, ok := strings.CutPrefix(line, "data: "); ok && event != "" {
			if err := json.Unmarshal([]byte(text), &data); err != nil {
				data = map[string]any{"": text}
			}
		}
		if line == "" && event != "" {
			return event, data
		}
	}
}

func (c *liveClient) want(event string) map[string]any {
	c.t.Helper()
	got, data := c.next()
	if got != event {
		c.t.Fatalf("event %q, want %q: %v", got, event, data)
	}
	return data
}

func TestLiveList(t *testing.T) {
	f := newFixture(t)
	for _, q := range []string{"a", "b", "c"} {
		f.want(201, "PUT", "/api/queues/%2F/"+q, `{}`)
	}
	c := f.live("admin", "/queues/%2F?page=1&page_size=2&sort=name&columns=name,vhost,messages")
	if h := c.res.Header.Get("Content-Type"); c.res.StatusCode != 200 || h != "text/event-stream" {
		t.Fatalf("%d %s", c.res.StatusCode, h)
	}
	full := c.want("full")
	if items := full["items"].([]any); len(items) != 2 || full["total_count"] != 3.0 {
		t.Errorf("%v", full)
	}
	if rows := c.want("rows"); fmt.Sprint(rows["order"]) != "[/|a /|b]" || len(rows["changed"].(map[string]any)) != 0 {
		t.Errorf("%v", rows)
	}
	f.put("b", "x", `{}`)
	f.put("c", "x", `{}`) // Not on this page.
	if rows := c.want("rows"); fmt.Sprint(rows["order"], rows["changed"]) != "[/|a /|b] map[/|b:map[messages:1]]" {
		t.Errorf("%v", rows)
	}
	f.want(201, "PUT", "/api/queues/%2F/aa", `{}`)
	if rows := c.want("rows"); fmt.Sprint(rows["order"], rows["changed"]) != "[/|a /|aa] map[/|aa:map[messages:0 name:aa vhost:/]]" || rows["total_count"] != 4.0 || rows["page_count"] != 2.0 {
		t.Errorf("%v", rows)
	}
	f.want(204, "DELETE", "/api/queues/%2F/aa", ``)
	f.want(204, "DELETE", "/api/queues/%2F/b", ``)
	f.want(204, "DELETE", "/api/queues/%2F/c", ``)
	for {
		rows := c.want("rows") // The deletions may be seen one by one.
		if fmt.Sprint(rows["order"]) == "[/|a]" {
			break
		}
	}
}

func TestLiveObject(t *testing.T) {
	f := newFixture(t)
	f.want(201, "PUT", "/api/queues/%2F/q", `{}`)
	c := f.live("admin", "/queues/%2F/q?columns=name,messages,messages_ready")
	if full := c.want("full"); full["name"] != "q" {
		t.Errorf("%v", full)
	}
	f.put("q", "x", `{}`)
	if patch := c.want("patch"); fmt.Sprint(patch) != "map[messages:1 messages_ready:1]" {
		t.Errorf("%v", patch)
	}
	f.want(204, "DELETE", "/api/queues/%2F/q", ``)
	if e := c.want("error"); e["error"] != "Object Not Found" {
		t.Errorf("%v", e)
	}
	f.want(201, "PUT", "/api/queues/%2F/q", `{}`)
	if full := c.want("full"); full["messages"] != 0.0 {
		t.Errorf("%v", full)
	}
}

func TestLiveEndsWithItsRights(t *testing.T) {
	f := newFixture(t)
	f.user("eve", "management")
	f.must(f.broker.SetPermission("eve", "/", all))
	c := f.live("eve", "/queues/%2F")
	c.want("full")
	c.want("rows")
	f.must(f.broker.ClearPermission("eve", "/"))
	if e := c.want("error"); e["error"] != "not_authorised" {
		t.Errorf("%v", e)
	}
	if event, _ := c.next(); event != "" {
		t.Errorf("%s after the end", event)
	}

	f.must(f.broker.SetPermission("eve", "/", all))
	c = f.live("eve", "/queues/%2F")
	c.want("full")
	c.want("rows")
	f.must(f.broker.DeleteUser("eve"))
	c.want("error")
	if event, _ := c.next(); event != "" {
		t.Errorf("%s after the end", event)
	}
}

func TestLiveRefusals(t *testing.T) {
	f := newFixture(t)
	f.user("eve", "management")
	for path, want := range map[string]int{
		"/queues/%2F": 401, "/users": 401, "/overview": 200,
	} {
		c := f.live("eve", path)
		if c.res.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, c.res.StatusCode, want)
		}
		c.close()
	}
	for path, want := range map[string]int{
		"/nothing": 404, "/queues/none": 404, "/queues/%2F/none": 404, "": 400, "queues": 400, "/live?path=/overview": 400, "//other/queues": 404,
		"/queues?page=0": 400,
	} {
		c := f.live("admin", path)
		if b, _ := io.ReadAll(c.res.Body); c.res.StatusCode != want || !json.Valid(b) {
			t.Errorf("%q: %d, want %d: %s", path, c.res.StatusCode, want, b)
		}
		c.close()
	}
	for _, every := range []string{"0", "61", "x", ""} {
		f.want(400, "GET", "/api/live?path=/overview&every="+every, "")
	}
	if a := f.do("GET", "/api/live?path=/overview", "", ""); a.status != 401 {
		t.Errorf("%d", a.status)
	}
}

func TestLiveStreamsAreBounded(t *testing.T) {
	f := newFixture(t)
	var last *liveClient
	for range streamsPerUser {
		last = f.live("admin", "/overview?columns=node")
		last.want("full")
	}
	if a := f.do("GET", "/api/live?path=/overview", "admin", ""); a.status != 429 || a.json(t).(map[string]any)["error"] != "too_many_streams" {
		t.Errorf("%d %s", a.status, a.body)
	}
	f.user("eve", "management")
	f.live("eve", "/overview?columns=node").want("full")
	last.close()
	for deadline := time.Now().Add(liveWait); ; {
		c := f.live("admin", "/overview?columns=node")
		if c.res.StatusCode == 200 {
			break
		}
		c.close()
		if time.Now().After(deadline) {
			t.Fatal("a closed stream keeps its place")
		}
	}
}

func TestLiveEndsWhenTheServerStops(t *testing.T) {
	f := newFixture(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	f.must(err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.server.Serve(ctx, ln) }()
	c := openLive(t, "http://"+ln.Addr().String(), "admin", "/overview")
	c.want("full")
	stop()
	for {
		if event, _ := c.next(); event == "" {
			break
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestMergePatch(t *testing.T) {
	for _, c := range [][3]string{
		{`{"a":1,"b":{"c":2,"d":[1]}}`, `{"a":1,"b":{"c":3,"d":[1]}}`, `{"b":{"c":3}}`},
		{`{"a":1,"b":2}`, `{"b":2,"c":{"x":1}}`, `{"a":null,"c":{"x":1}}`},
		{`{"a":[1,2]}`, `{"a":[1,2,3]}`, `{"a":[1,2,3]}`},
		{`{"a":{"b":1}}`, `{"a":5}`, `{"a":5}`},
		{`[1]`, `[2]`, `[2]`},
		{`{"a":9007199254740993}`, `{"a":9007199254740992}`, `{"a":9007199254740992}`},
	} {
		if got := string(mergePatch([]byte(c[0]), []byte(c[1]))); got != c[2] {
			t.Errorf("%s to %s: %s, want %s", c[0], c[1], got, c[2])
		}
	}
}

func TestRowsHaveKeys(t *testing.T) {
	for want, o := range map[string]object{
		"/|q":                   {"vhost": "/", "name": "q"},
		"rabbit@host":           {"name": "rabbit@host"},
		"/|x|queue|q|k":         {"vhost": "/", "source": "x", "destination_type": "queue", "destination": "q", "properties_key": "k"},
		"/|q|1.2.3.4:5 (1)|tag": {"queue": object{"vhost": "/", "name": "q"}, "channel_details": object{"name": "1.2.3.4:5 (1)"}, "consumer_tag": "tag"},
		"/|guest":               {"vhost": "/", "user": "guest", "configure": ""},
		"/|guest|amq.topic":     {"vhost": "/", "user": "guest", "exchange": "amq.topic"},
		"/|limits|x":            {"vhost": "/", "component": "limits", "name": "x"},
		"/|c1":                  {"vhost": "/", "client_id": "c1", "name": "n"},
		"7":                     {"id": 7},
		"#3":                    {"value": 1},
	} {
		if got := rowKey(o, 3); got != want {
			t.Errorf("%v: %s, want %s", o, got, want)
		}
	}
	// Rows of the same name are told apart.
	s, err := newSnapshot([]object{{"name": "a"}, {"name": "a"}, {"name": "a"}})
	if err != nil || fmt.Sprint(s.order) != "[a a#2 a#3]" {
		t.Errorf("%v %v", s.order, err)
	}
}

// Sorting by a column must show what the objects have in it.
func TestQueueColumnsAreTheObjects(t *testing.T) {
	f := newFixture(t)
	f.want(201, "PUT", "/api/queues/%2F/q", `{}`)
	f.put("q", "payload", `{"delivery_mode":2}`)
	f.want(200, "POST", "/api/queues/%2F/q/get", `{"count":1,"ackmode":"ack_requeue_true","encoding":"auto"}`)
	now := time.Now()
	f.server.rates.look(now)
	f.put("q", "payload", `{}`)
	f.server.rates.look(now.Add(5 * time.Second))
	r, _ := http.NewRequest("GET", "/", nil)
	c := f.server.newCall(nil, r)
	v, _ := f.broker.VHost("/")
	q, _ := v.Queue("q")
	o := c.queueObject(v, q, false)
	known := 0
	for _, path := range append(pathsOf("", o), "messages_details.rate", "message_stats.publish_details.rate") {
		value, ok := c.queueColumn(&row{"/", "q", nil}, path)
		if !ok {
			continue
		}
		known++
		if want := dig(o, strings.Split(path, ".")); compareValues(value, want) != 0 {
			t.Errorf("%s: %v, the object has %v", path, value, want)
		}
	}
	if known < 15 {
		t.Errorf("%d columns are known", known)
	}
	for _, sort := range []string{"messages", "message_stats.publish_details.rate", "arguments", "consumer_utilisation"} {
		whole := f.want(200, "GET", "/api/queues?sort="+sort, "").([]any)
		if len(whole) != 1 || whole[0].(map[string]any)["name"] != "q" {
			t.Errorf("%s: %v", sort, whole)
		}
	}
}

func pathsOf(prefix string, o object) (paths []string) {
	for k, v := range o {
		if inner, ok := v.(object); ok {
			paths = append(paths, pathsOf(prefix+k+".", inner)...)
		} else {
			paths = append(paths, prefix+k)
		}
	}
	return paths
}

// FuzzMergePatch applies what mergePatch made, as a client does.
func FuzzMergePatch(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":{"c":2}}`), []byte(`{"b":{"c":3,"d":null}}`))
	f.Add([]byte(`[1]`), []byte(`{"a":{"b":{}}}`))
	f.Fuzz(func(t *testing.T, was, is []byte) {
		a, err1 := decodeJSON(was)
		b, err2 := decodeJSON(is)
		if err1 != nil || err2 != nil {
			return
		}
		p, err := decodeJSON(mergePatch(was, is))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := without(apply(a, p)), without(b); !reflect.DeepEqual(got, want) {
			x, _ := json.Marshal(got)
			y, _ := json.Marshal(want)
			if !bytes.Equal(x, y) {
				t.Fatalf("%s to %s by %s: %s", was, is, mergePatch(was, is), x)
			}
		}
	})
}

// apply is RFC 7396's MergePatch.
func apply(target, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	o, ok := target.(map[string]any)
	if !ok {
		o = map[string]any{}
	}
	for k, v := range p {
		if v == nil {
			delete(o, k)
		} else {
			o[k] = apply(o[k], v)
		}
	}
	return o
}

// without leaves nulls out of objects, which a patch cannot tell from nothing.
func without(v any) any {
	o, ok := v.(map[string]any)
	if !ok {
		return v
	}
	out := map[string]any{}
	for k, e := range o {
		if e != nil {
			out[k] = without(e)
		}
	}
	return out
}

// BenchmarkLive is what one look of a page of the console costs, with 10,000
// queues of which half change between looks.
func BenchmarkLive(b *testing.B) {
	f := crowded(b, 10_000)
	for _, path := range []string{
		"/api/queues?page=1&page_size=100", "/api/queues?page=1&page_size=100&sort=messages&sort_reverse=true",
		"/api/queues?page=1&page_size=100&sort=message_stats.publish_details.rate&name=7", "/api/overview",
	} {
		b.Run(strings.TrimPrefix(path, "/api"), func(b *testing.B) {
			r, _ := http.NewRequest("GET", "/api/live", nil)
			r.RemoteAddr = "127.0.0.1:1"
			r.SetBasicAuth("admin", "adminpw")
			c := f.server.newCall(nil, r)
			l := &look{}
			u, _ := url.Parse(path)
			l.at(c, u)
			was, err := newSnapshot(l.value)
			f.must(err)
			s := f.session("admin", "/")
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				for i := range 100 {
					if _, err := publishOne(s, "", fmt.Sprintf("queue-%06d", i), nil, []byte("x"), &core.Properties{}); err != nil {
						b.Fatal(err)
					}
				}
				b.StartTimer()
				l.at(c, u)
				is, err := newSnapshot(l.value)
				f.must(err)
				if is.rows != nil {
					json.Marshal(is.change(was))
				} else {
					mergePatch(was.whole, is.whole)
				}
				was = is
			}
		})
	}
}
