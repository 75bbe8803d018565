package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/go-stomp/stomp/v3/frame"
)

var limits = Limits{Headers: 100, HeaderBytes: 64 << 10, Body: 1 << 20}

// scan reads the first frame of b as a connection does, seeing it grow by step
// bytes at a time (all at once for 0). used is 0 if it is not complete.
func scan(b []byte, v Version, step int) (f *frame.Frame, used int, err error) {
	s := Scanner{Limits: limits}
	if step == 0 {
		step = len(b)
	}
	skipped := 0
	for n := 0; n < len(b); {
		n = min(n+step, len(b))
		seen := b[skipped:n]
		if s.Fresh() {
			noise, err := Skip(seen)
			if err != nil {
				return nil, 0, err
			}
			skipped += noise
			if seen = seen[noise:]; len(seen) == 0 || seen[0] == '\r' {
				continue
			}
		}
		done, err := s.Head(seen)
		if err != nil {
			return nil, 0, err
		}
		if !done {
			continue
		}
		body, size, err := s.Body(seen)
		if err != nil {
			return nil, 0, err
		}
		if size == 0 {
			continue
		}
		if f, err = s.Frame(seen, v); err != nil {
			return nil, 0, err
		}
		f.Body = bytes.Clone(body)
		return f, skipped + size, nil
	}
	return nil, 0, nil
}

func text(f *frame.Frame) string {
	if f == nil {
		return "nothing"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s", f.Command)
	for i := range f.Header.Len() {
		k, v := f.Header.GetAt(i)
		fmt.Fprintf(&b, " %q=%q", k, v)
	}
	fmt.Fprintf(&b, " body %q", f.Body)
	return b.String()
}

func TestScan(t *testing.T) {
	long := strings.Repeat("x", 70<<10)
	for _, tt := range []struct {
		name, in string
		v        Version
		want     string // As text has it, or the error.
	}{
		{"noise before a frame", "\x00\n\r\n\x00SEND\ndestination:/queue/a\n\n\x00", V12, `SEND "destination"="/queue/a" body ""`},
		{"line ends with carriage returns, body untouched", "SEND\r\ndestination:/queue/a\r\n\r\nhi\r\n\x00", V10, `SEND "destination"="/queue/a" body "hi\r\n"`},
		{"carriage return before a command", "\rSEND\nd:x\n\n\x00", V12, ErrCarriageReturn.Error()},
		{"carriage return in a value", "SEND\nd:x\ry\n\n\x00", V12, ErrCarriageReturn.Error()},
		{"first colon splits", "SEND\nd:/queue/a:b\n\n\x00", V12, `SEND "d"="/queue/a:b" body ""`},
		{"empty value", "SEND\nd:\n\n\x00", V12, `SEND "d"="" body ""`},
		{"empty name", "SEND\n:v\n\n\x00", V12, ErrNoName.Error()},
		{"no colon", "SEND\nd\n\n\x00", V12, ErrNoColon.Error()},
		{"escapes of name and value", "SEND\na\\cb:c\\nd\\re\\\\n\n\n\x00", V12, `SEND "a:b"="c\nd\re\\n" body ""`},
		{"no escapes in 1.0", "SEND\nk:c\\nd\\t\n\n\x00", V10, `SEND "k"="c\\nd\\t" body ""`},
		{"blanks in front are 1.0's", "SEND\nk:  v \n\n\x00", V10, `SEND "k"="v " body ""`},
		{"blanks in front stay later", "SEND\nk:  v \n\n\x00", V11, `SEND "k"="  v " body ""`},
		{"an escape that is none", "SEND\nk:a\\tb\n\n\x00", V12, ErrEscape.Error()},
		{"half an escape", "SEND\nk:a\\\n\n\x00", V11, ErrEscape.Error()},
		{"NUL among the headers", "SUBSCRIBE\nd:/queue/a\x00SEND\nd:x\n\n\x00", V12, ErrNULInHeader.Error()},
		{"NUL before the empty line is there", "SEND\nd:/queue/a\x00", V12, ErrNULInHeader.Error()},
		{"content-length", "SEND\ncontent-length:3\n\na\x00b\x00", V12, `SEND "content-length"="3" body "a\x00b"`},
		{"content-length with blanks", "SEND\ncontent-length: 3 \n\na\x00b\x00", V12, `SEND "content-length"=" 3 " body "a\x00b"`},
		{"content-length too short", "SEND\ncontent-length:2\n\nabc\x00", V12, ErrNotTerminated.Error()},
		{"first content-length wins", "SEND\ncontent-length:1\ncontent-length:9\n\na\x00", V12, `SEND "content-length"="1" "content-length"="9" body "a"`},
		{"content-length that is no number", "SEND\ncontent-length:x\n\nab\x00", V12, `SEND "content-length"="x" body "ab"`},
		{"negative content-length", "SEND\ncontent-length:-1\n\nab\x00", V12, `SEND "content-length"="-1" body "ab"`},
		{"content-length on any command", "BEGIN\ncontent-length:1\n\n\x00\x00", V12, `BEGIN "content-length"="1" body "\x00"`},
		{"content-length beyond all bounds", "SEND\ncontent-length:99999999999999999999999\n\n", V12, ErrBodyTooLong.Error()},
		{"body beyond the limit", "SEND\n\n" + strings.Repeat("x", 1<<20+1), V12, ErrBodyTooLong.Error()},
		{"long command", strings.Repeat("A", 40), V12, ErrCommandTooLong.Error()},
		{"long command line", strings.Repeat("A", 33) + "\n\n\x00", V12, ErrCommandTooLong.Error()},
		{"unknown command", "connect\n\n\x00", V12, `connect body ""`},
		{"long header", "SEND\n" + long, V12, ErrHeadersTooLong.Error()},
		{"long header line", "SEND\nk:" + long + "\n\n\x00", V12, ErrHeadersTooLong.Error()},
		{"100 headers", "SEND\n" + strings.Repeat("k:v\n", 100) + "\n\x00", V12, "SEND" + strings.Repeat(` "k"="v"`, 100) + ` body ""`},
		{"101 headers", "SEND\n" + strings.Repeat("k:v\n", 101) + "\n\x00", V12, ErrTooManyHeaders.Error()},
		{"not yet complete", "SEND\nk:v\n\nbody", V12, "nothing"},
	} {
		for _, step := range []int{0, 1, 2, 7} {
			if step > 0 && len(tt.in) > 200<<10 {
				step *= 1000
			}
			f, used, err := scan([]byte(tt.in), tt.v, step)
			got := text(f)
			if err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("%s, %d at a time: got %.200s, want %.200s", tt.name, step, got, tt.want)
			}
			if f != nil && used != len(tt.in) {
				t.Errorf("%s: %d of %d bytes used", tt.name, used, len(tt.in))
			}
		}
	}
}

func TestEscapesPerVersion(t *testing.T) {
	const s = "a:b\\c\nd\re\x00f"
	for v, want := range map[Version]string{V10: `a:b\c\nd\ref`, V11: `a\cb\\c\nd\ref`, V12: `a\cb\\c\nd\ref`} {
		if got := string(AppendEscaped(nil, s, v)); got != want {
			t.Errorf("%s: %q, want %q", v, got, want)
		}
		form := AppendCanonicalLine(nil, "k:", s)
		wantLine := `k\c:` + want + "\n"
		if got := string(appendLines(nil, form, v)); got != wantLine {
			t.Errorf("%s: the line %q, want %q", v, got, wantLine)
		}
	}
}

func TestSendHead(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		v        Version
		form     string
		err      error
	}{
		{"the frame's own headers are not the message's", "destination:/queue/a\nreceipt:1\ntransaction:t\ncontent-length:0\nk:v\n", V12, "k:v\n", nil},
		{"the first of a name", "k:1\nk:2\nK:3\n", V12, "k:1\nK:3\n", nil},
		{"names of MESSAGE come apart", "k:v\nack:x\nsubscription:1\nredelivered:\\c\n", V12, "\nack:x\nsubscription:1\nredelivered:\\c\n\nk:v\n", nil},
		{"colons are escaped", "k:a:b\n", V12, "k:a\\cb\n", nil},
		{"1.0 has nothing escaped", "k: a:b\\n\n", V10, "k:a\\cb\\\\n\n", nil},
		{"values that are none are dropped", "persistent:false\npriority:x\ntimestamp:soon\nk:v\n", V12, "k:v\n", nil},
		{"values that are some stay", "persistent:True\npriority:5\ntimestamp:-1\n", V12, "persistent:true\npriority:5\ntimestamp:-1\n", nil},
		{"a priority no byte holds", "priority:256\n", V12, "", nil},
		{"an escape that is none, in what is dropped", "receipt:\\x\n", V12, "", ErrEscape},
		{"in a name", "a\\xb:1\n", V12, "", ErrEscape},
		{"in a header that is repeated", "k:1\nk:\\x\n", V12, "", ErrEscape},
	} {
		b := []byte("SEND\n" + tt.in + "\n\x00")
		s := Scanner{Limits: limits}
		if ok, err := s.Head(b); !ok || err != nil {
			t.Fatalf("%s: %v %v", tt.name, ok, err)
		}
		var h SendHead
		arena, err := s.Send(b, tt.v, []byte("before"), &h)
		if !errors.Is(err, tt.err) || err == nil && string(h.Form) != tt.form {
			t.Errorf("%s: %q, %v, want %q", tt.name, h.Form, err, tt.form)
		}
		if !bytes.HasPrefix(arena, []byte("before")) {
			t.Errorf("%s: the arena lost what was in it", tt.name)
		}
	}
	b := []byte("SEND\ndestination:/queue/a\nreceipt:r\ntransaction:t\npriority:9\nexpiration:10\nreply-to:q\nuser-id:u\npersistent:true\nmessage-id:x\nx-message-ttl:1\n\n\x00")
	s := Scanner{Limits: limits}
	s.Head(b)
	var h SendHead
	s.Send(b, V12, nil, &h)
	got := fmt.Sprintf("%s %s %s %s %s %s %s %v %v %v", h.Destination, h.Receipt, h.Transaction, h.Priority, h.Expiration, h.ReplyTo, h.UserID, h.Persistent, h.HasID, h.Declares)
	if got != "/queue/a r t 9 10 q u true true true" {
		t.Error(got)
	}
}

func TestReservedLinesAreNotSent(t *testing.T) {
	form := []byte("\nack:x\nsubscription:1\n\nk:v\n")
	if got := string(appendLines(nil, form, V12)); got != "k:v\n" {
		t.Errorf("%q", got)
	}
	if got := string(appendLines(nil, []byte("\nack:x\n\n"), V12)); got != "" {
		t.Errorf("%q", got)
	}
	var all string
	CanonicalLines(form, func(name, value string) { all += name + "=" + value + " " })
	if all != "ack=x subscription=1 k=v " {
		t.Error(all)
	}
}

func TestMessageFrame(t *testing.T) {
	id := []byte("T_a\\c1@@session-x@@")
	h := MessageHead{
		Lead: AppendLead(nil, "a:1", []byte("/queue/q"), id, V12), ID: id, Number: 7,
		Redelivered: true, Form: []byte("k:v\n"), BodyLen: 2,
	}
	b := append(append(AppendMessageHead(nil, &h, V12), "hi"...), FrameEnd...)
	want := "MESSAGE\nsubscription:a\\c1\ndestination:/queue/q\nmessage-id:T_a\\c1@@session-x@@7\nack:T_a\\c1@@session-x@@7\n" +
		"redelivered:true\nk:v\ncontent-length:2\n\nhi\x00\n"
	if string(b) != want {
		t.Errorf("%q", b)
	}
	if MessageHeadSize(&h) < len(b)-2 {
		t.Error("the size is too small")
	}
	f, err := frame.NewReader(bytes.NewReader(b)).Read()
	if err != nil || f.Header.Get("subscription") != "a:1" || string(f.Body) != "hi" {
		t.Errorf("%v %v", f, err)
	}
}

// oracle reads the first frame of b with go-stomp.
func oracle(b []byte) (*frame.Frame, error) {
	r := frame.NewReader(bytes.NewReader(b))
	for {
		f, err := r.Read()
		if err != nil || f != nil {
			return f, err
		}
	}
}

// FuzzScan holds the scanner against go-stomp's reader but where they differ on
// purpose: limits, NULs and carriage returns among headers, escapes that are
// none, content-lengths that are no numbers or not there.
func FuzzScan(f *testing.F) {
	for _, s := range []string{
		"SEND\ndestination:/queue/a\ncontent-length:3\n\na\x00b\x00", "\n\r\n\x00ACK\nid:T_1@@s@@1\n\n\x00", "CONNECT\naccept-version:1.2\n\n\x00",
		"SEND\r\nk\\c:v\\n\r\n\r\nbody\x00", "NACK\nid:1\nid:2\n\n\x00\n", "SUBSCRIBE\nd:/q\x00SEND\n\n\x00", "BEGIN\ncontent-length:1\n\n\x00\x00",
	} {
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, b []byte, step int) {
		whole, used, err := scan(b, V12, 0)
		cut, usedCut, errCut := scan(b, V12, 1+step&15)
		if text(whole) != text(cut) || used != usedCut {
			t.Fatalf("whole: %s, %d, %v; in pieces: %s, %d, %v", text(whole), used, err, text(cut), usedCut, errCut)
		}
		noise, skipErr := Skip(b)
		if skipErr != nil {
			return
		}
		want, wantErr := oracleBounded(b[noise:])
		switch {
		case errors.Is(wantErr, errHuge):
		case whole != nil && commandOf([]byte(whole.Command)) != Unknown:
			if v := whole.Header.Get(frame.ContentLength); wantErr != nil && v != "" {
				if _, ok := number([]byte(v)); !ok || strings.Contains(v, " ") {
					return // Ignored, or trimmed.
				}
			}
			if _, ok := whole.Header.Contains(frame.ContentLength); ok && wantErr != nil {
				if _, n := number([]byte(whole.Header.Get(frame.ContentLength))); !n {
					return
				}
			}
			if wantErr != nil || text(want) != text(whole) {
				t.Fatalf("ours: %s; go-stomp's: %s, %v", text(whole), text(want), wantErr)
			}
		case whole == nil && err == nil && wantErr == nil:
			t.Fatalf("ours waits for more; go-stomp's: %s", text(want))
		case err != nil && wantErr == nil:
			switch {
			case errors.Is(err, ErrNULInHeader), errors.Is(err, ErrCarriageReturn), errors.Is(err, ErrEscape),
				errors.Is(err, ErrTooManyHeaders), errors.Is(err, ErrHeadersTooLong), errors.Is(err, ErrBodyTooLong):
			default:
				t.Fatalf("ours: %v; go-stomp's: %s", err, text(want))
			}
		}
	})
}

var errHuge = errors.New("too much to ask of it")

// oracleBounded spares go-stomp what it would allocate.
func oracleBounded(b []byte) (*frame.Frame, error) {
	if i := bytes.Index(b, []byte("content")); i >= 0 {
		digits := 0
		for _, c := range b[i:] {
			if c >= '0' && c <= '9' {
				digits++
			}
		}
		if digits > 7 {
			return nil, errHuge
		}
	}
	f, err := oracle(b)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return f, err
}

// FuzzSend: whatever headers a client sends, their canonical form is lines that
// a 1.2 reader takes back as they were meant.
func FuzzSend(f *testing.F) {
	f.Add("k:v\nreply-to:a:b\n", uint8(2))
	f.Add("ack:1\npersistent:true\n", uint8(0))
	f.Fuzz(func(t *testing.T, headers string, version uint8) {
		v := Version(version % 3)
		b := []byte("SEND\n" + headers + "\n\n\x00")
		s := Scanner{Limits: limits}
		if ok, err := s.Head(b); !ok || err != nil {
			return
		}
		var h SendHead
		if _, err := s.Send(b, v, nil, &h); err != nil {
			return
		}
		meant, err := s.Frame(b, v)
		if err != nil {
			t.Fatalf("Send took what Frame refuses: %v", err)
		}
		CanonicalLines(h.Form, func(name, value string) {
			if got := meant.Header.Get(name); got != value && name != "persistent" {
				t.Fatalf("%q: %q became %q", name, got, value)
			}
		})
		for _, to := range []Version{V10, V11, V12} {
			out := appendLines([]byte("SEND\n"), h.Form, to)
			again := Scanner{Limits: Limits{Headers: 1000, HeaderBytes: 1 << 20, Body: 1 << 20}}
			ok, err := again.Head(append(out, "\n\x00"...))
			if !ok || err != nil {
				t.Fatalf("%s: %q cannot be read: %v", to, out, err)
			}
		}
	})
}

func BenchmarkSend(b *testing.B) {
	in := []byte("SEND\ndestination:/queue/a\ncontent-type:text/plain\nreceipt:1234\ncontent-length:128\n\n" + strings.Repeat("x", 128) + "\x00")
	s := Scanner{Limits: limits}
	arena := make([]byte, 0, 4096)
	var h SendHead
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		s.Reset()
		if ok, err := s.Head(in); !ok || err != nil {
			b.Fatal(err)
		}
		s.Body(in)
		if _, err := s.Send(in, V12, arena[:0], &h); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMessage(b *testing.B) {
	h := MessageHead{
		Lead:   AppendLead(nil, "sub-1", []byte("/queue/q"), []byte("T_sub-1@@session-0123456789012345678901@@"), V12),
		Number: 123456, Form: []byte("content-type:text/plain\n"), BodyLen: 128,
	}
	out := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		out = AppendMessageHead(out[:0], &h, V12)
	}
}
