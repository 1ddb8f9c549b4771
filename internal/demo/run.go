package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"relight/internal/demo/phases"
	"relight/internal/demo/relay"
	"relight/internal/dev"
)

// Options say what a demo does.
type Options struct {
	// Dir and Exe are those of dev.Options.
	Dir, Exe string
	// Cases are the numbers of the faults to play, from 1; all if empty.
	Cases []int
	// Keep leaves the fleet's directory in place.
	Keep bool
	// Out gets the story for people; Err what went wrong.
	Out, Err io.Writer
}

// ErrNotHealed means that the report is not as it must be.
var ErrNotHealed = errors.New("not everything is as it must be")

// Cases lists the faults' titles, in order.
func Cases() []string {
	var out []string
	for _, f := range faults() {
		out = append(out, f.title)
	}
	return out
}

// Run starts a fleet, plays the faults and checks the logs. The report is complete
// whatever the error; ErrNotHealed says that the report tells of a failure.
func Run(ctx context.Context, o Options) (Report, error) {
	var report Report
	for _, n := range o.Cases {
		if n < 1 || n > len(faults()) {
			return report, fmt.Errorf("there is no case %d; they are 1 to %d", n, len(faults()))
		}
	}
	begun := time.Now()
	s := &stage{relays: map[string]*relay.Relay{}, show: newShow(o.Out)}
	s.show.printf("starting a controller, 3 hosts and 6 servers ...\n")
	defer func() {
		for _, r := range s.relays {
			r.Close()
		}
	}()
	var err error
	if s.fleet, err = dev.Start(ctx, dev.Options{Dir: o.Dir, Exe: o.Exe, Between: s.between}); err != nil {
		return report, err
	}
	s.show.printf("they run after %.1f s in %s; clients write to all of them from now on\n", time.Since(begun).Seconds(), s.fleet.Dir)
	s.load = StartLoad(ctx, s.fleet.Servers, uint64(begun.UnixMilli())<<20)
	err = s.play(ctx, o, &report)
	s.load.Stop()
	// The applications end before their logs are read.
	err = errors.Join(err, s.fleet.Stop(), s.check(o, &report))
	if err == nil && !report.Healed {
		err = ErrNotHealed
	}
	// Whoever interrupts the demo wants nothing of it.
	if o.Keep || err != nil && ctx.Err() == nil {
		s.fleet.Keep()
		fmt.Fprintf(o.Err, "the fleet's directory is kept: %s\n", s.fleet.Dir)
	}
	err = errors.Join(err, s.fleet.Close())
	s.show.printf("%d writes were acknowledged, %d of them lost; %d moments with two writers; %.1f s in all\n",
		report.Acked, report.AckedLost, report.TwoWriters, time.Since(begun).Seconds())
	return report, err
}

// between puts a cable between a host and the controller.
func (s *stage) between(host, api, beat string) (string, string, error) {
	r, err := relay.Open(relay.Options{Listen: "127.0.0.1", TCP: api, UDP: beat})
	if err != nil {
		return "", "", err
	}
	s.relays[host] = r
	return r.TCP(), r.UDP(), nil
}

// play plays the faults. One that fails ends the demo: what follows would be
// blamed for it.
func (s *stage) play(ctx context.Context, o Options, report *Report) error {
	report.Healed, report.Faults = true, []phases.Result{}
	for i, f := range faults() {
		if len(o.Cases) > 0 && !slices.Contains(o.Cases, i+1) {
			continue
		}
		err := s.settled(ctx)
		s.show.printf("\n%d. %s\n", i+1, f.title)
		var r phases.Result
		var h []phases.Healing
		if err == nil {
			r, h, err = f.play(ctx, s)
		}
		if err != nil {
			report.Healed = false
			report.Faults = append(report.Faults, phases.Result{Name: f.name})
			if ctx.Err() != nil {
				return ctx.Err()
			}
			s.explain(o.Err, f, err)
			return nil
		}
		report.Faults = append(report.Faults, r)
		for _, one := range h {
			s.show.printf("%s", phases.Waterfall(one, r))
		}
	}
	return s.settled(ctx)
}

// explain tells why a fault was not healed, as far as the engine can say.
func (s *stage) explain(out io.Writer, f fault, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	fmt.Fprintf(out, "\n%s: not healed: %v\n", f.name, err)
	for _, srv := range s.fleet.Servers {
		why, err := s.api().Why(ctx, srv.Name)
		if err != nil {
			fmt.Fprintf(out, "why %s: %v\n", srv.Name, err)
			continue
		}
		now := time.Now()
		fmt.Fprintf(out, "%s\n  %s\n", why.Headline(now), why.Now())
		if line := why.ProofLine(); line != "" {
			fmt.Fprintf(out, "  %s\n", line)
		}
		for _, e := range why.Events[max(len(why.Events)-8, 0):] {
			fmt.Fprintf(out, "    %s  %s  %s\n", e.Event.At.Format("15:04:05.000"), e.Event.Kind, e.Event.Message)
		}
	}
	fmt.Fprintln(out, "logs:")
	for _, path := range s.fleet.Logs() {
		fmt.Fprintf(out, "  %s\n", path)
	}
}

// check holds the volumes' logs against the clients' record.
func (s *stage) check(o Options, report *Report) error {
	var errs []error
	for _, srv := range s.fleet.Servers {
		f, err := Check(srv.Volume, s.load.Acked(srv.Name))
		errs = append(errs, err)
		report.Acked += f.Acked
		report.AckedLost += f.AckedLost
		report.TwoWriters += f.TwoWriters
		if err == nil && !f.OK() {
			errs = append(errs, fmt.Errorf("the log of %s: %w: %d acknowledged writes lost, %d moments with two writers, %d duplicates, %d damaged",
				srv.Name, ErrNotHealed, f.AckedLost, f.TwoWriters, f.Duplicates, f.Damaged))
			for _, n := range f.Notes {
				fmt.Fprintf(o.Err, "%s: %s\n", srv.Name, n)
			}
		}
	}
	return errors.Join(errs...)
}

// WriteJSON writes the report as one line.
func (r Report) WriteJSON(out io.Writer) error {
	if r.Faults == nil {
		r.Faults = []phases.Result{}
	}
	return json.NewEncoder(out).Encode(r)
}
