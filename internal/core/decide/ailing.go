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
