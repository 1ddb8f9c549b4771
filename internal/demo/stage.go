package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	api "relight/internal/api/client"
	"relight/internal/core/fleet"
	"relight/internal/demo/phases"
	"relight/internal/demo/relay"
	"relight/internal/dev"
	"relight/internal/rack"
)

// stage is the fleet with its clients and cables, on which faults are played.
type stage struct {
	fleet  *dev.Fleet
	load   *Load
	relays map[string]*relay.Relay
	show   *show
}

// healWithin is how long a server may take to be healed before the demo gives up.
const healWithin = 20 * time.Second

var (
	errNoServer = errors.New("no healthy server is left to break")
	errStranger = errors.New("the process that answers is none of this fleet")
)

func (s *stage) api() *api.Client { return s.fleet.Client() }

// settled waits until all servers run and all hosts are in contact, so that one
// fault is not blamed for what another one did.
func (s *stage) settled(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healWithin)
	defer cancel()
	for _, h := range s.fleet.Hosts() {
		if err := s.fleet.AwaitHost(ctx, h); err != nil {
			return err
		}
	}
	return rack.Poll(ctx, func() (bool, error) {
		list, err := s.api().Servers(ctx, api.ListQuery{})
		if err != nil {
			return false, err
		}
		for _, row := range list.Items {
			if row.Phase != fleet.PhaseRunning || row.Verdict != fleet.Healthy || row.Incident != "" {
				return false, fmt.Errorf("%s is %s, %s", row.Name, row.Verdict, row.Message)
			}
		}
		return true, nil
	})
}

// status returns a server's status.
func (s *stage) status(ctx context.Context, server string) (fleet.Status, error) {
	view, err := s.api().Server(ctx, server)
	return view.Status, err
}

// on returns the status of each server on a host.
func (s *stage) on(ctx context.Context, host string) ([]fleet.Status, error) {
	var out []fleet.Status
	for _, srv := range s.fleet.Servers {
		st, err := s.status(ctx, srv.Name)
		if err != nil {
			return nil, err
		}
		if st.Host == host {
			out = append(out, st)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: %w", host, errNoServer)
	}
	return out, nil
}

// signal sends a signal to a server's application, found through its address as
// anybody would. It refuses to hit a process that is not ours.
func (s *stage) signal(ctx context.Context, server, host string, sig syscall.Signal) error {
	text, err := s.load.clients[server].ask(ctx, "GET", "/whoami")
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		return err
	}
	ours, err := dev.Pids(s.fleet.ID, host)
	if err != nil {
		return err
	}
	if !slices.Contains(ours, pid) {
		return fmt.Errorf("%s, pid %d: %w", server, pid, errStranger)
	}
	return syscall.Kill(pid, sig)
}

// healed waits until a server is healed after a fault and returns how: by the
// API's word and by a client's acknowledged write.
func (s *stage) healed(ctx context.Context, before fleet.Status, fault time.Time) (phases.Healing, error) {
	ctx, cancel := context.WithTimeout(ctx, healWithin)
	defer cancel()
	h := phases.Healing{Server: before.Server, Before: before, Fault: fault}
	err := rack.Poll(ctx, func() (bool, error) {
		s.show.news(ctx, s.api(), before.Server, fault)
		var err error
		if h.After, err = s.status(ctx, before.Server); err != nil {
			return false, err
		}
		switch {
		case h.After.Phase != fleet.PhaseRunning:
			return false, fmt.Errorf("%s is %s: %s", before.Server, h.After.Phase, h.After.Message)
		case h.After.Epoch <= before.Epoch || !h.After.VerifiedAt.After(fault):
			return false, fmt.Errorf("%s still runs as epoch %d", before.Server, h.After.Epoch)
		case h.After.Incident != "":
			return false, fmt.Errorf("incident %s of %s is open", h.After.Incident, before.Server)
		}
		return h.Find(ctx, s.api())
	})
	if err == nil {
		err = rack.Poll(ctx, func() (bool, error) {
			h.Acked = s.load.FirstAfter(before.Server, h.Effect())
			return !h.Acked.IsZero(), fmt.Errorf("no write to %s was acknowledged after its launch", before.Server)
		})
	}
	s.show.news(ctx, s.api(), before.Server, fault)
	return h, err
}

// slowest waits until all servers are healed and returns the last of them.
func (s *stage) slowest(ctx context.Context, before []fleet.Status, fault time.Time) (phases.Healing, error) {
	var last phases.Healing
	for _, b := range before {
		h, err := s.healed(ctx, b, fault)
		if err != nil {
			return h, err
		}
		if h.Heal() > last.Heal() {
			last = h
		}
	}
	return last, nil
}
