package ctl

var auditColumns = same("time", "user", "peer", "via", "act", "object", "vhost", "detail", "outcome", "status", "reason")

type listAudit struct {
	Columns []string `arg:"" name:"column" optional:""`
}

func (v *listAudit) Run(t *tool) error {
	names := v.Columns
	if len(names) == 0 {
		names = []string{"time", "user", "act", "object", "vhost", "outcome"}
	}
	cols, err := choose(auditColumns, names, 1)
	if err != nil {
		return err
	}
	t.print.banner("Listing administrative acts ...")
	return t.listing("/audit", cols, nil)
}
