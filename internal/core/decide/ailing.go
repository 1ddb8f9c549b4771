package decide

import (
	"time"

	"relight/internal/core/fleet"
)

// Ailing is since when a server has not been healthy, once a finding about it is recorded.
// A doubt begins nothing and ends nothing. What a finding says of the time before it was
// told counts for nothing: it may have been healthy meanwhile.
func Ailing(s fleet.Status, verdict fleet.Verdict, now time.Time) time.Time {
	switch verdict {
	case fleet.Healthy:
		return time.Time{}
	case fleet.Suspect, fleet.Unknown:
		return s.AilingSince
	default:
		if s.AilingSince.IsZero() {
			return now
		}
		return s.AilingSince
	}
}

// WellUntil is until when a server may have worked, once a finding about it is recorded:
// until it ceased to be healthy, or until nobody could tell any more of one that was not
// down. A controller that stood still does not know what became of a host meanwhile that
// was only cut off before.
func WellUntil(s fleet.Status, verdict fleet.Verdict, now time.Time) time.Time {
	ceased := s.Verdict == fleet.Healthy && verdict != fleet.Healthy
	lost := verdict == fleet.Unknown && s.Verdict != fleet.Unknown && s.Verdict != fleet.Down
	if ceased || lost {
		return now
	}
	return s.WellUntil
}
