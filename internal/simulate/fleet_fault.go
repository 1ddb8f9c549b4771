package simulate

import (
	"context"
	"fmt"
	"strings"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
)

// fleetFault is one thing that happens to a large fleet.
type fleetFault struct {
	name, says string
	begin, end func(*fleetRun) error
}

// fleetFaults are all of them.
func fleetFaults() []fleetFault {
	return []fleetFault{
		{name: "none"},
		{
			name: "az-loss", says: "zone-1 loses its power",
			begin: func(r *fleetRun) error { return r.world.KillSite(zoneName(0)) },
			end:   func(r *fleetRun) error { return r.world.StartSite(zoneName(0)) },
		},
		{
			name: "half", says: "every second host loses its power",
			begin: func(r *fleetRun) error { return r.everySecondHost(r.world.KillHost) },
			end:   func(r *fleetRun) error { return r.everySecondHost(r.world.StartHost) },
		},
		{
			name: "rack", says: "a rack loses its power",
			begin: func(r *fleetRun) error { return r.world.KillSite(rackName(0)) },
			end:   func(r *fleetRun) error { return r.world.StartSite(rackName(0)) },
		},
		{
			name: "api-brownout", says: "the platform throttles half of all calls",
			begin: func(r *fleetRun) error { r.brownout = 0.5; return nil },
			end:   func(r *fleetRun) error { r.brownout = 0; return nil },
		},
	}
}

// FleetFaults names what can happen to a large fleet.
func FleetFaults() []string {
	var names []string
	for _, f := range fleetFaults() {
		names = append(names, f.name)
	}
	return names
}

func fleetFaultOf(name string) (fleetFault, error) {
	for _, f := range fleetFaults() {
		if f.name == name {
			return f, nil
		}
	}
	return fleetFault{}, fmt.Errorf("no fault of a fleet is called %q; there are %s", name, strings.Join(FleetFaults(), ", "))
}

func (r *fleetRun) everySecondHost(change func(string) error) error {
	for n := 0; n < r.report.Hosts; n += 2 {
		if err := change(hostName(n)); err != nil {
			return err
		}
	}
	return nil
}

// ask has a person ask for the recoveries that wait for one, a few each second: they
// look at what is held, and say yes.
func (r *fleetRun) ask() {
	round := r.round
	for n := 0; n < personPace && r.asked < r.opt.Servers; r.asked++ {
		name := serverName(r.asked)
		if st := r.solo.State.Status(name); st.Verdict == fleet.Healthy || st.Recovery != nil || !r.solo.Look(name).NeedsPerson {
			continue
		}
		n++
		_, err := r.solo.Backend.Heal(context.Background(), "eve", name, client.HealRequest{Reason: "I have looked: " + r.opt.Fault})
		r.fail(err)
		r.count.Asked++
	}
	if r.asked < r.opt.Servers {
		r.world.After(time.Second, func() {
			if r.round == round {
				r.ask()
			}
		})
	}
}
