package pace

import "time"

// Bucket is a token bucket: Burst tokens at once, PerSecond in the long run. The
// zero Bucket limits nothing.
type Bucket struct {
	PerSecond float64 `json:"perSecond"`
	Burst     float64 `json:"burst"`
}

// IsZero reports whether the bucket limits nothing.
func (b Bucket) IsZero() bool { return b.PerSecond <= 0 }

// API is one limited call of a platform, in one account and region.
type API struct {
	Name string `json:"name"`
	// Requests gives one token for each request, Resources one for each unit of
	// cost in it.
	Requests  Bucket `json:"requests"`
	Resources Bucket `json:"resources"`
	// Batch is how many works one request can carry; 0 and 1 mean one.
	Batch int `json:"batch,omitempty"`
}

// What is learnt of a quota that is smaller than it was said to be, or shared
// with others. A single refusal in suspectFor is taken for a passing fault.
const (
	suspectFor = 30 * time.Second
	// settleFor is how long further refusals are echoes of what was sent before.
	settleFor = 5 * time.Second
	cut       = 0.8
	least     = 0.02
	// The rate climbs back at quick, in parts of the nominal rate per second, up to
	// near the rate that was too much, and at slow beyond it: probing costs refusals.
	quick, slow = 0.002, 0.0002
	near        = 0.9
)

// level is a bucket as this side knows it.
type level struct {
	Bucket
	tokens float64
	at     time.Time
	// factor is the part of the nominal rate that is believed to be there; bad is
	// the one that last proved too much, 0 if none did.
	factor, bad     float64
	refused, lowest time.Time
}

func newLevel(b Bucket, now time.Time) *level {
	return &level{Bucket: b, tokens: b.Burst, at: now, factor: 1}
}

// fill lets time pass.
func (l *level) fill(now time.Time) {
	if !now.After(l.at) {
		return
	}
	d := now.Sub(l.at).Seconds()
	l.at = now
	l.tokens = min(l.Burst, l.tokens+d*l.PerSecond*l.factor)
	if l.factor == 1 {
		return
	}
	speed := slow
	if l.factor < near*l.bad {
		speed = quick
	}
	l.factor = min(1, l.factor+d*speed)
}

// rounding absorbs that of sums: a wait for exactly what is missing must end with
// it there.
const rounding = 1e-6

func (l *level) has(n float64) bool {
	return l == nil || l.IsZero() || l.tokens >= min(n, l.Burst)-rounding
}

func (l *level) use(n float64) {
	if l != nil {
		l.tokens -= n
	}
}

// missing is how long it takes until n tokens are there.
func (l *level) missing(n float64) time.Duration {
	if l.has(n) {
		return 0
	}
	d := (min(n, l.Burst) - l.tokens) / (l.PerSecond * l.factor)
	return max(time.Duration(d*float64(time.Second)), time.Microsecond)
}

// throttled notes that the platform refused a request for want of tokens: this
// side's count was too high, and if it happens again, so is its rate.
func (l *level) throttled(now time.Time) {
	l.fill(now)
	l.tokens = min(l.tokens, 0)
	before := l.refused
	l.refused = now
	if before.IsZero() || now.Sub(before) > suspectFor || now.Sub(l.lowest) < settleFor {
		return
	}
	l.bad, l.lowest = l.factor, now
	l.factor = max(least, l.factor*cut)
}
