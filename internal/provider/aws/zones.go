package aws

import (
	"context"
	"fmt"
	"slices"
	"time"

	"relight/internal/core/fleet"
)

const (
	// zonesFor is how long what EC2 said of its zones counts. It is asked only while
	// something does not work.
	zonesFor = 15 * time.Second
	// zoneQuorum is how many instances of ours in a zone must all fail, and none live, for
	// the zone itself to count as lost: fewer may share a rack.
	zoneQuorum = 3
	// zoneSight is how old what was seen of an instance may be for that.
	zoneSight = 2 * time.Minute
)

// living is what was seen last of an instance's hardware, for what that says of its zone.
type living struct {
	zone   string
	passes bool
	at     time.Time
}

// zones is what is known of the region's zones. The provider's lock guards it.
type zones struct {
	// said is what EC2 said last, at its time.
	said map[string]string
	at   time.Time
	// seen are the instances by id.
	seen map[string]living
	// lost are the zones that are seen to be lost.
	lost map[string]spell
	// listed are the region's zones as EC2 told them last, listNext is when it is asked
	// again, and read are those whose instances have been read once.
	listed   []string
	listNext time.Time
	read     map[string]bool
}

// spell is how long something is seen: since when, and when last.
type spell struct{ since, seen time.Time }

// readZones notes which zones are lost as a whole: by EC2's own word, or because each of
// several instances of ours there fails its system check. A check without data counts for
// nothing: that nobody can tell is no loss (S4).
func (p *Provider) readZones(ctx context.Context, s *swept, all []Machine) {
	said := p.saidOfZones(ctx, s, all)
	p.mu.Lock()
	defer p.mu.Unlock()
	s.zones = map[string]fleet.ZoneState{}
	for zone, n := range p.zones.tally(s.at) {
		if n.pass == 0 && n.fail >= zoneQuorum {
			s.zones[zone] = fleet.ZoneState{Name: zone, Lost: fleet.Yes, Detail: fmt.Sprintf("all %d instances seen there fail their system check", n.fail)}
		}
	}
	for zone, state := range said {
		if state == "unavailable" || state == "impaired" {
			s.zones[zone] = fleet.ZoneState{Name: zone, Lost: fleet.Yes, Detail: "EC2 says " + state}
		}
	}
	p.zones.remember(s, said != nil)
}

// remember keeps since when each zone is lost. A look that brings no word of EC2's, for
// want of anything that fails or of an answer, ends none of it at once: the time after
// which a server may leave its zone would begin anew with each look at another one.
func (z *zones) remember(s *swept, told bool) {
	if z.lost == nil {
		z.lost = map[string]spell{}
	}
	for zone, l := range z.lost { // order: each is looked at alone
		if _, still := s.zones[zone]; !still && (told || s.at.Sub(l.seen) > zoneSight) {
			delete(z.lost, zone)
		}
	}
	for zone, state := range s.zones { // order: each is changed by itself
		l, known := z.lost[zone]
		if !known {
			l.since = s.at
		}
		l.seen = s.at
		z.lost[zone] = l
		state.Since = l.since
		s.zones[zone] = state
	}
}

// saidOfZones returns EC2's word about its zones, or nil without one to be believed now: it
// is asked while any instance of the look does not pass its check. A fleet in order costs
// no call.
func (p *Provider) saidOfZones(ctx context.Context, s *swept, all []Machine) map[string]string {
	p.mu.Lock()
	well := p.zones.note(s, all)
	said, at := p.zones.said, p.zones.at
	p.mu.Unlock()
	if well {
		return nil
	}
	if s.at.Sub(at) < zonesFor {
		return said
	}
	said, err := p.opt.Cloud.Zones(ctx)
	if err != nil {
		return nil // what is not known is no loss
	}
	p.mu.Lock()
	p.zones.said, p.zones.at = said, s.at
	p.mu.Unlock()
	return said
}

// note keeps what is seen of instances, and reports whether each of them works.
func (z *zones) note(s *swept, all []Machine) (well bool) {
	if z.seen == nil {
		z.seen = map[string]living{}
	}
	well = len(all) > 0 && len(s.dark) == 0
	for _, m := range all {
		switch c := s.checks[m.ID]; {
		case m.Outpost != "": // its link may be cut, and its zone is well
		case m.state() == fleet.InstanceRunning && (c.System == "ok" || c.System == "impaired"):
			z.seen[m.ID] = living{m.Zone, c.System == "ok", s.at}
			well = well && c.System == "ok"
			continue
		case m.state() == fleet.InstanceTerminated, m.state() == fleet.InstanceStopped:
			delete(z.seen, m.ID)
		}
		well = false
	}
	return well
}

// tally is how many instances of a zone pass their system check, and fail it.
type tally struct{ pass, fail int }

// tally counts the instances of each zone.
func (z *zones) tally(now time.Time) map[string]tally {
	out := map[string]tally{}
	for id, l := range z.seen { // order: each is counted alone
		if now.Sub(l.at) > zoneSight {
			delete(z.seen, id)
			continue
		}
		n := out[l.zone]
		if l.passes {
			n.pass++
		} else {
			n.fail++
		}
		out[l.zone] = n
	}
	return out
}

// zoneOf is what is known of the zone that a server's last instance ran in, or else its
// volumes are in; nil if nothing is.
func (s *swept) zoneOf(server fleet.Server, machines []Machine) *fleet.ZoneState {
	zone := ""
	if n := len(machines); n > 0 {
		if last := leastEnded(carriers(machines, epochOf(machines[n-1])))[0]; last.Outpost == "" {
			zone = last.Zone
		}
	}
	if n := slices.IndexFunc(server.Spec.Identity.Volumes, func(v fleet.Volume) bool { return s.volumes[v.ID].Zone != "" }); zone == "" && len(machines) == 0 && n >= 0 {
		zone = s.volumes[server.Spec.Identity.Volumes[n].ID].Zone
	}
	if z, known := s.zones[zone]; known {
		return &z
	}
	return nil
}
