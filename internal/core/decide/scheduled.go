package decide

import (
	"slices"
	"time"

	"relight/internal/core/fleet"
)

// Unheard returns what a platform has announced and nobody was told of yet, in its order.
// What was moved to another time is news, too.
func Unheard(told, seen []fleet.Scheduled) []fleet.Scheduled {
	var news []fleet.Scheduled
	for _, s := range seen {
		same := func(o fleet.Scheduled) bool { return o.ID == s.ID && o.NotBefore.Equal(s.NotBefore) }
		if !slices.ContainsFunc(told, same) {
			news = append(news, s)
		}
	}
	return news
}

// CalledOff returns what people were told of and what is announced no more, though its
// time has not come. Only a whole look at a server whose instance runs can tell: an
// instance that is stopped has no announcements.
func CalledOff(told []fleet.Scheduled, o fleet.Observed, now time.Time) []fleet.Scheduled {
	runs := func(i fleet.Instance) bool { return i.State == fleet.InstanceRunning }
	if !o.Complete || !slices.ContainsFunc(o.Instances, runs) {
		return nil
	}
	var off []fleet.Scheduled
	for _, s := range told {
		still := func(a fleet.Scheduled) bool { return a.ID == s.ID }
		if now.Before(s.NotBefore) && !slices.ContainsFunc(o.Scheduled, still) {
			off = append(off, s)
		}
	}
	return off
}
