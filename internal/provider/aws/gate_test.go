package aws_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"relight/internal/core/pace"
	"relight/internal/provider"
	"relight/internal/provider/aws"
)

func gate(burst, perSecond float64) *aws.Gate {
	return aws.NewGate([]pace.API{{Name: "DescribeInstances", Requests: pace.Bucket{Burst: burst, PerSecond: perSecond}}}, provider.WallClock{})
}

// Reads go as fast as tokens flow, whoever waits, and others pass freely.
func TestGateKeepsToItsBucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, begun := gate(10, 5), time.Now()
		var wg sync.WaitGroup
		for range 30 {
			wg.Go(func() {
				if err := g.Pass(t.Context(), "DescribeInstances"); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if d := time.Since(begun).Round(10 * time.Millisecond); d != 4*time.Second {
			t.Errorf("30 reads took %s, want 4s", d)
		}
		for range 100 {
			if err := g.Pass(t.Context(), "DescribeTags"); err != nil || time.Since(begun) > 4010*time.Millisecond {
				t.Fatal("a read without a bucket waits")
			}
		}
	})
}

// Who gives up leaves its token to the next one.
func TestGateGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate(1, 1)
		_ = g.Pass(t.Context(), "DescribeInstances")
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := g.Pass(ctx, "DescribeInstances"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("err %v", err)
		}
		begun := time.Now()
		_ = g.Pass(t.Context(), "DescribeInstances")
		if d := time.Since(begun); d > 910*time.Millisecond {
			t.Errorf("the next one waited %s", d)
		}
	})
}
