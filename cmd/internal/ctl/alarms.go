package ctl

import (
	"strconv"

	"leveret/cmd/internal/config"
)

type setMemoryWatermark struct {
	Limit []string `arg:"" name:"limit" help:"A share of the memory there is, such as 0.6, or: absolute SIZE."`
}

func (v *setMemoryWatermark) Run(t *tool) error {
	if len(v.Limit) == 2 && v.Limit[0] == "absolute" {
		n, err := config.ParseSize(v.Limit[1])
		if err != nil {
			return exitf(exitUsage, "%v", err)
		}
		t.print.banner("Setting memory threshold on %s to %s bytes ...", t.where(), v.Limit[1])
		return t.setLimit("memory", map[string]any{"absolute": n})
	}
	share, err := oneNumber(v.Limit)
	if err != nil || share < 0 || share > 1 {
		return exitf(exitUsage, "give a share of memory between 0 and 1, or: absolute SIZE")
	}
	t.print.banner("Setting memory threshold on %s to %v ...", t.where(), share)
	return t.setLimit("memory", map[string]any{"relative": share})
}

type setDiskFreeLimit struct {
	Limit []string `arg:"" name:"limit" help:"A size such as 2GB, or: mem_relative N."`
}

func (v *setDiskFreeLimit) Run(t *tool) error {
	if len(v.Limit) == 2 && v.Limit[0] == "mem_relative" {
		share, err := oneNumber(v.Limit[1:])
		if err != nil || share < 0 {
			return exitf(exitUsage, "%q is not a multiple of memory", v.Limit[1])
		}
		t.print.banner("Setting disk free limit on %s to %v of total memory ...", t.where(), share)
		return t.setLimit("disk", map[string]any{"relative": share})
	}
	if len(v.Limit) != 1 {
		return exitf(exitUsage, "give a size, or: mem_relative N")
	}
	n, err := config.ParseSize(v.Limit[0])
	if err != nil {
		return exitf(exitUsage, "%v", err)
	}
	t.print.banner("Setting disk free limit on %s to %s bytes ...", t.where(), v.Limit[0])
	return t.setLimit("disk", map[string]any{"absolute": n})
}

func (t *tool) setLimit(resource string, limit map[string]any) error {
	return t.explain(t.put(path("alarms", resource, "limit"), limit), exitUnavailable)
}

func oneNumber(args []string) (float64, error) {
	if len(args) != 1 {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseFloat(args[0], 64)
}

type listAlarms struct{}

func (v *listAlarms) Run(t *tool) error {
	t.print.banner("Listing alarms ...")
	alarms, err := t.alarms()
	if err != nil {
		return err
	}
	rows := [][]any{}
	for _, a := range alarms {
		rows = append(rows, []any{a.Resource, a.Value, a.Limit, a.Blocked, a.Reason})
	}
	t.print.table([]string{"resource", "value", "limit", "blocked_connections", "reason"}, rows)
	return nil
}
