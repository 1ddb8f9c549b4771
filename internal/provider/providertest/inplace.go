package providertest

import (
	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

func inPlaceCases() []Case {
	return []Case{
		{Name: "restartApp/keeps the epoch", Skip: lacksRung(fleet.RestartApp), Run: inPlace(fleet.StepRestartApp)},
		{Name: "reboot/keeps the epoch", Skip: lacksRung(fleet.Reboot), Run: inPlace(fleet.StepReboot)},
		{Name: "recover/takes the next epoch", Skip: lacksRung(fleet.Recover), Run: recoverElsewhere},
	}
}

func inPlace(kind fleet.StepKind) func(T, Harness) {
	return func(t T, h Harness) {
		s := newSuite(t, h)
		s.up(1, s.host(0), s.first())
		h.BreakApp(s.server.Name, 1)
		s.must(s.call(kind, 1, s.host(0), fleet.Object{}, fence.Proof{}))
		s.eventually("the application works again", func() bool { return h.AppWorks(s.server.Name, 1) })
		s.runs(1)
		s.holds(1)
		h.BreakApp(s.server.Name, 1)
		s.must(s.call(kind, 1, s.host(0), fleet.Object{}, fence.Proof{}))
		if h.AppWorks(s.server.Name, 1) {
			s.Fatalf("the replay of %s was done a second time", kind)
		}
	}
}

func recoverElsewhere(t T, h Harness) {
	s := newSuite(t, h)
	s.up(1, s.host(0), s.first())
	stop := s.stopCall(1, s.host(0))
	stop.Step.Rung = fleet.Recover
	proof := s.stop(stop)
	s.wantRunning()
	call := s.call(fleet.StepRecover, 2, s.host(0), fleet.Object{}, proof)
	call.Step.Rung = fleet.Recover
	s.must(call)
	s.runs(2)
	for _, o := range s.objects() {
		s.must(s.call(fleet.StepAttach, 2, s.host(0), o, proof))
	}
	s.holds(2)
	s.must(call)
	s.wantRunning(2)
}
