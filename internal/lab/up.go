package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"relight/internal/rack"
)

// Options say how a lab is built.
type Options struct {
	// Name is the lab's; it has up to 8 lower-case letters and digits.
	Name string
	// Exe is this program; os.Executable if empty.
	Exe string
	// Owned ends the lab when this process ends, however it ends.
	Owned bool
	// Bare leaves out the controller and the agents: hosts that something else is to
	// drive, or nothing.
	Bare bool
	// Limit is the silence after which a host counts as lost; zero means [Limit].
	Limit time.Duration
	// Several builds three controllers beside three members of a store, of which one
	// acts and the others wait.
	Several bool
}

// ErrExists means that there is a lab of this name already.
var ErrExists = errors.New("there is such a lab already")

// upWithin bounds each part of the building.
const upWithin = time.Minute

// Up builds a lab: networks, SAN, controller and hosts' agents. What it had built
// is taken down again if it fails.
func Up(ctx context.Context, o Options) (*Lab, error) {
	if err := Missing().Err(); err != nil {
		return nil, err
	}
	l, err := reserve(o)
	if err != nil {
		return nil, err
	}
	steps := []struct {
		name string
		do   func(context.Context) error
	}{
		{"make the networks", l.buildNet},
		{"start the SAN", l.StartSAN},
		{"start the controller", l.StartController},
		{"start the hosts", l.startHosts},
	}
	if o.Bare {
		steps = steps[:2]
	}
	for _, step := range steps {
		bounded, cancel := context.WithTimeout(ctx, upWithin)
		err := step.do(bounded)
		cancel()
		if err != nil {
			err = fmt.Errorf("lab %s: %s: %w", l.Name, step.name, err)
			return nil, errors.Join(err, l.Down(context.WithoutCancel(ctx)))
		}
	}
	return l, nil
}

// reserve makes the lab's directory, which is what two that build the same lab at
// the same time meet at.
func reserve(o Options) (*Lab, error) {
	if !names.MatchString(o.Name) {
		return nil, fmt.Errorf("lab %q: a name has up to 8 lower-case letters and digits", o.Name)
	}
	l := &Lab{Name: o.Name, Exe: o.Exe, Limit: cmp.Or(o.Limit, Limit)}
	if o.Owned {
		l.Owner = os.Getpid()
	}
	if o.Several {
		l.Controllers = several
	}
	var err error
	if l.Exe == "" {
		if l.Exe, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	if l.Part, err = freePart(mathrand.IntN); err != nil {
		return nil, err
	}
	if l.Control, err = freeControl(mathrand.IntN); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(home, 0o755); err != nil { //nolint:gosec // it holds only directories of 0700
		return nil, err
	}
	if err := os.Mkdir(l.Dir(), 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("lab %s: %w; next: relight lab down --name %[1]s", l.Name, ErrExists)
		}
		return nil, err
	}
	for _, dir := range []string{"luns", "controller"} {
		if err := os.Mkdir(l.path(dir), 0o700); err != nil {
			return nil, err
		}
	}
	if o.Owned {
		if l.warden, err = startWarden(l.Exe, l.Name); err != nil {
			return nil, errors.Join(fmt.Errorf("start the warden: %w", err), os.RemoveAll(l.Dir()))
		}
	}
	return l, l.write()
}

func (l *Lab) startHosts(ctx context.Context) error {
	c, err := l.Client()
	if err != nil {
		return err
	}
	defer c.Close()
	for _, h := range Hosts() {
		if err := l.join(ctx, c, h); err != nil {
			return err
		}
		if err := l.StartAgent(ctx, h); err != nil {
			return err
		}
	}
	for _, h := range Hosts() {
		if err := AwaitHost(ctx, c, h); err != nil {
			return fmt.Errorf("%w%s", err, l.complaint(h))
		}
	}
	return nil
}

// Down takes the lab down; see the function Down.
func (l *Lab) Down(ctx context.Context) error {
	err := Down(ctx, l.Name)
	if err == nil && l.warden != nil {
		err = l.warden.Dismiss(true)
	}
	return err
}

// downWithin bounds the end of a lab.
const downWithin = time.Minute

// Down ends a lab, whole or not, and removes all that it has made. One that is not
// there is no error.
func Down(ctx context.Context, name string) error {
	if !names.MatchString(name) {
		return fmt.Errorf("lab %q: a name has up to 8 lower-case letters and digits: %w", name, ErrNone)
	}
	ctx, cancel := context.WithTimeout(ctx, downWithin)
	defer cancel()
	l, err := Open(name)
	if err != nil {
		l = &Lab{Name: name} // what is left of it; all but the control socket is found by its name
	}
	// The controller first: it would heal what ends now.
	var errs []error
	for _, n := range append([]string{nodeController}, nodes()...) {
		errs = append(errs, killAll(ctx, l.namespace(n)))
	}
	errs = append(errs, l.dropNet(ctx))
	if l.Control != 0 {
		for _, s := range l.sockets() {
			_ = os.Remove(s)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("take down lab %s: %w", name, err)
	}
	return os.RemoveAll(l.Dir())
}

// Sweep takes down the labs whose owner has ended, and returns their names.
func Sweep(ctx context.Context) ([]string, error) {
	all, err := List()
	if err != nil {
		return nil, err
	}
	var gone []string
	for _, name := range all {
		l, err := Open(name)
		if err != nil || l.Owner == 0 || l.Owner == os.Getpid() {
			continue
		}
		if _, lives := rack.Look(l.Owner); lives {
			continue
		}
		if err := Down(ctx, name); err != nil {
			return gone, err
		}
		gone = append(gone, name)
	}
	return gone, nil
}

// Left lists what is left of a lab on this machine, in words; nothing after Down.
func Left(name string) []string {
	var out []string
	l := &Lab{Name: name}
	if _, err := os.Stat(l.Dir()); err == nil {
		out = append(out, l.Dir())
	}
	for _, n := range nodes() {
		if _, err := os.Stat(filepath.Join(netns, l.namespace(n))); err == nil {
			out = append(out, "namespace "+l.namespace(n))
		}
	}
	if _, err := os.Stat("/sys/class/net/" + prefix + name); err == nil {
		out = append(out, "link "+prefix+name)
	}
	return out
}
