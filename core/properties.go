package core

import "time"

// Properties are a message's properties, free of any protocol's encoding.
// They hold the union of what the protocols can say; a pointer or an empty
// string is absent. Properties reached through a Message are shared: read only.
type Properties struct {
	ContentType     string
	ContentEncoding string
	Headers         Table
	DeliveryMode    uint8 // 0 absent, 1 transient, 2 persistent.
	Priority        *uint8
	CorrelationID   *string
	ReplyTo         *string
	Expiration      *string // Milliseconds in decimal, as the publisher wrote it.
	MessageID       *string
	Timestamp       *Timestamp
	Type            *string
	UserID          *string
	AppID           *string
	ClusterID       *string

	// ContentTypeSet and ContentEncodingSet tell an empty string from none.
	ContentTypeSet, ContentEncodingSet, HeadersSet bool
}

// Table is a list of named values: headers and arguments. Names may repeat;
// the first one wins.
//
// Values are nil, bool, int8, uint8, int16, uint16, int32, uint32, int64,
// float32, float64, string, []byte, Decimal, Timestamp, Table or []any of these.
type Table []Field

// Field is one entry of a Table.
type Field struct {
	Name  string
	Value any
}

// Decimal is Value / 10^Scale.
type Decimal struct {
	Scale uint8
	Value uint32
}

// Timestamp counts seconds since 1970.
type Timestamp int64

// Time converts t.
func (t Timestamp) Time() time.Time { return time.Unix(int64(t), 0) }

// Get returns the first value called name.
func (t Table) Get(name string) (any, bool) {
	for i := range t {
		if t[i].Name == name {
			return t[i].Value, true
		}
	}
	return nil, false
}

// With returns a copy of t in which name has value; it is appended when new.
func (t Table) With(name string, value any) Table {
	out := make(Table, 0, len(t)+1)
	done := false
	for _, f := range t {
		if f.Name == name {
			if done {
				continue
			}
			f.Value, done = value, true
		}
		out = append(out, f)
	}
	if !done {
		out = append(out, Field{name, value})
	}
	return out
}

// Without returns a copy of t that lacks name.
func (t Table) Without(name string) Table {
	out := make(Table, 0, len(t))
	for _, f := range t {
		if f.Name != name {
			out = append(out, f)
		}
	}
	return out
}

// Integer returns v as an int64 if it is of any integer type.
func Integer(v any) (int64, bool) {
	switch n := v.(type) {
	case int8:
		return int64(n), true
	case uint8:
		return int64(n), true
	case int16:
		return int64(n), true
	case uint16:
		return int64(n), true
	case int32:
		return int64(n), true
	case uint32:
		return int64(n), true
	case int64:
		return n, true
	case int:
		return int64(n), true
	}
	return 0, false
}
