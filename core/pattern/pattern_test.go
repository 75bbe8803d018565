package pattern

import (
	"strings"
	"testing"
	"time"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		expr, matches, misses string // Subjects between spaces; _ is the empty one.
		backtracks            bool
	}{
		{"", "_ a", "", false},
		{".*", "_ a", "", false},
		{"^.*$", "_ a", "", false},
		{"^$", "_", "a", false},
		{"a", "a ba abc", "_ b A", false},
		{"^amq\\.", "amq.topic", "xamq.topic amqx", false},
		{"^(jobs|mail)-[0-9]+$", "jobs-1 mail-22", "jobs- xjobs-1", false},
		{"(?i)^JOBS", "jobs Jobs", "xjobs", false},
		{"^(?!amq\\.).*", "jobs", "amq.topic", true},
		{"^(?!secret)(?!private).+$", "public", "secret1 private2", true},
		{`^(\w+)-\1$`, "a-a ab-ab", "a-b", true},
		{"(?<=x)y", "xy", "y zy", true},
	} {
		re, err := Compile(c.expr)
		if err != nil {
			t.Errorf("%q: %v", c.expr, err)
			continue
		}
		if got := re.backtracking != nil; got != c.backtracks {
			t.Errorf("%q: backtracking %v, want %v", c.expr, got, c.backtracks)
		}
		if re.String() != c.expr {
			t.Errorf("String() is %q, want %q", re, c.expr)
		}
		for _, s := range strings.Fields(c.matches) {
			if s = strings.ReplaceAll(s, "_", ""); !re.MatchString(s) {
				t.Errorf("%q does not match %q", c.expr, s)
			}
		}
		for _, s := range strings.Fields(c.misses) {
			if s = strings.ReplaceAll(s, "_", ""); re.MatchString(s) {
				t.Errorf("%q matches %q", c.expr, s)
			}
		}
	}
}

func TestFoldIgnoresCase(t *testing.T) {
	for _, expr := range []string{"jobs", "JOBS", "^(?!amq)Jobs"} {
		re, err := CompileFold(expr)
		if err != nil {
			t.Fatal(err)
		}
		if !re.MatchString("jOBs.1") || re.MatchString("mail") {
			t.Errorf("%q folded is wrong", expr)
		}
	}
	re, err := CompileFold("^(?!amq)")
	if err != nil {
		t.Fatal(err)
	}
	if re.MatchString("AMQ.topic") {
		t.Error("the look-ahead does not ignore case")
	}
}

func TestBadExpressions(t *testing.T) {
	for _, expr := range []string{"(", "[a", "*", "a{2,1}", `\`, "(?<n", strings.Repeat("a", LenMax+1)} {
		if _, err := Compile(expr); err == nil {
			t.Errorf("%.20q is accepted", expr)
		}
	}
	if _, err := Compile(strings.Repeat("a", LenMax)); err != nil {
		t.Errorf("an expression of the greatest length: %v", err)
	}
}

// Each of these takes ages to find that it does not match; the answer must be
// no, and soon.
func TestRunawayMatchIsNoMatch(t *testing.T) {
	for _, expr := range []string{`^(?=x)?(a+)+$`, `^(?!b)(a|aa)+$`, `^(?!b)(.*)*c\1$`} {
		re, err := Compile(expr)
		if err != nil {
			t.Fatalf("%q: %v", expr, err)
		}
		if re.backtracking == nil {
			t.Fatalf("%q does not backtrack, so it tests nothing", expr)
		}
		start := time.Now()
		if re.MatchString(strings.Repeat("a", 250) + "!") {
			t.Errorf("%q matches", expr)
		}
		if took := time.Since(start); took > 20*timeoutMax {
			t.Errorf("%q took %v", expr, took)
		}
	}
}

func TestQuote(t *testing.T) {
	for _, s := range []string{"", "device", "a.b", `x(?!y)[z]{2}\1^$|+*?`, "{username}"} {
		re, err := Compile("^" + Quote(s) + "$")
		if err != nil {
			t.Fatal(err)
		}
		if !re.MatchString(s) || re.MatchString(s+"x") {
			t.Errorf("%q quoted is wrong", s)
		}
	}
}

func FuzzCompile(f *testing.F) {
	for _, expr := range []string{".*", "^(?!amq\\.).*", `(a+)+\1$`, "(?i)[a-z]{2,}", "((((a){900}){900}){900}){900}", "(?<=(?<!a)b)", `\p{L}+(?>a)`} {
		f.Add(expr, "amq.topic")
	}
	f.Fuzz(func(t *testing.T, expr, subject string) {
		for _, compile := range []func(string) (*Regex, error){Compile, CompileFold} {
			re, err := compile(expr)
			if err == nil && re.String() != expr {
				t.Fatalf("String() is %q, want %q", re, expr)
			}
			if (re == nil) == (err == nil) {
				t.Fatalf("regex %v, error %v", re, err)
			}
			if err == nil && len(subject) < 256 {
				re.MatchString(subject)
			}
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	for _, expr := range []string{".*", "^$", "^jobs-[0-9]+$", "^(?!amq\\.).*"} {
		re, err := Compile(expr)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(expr, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				re.MatchString("jobs-12345")
			}
		})
	}
}
