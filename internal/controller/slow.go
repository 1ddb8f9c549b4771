package controller

import (
	"fmt"
	"time"

	"relight/internal/api/client"
)

// slowAfter is the length of a sweep from which on people are told of it: what it saw
// is judged by its own length then; see fleet.Observed.Lag.
const slowAfter = 8 * time.Second

// slowSweep is the last sweep of a provider that took long.
type slowSweep struct {
	servers int
	took    time.Duration
}

// Swept notes how long a sweep took, and reports whether it is the first that took long.
func (c *Collector) Swept(provider string, servers int, took time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, was := c.slow[provider]
	if took < slowAfter {
		delete(c.slow, provider)
		return false
	}
	if c.slow == nil {
		c.slow = map[string]slowSweep{}
	}
	c.slow[provider] = slowSweep{servers, took}
	return !was
}

// checkSweeps names the providers whose sweeps take long.
func (c *Collector) checkSweeps() client.DoctorCheck {
	c.mu.RLock()
	defer c.mu.RUnlock()
	check := client.DoctorCheck{Name: "sweeps", State: client.DoctorOK, Detail: fmt.Sprintf("none takes longer than %s", slowAfter)}
	for _, name := range sortedKeys(c.slow) {
		s := c.slow[name]
		check.State = client.DoctorWarn
		check.Detail = fmt.Sprintf("to look at %d servers of %s takes %s, so that a failure is noticed up to %s later than the rules say", s.servers, name, s.took.Round(time.Second), (2 * s.took).Round(time.Second))
		check.Next = "raise the quotas of the describe calls (relight controller --aws-quota), or spread the servers over several controllers and accounts"
	}
	return check
}
