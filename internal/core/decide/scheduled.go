package decide

import (
	"slices"

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
