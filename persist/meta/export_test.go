package meta

import "leveret/core"

// SetBeforeWrite has fn called before each transaction of buntdb, which fails
// with its error.
func (s *Store) SetBeforeWrite(fn func() error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.bunt.before = fn
}

// Queued returns how many commits wait for the group being written.
func (s *Store) Queued() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.mu.queue)
}

// FileSize returns how long the file is, written or not synced.
func (s *Store) FileSize() int64 {
	s.writing.Lock()
	defer s.writing.Unlock()
	size, _ := s.writing.file.Size()
	return size
}

// SyncedSize returns up to where the file is known to be on disk.
func (s *Store) SyncedSize() int64 {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.writing.synced
}

var (
	AppendKey        = appendKey
	AppendDefinition = appendDefinition
	DecodeDefinition = decodeDefinition
	UnknownFields    = unknownFields
	KeyParts         = keyParts
	AppendSet        = appendSet
	Seal             = seal
)

const FormatKey, FileName, PrevName, BallastName = keyFormat, fileName, prevName, ballastName

// AppendUnknown appends a field of a later version.
func AppendUnknown(dst []byte, number int, text string) []byte {
	e := encoder{dst: dst}
	e.always(number, text)
	return e.dst
}

// StoredFields returns the encoded fields of a durable definition.
func (s *Store) StoredFields(kind core.DefinitionKind, key []string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, _ := s.storedLocked(string(appendKey(nil, kind, key)))
	return st.fields
}
