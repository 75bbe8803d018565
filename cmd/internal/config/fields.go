package config

import (
	"encoding"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ownPrefix begins the keys that are the flags' names: leveret.queue_memory.
// Behind it values are written as for the flag, not as RabbitMQ writes them.
const ownPrefix = "leveret."

// field is a setting as its struct tags describe it.
type field struct {
	index  int // In Serve.
	flag   string
	env    string
	group  string
	enum   []string
	secret bool
	live   bool
	keys   []boundKey
}

// key is the field's own key.
func (f *field) key() string { return ownPrefix + strings.ReplaceAll(f.flag, "-", "_") }

// boundKey is one of RabbitMQ's keys of a field. The tag has conf:"key,other.key"
// and each may say more: key.* adds to a list, key:how has its value translated
// by one of translations (or is the port, or the ip, of an address), key=word
// puts word into a list if it is true.
type boundKey struct {
	pattern []string
	how     string
	word    string
}

// fields are the settings in the order of the help.
var fields = sync.OnceValue(func() []*field {
	var all []*field
	t := reflect.TypeFor[Serve]()
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		if tag.Get("kong") == "-" {
			continue
		}
		f := &field{index: i, flag: tag.Get("name"), env: tag.Get("env"), group: tag.Get("group")}
		if e := tag.Get("enum"); e != "" {
			f.enum = strings.Split(e, ",")
		}
		_, f.secret = tag.Lookup("secret")
		_, f.live = tag.Lookup("live")
		for k := range strings.SplitSeq(tag.Get("conf"), ",") {
			if k != "" {
				name, word, _ := strings.Cut(k, "=")
				name, how, _ := strings.Cut(name, ":")
				f.keys = append(f.keys, boundKey{strings.Split(name, "."), how, word})
			}
		}
		all = append(all, f)
	}
	return all
})

// fieldNamed returns the field of a flag, nil if there is none.
func fieldNamed(flag string) *field {
	for _, f := range fields() {
		if f.flag == flag {
			return f
		}
	}
	return nil
}

func (f *field) value(s *Serve) reflect.Value { return reflect.ValueOf(s).Elem().Field(f.index) }

// set parses text, as the flag would, into f of s.
func (f *field) set(s *Serve, text string) error {
	v := f.value(s)
	if len(f.enum) > 0 && !slices.Contains(f.enum, text) {
		return fmt.Errorf("%q is not one of %s", text, strings.Join(f.enum, ", "))
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch p := v.Addr().Interface().(type) {
	case *string:
		*p = text
	case *[]string:
		*p = splitList(text)
	case *bool:
		b, err := parseBool(text)
		*p = b
		return err
	case *time.Duration:
		d, err := parseDuration(text, 0)
		*p = d
		return err
	default:
		switch v.Kind() {
		case reflect.Int, reflect.Int64, reflect.Int32:
			n, err := strconv.ParseInt(text, 10, v.Type().Bits())
			if err != nil {
				return fmt.Errorf("%q is not a whole number that fits", text)
			}
			v.SetInt(n)
		case reflect.Uint, reflect.Uint16, reflect.Uint32, reflect.Uint64:
			n, err := strconv.ParseUint(text, 10, v.Type().Bits())
			if err != nil {
				return fmt.Errorf("%q is not a whole number from 0 to %d", text, uint64(1)<<v.Type().Bits()-1)
			}
			v.SetUint(n)
		case reflect.Float64:
			n, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return fmt.Errorf("%q is not a number", text)
			}
			v.SetFloat(n)
		default:
			return fmt.Errorf("settings of type %s cannot be read from a file", v.Type())
		}
	}
	return nil
}

// text writes the value of f so that set reads it.
func (f *field) text(s *Serve) string {
	switch v := f.value(s).Interface().(type) {
	case []string:
		return strings.Join(v, ",")
	case time.Duration:
		return durationText(v)
	case slog.Level:
		return strings.ToLower(v.String())
	case fmt.Stringer:
		return v.String()
	default:
		return fmt.Sprint(v)
	}
}

// splitList separates what commas separate.
func splitList(text string) []string {
	var list []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

func parseBool(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "true", "on", "yes", "1":
		return true, nil
	case "false", "off", "no", "0":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", text)
}

// durationUnits are those of RabbitMQ's configuration, with what Go has besides.
var durationUnits = []struct {
	name string
	is   time.Duration
}{
	{"ms", time.Millisecond}, {"us", time.Microsecond}, {"ns", time.Nanosecond}, {"s", time.Second}, {"m", time.Minute}, {"h", time.Hour},
	{"d", 24 * time.Hour}, {"w", 7 * 24 * time.Hour}, {"f", 14 * 24 * time.Hour},
}

// parseDuration reads "60s", "1h30m", "1.5s", "2d" and "-1s". A number without
// a unit is in units of bare, and wrong (but for 0) if bare is 0.
func parseDuration(text string, bare time.Duration) (time.Duration, error) {
	wrong := fmt.Errorf("%q is not a time; write for example 500ms, 60s or 1h30m", text)
	rest, negative := strings.CutPrefix(strings.TrimSpace(text), "-")
	if n, err := strconv.ParseUint(rest, 10, 63); err == nil {
		if n != 0 && bare == 0 || bare > 0 && n > uint64(1<<62/bare) {
			return 0, wrong
		}
		d := time.Duration(n) * bare
		if negative {
			d = -d
		}
		return d, nil
	}
	if rest == "" {
		return 0, wrong
	}
	var sum float64
	for rest != "" {
		digits := strings.IndexFunc(rest, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
		if digits < 1 {
			return 0, wrong
		}
		n, err := strconv.ParseFloat(rest[:digits], 64)
		if err != nil {
			return 0, wrong
		}
		rest = rest[digits:]
		known := false
		for _, u := range durationUnits {
			after, ok := strings.CutPrefix(rest, u.name)
			if ok && (after == "" || after[0] >= '0' && after[0] <= '9') {
				sum, rest, known = sum+n*float64(u.is), after, true
				break
			}
		}
		if !known || sum > 1<<62 {
			return 0, wrong
		}
	}
	if negative {
		sum = -sum
	}
	return time.Duration(sum), nil
}

// durationText leaves out the zeros of time.Duration's own form: 24h, not
// 24h0m0s.
func durationText(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
