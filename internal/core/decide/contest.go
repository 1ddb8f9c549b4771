package decide

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"relight/internal/core/fleet"
)

// contested returns an address of the present epoch for which somebody else answers, as
// its host sees it.
func contested(v View, now time.Time) (fleet.AddressState, bool) {
	var found []fleet.AddressState
	for _, a := range v.Observed.Addresses {
		if a.Rival != "" && a.Holder == v.Status.Epoch && now.Sub(a.At) <= staleAfter(v) {
			found = append(found, a)
		}
	}
	if len(found) == 0 {
		return fleet.AddressState{}, false
	}
	return slices.MinFunc(found, func(a, b fleet.AddressState) int {
		return cmp.Or(cmp.Compare(a.IP, b.IP), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Rival, b.Rival))
	}), true
}

// contestWhy says who that may be, or is empty. Nothing of ours ends it where it cannot be
// reached: to switch a host off is for a proof, not for an address.
func contestWhy(v View, now time.Time) string {
	a, is := contested(v, now)
	if !is {
		return ""
	}
	said := fmt.Sprintf("somebody else answers for %s on the network of %s (%s)", a.IP, orUnknown(a.Host), a.Rival)
	old := Watching(v)
	if len(old) == 0 {
		return said + ": no epoch of it is left that could, so find who has that MAC"
	}
	where := "end it where it runs"
	if old[0].Host != "" {
		where = fmt.Sprintf("end it on %s, or switch %s off", old[0].Host, old[0].Host)
	}
	return fmt.Sprintf("%s: epoch %d was never seen to end and may serve stale reads; %s", said, old[0].Epoch, where)
}

// answeredElsewhere holds what would call the present epoch healed while somebody else
// answers for its address: the yes may be that one's (S14). What runs of older epochs where
// it can be reached is in the way then, and is ended. To try another host would change
// nothing.
func answeredElsewhere(v View, now time.Time) (Decision, bool) {
	who := contestWhy(v, now)
	if who == "" {
		return Decision{}, false
	}
	if stop, _ := dueLeftover(v, now, oldInstances(v, now)); stop != nil {
		return *stop, true
	}
	d := held(GateVerdict, fmt.Sprintf("epoch %d is not verified while %s", v.Status.Epoch, who), true)
	d.LookAgainAt = now.Add(progressPause)
	return d, true
}

// answering shuts the replaced epoch that may be the one that answers out of its volumes
// once more: it was shut out when it was proved dead, and shows life.
func answering(v View, now time.Time) []Decision {
	a, is := contested(v, now)
	if !is {
		return nil
	}
	old := Watching(v)
	if len(old) == 0 || old[0].Epoch == 0 {
		return nil // of epoch 0 nothing was ever let in
	}
	var out []Decision
	for _, vol := range v.Server.Spec.Identity.Volumes {
		if !vol.OnArray() {
			continue
		}
		why := fmt.Sprintf("epoch %d was replaced by %d and somebody else answers for %s: %s", old[0].Epoch, v.Status.Epoch, a.IP, shutWhy(vol, old[0].Epoch))
		out = append(out, Decision{Reason: why, Step: &fleet.Step{
			Kind: fleet.StepSeal, Server: v.Server.Name, Epoch: old[0].Epoch, Object: fleet.Object{Volume: vol.Name},
			Within: fleet.Duration(callWithin), Why: why,
		}})
	}
	return inOneOrder(out)
}
