package invariant

import (
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

func TestEnabledFollowsTheBuild(t *testing.T) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		t.Fatal("no build information")
	}
	want := false
	for _, s := range info.Settings {
		switch s.Key {
		case "-race":
			want = want || s.Value == "true"
		case "-tags":
			want = want || slices.Contains(strings.Split(s.Value, ","), "invariants")
		}
	}
	if Enabled != want {
		t.Errorf("Enabled is %v in a build with %v", Enabled, info.Settings)
	}
}
