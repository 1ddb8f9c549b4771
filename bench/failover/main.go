// Command failover measures how long a virtual machine on a SAN is away, from the
// kill to the first durable write of the next epoch, for Relight and for Pacemaker
// with Corosync, on the same networks, with the same guest, the same LUN and a power
// device of the same speed; and how long an address is away, beside keepalived.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"relight/internal/lab"
	"relight/internal/rack"
)

// What is killed, and who does all by hand.
const (
	hostKilled    = "host killed"
	machineKilled = "machine killed"
	byHand        = "by hand, no detection"
	addressMoved  = "address moved"
)

func main() {
	runs := flag.Int("n", 3, "runs of each")
	exe := flag.String("exe", "bin/relight", "the program under test")
	only := flag.String("only", "", "parts whose names begin so: floor, address, relight, pacemaker")
	file := flag.String("out", "", "file for the results as JSON")
	at := flag.String("answer", "", "measure nothing: answer on this address who one is")
	flag.Parse()
	if *at != "" {
		fmt.Fprintln(os.Stderr, answer(*at))
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	t := &table{}
	err := bench(ctx, *exe, *runs, *only, t)
	t.print(os.Stdout)
	if *file != "" {
		err = errors.Join(err, t.write(*file))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// poll asks again and again until done is true, for so long at most.
func poll(ctx context.Context, within time.Duration, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return rack.Poll(ctx, done)
}

// part is what is measured on one lab.
type part struct {
	name string
	do   func(ctx context.Context, exe string, runs int, t *table) error
}

// limits are the silences after which a lab's host counts as lost.
var limits = []time.Duration{lab.Limit, time.Second, 500 * time.Millisecond}

// plan is what is measured, in order: the parts whose names begin so.
func plan(only string) []part {
	parts := []part{{"floor", floor}}
	for _, limit := range limits {
		parts = append(parts, part{"address, " + relightOf(limit), addressed(limit)})
	}
	for _, v := range vrrps() {
		parts = append(parts, part{"address, " + v.name, keepalived(v)})
	}
	for _, limit := range limits {
		parts = append(parts, part{relightOf(limit), limited(limit)})
	}
	for _, tm := range pacemakers() {
		parts = append(parts, part{"pacemaker, " + tm.name, pacemaker(tm)})
	}
	return slices.DeleteFunc(parts, func(p part) bool { return !strings.HasPrefix(p.name, only) })
}

func bench(ctx context.Context, exe string, runs int, only string, t *table) error {
	parts := plan(only)
	if len(parts) == 0 {
		return fmt.Errorf("no part's name begins with %q", only)
	}
	var errs []error
	for _, p := range parts {
		if ctx.Err() == nil {
			if err := p.do(ctx, exe, runs, t); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", p.name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// onLab builds a lab without Relight on it.
func onLab(ctx context.Context, exe string, do func(*lab.Lab, *lab.Bare) error) error {
	l, err := lab.Up(ctx, lab.Options{Name: "bench", Exe: exe, Owned: true, Bare: true})
	if err != nil {
		return err
	}
	defer func() { _ = l.Down(context.WithoutCancel(ctx)) }()
	b, err := l.Bare(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	return do(l, b)
}

// floor is the procedure by hand, with no detection and nobody to decide.
func floor(ctx context.Context, exe string, runs int, t *table) error {
	return onLab(ctx, exe, func(l *lab.Lab, b *lab.Bare) error {
		hosts := lab.Hosts()
		if err := errors.Join(b.Allow(ctx, 1), b.Launch(ctx, hosts[0], 1)); err != nil {
			return err
		}
		for i := range runs {
			epoch := i + 1
			if err := b.Wrote(ctx, 20); err != nil {
				return err
			}
			next := hosts[(i+1)%3]
			at := time.Now()
			err := errors.Join(
				l.PowerOff(ctx, hosts[i%3]), b.Fence(ctx, epoch), b.Allow(ctx, epoch+1), b.Start(next, epoch+1))
			if err != nil {
				return err
			}
			t.add(byHand, hostKilled+": start", time.Since(at))
			if err := b.HasWritten(ctx, next, epoch+1); err != nil {
				return err
			}
			t.add(byHand, hostKilled+": write", b.First(uint64(epoch+1)).Sub(at))
		}
		return nil
	})
}

// relightOf names Relight with a limit in the table.
func relightOf(limit time.Duration) string { return "relight, limit " + limit.String() }

// limited measures Relight with one limit of silence, on a lab of its own.
func limited(limit time.Duration) func(context.Context, string, int, *table) error {
	return func(ctx context.Context, exe string, runs int, t *table) error {
		return relight(ctx, exe, runs, t, limit)
	}
}

func relight(ctx context.Context, exe string, runs int, t *table, limit time.Duration) error {
	l, err := lab.Up(ctx, lab.Options{Name: "bench", Exe: exe, Owned: true, Limit: limit})
	if err != nil {
		return err
	}
	defer func() { _ = l.Down(context.WithoutCancel(ctx)) }()
	s, err := lab.Enter(ctx, l)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	who := relightOf(limit)
	t.limit(who, limit)
	for range runs {
		for _, c := range []struct{ name, who, what string }{
			{"host-off", who, hostKilled}, {"qemu-killed", who, machineKilled}, {"warm", who + ", warm", hostKilled},
		} {
			if err := playOne(ctx, s, c.name, c.who, c.what, t); err != nil {
				s.Explain(os.Stderr)
				return err
			}
		}
	}
	return nil
}

// playOne plays one of the lab's cases while a client asks the server who it is.
func playOne(ctx context.Context, s *lab.Stage, name, who, what string, t *table) (err error) {
	played, err := lab.FindCase(name)
	if err != nil {
		return err
	}
	client, err := s.Lab.Call(ctx, s.Lab.ServerAddress())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	r, err := s.Play(ctx, played)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, r)
	if r.Detect == 0 {
		// A busy machine had made the host look lost just before: nothing was measured.
		fmt.Fprintln(os.Stderr, "not counted: the recovery had begun before the kill")
		return nil
	}
	if r.Process > 0 && name != "warm" { // there it is another standby's
		t.add(who, what+": start", r.Process)
	}
	t.add(who, what+": write", r.Write)
	t.split(who+", "+what, r.Split)
	away, err := unserved(ctx, client, fmt.Sprintf("%s %d", lab.Server, r.EpochFrom))
	t.add(who, what+": client", away)
	return err
}

// pacemakers are the timers that are compared: Debian's defaults; a token as long as
// Relight's suspicion; and as short as it runs.
func pacemakers() []timers {
	return []timers{
		// Three nodes add token_coefficient, 650 ms, once: corosync.conf(5).
		{"defaults", "", "10s", 3650 * time.Millisecond},
		{"token 1 s", " token: 1000\n token_coefficient: 0\n", "1s", time.Second},
		{"token 0.5 s", " token: 500\n token_coefficient: 0\n", "1s", 500 * time.Millisecond},
	}
}

// pacemaker measures one set of timers, on a lab of its own.
func pacemaker(tm timers) func(context.Context, string, int, *table) error {
	return func(ctx context.Context, exe string, runs int, t *table) error {
		return onLab(ctx, exe, func(l *lab.Lab, b *lab.Bare) error {
			if err := b.AllowAll(ctx); err != nil {
				return err
			}
			c, err := startCluster(ctx, l, b, tm)
			if err != nil {
				return err
			}
			for range runs {
				for _, f := range []struct {
					what string
					kill func(context.Context, string) error
				}{{hostKilled, l.PowerOff}, {machineKilled, l.KillVMs}} {
					started, wrote, err := c.measure(ctx, func(h string) error { return f.kill(ctx, h) })
					if err != nil {
						return fmt.Errorf("%s: %w", f.what, err)
					}
					fmt.Fprintf(os.Stderr, "pacemaker, %s, %s: started after %.2fs, wrote after %.2fs\n", tm.name, f.what, started.Seconds(), wrote.Seconds())
					t.limit("pacemaker, "+tm.name, tm.limit)
					t.add("pacemaker, "+tm.name, f.what+": start", started)
					t.add("pacemaker, "+tm.name, f.what+": write", wrote)
				}
			}
			return c.close(ctx)
		})
	}
}

func median(d []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(d))
	return s[len(s)/2]
}
