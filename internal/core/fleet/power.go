package fleet

import "time"

// Power is what can switch a host off: one device, or levels of devices.
type Power struct {
	// PowerDevice is the only device, if Levels is empty.
	PowerDevice
	// Levels are tried in their order until one of them has switched the host off.
	Levels []PowerLevel `json:"levels,omitempty"`
}

// PowerLevel is a set of devices that together cut a host's power: one outlet for
// each of its power supplies. It counts only once all of them read as off.
type PowerLevel struct {
	All []PowerDevice `json:"all"`
}

// PowerDevice is a program that switches a plug off and reads the state back,
// through the fence agents' protocol: name=value lines on standard input,
// the answer in the exit code.
type PowerDevice struct {
	Command []string `json:"command,omitempty"`
	// Options are passed on as they are, one name=value line each.
	Options map[string]string `json:"options,omitempty"`
	// Plug is the device's name for the host, or for one of its power supplies.
	Plug string `json:"plug,omitempty"`
	// Timeout bounds each call of the program.
	Timeout Duration `json:"timeout,omitzero"`
}

// Order returns the levels in the order in which they are tried; a single device
// is a level of its own.
func (p Power) Order() []PowerLevel {
	if len(p.Levels) > 0 {
		return p.Levels
	}
	return []PowerLevel{{All: []PowerDevice{p.PowerDevice}}}
}

// Within is how long it may take until each level had the time for one switch and
// one look at its slowest device.
func (p Power) Within() time.Duration {
	var sum time.Duration
	for _, l := range p.Order() {
		var slowest time.Duration
		for _, d := range l.All {
			slowest = max(slowest, d.Timeout.Std())
		}
		sum += 2 * slowest
	}
	return sum
}
