package spec

import (
	"fmt"
	"time"

	"relight/internal/core/fleet"
)

// deviceFields are the fields of one power device.
func deviceFields(need bool) []field {
	return []field{
		{
			name: "command", doc: "The fence agent and its arguments; options go to its standard input.", required: need, example: `["/usr/sbin/fence_ipmilan"]`,
			shape: &shape{form: list, min: 1, max: 64, elem: &shape{form: text, format: argument()}},
		},
		{
			name: "options", doc: "Passed on as they are, one name=value line each. Passwords are refused; use `password_script`.", example: `{ip: "10.0.9.11", lanplus: "1"}`,
			shape: &shape{form: dict, max: 128, keyFormat: optionName(), format: line()},
		},
		{name: "plug", doc: "The device's name for the host, or for one of its power supplies.", required: need, example: `"11"`, shape: &shape{form: text, format: plain(256)}},
		{
			name: "timeout", doc: "How long one call may take before its outcome counts as unknown.", example: "30s",
			shape: duration(time.Second, time.Hour), def: `"30s"`, why: "slow management controllers answer within twenty",
		},
	}
}

func powerShape() *shape {
	device := &shape{
		form: object, name: "PowerDevice", doc: "A program that switches a plug off and reads the state back, through the fence agents' protocol.",
		fields: deviceFields(true),
	}
	level := &shape{form: object, name: "PowerLevel", doc: "Devices that together cut the host's power: one outlet for each of its power supplies.", fields: []field{
		{
			name: "all", doc: "All of these must read as off before the level counts.", required: true,
			shape: &shape{form: list, elem: device, min: 1, max: 8},
		},
	}}
	return &shape{
		form: object, name: "Power", doc: "What can switch a host off.",
		fields: append(deviceFields(false), field{
			name: "levels", doc: "Instead of one device: levels of devices, tried in this order until one has switched the host off.",
			shape: &shape{form: list, elem: level, min: 1, max: 4},
		}),
		groups: []group{{names: []string{"command", "levels"}, exactly: true}},
	}
}

// powerRules keeps the fields of the single device and the levels apart.
func powerRules(p *fleet.Power, at reporter) {
	switch {
	case p == nil:
	case len(p.Levels) > 0 && (p.Plug != "" || len(p.Options) > 0 || p.Timeout != 0):
		at("spec.power", "plug, options and timeout stand beside levels", "each device of a level has its own", "move them into the devices below levels")
	case len(p.Command) > 0 && p.Plug == "":
		at("spec.power", `required field "plug" is missing`, "the device would not know which host is meant", `add plug: "11"`)
	}
	if p == nil {
		return
	}
	for i, l := range p.Levels {
		seen := map[string]bool{}
		for k, d := range l.All {
			key := fmt.Sprint(d.Command, d.Options, d.Plug)
			if seen[key] {
				at(fmt.Sprintf("spec.power.levels[%d].all[%d]", i, k), fmt.Sprintf("plug %q is there twice", d.Plug), "the second power supply would stay on", "name the other outlet, or remove it")
			}
			seen[key] = true
		}
	}
}

// fillPower fills the time-out of each device.
func fillPower(p *fleet.Power) {
	if p == nil {
		return
	}
	if len(p.Levels) == 0 && p.Timeout == 0 {
		p.Timeout = defaultPowerTimeout
	}
	for _, l := range p.Levels {
		for i := range l.All {
			if l.All[i].Timeout == 0 {
				l.All[i].Timeout = defaultPowerTimeout
			}
		}
	}
}
