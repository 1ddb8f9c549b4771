package simulate

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// SERVERS=n FAULT=name BUDGET=n STEADY=1m FOR=2m AFTER=-1s go test -run TestFleetOf -v
// runs one fleet and shows it; all but SERVERS have defaults.
func TestFleetOf(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("SERVERS"))
	if err != nil {
		t.Skip("SERVERS is not set")
	}
	budget, _ := strconv.Atoi(os.Getenv("BUDGET"))
	span := func(name string) time.Duration {
		d, _ := time.ParseDuration(os.Getenv(name))
		return d
	}
	rep, err := Fleet(FleetOptions{
		Servers: n, Fault: os.Getenv("FAULT"), Seed: 1, Budget: budget, Progress: os.Stdout,
		Steady: span("STEADY"), For: span("FOR"), After: span("AFTER"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", rep.Print())
}

// A zone dies under a small fleet: nothing is promised twice, and every server is
// healthy at the end or says what holds it.
func TestFleetLosesAZone(t *testing.T) {
	opt := FleetOptions{Servers: 1200, Fault: "az-loss", Seed: 7, Steady: time.Minute, For: 5 * time.Minute, After: 12 * time.Minute}
	rep, err := Fleet(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", rep.Print())
	var begun, healed int
	for _, p := range rep.Phases {
		begun, healed = begun+p.Begun, healed+p.Healed
	}
	if len(rep.Violations) > 0 || rep.Stuck > 0 {
		t.Errorf("violations %v, %d stuck", rep.Violations, rep.Stuck)
	}
	if lost := opt.Servers / fleetZones; begun < lost || healed < lost/2 {
		t.Errorf("%d recoveries began and %d healed after the loss of about %d servers", begun, healed, lost)
	}
	if rep.Phases[0].Commits > 0 || rep.Phases[0].Calls > 0 {
		t.Errorf("a steady fleet journaled %d events and sent %d calls", rep.Phases[0].Commits, rep.Phases[0].Calls)
	}
	again, err := Fleet(opt)
	if err != nil || again.Trace != rep.Trace {
		t.Errorf("a second run of the same seed went another way: trace %x and %x, %v", rep.Trace, again.Trace, err)
	}
}

func TestFleetRefusesWhatItCannotRun(t *testing.T) {
	for _, opt := range []FleetOptions{{Servers: 99}, {Servers: 100, Fault: "flood"}} {
		if _, err := Fleet(opt); err == nil {
			t.Errorf("%+v was accepted", opt)
		}
	}
}

// The real healer brings a few hundred servers back under the quotas of a cloud, near
// the time that the quotas alone take.
func TestFleetHealsUnderQuotas(t *testing.T) {
	opt := FleetOptions{Servers: 320, Fault: "half", Seed: 3, Quotas: true, Steady: 30 * time.Second, For: 8 * time.Minute, After: -1}
	rep, err := Fleet(opt)
	if err != nil {
		t.Fatal(err)
	}
	healed := 0
	for _, p := range rep.Phases {
		healed += p.Healed
	}
	took, floor := rep.LastHealed.Sub(rep.FirstBegun), QuotaFloor(opt.Servers/2)
	t.Logf("%d healed in %s, floor %s, throttled %.4f\n%s", healed, took, floor, rep.Throttled, rep.Print())
	if healed != opt.Servers/2 || len(rep.Violations) > 0 || rep.Stuck > 0 {
		t.Errorf("%d of %d healed, violations %v, %d stuck", healed, opt.Servers/2, rep.Violations, rep.Stuck)
	}
	if took > floor*105/100 || rep.Throttled > 0.01 {
		t.Errorf("it took %s with a floor of %s, and %.1f %% of the calls were throttled", took, floor, 100*rep.Throttled)
	}
}
