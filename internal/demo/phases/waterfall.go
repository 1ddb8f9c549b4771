package phases

import (
	"fmt"
	"strings"
	"time"
)

// barWidth is the width of a waterfall in characters.
const barWidth = 50

// Waterfall draws the phases of a healing, each where it lies in time, and sums up.
func Waterfall(h Healing, r Result) string {
	return Bars(h) + fmt.Sprintf("  healed after %.1f ms; the policy asks for %.1f ms of it, the launch took %.1f ms, overhead %.1f ms\n",
		float64(r.Heal), float64(MillisOf(h.Floor)), float64(r.Launch), float64(r.Overhead))
}

// Bars draws the phases of a healing, each where it lies in time.
func Bars(h Healing) string {
	var b strings.Builder
	total := h.Heal()
	where := fmt.Sprintf("%s stays on %s", h.Server, h.After.Host)
	switch {
	case h.Before.Host != h.After.Host:
		where = fmt.Sprintf("%s goes from %s to %s", h.Server, h.Before.Host, h.After.Host)
	case h.After.Host == "": // a platform tells of no hosts
		where = h.Server
	}
	fmt.Fprintf(&b, "  %s, epoch %d → %d\n", where, h.Before.Epoch, h.After.Epoch)
	for _, s := range h.spans() {
		fmt.Fprintf(&b, "  %-7s|%s| %7.1f ms\n", s.name, bar(s, total), float64(MillisOf(s.end-s.begun)))
	}
	return b.String()
}

// bar draws one phase; even the shortest is seen.
func bar(s span, total time.Duration) string {
	if total <= 0 {
		return strings.Repeat(" ", barWidth)
	}
	at := func(d time.Duration) int { return min(max(int(d*barWidth/total), 0), barWidth) }
	from, to := min(at(s.begun), barWidth-1), at(s.end)
	if to <= from {
		to = from + 1
	}
	return strings.Repeat(" ", from) + strings.Repeat("#", to-from) + strings.Repeat(" ", barWidth-to)
}
