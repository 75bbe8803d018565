package ctl

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// progress shows how far long work is: a bar on a terminal, nothing elsewhere,
// where only the result counts. It writes to standard error, which leaves the
// output to programs.
type progress struct {
	w     io.Writer // nil shows nothing.
	what  string
	began time.Time
	drawn time.Time
	width int // Of what stands there now.
}

// drawEvery is how often the bar is drawn anew.
const drawEvery = 100 * time.Millisecond

// progress begins to show work called what.
func (t *tool) progress(what string) *progress {
	p := &progress{what: what, began: time.Now()}
	if f, ok := t.stderr.(*os.File); ok && !t.print.quiet {
		if st, err := f.Stat(); err == nil && st.Mode()&os.ModeCharDevice != 0 {
			p.w = f
		}
	}
	return p
}

const barWidth = 30

// show draws that done of total is done, 0 if nobody knows of how much.
func (p *progress) show(done, total int64) {
	now := time.Now()
	if p.w == nil || now.Sub(p.drawn) < drawEvery && done != total {
		return
	}
	p.drawn = now
	line := fmt.Sprintf("%s  %d", p.what, done)
	if total > 0 {
		full := int(min(done, total) * barWidth / total)
		line = fmt.Sprintf("%s  [%s%s] %3d %%  %d of %d", p.what, strings.Repeat("#", full), strings.Repeat(".", barWidth-full), min(done, total)*100/total, done, total)
	}
	if took := now.Sub(p.began).Seconds(); took > 1 {
		line += fmt.Sprintf("  %.0f/s", float64(done)/took)
	}
	fmt.Fprintf(p.w, "\r%s%s", line, strings.Repeat(" ", max(0, p.width-len(line))))
	p.width = len(line)
}

// end removes the bar.
func (p *progress) end() {
	if p.w != nil && p.width > 0 {
		fmt.Fprintf(p.w, "\r%s\r", strings.Repeat(" ", p.width))
		p.width = 0
	}
}
