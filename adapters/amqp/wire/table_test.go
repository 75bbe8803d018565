package wire

import (
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
)

// The letters of the table in the specification, bytes written out by hand.
func TestFieldValues(t *testing.T) {
	for _, tt := range []struct {
		hex   string
		value any
		again string // What it is encoded as, if not the same.
	}{
		{"56", nil, ""},
		{"7400", false, ""},
		{"7401", true, ""},
		{"7407", true, "7401"},
		{"62ff", int8(-1), ""},
		{"42ff", uint8(255), ""},
		{"738000", int16(-32768), ""},
		{"758000", uint16(32768), ""},
		{"49ffffffff", int32(-1), ""},
		{"69ffffffff", uint32(1<<32 - 1), ""},
		{"6c8000000000000000", int64(math.MinInt64), ""},
		{"4c8000000000000000", int64(math.MinInt64), "6c8000000000000000"},
		{"663f800000", float32(1), ""},
		{"643ff0000000000000", float64(1), ""},
		{"4402ffffffff", Decimal{2, 1<<32 - 1}, ""},
		{"54000000006553f100", Timestamp(1_700_000_000), ""},
		{"54ffffffffffffffff", Timestamp(-1), ""},
		{"53 00000000", "", ""},
		{"53 00000002 ff00", "\xff\x00", ""},
		{"78 00000002 ff00", []byte{0xff, 0}, ""},
		{"78 00000000", []byte(nil), ""},
		{"46 00000000", Table(nil), ""},
		{"46 00000003 016b56", Table{{"k", nil}}, ""},
		{"46 00000002 0056", Table{{"", nil}}, ""},
		{"41 00000000", []any(nil), ""},
		{"41 00000003 56 7401", []any{nil, true}, ""},
		{"41 00000009 4c0000000000000001", []any{int64(1)}, "41 00000009 6c0000000000000001"},
		{"46 00000004 016b7400", Table{{"k", false}}, ""},
	} {
		b, err := hex.DecodeString("0161" + strings.ReplaceAll(tt.hex, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		table, err := DecodeTable(b)
		if want := (Table{{"a", tt.value}}); err != nil || !reflect.DeepEqual(table, want) {
			t.Errorf("%s: got %#v, %v, want %#v", tt.hex, table, err, want)
			continue
		}
		again := tt.hex
		if tt.again != "" {
			again = tt.again
		}
		if got := hex.EncodeToString(AppendTableFields(nil, table)); got != "0161"+strings.ReplaceAll(again, " ", "") {
			t.Errorf("%#v: encoded as %s, want 0161 %s", tt.value, got, again)
		}
		for n := 1; n < len(b); n++ {
			if got, err := DecodeTable(b[:n]); !errors.Is(err, ErrTable) {
				t.Errorf("the first %d bytes of %x: %v, %v", n, b, got, err)
			}
		}
	}
}

func TestUnknownTypeLettersAreRefused(t *testing.T) {
	const letters = "tbBsuIilLfdDSxTFAV"
	for c := range rune(256) {
		// As many zeros as the longest value has; a shorter one leaves some,
		// which are a field without a type.
		b := append([]byte{1, 'k', byte(c)}, make([]byte, 8)...)
		_, end := valueSpan(b[2:])
		if known := strings.ContainsRune(letters, c); known != (end != 0) {
			t.Errorf("%q: known is %v, want %v", c, end != 0, known)
		}
		if _, err := DecodeTable(b); end == 0 && !errors.Is(err, ErrTable) {
			t.Errorf("%q: %v", c, err)
		}
	}
}

func TestFirstOfDuplicateNamesWins(t *testing.T) {
	table, err := DecodeTable(AppendTableFields(nil, Table{{"a", "zero"}, {"k", "first"}, {"k", "second"}}))
	if err != nil || len(table) != 3 {
		t.Fatal(table, err)
	}
	if v, ok := table.Get("k"); v != "first" || !ok {
		t.Errorf("got %v, %v", v, ok)
	}
	if v, ok := table.Get("K"); v != nil || ok {
		t.Errorf("got %v, %v", v, ok)
	}
}

func TestDepthIsBounded(t *testing.T) {
	for _, tt := range []struct {
		depth int
		want  error
	}{{MaxTableDepth, nil}, {MaxTableDepth + 1, ErrTableDepth}, {100_000, ErrTableDepth}} {
		table, err := DecodeTable(AppendTableFields(nil, nested(tt.depth)))
		if !errors.Is(err, tt.want) {
			t.Errorf("%d deep: %v", tt.depth, err)
		}
		if tt.want == nil && !reflect.DeepEqual(table, nested(tt.depth)) {
			t.Errorf("%d deep: came out different", tt.depth)
		}
	}
}

func TestDecodedTableDoesNotAliasItsBytes(t *testing.T) {
	b := AppendTableFields(nil, someTable)
	table, err := DecodeTable(b)
	if err != nil {
		t.Fatal(err)
	}
	clear(b)
	if !reflect.DeepEqual(table, someTable) {
		t.Errorf("got %v", table)
	}
}

func TestIntIsWrittenInTheSizeItNeeds(t *testing.T) {
	got, err := DecodeTable(AppendTableFields(nil, Table{{"a", 1}, {"b", -1 << 31}, {"c", 1 << 31}}))
	want := Table{{"a", int32(1)}, {"b", int32(-1 << 31)}, {"c", int64(1 << 31)}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v, %v", got, err)
	}
}

func TestForeignTypePanics(t *testing.T) {
	defer func() {
		if r := recover(); r != "wire: a field table cannot hold a map[string]int" {
			t.Errorf("recovered %v", r)
		}
	}()
	AppendTable(nil, Table{{"m", map[string]int{}}})
}
