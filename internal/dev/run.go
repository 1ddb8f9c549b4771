package dev

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// againAfter is how long a controller or an agent that ended stays away before it
// is started again, as a service manager would: long enough to see what its
// absence does.
const againAfter = 5 * time.Second

// Run starts a fleet, tells people about it, and keeps it until ctx ends.
func Run(ctx context.Context, o Options, out io.Writer) error {
	fmt.Fprintln(out, "starting a controller, 3 hosts and 6 servers ...")
	f, err := Start(ctx, o)
	if err != nil {
		return err
	}
	if err := f.describe(ctx, out); err != nil {
		return fmt.Errorf("%w (and %w)", err, f.Close())
	}
	f.keep(ctx, out)
	fmt.Fprintln(out, "ending everything that was started ...")
	if err := f.Close(); err != nil {
		return err
	}
	if f.temporary {
		fmt.Fprintf(out, "nothing is left; %s is removed\n", f.Dir)
	} else {
		fmt.Fprintf(out, "nothing runs any more; go on with relight dev --dir %s\n", f.Dir)
	}
	return nil
}

// describe says what runs and what to type next.
func (f *Fleet) describe(ctx context.Context, out io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\n  %-11s %-26s pid %d\n", "controller", f.URL(), f.controller.pid())
	for _, h := range f.Hosts() {
		fmt.Fprintf(&b, "  %-11s %-26s pid %d, with a power device\n", h, "agent", f.hosts[h].pid())
	}
	for _, s := range f.Servers {
		view, err := f.client.Server(ctx, s.Name)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "  %-11s %-26s on %s, epoch %d\n", s.Name, "http://"+s.Addr, view.Status.Host, view.Status.Epoch)
	}
	fmt.Fprintf(&b, `
Nothing outside %[1]s is touched. Ctrl-C ends everything.
In another terminal:

  export RELIGHT_CONFIG=%[2]s
  relight get servers
  relight why %[3]s

Then break something, and watch with relight events --watch:

  kill -9 $(curl -s http://%[4]s/whoami)
  curl -X POST http://%[4]s/fail
  printf 'action=off\nplug=host-1\ndir=%[1]s\n' | relight demo-power
  relight drill run --all --with "relight demo-drill --dir %[1]s" --report drills.html --yes

`, f.Dir, f.ClientConfig(), f.Servers[0].Name, f.Servers[0].Addr)
	_, err := io.WriteString(out, b.String())
	return err
}

// keep starts again what ends, until ctx ends.
func (f *Fleet) keep(ctx context.Context, out io.Writer) {
	every := time.NewTicker(200 * time.Millisecond)
	defer every.Stop()
	gone := map[string]time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		for _, name := range append([]string{controllerName}, f.Hosts()...) {
			if f.child(name).running() || f.switchedOn(name) {
				delete(gone, name)
				continue
			}
			since, noticed := gone[name]
			if !noticed {
				gone[name] = time.Now()
				fmt.Fprintf(out, "%s ended; it is started again in %s\n", name, againAfter)
			} else if time.Since(since) >= againAfter {
				f.again(ctx, name, out)
				delete(gone, name)
			}
		}
	}
}

// switchedOn reports whether a host runs an agent that the power device started.
func (f *Fleet) switchedOn(name string) bool {
	if name == controllerName {
		return false
	}
	pids, _ := Pids(f.ID, name)
	return slices.ContainsFunc(pids, isAgent)
}

const controllerName = "controller"

func (f *Fleet) child(name string) *child {
	f.mu.Lock()
	defer f.mu.Unlock()
	if name == controllerName {
		return f.controller
	}
	return f.hosts[name]
}

func (f *Fleet) again(ctx context.Context, name string, out io.Writer) {
	var err error
	if name == controllerName {
		ctx, cancel := context.WithTimeout(ctx, startWithin)
		defer cancel()
		err = f.StartController(ctx)
	} else {
		err = f.startAgent(name)
	}
	if err != nil && ctx.Err() == nil {
		fmt.Fprintf(out, "%s cannot be started again: %v\n", name, err)
		return
	}
	fmt.Fprintf(out, "%s runs again\n", name)
}
