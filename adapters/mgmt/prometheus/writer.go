package prometheus

import (
	"bufio"
	"io"
	"math"
	"strconv"
)

// contentType is that of the text format.
const contentType = "text/plain; version=0.0.4; charset=utf-8"

// writer writes the text format. The first error sticks.
type writer struct {
	out *bufio.Writer
	buf []byte // A line.
}

// writeSize is how much is gathered before it goes out.
const writeSize = 64 << 10

// reset makes w, which may be new, write to out.
func (w *writer) reset(out io.Writer) {
	if w.out == nil {
		w.out = bufio.NewWriterSize(out, writeSize)
		return
	}
	w.out.Reset(out)
}

// kind is a metric's type.
type kind string

const (
	counter   kind = "counter"
	gauge     kind = "gauge"
	histogram kind = "histogram"
	untyped   kind = "untyped"
)

// head begins a metric.
func (w *writer) head(name string, k kind, help string) {
	b := append(w.buf[:0], "# TYPE "...)
	b = append(append(append(b, name...), ' '), k...)
	b = append(append(append(b, "\n# HELP "...), name...), ' ')
	b = append(appendEscaped(b, help, false), '\n')
	w.buf = b
	w.out.Write(b)
}

// sample writes a value; labels are as appendLabels makes them.
func (w *writer) sample(name string, labels []byte, v float64) {
	b := append(w.buf[:0], name...)
	b = append(append(b, labels...), ' ')
	b = append(appendValue(b, v), '\n')
	w.buf = b
	w.out.Write(b)
}

// one writes a metric with one value.
func (w *writer) one(name string, k kind, help string, v float64) {
	w.head(name, k, help)
	w.sample(name, nil, v)
}

func appendValue(b []byte, v float64) []byte {
	switch {
	case v == math.Trunc(v) && math.Abs(v) < 1<<53:
		return strconv.AppendInt(b, int64(v), 10)
	case math.IsInf(v, 1):
		return append(b, "+Inf"...)
	case math.IsInf(v, -1):
		return append(b, "-Inf"...)
	}
	return strconv.AppendFloat(b, v, 'g', -1, 64)
}

// appendLabels appends {name="value",...}; pairs are names and values in turn.
func appendLabels(b []byte, pairs ...string) []byte {
	b = append(b, '{')
	for i := 0; i+1 < len(pairs); i += 2 {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, pairs[i]...), '=', '"')
		b = append(appendEscaped(b, pairs[i+1], true), '"')
	}
	return append(b, '}')
}

// appendEscaped appends s as the format has texts; quoted ones cannot hold a
// quotation mark. Names of queues are any bytes: what is no UTF-8 is replaced.
func appendEscaped(b []byte, s string, quoted bool) []byte {
	for _, r := range s {
		switch {
		case r == '\\':
			b = append(b, `\\`...)
		case r == '\n':
			b = append(b, `\n`...)
		case r == '"' && quoted:
			b = append(b, `\"`...)
		default:
			b = append(b, string(r)...)
		}
	}
	return b
}
