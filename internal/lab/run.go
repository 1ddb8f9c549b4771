package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// RunOptions say which cases are played, and how often.
type RunOptions struct {
	Options
	// Cases are names; all if empty.
	Cases []string
	// Runs is how often each is played; 1 if 0.
	Runs int
	// Keep leaves the lab in place after a case that failed, for whoever wants to look.
	Keep bool
	// JSON has results printed as one object a line.
	JSON bool
	Out  io.Writer
}

// Run builds a lab, plays cases on it, and takes it down. A case that fails ends
// the run: what follows would be blamed for it. The last line says how often
// something was lost or stale.
func Run(ctx context.Context, o RunOptions) (err error) {
	var list []Case
	for _, name := range o.Cases {
		c, err := FindCase(name)
		if err != nil {
			return err
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		list = Cases()
	}
	o.Owned = !o.Keep
	sum := tally{begun: time.Now()}
	for _, own := range byLab(list) {
		o.Several = own[0].Needs == SeveralControllers
		if err = runOn(ctx, o, own, &sum); err != nil {
			break
		}
	}
	fmt.Fprintf(o.Out, "%.0f s\nruns=%d lost=%d stale=%d\n", time.Since(sum.begun).Seconds(), sum.played, sum.lost, sum.stale)
	return err
}

// byLab parts cases by the labs on which they are played.
func byLab(list []Case) [][]Case {
	var out [][]Case
	for _, needs := range []Needs{AnyLab, SeveralControllers} {
		if own := slices.DeleteFunc(slices.Clone(list), func(c Case) bool { return c.Needs != needs }); len(own) > 0 {
			out = append(out, own)
		}
	}
	for _, c := range list {
		if c.Needs == OwnLab {
			out = append(out, []Case{c})
		}
	}
	return out
}

// tally counts what all cases came to.
type tally struct {
	begun               time.Time
	played, lost, stale int
}

// runOn plays cases on one lab.
func runOn(ctx context.Context, o RunOptions, list []Case, sum *tally) (err error) {
	l, err := Up(ctx, o.Options)
	if err != nil {
		return err
	}
	defer func() {
		if o.Keep && err != nil {
			fmt.Fprintf(o.Out, "the lab is kept; next: relight lab status --name %s\n", l.Name)
			return
		}
		err = errors.Join(err, l.Down(context.WithoutCancel(ctx)))
	}()
	s, err := Enter(ctx, l)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.playAll(ctx, list, o, sum)
}

func (s *Stage) playAll(ctx context.Context, list []Case, o RunOptions, sum *tally) error {
	for range max(o.Runs, 1) {
		for _, c := range list {
			r, err := s.Play(ctx, c)
			sum.lost, sum.stale = sum.lost+r.Findings.Lost, sum.stale+r.Findings.Stale
			if err != nil && ctx.Err() == nil {
				fmt.Fprintf(o.Out, "%v\n", err)
				s.Explain(o.Out)
			}
			if err != nil {
				return err
			}
			sum.played++
			s.print(r, o)
		}
	}
	return nil
}

func (s *Stage) print(r Result, o RunOptions) {
	if o.JSON {
		_ = json.NewEncoder(o.Out).Encode(r)
		return
	}
	fmt.Fprintln(o.Out, r)
}
