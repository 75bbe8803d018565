package wire

// ParseStartOk parses connection.start-ok without decoding the client's
// properties, which a stranger may have filled with anything: decoded, a table
// can take thirty times the room. properties are the table's fields, fit for
// FindField and DecodeTable; they and response alias payload. The error is
// ErrArguments.
func ParseStartOk(payload []byte) (properties []byte, mechanism string, response []byte, err error) {
	d := decoder{rest: payload, anyBytes: true}
	d.long() // Class and method.
	properties = d.take(uint64(d.long()))
	mechanism = d.shortstr()
	response = d.take(uint64(d.long()))
	d.take(uint64(d.octet())) // The locale; there is only one.
	if d.err != nil || len(d.rest) > 0 {
		return nil, "", nil, ErrArguments
	}
	return properties, mechanism, response, nil
}

// FindField returns type letter and raw value of the first field called name
// among fields (a table without its length in front): for S the bytes of the
// string, for F the fields of a table, for t one byte. No copy, no allocation;
// ok is false too if the fields before it are broken.
func FindField(fields []byte, name string) (letter byte, value []byte, ok bool) {
	for len(fields) > 0 {
		n, rest, ok := splitName(fields)
		if !ok {
			return 0, nil, false
		}
		start, end := valueSpan(rest)
		if end == 0 {
			return 0, nil, false
		}
		if string(n) == name {
			return rest[0], rest[start:end], true
		}
		fields = rest[end:]
	}
	return 0, nil, false
}
