// Package cli is the command line. It speaks to an engine through api/client
// only, so that whatever it can do, any other client can do too.
package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
)

// SourceFile is a file of documents as it was read.
type SourceFile struct {
	// Name is the path, or "stdin".
	Name string
	Data []byte
}

// Deps is what the command line is made of.
type Deps struct {
	In       io.Reader
	Out, Err io.Writer
	// InTerminal and OutTerminal tell whether a person is at the other end.
	InTerminal, OutTerminal bool
	// Env looks up an environment variable, as os.Getenv does.
	Env func(string) string
	// Now is the clock; its location is the one in which times are written.
	Now func() time.Time
	// Version is this program's own.
	Version client.Version
	// Documents reads files of documents; nil means package spec.
	Documents func(files []SourceFile) ([]client.Document, error)
	// Schema returns the JSON Schema of documents; nil means package spec.
	Schema func() (json.RawMessage, error)
	// Extra are commands of other packages, such as dev, demo and controller.
	Extra []*cobra.Command
	// Doctors are commands of other packages below doctor.
	Doctors []*cobra.Command
}

// app is one run of the command line.
type app struct {
	Deps
	flags struct {
		output, context, server, tokenFile, ca string
	}
}

// New returns the root command. Run is what main calls.
func New(d Deps) *cobra.Command {
	a := &app{Deps: d}
	return a.root()
}

// Run runs the command line and returns its exit code. The end of ctx is an
// interrupt by a person.
func Run(ctx context.Context, d Deps, args []string) client.Exit {
	a := &app{Deps: d}
	root := a.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return client.ExitOK
	}
	return a.report(ctx, cmd, err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "relight",
		Short: "Keep servers that hold state alive",
		Long: `Relight notices that a server has died, proves that it is dead, starts it again
somewhere healthy with the same disks, addresses and names, checks that it works,
and tells people what it did and why.

An engine is found by --server, then RELIGHT_SERVER, then the context of a
client.json: $RELIGHT_CONFIG, or relight/client.json in $XDG_CONFIG_HOME.

Data goes to standard output, everything else to standard error. The JSON forms
and the exit codes are stable; the columns of tables are not.

` + exitTable(),
		Example:       "  relight dev\n  relight get servers\n  relight why lic-01",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE:          a.welcome,
	}
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage(cmd, "%v", err)
	})
	f := root.PersistentFlags()
	f.StringVarP(&a.flags.output, "output", "o", "table", "table, wide, json, yaml or name")
	f.StringVar(&a.flags.context, "context", "", "which engine of client.json to speak to")
	f.StringVar(&a.flags.server, "server", "", "the engine: https://HOST:PORT or unix:///PATH")
	f.StringVar(&a.flags.tokenFile, "token-file", "", "file that holds the bearer token")
	f.StringVar(&a.flags.ca, "ca", "", "file with the certificates to trust")
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		return a.checkOutput(cmd)
	}
	root.AddCommand(
		a.applyCmd(), a.diffCmd(), a.deleteCmd(), a.getCmd(), a.describeCmd(), a.whyCmd(), a.planCmd(),
		a.healCmd(), a.moveCmd(), a.snapshotsCmd(), a.orphansCmd(), a.drillCmd(), a.pauseCmd(), a.resumeCmd(), a.maintainCmd(), a.approveCmd(), a.denyCmd(),
		a.freezeCmd(), a.unfreezeCmd(), a.stormCmd(), a.incidentCmd(), a.eventsCmd(), a.auditCmd(), a.fenceCmd(),
		a.hostCmd(), a.powerCmd(), a.backupCmd(), a.notifyCmd(), a.schemaCmd(), a.versionCmd(), a.doctorCmd(),
	)
	root.AddCommand(a.Extra...)
	wrapArgs(root)
	return root
}

// welcome prints what to start with. Fifty commands at once teach nobody.
func (a *app) welcome(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return unknown(cmd, args[0])
	}
	_, err := fmt.Fprint(a.Out, `Relight keeps servers that hold state alive.

  relight dev               try it here: an engine with hosts and servers of its own
  relight get servers       what is alive and what is not
  relight why SERVER        what is known, what is done about it, and why not more
  relight apply -f FILE     declare servers, sites and policies
  relight doctor            is the engine itself ready

relight help lists all commands.
`)
	return err
}

// group is a command that only holds others.
func group(use, short, long, example string, children ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Long: long, Example: example, Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknown(cmd, args[0])
			}
			return cmd.Help()
		},
	}
	c.AddCommand(children...)
	return c
}

func unknown(cmd *cobra.Command, name string) error {
	err := usage(cmd, "unknown command %q for %q", name, cmd.CommandPath())
	cmd.SuggestionsMinimumDistance = 2
	if s := cmd.SuggestionsFor(name); len(s) > 0 {
		return err.WithNext("%s %s", cmd.CommandPath(), s[0])
	}
	return err
}

// usage is a problem of how a command was called.
func usage(cmd *cobra.Command, format string, args ...any) *client.Problem {
	return client.NewProblem(client.CodeBadRequest, format, args...).WithNext("%s --help", cmd.CommandPath())
}

// wrapArgs makes every complaint about arguments a usage problem.
func wrapArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usage(cmd, "%v", err)
			}
			return nil
		}
	}
	for _, c := range cmd.Commands() {
		wrapArgs(c)
	}
}

func exitTable() string {
	var b strings.Builder
	b.WriteString("Exit codes:\n")
	for _, r := range client.Exits() {
		fmt.Fprintf(&b, "  %3d  %s\n", r.Code, r.Meaning)
	}
	b.WriteString("  diff and plan: 0 same, 1 differs, above 1 an error")
	return b.String()
}
