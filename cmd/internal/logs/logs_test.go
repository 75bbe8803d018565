package logs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func open(t *testing.T, o Options) *Logs {
	t.Helper()
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func content(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestLevelsOfOutputsAndCategories(t *testing.T) {
	var console bytes.Buffer
	name := filepath.Join(t.TempDir(), "new", "leveret.log")
	l := open(t, Options{
		Console: &console, ConsoleLevel: slog.LevelWarn, File: name, FileLevel: slog.LevelInfo, FileJSON: true,
		Levels: map[string]slog.Level{Connection: slog.LevelDebug, Queue: slog.LevelError},
	})
	for _, category := range Categories {
		log := l.Logger(category)
		for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
			log.Log(t.Context(), level, category)
		}
	}
	for _, c := range []struct {
		category      string
		console, file int
	}{{Connection, 4, 4}, {Queue, 1, 1}, {Default, 2, 3}} {
		if n := strings.Count(console.String(), "msg="+c.category); n != c.console {
			t.Errorf("%s: %d lines on the console, want %d", c.category, n, c.console)
		}
		if n := strings.Count(content(t, name), `"msg":"`+c.category); n != c.file {
			t.Errorf("%s: %d lines in the file, want %d", c.category, n, c.file)
		}
	}
	for line := range strings.Lines(content(t, name)) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
	if l.Logger(Queue).Enabled(t.Context(), slog.LevelWarn) || !l.Logger(Connection).Enabled(t.Context(), slog.LevelDebug) {
		t.Error("what is enabled is not what is written")
	}
}

func TestSetChangesLoggersInUse(t *testing.T) {
	var a, b bytes.Buffer
	l := open(t, Options{Console: &a, ConsoleLevel: slog.LevelInfo})
	log := l.Logger(Default).With("who", "x").WithGroup("g").With("n", 1)
	log.Info("one")
	log.Debug("not yet")
	if err := l.Set(Options{Console: &b, ConsoleLevel: slog.LevelDebug, ConsoleJSON: true}); err != nil {
		t.Fatal(err)
	}
	log.Debug("two", "m", 2)
	if !strings.Contains(a.String(), "msg=one who=x g.n=1") || strings.Contains(a.String(), "two") || strings.Contains(a.String(), "not yet") {
		t.Errorf("before: %s", &a)
	}
	if !strings.Contains(b.String(), `"msg":"two","who":"x","g":{"n":1,"m":2}`) {
		t.Errorf("after: %s", &b)
	}
	if err := l.Set(Options{File: "/dev/null/x"}); err == nil {
		t.Error("a file below a file was opened")
	}
	log.Info("three")
	if !strings.Contains(b.String(), "three") {
		t.Errorf("after an error: %s", &b)
	}
}

func TestFileIsTurnedOverBySize(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.log")
	f, err := openFile(name, Rotation{Size: 10, Count: 2})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if _, err := fmt.Fprintf(f, "line %d\n", i); err != nil {
			t.Fatal(err)
		}
	}
	f.Write([]byte("one that is longer than the limit\n"))
	for file, want := range map[string]string{name: "one that is longer than the limit\n", name + ".0": "line 4\n", name + ".1": "line 3\n"} {
		if got := content(t, file); got != want {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
	}
	if _, err := os.Stat(name + ".2"); err == nil {
		t.Error("more old files stay than are asked for")
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
	if _, err := f.Write([]byte("x")); err == nil {
		t.Error("written after Close")
	}

	g, err := openFile(name, Rotation{Size: 40})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	g.Write([]byte("0123456789\n"))
	if got := content(t, name); got != "0123456789\n" {
		t.Errorf("without old files: %q", got)
	}
}

func TestFileIsTurnedOverByDate(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.log")
	var daily Date
	if err := daily.UnmarshalText([]byte("$D0")); err != nil {
		t.Fatal(err)
	}
	f, err := openFile(name, Rotation{Date: daily, Count: 1})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	f.now = func() time.Time { return now }
	f.Write([]byte("today\n"))
	now = now.AddDate(0, 0, 1)
	f.Write([]byte("tomorrow\n"))
	f.Write([]byte("tomorrow\n"))
	if got := content(t, name+".0"); got != "today\n" {
		t.Errorf("the old file: %q", got)
	}
	f.Close()

	// Stopped for longer than a day.
	if err := os.Chtimes(name, time.Time{}, time.Now().AddDate(0, 0, -3)); err != nil {
		t.Fatal(err)
	}
	f, err = openFile(name, Rotation{Date: daily, Count: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.Write([]byte("later\n"))
	if got := content(t, name); got != "later\n" {
		t.Errorf("after days: %q", got)
	}
}

func TestDate(t *testing.T) {
	from := time.Date(2026, 11, 21, 22, 30, 0, 0, time.UTC) // A Saturday.
	for text, want := range map[string]string{
		"$D0": "2026-11-22 00", "$D23": "2026-11-21 23", "$D22": "2026-11-22 22", "$W0D23": "2026-11-22 23", "$W6D0": "2026-11-28 00", "$M1D0": "2026-12-01 00",
		"$M31D5": "2026-12-31 05", "$W1": "2026-11-23 00", "": "0001-01-01 00",
	} {
		var d, again Date
		if err := d.UnmarshalText([]byte(text)); err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got := d.after(from).Format("2006-01-02 15"); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
		if err := again.UnmarshalText([]byte(d.String())); err != nil || again != d {
			t.Errorf("%q is written as %q", text, d.String())
		}
	}
	for _, text := range []string{"$", "D0", "$D24", "$W7D0", "$M32", "$M0", "$D0x", "daily"} {
		if err := new(Date).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func TestAFileMovedAwayIsLetGoOf(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.log")
	o := Options{File: name}
	l := open(t, o)
	l.Logger(Default).Info("before")
	if err := os.Rename(name, name+".moved"); err != nil {
		t.Fatal(err)
	}
	if err := l.Set(o); err != nil {
		t.Fatal(err)
	}
	l.Logger(Default).Info("after")
	if strings.Contains(content(t, name), "before") || !strings.Contains(content(t, name), "after") {
		t.Errorf("the new file: %s", content(t, name))
	}
}

func TestLogsTogether(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.log")
	o := Options{File: name, Rotation: Rotation{Size: 2000, Count: 1000}}
	l := open(t, o)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			log := l.Logger(Queue).With("a", 1)
			for i := range 200 {
				log.Info("line", "i", i)
			}
		})
	}
	all.Wait()
	names, _ := filepath.Glob(name + "*")
	lines := 0
	for _, n := range names {
		lines += strings.Count(content(t, n), "msg=line a=1 i=")
	}
	if lines != 800 || len(names) < 10 {
		t.Errorf("%d lines in %d files, want 800", lines, len(names))
	}
}

func FuzzDate(f *testing.F) {
	f.Add("$D0", int64(0))
	f.Add("$M31D23", int64(1790000000))
	f.Fuzz(func(t *testing.T, text string, at int64) {
		var d, again Date
		if d.UnmarshalText([]byte(text)) != nil {
			return
		}
		if err := again.UnmarshalText([]byte(d.String())); err != nil || again != d {
			t.Errorf("%q is written as %q", text, d.String())
		}
		from := time.Unix(at%(1<<33), 0).UTC()
		if next := d.after(from); text != "" && (!next.After(from) || next.Sub(from) > 63*24*time.Hour) {
			t.Errorf("%q after %v is %v", text, from, next)
		}
	})
}
