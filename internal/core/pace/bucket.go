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

// What is learnt of a quota that is smaller than it was said to be, or shared with
// others. Refusals come now and then for no want of tokens; what tells is that the
// request after one is refused too, though it waited for a whole token, or that
// many of the last ones were.
const (
	// soon is how many requests after a refusal a second one is no accident.
	soon = 2
	// of the last window requests, many refusals are no accident.
	window = 100
	many   = 4
	// The rate is cut by hard for the first, by soft for the second.
	hard, soft = 0.8, 0.9
	least      = 0.02
	// The rate climbs back at quick, in parts of the nominal rate per second, up to
	// near the rate that was too much, and at slow beyond it: probing costs refusals.
	quick, slow = 0.002, 0.0001
	near        = 0.9
)

// level is a bucket as this side knows it.
type level struct {
	Bucket
	tokens float64
	at     time.Time
	// factor is the part of the nominal rate that is believed to be there; bad is
	// the one that last proved too much, 0 if none did.
	factor, bad float64
	// sent counts requests; refused lists its value at the last refusals.
	sent    int
	refused [many]int
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
		l.sent++
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
	last, first := l.refused[many-1], l.refused[0]
	if last != 0 && l.sent == last {
		return // an echo: it was sent before the last refusal was known
	}
	copy(l.refused[:], l.refused[1:])
	l.refused[many-1] = l.sent
	switch {
	case last != 0 && l.sent-last <= soon:
		l.cut(hard)
	case first != 0 && l.sent-first < window:
		l.cut(soft)
	}
}

func (l *level) cut(to float64) {
	l.bad = l.factor
	l.factor = max(least, l.factor*to)
	l.refused = [many]int{many - 1: l.sent}
}
