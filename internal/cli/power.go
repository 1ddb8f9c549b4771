package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
)

func (a *app) powerCmd() *cobra.Command {
	return group("power", "Look at the devices that can switch hosts off",
		"A Site document of kind host names in spec.power what can switch the host off.\nRelight does so only to prove that what ran there is dead.",
		"  relight power status host-2",
		a.powerStatusCmd())
}

func (a *app) powerStatusCmd() *cobra.Command {
	return &cobra.Command{
		Use: "status HOST", Short: "Read the state of a host's power devices",
		Long: `Status asks each power device of the host for its state, as a recovery would, and
holds its declaration against what the device's program says of itself. It switches
nothing. Exit code 1 if a device does not answer.`,
		Example: "  relight power status host-2",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			r, err := c.Power(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := a.object(r, "power", func(out io.Writer) error { return a.power(out, r) }); err != nil {
				return err
			}
			if r.Failed() {
				return exitWith(client.ExitFailed)
			}
			return nil
		},
	}
}

func (a *app) power(out io.Writer, r client.PowerReport) error {
	err := table(out, false, []column[client.PowerDevice]{
		{"LEVEL", false, func(d client.PowerDevice) string { return fmt.Sprint(d.Level) }},
		{"DEVICE", false, func(d client.PowerDevice) string { return d.Device }},
		{"STATE", false, func(d client.PowerDevice) string { return d.State }},
		{"DETAIL", false, func(d client.PowerDevice) string {
			said := d.Doubts
			if d.Error != "" {
				said = append([]string{d.Error}, said...)
			}
			return strings.Join(said, "; ")
		}},
	}, r.Devices)
	a.next("relight doctor")
	return err
}
