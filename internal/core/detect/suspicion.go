package detect

import (
	"math"
	"time"
)

// Suspicion says how long a silence must last before it counts as death. It
// starts at longest and falls with each independent witness that agrees, down to
// shortest when wanted of them do; an observer that is itself unwell stretches
// it by its unwellness (1 = well). The logarithm is Lifeguard's: the first
// witness counts most.
func Suspicion(longest, shortest time.Duration, agree, wanted int, unwellness float64) time.Duration {
	if unwellness < 1 {
		unwellness = 1
	}
	d := longest
	if wanted > 0 && agree > 0 {
		share := math.Log(float64(agree)+1) / math.Log(float64(wanted)+1)
		d = longest - time.Duration(share*float64(longest-shortest))
	}
	if d < shortest {
		d = shortest
	}
	return time.Duration(float64(d) * unwellness)
}
