package mgmt

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"unicode/utf8"

	"leveret/core"
)

// tableFromJSON turns a JSON object into a table, by name so that the same
// object always makes the same table.
func tableFromJSON(m map[string]any) core.Table {
	if len(m) == 0 {
		return nil
	}
	t := make(core.Table, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		t = append(t, core.Field{Name: k, Value: valueFromJSON(m[k])})
	}
	return t
}

func valueFromJSON(v any) any {
	switch v := v.(type) {
	case json.Number:
		return numberValue(v)
	case map[string]any:
		return tableFromJSON(v)
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = valueFromJSON(e)
		}
		return out
	}
	return v // Strings, booleans and null are the same in both.
}

// tableJSON shows a table to operators. A name that repeats shows its first
// value, which is the one that counts.
func tableJSON(t core.Table) object {
	out := make(object, len(t))
	for _, f := range t {
		if _, twice := out[f.Name]; !twice {
			out[f.Name] = valueJSON(f.Value)
		}
	}
	return out
}

func valueJSON(v any) any {
	switch v := v.(type) {
	case core.Table:
		return tableJSON(v)
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = valueJSON(e)
		}
		return out
	case []byte:
		if utf8.Valid(v) {
			return string(v)
		}
		return base64.StdEncoding.EncodeToString(v)
	case core.Timestamp:
		return int64(v)
	case core.Decimal:
		return float64(v.Value) / math.Pow10(int(v.Scale))
	case float32:
		return finite(float64(v))
	case float64:
		return finite(v)
	}
	return v
}

// finite shows what JSON has no number for as null.
func finite(f float64) any {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	return f
}
