package bench

import (
	"context"
	"time"

	"relight/internal/controller"
)

const (
	deadlines = 1_000_000
	scans     = 100
)

// scanRows measures one scan of a million deadlines, of which none is due: that is
// the cost that is always there.
func scanRows(context.Context, Options) ([]Row, error) {
	d := controller.NewDeadlines()
	now := time.Now()
	for i := range deadlines {
		d.Set(serverName(i), now.Add(time.Hour+time.Duration(i)))
	}
	var took []time.Duration
	for range scans {
		begun := time.Now()
		d.Take(now)
		took = append(took, time.Since(begun))
	}
	ms := func(q float64) float64 { return quantile(took, q).Seconds() * 1e3 }
	return []Row{
		{Name: "scan of 1,000,000 deadlines, p50", Value: ms(0.5), Unit: "ms"},
		{Name: "scan of 1,000,000 deadlines, p99", Value: ms(0.99), Unit: "ms"},
	}, nil
}
