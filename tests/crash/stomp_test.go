package crash

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/go-stomp/stomp/v3/frame"
)

// stompFrames logs in over STOMP and returns what comes.
func (p *place) stompFrames(addr string) (net.Conn, *frame.Reader) {
	p.Helper()
	nc, err := net.Dial("tcp", addr)
	p.must(err)
	p.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(time.Minute))
	_, err = io.WriteString(nc, "CONNECT\naccept-version:1.2\n\n\x00")
	p.must(err)
	r := frame.NewReader(nc)
	if f, err := r.Read(); err != nil || f.Command != "CONNECTED" {
		p.Fatalf("login: %v, %v", f, err)
	}
	return nc, r
}

// TestReceiptsUnderKill kills the broker while a STOMP client sends persistent
// messages and transactions: what had its RECEIPT is there afterwards, a
// transaction wholly or not at all.
func TestReceiptsUnderKill(t *testing.T) {
	p := newPlace(t)
	b := p.start()
	nc, r := p.stompFrames(b.STOMP)
	go func() { // Ends when the broker is killed.
		for i := 0; ; i++ {
			send := fmt.Sprintf("SEND\ndestination:/queue/single\npersistent:true\nreceipt:s%d\n\n%d\x00", i, i)
			tx := fmt.Sprintf("BEGIN\ntransaction:t\n\n\x00SEND\ndestination:/queue/pairs\npersistent:true\ntransaction:t\n\n%d\x00"+
				"SEND\ndestination:/queue/pairs\npersistent:true\ntransaction:t\n\n%d\x00COMMIT\ntransaction:t\nreceipt:t%d\n\n\x00", i, i, i)
			if _, err := io.WriteString(nc, send+tx); err != nil {
				return
			}
		}
	}()
	confirmed := map[string]bool{}
	for len(confirmed) < 2000 {
		f, err := r.Read()
		p.must(err)
		if f == nil {
			continue
		}
		if f.Command != "RECEIPT" {
			t.Fatalf("got %s: %s", f.Command, f.Body)
		}
		confirmed[f.Header.Get("receipt-id")] = true
	}
	b.Kill()
	for { // What was on its way counts too.
		f, err := r.Read()
		if err != nil {
			break
		}
		if f != nil {
			confirmed[f.Header.Get("receipt-id")] = true
		}
	}

	b = p.start()
	nc, r = p.stompFrames(b.STOMP)
	found := map[string]int{}
	for _, queue := range []string{"single", "pairs"} {
		// An end of our own tells when all is read.
		_, err := fmt.Fprintf(nc, "SEND\ndestination:/queue/%s\n\nend\x00SUBSCRIBE\nid:%s\ndestination:/queue/%s\n\n\x00", queue, queue, queue)
		p.must(err)
		for {
			f, err := r.Read()
			p.must(err)
			if f == nil {
				continue
			}
			if f.Command != "MESSAGE" {
				p.must(errors.New(f.Command + ": " + string(f.Body)))
			}
			if string(f.Body) == "end" {
				break
			}
			found[queue+string(f.Body)]++
		}
	}
	for id := range confirmed {
		number := id[1:]
		if strings.HasPrefix(id, "s") && found["single"+number] != 1 {
			t.Errorf("message %s had its receipt and is there %d times", number, found["single"+number])
		}
		if strings.HasPrefix(id, "t") && found["pairs"+number] != 2 {
			t.Errorf("transaction %s had its receipt and is there with %d messages", number, found["pairs"+number])
		}
	}
	for name, n := range found {
		if strings.HasPrefix(name, "pairs") && n != 2 {
			t.Errorf("half of transaction %s is there", name)
		}
	}
	t.Logf("%d receipts, %d messages found", len(confirmed), len(found))
}

// TestTransactionsUnderKill kills the broker while a STOMP client moves messages
// in transactions, an ACK and a SEND each: afterwards each message is in one of
// the two queues, once, and what had its RECEIPT has been moved.
func TestTransactionsUnderKill(t *testing.T) {
	const jobs = 5000
	p := newPlace(t)
	b := p.start()
	nc, r := p.stompFrames(b.STOMP)
	var fill strings.Builder
	for i := range jobs {
		fmt.Fprintf(&fill, "SEND\ndestination:/queue/work\npersistent:true\n%s\n%d\x00", receiptOfLast(i, jobs), i)
	}
	_, err := io.WriteString(nc, fill.String())
	p.must(err)
	next := func() (*frame.Frame, error) {
		for {
			if f, err := r.Read(); err != nil || f != nil {
				return f, err
			}
		}
	}
	f, err := next()
	p.must(err)
	if f.Command != "RECEIPT" {
		t.Fatalf("got %s: %s", f.Command, f.Body)
	}

	_, err = io.WriteString(nc, "SUBSCRIBE\nid:1\ndestination:/queue/work\nack:client-individual\nprefetch-count:100\n\n\x00")
	p.must(err)
	moved := map[string]bool{}
	for {
		f, err := next()
		if err != nil {
			break // The broker is dead, and what was on its way has come.
		}
		switch f.Command {
		case "MESSAGE":
			fmt.Fprintf(nc, "BEGIN\ntransaction:t\n\n\x00ACK\nid:%s\ntransaction:t\n\n\x00"+
				"SEND\ndestination:/queue/done\npersistent:true\ntransaction:t\n\n%s\x00COMMIT\ntransaction:t\nreceipt:%s\n\n\x00",
				f.Header.Get("ack"), f.Body, f.Body)
		case "RECEIPT":
			moved[f.Header.Get("receipt-id")] = true
			if len(moved) == jobs/5 {
				b.Kill()
			}
		default:
			t.Fatalf("got %s: %s", f.Command, f.Body)
		}
	}

	b = p.start()
	nc, r = p.stompFrames(b.STOMP)
	found := map[string]string{}
	for _, queue := range []string{"work", "done"} {
		_, err := fmt.Fprintf(nc, "SEND\ndestination:/queue/%s\n\nend\x00SUBSCRIBE\nid:%s\ndestination:/queue/%s\n\n\x00", queue, queue, queue)
		p.must(err)
		for {
			f, err := next()
			p.must(err)
			if f.Command != "MESSAGE" {
				t.Fatalf("got %s: %s", f.Command, f.Body)
			}
			body := string(f.Body)
			if body == "end" {
				break
			}
			if found[body] != "" {
				t.Errorf("message %s is in %s and in %s", body, found[body], queue)
			}
			found[body] = queue
		}
	}
	if len(found) != jobs {
		t.Errorf("%d messages are left of %d", len(found), jobs)
	}
	for id := range moved {
		if found[id] != "done" {
			t.Errorf("message %s was moved by a transaction that had its receipt, and is in %q", id, found[id])
		}
	}
	t.Logf("%d of %d messages were moved", len(moved), jobs)
}

// receiptOfLast is the header that asks for a receipt of the last of n messages.
func receiptOfLast(i, n int) string {
	if i == n-1 {
		return "receipt:last\n"
	}
	return ""
}
