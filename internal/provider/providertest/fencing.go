package providertest

import (
	"relight/internal/core/fence"
	"relight/internal/core/fleet"
	"relight/internal/provider"
)

func fenceCases() []Case {
	return []Case{
		{Name: "stop/gives evidence, each time", Run: stopGivesEvidence},
		{Name: "stop/of another host proves nothing", Skip: lacksPlaces, Run: stopElsewhere},
		{Name: "stop/of a host out of contact proves nothing", Skip: lacksCut, Run: stopCutOff},
		{Name: "stop/of an old epoch leaves the new one alone", Run: stopOld},
		{Name: "seal/refuses while held and works after", Skip: lacksSeals, Run: sealVolume},
		{Name: "recovery/again and again", Run: recoverAgain},
	}
}

func stopGivesEvidence(t T, h Harness) {
	s := newSuite(t, h)
	s.up(1, s.host(0), s.first())
	for range 3 {
		proof := s.stop(s.stopCall(1, s.host(0)))
		if proof.Epoch() != 1 {
			s.Fatalf("the proof speaks of epoch %d", proof.Epoch())
		}
		s.wantRunning()
	}
}

// provesNothing does a call and demands that its evidence makes no proof for an
// epoch that lives on a host.
func (s *suite) provesNothing(call provider.Call, host string) {
	s.Helper()
	out, _ := s.do(call)
	if p, missing := fence.Prove(s.server, call.Step.Epoch, host, out.Evidence, s.h.Now()); len(missing) == 0 {
		s.Fatalf("%s gave a proof for epoch %d, which runs: %s", call.Step.Kind, call.Step.Epoch, p)
	}
}

func stopElsewhere(t T, h Harness) {
	s := newSuite(t, h)
	s.up(1, s.host(0), s.first())
	s.provesNothing(s.stopCall(1, s.host(1)), s.host(0))
	via := s.stopCall(1, s.host(0))
	via.Step.Via, via.Step.Token = s.host(1), via.Step.Token+"-via"
	s.provesNothing(via, s.host(0))
	s.wantRunning(1)
}

func stopCutOff(t T, h Harness) {
	s := newSuite(t, h)
	s.up(1, s.host(0), s.first())
	host := s.hostOf(1, s.host(0))
	h.Cut(host)
	call := s.stopCall(1, s.host(0))
	call.Step.Within = fleet.Duration(1e9)
	s.provesNothing(call, host)
	s.wantRunning(1)
	h.Mend(host)
	again := s.stopCall(1, s.host(0))
	again.Step.Token += "-mended"
	s.eventually("the host is back in contact", func() bool {
		out, err := s.do(again)
		_, missing := fence.Prove(s.server, 1, host, out.Evidence, h.Now())
		return err == nil && len(missing) == 0
	})
	s.wantRunning()
}

func stopOld(t T, h Harness) {
	s := newSuite(t, h)
	s.up(1, s.host(0), s.first())
	proof := s.stop(s.stopCall(1, s.host(0)))
	s.up(2, s.host(0), proof)
	late := s.stopCall(1, s.host(0))
	late.Step.Token += "-late"
	_, _ = s.do(late)
	for _, o := range s.objects() {
		_, _ = s.do(s.call(fleet.StepDetach, 1, s.host(0), o, fence.Proof{}))
	}
	s.wantRunning(2)
	s.holds(2)
}

func (s *suite) sealCall(epoch fleet.Epoch, volume, host, via, suffix string) provider.Call {
	c := s.call(fleet.StepSeal, epoch, host, fleet.Object{Volume: volume}, fence.Proof{})
	c.Step.Via = via
	c.Step.Token += suffix
	return c
}

func sealVolume(t T, h Harness) {
	s := newSuite(t, h)
	volume := s.server.Spec.Identity.Volumes[0].Name
	s.up(1, s.host(0), s.first())
	s.refuses("a seal while epoch 1 holds the volume", s.sealCall(1, volume, s.host(0), s.host(1), ""), provider.Conflict)
	s.holds(1)
	h.Kill(s.server.Name, 1)
	var proof fence.Proof
	s.eventually("the seal of the free volume", func() bool {
		out, err := s.do(s.sealCall(1, volume, s.host(0), s.host(1), "-after"))
		if err != nil {
			return false
		}
		proof = s.prove(1, s.host(0), out.Evidence)
		return true
	})
	for range 2 {
		out := s.must(s.sealCall(1, volume, s.host(0), s.host(1), "-after"))
		s.prove(1, s.host(0), out.Evidence)
	}
	for _, v := range s.observe().Observed.Volumes {
		if v.Volume == volume && v.Sealed != 1 && v.Held == fleet.No {
			s.Fatalf("the volume reads as sealed at epoch %d, want 1: %+v", v.Sealed, v)
		}
	}
	old := s.call(fleet.StepAttach, 1, s.host(1), fleet.Object{Volume: volume}, s.first())
	s.refuses("the sealed epoch", old, provider.Refused)
	s.up(2, s.host(1), proof)
}

func recoverAgain(t T, h Harness) {
	s := newSuite(t, h)
	proof := s.first()
	for epoch := fleet.Epoch(1); epoch <= 4; epoch++ {
		host := s.host(int(epoch) % 2)
		s.up(epoch, host, proof)
		s.wantRunning(epoch)
		if epoch%2 == 0 {
			h.Kill(s.server.Name, epoch)
		}
		proof = s.stop(s.stopCall(epoch, host))
	}
	s.wantRunning()
}
