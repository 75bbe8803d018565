package ctl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// printer writes a verb's output in the format asked for. The first error of
// the writer sticks.
type printer struct {
	w        io.Writer
	format   string
	quiet    bool // No banner.
	headless bool // No table header.
	err      error
}

func (p *printer) write(s string) {
	if p.err == nil {
		_, p.err = io.WriteString(p.w, s)
	}
}

// banner says what is being done. Formats that programs read have none.
func (p *printer) banner(format string, args ...any) {
	if !p.quiet && (p.format == "table" || p.format == "pretty_table") {
		p.write(fmt.Sprintf(format, args...) + "\n")
	}
}

// line writes a line that is the verb's answer, quiet or not.
func (p *printer) line(format string, args ...any) { p.write(fmt.Sprintf(format, args...) + "\n") }

// table writes rows of as many values as columns. Values are what JSON
// decodes into.
func (p *printer) table(columns []string, rows [][]any) {
	switch p.format {
	case "json":
		p.jsonRows(columns, rows)
	case "csv":
		p.csv(columns, rows)
	case "pretty_table":
		p.boxes(columns, rows)
	default:
		p.tabs(columns, rows)
	}
}

// tabs is rabbitmqctl's default; it prints the header only above a row.
func (p *printer) tabs(columns []string, rows [][]any) {
	if len(rows) > 0 && !p.headless {
		p.write(strings.Join(columns, "\t") + "\n")
	}
	for _, row := range rows {
		p.write(strings.Join(texts(row), "\t") + "\n")
	}
}

func (p *printer) csv(columns []string, rows [][]any) {
	if len(rows) > 0 && !p.headless {
		p.write(strings.Join(columns, ",") + "\n")
	}
	for _, row := range rows {
		cells := texts(row)
		for i, c := range cells {
			cells[i] = `"` + strings.ReplaceAll(c, `"`, `""`) + `"`
		}
		p.write(strings.Join(cells, ",") + "\n")
	}
}

func (p *printer) jsonRows(columns []string, rows [][]any) {
	p.write("[\n")
	for i, row := range rows {
		var b bytes.Buffer
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('{')
		for j, c := range columns {
			if j > 0 {
				b.WriteByte(',')
			}
			b.Write(compact(c))
			b.WriteByte(':')
			b.Write(compact(row[j]))
		}
		p.write(b.String() + "}\n")
	}
	p.write("]\n")
}

// compact is v in JSON; v came from JSON, so it has one.
func compact(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return []byte("null")
	}
	return bytes.TrimSpace(b.Bytes())
}

// document writes one JSON object, indented.
func (p *printer) document(v any) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		p.err = err
		return
	}
	p.write(string(b) + "\n")
}

func (p *printer) boxes(columns []string, rows [][]any) {
	if len(rows) == 0 {
		return
	}
	grid := make([][]string, 0, len(rows)+1)
	if !p.headless {
		grid = append(grid, columns)
	}
	for _, row := range rows {
		grid = append(grid, texts(row))
	}
	widths := make([]int, len(columns))
	for _, cells := range grid {
		for i, c := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	rule := func(left, mid, right string) {
		parts := make([]string, len(widths))
		for i, w := range widths {
			parts[i] = strings.Repeat("─", w+2)
		}
		p.write(left + strings.Join(parts, mid) + right + "\n")
	}
	rule("┌", "┬", "┐")
	for n, cells := range grid {
		if n > 0 {
			rule("├", "┼", "┤")
		}
		for i, c := range cells {
			p.write("│ " + c + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c)+1))
		}
		p.write("│\n")
	}
	rule("└", "┴", "┘")
}

func texts(row []any) []string {
	out := make([]string, len(row))
	for i, v := range row {
		out[i] = text(v)
	}
	return out
}

// text is v as rabbitmqctl prints it in a cell: strings bare, lists of words in
// brackets, tables as Erlang terms.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return printable(v)
	case []any:
		words := make([]string, len(v))
		for i, e := range v {
			words[i] = text(e)
		}
		return "[" + strings.Join(words, ", ") + "]"
	}
	return term(v)
}

// term is v as an Erlang term.
func term(v any) string {
	switch v := v.(type) {
	case nil:
		return "undefined"
	case string:
		return `"` + strings.ReplaceAll(printable(v), `"`, `\"`) + `"`
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		return v.String()
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = term(e)
		}
		return "[" + strings.Join(parts, ",") + "]"
	case map[string]any:
		var parts []string
		for _, k := range sortedKeys(v) {
			parts = append(parts, "{"+term(k)+","+term(v[k])+"}")
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	return fmt.Sprint(v)
}

// printable keeps control characters from breaking rows or the terminal.
func printable(s string) string {
	if strings.IndexFunc(s, unicode.IsControl) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsControl(r) {
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
