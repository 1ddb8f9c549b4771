package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
	"relight/internal/drill"
)

func (a *app) drillCmd() *cobra.Command {
	return group("drill", "Break something on purpose and measure what comes of it",
		`A drill is a planned fault with its expected outcome. It begins only when all is
well and nothing would hold the recovery; it ends at once if anything happens that
was not planned; the engine records who did it and what came of it.`,
		"  relight drill run app-kill --server lic-01 --with ./break.sh\n  relight drill list", a.drillRunCmd(), a.drillListCmd())
}

func (a *app) drillListCmd() *cobra.Command {
	l := whole("drill", "relight drill run app-kill --server SERVER --with PROGRAM", func(d fleet.Drill) string { return d.ID }, (*client.Client).Drills)
	l.columns = []column[fleet.Drill]{
		{"ID", false, func(d fleet.Drill) string { return d.ID }},
		{"DRILL", false, func(d fleet.Drill) string { return string(d.Name) }},
		{"SERVER", false, func(d fleet.Drill) string { return d.Server }},
		{"FROM", false, func(d fleet.Drill) string { return d.Host }},
		{"TO", false, func(d fleet.Drill) string { return d.Result.To }},
		{"BY", true, func(d fleet.Drill) string { return d.By }},
		{"RTO", false, func(d fleet.Drill) string { return d.Result.RTO.Std().Round(10 * time.Millisecond).String() }},
		{"RPO", false, func(d fleet.Drill) string { return drill.RPO(d.Result) }},
		{"RESULT", false, drillState},
	}
	return listCmd(a, "list", "List drills, the newest first", "List shows the drills that the engine remembers, with what came of them.", "  relight drill list -o json", l)
}

func drillState(d fleet.Drill) string {
	if d.Ended.IsZero() {
		return "runs, or was never ended"
	}
	return drill.Outcome(d.Result)
}

// drillFlags say what to run and with what.
type drillFlags struct {
	server, with, reason string
	reports              []string
	all, yes             bool
	within               time.Duration
}

func (a *app) drillRunCmd() *cobra.Command {
	var f drillFlags
	names := make([]string, 0, len(fleet.DrillNames()))
	for _, n := range fleet.DrillNames() {
		names = append(names, string(n))
	}
	cmd := &cobra.Command{
		Use:   "run NAME|--all",
		Short: "Run a drill, or all of them",
		Long: `Run breaks a server on purpose, waits until it works again, and checks the data.

The drills: ` + strings.Join(names, ", ") + `.

--with names the program that breaks things here. It is called as
  PROGRAM break DRILL SERVER HOST    and then  PROGRAM mend DRILL SERVER HOST
  PROGRAM write SERVER ID            exit code 0: the write is durable
  PROGRAM check SERVER               acknowledged ids on standard input, a line each;
                                     it prints {"lost": N, "twoWriters": N}
and says with exit code 3 that it cannot. failback needs none. relight dev prints its own.

Exit code 1 if a drill did not pass.`,
		Example: "  relight drill run hang --server lic-01 --with ./break.sh --yes\n  relight drill run --all --with ./break.sh --report drills.html --yes",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.all == (len(args) == 1) {
				return usage(cmd, "name one drill (%s), or say --all", strings.Join(names, ", "))
			}
			return a.runDrills(cmd, args, f)
		},
	}
	cmd.Flags().StringVar(&f.server, "server", "", "the server to drill; with --all any that may be drilled, if absent")
	cmd.Flags().StringVar(&f.with, "with", "", "the program that breaks things here, with its arguments")
	cmd.Flags().StringVar(&f.reason, "reason", "", "why, for the record")
	cmd.Flags().StringArrayVar(&f.reports, "report", nil, "also write the report to this file: .html, .json, else text; may be given several times")
	cmd.Flags().BoolVar(&f.all, "all", false, "run all five, one after the other")
	cmd.Flags().DurationVar(&f.within, "within", 5*time.Minute, "how long a server may take to work again")
	yesFlag(cmd, &f.yes)
	return cmd
}

func (a *app) runDrills(cmd *cobra.Command, args []string, f drillFlags) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	what := strings.Join(args, "")
	if f.all {
		what = "all"
	}
	if err := a.confirm(cmd, f.yes, what, "break servers on purpose"); err != nil {
		return err
	}
	run := &drill.Runner{Engine: c, Breaker: drill.Program{Command: strings.Fields(f.with)}, Within: f.within, Say: func(format string, args ...any) {
		fmt.Fprintln(a.Err, clean(fmt.Sprintf(format, args...)))
	}}
	if f.with == "" {
		run.Breaker = drill.Nothing{}
	}
	report := drill.Report{At: a.Now()}
	list := fleet.DrillNames()
	if !f.all {
		list = []fleet.DrillName{fleet.DrillName(args[0])}
	}
	for i, name := range list {
		d, err := a.drillOne(cmd.Context(), c, run, name, i, f)
		switch {
		case d.ID != "":
			report.Drills = append(report.Drills, d)
		case !f.all:
			return err
		default:
			report.NotRun = append(report.NotRun, drill.NotRun{Name: name, Reason: err.Error()})
		}
		if cmd.Context().Err() != nil {
			break
		}
	}
	report.Close()
	return a.tellDrills(report, f.reports)
}

// drillOne runs a drill on the named server, or on the first that may be drilled.
func (a *app) drillOne(ctx context.Context, c *client.Client, run *drill.Runner, name fleet.DrillName, turn int, f drillFlags) (fleet.Drill, error) {
	if err := run.Settled(ctx); err != nil {
		return fleet.Drill{}, err
	}
	servers := []string{f.server}
	if f.server == "" {
		rows, err := c.Servers(ctx, client.ListQuery{})
		if err != nil || len(rows.Items) == 0 {
			return fleet.Drill{}, client.NewProblem(client.CodeRefused, "there is no server to drill").WithNext("relight apply -f FILE")
		}
		servers = nil
		for i := range rows.Items { // another one each time: tries of a ladder are few
			servers = append(servers, rows.Items[(turn+i)%len(rows.Items)].Name)
		}
	}
	var err error
	for _, s := range servers {
		var d fleet.Drill
		if d, err = run.Run(ctx, name, s, f.reason); d.ID != "" {
			return d, err
		}
	}
	return fleet.Drill{}, err
}

// tellDrills prints the report and writes it to the files that are named.
func (a *app) tellDrills(r drill.Report, paths []string) error {
	if err := a.object(r, "drills", r.Text); err != nil {
		return err
	}
	for _, path := range paths {
		write := r.Text
		switch filepath.Ext(path) {
		case ".html":
			write = r.HTML
		case ".json":
			write = r.JSON
		}
		if err := writeFile(path, write); err != nil {
			return err
		}
		fmt.Fprintf(a.Err, "the report is in %s\n", path)
	}
	if !r.Passed {
		return exitWith(client.ExitFailed)
	}
	return nil
}

func writeFile(path string, write func(io.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if err := write(file); err != nil {
		_ = file.Close()
		return fmt.Errorf("write the report: %w", err)
	}
	return file.Close()
}
