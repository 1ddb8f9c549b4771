package simulate

import "relight/internal/core/fleet"

// Pairs lists every kind of fault that the generator draws with every step that a
// provider carries out, as they are counted in Result.Covered.
func Pairs() []string {
	steps := []fleet.StepKind{
		fleet.StepRestartApp, fleet.StepReboot, fleet.StepStop, fleet.StepSeal, fleet.StepPowerOff, fleet.StepRecover, fleet.StepLaunch, fleet.StepAttach,
	}
	var out []string
	for _, k := range kinds() {
		if k.undrawn {
			continue
		}
		for _, s := range steps {
			out = append(out, k.class+" "+k.verb+"/"+string(s))
		}
	}
	return out
}
