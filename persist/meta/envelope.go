package meta

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// Every value in the file is an envelope:
//
//	+---------+----------------+---------------------------------+
//	| version | crc32c         | tag, then what the tag says:    |
//	| u8      | u32            | tombstone  revision             |
//	|         |                | definition revision, fields     |
//	|         |                | own        (mark, intent, ...)  |
//	+---------+----------------+---------------------------------+
//
// The crc covers key, version and payload (tag and rest), so a record whose
// key was damaged shows it as well.
//
// A deletion is written as a tombstone, which has a crc, and only later as the
// DEL of buntdb, which has none: a damaged DEL can then do no harm, because one
// is believed only behind a tombstone of its key.
const (
	envelopeVersion = 1
	envelopeHeader  = 5

	tagTombstone  = 0
	tagDefinition = 1
	tagOwn        = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func envelopeCRC(key, payload []byte) uint32 {
	crc := crc32.Update(0, castagnoli, key)
	crc = crc32.Update(crc, castagnoli, []byte{envelopeVersion})
	return crc32.Update(crc, castagnoli, payload)
}

// seal returns payload in an envelope for key.
func seal(key string, payload []byte) string {
	b := make([]byte, envelopeHeader, envelopeHeader+len(payload))
	b[0] = envelopeVersion
	binary.LittleEndian.PutUint32(b[1:], envelopeCRC([]byte(key), payload))
	return string(append(b, payload...))
}

// checkSeal says whether value is an undamaged envelope for key.
func checkSeal(key, value []byte) bool {
	return len(value) > envelopeHeader && value[0] == envelopeVersion &&
		binary.LittleEndian.Uint32(value[1:]) == envelopeCRC(key, value[envelopeHeader:])
}

func tombstonePayload(revision uint64) []byte {
	return binary.AppendUvarint([]byte{tagTombstone}, revision)
}

// content is what an envelope holds.
type content struct {
	tag      byte
	revision uint64
	rest     string // Fields, or what one of our own keys says.
}

var errEnvelope = errors.New("not a value of this version")

// openEnvelope splits value; its crc was checked when the file was read.
func openEnvelope(value string) (content, error) {
	if len(value) <= envelopeHeader {
		return content{}, errEnvelope
	}
	c := content{tag: value[envelopeHeader], rest: value[envelopeHeader+1:]}
	if c.tag > tagOwn {
		return content{}, errEnvelope
	}
	if c.tag != tagOwn {
		revision, n := uvarint(c.rest)
		if n <= 0 {
			return content{}, errEnvelope
		}
		c.revision, c.rest = revision, c.rest[n:]
	}
	return c, nil
}

// mark says how far the file was synced when it was written.
type mark struct {
	synced     uint64 // Everything before this offset.
	deletes    uint64 // Sum of deleteSum of the DELs since the mark before.
	queueIDs   uint64 // Queue ids up to here may have been given out.
	revision   uint64 // Revisions up to here too.
	instance   uint64 // Counts the times that the file was written anew.
	former     uint64 // What instance was before.
	unknownEnd string // What a later version adds.
}

func (m *mark) payload() []byte {
	b := []byte{tagOwn}
	for _, v := range [...]uint64{m.synced, m.deletes, m.queueIDs, m.revision, m.instance, m.former} {
		b = binary.AppendUvarint(b, v)
	}
	return append(b, m.unknownEnd...)
}

func decodeMark(s string) (m mark, ok bool) {
	for _, v := range [...]*uint64{&m.synced, &m.deletes, &m.queueIDs, &m.revision, &m.instance, &m.former} {
		d := decoder{rest: s}
		if *v, ok = d.uvarint(); !ok {
			return mark{}, false
		}
		s = d.rest
	}
	m.unknownEnd = s
	return m, true
}

// deleteSum is what the DEL of key adds to mark.deletes. Sums do not depend on
// the order, which buntdb does not keep within a transaction.
func deleteSum(key []byte) uint64 {
	return uint64(crc32.Checksum(key, castagnoli)) + 1
}

// An intent is the last change of several keys as a whole: a list of keys and
// their values, which are sealed already.

func appendIntent(dst []byte, key, value string) []byte {
	return appendText(appendText(dst, key), value)
}

// eachIntent calls fn for the changes in an intent.
func eachIntent(s string, fn func(key, value string)) error {
	d := decoder{rest: s}
	for d.rest != "" {
		key, ok := d.bytes()
		value, ok2 := d.bytes()
		if !ok || !ok2 || !checkSeal([]byte(key), []byte(value)) {
			return errEnvelope
		}
		fn(key, value)
	}
	return nil
}
