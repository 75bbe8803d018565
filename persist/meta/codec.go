package meta

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"leveret/core"
)

// A definition is a list of fields in any order:
//
//	+-----------------------+---------------------------------+
//	| number<<1 | wire      | wire 0: uvarint                 |
//	| uvarint               | wire 1: length uvarint, bytes   |
//	+-----------------------+---------------------------------+
//
// A field that is zero is left out, and so is a name that stands in the key. A
// field with a number that is not known here comes from a later version: it is
// skipped, and kept when the definition is stored again (unknownFields).
// Numbers are never used again for something else.
const (
	wireNumber = 0
	wireBytes  = 1
)

var errCorrupt = errors.New("not a definition of this version")

// Field numbers. Those up to 7 are names that the key usually holds, in its order.
const (
	fieldDescription      = 8 // VHostDef
	fieldTag              = 9 // VHostDef, UserDef: one field each.
	fieldDefaultQueueType = 10
	fieldTracing          = 11
	fieldProtected        = 12

	fieldPasswordHash = 8 // UserDef
	fieldAlgorithm    = 10
	fieldLimit        = 11 // One field each: a signed number, then the name.

	fieldConfigure = 8 // PermissionDef, TopicPermissionDef
	fieldWrite     = 9
	fieldRead      = 10

	fieldType       = 8 // ExchangeDef, QueueDef, BindingDef
	fieldFlags      = 9
	fieldArguments  = 10
	fieldQueueID    = 11
	fieldShard      = 12
	fieldOwner      = 13
	fieldBindingEnd = 14

	fieldPattern    = 8 // PolicyDef
	fieldApplyTo    = 9
	fieldPriority   = 10
	fieldDefinition = 11

	fieldValue = 8 // ParameterDef, VHostLimitDef, GlobalDef
	fieldPutBy = 9 // ParameterDef

	fieldExpiry      = 8 // ClientDef
	fieldKeepAlive   = 9
	fieldNumber      = 11 // Also SubscriptionDef, WillDef, RetainedDef.
	fieldOwnQueue    = 12
	fieldDirectQueue = 13

	fieldExchange   = 8 // SubscriptionDef
	fieldKey        = 9
	fieldShared     = 10
	fieldGrade      = 12
	fieldWants      = 13
	fieldHandling   = 14
	fieldIdentifier = 15

	fieldUser          = 8 // WillDef
	fieldVars          = 9
	fieldWillExchange  = 10
	fieldWillKey       = 12
	fieldForm          = 13
	fieldEncoded       = 14
	fieldBody          = 15
	fieldWillFlags     = 16
	fieldTTL           = 17
	fieldDelay         = 18
	fieldAuthorFlags   = 19
	fieldAuthorExpires = 20
)

const (
	flagNoLocal = 1 << iota // fieldWants
	flagAsPublished
)

const (
	flagPersistent = 1 << iota // fieldWillFlags
	flagRetain
)

const (
	flagVouched = 1 << iota // fieldAuthorFlags
	flagDirectory
)

const (
	flagDurable = 1 << iota
	flagAutoDelete
	flagInternal
	flagExclusive
)

// knownFields has a bit for each field number that this version reads.
var knownFields = [...]uint64{
	core.DefVHost:           0b1111_0000_0010,
	core.DefUser:            0b1111_0000_0010,
	core.DefPermission:      0b0111_0000_0110,
	core.DefTopicPermission: 0b0110_0000_1110,
	core.DefExchange:        0b0111_0000_0110,
	core.DefQueue:           0b0011_1111_0000_0110,
	core.DefBinding:         0b0100_0100_0011_0110,
	core.DefPolicy:          0b1111_0000_0110,
	core.DefOperatorPolicy:  0b1111_0000_0110,
	core.DefParameter:       0b0011_0000_1110,
	core.DefVHostLimit:      0b0001_0000_0110,
	core.DefGlobal:          0b0001_0000_0010,
	core.DefClient:          0b0011_1011_0000_0110,
	core.DefSubscription:    0b1111_1111_0000_1110,
	core.DefWill:            0b0001_1111_1111_1111_0000_0110,
	core.DefRetained:        0b1000_0000_0110,
}

// encoder appends fields.
type encoder struct {
	dst []byte
	key []string
}

func (e *encoder) number(field int, v uint64) {
	if v != 0 {
		e.dst = binary.AppendUvarint(e.dst, uint64(field)<<1|wireNumber)
		e.dst = binary.AppendUvarint(e.dst, v)
	}
}

func (e *encoder) signed(field int, v int64) { e.number(field, zigzag(v)) }

func (e *encoder) text(field int, s string) {
	if s != "" {
		e.always(field, s)
	}
}

func (e *encoder) always(field int, s string) {
	e.dst = binary.AppendUvarint(e.dst, uint64(field)<<1|wireBytes)
	e.dst = appendText(e.dst, s)
}

// name writes s as field number part+1 unless that part of the key is the same.
func (e *encoder) name(part int, s string) {
	if keyPart(e.key, part) != s {
		e.always(part+1, s)
	}
}

func (e *encoder) table(field int, t core.Table) error {
	if len(t) == 0 {
		return nil
	}
	b, err := appendTable(nil, t, 0)
	if err == nil {
		e.always(field, string(b))
	}
	return err
}

func keyPart(key []string, i int) string {
	if i < len(key) {
		return key[i]
	}
	return ""
}

func zigzag(v int64) uint64   { return uint64(v<<1) ^ uint64(v>>63) }
func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

func flag(set bool, bit uint64) uint64 {
	if set {
		return bit
	}
	return 0
}

// appendDefinition appends the fields of value, whose type must be that of kind.
func appendDefinition(dst []byte, kind core.DefinitionKind, key []string, value any) ([]byte, error) {
	e := encoder{dst, key}
	var err error
	fits := false
	switch d := value.(type) {
	case core.VHostDef:
		fits = kind == core.DefVHost
		e.name(0, d.Name)
		e.text(fieldDescription, d.Description)
		for _, t := range d.Tags {
			e.always(fieldTag, t)
		}
		e.text(fieldDefaultQueueType, d.DefaultQueueType)
		e.number(fieldTracing, flag(d.Tracing, 1))
		e.number(fieldProtected, flag(d.Protected, 1))
	case core.UserDef:
		fits = kind == core.DefUser
		e.name(0, d.Name)
		e.text(fieldPasswordHash, d.PasswordHash)
		for _, t := range d.Tags {
			e.always(fieldTag, t)
		}
		e.text(fieldAlgorithm, d.Algorithm)
		for _, name := range slices.Sorted(maps.Keys(d.Limits)) {
			b := binary.AppendUvarint(nil, zigzag(d.Limits[name]))
			e.always(fieldLimit, string(append(b, name...)))
		}
	case core.PermissionDef:
		fits = kind == core.DefPermission
		e.name(0, d.VHost)
		e.name(1, d.User)
		e.text(fieldConfigure, d.Configure)
		e.text(fieldWrite, d.Write)
		e.text(fieldRead, d.Read)
	case core.TopicPermissionDef:
		fits = kind == core.DefTopicPermission
		e.name(0, d.VHost)
		e.name(1, d.User)
		e.name(2, d.Exchange)
		e.text(fieldWrite, d.Write)
		e.text(fieldRead, d.Read)
	case core.ExchangeDef:
		fits = kind == core.DefExchange
		e.name(0, d.VHost)
		e.name(1, d.Name)
		e.text(fieldType, d.Type)
		e.number(fieldFlags, flag(d.Durable, flagDurable)|flag(d.AutoDelete, flagAutoDelete)|flag(d.Internal, flagInternal))
		e.number(fieldQueueID, uint64(d.ID))
		err = e.table(fieldArguments, d.Arguments)
	case core.QueueDef:
		fits = kind == core.DefQueue
		e.name(0, d.VHost)
		e.name(1, d.Name)
		e.text(fieldType, string(d.Type))
		e.number(fieldFlags, flag(d.Durable, flagDurable)|flag(d.AutoDelete, flagAutoDelete)|flag(d.Exclusive, flagExclusive))
		err = e.table(fieldArguments, d.Arguments)
		e.number(fieldQueueID, uint64(d.ID))
		e.number(fieldShard, uint64(d.Shard))
		e.number(fieldOwner, d.Owner)
	case core.BindingDef:
		fits = kind == core.DefBinding
		e.name(0, d.VHost)
		e.name(1, d.Source)
		e.name(3, d.Destination)
		e.name(4, d.Key)
		e.number(fieldBindingEnd, uint64(d.DestinationKind))
		err = e.table(fieldArguments, d.Arguments)
	case core.PolicyDef:
		fits = kind == core.DefPolicy || kind == core.DefOperatorPolicy
		e.name(0, d.VHost)
		e.name(1, d.Name)
		e.text(fieldPattern, d.Pattern)
		e.text(fieldApplyTo, d.ApplyTo)
		e.signed(fieldPriority, int64(d.Priority))
		e.text(fieldDefinition, d.Definition)
	case core.ParameterDef:
		fits = kind == core.DefParameter
		e.name(0, d.Component)
		e.name(1, d.VHost)
		e.name(2, d.Name)
		e.text(fieldValue, d.Value)
		e.text(fieldPutBy, d.User)
	case core.VHostLimitDef:
		fits = kind == core.DefVHostLimit
		e.name(0, d.VHost)
		e.name(1, d.Name)
		e.signed(fieldValue, d.Value)
	case core.GlobalDef:
		fits = kind == core.DefGlobal
		e.name(0, d.Name)
		e.text(fieldValue, d.Value)
	case core.ClientDef:
		fits = kind == core.DefClient
		e.name(0, d.VHost)
		e.name(1, d.ID)
		e.signed(fieldExpiry, d.ExpiryMS)
		e.signed(fieldKeepAlive, d.KeepAliveMS)
		e.number(fieldNumber, uint64(d.Number))
		e.text(fieldOwnQueue, d.Queue)
		e.text(fieldDirectQueue, d.DirectQueue)
	case core.SubscriptionDef:
		fits = kind == core.DefSubscription
		e.name(0, d.VHost)
		e.name(1, d.Client)
		e.name(2, d.Filter)
		e.text(fieldExchange, d.Exchange)
		e.text(fieldKey, d.Key)
		e.text(fieldShared, d.Shared)
		e.number(fieldNumber, uint64(d.Number))
		e.number(fieldGrade, uint64(d.Grade))
		e.number(fieldWants, flag(d.NoLocal, flagNoLocal)|flag(d.AsPublished, flagAsPublished))
		e.number(fieldHandling, uint64(d.Handling))
		e.number(fieldIdentifier, uint64(d.Identifier))
	case core.WillDef:
		fits = kind == core.DefWill
		e.name(0, d.VHost)
		e.name(1, d.Client)
		e.text(fieldUser, d.Author.User)
		err = e.table(fieldVars, d.Vars)
		e.text(fieldWillExchange, d.Exchange)
		e.number(fieldNumber, uint64(d.Number))
		e.text(fieldWillKey, d.RoutingKey)
		e.number(fieldForm, uint64(d.Form))
		e.text(fieldEncoded, string(d.Encoded))
		e.text(fieldBody, string(d.Body))
		e.number(fieldWillFlags, flag(d.Persistent, flagPersistent)|flag(d.Retain, flagRetain))
		e.signed(fieldTTL, d.TTLMS)
		e.signed(fieldDelay, d.DelayMS)
		e.number(fieldAuthorFlags, flag(d.Author.Vouched, flagVouched)|flag(d.Author.Directory, flagDirectory))
		e.signed(fieldAuthorExpires, d.Author.ExpiresMS)
	case core.RetainedDef:
		fits = kind == core.DefRetained
		e.name(0, d.VHost)
		e.name(1, d.Exchange)
		e.number(fieldNumber, uint64(d.ID))
	}
	if !fits {
		return nil, fmt.Errorf("a definition of kind %d cannot be a %T", kind, value)
	}
	return e.dst, err
}

// decoder reads fields; what it returns are pieces of what it reads.
type decoder struct {
	rest   string
	field  int
	number uint64 // If the field is one.
	text   string // If the field is bytes.
	failed bool
}

// next reads a field and says whether there was one.
func (d *decoder) next() bool {
	if d.rest == "" || d.failed {
		return false
	}
	tag, ok := d.uvarint()
	if !ok || tag>>1 > math.MaxInt32 {
		return d.fail()
	}
	d.field, d.number, d.text = int(tag>>1), 0, ""
	if tag&1 == wireNumber {
		d.number, ok = d.uvarint()
	} else {
		d.text, ok = d.bytes()
	}
	return ok || d.fail()
}

func (d *decoder) fail() bool {
	d.failed = true
	return false
}

func (d *decoder) uvarint() (uint64, bool) {
	v, n := uvarint(d.rest)
	if n <= 0 {
		return 0, false
	}
	d.rest = d.rest[n:]
	return v, true
}

func (d *decoder) bytes() (string, bool) {
	n, ok := d.uvarint()
	if !ok || n > uint64(len(d.rest)) {
		return "", false
	}
	s := d.rest[:n]
	d.rest = d.rest[n:]
	return s, true
}

func (d *decoder) table() core.Table {
	t, err := decodeTable(d.text, 0)
	if err != nil {
		d.fail()
	}
	return t
}

// decodeDefinition is the reverse of appendDefinition. Strings in the result
// are pieces of key and fields.
func decodeDefinition(kind core.DefinitionKind, key []string, fields string) (any, error) {
	d := decoder{rest: fields}
	// What stands in the key is given by the key, unless a field differs.
	part := func(i int) string { return keyPart(key, i) }
	var out any
	switch kind {
	case core.DefVHost:
		v := core.VHostDef{Name: part(0)}
		for d.next() {
			switch d.field {
			case 1:
				v.Name = d.text
			case fieldDescription:
				v.Description = d.text
			case fieldTag:
				v.Tags = append(v.Tags, d.text)
			case fieldDefaultQueueType:
				v.DefaultQueueType = d.text
			case fieldTracing:
				v.Tracing = d.number != 0
			case fieldProtected:
				v.Protected = d.number != 0
			}
		}
		out = v
	case core.DefUser:
		v := core.UserDef{Name: part(0)}
		for d.next() {
			switch d.field {
			case 1:
				v.Name = d.text
			case fieldPasswordHash:
				v.PasswordHash = d.text
			case fieldTag:
				v.Tags = append(v.Tags, d.text)
			case fieldAlgorithm:
				v.Algorithm = d.text
			case fieldLimit:
				n, size := uvarint(d.text)
				if size <= 0 {
					return nil, errCorrupt
				}
				if v.Limits == nil {
					v.Limits = make(map[string]int64)
				}
				v.Limits[d.text[size:]] = unzigzag(n)
			}
		}
		out = v
	case core.DefPermission:
		var v core.PermissionDef
		v.VHost, v.User = part(0), part(1)
		for d.next() {
			switch d.field {
			case 1:
				v.VHost = d.text
			case 2:
				v.User = d.text
			case fieldConfigure:
				v.Configure = d.text
			case fieldWrite:
				v.Write = d.text
			case fieldRead:
				v.Read = d.text
			}
		}
		out = v
	case core.DefTopicPermission:
		var v core.TopicPermissionDef
		v.VHost, v.User, v.Exchange = part(0), part(1), part(2)
		for d.next() {
			switch d.field {
			case 1:
				v.VHost = d.text
			case 2:
				v.User = d.text
			case 3:
				v.Exchange = d.text
			case fieldWrite:
				v.Write = d.text
			case fieldRead:
				v.Read = d.text
			}
		}
		out = v
	case core.DefExchange:
		v := core.ExchangeDef{VHost: part(0), Name: part(1)}
		for d.next() {
			switch d.field {
			case 1:
				v.VHost = d.text
			case 2:
				v.Name = d.text
			case fieldType:
				v.Type = d.text
			case fieldFlags:
				v.Durable = d.number&flagDurable != 0
				v.AutoDelete = d.number&flagAutoDelete != 0
				v.Internal = d.number&flagInternal != 0
			case fieldArguments:
				v.Arguments = d.table()
			case fieldQueueID:
				v.ID = core.QueueID(d.number)
			}
		}
		out = v
	case core.DefQueue:
		v := core.QueueDef{VHost: part(0), Name: part(1)}
		for d.next() {
			switch d.field {
			case 1:
				v.VHost = d.text
			case 2:
				v.Name = d.text
			case fieldType:
				v.Type = core.QueueType(d.text)
			case fieldFlags:
				v.Durable = d.number&flagDurable != 0
				v.AutoDelete = d.number&flagAutoDelete != 0
				v.Exclusive = d.number&flagExclusive != 0
			case fieldArguments:
				v.Arguments = d.table()
			case fieldQueueID:
				v.ID = core.QueueID(d.number)
			case fieldShard:
				v.Shard = uint16(d.number)
			case fieldOwner:
				v.Owner = d.number
			}
		}
		out = v
	case core.DefBinding:
		v := core.BindingDef{VHost: part(0)}
		v.Source, v.Destination, v.Key = part(1), part(3), part(4)
		for d.next() {
			switch d.field {
			case 1:
				v.VHost = d.text
			case 2:
				v.Source = d.text
			case 4:
				v.Destination = d.text
			case 5:
				v.Key = d.text
			case fieldBindingEnd:
				v.DestinationKind = core.DestinationKind(d.number)
			case fieldArguments:
				v.Arguments = d.table()
			}
		}
		out = v
	case core.DefPolicy, core.DefOperatorPolicy:
		v := core.PolicyDef{VHost: part(0), Name: part(1)}
		for d.next() {
			switch d.field {
			case 1:
				v.VHost = d.text
			case 2:
				v.Name = d.text
			case fieldPattern:
				v.Pattern = d.text
			case fieldApplyTo:
				v.ApplyTo = d.text
			case fieldPriority:
				v.Priority = int(unzigzag(d.number))
			case fieldDefinition:
				v.Definition = d.text
			}
		}
		out = v
	case core.DefParameter:
		v := core.ParameterDef{Component: part(0), VHost: part(1), Name: part(2)}
		for d.next() {
			switch d.field {
			case 1:
				v.Component = d.text
			case 2:
				v.VHost = d.text
			case 3:
				v.Name = d.text
			case fieldValue:
				v.Value = d.text
			case fieldPutBy:
				v.User = d.text
			}
		}
		out = v
	case core.DefVHostLimit:
		v := core.VHostLimitDef{VHost: part(0), Name: part(1)}
		for d.next() {
			switch d.field {
			case 1:
				v.VHost = d.text
			case 2:
				v.Name = d.text
			case fieldValue:
				v.Value = unzigzag(d.number)
			}
		}
		out = v
	case core.DefGlobal:
		v := core.GlobalDef{Name: part(0)}
		for d.next() {
			switch d.field {
			case 1:
				v.Name = d.text
			case fieldValue:
				v.Value = d.text
			}
		}
		out = v
	case core.DefClient:
		v := core.ClientDef{VHost: part(0), ID: part(1)}
		for d.next() {
			switch d.field {
			case 1:
				v.VHost = d.text
			case 2:
				v.ID = d.text
			case fieldExpiry:
				v.ExpiryMS = unzigzag(d.number)
			case fieldKeepAlive:
				v.KeepAliveMS = unzigzag(d.number)
			case fieldNumber:
				v.Number = core.QueueID(d.number)
			case fieldOwnQueue:
				v.Queue = d.text
			case fieldDirectQueue:
				v.DirectQueue = d.text
			}
		}
		out = v
	case core.DefSubscription:
		out = d.subscription(part)
	case core.DefWill:
		out = d.will(part)
	case core.DefRetained:
		v := core.RetainedDef{VHost: part(0), Exchange: part(1)}
		for d.next() {
			switch d.field {
			case 1:
				v.VHost = d.text
			case 2:
				v.Exchange = d.text
			case fieldNumber:
				v.ID = core.QueueID(d.number)
			}
		}
		out = v
	default:
		return nil, errCorrupt
	}
	if d.failed {
		return nil, errCorrupt
	}
	return out, nil
}

// unknownFields returns those fields that this version does not know.
func unknownFields(kind core.DefinitionKind, fields string) string {
	var known uint64
	if int(kind) < len(knownFields) {
		known = knownFields[kind]
	}
	var out []byte
	d := decoder{rest: fields}
	for before := d.rest; d.next(); before = d.rest {
		if d.field >= 64 || known&(1<<d.field) == 0 {
			out = append(out, before[:len(before)-len(d.rest)]...)
		}
	}
	return string(out)
}

// tableDepthMax limits how deep tables lie in each other.
const tableDepthMax = 100

// appendTable appends fields, each a name behind its length and a value: a
// letter for its type and what the type needs.
func appendTable(dst []byte, t core.Table, depth int) ([]byte, error) {
	var err error
	for i := range t {
		dst = appendText(dst, t[i].Name)
		if dst, err = appendValue(dst, t[i].Value, depth); err != nil {
			return nil, err
		}
	}
	return dst, nil
}

func appendText(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func appendValue(dst []byte, v any, depth int) ([]byte, error) {
	if depth > tableDepthMax {
		return nil, errors.New("arguments are nested too deeply")
	}
	integer := func(letter byte, n int64) []byte {
		return binary.AppendUvarint(append(dst, letter), zigzag(n))
	}
	switch v := v.(type) {
	case nil:
		return append(dst, 'V'), nil
	case bool:
		return append(dst, 't', byte(flag(v, 1))), nil
	case int8:
		return integer('b', int64(v)), nil
	case uint8:
		return integer('B', int64(v)), nil
	case int16:
		return integer('s', int64(v)), nil
	case uint16:
		return integer('u', int64(v)), nil
	case int32:
		return integer('I', int64(v)), nil
	case uint32:
		return integer('i', int64(v)), nil
	case int64:
		return integer('l', v), nil
	case float32:
		return binary.LittleEndian.AppendUint32(append(dst, 'f'), math.Float32bits(v)), nil
	case float64:
		return binary.LittleEndian.AppendUint64(append(dst, 'd'), math.Float64bits(v)), nil
	case string:
		return appendText(append(dst, 'S'), v), nil
	case []byte:
		return appendText(append(dst, 'x'), string(v)), nil
	case core.Decimal:
		return binary.AppendUvarint(append(dst, 'D', v.Scale), uint64(v.Value)), nil
	case core.Timestamp:
		return integer('T', int64(v)), nil
	case core.Table:
		b, err := appendTable(nil, v, depth+1)
		return appendText(append(dst, 'F'), string(b)), err
	case []any:
		var b []byte
		var err error
		for _, e := range v {
			if b, err = appendValue(b, e, depth+1); err != nil {
				return nil, err
			}
		}
		return appendText(append(dst, 'A'), string(b)), nil
	}
	return nil, fmt.Errorf("arguments cannot hold a %T", v)
}

func decodeTable(s string, depth int) (core.Table, error) {
	d := decoder{rest: s}
	var t core.Table
	for d.rest != "" {
		name, ok := d.bytes()
		if !ok {
			return nil, errCorrupt
		}
		v, err := d.value(depth)
		if err != nil {
			return nil, err
		}
		t = append(t, core.Field{Name: name, Value: v})
	}
	return t, nil
}

func (d *decoder) value(depth int) (any, error) {
	if d.rest == "" || depth > tableDepthMax {
		return nil, errCorrupt
	}
	letter := d.rest[0]
	d.rest = d.rest[1:]
	switch letter {
	case 'V':
		return nil, nil
	case 't':
		if d.rest == "" || d.rest[0] > 1 {
			return nil, errCorrupt
		}
		v := d.rest[0] == 1
		d.rest = d.rest[1:]
		return v, nil
	case 'b', 'B', 's', 'u', 'I', 'i', 'l', 'T':
		n, ok := d.uvarint()
		if !ok {
			return nil, errCorrupt
		}
		return integerValue(letter, unzigzag(n))
	case 'f':
		if len(d.rest) < 4 {
			return nil, errCorrupt
		}
		v := math.Float32frombits(binary.LittleEndian.Uint32([]byte(d.rest[:4])))
		d.rest = d.rest[4:]
		return v, nil
	case 'd':
		if len(d.rest) < 8 {
			return nil, errCorrupt
		}
		v := math.Float64frombits(binary.LittleEndian.Uint64([]byte(d.rest[:8])))
		d.rest = d.rest[8:]
		return v, nil
	case 'D':
		if d.rest == "" {
			return nil, errCorrupt
		}
		scale := d.rest[0]
		d.rest = d.rest[1:]
		n, ok := d.uvarint()
		if !ok || n > math.MaxUint32 {
			return nil, errCorrupt
		}
		return core.Decimal{Scale: scale, Value: uint32(n)}, nil
	}

	s, ok := d.bytes()
	if !ok {
		return nil, errCorrupt
	}
	switch letter {
	case 'S':
		return s, nil
	case 'x':
		return []byte(s), nil
	case 'F':
		return decodeTable(s, depth+1)
	case 'A':
		list := []any{}
		for in := (decoder{rest: s}); in.rest != ""; {
			v, err := in.value(depth + 1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	}
	return nil, errCorrupt
}

// integerValue returns n in the type of letter, if it fits.
func integerValue(letter byte, n int64) (any, error) {
	var v any
	back := n
	switch letter {
	case 'b':
		v, back = int8(n), int64(int8(n))
	case 'B':
		v, back = uint8(n), int64(uint8(n))
	case 's':
		v, back = int16(n), int64(int16(n))
	case 'u':
		v, back = uint16(n), int64(uint16(n))
	case 'I':
		v, back = int32(n), int64(int32(n))
	case 'i':
		v, back = uint32(n), int64(uint32(n))
	case 'T':
		v = core.Timestamp(n)
	default:
		v = n
	}
	if back != n {
		return nil, errCorrupt
	}
	return v, nil
}

func (d *decoder) subscription(part func(int) string) core.SubscriptionDef {
	v := core.SubscriptionDef{VHost: part(0), Client: part(1)}
	v.Filter = part(2)
	for d.next() {
		switch d.field {
		case 1:
			v.VHost = d.text
		case 2:
			v.Client = d.text
		case 3:
			v.Filter = d.text
		case fieldExchange:
			v.Exchange = d.text
		case fieldKey:
			v.Key = d.text
		case fieldShared:
			v.Shared = d.text
		case fieldNumber:
			v.Number = core.QueueID(d.number)
		case fieldGrade:
			v.Grade = uint8(d.number)
		case fieldWants:
			v.NoLocal = d.number&flagNoLocal != 0
			v.AsPublished = d.number&flagAsPublished != 0
		case fieldHandling:
			v.Handling = uint8(d.number)
		case fieldIdentifier:
			v.Identifier = uint32(d.number)
		}
	}
	return v
}

func (d *decoder) will(part func(int) string) core.WillDef {
	v := core.WillDef{VHost: part(0), Client: part(1)}
	for d.next() {
		switch d.field {
		case 1:
			v.VHost = d.text
		case 2:
			v.Client = d.text
		case fieldUser:
			v.Author.User = d.text
		case fieldVars:
			v.Vars = d.table()
		case fieldWillExchange:
			v.Exchange = d.text
		case fieldNumber:
			v.Number = core.QueueID(d.number)
		case fieldWillKey:
			v.RoutingKey = d.text
		case fieldForm:
			v.Form = core.Form(d.number)
		case fieldEncoded:
			v.Encoded = []byte(d.text)
		case fieldBody:
			v.Body = []byte(d.text)
		case fieldWillFlags:
			v.Persistent = d.number&flagPersistent != 0
			v.Retain = d.number&flagRetain != 0
		case fieldTTL:
			v.TTLMS = unzigzag(d.number)
		case fieldDelay:
			v.DelayMS = unzigzag(d.number)
		case fieldAuthorFlags:
			v.Author.Vouched = d.number&flagVouched != 0
			v.Author.Directory = d.number&flagDirectory != 0
		case fieldAuthorExpires:
			v.Author.ExpiresMS = unzigzag(d.number)
		}
	}
	return v
}
