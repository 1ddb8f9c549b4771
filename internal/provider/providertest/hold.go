package providertest

import (
	"slices"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
	"relight/internal/provider"
)

func holdCases() []Case {
	return []Case{
		{Name: "attach/begins on no directory without a record", Run: attachFresh},
		{Name: "attach/refuses what another epoch holds", Run: attachHeld},
		{Name: "detach/takes a volume and an address", Run: detach},
	}
}

// attachFresh is a volume whose disk is not mounted: what expects data must not begin there.
func attachFresh(t T, h Harness) {
	s := newSuite(t, h)
	vol := s.server.Spec.Identity.Volumes[0]
	if !s.traits.AttachFirst || vol.Path == "" {
		return // a platform attaches a volume that it knows, or none
	}
	call := s.call(fleet.StepAttach, 1, s.host(0), fleet.Object{Volume: vol.Name}, s.first())
	call.Step.Fresh = false
	s.refuses("a directory without a record", call, provider.Refused)
	call.Step.Fresh, call.Step.Token = true, call.Step.Token+"-fresh"
	s.must(call)
	call.Step.Fresh, call.Step.Token = false, call.Step.Token+"-again"
	s.must(call)
}

// attachHeld is a person who attested wrongly: the resource is the last guard.
func attachHeld(t T, h Harness) {
	s := newSuite(t, h)
	s.up(1, s.host(0), s.first())
	proof := s.attested(1)
	volume := fleet.Object{Volume: s.server.Spec.Identity.Volumes[0].Name}
	host := ""
	if s.traits.Places {
		host = s.host(1)
	}
	if !s.traits.AttachFirst {
		launch := s.call(fleet.StepLaunch, 2, host, fleet.Object{}, proof)
		if _, err := s.do(launch); err != nil {
			return // refused even earlier
		}
		s.eventually("epoch 2 is seen to run", func() bool {
			i, ok := s.instance(2)
			return ok && i.State == fleet.InstanceRunning
		})
	}
	s.refuses("a volume that epoch 1 holds", s.call(fleet.StepAttach, 2, host, volume, proof), provider.Conflict)
	s.holds(1)
	if !s.traits.AttachFirst {
		return
	}
	if i, ok := s.instance(2); ok && !i.State.Gone() {
		s.Fatalf("a refused attach left %+v", i) // S8: it would hold its place for ever
	}
}

func detach(t T, h Harness) {
	s := newSuite(t, h)
	calls := s.calls(1, s.host(0), s.first())
	if s.traits.AttachFirst {
		calls = calls[:len(calls)-1] // what a process has open stays open
	}
	for _, c := range calls {
		s.must(c)
		if c.Step.Kind == fleet.StepLaunch {
			s.runs(1)
		}
	}
	s.holds(1)
	for range 2 {
		for _, o := range s.objects() {
			_, err := s.do(s.call(fleet.StepDetach, 1, s.host(0), o, fence.Proof{}))
			if class, _ := provider.ClassOf(err); err != nil && class != provider.NotFound {
				s.Fatalf("detach of %s: %v (class %s)", o, err, class)
			}
		}
	}
	if h.Unmount != nil {
		h.Unmount(s.server, s.server.Spec.Identity.Volumes[0].Name, 1)
	}
	s.eventually("nothing is held", func() bool {
		seen := s.observe().Observed
		return !slices.ContainsFunc(seen.Volumes, func(v fleet.VolumeState) bool { return v.Held != fleet.No }) &&
			!slices.ContainsFunc(seen.Addresses, func(a fleet.AddressState) bool { return a.Holder != 0 })
	})
	if got := h.Holders(s.server, s.server.Spec.Identity.Volumes[0].Name); len(got) > 0 {
		s.Fatalf("the volume is truly held by %v", got)
	}
}
