package world

import (
	"fmt"
	"time"

	"relight/internal/core/fleet"
)

// Violation is a broken promise.
type Violation struct {
	// Invariant is its number, such as "S1".
	Invariant string
	Object    string
	Detail    string
	At        time.Time
}

// String is one line for a log.
func (v Violation) String() string {
	return fmt.Sprintf("%s: %s: %s (at %s)", v.Invariant, v.Object, v.Detail, v.At.UTC().Format("15:04:05.000"))
}

// Check returns all violations up to now: S1 (two epochs could write to one
// volume, an old one wrote after a new one, two hold an address, an acknowledged
// write is gone), S3 (an epoch was reused), S7 (two objects for one token), S8
// (data was formatted). It costs as much as has changed since the last call.
func (w *World) Check() []Violation {
	for n, o := range w.touched {
		o.check(w)
		w.touched[n] = nil
	}
	w.touched = w.touched[:0]
	return w.violations
}

// checked is an object with something to check. soil reports whether it was
// clean until now.
type checked interface {
	soil() bool
	check(*World)
	record(*World)
}

func (v *Volume) soil() bool  { return soil(&v.dirty) }
func (a *Address) soil() bool { return soil(&a.dirty) }

func (v *Volume) record(w *World)  { keep(w, &v.past, w.presentVolume(v)) }
func (a *Address) record(w *World) { keep(w, &a.past, w.presentAddress(a)) }

func soil(dirty *bool) bool {
	clean := !*dirty
	*dirty = true
	return clean
}

func (v *Volume) check(w *World) {
	v.dirty = false
	var first fleet.Epoch
	for _, id := range v.open {
		i := w.instances[id]
		if !w.canWrite(i, v) {
			continue
		}
		if first != 0 && first != i.Epoch {
			w.violate("S1", v.ID, fmt.Sprintf("epochs %d and %d can both write", first, i.Epoch))
		}
		first = i.Epoch
	}
	w.checkLoss(v)
	for _, a := range v.acked {
		if stored := v.stored(a.epoch); stored < a.count {
			w.violate("S1", v.ID, fmt.Sprintf("%d of %d acknowledged writes of epoch %d are gone", a.count-stored, a.count, a.epoch))
		}
	}
}

func (a *Address) check(w *World) {
	a.dirty = false
	if a.AllowTwo {
		return
	}
	var first *Instance
	for _, id := range a.Holders {
		i := w.instances[id]
		if !w.able(i) {
			continue
		}
		if first != nil {
			w.violate("S1", a.IP, fmt.Sprintf("%s and %s both hold it", first.name(), i.name()))
		}
		first = i
	}
}

// Leaks returns what at rest belongs to no current epoch (invariant S8): records
// of instances, not gone, of other epochs than the given ones. A process on a host
// that is off is none, whatever its keeper said last.
func (w *World) Leaks(current map[string]fleet.Epoch) []Violation {
	var leaks []Violation
	for _, server := range sortedKeys(w.byServer) {
		for _, i := range w.byServer[server] {
			if i.Style == Process && !w.Host(i.Host).Runs() {
				continue // what is recorded of it died with its host
			}
			if !i.State.Gone() && i.Epoch != current[server] {
				leaks = append(leaks, Violation{Invariant: "S8", Object: i.name(), Detail: fmt.Sprintf("is %s, current is epoch %d", i.State, current[server]), At: w.Now()})
			}
		}
	}
	return leaks
}

// violate records a violation once.
func (w *World) violate(invariant, object, detail string) {
	for _, v := range w.violations {
		if v.Invariant == invariant && v.Object == object && v.Detail == detail {
			return
		}
	}
	w.note("violation "+invariant, object, "", detail)
	w.violations = append(w.violations, Violation{Invariant: invariant, Object: object, Detail: detail, At: w.Now()})
}

func (w *World) tookEpoch(i *Instance) {
	if i.counted {
		return
	}
	i.counted = true
	if i.Epoch <= w.highest[i.Server] {
		w.violate("S3", i.Server, fmt.Sprintf("epoch %d was made after epoch %d", i.Epoch, w.highest[i.Server]))
	}
	w.highest[i.Server] = max(w.highest[i.Server], i.Epoch)
}

func (w *World) tookToken(i *Instance) {
	if i.Token == "" {
		return
	}
	if first := w.byToken[i.Token]; first != "" {
		w.violate("S7", i.Token, fmt.Sprintf("made both %s and %s", first, i.ID))
		return
	}
	w.byToken[i.Token] = i.ID
}

// touch has the object looked at by the next Check, and its past kept.
func (w *World) touch(o checked) {
	if w.horizon() > 0 {
		o.record(w)
	}
	if o.soil() {
		w.touched = append(w.touched, o)
	}
}

func (w *World) touchInstance(i *Instance) {
	w.record(i)
	w.autoRecover(i)
	for _, v := range i.Volumes {
		w.touch(w.volumes[v])
	}
	for _, a := range i.Addresses {
		w.touch(w.addresses[a])
	}
	if i.places != nil {
		for _, g := range i.places.groups {
			w.touch(w.groups[g])
		}
		for _, ini := range i.places.initiators {
			for _, s := range ini.sessions {
				for _, l := range s.port.units {
					w.touch(l)
				}
			}
		}
	}
}
