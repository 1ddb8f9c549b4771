package world

import (
	"fmt"
	"time"

	"relight/internal/core/fleet"
)

// past is how an object was, as far back as a late reader may look. It is kept
// only in worlds where somebody reads late.
type past[T comparable] struct {
	list []moment[T]
	// seen is how far reads have come, for objects that are never read backwards.
	seen time.Time
}

type moment[T comparable] struct {
	at  time.Time
	was T
}

// put records a change, and forgets what no reader may see any more.
func (p *past[T]) put(now time.Time, is T, horizon time.Duration) {
	if n := len(p.list); n > 0 && p.list[n-1].was == is {
		return
	}
	old := 0
	for old+1 < len(p.list) && now.Sub(p.list[old+1].at) > horizon {
		old++
	}
	p.list = append(p.list[old:], moment[T]{at: now, was: is})
}

// at returns how the object was at a time; false if that is not known, because
// it was not there yet or nothing is kept.
func (p *past[T]) at(t time.Time) (was T, known bool) {
	for n := len(p.list) - 1; n >= 0; n-- {
		if !p.list[n].at.After(t) {
			return p.list[n].was, true
		}
	}
	return was, false
}

// lagged draws the moment that a read of an object sees: up to Config.Lag ago.
func (w *World) lagged(seen *time.Time) time.Time {
	at := w.Now()
	if w.cfg.Lag > 0 {
		at = at.Add(-w.draw(Span{Max: w.cfg.Lag}))
	}
	if !w.cfg.ReadsGoBack && at.Before(*seen) {
		at = *seen
	}
	*seen = at
	return at
}

// horizon is how far back anything may be read.
func (w *World) horizon() time.Duration {
	return max(w.cfg.Lag, w.cfg.Checks.Every+w.cfg.Checks.Delay)
}

// InstanceSight is what a platform's describe call tells of a machine.
type InstanceSight struct {
	ID    string
	Host  string
	State string // by the platform's name
	Epoch fleet.Epoch
}

// instanceMoment is what a machine's past keeps.
type instanceMoment struct {
	sight                InstanceSight
	system, guest, disks bool
}

func (w *World) present(i *Instance) instanceMoment {
	h := w.hosts[i.Host]
	return instanceMoment{
		sight:  InstanceSight{ID: i.ID, Host: i.Host, State: i.PlatformState(), Epoch: i.Epoch},
		system: h.InContact(),
		guest:  i.Executes && h.HasPeers(),
		disks:  len(i.Volumes) == 0 || h.HasStorage(),
	}
}

// record keeps how a machine is now.
func (w *World) record(i *Instance) {
	if i.Style == Machine && w.horizon() > 0 {
		keep(w, &i.past, w.present(i))
	}
}

// SeeInstance is a describe call: the machine as it was up to Config.Lag ago. One
// that is fresh may not be found yet, one that is long gone no more. Errors: ErrNotFound.
func (w *World) SeeInstance(id string) (InstanceSight, error) {
	i := w.instances[id]
	if i == nil || i.State.Gone() && w.cfg.Forget > 0 && w.Now().Sub(i.Since) >= w.cfg.Forget {
		return InstanceSight{}, fmt.Errorf("instance %s: %w", id, ErrNotFound)
	}
	was, err := see(w, i.past, w.present(i), id)
	return was.sight, err
}

// VolumeSight is what a platform's describe call tells of a volume.
type VolumeSight struct {
	ID string
	// State is creating, available or in-use.
	State string
	// Holder is the instance that it is attached to; Attachment is attaching,
	// attached, detaching or busy, empty without a holder.
	Holder     string
	Attachment string
}

func (w *World) presentVolume(v *Volume) VolumeSight {
	return VolumeSight{ID: v.ID, State: v.State(), Holder: v.Holder, Attachment: v.attachment()}
}

// SeeVolume is a describe call, as SeeInstance. Errors: ErrNotFound.
func (w *World) SeeVolume(id string) (VolumeSight, error) {
	v := w.volumes[id]
	if v == nil {
		return VolumeSight{}, fmt.Errorf("volume %s: %w", id, ErrNotFound)
	}
	return see(w, v.past, w.presentVolume(v), id)
}

// see reads an object: as it is, or, where reads lag, as it was.
func see[T comparable](w *World, p *past[T], is T, id string) (T, error) {
	if w.cfg.Lag <= 0 || p == nil {
		return is, nil
	}
	was, known := p.at(w.lagged(&p.seen))
	if !known {
		return was, fmt.Errorf("%s: %w", id, ErrNotFound)
	}
	return was, nil
}

// keep records how an object is, in worlds where somebody reads late.
func keep[T comparable](w *World, p **past[T], is T) {
	if w.horizon() <= 0 {
		return
	}
	if *p == nil {
		*p = &past[T]{}
	}
	(*p).put(w.Now(), is, w.horizon())
}
