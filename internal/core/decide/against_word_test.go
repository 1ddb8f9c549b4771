package decide_test

import (
	"testing"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

// against is a server of EC2 of whose epoch 1 a person has said that it is dead, and which
// runs: its zone came back, and its checks speak.
func against(verdict fleet.Verdict) decide.View {
	v := refusedInZone()
	r := v.Status.Recovery
	r.Rung, r.Lack, r.Last = fleet.Relaunch, nil, nil
	v.Status.Evidence = []fleet.Evidence{{Method: fleet.Attested, Server: "wiki", Epoch: 1, By: "eve", At: noon.Add(-10 * time.Minute)}}
	v.Finding = fleet.Finding{Verdict: verdict, Since: noon.Add(-time.Minute), Reason: "it runs and passes its own check", Evidence: []fleet.Signal{
		{Source: fleet.Source{Channel: fleet.ChannelProvider, Vantage: "eu"}, Question: fleet.Alive, Answer: fleet.Yes, Epoch: 1, At: noon, Detail: "EC2 says running"},
	}}
	v.Observed.Instances = []fleet.Instance{{Server: "wiki", Epoch: 1, Host: "zone-a", State: fleet.InstanceRunning, At: noon}}
	return v
}

// A person has said that the epoch is dead, and it is seen to live before the next one is
// started: it is ended first. Nothing is started beside what is known to run, whoever said
// what of it; what nobody can see is another matter.
func TestWhatLivesAgainstAWordIsEndedFirst(t *testing.T) {
	for verdict, ends := range map[fleet.Verdict]bool{fleet.Healthy: true, fleet.Impaired: true, fleet.Suspect: true, fleet.Down: false, fleet.Unknown: false} {
		v := against(verdict)
		if !ends {
			v.Finding.Evidence = nil
		}
		d := decide.Next(v, noon)
		if d.Step == nil || (d.Step.Kind == fleet.StepStop && d.Step.Epoch == 1) != ends || !ends && d.Step.Kind != fleet.StepLaunch {
			t.Errorf("%s: %+v: %s", verdict, d.Step, d.Reason)
		}
	}
	v := against(fleet.Suspect)
	v.Finding.Evidence[0].Answer = fleet.No
	if d := decide.Next(v, noon); d.Step == nil || d.Step.Kind != fleet.StepLaunch {
		t.Errorf("nobody says that it lives: %+v: %s", d.Step, d.Reason)
	}
	// Once it has ended, the next epoch is started.
	v = against(fleet.Healthy)
	d := decide.Next(v, noon)
	v.Status = decide.Record(decide.Intend(v.Status, d, noon), *d.Step, decide.Result{State: fleet.StepDone, Evidence: []fleet.Evidence{{Method: fleet.Terminated, Server: "wiki", Epoch: 1, By: "EC2", At: noon}}}, noon)
	v.Observed.Instances[0].State, v.Finding = fleet.InstanceTerminated, fleet.Finding{Verdict: fleet.Down, Since: noon, Reason: "EC2 says terminated"}
	if d = decide.Next(v, noon.Add(time.Second)); d.Step == nil || d.Step.Kind != fleet.StepLaunch || d.Step.Epoch != 2 {
		t.Errorf("it has ended: %+v: %s", d.Step, d.Reason)
	}
}

// The primary interface comes with the launch: whoever still has it is in the way of that,
// and no attach is ever refused.
func TestWhoKeepsThePrimaryInterfaceIsStopped(t *testing.T) {
	v := against(fleet.Down)
	v.Finding.Evidence = nil
	d := decide.Next(v, noon)
	v.Status = decide.Record(decide.Intend(v.Status, d, noon), *d.Step, decide.Result{State: fleet.StepFailed, Class: "conflict", Error: "InvalidNetworkInterface.InUse"}, noon)
	d = decide.Next(v, noon.Add(time.Second))
	if d.Step == nil || d.Step.Kind != fleet.StepStop || d.Step.Epoch != 1 {
		t.Errorf("epoch 1 keeps the interface, and the next step is %+v: %s", d.Step, d.Reason)
	}
}

// The launch of the next epoch was refused for want of room, and is asked for again and
// again. Before each of these calls what EC2 calls running is told to end, and has its
// time for that; where that does nothing the person's word counts, or the server would
// wait for its lost zone for ever.
func TestNothingIsAskedForBesideWhatRuns(t *testing.T) {
	v := against(fleet.Down)
	v.Server.Spec.Template.EC2.Elsewhere = nil
	v.Finding.Evidence = nil
	at, starts, stops := noon, 0, 0
	told := time.Time{}
	for range 4000 {
		v.Observed.At, v.Observed.Instances[0].At, v.Observed.Volumes[0].At = at, at, at
		v.Guards.Authority.Until = at.Add(time.Minute)
		d := decide.Next(v, at)
		if d.Step != nil {
			v.Status = decide.Intend(v.Status, d, at)
			switch d.Step.Kind {
			case fleet.StepStop:
				stops, told = stops+1, at
				v.Status = decide.Record(v.Status, *d.Step, decide.Result{State: fleet.StepDone}, at)
			case fleet.StepLaunch:
				if starts++; starts > 1 && (stops != starts-1 || at.Sub(told) < 20*time.Second) {
					t.Fatalf("launch %d after %d stops, the last %s before", starts, stops, at.Sub(told))
				}
				v.Status = decide.Record(v.Status, *d.Step, decide.Result{State: fleet.StepFailed, Class: "capacity", Error: "no room"}, at)
			}
		}
		at = at.Add(time.Second)
	}
	if starts < 4 {
		t.Errorf("%d launches in an hour", starts)
	}
}

// The proof says that the epoch's instance has ended, and one that carries the epoch is seen
// to run since then, a copy that a person made of it: it is ended before the next epoch is
// started, and before each later call that would start one. What was seen before the proof,
// or ends already, needs no stop.
func TestWhatLivesAgainstARecordIsEndedFirst(t *testing.T) {
	carried := func(state fleet.InstanceState, seen time.Duration) decide.View {
		v := against(fleet.Down)
		v.Finding.Evidence = nil
		v.Status.Evidence = []fleet.Evidence{{Method: fleet.Terminated, Server: "wiki", Epoch: 1, By: "EC2", At: noon.Add(-time.Minute)}}
		v.Observed.Instances = []fleet.Instance{
			{Server: "wiki", Epoch: 1, Host: "zone-a", State: fleet.InstanceTerminated, At: noon.Add(seen)},
			{Server: "wiki", Epoch: 1, Host: "zone-a", State: state, At: noon.Add(seen)},
		}
		return v
	}
	for _, c := range []struct {
		state fleet.InstanceState
		seen  time.Duration
		want  fleet.StepKind
	}{
		{fleet.InstanceRunning, 0, fleet.StepStop},
		{fleet.InstancePending, 0, fleet.StepStop},
		{fleet.InstanceStopping, 0, fleet.StepLaunch}, // the call itself waits for its end
		{fleet.InstanceTerminated, 0, fleet.StepLaunch},
		{fleet.InstanceRunning, -2 * time.Minute, fleet.StepLaunch},
	} {
		if d := decide.Next(carried(c.state, c.seen), noon); d.Step == nil || d.Step.Kind != c.want {
			t.Errorf("%s, seen %s before: %+v: %s", c.state, -c.seen, d.Step, d.Reason)
		}
	}

	// It is seen only after the next epoch was taken, whose launch the provider refuses.
	v := carried(fleet.InstanceTerminated, 0)
	d := decide.Next(v, noon)
	refused := decide.Result{State: fleet.StepFailed, Class: "retry", Error: "epoch 1 is proved to have ended, and i-2 is running"}
	v.Status = decide.Record(decide.Intend(v.Status, d, noon), *d.Step, refused, noon)
	v.Observed.Instances[1].State = fleet.InstanceRunning
	d = decide.Next(v, noon.Add(time.Second))
	if d.Step == nil || d.Step.Kind != fleet.StepStop || d.Step.Epoch != 1 {
		t.Errorf("beside the launch of epoch 2: %+v: %s", d.Step, d.Reason)
	}
}
