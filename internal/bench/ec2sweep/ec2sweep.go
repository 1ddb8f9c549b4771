// Package ec2sweep measures what sweeps of a large EC2 account cost: the real provider
// and the real SDK against the fake endpoint, which runs in a process of its own, under
// EC2's default quotas.
package ec2sweep

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"runtime/metrics"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"relight/internal/beat/beatbench"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/provider/aws"
	"relight/internal/provider/aws/sdk"
	"relight/internal/provider/aws/stage"
)

// Servers is how many instances are swept.
const Servers = 100_000

// Rows measures sweeps of so many instances. It runs this program's own fake-aws.
func Rows(ctx context.Context, servers int) ([]beatbench.Row, error) {
	url, stop, err := endpoint(ctx, servers)
	if err != nil {
		return nil, err
	}
	defer stop()
	wire := &counter{}
	cloud := sdk.At(url, stage.Region, &http.Client{Transport: wire})
	gate := aws.NewGate(aws.DefaultQuotas().Reads(1), provider.WallClock{})
	p := aws.New(aws.Options{Cloud: cloud.Paced(gate), Region: stage.Region, Now: time.Now})
	list := specs(servers)
	var rows []beatbench.Row
	for _, which := range []string{"first", "next"} {
		one, err := measure(ctx, p, wire, list)
		if err != nil {
			return rows, err
		}
		name := func(what string) string { return fmt.Sprintf("ec2/%d instances/%s sweep/%s", servers, which, what) }
		rows = append(rows,
			beatbench.Row{Name: name("calls"), Value: float64(one.calls), Unit: "calls"},
			beatbench.Row{Name: name("refused calls"), Value: float64(one.refused), Unit: "calls", Goal: "0"},
			beatbench.Row{Name: name("time"), Value: one.took.Seconds(), Unit: "s"},
			beatbench.Row{Name: name("waited for tokens, at least"), Value: least(int(one.calls), which == "first").Seconds(), Unit: "s"},
			beatbench.Row{Name: name("CPU"), Value: one.cpu.Seconds(), Unit: "s"},
			beatbench.Row{Name: name("memory above the specs, at most"), Value: float64(one.peak) / 1e6, Unit: "MB"},
		)
	}
	return rows, nil
}

// least is how long the quota lets so many pages of two APIs take, one after the other:
// a hundred of each at once, then twenty a second; an empty bucket gives twenty only.
func least(calls int, full bool) time.Duration {
	burst := 0
	if full {
		burst = 100
	}
	return time.Duration(max(calls/2-burst, 0)) * time.Second / 20
}

// cost is what one sweep took.
type cost struct {
	calls, refused int64
	took, cpu      time.Duration
	peak           uint64
}

func measure(ctx context.Context, p *aws.Provider, wire *counter, list []fleet.Server) (cost, error) {
	runtime.GC()
	base := heap()
	peak, stop := watch(ctx)
	calls, refused, cpu, begun := wire.calls.Load(), wire.refused.Load(), used(), time.Now()
	sweep, err := p.Observe(ctx, list)
	out := cost{calls: wire.calls.Load() - calls, refused: wire.refused.Load() - refused, took: time.Since(begun), cpu: used() - cpu}
	stop()
	out.peak = peak.Load() - min(base, peak.Load())
	if err != nil {
		return out, err
	}
	for _, s := range sweep.Servers {
		if !s.Observed.Complete || len(s.Observed.Instances) != 1 || len(s.Observed.Volumes) != 1 || len(s.Signals) == 0 {
			return out, fmt.Errorf("server %s was not seen as it is: %+v", s.Observed.Server, s.Observed)
		}
	}
	return out, nil
}

// specs are the servers' documents, as a controller holds them.
func specs(servers int) []fleet.Server {
	out := make([]fleet.Server, servers)
	for n := range out {
		s := fleet.Server{Name: stage.ServerName(n)}
		s.Spec.Provider = aws.Name
		s.Spec.Identity.Volumes = []fleet.Volume{{Name: "data", ID: stage.VolumeID(n), Reach: fleet.ReachZone}}
		out[n] = s
	}
	return out
}

var printed = regexp.MustCompile(`AWS_ENDPOINT_URL=(\S+)`)

// endpoint starts a fake account and returns its address, and what ends it.
func endpoint(ctx context.Context, servers int) (url string, stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, self, "fake-aws", "--listen", "127.0.0.1:0", "--fleet", strconv.Itoa(servers))
	out, err := cmd.StdoutPipe()
	if err == nil {
		cmd.Stderr = os.Stderr
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		return "", nil, fmt.Errorf("start the fake account: %w", err)
	}
	stop = func() {
		cancel()
		_ = cmd.Wait() // it was killed, which is how it is to end
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if m := printed.FindStringSubmatch(lines.Text()); m != nil {
			return m[1], stop, nil
		}
	}
	stop()
	return "", nil, errors.New("the fake account ended before it served")
}

// counter counts the calls that go out, and those that were refused.
type counter struct{ calls, refused atomic.Int64 }

// RoundTrip implements http.RoundTripper.
func (c *counter) RoundTrip(r *http.Request) (*http.Response, error) {
	c.calls.Add(1)
	reply, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && reply.StatusCode == http.StatusServiceUnavailable {
		c.refused.Add(1)
	}
	return reply, err
}

// used is the CPU time of this process.
func used() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// heap is what lives on the heap, with what was not collected yet.
func heap() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// watch notes the largest heap until stop is called.
func watch(ctx context.Context) (*atomic.Uint64, func()) {
	ctx, cancel := context.WithCancel(ctx)
	var peak atomic.Uint64
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			peak.Store(max(peak.Load(), heap()))
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return &peak, func() {
		cancel()
		<-done
	}
}
