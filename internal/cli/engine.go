package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
)

func (a *app) auditCmd() *cobra.Command {
	verify := &cobra.Command{
		Use: "verify", Short: "Check the whole audit record",
		Long:    "Verify checks every hash of the audit record. Exit code 1 if any is wrong.",
		Example: "  relight audit verify\n  relight audit verify -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			r, err := c.VerifyAudit(cmd.Context())
			if err != nil {
				return err
			}
			if err := a.object(r, "audit", func(out io.Writer) error { return a.audit(out, r) }); err != nil {
				return err
			}
			if !r.OK {
				return client.NewProblem(client.CodeInternal, "the audit record does not verify").WithNext("relight doctor")
			}
			return nil
		},
	}
	return group("audit", "Check the audit record",
		"Every destructive call has an earlier entry in the audit record, which is chained by hashes.",
		"  relight audit verify", verify)
}

// audit shows the shards that hold entries, or are broken; all with -o wide.
func (a *app) audit(out io.Writer, r client.AuditReport) error {
	wide := a.flags.output == "wide"
	var rows []client.AuditShard
	var entries uint64
	for _, s := range r.Shards {
		entries += s.Entries
		if wide || s.Entries > 0 || !s.OK {
			rows = append(rows, s)
		}
	}
	err := table(out, wide, []column[client.AuditShard]{
		{"SHARD", false, func(s client.AuditShard) string { return fmt.Sprint(s.Shard) }},
		{"STATE", false, func(s client.AuditShard) string {
			if s.OK {
				return "ok"
			}
			return "BROKEN"
		}},
		{"ENTRIES", false, func(s client.AuditShard) string { return fmt.Sprint(s.Entries) }},
		{"HEAD", false, func(s client.AuditShard) string {
			if wide {
				return s.Head
			}
			return s.Head[:min(len(s.Head), 16)]
		}},
		{"REASON", false, func(s client.AuditShard) string {
			if s.OK {
				return ""
			}
			return fmt.Sprintf("entry %d: %s", s.BrokenAt, s.Reason)
		}},
	}, rows)
	if err == nil && r.OK {
		_, err = fmt.Fprintf(out, "%d entries in %d shards verify\n", entries, len(r.Shards))
	}
	return err
}

func (a *app) schemaCmd() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of documents",
		Long: `Schema prints the JSON Schema of servers, sites and policies, for editors and
checks. It needs no engine.`,
		Example: "  relight schema > relight.schema.json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			raw, err := a.schema()
			if err != nil {
				return err
			}
			if a.flags.output == "yaml" {
				return writeYAML(a.Out, raw)
			}
			return writeJSON(a.Out, raw)
		},
	}
}

func (a *app) versionCmd() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the versions of this program and of the engine",
		Long:    "Version prints this program's version, and the engine's if one answers.",
		Example: "  relight version -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := struct {
				Client client.Version  `json:"client"`
				Engine *client.Version `json:"engine"`
			}{Client: a.Version}
			reason := a.engineVersion(cmd.Context(), &out.Engine)
			return a.object(out, a.Version.Version, func(w io.Writer) error {
				fmt.Fprintf(w, "relight %s\n", first(a.Version.Version, "unknown"))
				if out.Engine == nil {
					fmt.Fprintf(a.Err, "engine: %s\n", reason)
					return nil
				}
				_, err := fmt.Fprintf(w, "engine  %s\n", out.Engine.Version)
				return err
			})
		},
	}
}

// engineVersion asks the engine, briefly; it returns why it cannot.
func (a *app) engineVersion(ctx context.Context, out **client.Version) string {
	c, err := a.client()
	if err != nil {
		return reasonOf(err)
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	v, err := c.Version(ctx)
	if err != nil {
		return reasonOf(err)
	}
	*out = &v
	return ""
}

func reasonOf(err error) string {
	var p *client.Problem
	if errors.As(err, &p) {
		return p.Detail
	}
	return err.Error()
}

func (a *app) doctorCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "doctor", Short: "Is the engine itself ready",
		Long: `Doctor shows the engine's own checks: its store and lease, its clock, its hosts,
what would stop if it were away, and where a person would be needed. Exit code 1
if a check fails, 8 if the engine cannot be reached.`,
		Example: "  relight doctor",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			r, err := c.Doctor(cmd.Context())
			if err != nil {
				return err
			}
			return a.checks(r)
		},
	}
	cmd.AddCommand(a.doctorArrayCmd())
	cmd.AddCommand(a.Doctors...)
	return cmd
}

func (a *app) checks(r client.DoctorReport) error {
	if err := a.object(r, "doctor", func(out io.Writer) error { return a.doctor(out, r) }); err != nil {
		return err
	}
	if r.Failed() {
		return exitWith(client.ExitFailed)
	}
	return nil
}

// ShowChecks prints the checks of another package's doctor as the engine's own are,
// and ends the command with code 1 if one fails.
func ShowChecks(cmd *cobra.Command, r client.DoctorReport) error {
	a := &app{Deps: Deps{Out: cmd.OutOrStdout(), Err: cmd.ErrOrStderr()}}
	if f := cmd.Root().PersistentFlags().Lookup("output"); f != nil {
		a.flags.output = f.Value.String()
	}
	return a.checks(r)
}

func (a *app) doctor(out io.Writer, r client.DoctorReport) error {
	err := a.painted(out, func(w io.Writer) error {
		return table(w, false, []column[client.DoctorCheck]{
			{"CHECK", false, func(c client.DoctorCheck) string { return c.Name }},
			{"STATE", false, func(c client.DoctorCheck) string { return string(c.State) }},
			{"DETAIL", false, func(c client.DoctorCheck) string {
				if c.Why == "" {
					return c.Detail
				}
				return c.Detail + ": " + c.Why
			}},
		}, r.Checks)
	}, "ok", "warn", "fail")
	var next []string
	for _, c := range r.Checks {
		if c.State != client.DoctorOK && c.Next != "" {
			next = append(next, c.Next)
		}
	}
	a.next(next...)
	return err
}
