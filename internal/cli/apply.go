package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
)

func (a *app) applyCmd() *cobra.Command {
	var (
		paths   []string
		dryRun  string
		wait    bool
		timeout time.Duration
	)
	cmd := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Create or change servers, sites and policies",
		Long: `Apply declares what files say. What stands as declared already is left alone.
Files are checked here first, so that a broken file changes nothing.

--dry-run=client checks the files only; --dry-run=server asks the engine what
would change. --wait returns when the applied servers are healthy.`,
		Example: "  relight apply -f lic-01.yaml\n  relight apply -f fleet/ --dry-run=server\n  cat lic-01.yaml | relight apply -f - --wait --timeout 2m",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			docs, err := a.load(cmd, paths)
			if err != nil {
				return err
			}
			switch dryRun {
			case "client":
				return a.checked(docs)
			case "", "server":
			default:
				return usage(cmd, "--dry-run is client or server, not %q", dryRun)
			}
			return a.apply(cmd, docs, dryRun == "server", wait, timeout)
		},
	}
	cmd.Flags().StringArrayVarP(&paths, "file", "f", nil, "file, directory, or - for standard input; may be repeated")
	cmd.Flags().StringVar(&dryRun, "dry-run", "", "client or server: change nothing")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until the applied servers are healthy")
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long to wait")
	return cmd
}

func (a *app) checked(docs []client.Document) error {
	out := client.ApplyAnswer{DryRun: true}
	for _, d := range docs {
		out.Documents = append(out.Documents, client.Applied{Kind: d.Kind, Name: d.Metadata.Name, Result: "valid"})
	}
	return a.applied(out)
}

func (a *app) apply(cmd *cobra.Command, docs []client.Document, dry, wait bool, timeout time.Duration) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	got, err := c.Apply(cmd.Context(), client.ApplyRequest{Documents: docs, DryRun: dry})
	if err != nil {
		return err
	}
	if err := a.applied(got); err != nil {
		return err
	}
	names := servers(got)
	if wait && !dry {
		return a.waitHealthy(cmd.Context(), c, names, timeout)
	}
	switch {
	case dry:
		a.next("relight apply -f FILE")
	case len(names) == 1:
		a.next("relight why "+names[0], "relight get servers")
	default:
		a.next("relight get servers")
	}
	return nil
}

func servers(got client.ApplyAnswer) []string {
	var out []string
	for _, d := range got.Documents {
		if d.Kind == client.KindServer {
			out = append(out, d.Name)
		}
	}
	return out
}

// applied prints what an apply did. Some documents failed: partial; all: failed.
func (a *app) applied(got client.ApplyAnswer) error {
	failed := 0
	var problem *client.Problem
	for _, d := range got.Documents {
		if d.Result == client.Failed {
			failed++
			problem = d.Problem
		}
		for _, w := range d.Warnings {
			fmt.Fprintf(a.Err, "warning: %s: %s\n", d.ID(), w)
		}
		if d.Problem != nil {
			a.tell(d.Problem)
		}
	}
	if err := a.printApplied(got); err != nil {
		return err
	}
	switch {
	case failed == 0:
		return nil
	case failed < len(got.Documents):
		return exitWith(client.ExitPartial)
	case problem != nil:
		return exitWith(problem.Exit())
	default:
		return exitWith(client.ExitFailed)
	}
}

func (a *app) printApplied(got client.ApplyAnswer) error {
	switch a.flags.output {
	case "json":
		return writeJSON(a.Out, got)
	case "yaml":
		return writeYAML(a.Out, got)
	case "name":
		for _, d := range got.Documents {
			fmt.Fprintln(a.Out, d.ID())
		}
		return nil
	}
	for _, d := range got.Documents {
		line := fmt.Sprintf("%s %s", d.ID(), d.Result)
		if got.DryRun {
			line += " (dry run)"
		}
		fmt.Fprintln(a.Out, line)
		// Whoever just created a document knows what is in it.
		if got.DryRun || d.Result != client.Created {
			printChanges(a.Out, d)
		}
	}
	for _, w := range got.Warnings {
		fmt.Fprintln(a.Out, "warning: "+w)
	}
	return nil
}

func printChanges(w io.Writer, d client.Applied) {
	for _, c := range d.Changes {
		from, to := string(c.From), string(c.To)
		switch {
		case from == "":
			fmt.Fprintf(w, "  + %s: %s\n", c.Field, to)
		case to == "":
			fmt.Fprintf(w, "  - %s: %s\n", c.Field, from)
		default:
			fmt.Fprintf(w, "  ~ %s: %s -> %s\n", c.Field, from, to)
		}
	}
}

func (a *app) diffCmd() *cobra.Command {
	var paths []string
	cmd := &cobra.Command{
		Use:   "diff -f FILE",
		Short: "Say what an apply would change",
		Long: `Diff asks the engine what an apply of the files would change, and changes nothing.

Exit code 0: nothing; 1: something; above 1: an error.`,
		Example:     "  relight diff -f lic-01.yaml\n  relight diff -f fleet/ -o json",
		Args:        cobra.NoArgs,
		Annotations: map[string]string{compares: "yes"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			docs, err := a.load(cmd, paths)
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			got, err := c.Apply(cmd.Context(), client.ApplyRequest{Documents: docs, DryRun: true})
			if err != nil {
				return err
			}
			return a.differs(got)
		},
	}
	cmd.Flags().StringArrayVarP(&paths, "file", "f", nil, "file, directory, or - for standard input; may be repeated")
	return cmd
}

// differs prints the documents that would change.
func (a *app) differs(got client.ApplyAnswer) error {
	code := client.ExitOK
	var changed []client.Applied
	for _, d := range got.Documents {
		if d.Problem != nil {
			// Above 1, so that nobody takes an error for a difference.
			return d.Problem
		}
		if d.Result != client.Unchanged {
			changed = append(changed, d)
			code = client.ExitFailed
		}
	}
	got.Documents = changed
	if a.text() && len(changed) == 0 {
		fmt.Fprintln(a.Err, "no difference")
		return nil
	}
	if err := a.printApplied(got); err != nil {
		return err
	}
	a.next("relight apply -f FILE")
	return exitWith(code)
}

func (a *app) deleteCmd() *cobra.Command {
	var (
		yes      bool
		revision uint64
	)
	cmd := &cobra.Command{
		Use:   "delete server|site|policy NAME",
		Short: "Delete a declaration; what volumes hold stays",
		Long: `Delete takes a server, site or policy out of the record. Nothing that holds data
is deleted or formatted. On a terminal the name must be typed; elsewhere --yes is
needed.`,
		Example: "  relight delete server lic-01\n  relight delete policy gentle --yes --revision 42",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, err := kindOf(cmd, args[0])
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			deed := fmt.Sprintf("delete %s %s from the record; its data stays, but nothing will recover it", args[0], args[1])
			if err := a.confirm(cmd, yes, args[1], deed); err != nil {
				return err
			}
			if err := c.Delete(cmd.Context(), kind, args[1], client.Revision(revision)); err != nil {
				return err
			}
			d := client.Document{Kind: kind, Metadata: client.Metadata{Name: args[1]}}
			fmt.Fprintf(a.Out, "%s deleted\n", d.ID())
			a.next("relight get " + kind.Plural())
			return nil
		},
	}
	yesFlag(cmd, &yes)
	cmd.Flags().Uint64Var(&revision, "revision", 0, "delete only if it stands at this revision")
	return cmd
}

func kindOf(cmd *cobra.Command, word string) (client.Kind, error) {
	switch word {
	case "server", "servers":
		return client.KindServer, nil
	case "site", "sites":
		return client.KindSite, nil
	case "policy", "policies":
		return client.KindPolicy, nil
	}
	return "", usage(cmd, "%q is not server, site or policy", word)
}
