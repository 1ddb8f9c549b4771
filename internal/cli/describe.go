package cli

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
)

func (a *app) describeCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "describe [server|site|policy] NAME",
		Short: "What is declared and recorded about one thing",
		Long: `Describe shows what is declared about a server, what the engine recorded and what
its resources look like. relight why shows what is decided and why.`,
		Example: "  relight describe lic-01\n  relight describe policy default",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, name := client.KindServer, args[len(args)-1]
			if len(args) == 2 {
				var err error
				if kind, err = kindOf(cmd, args[0]); err != nil {
					return err
				}
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			if kind != client.KindServer {
				d, err := c.Document(cmd.Context(), kind, name)
				if err != nil {
					return err
				}
				return a.object(d, d.ID(), func(out io.Writer) error { return writeYAML(out, d) })
			}
			v, err := c.Server(cmd.Context(), name)
			if err != nil {
				return err
			}
			return a.object(v, "server/"+name, func(out io.Writer) error { return a.describe(out, v) })
		},
	}
}

func (a *app) describe(out io.Writer, v client.ServerView) error {
	now, s, st := a.Now(), v.Server, v.Status
	w := client.Why{Server: s.Name, Finding: v.Finding, Decision: v.Decision, Status: st}
	fmt.Fprintln(out, clean(w.Headline(now)))
	fmt.Fprintln(out, clean(w.Now()))
	fmt.Fprintln(out, "\nidentity (moves with it)")
	for _, vol := range s.Spec.Identity.Volumes {
		fmt.Fprintf(out, "  volume   %s  %s (reach %s)\n", vol.Name, first(vol.Path, vol.ID), vol.Reach)
	}
	for _, ad := range s.Spec.Identity.Addresses {
		fmt.Fprintf(out, "  address  %s\n", ad.IP)
	}
	if len(s.Labels) > 0 {
		fmt.Fprintf(out, "  labels   %s\n", client.FormatSelector(s.Labels))
	}
	fmt.Fprintln(out, "\ninstance (replaceable)")
	fmt.Fprintf(out, "  epoch %d on %s, launched %s, verified %s\n", st.Epoch, first(st.Host, "no host"), client.Clock(st.LaunchedAt, now), client.Clock(st.VerifiedAt, now))
	for _, line := range client.AwayLines(st) {
		fmt.Fprintf(out, "  %s\n", clean(line))
	}
	for _, line := range client.FormattedLines(st) {
		fmt.Fprintf(out, "  %s\n", clean(line))
	}
	for _, line := range client.NoteLines(st) {
		fmt.Fprintf(out, "  %s\n", clean(line))
	}
	for _, i := range v.Observed.Instances {
		said := ""
		if i.Detail != "" {
			said = ": " + clean(i.Detail)
		}
		fmt.Fprintf(out, "  seen: epoch %d %s on %s, %s ago%s\n", i.Epoch, i.State, first(i.Host, "?"), client.Ago(i.At, now), said)
	}
	fmt.Fprintln(out, "\nrules")
	fmt.Fprintf(out, "  mode %s, fence %s, on isolation %s, one source %s, priority %d\n", s.Spec.Mode, s.Spec.Fence, s.Spec.OnIsolation, s.Spec.OneSource, s.Spec.Priority)
	for _, r := range s.Spec.Ladder.Rungs {
		fmt.Fprintf(out, "  rung %s, %d tries\n", r.Rung, r.Tries)
	}
	if err := a.attempts(out, st, v); err != nil {
		return err
	}
	a.next("relight why "+s.Name, "relight plan "+s.Name)
	return nil
}

func (a *app) attempts(out io.Writer, st fleet.Status, v client.ServerView) error {
	if len(st.Attempts) > 0 {
		fmt.Fprintln(out, "\nattempts in the ladder's window")
		for _, at := range st.Attempts {
			fmt.Fprintf(out, "  %s  %s, healed: %v\n", client.Clock(at.At, a.Now()), at.Rung, at.Healed)
		}
	}
	if len(v.Raw.Spec) == 0 {
		return nil
	}
	fmt.Fprintf(out, "\ndeclared (revision %d)\n", v.Revision)
	var spec any
	if err := json.Unmarshal(v.Raw.Spec, &spec); err != nil {
		return err
	}
	return writeYAML(out, spec)
}
