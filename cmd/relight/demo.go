package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"relight/internal/demo"
	"relight/internal/demo/ec2"
)

// demoCommand breaks a fleet of its own and shows that it heals.
func demoCommand() *cobra.Command {
	var opt demo.Options
	var asJSON bool
	var platform string
	listed := func(titles []string) string {
		var b strings.Builder
		for i, title := range titles {
			fmt.Fprintf(&b, "  %d. %s\n", i+1, title)
		}
		return b.String()
	}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Break a fleet of real processes and see it heal",
		Long: `Start a controller, three hosts and six servers on this machine, as relight dev
does, and break them for real, while clients write to every server without a
pause. At the end the volumes' own logs are held against what was acknowledged.

` + listed(demo.Cases()) + `
It takes less than a minute and needs no root, no network and no configuration.
It succeeds only if everything was healed, no acknowledged write is lost, and no
two writers ever were at work on one volume.

With --provider aws the servers are instances of a fake account, on which a real
controller acts over the wire, and all of these befall them at once:

` + listed(ec2.Cases()) + `
In the middle of it the account refuses nearly every call for want of tokens.`,
		Example: "  relight demo\n  relight demo --case 1,4\n  relight demo --json\n  relight demo --provider aws --case 5",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opt.Out, opt.Err = cmd.OutOrStdout(), cmd.ErrOrStderr()
			if asJSON {
				opt.Out = io.Discard
			}
			switch platform {
			case "process":
			case "aws":
				return ec2Demo(cmd, opt, asJSON)
			default:
				return fmt.Errorf("--provider %q is neither process nor aws; try: relight demo --provider aws", platform)
			}
			report, err := demo.Run(cmd.Context(), opt)
			if asJSON {
				if err := report.WriteJSON(cmd.OutOrStdout()); err != nil {
					return err
				}
			}
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVar(&asJSON, "json", false, "print nothing but one JSON object")
	f.StringVar(&platform, "provider", "process", "what to break: process (real processes on this machine) or aws (a fake account, on the wire)")
	f.IntSliceVar(&opt.Cases, "case", nil, "play only these cases, such as 1,4")
	f.BoolVar(&opt.Keep, "keep", false, "keep the fleet's directory with all logs")
	f.StringVar(&opt.Dir, "dir", "", "directory to keep the fleet in (default: a temporary one)")
	return cmd
}

// ec2Demo breaks servers on a fake account of AWS.
func ec2Demo(cmd *cobra.Command, opt demo.Options, asJSON bool) error {
	report, err := ec2.Run(cmd.Context(), ec2.Options{Exe: opt.Exe, Dir: opt.Dir, Cases: opt.Cases, Keep: opt.Keep, Out: opt.Out, Err: opt.Err})
	if asJSON {
		if err := report.WriteJSON(cmd.OutOrStdout()); err != nil {
			return err
		}
	}
	return err
}
