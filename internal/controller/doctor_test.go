package controller

import (
	"testing"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
)

func TestDoctorSaysIfAWatchdogIsThere(t *testing.T) {
	stop := []fleet.Server{{}}
	stop[0].Spec.OnIsolation = fleet.IsolationStop
	host := func(w *fleet.Watchdog) []fleet.Host {
		return []fleet.Host{{Name: "host-1", InContact: fleet.Yes, Watchdog: w}, {Name: "away", InContact: fleet.No}}
	}
	for name, c := range map[string]struct {
		hosts   []fleet.Host
		servers []fleet.Server
		want    client.DoctorState
	}{
		"none, and none is missed": {host(nil), nil, ""},
		"none, and one is missed":  {host(nil), stop, client.DoctorWarn},
		"there":                    {host(&fleet.Watchdog{Device: "/dev/watchdog"}), nil, client.DoctorOK},
		"armed":                    {host(&fleet.Watchdog{Device: "/dev/watchdog", Armed: true}), stop, client.DoctorOK},
		"broken":                   {host(&fleet.Watchdog{Device: "/dev/watchdog", Trouble: "busy"}), nil, client.DoctorFail},
	} {
		var got client.DoctorState
		for _, check := range checkWatchdogs(c.hosts, c.servers) {
			if got = check.State; check.Name != "watchdog host-1" || check.Detail == "" || (got != client.DoctorOK) != (check.Next != "") {
				t.Errorf("%s: %+v", name, check)
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
