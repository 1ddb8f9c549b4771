package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"relight/internal/cli"
	"relight/internal/simulate"
	"relight/internal/spec"
)

// simCommand plays whole sites in virtual time.
func simCommand() *cobra.Command { return simCommandOf(simulate.Random) }

// simCommandOf is simCommand with another way from a seed to its scenario.
func simCommandOf(draw func(seed uint64) simulate.Scenario) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Play hosts, faults and people in virtual time, against the real controller",
		Long: `Run the real controller, its decisions and the rules of its agents in a simulated
world, in virtual time. The same seed always gives the same run. After each event
the world itself is held against every promise that Relight makes.`,
		Example: "  relight sim run --seeds 1000\n  relight sim play story.txtar\n  relight sim what-if -f mine.yaml --lose host-3",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, part := range []*cobra.Command{simRunCommand(draw), simPlayCommand(), simWhatIfCommand(), simFaultsCommand()} {
		asksNoEngine(part)
		cmd.AddCommand(part)
	}
	return cmd
}

// errBroken ends a command that has shown the broken promises already.
var errBroken = errors.New("a promise was broken")

func simRunCommand(draw func(seed uint64) simulate.Scenario) *cobra.Command {
	opt := simRun{draw: draw}
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run random scenarios, and say which promises broke",
		Long: `Draw worlds, specs and faults from seeds and run them. A broken promise prints the
line that replays it; it is shrunk to a small scenario and written as a story.`,
		Example: "  relight sim run --seed 42\n  relight sim run --seeds 1000 --json\n  relight sim run --minutes 10\n  relight sim run --servers 100000 --fault az-loss",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opt.out, opt.err = cmd.OutOrStdout(), cmd.ErrOrStderr()
			opt.terminal = opt.err == io.Writer(os.Stderr) && cli.IsTerminal(os.Stderr)
			opt.one = cmd.Flags().Changed("seed") && !cmd.Flags().Changed("seeds") && opt.minutes == 0
			if err := opt.check(cmd); err != nil {
				return err
			}
			return opt.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.Uint64Var(&opt.first, "seed", 0, "run this seed and print its timeline; with --seeds, the first of them")
	f.Uint64Var(&opt.seeds, "seeds", 0, "how many seeds to run")
	f.IntVar(&opt.minutes, "minutes", 0, "run as many seeds as fit into this time")
	f.IntVar(&opt.workers, "workers", runtime.GOMAXPROCS(0), "how many seeds run at once")
	f.BoolVar(&opt.json, "json", false, "print nothing but one JSON object")
	f.StringVar(&opt.dir, "stories", ".", "directory for the stories of broken promises")
	f.IntVar(&opt.fleet.Servers, "servers", 0, "run one large fleet of this many servers instead")
	f.StringVar(&opt.fleet.Fault, "fault", "", "with --servers, what befalls it: "+strings.Join(simulate.FleetFaults(), ", "))
	return cmd
}

type simRun struct {
	draw         func(seed uint64) simulate.Scenario
	first, seeds uint64
	minutes      int
	workers      int
	json, one    bool
	dir          string
	fleet        simulate.FleetOptions
	out, err     io.Writer
	// terminal is true if a person watches err.
	terminal bool
}

// logEvery is the pace of a hunt's progress in a log.
const logEvery = 30 * time.Second

func (o simRun) run(ctx context.Context) error {
	if o.fleet.Servers > 0 {
		return o.large()
	}
	if o.one {
		return o.show(o.first)
	}
	if o.seeds == 0 && o.minutes == 0 {
		o.seeds = 100
	}
	told, written := 0, time.Time{}
	hunt := simulate.Hunt{
		First: o.first, Seeds: o.seeds, For: time.Duration(o.minutes) * time.Minute, Workers: o.workers, Make: o.draw,
		Progress: func(r simulate.Report) {
			for ; told < len(r.Broken); told++ { // at once: a long hunt goes on for hours
				fmt.Fprintf(o.err, "\nseed %d breaks %s\n", r.Broken[told].Scenario.Seed, r.Broken[told].Violations[0])
			}
			begin, end := "\r", " "
			if !o.terminal {
				if time.Since(written) < logEvery {
					return
				}
				begin, end, written = "", "\n", time.Now()
			}
			fmt.Fprintf(o.err, "%s%d seeds, %.0f simulated hours, %.0f times real time, %d broken%s", begin, r.Seeds, r.Simulated.Hours(), r.Simulated.Seconds()/max(r.Wall.Seconds(), 0.001), r.Violations, end)
		},
	}
	report, err := hunt.Go(ctx)
	fmt.Fprintln(o.err)
	if err != nil {
		return err
	}
	// Who stopped it has fewer seeds than were asked for: that is no success.
	return errors.Join(o.report(report), o.broken(report), ctx.Err())
}

// large runs one large fleet.
func (o simRun) large() error {
	o.fleet.Seed, o.fleet.Progress = o.first, o.err
	r, err := simulate.Fleet(o.fleet)
	if err != nil {
		return err
	}
	if o.json {
		err = json.NewEncoder(o.out).Encode(r)
	} else {
		_, err = fmt.Fprint(o.out, r.Print())
	}
	if err == nil && len(r.Violations) > 0 {
		return errBroken
	}
	return err
}

// show runs one seed and prints all of it.
func (o simRun) show(seed uint64) error {
	begun := time.Now()
	r, err := simulate.Run(o.draw(seed))
	if err != nil {
		return fmt.Errorf("seed %d: %w", seed, err)
	}
	if o.json {
		sum := summaryOf(simulate.Report{Seeds: 1, Simulated: r.Simulated, Wall: time.Since(begun), Covered: r.Covered, Broken: brokenOf(r), Violations: len(brokenOf(r))})
		sum.Trace = fmt.Sprintf("%016x", r.Trace)
		if err := json.NewEncoder(o.out).Encode(sum); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(o.out, "%strace     %016x\n", r.Print(), r.Trace)
	}
	return o.broken(simulate.Report{Broken: brokenOf(r)})
}

func brokenOf(r simulate.Result) []simulate.Result {
	if len(r.Violations) == 0 {
		return nil
	}
	return []simulate.Result{r}
}

// summary is what --json prints.
type summary struct {
	Seeds             uint64  `json:"seeds"`
	SimulatedHours    float64 `json:"simulated_hours"`
	Violations        int     `json:"violations"`
	FaultStepCoverage float64 `json:"fault_step_coverage"`
	WallSeconds       float64 `json:"wall_seconds"`
	// Trace is that of one seed alone; it is text, since many readers of JSON round large
	// numbers.
	Trace string `json:"trace,omitempty"`
}

func summaryOf(r simulate.Report) summary {
	return summary{
		Seeds: r.Seeds, SimulatedHours: r.Simulated.Hours(), Violations: r.Violations,
		FaultStepCoverage: r.Coverage(), WallSeconds: r.Wall.Seconds(),
	}
}

func (o simRun) report(r simulate.Report) error {
	if o.json {
		return json.NewEncoder(o.out).Encode(summaryOf(r))
	}
	fmt.Fprintf(o.out, "%d seeds, %.1f simulated hours in %.1f s, %d broken\n", r.Seeds, r.Simulated.Hours(), r.Wall.Seconds(), r.Violations)
	fmt.Fprintf(o.out, "%.0f%% of the pairs of a fault and a step have met\n", 100*r.Coverage())
	return nil
}

// broken shrinks the first broken run of each promise and writes it as a story.
func (o simRun) broken(r simulate.Report) error {
	seen := map[string]bool{}
	var next error
	for _, b := range r.Broken {
		v := b.Violations[0]
		fmt.Fprintf(o.err, "broken: %s\n  relight sim run --seed %d\n", v, b.Scenario.Seed)
		if seen[v.Invariant] {
			continue
		}
		seen[v.Invariant] = true
		small := simulate.Shrink(b)
		story := simulate.Story{
			Comment: fmt.Sprintf("Breaks %s.\nFound by relight sim run --seed %d.", small.Violations[0], b.Scenario.Seed), Scenario: small.Scenario,
		}
		file := filepath.Join(o.dir, fmt.Sprintf("broken-%s-seed-%d.txtar", strings.ToLower(v.Invariant), b.Scenario.Seed))
		if err := os.WriteFile(file, story.Format(), 0o600); err != nil {
			return err
		}
		fmt.Fprintf(o.err, "  shrunk to %d faults: relight sim play %s\n", len(small.Scenario.Faults), file)
		if next == nil {
			next = fmt.Errorf("%w; next: relight sim play %s", errBroken, file)
		}
	}
	return next
}

func simPlayCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "play STORY...",
		Short: "Play a story and print its timeline",
		Long: `Play a story: a file with the sections world, spec.yaml and faults. The timeline
says what happened, what Relight decided, and why. A section expect is compared.`,
		Example: "  relight sim play internal/simulate/testdata/stories/host_lost.txtar",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var failed error
			for _, file := range args {
				failed = errors.Join(failed, playFile(cmd.OutOrStdout(), file))
			}
			return failed
		},
	}
	return cmd
}

func playFile(out io.Writer, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	story, err := simulate.ParseStory(file, data)
	if err != nil {
		return err
	}
	r, err := simulate.Run(story.Scenario)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if story.Comment != "" {
		fmt.Fprintf(out, "%s\n\n", story.Comment)
	}
	fmt.Fprint(out, r.Print())
	if len(r.Violations) > 0 {
		return fmt.Errorf("%s: %w", file, errBroken)
	}
	if story.Expect != "" && strings.TrimSpace(story.Expect) != strings.TrimSpace(r.Print()) {
		return fmt.Errorf("%s: the timeline is not the expected one", file)
	}
	return nil
}

func simFaultsCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "faults",
		Short:   "List every sort of fault that a story may hold",
		Example: "  relight sim faults",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprintln(cmd.OutOrStdout(), strings.Join(simulate.Language(), "\n"))
			return nil
		},
	}
}

func simWhatIfCommand() *cobra.Command {
	var files, lose []string
	var opt simulate.WhatIfOptions
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "what-if -f FILE --lose HOST",
		Short: "Say what would become of your own servers if places were lost",
		Long: `Build a world from your own documents, let Relight start everything in it, and then
lose hosts or whole sites, or cut them off. It says of every server what happens,
where it comes back and when; and who does not come back, and why. Nothing of yours
is touched: no controller is asked.`,
		Example: "  relight sim what-if -f mine.yaml --lose host-3\n  relight sim what-if -f mine.yaml --lose rack-1 --units 8 --json\n  relight sim what-if -f mine.yaml --lose host-3 --cut",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkWhatIf(cmd, opt); err != nil {
				return err
			}
			var docs []spec.File
			for _, name := range files {
				data, err := os.ReadFile(name)
				if err != nil {
					return err
				}
				docs = append(docs, spec.File{Name: name, Data: data})
			}
			answer, err := simulate.WhatIf(docs, lose, opt)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(answer)
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), answer.Print())
			return err
		},
	}
	f := cmd.Flags()
	f.StringSliceVarP(&files, "file", "f", nil, "file with your documents; may be repeated")
	f.StringSliceVar(&lose, "lose", nil, "host or site to lose; may be repeated")
	f.BoolVar(&opt.Cut, "cut", false, "cut them off instead: what runs there goes on")
	f.StringVar(&opt.Links, "links", "", "with --cut, the links: control, in, out, peers, storage (default: control,peers,storage)")
	f.IntVar(&opt.Units, "units", 0, "capacity of each host (default: enough for all servers)")
	f.BoolVar(&asJSON, "json", false, "print nothing but one JSON object")
	_ = cmd.MarkFlagRequired("file")
	_ = cmd.MarkFlagRequired("lose")
	return cmd
}
