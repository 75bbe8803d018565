package core

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
)

// MarshalJSON writes t as RabbitMQ writes arguments: an object, never null,
// sorted by name; byte arrays as strings, timestamps as numbers, decimals as
// what they stand for.
func (t Table) MarshalJSON() ([]byte, error) {
	m := make(map[string]any, len(t))
	for _, f := range t {
		if _, ok := m[f.Name]; !ok { // The first of a name wins.
			m[f.Name] = jsonValue(f.Value)
		}
	}
	return json.Marshal(m)
}

func jsonValue(v any) any {
	switch v := v.(type) {
	case []byte:
		return string(v)
	case Timestamp:
		return int64(v)
	case Decimal:
		return float64(v.Value) / math.Pow10(int(v.Scale))
	case float32:
		return jsonFloat(float64(v))
	case float64:
		return jsonFloat(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = jsonValue(v[i])
		}
		return out
	}
	return v
}

// jsonFloat writes what JSON has no number for as a string.
func jsonFloat(f float64) any {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return fmt.Sprint(f)
	}
	return f
}

// UnmarshalJSON reads an object, with its names sorted; an empty list counts
// as empty, as RabbitMQ writes it at times. Whole numbers become int64.
func (t *Table) UnmarshalJSON(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return err
	}
	switch v := v.(type) {
	case nil:
		*t = nil
		return nil
	case map[string]any:
		*t = tableOf(v)
		return nil
	case []any:
		if len(v) == 0 {
			*t = nil
			return nil
		}
	}
	return fmt.Errorf("arguments must be an object, not %.40s", data)
}

func tableOf(m map[string]any) Table {
	var t Table
	for _, name := range slices.Sorted(maps.Keys(m)) {
		t = append(t, Field{name, valueOfJSON(m[name])})
	}
	return t
}

func valueOfJSON(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		if f, err := v.Float64(); err == nil {
			return f
		}
		return v.String()
	case map[string]any:
		return tableOf(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = valueOfJSON(v[i])
		}
		return out
	}
	return v
}
