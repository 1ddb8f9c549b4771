package providertest

import (
	"context"
	"slices"

	"relight/internal/core/fleet"
	"relight/internal/provider"
)

func sightCases() []Case {
	return []Case{
		{Name: "observe/is batched and does not fail whole", Run: observeBatch},
		{Name: "observe/sees an instance that ended", Run: observeKilled},
		{Name: "observe/says nothing final about what it cannot reach", Skip: lacksCut, Run: observeCut},
		{Name: "observe/shows the hosts", Skip: lacksPlaces, Run: observeHosts},
		{Name: "wakes/come when an instance ends", Skip: lacksWakes, Run: wakes},
	}
}

func observeBatch(t T, h Harness) {
	s := newSuite(t, h)
	s.up(1, s.host(0), s.first())
	ghost := h.Server()
	ghost.Name += "-ghost" // so that none of its volumes is where its spec says
	for n := range ghost.Spec.Identity.Volumes {
		ghost.Spec.Identity.Volumes[n].Name += "-ghost"
	}
	never := h.Server()
	names := []string{ghost.Name, s.server.Name, never.Name}
	sweep, err := h.Provider.Observe(context.Background(), []fleet.Server{ghost, s.server, never})
	if err != nil {
		s.Fatalf("one server that is not there fails the sweep: %v", err)
	}
	var got []string
	for _, sight := range sweep.Servers {
		got = append(got, sight.Observed.Server)
	}
	if !slices.Equal(got, names) {
		s.Fatalf("the sweep is about %v, want %v", got, names)
	}
	if in := sweep.Servers[1].Observed.Instances; len(in) != 1 || in[0].State != fleet.InstanceRunning || in[0].Epoch != 1 {
		s.Fatalf("instances %+v, want epoch 1 running", in)
	}
	for _, n := range []int{0, 2} {
		if in := sweep.Servers[n].Observed.Instances; len(in) > 0 {
			s.Fatalf("%s was never started and has %+v", names[n], in)
		}
	}
	if sweep.At.IsZero() || sweep.Servers[1].Observed.At.IsZero() || sweep.Servers[1].Observed.Instances[0].At.IsZero() {
		s.Fatalf("the sweep does not say when it looked: %+v", sweep)
	}
}

// final reports whether the sight says that the epoch is gone for ever.
func final(o fleet.Observed, signals []fleet.Signal, epoch fleet.Epoch) bool {
	return slices.ContainsFunc(o.Instances, func(i fleet.Instance) bool {
		return i.Epoch == epoch && (i.State.Gone() || i.State == fleet.InstanceStopped)
	}) || slices.ContainsFunc(signals, func(s fleet.Signal) bool {
		return s.Epoch == epoch && s.CannotLie && s.Question == fleet.Alive && s.Answer == fleet.No
	})
}

func observeKilled(t T, h Harness) {
	s := newSuite(t, h)
	s.up(1, s.host(0), s.first())
	if sight := s.observe(); final(sight.Observed, sight.Signals, 1) {
		s.Fatalf("a running epoch is said to be gone: %+v", sight)
	}
	h.Kill(s.server.Name, 1)
	s.eventually("the end of epoch 1 is seen, by one who cannot lie", func() bool {
		sight := s.observe()
		return final(sight.Observed, sight.Signals, 1)
	})
}

func observeCut(t T, h Harness) {
	s := newSuite(t, h)
	s.up(1, s.host(0), s.first())
	host := s.hostOf(1, s.host(0))
	h.Cut(host)
	s.eventually("the host is seen to be out of contact", func() bool {
		sweep, err := h.Provider.Observe(context.Background(), []fleet.Server{s.server})
		if err != nil {
			return false
		}
		sight := sweep.Servers[0]
		if final(sight.Observed, sight.Signals, 1) {
			s.Fatalf("a cut-off epoch is said to be gone: %+v", sight)
		}
		silent := slices.IndexFunc(sweep.Hosts, func(x provider.HostSight) bool { return x.Host.Name == host && x.Host.InContact == fleet.No })
		if silent < 0 && h.Provider.Traits().Places { // a platform may show none of its hosts
			return false
		}
		seen := slices.ContainsFunc(sight.Observed.Instances, func(i fleet.Instance) bool { return i.Epoch == 1 })
		if !seen && sight.Observed.Complete {
			s.Fatalf("a cut-off epoch is missing from a sight that calls itself complete")
		}
		return true
	})
	s.wantRunning(1)
	h.Mend(host)
	s.eventually("the host is back and its instance runs", func() bool {
		i, ok := s.instance(1)
		return ok && i.State == fleet.InstanceRunning && s.observe().Observed.Complete
	})
}

func observeHosts(t T, h Harness) {
	s := newSuite(t, h)
	volume := s.server.Spec.Identity.Volumes[0].Name
	s.up(1, s.host(0), s.first())
	sweep, err := h.Provider.Observe(context.Background(), []fleet.Server{s.server})
	if err != nil {
		s.Fatalf("observe: %v", err)
	}
	for _, name := range h.Hosts {
		n := slices.IndexFunc(sweep.Hosts, func(x provider.HostSight) bool { return x.Host.Name == name })
		if n < 0 {
			s.Fatalf("host %s is not in the sweep", name)
		}
		x := sweep.Hosts[n]
		if x.Host.InContact != fleet.Yes || x.Host.Units <= 0 {
			s.Fatalf("host %s: %+v", name, x.Host)
		}
		if !slices.Contains(x.Reaches[s.server.Name], volume) {
			s.Fatalf("host %s reaches %v, want %s", name, x.Reaches[s.server.Name], volume)
		}
		if has := slices.Contains(x.Servers, s.server.Name); has != (name == s.host(0)) {
			s.Fatalf("host %s holds servers %v", name, x.Servers)
		}
	}
}

func wakes(t T, h Harness) {
	s := newSuite(t, h)
	s.up(1, s.host(0), s.first())
	ch := h.Provider.Wakes()
	for len(ch) > 0 {
		<-ch
	}
	h.Kill(s.server.Name, 1)
	s.eventually("a wake", func() bool {
		select {
		case name := <-ch:
			return name == "" || name == s.server.Name
		default:
			return false
		}
	})
}
