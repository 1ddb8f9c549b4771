// Package ec2 breaks servers on a fake AWS account and shows how a real controller
// brings them back through the wire. The account is a model (package fakeaws), which is
// also what checks the end: by its own truth, not by the controller's records.
package ec2

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
	"relight/internal/demo/phases"
	"relight/internal/provider/aws/stage"
	"relight/internal/rack"
	"relight/internal/world"
)

// Options say how a demo is run.
type Options struct {
	// Exe is this program; its own if empty. Dir is where the controller keeps its files
	// and its log, which then stay; a temporary directory if empty.
	Exe, Dir string
	// Cases are the numbers of the faults to play, from 1; all if empty.
	Cases []int
	// Keep leaves a temporary directory in place, too.
	Keep bool
	// Out gets the story for people; Err what went wrong.
	Out, Err io.Writer
}

// ErrNotHealed means that the report is not as it must be.
var ErrNotHealed = errors.New("not everything is as it must be")

// Report is what a demo found; its JSON form is a public format.
type Report struct {
	Healed bool     `json:"healed"`
	Faults []Result `json:"faults"`
	// Acked counts the writes that clients were told to be durable, AckedLost those
	// that the volumes do not hold, TwoWriters the moments with two at work.
	Acked      int `json:"acked"`
	AckedLost  int `json:"acked_lost"`
	TwoWriters int `json:"two_writers"`
	// Throttled is how many of Calls the account refused for want of tokens. Nearly all
	// of them fall into the time in which the demo takes the tokens away.
	Calls     int `json:"calls"`
	Throttled int `json:"throttled"`
}

// Result is the outcome of one fault. Its times are those of this machine's clock, and
// Heal is until the server was verified.
type Result struct {
	Name   string `json:"name"`
	Server string `json:"server"`
	Healed bool   `json:"healed"`
	phases.Times
	// Steps are those that had their effect, in order; of several alike in a row, one.
	Steps []string `json:"steps"`
	// Before and After are the epochs.
	Before fleet.Epoch `json:"epoch_before"`
	After  fleet.Epoch `json:"epoch_after"`
	// From and To are where it ran before the fault and where it works now, as the account
	// itself knows.
	From Place `json:"from"`
	To   Place `json:"to"`
}

// Place is a zone of the account and a machine type.
type Place struct {
	Zone string `json:"zone"`
	Type string `json:"type"`
}

// String is a place in words.
func (p Place) String() string { return p.Type + " in " + p.Zone }

// pace is how fast a demo is played: the account's time passes factor times as fast as
// the wall clock's, and health is what the policy says of verdicts.
type pace struct {
	factor float64
	health string
}

// shown is how fast it is for people, who need not wait a whole minute for each status
// check.
const shown = 4

// most bounds the demo.
const most = 10 * time.Minute

// demo is one run.
type demo struct {
	o       Options
	st      *stage.Stage
	api     *client.Client
	dir     string
	cmd     *exec.Cmd
	clients map[string]*world.Client
	names   map[string]string // case to server
	pace    pace
	faults  []fault // those that are played
}

// Run plays all faults at once and returns what became of each.
func Run(ctx context.Context, o Options) (Report, error) {
	return run(ctx, o, pace{factor: shown, health: "{}"})
}

func run(ctx context.Context, o Options, p pace) (report Report, err error) {
	d := &demo{o: o, st: stage.New(p.factor, 1), clients: map[string]*world.Client{}, names: map[string]string{}, pace: p}
	if d.faults, err = chosen(o.Cases); err != nil {
		return report, err
	}
	if d.dir, err = o.directory(); err != nil {
		return report, err
	}
	within, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	defer func() {
		switch {
		case o.Dir != "":
		case o.Keep || err != nil && ctx.Err() == nil: // whoever interrupts the demo wants nothing of it
			fmt.Fprintf(o.Err, "the controller's directory is kept: %s\n", d.dir)
		default:
			_ = os.RemoveAll(d.dir)
		}
	}()
	fmt.Fprintf(o.Out, "a fake account in %s (its time passes %g times as fast), a real controller, %d servers ...\n", stage.Region, p.factor, len(d.faults))
	stop, err := d.start(within)
	defer stop()
	if err != nil {
		return report, err
	}
	report, err = d.play(within)
	if err == nil && (!report.Healed || report.AckedLost+report.TwoWriters > 0) {
		err = ErrNotHealed
	}
	return report, err
}

// Cases lists the faults' titles, in order.
func Cases() []string {
	var out []string
	for _, f := range faults() {
		out = append(out, f.title)
	}
	return out
}

// chosen are the faults of those numbers, or all.
func chosen(cases []int) (out []fault, err error) {
	all := faults()
	for _, n := range cases {
		if n < 1 || n > len(all) {
			return nil, fmt.Errorf("there is no case %d; they are 1 to %d", n, len(all))
		}
	}
	for n, f := range all {
		if len(cases) == 0 || slices.Contains(cases, n+1) {
			out = append(out, f)
		}
	}
	return out, nil
}

// directory is where the controller works. That of an earlier demo knows of servers whose
// account is gone.
func (o Options) directory() (string, error) {
	if o.Dir == "" {
		return os.MkdirTemp("", "relight-ec2-")
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return "", err
	}
	if list, err := os.ReadDir(o.Dir); err != nil || len(list) > 0 {
		return "", errors.Join(err, fmt.Errorf("--dir %s is not empty: the account is made anew for each demo; try another directory", o.Dir))
	}
	return o.Dir, nil
}

// start serves the account, starts the controller and waits until all servers work.
func (d *demo) start(ctx context.Context) (stop func(), err error) {
	stop = func() {}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return stop, err
	}
	server := &http.Server{Handler: d.st.Endpoint, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(l) }() // ends with Close
	if d.o.Exe == "" {
		if d.o.Exe, err = os.Executable(); err != nil {
			return stop, err
		}
	}
	ready := filepath.Join(d.dir, "client.json")
	d.cmd = exec.CommandContext(ctx, d.o.Exe, "controller", "--dir", filepath.Join(d.dir, "controller"), "--name", "demo",
		"--listen", "127.0.0.1:0", "--beat-listen", "127.0.0.1:0", "--aws-region", stage.Region, "--aws-sweep", "2s", "--ready-file", ready)
	d.cmd.Env = append(os.Environ(), "AWS_ENDPOINT_URL=http://"+l.Addr().String(), "AWS_ACCESS_KEY_ID=fake", "AWS_SECRET_ACCESS_KEY=fake", "AWS_EC2_METADATA_DISABLED=true")
	log, err := os.Create(filepath.Join(d.dir, "controller.log"))
	if err != nil {
		return stop, err
	}
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.Cancel = func() error { return d.cmd.Process.Signal(os.Interrupt) }
	d.cmd.WaitDelay = 5 * time.Second
	if err := d.cmd.Start(); err != nil {
		return stop, err
	}
	stop = func() {
		_ = d.cmd.Process.Signal(os.Interrupt)
		_ = d.cmd.Wait() // it was told to end
		_ = server.Close()
		_ = log.Close()
	}
	if err := rack.Poll(ctx, func() (bool, error) { _, err := os.Stat(ready); return err == nil, err }); err != nil {
		return stop, err
	}
	if d.api, err = rack.Connect(ready, 0); err != nil {
		return stop, err
	}
	return stop, d.declare(ctx)
}

// declare applies a policy in mode auto and one server for each fault.
func (d *demo) declare(ctx context.Context) error {
	text := "{apiVersion: relight/v1alpha1, kind: Policy, metadata: {name: default}, spec: {mode: auto, oneSource: fence, storm: {hosts: 20}, health: " + d.pace.health + "}}\n"
	for _, f := range d.faults {
		name, one := d.st.AddServer(f.zone)
		d.names[f.name] = name
		d.clients[name] = world.NewClient("client of "+name, name+".example.com", false)
		text += "---\n" + one
	}
	if err := rack.Apply(ctx, d.api, "demo.yaml", text); err != nil {
		return err
	}
	return d.settled(ctx)
}

// settled waits until all servers work.
func (d *demo) settled(ctx context.Context) error {
	return rack.Poll(ctx, func() (bool, error) {
		list, err := d.api.Servers(ctx, client.ListQuery{})
		if err != nil {
			return false, err
		}
		for _, row := range list.Items {
			if row.Phase != fleet.PhaseRunning || row.Verdict != fleet.Healthy {
				return false, fmt.Errorf("%s is %s, %s", row.Name, row.Verdict, row.Message)
			}
		}
		return true, nil
	})
}

// play breaks all servers at once, in the middle of it takes the account's tokens
// away for a while, and follows each server until it is healed.
func (d *demo) play(ctx context.Context) (Report, error) {
	writing, stop := context.WithCancel(ctx)
	defer stop()
	var load sync.WaitGroup
	load.Go(func() { d.write(writing) })
	before, from := map[string]fleet.Status{}, map[string]Place{}
	for _, f := range d.faults {
		view, err := d.api.Server(ctx, d.names[f.name])
		if err != nil {
			return Report{}, err
		}
		before[f.name] = view.Status
		from[f.name] = d.place(d.names[f.name], view.Status.Epoch)
	}
	begun := time.Now()
	for _, f := range d.faults {
		fmt.Fprintf(d.o.Out, "%-20s %s: %s\n", f.name, d.names[f.name], f.title)
		d.st.Do(func(w *world.World) { f.strike(w, w.Find(d.names[f.name], before[f.name].Epoch)) })
	}
	time.AfterFunc(d.wall(throttleAfter), d.throttle)
	for _, f := range d.faults {
		if f.mend != nil {
			time.AfterFunc(d.wall(mendAfter), func() { d.st.Do(f.mend) })
		}
	}
	report := Report{Healed: true}
	for _, f := range d.faults {
		r := Result{Name: f.name, Server: d.names[f.name], Before: before[f.name].Epoch, From: from[f.name]}
		h := phases.Healing{Server: r.Server, Before: before[f.name], Fault: begun}
		err := d.follow(ctx, &h, &r)
		report.Healed = report.Healed && r.Healed
		report.Faults = append(report.Faults, r)
		if err != nil {
			why, whyErr := d.api.Why(context.WithoutCancel(ctx), r.Server)
			if whyErr == nil {
				fmt.Fprintf(d.o.Err, "%s: %s\n  %s\n", r.Server, why.Headline(time.Now()), why.Now())
			}
			continue
		}
		where := r.To.String()
		if r.From != r.To {
			where = r.From.String() + " → " + where
		}
		fmt.Fprintf(d.o.Out, "\n%s: healed after %.0f s by %s; %s\n%s", r.Name, h.Heal().Seconds(), strings.Join(r.Steps, ", "), where, phases.Bars(h))
	}
	stop()
	load.Wait()
	d.check(&report)
	fmt.Fprintf(d.o.Out, "%d writes were acknowledged, %d of them lost; %d moments with two writers; %d calls, %d of them throttled; %.0f s in all\n",
		report.Acked, report.AckedLost, report.TwoWriters, report.Calls, report.Throttled, time.Since(begun).Seconds())
	return report, ctx.Err()
}

// wall is how long a time of the account takes.
func (d *demo) wall(t time.Duration) time.Duration {
	return time.Duration(float64(t) / d.pace.factor)
}

// write lets every client write again and again, as long as the demo lasts.
func (d *demo) write(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		d.st.Do(func(w *world.World) {
			for _, c := range d.clients { // order: each writes to its own server
				_ = w.ClientWrite(c) // a server that is down refuses, which is counted
			}
		})
	}
}

// follow waits until a server is verified after the fault, and works by the world's
// own truth.
func (d *demo) follow(ctx context.Context, h *phases.Healing, r *Result) error {
	err := rack.Poll(ctx, func() (bool, error) {
		view, err := d.api.Server(ctx, r.Server)
		if err != nil {
			return false, err
		}
		h.After = view.Status
		works := false
		d.st.Do(func(w *world.World) {
			i := w.Find(r.Server, h.After.Epoch)
			works = i != nil && w.Able(i) && i.App == world.AppOK
		})
		if h.After.Phase != fleet.PhaseRunning || h.After.Verdict != fleet.Healthy || !works {
			return false, fmt.Errorf("%s is %s, %s", r.Server, h.After.Verdict, h.After.Message)
		}
		r.Healed, err = h.Find(ctx, d.api)
		return r.Healed, err
	})
	if err != nil {
		return err
	}
	r.Times, r.After, r.To = h.Times(), h.After.Epoch, d.place(r.Server, h.After.Epoch)
	r.Steps, err = d.steps(ctx, h)
	return err
}

// place is where an epoch of a server runs, by the world's own truth.
func (d *demo) place(server string, epoch fleet.Epoch) (p Place) {
	d.st.Do(func(w *world.World) {
		i := w.Find(server, epoch)
		if i == nil {
			return
		}
		p.Type = i.Type
		for _, zone := range []string{"a", "b", "c"} {
			if w.Within(i.Host, stage.Region+zone) {
				p.Zone = stage.Region + zone
			}
		}
	})
	return p
}

// steps lists what had its effect on a server since the fault.
func (d *demo) steps(ctx context.Context, h *phases.Healing) ([]string, error) {
	list, err := d.api.Events(ctx, client.EventQuery{Server: h.Server, Since: h.Fault})
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range list.Items {
		if st := e.Event.Step; e.Event.Kind == event.StepEnded && st != nil && st.State == fleet.StepDone {
			out = append(out, string(st.Step.Kind))
		}
	}
	return slices.Compact(out), nil
}

// check asks the world for the truth.
func (d *demo) check(report *Report) {
	d.st.Do(func(w *world.World) {
		for _, v := range w.Check() {
			fmt.Fprintf(d.o.Err, "%s\n", v)
			if strings.Contains(v.Detail, "acknowledged writes") {
				report.AckedLost++
				continue
			}
			report.TwoWriters++
		}
		for _, c := range d.clients { // order: a sum
			for _, n := range c.Acked { // order: a sum
				report.Acked += int(n)
			}
		}
	})
	for _, e := range d.st.Endpoint.Ledger() {
		report.Calls++
		if e.Code == "RequestLimitExceeded" {
			report.Throttled++
		}
	}
}

// WriteJSON writes the report as one line.
func (r Report) WriteJSON(out io.Writer) error {
	if r.Faults == nil {
		r.Faults = []Result{}
	}
	return json.NewEncoder(out).Encode(r)
}
