package power

import (
	"bytes"
	"context"
	"fmt"
	"regexp"

	"relight/internal/core/fleet"
)

// spoken finds the state that most fence agents print beside their exit code.
var spoken = regexp.MustCompile(`(?im)^[ \t]*(?:power |plug )?status[ \t]*(?:[:=]|is)[ \t]*(on|off)\b`)

// read asks for the state of the plug. Off is believed only of a program that has
// shown itself to be a fence agent: shells, Python and Go also end with 2 when they
// cannot find their script, do not know an option, or panic.
func (p panel) read(ctx context.Context, d fleet.PowerDevice) (State, error) {
	a := p.run(ctx, d, "status")
	switch a.code {
	case int(On):
		if said, ok := a.says(); ok && said != On {
			return On, fmt.Errorf("status: %w: it ends with 0, which is on, and says off", ErrUnclear)
		}
		if a.err != nil {
			return On, a.failure("status")
		}
		return On, nil
	case int(Off):
		return Off, p.doubtOff(ctx, d, a)
	default:
		return On, a.failure("status")
	}
}

func (p panel) doubtOff(ctx context.Context, d fleet.PowerDevice, a answer) error {
	if a.cut {
		return fmt.Errorf("status: %w: it says more than can be read", ErrUnclear)
	}
	switch said, ok := a.says(); {
	case ok && said == Off:
		return nil
	case ok:
		return fmt.Errorf("status: %w: it ends with 2, which is off, and says on", ErrUnclear)
	}
	m := p.run(ctx, d, "metadata")
	if m.code == 0 && m.err == nil && bytes.Contains(m.out, []byte("<resource-agent")) {
		return nil
	}
	return fmt.Errorf("status: %w: it ends with 2, which is off, says neither on nor off, and has no metadata: %s", ErrUnclear, a.complaint())
}

// says returns the last state that the answer's text names.
func (a answer) says() (State, bool) {
	all := spoken.FindAllSubmatch(a.out, -1)
	if len(all) == 0 {
		return On, false
	}
	if bytes.EqualFold(all[len(all)-1][1], []byte("off")) {
		return Off, true
	}
	return On, true
}
