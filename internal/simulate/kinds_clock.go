package simulate

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// clockKinds are what befalls the time of day of a controller's machine, or of a host.
// The generator does not draw them: all that the seeds have shown would have to be hunted
// anew.
func clockKinds() []kind {
	return []kind{{class: "clock", verb: "jumps", args: "+TIME|-TIME", min: 1, max: 1, undrawn: true, apply: func(e *engine, f Fault) (func(), error) {
		by, err := time.ParseDuration(f.Args[0])
		switch {
		case err != nil:
			return nil, err
		case !strings.ContainsAny(f.Args[0][:1], "+-"):
			return nil, fmt.Errorf("%q says not whether it jumps forward or back: write +%s or -%s", f.Args[0], f.Args[0], f.Args[0])
		}
		for _, a := range e.agents {
			if a.host == f.Object {
				a.day.jump(e.clock.Now(), by)
				return nil, nil
			}
		}
		end, err := onBrain(func(b *brain, _ Fault) (func(), error) { b.day.jump(e.clock.Now(), by); return nil, nil })(e, f)
		if err != nil {
			err = fmt.Errorf("there is no host %q either: %w", f.Object, err)
		}
		return end, err
	}}}
}

// jumps reports that some clock of the scenario does.
func (s *Scenario) jumps() bool {
	return slices.ContainsFunc(s.Faults, func(f Fault) bool { return f.Class == "clock" })
}
