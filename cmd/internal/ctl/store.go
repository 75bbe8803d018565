package ctl

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"leveret/core"
	"leveret/persist"
	"leveret/persist/meta"
	"leveret/persist/segment"
	"leveret/persist/stream"
	"leveret/persist/vfs"
)

// What store check ends with besides exitOK and exitData, which stands for
// damage: exitUnavailable, while a broker uses the store.
const (
	exitNoPermission = 77
	exitNoStore      = 78 // Or one that a later version wrote.
)

// store is about data directories.
type store struct {
	Check  storeCheck  `cmd:"" name:"check" help:"Read all of the data directory of a stopped broker and say what is in it and what is damaged. Changes nothing. Exit code 0 if it is sound, 65 if not, 69 if a broker is using it, 78 if it is no store."`
	Dump   storeDump   `cmd:"" name:"dump" help:"Write every definition and every record of the data directory of a stopped broker in a form to be read. Message bodies and password hashes are not shown."`
	Backup storeBackup `cmd:"" name:"backup" help:"Have the running broker copy its data directory, while it serves. A broker starts from the copy."`
}

// stopped is the data directory of a broker that does not run.
type stopped struct {
	dir    string
	queues map[core.QueueID]core.QueueDef
	counts map[core.DefinitionKind]int
	lines  []string // The definitions, to be read.
	damage []meta.Damage
}

const (
	logFolder     = "log"
	streamsFolder = "streams"
)

// openStopped reads the definitions in dir.
func openStopped(dir string) (*stopped, error) {
	s := &stopped{dir: dir, queues: make(map[core.QueueID]core.QueueDef), counts: make(map[core.DefinitionKind]int)}
	if info, err := os.Stat(dir); err != nil {
		return nil, s.explain(err)
	} else if !info.IsDir() {
		return nil, exitf(exitNoStore, "%s is not a directory", dir)
	}
	var err error
	s.damage, err = meta.Check(vfs.OS, dir, func(c core.Change) {
		s.counts[c.Kind]++
		line := kindNames[c.Kind] + " " + quoted(c.Key)
		if q, ok := c.Value.(core.QueueDef); ok {
			s.queues[q.ID] = q
			line += fmt.Sprintf(", number %d", q.ID)
		}
		s.lines = append(s.lines, line)
	})
	if err != nil {
		return nil, s.explain(err)
	}
	slices.Sort(s.lines)
	return s, nil
}

// kindNames are the words for kinds of definitions. TestKindNames fails when
// one is missing.
var kindNames = map[core.DefinitionKind]string{
	core.DefVHost: "virtual host", core.DefUser: "user", core.DefPermission: "permission",
	core.DefTopicPermission: "topic permission", core.DefExchange: "exchange", core.DefQueue: "queue",
	core.DefBinding: "binding", core.DefPolicy: "policy", core.DefOperatorPolicy: "operator policy",
	core.DefParameter: "parameter", core.DefVHostLimit: "virtual host limit", core.DefGlobal: "global parameter",
}

func quoted(words []string) string {
	var b strings.Builder
	for i, w := range words {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%q", w)
	}
	return b.String()
}

// explain says why a store cannot be looked at.
func (s *stopped) explain(err error) error {
	var locked *vfs.LockedError
	switch {
	case errors.As(err, &locked):
		return exitf(exitUnavailable, "%s is in use by a running broker (%s): stop it first, or take a backup", s.dir, locked.Holder)
	case errors.Is(err, fs.ErrNotExist):
		return exitf(exitNoStore, "%s is not a data directory of leveret: %v", s.dir, err)
	case errors.Is(err, meta.ErrNewerFormat), errors.Is(err, segment.ErrVersion), errors.Is(err, stream.ErrVersion):
		return exitf(exitNoStore, "%v: use that version's leveret", err)
	case errors.Is(err, fs.ErrPermission):
		return exitf(exitNoPermission, "%v", err)
	}
	return exitf(exitSoftware, "%v", err)
}

type storeCheck struct {
	Dir string `arg:"" name:"directory" help:"The --data-dir of the broker."`
}

// queueRow is what is stored of a queue, over all its priorities.
type queueRow struct {
	vhost, name string
	messages    int64
	bytes       int64
}

func (v *storeCheck) Run(t *tool) error {
	t.print.banner("Checking %s ...", v.Dir)
	s, err := openStopped(v.Dir)
	if err != nil {
		return err
	}
	report, err := persist.Check(vfs.OS, filepath.Join(v.Dir, logFolder))
	if errors.Is(err, fs.ErrNotExist) {
		report, err = persist.Report{}, nil // A broker that ended between the two.
	}
	if err != nil {
		return s.explain(err)
	}

	streams, err := stream.Check(vfs.OS, filepath.Join(v.Dir, streamsFolder))
	if err != nil {
		return s.explain(err)
	}

	rows := s.rows(report.Queues, streams)
	problems := s.problems(&report, streams)
	if t.print.format == "json" {
		t.print.document(s.document(&report, streams, rows, problems))
	} else {
		s.print(&t.print, &report, streams, rows)
	}
	if len(problems) > 0 {
		return exitf(exitData, "%s\n%s is damaged in %d places. A broker that starts on it sets them aside and serves the rest.",
			strings.Join(problems, "\n"), v.Dir, len(problems))
	}
	t.print.banner("The store is sound.")
	return nil
}

// rows joins what the log and the streams hold with the names of the queues.
func (s *stopped) rows(levels []persist.QueueReport, streams []stream.Report) []queueRow {
	byID := make(map[core.QueueID]*queueRow)
	for id, q := range s.queues {
		if q.Durable {
			byID[id] = &queueRow{vhost: q.VHost, name: q.Name}
		}
	}
	add := func(id core.QueueID, messages, bytes int64) {
		r := byID[id]
		if r == nil {
			if messages == 0 {
				return
			}
			r = &queueRow{name: fmt.Sprintf("(no definition, number %d)", id)}
			byID[id] = r
		}
		r.messages += messages
		r.bytes += bytes
	}
	for _, l := range levels {
		add(l.Queue, l.Messages, l.BodyBytes)
	}
	for _, r := range streams {
		add(r.Queue, r.Messages, r.Bytes)
	}
	rows := make([]queueRow, 0, len(byID))
	for _, r := range byID {
		rows = append(rows, *r)
	}
	slices.SortFunc(rows, func(a, b queueRow) int {
		if c := strings.Compare(a.vhost, b.vhost); c != 0 {
			return c
		}
		return strings.Compare(a.name, b.name)
	})
	return rows
}

// problems are what is damaged, one line each. The end of a file that was being
// written when the broker died is none: nobody was told that it was stored.
func (s *stopped) problems(report *persist.Report, streams []stream.Report) []string {
	var lines []string
	for i := range s.damage {
		if !s.damage[i].Unsynced {
			lines = append(lines, s.damage[i].String())
		}
	}
	for _, d := range report.Damage {
		lines = append(lines, d.String())
	}
	for _, r := range streams {
		for _, d := range r.Damage {
			lines = append(lines, d.String())
		}
	}
	for _, m := range report.Missing {
		name := fmt.Sprintf("queue number %d", m.Queue)
		if q, ok := s.queues[m.Queue]; ok {
			name = fmt.Sprintf("queue '%s' in vhost '%s'", q.Name, q.VHost)
		}
		lines = append(lines, fmt.Sprintf("%s: %d messages are missing", name, m.Count))
	}
	return lines
}

func (s *stopped) print(p *printer, report *persist.Report, streams []stream.Report, rows []queueRow) {
	if !p.quiet {
		var kinds []string
		for k := core.DefVHost; k <= core.DefGlobal; k++ {
			if n := s.counts[k]; n > 0 {
				kinds = append(kinds, fmt.Sprintf("%d of kind %s", n, kindNames[k]))
			}
		}
		p.banner("Definitions: %s", strings.Join(kinds, ", "))
		p.banner("Log: %d segments, %d groups written, %d messages in queues, last checkpoint after group %d", report.Segments, report.Groups, report.Messages, report.Checkpoint)
		if len(streams) > 0 {
			segments, messages := streamTotals(streams)
			p.banner("Streams: %d with %d segments, %d messages", len(streams), segments, messages)
		}
		if report.TornBytes > 0 {
			p.banner("The last group was not written completely, %d bytes: as after a crash; nobody was told that it was stored.", report.TornBytes)
		}
	}
	table := make([][]any, len(rows))
	for i, r := range rows {
		table[i] = []any{r.vhost, r.name, r.messages, r.bytes}
	}
	p.table([]string{"vhost", "name", "messages", "message_bytes"}, table)
}

func streamTotals(streams []stream.Report) (segments int, messages int64) {
	for _, r := range streams {
		segments += r.Segments
		messages += r.Messages
	}
	return segments, messages
}

func (s *stopped) document(report *persist.Report, streams []stream.Report, rows []queueRow, problems []string) any {
	segments, messages := streamTotals(streams)
	queues := make([]map[string]any, len(rows))
	for i, r := range rows {
		queues[i] = map[string]any{"vhost": r.vhost, "name": r.name, "messages": r.messages, "message_bytes": r.bytes}
	}
	definitions := map[string]int{}
	for k, n := range s.counts {
		definitions[kindNames[k]] = n
	}
	return map[string]any{
		"sound": len(problems) == 0, "damage": append([]string{}, problems...), "definitions": definitions, "queues": queues,
		"log": map[string]any{
			"segments": report.Segments, "groups": report.Groups, "messages": report.Messages,
			"checkpoint": report.Checkpoint, "torn_bytes": report.TornBytes,
		},
		"streams": map[string]any{"streams": len(streams), "segments": segments, "messages": messages},
	}
}

type storeDump struct {
	Dir string `arg:"" name:"directory" help:"The --data-dir of the broker."`
}

func (v *storeDump) Run(t *tool) error {
	s, err := openStopped(v.Dir)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(t.print.w)
	for _, line := range s.lines {
		fmt.Fprintln(w, line)
	}
	for i := range s.damage {
		fmt.Fprintln(w, "damage:", s.damage[i].String())
	}
	if err := persist.Dump(vfs.OS, filepath.Join(v.Dir, logFolder), w); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(s.explain(err), w.Flush())
	}
	if err := stream.Dump(vfs.OS, filepath.Join(v.Dir, streamsFolder), w); err != nil {
		return errors.Join(s.explain(err), w.Flush())
	}
	return w.Flush()
}

type storeBackup struct {
	Dir string `arg:"" name:"directory" help:"Where the copy goes, on the broker's machine; must be empty or not exist. On the file system of the data directory most of it takes no space."`
}

func (v *storeBackup) Run(t *tool) error {
	dir, err := filepath.Abs(v.Dir)
	if err != nil {
		return exitf(exitData, "%v", err)
	}
	t.print.banner("Copying the broker's data directory to %s ...", dir)
	if err := t.call(http.MethodPost, "/backup", map[string]string{"directory": dir}, nil); err != nil {
		return t.explain(err, exitUnavailable)
	}
	t.print.banner("Done. A broker starts from it: leveret --data-dir %s", dir)
	return nil
}
