package aws

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"relight/internal/core/pace"
)

// With returns the quotas with rates, in requests a second, that AWS told of the
// account. The burst of one is not told: it is taken to be the documented one, or less
// in proportion if the rate is lower.
func (q Quotas) With(rates map[string]float64) Quotas {
	out := maps.Clone(q)
	for api, rate := range rates { // order: each is set by itself
		have, ours := out[api]
		if !ours || rate <= 0 {
			continue
		}
		burst := have.Requests.Burst * min(1, rate/have.Requests.PerSecond)
		have.Requests = pace.Bucket{Burst: max(burst, 1), PerSecond: rate}
		out[api] = have
	}
	return out
}

// Set changes one quota as people write it: API=BURST:PERSECOND.
func (q Quotas) Set(text string) error {
	api, rest, ok := strings.Cut(text, "=")
	burst, rate, two := strings.Cut(rest, ":")
	have, known := q[api]
	if !known {
		return fmt.Errorf("quota %q: no call of ours has that name; one of: %s", text, strings.Join(slices.Sorted(maps.Keys(q)), ", "))
	}
	b, err1 := strconv.ParseFloat(burst, 64)
	r, err2 := strconv.ParseFloat(rate, 64)
	if !ok || !two || err1 != nil || err2 != nil || !(b >= 1) || !(r > 0) || b > 1e6 || r > 1e6 {
		return fmt.Errorf("quota %q is not API=BURST:PERSECOND; try: %s=%g:%g", text, api, have.Requests.Burst, have.Requests.PerSecond)
	}
	have.Requests = pace.Bucket{Burst: b, PerSecond: r}
	q[api] = have
	return nil
}
