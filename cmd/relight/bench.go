package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"relight/internal/bench"
	"relight/internal/bench/ec2sweep"
)

// benchCommand measures this program on this machine.
func benchCommand() *cobra.Command {
	var out string
	var opt bench.Options
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure what Relight itself costs on this machine",
		Long: `Measure decisions, the deadline scan, memory, the overhead of recoveries and the
cost of beats, print one table, and write it as JSON. It takes some minutes and needs
no root, no network and no configuration. The part million, a fleet of that size that
loses a zone, runs only if it is named: it takes a quarter of an hour and 11 GiB.

Parts: ` + strings.Join(bench.Parts(), ", ") + `.`,
		Example: "  relight bench\n  relight bench --only recovery,scan",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opt.Progress = cmd.ErrOrStderr()
			opt.EC2 = func(ctx context.Context) ([]bench.Row, error) { return ec2sweep.Rows(ctx, ec2sweep.Servers) }
			rows, err := bench.Run(cmd.Context(), opt)
			if err != nil {
				return err
			}
			peers, err := bench.Beside(out)
			if err != nil {
				return err
			}
			rows = append(rows, peers...)
			if err := bench.Print(cmd.OutOrStdout(), rows); err != nil {
				return err
			}
			return bench.Save(out, rows, len(opt.Only) > 0)
		},
	}
	f := cmd.Flags()
	f.StringVar(&out, "out", "bench/results.json", "file for the results as JSON")
	f.StringSliceVar(&opt.Only, "only", nil, "measure only these parts, and keep the other rows of the file")
	f.StringVar(&opt.Dir, "dir", "", "directory on the disk to measure (default: the one for temporary files)")
	return cmd
}
