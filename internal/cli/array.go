package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
)

func (a *app) doctorArrayCmd() *cobra.Command {
	var req client.ArrayExamination
	var watch time.Duration
	cmd := &cobra.Command{
		Use: "array ARRAY", Short: "Try an array's fence and reservations on a scratch LUN",
		Long: `Array has the controller find out what a declared array is worth before servers
depend on it, with a LUN and initiators of its own; no server is touched.

It sends each SCSI command that writes past a reservation and says what the array
does. Then it fences an epoch of its own that writes through eight sessions, has one
write held back inside the array and one login half-way, lets a next epoch in, and
watches whether anything of the old one lands. What the array's own disks hold back
cannot be slowed from outside: run it once while the array is busy, too.

Without --lun a LUN of 16 MiB named relight-probe is made; it stays for the next time.
One that is named must be empty, of 8 MiB or more, and no server's. Exit code 1 if the
fence does not hold or could not be tried. Reservations that are no second line are no
failure: nothing depends on them.`,
		Example: "  relight doctor array san-1\n  relight doctor array san-1 --lun scratch --watch 1m\n  relight doctor array san-1 -o json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			req.Watch = fleet.Duration(watch)
			r, err := c.ExamineArray(cmd.Context(), args[0], req)
			if err != nil {
				return err
			}
			if err := a.object(r, "array/"+r.Array, func(out io.Writer) error { return a.array(out, r) }); err != nil {
				return err
			}
			if r.Failed() {
				return exitWith(client.ExitFailed)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&req.LUN, "lun", "", "an empty LUN that may be written to (default: one is made)")
	cmd.Flags().DurationVar(&watch, "watch", 10*time.Second, "how long the LUN is watched after the fence, up to 10m")
	return cmd
}

func (a *app) array(out io.Writer, r client.ArrayReport) error {
	made := ""
	if r.Made {
		made = ", made for this; it stays"
	}
	if _, err := fmt.Fprintf(out, "array %s (%s, site %s), LUN %s%s\n\n", clean(r.Array), r.Driver, clean(r.Site), clean(r.LUN), made); err != nil {
		return err
	}
	if len(r.Commands) > 0 {
		err := table(out, false, []column[client.ArrayCommand]{
			{"AGAINST A RESERVATION", false, func(c client.ArrayCommand) string { return c.Command }},
			{"THE ARRAY", false, func(c client.ArrayCommand) string { return c.Does }},
		}, r.Commands)
		if err != nil {
			return err
		}
	}
	line := "Reservations are a second line here, and never the first."
	if !r.SecondLine {
		line = "Reservations are no second line here: " + strings.Join(r.WhyNot, "; ") + "."
	}
	if _, err := fmt.Fprintf(out, "%s\n\n", clean(line)); err != nil {
		return err
	}
	if len(r.Fence) > 0 {
		if err := a.doctor(out, client.DoctorReport{Checks: r.Fence}); err != nil {
			return err
		}
	}
	if r.Trouble != "" {
		if _, err := fmt.Fprintf(out, "It did not come to its end: %s\n", clean(r.Trouble)); err != nil {
			return err
		}
		a.next("relight doctor")
	}
	return nil
}
