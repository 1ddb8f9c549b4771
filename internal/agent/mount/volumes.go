package mount

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"relight/internal/core/fleet"
	"relight/internal/core/mount"
)

// ErrDamaged means that the check of a file system found what it may not repair by
// itself.
var ErrDamaged = errors.New("the file system is damaged, and a person must repair it")

// State is how far a volume has come.
type State struct {
	Volume, Path string
	// Kind is Done, Wait, Unsure, Broken or Refuse of core/mount; a step that failed is a Wait,
	// because it is tried again.
	Kind mount.Kind
	// Why is what it is, or what it waits for, in words.
	Why string
	// Formatted is whether an agent of this epoch made its file system, or began to;
	// Serial is the disk's.
	Formatted bool
	Serial    string
}

// Volumes are those of one instance that are to be mounted.
type Volumes struct {
	machine *Machine
	epoch   fleet.Epoch
	want    []fleet.Volume
	// checked has the disk that was checked, by volume; formatted those of which an agent
	// of this epoch made the file system, or began to.
	checked   map[string]mount.Disk
	formatted map[string]bool
	// asked are the paths whose file system has been asked whether it is whole, and has
	// not answered yet.
	asked map[string]chan error
	// luns are what Logins told last.
	luns map[string]LUN
	// Logins tells where the LUNs are that volumes lie on, by volume; nil if none does.
	Logins func(ctx context.Context) (map[string]LUN, error)
	// Doing is told of each step before it is taken; nil if nobody wants to know.
	Doing func(volume string, s mount.Step)
	// Formatting is told of a format before it is begun, with all volumes that have been
	// formatted then; unless it returns nil, nothing is. Nil if nobody keeps it.
	Formatting func(volumes []string) error
}

// New returns the volumes of an instance of that epoch; those without a mount are left
// out.
func New(m *Machine, epoch fleet.Epoch, all []fleet.Volume) *Volumes {
	v := &Volumes{machine: m, epoch: epoch, checked: map[string]mount.Disk{}, formatted: map[string]bool{}, asked: map[string]chan error{}}
	for _, one := range all {
		if one.Mount != nil {
			v.want = append(v.want, one)
		}
	}
	// What lies above another's path comes first.
	slices.SortStableFunc(v.want, func(a, b fleet.Volume) int { return strings.Compare(a.Mount.Path, b.Mount.Path) })
	return v
}

// Formatted notes which volumes an earlier process of this epoch formatted.
func (v *Volumes) Formatted(volumes []string) {
	for _, name := range volumes {
		v.formatted[name] = true
	}
}

// Advance takes each volume as far as it goes now, and tells how far that is. It keeps
// nothing that a restart would lose: what was done is seen on the machine.
func (v *Volumes) Advance(ctx context.Context) []State {
	var out []State
	done := map[string]bool{}
	for _, one := range v.want {
		s := State{Volume: one.Name, Path: one.Mount.Path, Serial: mount.Serial(one.ID)}
		if one.LUN != nil {
			s.Serial = mount.Named(one)
		}
		if above := mount.Above(v.want, one.Mount.Path); above != "" && !done[above] {
			s.Kind, s.Why = mount.Wait, fmt.Sprintf("%s is to be mounted first", above)
		} else {
			s.Kind, s.Why = v.advance(ctx, one)
		}
		if s.Kind == mount.Done && one.Mount.HostKeys {
			s.Why += "; " + v.hostKeys(ctx, one.Mount.Path)
		}
		s.Formatted = v.formatted[one.Name]
		done[one.Mount.Path] = s.Kind == mount.Done
		out = append(out, s)
	}
	return out
}

// steps is more than the steps from a blank disk to a mounted one: format, check,
// mount, and the look that finds it done.
const steps = 6

func (v *Volumes) advance(ctx context.Context, one fleet.Volume) (mount.Kind, string) {
	var step mount.Step
	for range steps {
		seen := v.look(ctx, one)
		seen.Checked = len(seen.Disks) == 1 && v.checked[one.Name] == seen.Disks[0]
		step = mount.Next(one, v.epoch, seen)
		switch step.Kind {
		case mount.Format, mount.Check, mount.Mount:
			if v.Doing != nil {
				v.Doing(one.Name, step)
			}
			if err := v.do(ctx, one, step.Kind, seen.Disks[0]); err != nil {
				return mount.Wait, fmt.Sprintf("%s failed, it is tried again: %v", step.Kind, err)
			}
		default:
			return step.Kind, step.Why
		}
	}
	return mount.Wait, fmt.Sprintf("%s changed nothing, it is tried again (%s)", step.Kind, step.Why)
}

func (v *Volumes) do(ctx context.Context, one fleet.Volume, kind mount.Kind, d mount.Disk) error {
	switch kind {
	case mount.Format:
		// Kept first: of a format that nobody remembers nobody would ever be told.
		all := append(slices.Collect(maps.Keys(v.formatted)), one.Name)
		slices.Sort(all)
		if v.Formatting != nil {
			if err := v.Formatting(slices.Compact(all)); err != nil {
				return err
			}
		}
		v.formatted[one.Name] = true
		// Nothing is forced: a mkfs that sees more than we do refuses.
		return v.must(ctx, "mkfs."+one.Mount.Type, d.Node)
	case mount.Check:
		argv := []string{"fsck." + one.Mount.Type, "-p", d.Node}
		if strings.HasPrefix(one.Mount.Type, "ext") {
			// Without -f it believes a file system that calls itself clean, and so does
			// one whose last writes a forced detach has lost.
			argv = slices.Insert(argv, 1, "-f")
		}
		// 1 means that errors were corrected, 4 and more that some were not.
		out, code, err := v.machine.Run(ctx, argv...)
		switch {
		case err != nil:
			return err
		case code > 1:
			return fmt.Errorf("%w (fsck ended with %d: %s); next: fsck.%s %s", ErrDamaged, code, brief(out), one.Mount.Type, d.Node)
		}
		v.checked[one.Name] = d
		return nil
	default:
		if err := os.MkdirAll(one.Mount.Path, 0o755); err != nil { //nolint:gosec // G301: what is mounted there has modes of its own
			return err
		}
		argv, options := []string{"mount", "-t", one.Mount.Type}, slices.Clone(one.Mount.Options)
		if one.LUN != nil {
			// Without it systemd takes it for a local disk, and a shutdown may end the
			// network before the last writes.
			options = append(options, "_netdev")
		}
		if len(options) > 0 {
			argv = append(argv, "-o", strings.Join(options, ","))
		}
		return v.must(ctx, append(argv, d.Node, one.Mount.Path)...)
	}
}

// must runs a program that has to end well.
func (v *Volumes) must(ctx context.Context, argv ...string) error {
	out, code, err := v.machine.Run(ctx, argv...)
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("%s ended with %d: %s", argv[0], code, brief(out))
	}
	return nil
}
