package pattern

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/dlclark/regexp2"
)

// LenMax is how many bytes an expression may have.
const LenMax = 8192

// timeoutMax bounds one match by backtracking.
const timeoutMax = 50 * time.Millisecond

// Regex is a compiled expression. Any goroutine may use it.
type Regex struct {
	expr string

	// At most one of them is set; none means that everything matches.
	linear       *regexp.Regexp
	backtracking *regexp2.Regexp
}

// Compile compiles expr. The error is fit to be shown to the user who wrote it.
func Compile(expr string) (*Regex, error) { return compile(expr, "", regexp2.None) }

// CompileFold is Compile for matches that ignore case, as list filters do.
func CompileFold(expr string) (*Regex, error) { return compile(expr, "(?i)", regexp2.IgnoreCase) }

func compile(expr, prefix string, options regexp2.RegexOptions) (*Regex, error) {
	if len(expr) > LenMax {
		return nil, fmt.Errorf("regular expression of %d bytes, at most %d are allowed", len(expr), LenMax)
	}
	switch expr {
	case "", ".*", "^.*", ".*$":
		// What most permissions say. Unanchored, each matches at some place.
		return &Regex{expr: expr}, nil
	}
	linear, err := regexp.Compile(prefix + expr)
	if err == nil {
		return &Regex{expr: expr, linear: linear}, nil
	}
	backtracking, err := compileBacktracking(expr, options)
	if err != nil {
		return nil, fmt.Errorf("invalid regular expression '%s': %w", expr, err)
	}
	return &Regex{expr: expr, backtracking: backtracking}, nil
}

// compileBacktracking turns a panic of the engine's parser, which is not ours
// and sees what anybody with a login writes, into an error.
func compileBacktracking(expr string, options regexp2.RegexOptions) (re *regexp2.Regexp, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the parser gave up: %v", p)
		}
	}()
	re, err = regexp2.Compile(expr, options)
	if err != nil {
		return nil, err
	}
	re.MatchTimeout = timeoutMax
	return re, nil
}

// String returns the expression as it was given.
func (r *Regex) String() string { return r.expr }

// MatchString reports whether r matches anywhere in s. A match that takes too
// long, which only backtracking can, counts as none.
func (r *Regex) MatchString(s string) bool {
	switch {
	case r.linear != nil:
		return r.linear.MatchString(s)
	case r.backtracking != nil:
		return matchBacktracking(r.backtracking, s)
	}
	return true
}

func matchBacktracking(re *regexp2.Regexp, s string) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false // As in compileBacktracking: no match is the safe answer.
		}
	}()
	ok, err := re.MatchString(s)
	return ok && err == nil
}

// Quote returns an expression, or a piece of one, that matches s and nothing
// else.
func Quote(s string) string {
	if !strings.ContainsAny(s, `\.+*?()|[]{}^$`) {
		return s
	}
	return regexp.QuoteMeta(s)
}
