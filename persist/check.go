package persist

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"leveret/core"
	"leveret/persist/segment"
	"leveret/persist/vfs"
)

// Check reads everything in the log in dir, which no broker may have open, and
// says what it holds and what is wrong with it. It changes nothing. Only what
// keeps it from looking is an error; damage is in the report.
func Check(fsys vfs.FS, dir string) (Report, error) {
	l, r, unlock, err := inspect(fsys, dir)
	if err != nil {
		return Report{}, err
	}
	defer unlock()
	if err := r.run(); err != nil {
		return l.report, err
	}
	defer r.slots.close()
	// What recovery takes from sidecars is read here as well.
	for _, s := range r.files {
		if s.indexed {
			if err := r.verify(s); err != nil {
				return l.report, err
			}
		}
	}
	if err := l.index.verify(); err != nil {
		r.damage(dir, 0, 0, err)
	}
	for _, q := range l.index.mu.queues {
		for _, level := range q.levels {
			l.report.Queues = append(l.report.Queues, reportLevel(q, level))
		}
	}
	slices.SortFunc(l.report.Queues, func(a, b QueueReport) int {
		if a.Queue != b.Queue {
			return int(int64(a.Queue) - int64(b.Queue))
		}
		return int(a.Priority) - int(b.Priority)
	})
	return l.report, nil
}

// inspect makes ready to look at a log that nobody has open.
func inspect(fsys vfs.FS, dir string) (l *Log, r *recovery, unlock func(), err error) {
	if _, err := fsys.Stat(dir); err != nil {
		return nil, nil, nil, fmt.Errorf("message log: %w", err)
	}
	var o LogOptions
	if err := o.setDefaults(); err != nil {
		return nil, nil, nil, err
	}
	l = newLog(fsys, dir, o)
	unlock = func() {}
	// Where the directory cannot be written nobody else writes to it either.
	lock, err := fsys.Lock(l.path(lockName))
	var locked *vfs.LockedError
	switch {
	case errors.As(err, &locked):
		return nil, nil, nil, fmt.Errorf("message log: %w", err)
	case err == nil:
		unlock = func() { lock.Close() }
	}
	return l, &recovery{log: l, fs: fsys, report: &l.report, flag: os.O_RDONLY}, unlock, nil
}

// verify reads every record of a segment that has a sidecar.
func (r *recovery) verify(s *scannedFile) error {
	return r.scanFile(s, func(w *segment.Window) {
		for at := int64(segment.HeaderBytes); at < s.end; {
			g, ok := w.GroupAt(s.id, at)
			if !ok {
				if g, ok = w.Search(s.id, at, 0); !ok || g.Offset >= s.end {
					r.damage(s.name, at, s.end-at, fmt.Errorf("group: %w", segment.ErrCorrupt))
					return
				}
				r.damage(s.name, at, g.Offset-at, fmt.Errorf("group: %w", segment.ErrCorrupt))
			}
			n := uint32(0)
			w.Records(s.id, &g, func(*segment.Record, int64) bool { n++; return true }, func(offset, length int64, err error) {
				n++
				r.damage(s.name, offset, length, err)
			})
			if n != g.Records {
				r.damage(s.name, g.Offset, int64(g.Length), fmt.Errorf("group of %d records has %d: %w", g.Records, n, segment.ErrCorrupt))
			}
			at = g.End()
		}
	})
}

func reportLevel(q *queueLog, l *level) QueueReport {
	r := QueueReport{Queue: q.id, Priority: l.prio, Next: core.Seq(l.next), Marked: core.Seq(l.mark)}
	for _, c := range l.chunks {
		r.Messages += int64(c.live)
		for i := range c.len() {
			if c.present(i) {
				r.BodyBytes += int64(c.sizeOf(i))
			}
		}
	}
	return r
}

// Dump writes every record of the log in dir, which no broker may have open, in
// a form to be read by people: a line for each group and, indented, one for each
// record.
func Dump(fsys vfs.FS, dir string, w io.Writer) error {
	l, r, unlock, err := inspect(fsys, dir)
	if err != nil {
		return err
	}
	defer unlock()
	if err := r.list(); err != nil {
		return err
	}
	c, err := r.slots.open(l, os.O_RDONLY, func(name string, err error) { r.damage(l.path(name), 0, 0, err) })
	if err != nil {
		return err
	}
	defer r.slots.close()
	if c != nil {
		fmt.Fprintf(w, "checkpoint %d: after group %d, segment %d at %d, clean %v, %d levels\n", c.Number, c.Group, c.Segment, c.Offset, c.Clean, len(c.Levels))
		for _, level := range c.Levels {
			n := int64(0)
			for i := range level.Live {
				n += blockCount(&level.Live[i])
			}
			fmt.Fprintf(w, "  queue %d priority %d: %d messages, next %d, marked %d\n", level.Queue, level.Priority, n, number(level.Next), number(level.Mark))
		}
	}
	for _, s := range r.files {
		if err := r.scanFile(s, func(win *segment.Window) { err = dumpSegment(w, win, s) }); err != nil {
			return err
		}
		if err != nil {
			return err
		}
	}
	for _, d := range r.report.Damage {
		fmt.Fprintf(w, "damage: %v\n", d)
	}
	return nil
}

func number(seq uint64) uint64 { return seq & (1<<56 - 1) }

func dumpSegment(w io.Writer, win *segment.Window, s *scannedFile) error {
	fmt.Fprintf(w, "segment %d: %d bytes\n", s.id.Number, s.size)
	for at := int64(segment.HeaderBytes); ; {
		g, ok := win.GroupAt(s.id, at)
		if !ok {
			if g, ok = win.Search(s.id, at, 0); !ok {
				return nil
			}
			fmt.Fprintf(w, " %d bytes at %d that are no group\n", g.Offset-at, at)
		}
		if _, err := fmt.Fprintf(w, " group %d at %d: %d bytes, %d records, synced through %d\n", g.Number, g.Offset, g.Length, g.Records, g.Synced); err != nil {
			return err
		}
		win.Records(s.id, &g, func(r *segment.Record, offset int64) bool {
			dumpRecord(w, r, offset)
			return true
		}, func(offset, length int64, err error) {
			fmt.Fprintf(w, "  %d: %d bytes: %v\n", offset, length, err)
		})
		at = g.End()
	}
}

func dumpRecord(w io.Writer, r *segment.Record, offset int64) {
	fmt.Fprintf(w, "  %d: %v", offset, r.Kind)
	if r.IsMessage() {
		for i := range min(r.Refs, 16) {
			ref := r.Ref(i)
			fmt.Fprintf(w, " %d/%d/%d", ref.Queue, ref.Seq>>56, number(ref.Seq))
			if ref.ExpiresMS != 0 {
				fmt.Fprintf(w, " expires %d", ref.ExpiresMS)
			}
		}
		if r.Refs > 16 {
			fmt.Fprintf(w, " and %d more", r.Refs-16)
		}
		if c, err := r.Content(); err != nil {
			fmt.Fprintf(w, ": %v", err)
		} else {
			fmt.Fprintf(w, " exchange %q key %q arrived %d, %d bytes of properties, body %d", c.Exchange, c.RoutingKey, c.ArrivedMS, len(c.Properties), len(c.Body))
		}
		if r.Flags&segment.FlagTransient != 0 {
			fmt.Fprint(w, ", transient")
		}
	}
	changes := segment.Changes{
		Ack: func(queue uint32, ranges []segment.Range) {
			fmt.Fprintf(w, " queue %d:", queue)
			for _, a := range ranges[:min(len(ranges), 16)] {
				fmt.Fprintf(w, " %d/%d", a.From>>56, number(a.From))
				if a.Len > 1 {
					fmt.Fprintf(w, "-%d", number(a.From+a.Len-1))
				}
			}
			if len(ranges) > 16 {
				fmt.Fprintf(w, " and %d more", len(ranges)-16)
			}
		},
		Mark: func(queue uint32, upTo uint64) {
			fmt.Fprintf(w, " queue %d/%d: below %d", queue, upTo>>56, number(upTo))
		},
		Purge: func(queue uint32, from, upTo uint64, survivors []segment.Range) {
			fmt.Fprintf(w, " queue %d/%d: %d-%d but for %d ranges", queue, from>>56, number(from), number(upTo-1), len(survivors))
		},
		Drop: func(queue uint32) { fmt.Fprintf(w, " queue %d", queue) },
		Hold: func(h segment.Hold) {
			fmt.Fprintf(w, " queue %d/%d: %d for client %d: %d", h.Queue, h.Seq>>56, number(h.Seq), h.Client, h.Value)
		},
		Retry: func(r segment.Retry) {
			fmt.Fprintf(w, " queue %d/%d: %d handed out %d times, failed %d times, due %d", r.Queue, r.Seq>>56, number(r.Seq), r.Acquired, r.Failed, r.DueMS)
		},
		Receive: func(r segment.Receive) {
			fmt.Fprintf(w, " client %d: id %d %s", r.Client, r.ID, [...]string{"and all others forgotten", "forgotten", "received"}[r.What])
		},
	}
	if !r.IsMessage() {
		if err := changes.Apply(r); err != nil {
			fmt.Fprintf(w, ": %v", err)
		}
	}
	fmt.Fprintln(w)
}
