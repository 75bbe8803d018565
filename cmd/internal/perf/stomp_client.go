package perf

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// stompConn is a connection that has logged in.
type stompConn struct {
	nc     net.Conn
	server string
	rest   []byte // Read behind CONNECTED.
}

func dialSTOMP(ctx context.Context, t *stompTarget) (*stompConn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	nc, err := d.DialContext(ctx, "tcp", t.address)
	if err != nil {
		return nil, err
	}
	c := &stompConn{nc: nc}
	nc.SetDeadline(time.Now().Add(callTimeout))
	_, err = fmt.Fprintf(nc, "CONNECT\naccept-version:1.2\nhost:%s\nlogin:%s\npasscode:%s\n\n\x00", t.vhost, t.user, t.password)
	if err == nil {
		err = c.expect("CONNECTED")
	}
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("%s: %w", t.address, err)
	}
	nc.SetDeadline(time.Time{})
	return c, nil
}

// expect reads one frame, which must be of the given command.
func (c *stompConn) expect(command string) error {
	b := make([]byte, 4096)
	for {
		c.rest = bytes.TrimLeft(c.rest, "\r\n")
		if i := bytes.IndexByte(c.rest, 0); i >= 0 {
			frame := c.rest[:i]
			c.rest = c.rest[i+1:]
			if !bytes.HasPrefix(frame, []byte(command+"\n")) {
				return fmt.Errorf("the broker says %q", frame[:min(len(frame), 500)])
			}
			if i := bytes.Index(frame, []byte("\nserver:")); i >= 0 {
				line, _, _ := bytes.Cut(frame[i+8:], []byte("\n"))
				c.server = string(line)
			}
			return nil
		}
		n, err := c.nc.Read(b)
		if err != nil {
			return err
		}
		c.rest = append(c.rest, b[:n]...)
	}
}

// stompProducer sends copies of one frame, with stamps of their own.
type stompProducer struct {
	*stompConn
	id     int
	size   int
	batch  []byte // Frames, one after the other.
	frame  int    // Length of one.
	body   int    // Where in it its body begins.
	id0    int    // Where in it the digits of its receipt are.
	run    uint64
	left   *atomic.Int64 // Of --count; negative when it is used up.
	counts bool          // There is a --count.
	window uint64

	sent, receipts atomic.Uint64
	latency        Histogram // Of receipts; belongs to the goroutine that reads them.
	due            []int64   // When each outstanding one was sent, by number modulo the window.
	more           chan struct{}
	failed         chan error
}

// receiptDigits is the length of a receipt's number.
const receiptDigits = 12

func (r *stompRun) newProducer(ctx context.Context, id int, left *atomic.Int64) (*stompProducer, error) {
	s, err := dialSTOMP(ctx, &r.target)
	if err != nil {
		return nil, err
	}
	r.server = s.server
	c := r.cmd
	p := &stompProducer{
		stompConn: s, id: id, size: c.Size, run: r.run, left: left, counts: c.Count > 0, window: uint64(c.Receipts),
		more: make(chan struct{}, 1), failed: make(chan error, 1),
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "SEND\ndestination:%s\n", c.Destination)
	if c.Persistent {
		b.WriteString("persistent:true\n")
	}
	if c.Receipts > 0 {
		b.WriteString("receipt:")
		p.id0 = b.Len()
		fmt.Fprintf(&b, "%0*d\n", receiptDigits, 0)
		p.due = make([]int64, c.Receipts)
	}
	fmt.Fprintf(&b, "content-length:%d\n\n", c.Size)
	p.body = b.Len()
	b.Write(make([]byte, c.Size+1))
	p.frame = b.Len()
	n := max(1, c.Batch/p.frame)
	if c.Receipts > 0 {
		n = min(n, max(1, c.Receipts/2))
	}
	p.batch = bytes.Repeat(b.Bytes(), n)
	return p, nil
}

// produce sends until stop is closed or the count is used up, and with receipts
// until the last has come.
func (p *stompProducer) produce(stop <-chan struct{}) error {
	var reading sync.WaitGroup
	reading.Go(p.readReceipts) // Ends when the connection does.
	err := p.sendAll(stop)
	if err == nil && p.window > 0 {
		err = p.await(func() bool { return p.receipts.Load() == p.sent.Load() }, nil)
	}
	if err == nil && p.window == 0 {
		// Its RECEIPT says that the broker has read everything.
		p.nc.SetWriteDeadline(time.Now().Add(callTimeout))
		_, err = io.WriteString(p.nc, "BEGIN\ntransaction:end\nreceipt:end\n\n\x00")
		if err == nil {
			err = p.await(func() bool { return p.receipts.Load() == 1 }, nil)
		}
		p.receipts.Store(0)
	}
	p.nc.Close()
	reading.Wait()
	select {
	case failed := <-p.failed:
		err = errors.Join(err, failed)
	default:
	}
	return err
}

var errStop = errors.New("stop")

func (p *stompProducer) sendAll(stop <-chan struct{}) error {
	most := len(p.batch) / p.frame
	for {
		select {
		case <-stop:
			return nil
		case err := <-p.failed:
			return err
		default:
		}
		n := most
		if p.counts {
			if over := -p.left.Add(int64(-n)); over > 0 {
				if n -= int(over); n <= 0 {
					return nil
				}
			}
		}
		sent := p.sent.Load()
		if p.window > 0 {
			err := p.await(func() bool { return sent+uint64(n)-p.receipts.Load() <= p.window }, stop)
			if errors.Is(err, errStop) {
				return nil
			} else if err != nil {
				return err
			}
		}
		now := time.Now().UnixNano()
		for i := range n {
			f := p.batch[i*p.frame : (i+1)*p.frame]
			number := sent + uint64(i)
			if p.size >= stampLen {
				binary.BigEndian.PutUint64(f[p.body:], uint64(p.id)<<seqBits|number)
				binary.BigEndian.PutUint64(f[p.body+8:], p.run|uint64(now)&timeMask)
			}
			if p.window > 0 {
				for d, v := receiptDigits-1, number; d >= 0; d, v = d-1, v/10 {
					f[p.id0+d] = byte('0' + v%10)
				}
				atomic.StoreInt64(&p.due[number%p.window], now)
			}
		}
		if _, err := p.nc.Write(p.batch[:n*p.frame]); err != nil {
			select {
			case failed := <-p.failed:
				return failed
			default:
				return err
			}
		}
		p.sent.Add(uint64(n))
	}
}

// await waits for receipts until enough says so.
func (p *stompProducer) await(enough func() bool, stop <-chan struct{}) error {
	for !enough() {
		select {
		case <-p.more:
		case <-stop:
			return errStop
		case err := <-p.failed:
			return err
		case <-time.After(callTimeout):
			return errors.New("the broker sends no receipts")
		}
	}
	return nil
}

// readReceipts counts receipts: frames without a body, which one NUL ends.
func (p *stompProducer) readReceipts() {
	b := make([]byte, 256<<10)
	kept := copy(b, p.rest)
	for {
		n, err := p.nc.Read(b[kept:])
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				p.failed <- err
			}
			return
		}
		chunk := b[:kept+n]
		now := time.Now().UnixNano()
		got := uint64(0)
		for {
			i := bytes.IndexByte(chunk, 0)
			if i < 0 {
				break
			}
			f := bytes.TrimLeft(chunk[:i], "\r\n")
			if !bytes.HasPrefix(f, []byte("RECEIPT\n")) {
				p.failed <- fmt.Errorf("the broker says %q", f[:min(len(f), 500)])
				return
			}
			if at := bytes.Index(f, []byte("receipt-id:")); p.window > 0 && at >= 0 && len(f) >= at+11+receiptDigits {
				if v, err := strconv.ParseUint(string(f[at+11:at+11+receiptDigits]), 10, 64); err == nil {
					p.latency.Record(now - atomic.LoadInt64(&p.due[v%p.window]))
				}
			}
			got++
			chunk = chunk[i+1:]
		}
		if kept = copy(b, chunk); kept == len(b) {
			p.failed <- errors.New("the broker sends a frame that is no receipt")
			return
		}
		if got > 0 {
			p.receipts.Add(got)
			select {
			case p.more <- struct{}{}:
			default:
			}
		}
	}
}

// stompConsumer reads MESSAGEs where they lie and acks once for each read.
type stompConsumer struct {
	*stompConn
	size     int
	ackEvery int // 0: automatic.
	unacked  int
	acks     []byte
	writer   *spillWriter

	received atomic.Uint64
	latency  Histogram
	verify   verifier
	leaving  atomic.Bool
}

func (r *stompRun) newConsumer(ctx context.Context, i int) (*stompConsumer, error) {
	s, err := dialSTOMP(ctx, &r.target)
	if err != nil {
		return nil, err
	}
	r.server = s.server
	c := r.cmd
	k := &stompConsumer{stompConn: s, size: c.Size, ackEvery: r.opt.ackEvery, writer: newSpillWriter(s.nc)}
	l := &r.ledgers[0]
	if r.topic {
		l = &r.ledgers[i]
	}
	k.verify = verifier{ledger: l, run: r.run, anyRun: c.Producers == 0, ids: c.Producers}
	prefetch := ""
	if c.Prefetch > 0 {
		prefetch = fmt.Sprintf("prefetch-count:%d\n", c.Prefetch)
	}
	_, err = fmt.Fprintf(s.nc, "SUBSCRIBE\nid:0\ndestination:%s\nack:%s\n%sreceipt:s\n\n\x00", c.Destination, c.Ack, prefetch)
	if err == nil {
		err = s.expect("RECEIPT")
	}
	if err != nil {
		s.nc.Close()
		return nil, err
	}
	return k, nil
}

// leave ends consume.
func (k *stompConsumer) leave() {
	k.leaving.Store(true)
	k.nc.Close()
}

func (k *stompConsumer) consume() error {
	b := make([]byte, 256<<10)
	kept := copy(b, k.rest)
	for {
		n, err := k.nc.Read(b[kept:])
		if err != nil {
			if k.leaving.Load() {
				return nil
			}
			return err
		}
		used, err := k.messages(b[:kept+n])
		if err != nil {
			return err
		}
		if kept = copy(b, b[used:kept+n]); kept == len(b) {
			b = append(b, make([]byte, len(b))...)
		}
	}
}

// messages takes the MESSAGEs that are complete in b.
func (k *stompConsumer) messages(b []byte) (used int, err error) {
	now := time.Now().UnixNano()
	l := k.verify.ledger
	if l.shared {
		l.mu.Lock()
		defer l.mu.Unlock()
	}
	got := uint64(0)
	for used < len(b) {
		if b[used] == '\n' {
			used++
			continue
		}
		f := b[used:]
		head, length, ack, redelivered := messageHead(f)
		if head == 0 || length >= 0 && len(f) <= head+length {
			break
		}
		if f[0] != 'M' || length < 0 {
			return used, fmt.Errorf("the broker says %q", f[:min(len(f), 500)])
		}
		body := f[head : head+length]
		used += head + length + 1
		got++
		if length != k.size {
			k.verify.faults.missized++
		} else if length >= stampLen {
			w1 := binary.BigEndian.Uint64(body[8:])
			if k.verify.check(binary.BigEndian.Uint64(body), w1, redelivered) {
				k.latency.Record(age(now, w1))
			}
		}
		if k.ackEvery > 0 {
			if k.unacked++; k.unacked >= k.ackEvery {
				k.unacked = 0
				k.acks = append(append(append(k.acks, "ACK\nid:"...), ack...), "\n\n\x00"...)
			}
		}
	}
	k.received.Add(got)
	if len(k.acks) > 0 {
		err = k.writer.send(k.acks)
		k.acks = k.acks[:0]
	}
	return used, err
}

// messageHead finds what matters in the headers that f begins with. n is 0 if
// they are not complete, length -1 without a content-length.
func messageHead(f []byte) (n, length int, ack []byte, redelivered bool) {
	length = -1
	for n < len(f) {
		i := bytes.IndexByte(f[n:], '\n')
		if i < 0 {
			return 0, 0, nil, false
		}
		line := f[n : n+i]
		n += i + 1
		switch {
		case i == 0:
			return n, length, ack, redelivered
		case i > 15 && line[0] == 'c' && string(line[:15]) == "content-length:":
			length = 0
			for _, c := range line[15:] {
				length = length*10 + int(c-'0')
			}
		case i > 4 && line[0] == 'a' && string(line[:4]) == "ack:":
			ack = line[4:]
		case line[0] == 'r' && string(line) == "redelivered:true":
			redelivered = true
		}
	}
	return 0, 0, nil, false
}
