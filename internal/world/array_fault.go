package world

import (
	"slices"
	"time"

	"relight/internal/core/fleet"
)

// ArrayTrouble is what is wrong with an array besides being dead, away or stuck.
type ArrayTrouble struct {
	// Errs is the share of the questions to its management that fail.
	Errs float64
	// Slow is how long a command is inside it, instead of its Latency; a session that is
	// killed is listed until the last one has landed, and nobody waits for that.
	Slow time.Duration
	// Full arrays take no write and keep no snapshot.
	Full bool
	// Lost are the hosts whose path to it is gone, sorted.
	Lost []string
}

// Trouble changes what is wrong with an array.
func (w *World) Trouble(a *Array, change func(*ArrayTrouble)) {
	change(&a.trouble)
	w.SetArray(a, a.Dead, a.Away, a.Stuck)
}

// Lose takes a host's path to the array, or gives it back.
func (t *ArrayTrouble) Lose(host string, lost bool) {
	t.Lost = remove(slices.Clone(t.Lost), host)
	if lost {
		t.Lost = insert(t.Lost, host)
	}
}

// Errs reports that some questions to the array's management fail.
func (a *Array) Errs() bool { return a.trouble.Errs > 0 }

// ErrsNow draws whether a question to the array's management fails.
func (w *World) ErrsNow(a *Array) bool { return w.chance(a.trouble.Errs) }

// HasPath reports whether a host reaches the array.
func (w *World) HasPath(host string, a *Array) bool {
	h := w.hosts[host]
	return !a.Dead && h != nil && h.HasStorage() && !slices.Contains(a.trouble.Lost, host) && w.Linked(host, a.Site)
}

func (a *Array) latency() Span {
	if a.trouble.Slow > 0 {
		return Span{Min: a.trouble.Slow, Max: a.trouble.Slow}
	}
	return a.Latency
}

// LetInPastUs is a person who gives an epoch its map, past us. What the epoch does until
// it is shut out again is that person's doing.
func (w *World) LetInPastUs(l *LUN, epoch fleet.Epoch) {
	if !slices.Contains(l.pastUs, epoch) {
		l.pastUs = append(l.pastUs, epoch)
	}
	w.Map(l, EpochIQN(l.disk.Server, epoch))
}

// PastUs reports whether a person let the epoch in, past us, and nobody has shut it out
// since.
func (l *LUN) PastUs(epoch fleet.Epoch) bool { return slices.Contains(l.pastUs, epoch) }

// Inside lists the epochs with a command inside the array, whatever it shows of them.
func (l *LUN) Inside() []fleet.Epoch {
	var out []fleet.Epoch
	for _, s := range l.port.sessions {
		for _, c := range s.inside {
			if c.lun == l && !c.aborted && !slices.Contains(out, c.epoch) {
				out = append(out, c.epoch)
			}
		}
	}
	slices.Sort(out)
	return out
}

// stranger is the initiator of somebody whom nobody told of us.
const stranger = "stranger"

// Intrude maps a unit to a stranger, who logs in. The returned function ends it.
func (w *World) Intrude(l *LUN) (end func()) {
	w.Map(l, stranger)
	s, err := w.Login(w.NewInitiator(nil, stranger, ""), l.array.Name, l.Target)
	return func() {
		w.Unmap(l, stranger)
		if err == nil {
			w.closeSession(s)
		}
	}
}

// Stranger reports whether the unit is mapped to somebody who is no epoch of its server.
func (l *LUN) Stranger() bool { return slices.Contains(l.maps, stranger) }
