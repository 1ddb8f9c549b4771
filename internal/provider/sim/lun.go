package sim

import (
	"errors"
	"fmt"
	"slices"

	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/world"
)

// lunOf returns the unit that a call is about, or nil. Such a call is carried out by
// the controller itself, through no host.
func (p *Provider) lunOf(call provider.Call) *world.LUN {
	for _, v := range call.Server.Spec.Identity.Volumes {
		if v.Name == call.Step.Object.Volume && v.OnArray() {
			return p.unit(call.Server, v)
		}
	}
	return nil
}

func (p *Provider) unit(s fleet.Server, v fleet.Volume) *world.LUN {
	if vol := p.w.Volume(VolumeID(s, v.Name)); vol != nil {
		return vol.LUN()
	}
	return nil
}

// onArray carries out a step on a LUN.
func (p *Provider) onArray(call provider.Call, l *world.LUN) (provider.Outcome, error) {
	if why := p.away(l.Array()); why != "" {
		return provider.Outcome{}, provider.Errorf(provider.Retry, call, "array %s %w: %s", l.Array().Name, provider.ErrAway, why)
	}
	switch call.Step.Kind {
	case fleet.StepAttach:
		return p.letIn(call, l)
	case fleet.StepSeal, fleet.StepDetach:
		return p.shut(call, l, call.Step.Epoch)
	case fleet.StepSnapshot:
		return p.snapshot(call, l)
	default:
		return provider.Outcome{}, provider.Errorf(provider.Permanent, call, "not a step for an array")
	}
}

// away says why an array cannot be asked now, or is empty.
func (p *Provider) away(a *world.Array) string {
	switch {
	case p.w.ErrsNow(a):
		return "it answers with an error"
	case a.Dead:
		return "connection refused"
	case a.Away:
		return "no answer"
	default:
		return ""
	}
}

// onSame lists the server's units on the array of one of them, with their volumes.
func (p *Provider) onSame(call provider.Call, l *world.LUN) (units []*world.LUN, volumes []string) {
	for _, v := range call.Server.Spec.Identity.Volumes {
		if o := p.unit(call.Server, v); o != nil && o.Array() == l.Array() {
			units, volumes = append(units, o), append(volumes, v.Name)
		}
	}
	return units, volumes
}

// shut fences an epoch on an array. From here on the epoch is never let in again: the
// journal says so first, for the array may forget it.
func (p *Provider) shut(call provider.Call, l *world.LUN, epoch fleet.Epoch) (provider.Outcome, error) {
	if p.opts.Marks == nil {
		by := remembers(call, l)
		p.w.Registry.Fenced[by] = max(p.w.Registry.Fenced[by], epoch)
	}
	if marked := p.marked(call, l); marked < epoch {
		return provider.Outcome{}, provider.Errorf(provider.Retry, call, "%s epoch %d is not fenced on array %s: journal: it is marked up to %d", call.Step.Server, epoch, l.Array().Name, marked)
	}
	units, volumes := p.onSame(call, l)
	drained := true
	for _, u := range units {
		drained = p.w.Shut(u, epoch) && drained
	}
	if !drained && !p.offline(l.Array(), units, epoch) {
		return provider.Outcome{}, &provider.Error{
			Class: provider.Retry, Op: string(call.Step.Kind), Object: provider.ObjectOf(call), MayHaveHappened: true,
			Err: fmt.Errorf("%s epoch %d is not fenced on array %s: sessions: they were killed and are listed on; take the LUN off line on the array, or fence the host by power", call.Step.Server, epoch, l.Array().Name),
		}
	}
	out := provider.Outcome{Detail: fmt.Sprintf("array %s lists no session of epoch %d", l.Array().Name, epoch)}
	if !drained {
		out.Detail = fmt.Sprintf("array %s took the LUNs of epoch %d off line", l.Array().Name, epoch)
	}
	for _, v := range volumes {
		e := p.evidence(call, fleet.InitiatorRemoved, "array "+l.Array().Name, "no session listed")
		e.Volume, e.Epoch, e.Offline = v, epoch, !drained
		out.Evidence = append(out.Evidence, e)
	}
	return out, nil
}

// offline takes the units off line for an epoch whose sessions stay listed, if that is
// allowed and no command of it is left inside.
func (p *Provider) offline(a *world.Array, units []*world.LUN, epoch fleet.Epoch) bool {
	done := a.LastResort
	for _, u := range units {
		done = done && p.w.TakeAway(u, epoch)
	}
	return done
}

// marked is the highest epoch of the server that was fenced there.
func (p *Provider) marked(call provider.Call, l *world.LUN) fleet.Epoch {
	if p.opts.Marks != nil {
		return p.opts.Marks(call.Step.Server)
	}
	return p.w.Registry.Fenced[remembers(call, l)]
}

func remembers(call provider.Call, l *world.LUN) world.Executor {
	return world.Executor{Host: "array " + l.Array().Name, Server: call.Step.Server}
}

// letIn maps the server's units for a new epoch, after whatever older one the array
// still shows has been shut out.
func (p *Provider) letIn(call provider.Call, l *world.LUN) (provider.Outcome, error) {
	if fenced := p.marked(call, l); call.Step.Epoch <= fenced {
		return provider.Outcome{}, provider.Errorf(provider.Refused, call, "epoch %d was shut out for ever", fenced)
	}
	out, err := p.shutOlder(call, l, call.Step.Epoch)
	if err != nil {
		return provider.Outcome{}, err
	}
	units, _ := p.onSame(call, l)
	if err := p.mapUnits(call, l.Array(), units); err != nil {
		return provider.Outcome{}, err
	}
	out.Detail = fmt.Sprintf("array %s lets epoch %d in", l.Array().Name, call.Step.Epoch)
	return out, nil
}

// mapAll sees to it that each array lets the step's epoch in, before its host hears of the
// launch: the map is made again, or found made. It shuts nobody out; where an older epoch
// is still listed nothing is mapped.
func (p *Provider) mapAll(call provider.Call) error {
	for _, v := range call.Server.Spec.Identity.Volumes {
		u := p.unit(call.Server, v)
		if u == nil || !v.OnArray() {
			continue
		}
		name := u.Array().Name
		if why := p.away(u.Array()); why != "" {
			return unsure(call, fmt.Errorf("array %s: %s", name, why))
		}
		if fenced := p.marked(call, u); call.Step.Epoch <= fenced {
			return provider.Errorf(provider.Refused, call, "array %s: epoch %d was shut out for ever", name, fenced)
		}
		for _, e := range u.Epochs() {
			switch {
			case e > call.Step.Epoch:
				return provider.Errorf(provider.Refused, call, "array %s: epoch %d has a map", name, e)
			case e < call.Step.Epoch && !u.Bare(e):
				return provider.Errorf(provider.Conflict, call, "array %s: epoch %d has a map", name, e)
			}
		}
		units, _ := p.onSame(call, u)
		if err := p.mapUnits(call, u.Array(), units); err != nil {
			return err
		}
	}
	return nil
}

// mapUnits maps a server's units on an array for the step's epoch, unless somebody else's
// map has one of them.
func (p *Provider) mapUnits(call provider.Call, a *world.Array, units []*world.LUN) error {
	if n := slices.IndexFunc(units, (*world.LUN).Stranger); n >= 0 {
		return provider.Errorf(provider.Conflict, call, "array %s: %s is mapped to somebody who is not ours; take that map away", a.Name, units[n].Volume)
	}
	for _, u := range units {
		p.w.LetIn(u, call.Step.Epoch)
	}
	return nil
}

// shutOlder shuts out whatever the array shows of epochs before the given one.
func (p *Provider) shutOlder(call provider.Call, l *world.LUN, before fleet.Epoch) (provider.Outcome, error) {
	var out provider.Outcome
	units, _ := p.onSame(call, l)
	for _, u := range units {
		for _, e := range u.Epochs() {
			if e > call.Step.Epoch {
				return provider.Outcome{}, provider.Errorf(provider.Refused, call, "epoch %d is older than %d, which has a map", call.Step.Epoch, e)
			}
			if e >= before {
				continue
			}
			shut, err := p.shut(call, u, e)
			if why := (*provider.Error)(nil); errors.As(err, &why) {
				return provider.Outcome{}, provider.Errorf(provider.Conflict, call, "%w", why.Err)
			}
			out.Evidence = append(out.Evidence, shut.Evidence...)
		}
	}
	return out, nil
}

// snapshot has the array keep a unit as the step's epoch left it, once that is proved
// dead and shut out.
func (p *Provider) snapshot(call provider.Call, l *world.LUN) (provider.Outcome, error) {
	if !call.Proof.Covers(call.Step.Server, call.Step.Epoch+1) {
		return provider.Outcome{}, provider.Errorf(provider.Refused, call, "no proof that epoch %d is dead", call.Step.Epoch)
	}
	out, err := p.shutOlder(call, l, call.Step.Epoch+1)
	if err != nil {
		return out, err
	}
	s, err := p.w.KeepLUN(l, call.Step.Epoch)
	if err != nil {
		return out, err
	}
	out.Detail = fmt.Sprintf("array %s keeps snapshot %s of %s", l.Array().Name, s.ID, l.Volume)
	return out, nil
}

// plug gives a launched instance its LUNs.
func (p *Provider) plug(call provider.Call, i *world.Instance) error {
	for _, v := range call.Server.Spec.Identity.Volumes {
		if u := p.unit(call.Server, v); u != nil && v.OnArray() {
			if err := p.w.Plug(i, u); err != nil {
				return err
			}
		}
	}
	return nil
}

// maps notes what the array shows of a LUN; false if it cannot be asked.
func (l look) maps(volume string, u *world.LUN) bool {
	if l.p.away(u.Array()) != "" {
		return false
	}
	epochs := u.Epochs()
	if len(epochs) == 0 {
		l.seen = append(l.seen, fleet.VolumeState{Volume: volume, Held: fleet.No, At: l.now})
	}
	for _, e := range epochs {
		state := fleet.VolumeState{Volume: volume, Epoch: e, Held: fleet.Yes, At: l.now}
		if u.LetsIn(e) {
			state.Holder = e
		}
		l.seen = append(l.seen, state)
	}
	return true
}
