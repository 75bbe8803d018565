package meta_test

import (
	"reflect"
	"strings"
	"testing"

	"leveret/core"
	"leveret/persist/meta"
	"leveret/persist/persisttest"
)

// Definitions come back whole, whether their names stand in the key or not.
func TestDefinitionsDecodeAsEncoded(t *testing.T) {
	for _, c := range persisttest.Examples() {
		for _, key := range [][]string{c.Key, nil, {"other", "other", "other", "other", "other"}} {
			fields, err := meta.AppendDefinition(nil, c.Kind, key, c.Value)
			if err != nil {
				t.Fatal(err)
			}
			got, err := meta.DecodeDefinition(c.Kind, key, string(fields))
			if err != nil || !reflect.DeepEqual(got, c.Value) {
				t.Errorf("kind %d, key %q: %v\nstored %+v\nread   %+v", c.Kind, key, err, c.Value, got)
			}
			if unknown := meta.UnknownFields(c.Kind, string(fields)); unknown != "" {
				t.Errorf("kind %d: fields %q are not known", c.Kind, unknown)
			}
			for n := range fields {
				// Cut anywhere it is an error or something shorter, never a panic.
				_, _ = meta.DecodeDefinition(c.Kind, key, string(fields[:n]))
			}
		}
	}
}

func TestValueMustFitItsKind(t *testing.T) {
	s := open(t, t.TempDir(), meta.Options{})
	bad := []core.Change{
		{Kind: core.DefQueue, Key: []string{"a", "b"}, Value: core.VHostDef{}},
		{Kind: core.DefQueue, Key: []string{"a", "b"}, Value: core.QueueDef{Arguments: core.Table{{Name: "x", Value: struct{}{}}}}},
		{Kind: 0, Value: core.VHostDef{}},
		{Kind: 27, Value: core.VHostDef{}},
	}
	for _, c := range bad {
		if err := s.Commit([]core.Change{c}); err == nil {
			t.Errorf("%+v was stored", c)
		}
	}
	deep := core.Table{}
	for range 200 {
		deep = core.Table{{Name: "x", Value: deep}}
	}
	err := s.Commit([]core.Change{{Kind: core.DefQueue, Key: []string{"a", "b"}, Value: core.QueueDef{Arguments: deep}}})
	if err == nil || !strings.Contains(err.Error(), "too deeply") {
		t.Errorf("200 tables in each other: %v", err)
	}
}

// A field that a later version has written stays when this one stores the
// definition again.
func TestUnknownFieldsAreKept(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, meta.Options{})
	key := []string{"/", "q"}
	put := func(s *meta.Store, id core.QueueID) {
		t.Helper()
		err := s.Commit([]core.Change{{Kind: core.DefQueue, Key: key, Was: core.AnyRevision, Value: core.QueueDef{VHost: "/", Name: "q", ID: id}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	put(s, 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	fields, err := meta.AppendDefinition(nil, core.DefQueue, key, core.QueueDef{VHost: "/", Name: "q", ID: 2})
	if err != nil {
		t.Fatal(err)
	}
	later := meta.AppendUnknown(meta.AppendUnknown(fields, 63, "from the future"), 1000, "and more")
	k := string(meta.AppendKey(nil, core.DefQueue, key))
	appendToFile(t, dir, meta.AppendSet(nil, k, meta.Seal(k, append([]byte{1, 9}, later...))))

	s = open(t, dir, meta.Options{})
	if v, _, err := s.Get(core.DefQueue, key); err != nil || v.(core.QueueDef).ID != 2 {
		t.Fatalf("%v, %v", v, err)
	}
	put(s, 3)
	s.Close()
	s = open(t, dir, meta.Options{})
	if v, _, err := s.Get(core.DefQueue, key); err != nil || v.(core.QueueDef).ID != 3 {
		t.Fatalf("%v, %v", v, err)
	}
	unknown := meta.UnknownFields(core.DefQueue, s.StoredFields(core.DefQueue, key))
	if !strings.Contains(unknown, "from the future") || !strings.Contains(unknown, "and more") {
		t.Fatalf("unknown fields are now %q", unknown)
	}
}

func FuzzDecodeDefinition(f *testing.F) {
	for _, c := range persisttest.Examples() {
		fields, err := meta.AppendDefinition(nil, c.Kind, c.Key, c.Value)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(c.Kind), string(meta.AppendKey(nil, c.Kind, c.Key)), string(fields))
	}
	f.Fuzz(func(t *testing.T, k uint8, key, fields string) {
		kind := core.DefinitionKind(k)
		parts, ok := meta.KeyParts(key)
		if ok && key != "" {
			if again, _ := meta.KeyParts(string(meta.AppendKey(nil, kind, parts))); !reflect.DeepEqual(again, parts) {
				t.Fatalf("key %q becomes %q", parts, again)
			}
		}
		value, err := meta.DecodeDefinition(kind, parts, fields)
		if err != nil {
			return
		}
		again, err := meta.AppendDefinition(nil, kind, parts, value)
		if err != nil {
			t.Fatalf("%+v was read and cannot be written: %v", value, err)
		}
		second, err := meta.DecodeDefinition(kind, parts, string(again))
		if err != nil {
			t.Fatal(err)
		}
		third, err := meta.AppendDefinition(nil, kind, parts, second)
		if err != nil || string(third) != string(again) {
			t.Fatalf("%+v is written as %q, then as %q", value, again, third)
		}
	})
}
