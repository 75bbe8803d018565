package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"leveret/cmd/internal/config"
	"leveret/core"
	"leveret/core/auth"
)

// newVHost gives each new virtual host what RabbitMQ's keys default_users,
// default_limits and default_policies say. It is nil if they say nothing.
func newVHost(boot *config.Boot) func(o core.Operator, name string) error {
	if len(boot.Users)+len(boot.Limits)+len(boot.OperatorPolicies) == 0 {
		return nil
	}
	return func(o core.Operator, name string) error {
		matches := func(pattern string) bool {
			ok, _ := regexp.MatchString(pattern, name) // It was compiled when it was read.
			return ok
		}
		var errs []error
		for _, p := range boot.OperatorPolicies {
			if matches(p.VHosts) {
				definition, err := json.Marshal(p.Definition)
				errs = append(errs, err, o.PutOperatorPolicy(core.PolicyDef{VHost: name, Name: p.ID, Pattern: p.Queues, ApplyTo: p.ApplyTo, Definition: string(definition)}))
			}
		}
		for _, d := range boot.Limits {
			if matches(d.VHosts) && d.MaxConnections > 0 {
				errs = append(errs, o.SetVHostLimit(name, core.LimitConnections, d.MaxConnections))
			}
			if matches(d.VHosts) && d.MaxQueues > 0 {
				errs = append(errs, o.SetVHostLimit(name, core.LimitQueues, d.MaxQueues))
			}
		}
		for _, u := range boot.Users {
			if matches(u.VHosts) {
				errs = append(errs, defaultUser(o, &u, name))
			}
		}
		if err := errors.Join(errs...); err != nil {
			return fmt.Errorf("give the vhost '%s' its defaults: %w", name, err)
		}
		return nil
	}
}

// defaultUser makes u, unless there is one of that name, and lets it into vhost.
func defaultUser(o core.Operator, u *config.DefaultUser, vhost string) error {
	if _, ok := o.Auth().User(u.Name); !ok {
		user := auth.User{Name: u.Name, Tags: slices.Clone(u.Tags)}
		if u.Password != "" {
			hash, err := auth.HashPassword(u.Password, "")
			if err != nil {
				return err
			}
			user.PasswordHash = hash
		}
		if err := o.PutUser(user); err != nil {
			return err
		}
	}
	return o.SetPermission(u.Name, vhost, auth.Permission{Configure: u.Permission.Configure, Write: u.Permission.Write, Read: u.Permission.Read})
}

// setClusterName gives a broker that has no name yet the one of --cluster-name.
func setClusterName(b *core.Broker, name string) error {
	if name == "" || b.Global("cluster_name") != nil {
		return nil
	}
	text, err := json.Marshal(name)
	if err == nil {
		err = b.SetGlobal("cluster_name", text)
	}
	if err != nil {
		return fmt.Errorf("--cluster-name: %w", err)
	}
	return nil
}

// lastDefinitions is where the digest of the definitions imported last is kept
// in the data directory, for --skip-unchanged-definitions.
const lastDefinitions = "definitions.sha256"

// loadDefinitions imports what --load-definitions names. A broker that was reset
// has always lost them.
func loadDefinitions(ctx context.Context, b *core.Broker, s *config.Serve, wasReset bool, log *slog.Logger) error {
	all, err := s.ReadDefinitions(ctx)
	if err != nil || len(all) == 0 {
		return err
	}
	digest, kept := config.Digest(all), ""
	if s.SkipUnchanged && s.DataDir != config.InMemory {
		kept = filepath.Join(s.DataDir, lastDefinitions)
		last, err := os.ReadFile(kept)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("--skip-unchanged-definitions: %w", err)
		}
		if strings.TrimSpace(string(last)) == digest && !wasReset {
			log.Info("definitions not imported: they are those of the last start", slog.String("file", s.LoadDefinitions))
			return nil
		}
	}
	for _, d := range all {
		report, err := b.ImportDefinitions(d.Data, "")
		if err != nil {
			return fmt.Errorf("--load-definitions %s: %w", d.Name, err)
		}
		for _, what := range report.Skipped {
			log.Warn("definition not imported", slog.String("what", what))
		}
		for _, what := range report.Idle {
			log.Warn("definition without effect in this release", slog.String("what", what))
		}
		log.Info("definitions imported", slog.String("file", d.Name), slog.Int("skipped", len(report.Skipped)))
	}
	if kept != "" {
		if err := os.WriteFile(kept, []byte(digest+"\n"), 0o600); err != nil {
			return fmt.Errorf("--skip-unchanged-definitions: %w", err)
		}
	}
	return nil
}
