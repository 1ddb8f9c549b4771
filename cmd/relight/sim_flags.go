package main

import (
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
	"relight/internal/simulate"
)

// A flag that does nothing is refused: who types --fault without --servers believes to
// have seen that fault, and has seen something else.

// engineFlags are those of the root command: they say how to reach an engine, and how
// to print what it tells.
var engineFlags = []string{"server", "context", "token-file", "ca", "output"}

// asksNoEngine has a command of the simulator refuse the flags for engines.
func asksNoEngine(cmd *cobra.Command) {
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		for _, name := range engineFlags {
			if cmd.Flags().Changed(name) {
				return misused(cmd, "%s does nothing here: the simulator asks no engine", "--"+name).WithNext("%s --help", cmd.CommandPath())
			}
		}
		return run(cmd, args)
	}
}

func misused(cmd *cobra.Command, format string, args ...any) *client.Problem {
	return client.NewProblem(client.CodeBadRequest, format, args...).WithNext("%s", firstLine(cmd.Example))
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}

// check refuses what this way of running would not heed.
func (o simRun) check(cmd *cobra.Command) error {
	given := func(name string) bool { return cmd.Flags().Changed(name) }
	switch {
	case given("servers"):
		return o.checkLarge(cmd)
	case given("fault"):
		return misused(cmd, "--fault is what befalls one large fleet, and --servers says how large; the seeds draw their faults themselves").
			WithNext("relight sim run --servers 10000 --fault %s", o.fleet.Fault)
	case given("seeds") && o.seeds == 0:
		return misused(cmd, "--seeds is at least 1").WithNext("relight sim run --seeds 1000")
	case given("minutes") && o.minutes < 1:
		return misused(cmd, "--minutes is at least 1, not %d", o.minutes).WithNext("relight sim run --minutes 10")
	case given("workers") && o.workers < 1:
		return misused(cmd, "--workers is at least 1, not %d", o.workers).WithNext("relight sim run --seeds 1000")
	case given("workers") && o.one:
		return misused(cmd, "--workers shares many seeds out, and --seed alone runs one").WithNext("relight sim run --seed %d", o.first)
	}
	if stat, err := os.Stat(o.dir); err != nil || !stat.IsDir() { // a long hunt must not find out at its end
		return misused(cmd, "--stories: there is no directory %s", o.dir).WithNext("mkdir -p %s", o.dir)
	}
	return nil
}

// checkLarge is check for one large fleet.
func (o simRun) checkLarge(cmd *cobra.Command) error {
	for _, name := range []string{"seeds", "minutes", "workers", "stories"} {
		if cmd.Flags().Changed(name) {
			return misused(cmd, "--%s is for many seeds: with --servers one fleet is run once", name).WithNext("relight sim run --servers %d", max(o.fleet.Servers, simulate.FleetLeast))
		}
	}
	faults := simulate.FleetFaults()
	switch {
	case o.fleet.Servers < simulate.FleetLeast:
		return misused(cmd, "--servers is at least %d, not %d", simulate.FleetLeast, o.fleet.Servers).WithNext("relight sim run --servers %d", simulate.FleetLeast)
	case cmd.Flags().Changed("fault") && !slices.Contains(faults, o.fleet.Fault):
		return misused(cmd, "--fault %q befalls no fleet: there are %s", o.fleet.Fault, strings.Join(faults, ", ")).
			WithNext("relight sim run --servers %d --fault az-loss", o.fleet.Servers)
	}
	return nil
}

// checkWhatIf refuses what a question would not heed.
func checkWhatIf(cmd *cobra.Command, opt simulate.WhatIfOptions) error {
	switch {
	case cmd.Flags().Changed("links") && !opt.Cut:
		return misused(cmd, "--links says what --cut cuts; without --cut the places are lost whole").
			WithNext("relight sim what-if -f FILE --lose HOST --cut --links %s", opt.Links)
	case cmd.Flags().Changed("units") && opt.Units < 1:
		return misused(cmd, "--units is at least 1, not %d", opt.Units).WithNext("relight sim what-if -f FILE --lose HOST --units 8")
	}
	return nil
}
