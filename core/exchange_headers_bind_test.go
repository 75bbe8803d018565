package core

import (
	"fmt"
	"testing"
	"time"
)

// TestManyBindingArguments: the topology is locked while a binding is added,
// so a client with many arguments must not pay, and make others pay, for their
// square.
func TestManyBindingArguments(t *testing.T) {
	const n = 200_000
	args := make(Table, 0, 2*n)
	for i := range n {
		args = append(args, Field{Name: fmt.Sprint(i), Value: int64(i)})
	}
	args = append(args, args...)
	began := time.Now()
	wants, _ := wantedHeaders(args)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	if len(wants) != n {
		t.Errorf("%d headers are asked for, want %d", len(wants), n)
	}
}
