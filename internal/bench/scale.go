package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"relight/internal/bench/massheal"
	"relight/internal/simulate"
)

// scaleSizes are the fleets of the scale part with the virtual time that each is
// watched for: what is small must be watched for longer to be measured at all.
var scaleSizes = []struct {
	servers int
	steady  time.Duration
}{{1_000, 30 * time.Minute}, {10_000, 10 * time.Minute}, {100_000, 2 * time.Minute}}

// The largest fleet needs memory.
const (
	scaleMost      = 1_000_000
	scaleMostNeeds = 11 << 30
)

// millionPace has a million servers swept every fifteen seconds.
const millionPace = 15

// lossSize is the fleet that loses a zone.
const lossSize = 10_000

// scaleRows runs the real controller over simulated fleets, in virtual time: what a
// server costs in memory and in time, how that grows, and what the loss of a zone
// costs.
func scaleRows(ctx context.Context, opt Options) ([]Row, error) {
	var rows []Row
	var runs []simulate.FleetReport
	for _, size := range scaleSizes {
		if err := ctx.Err(); err != nil {
			return rows, err
		}
		rep, err := simulate.Fleet(simulate.FleetOptions{Servers: size.servers, Seed: 1, Steady: size.steady, Progress: opt.progress()})
		if err != nil {
			return rows, fmt.Errorf("%d servers: %w", size.servers, err)
		}
		if len(rep.Violations) > 0 {
			return rows, fmt.Errorf("%d servers: %s", size.servers, rep.Violations[0])
		}
		runs, rows = append(runs, rep), append(rows, fleetRows(rep)...)
		runtime.GC() // the next one must not grow on top of this one
	}
	rows = append(append(rows, growthRows(runs)...), lookupRows()...)
	for _, more := range []func(Options) ([]Row, error){lossRows, quotaRows} {
		got, err := more(opt)
		if err != nil {
			return rows, err
		}
		rows = append(rows, got...)
	}
	return rows, nil
}

// millionRows run the largest fleet through the loss of a zone, with a small one
// beside it for the growth.
func millionRows(ctx context.Context, opt Options) ([]Row, error) {
	if free := freeMemory(); free < scaleMostNeeds {
		return nil, fmt.Errorf("a million servers need %d GiB of memory, %d are free", scaleMostNeeds>>30, free>>30)
	}
	small, err := simulate.Fleet(simulate.FleetOptions{Servers: scaleSizes[0].servers, Seed: 1, Steady: scaleSizes[0].steady, Progress: opt.progress()})
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	rep, err := simulate.Fleet(simulate.FleetOptions{Servers: scaleMost, Fault: "az-loss", Seed: 1, Progress: opt.progress()})
	if err != nil {
		return nil, err
	}
	rows := append(fleetRows(rep), growthRows([]simulate.FleetReport{small, rep})...)
	rows = append(rows, lossOf(rep)...)
	runtime.GC()
	held, err := massheal.HalfDown(ctx, scaleMost, millionPace)
	if err != nil {
		return rows, err
	}
	return append(append(rows, held...),
		Row{Name: fmt.Sprintf("fleet of %d: from the start to the last figure", rep.Servers), Value: time.Since(begun).Seconds(), Unit: "s", Goal: "<= 900"},
		Row{Name: fmt.Sprintf("fleet of %d: largest size of the process", rep.Servers), Value: float64(rep.Peak) / (1 << 30), Unit: "GiB", Goal: "<= 20"},
	), nil
}

// lookupRows are what one look-up by a server's name costs, one after the other in no
// order, as servers become due: what the growth of a look is made of. The table is
// the runtime's own, so nothing of ours can be in it.
func lookupRows() []Row {
	const tries = 2_000_000
	var rows []Row
	for _, n := range []int{1_000, 100_000, 1_000_000} {
		names, table := make([]string, n), make(map[string]*[8]int, n)
		for i := range names {
			names[i] = fmt.Sprintf("server-%07d", i)
			table[strings.Clone(names[i])] = &[8]int{i}
		}
		sum, begun := 0, time.Now()
		for i := range tries {
			sum += table[names[i*7919%n]][0]
		}
		took := time.Since(begun)
		runtime.KeepAlive(sum)
		rows = append(rows, Row{Name: fmt.Sprintf("look-up of one name among %d", n), Value: float64(took.Nanoseconds()) / tries, Unit: "ns"})
	}
	return rows
}

// quotaSize is the fleet of which half is lost under the quotas of a cloud.
const quotaSize = 1_000

// quotaRows let the real healer bring half a fleet back under EC2's default quotas.
func quotaRows(opt Options) ([]Row, error) {
	rep, err := simulate.Fleet(simulate.FleetOptions{
		Servers: quotaSize, Fault: "half", Seed: 1, Quotas: true, Steady: time.Minute, For: 10 * time.Minute, After: -1, Progress: opt.progress(),
	})
	if err != nil {
		return nil, err
	}
	if len(rep.Violations) > 0 {
		return nil, fmt.Errorf("half a fleet under quotas: %s", rep.Violations[0])
	}
	healed := 0
	for _, p := range rep.Phases {
		healed += p.Healed
	}
	name := func(text string) string { return fmt.Sprintf("the real healer under EC2's quotas: %s", text) }
	return []Row{
		against(Row{Name: name(fmt.Sprintf("%d of %d servers", healed, quotaSize/2)), Value: rep.LastHealed.Sub(rep.FirstBegun).Seconds(), Unit: "s", Goal: "<= 1.05 x floor"},
			"floor of the quotas", simulate.QuotaFloor(quotaSize/2).Seconds()),
		{Name: name("refused for want of tokens"), Value: 100 * rep.Throttled, Unit: "% of calls", Goal: "<= 1"},
	}, nil
}

func fleetRows(rep simulate.FleetReport) []Row {
	name := func(text string) string { return fmt.Sprintf("fleet of %d: %s", rep.Servers, text) }
	each := func(n uint64) float64 { return float64(n) / float64(rep.Servers) }
	p := rep.Phases[0]
	return []Row{
		{Name: name("controller heap per server"), Value: each(rep.Bytes.Controller), Unit: "B", Goal: "<= 2048"},
		{Name: name("store heap per server"), Value: each(rep.Bytes.Store), Unit: "B"},
		{Name: name("world heap per server"), Value: each(rep.Bytes.World), Unit: "B"},
		{Name: name("CPU per server-hour"), Value: ms(p.PerServerHour(rep.Servers)), Unit: "ms"},
		{Name: name("events, sights and passes"), Value: float64(p.All()) / max(p.CPU.Seconds(), 1e-3), Unit: "/CPU-s"},
		{Name: name("scan of all deadlines"), Value: ms(rep.Scan), Unit: "ms"},
		{Name: name("sweep of all servers"), Value: ms(rep.Sweep), Unit: "ms"},
		{Name: name("controller start, all read from the store"), Value: rep.Load.Seconds(), Unit: "s"},
	}
}

// growthRows are the slopes on logarithmic scales: 0 is a cost for each server that
// does not depend on how many there are.
func growthRows(runs []simulate.FleetReport) []Row {
	slope := func(name string, of func(simulate.FleetReport) float64) Row {
		return Row{
			Name:  fmt.Sprintf("growth of %s, %d to %d", name, runs[0].Servers, runs[len(runs)-1].Servers),
			Value: logSlope(runs, of), Unit: "log-log", Goal: "<= 0.05",
		}
	}
	return []Row{
		slope("CPU per server-hour", func(r simulate.FleetReport) float64 { return float64(r.Phases[0].PerServerHour(r.Servers)) }),
		slope("controller heap per server", func(r simulate.FleetReport) float64 { return float64(r.Bytes.Controller) / float64(r.Servers) }),
		slope("world heap per server", func(r simulate.FleetReport) float64 { return float64(r.Bytes.World) / float64(r.Servers) }),
	}
}

// logSlope fits a line through the logarithms of the values over those of the sizes.
func logSlope(runs []simulate.FleetReport, of func(simulate.FleetReport) float64) float64 {
	var n, sx, sy, sxx, sxy float64
	for _, r := range runs {
		x, y := math.Log10(float64(r.Servers)), math.Log10(max(of(r), 1e-9))
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	if d := n*sxx - sx*sx; d != 0 {
		return (n*sxy - sx*sy) / d
	}
	return 0
}

// lossRows let a zone die.
func lossRows(opt Options) ([]Row, error) {
	rep, err := simulate.Fleet(simulate.FleetOptions{Servers: lossSize, Fault: "az-loss", Seed: 1, Progress: opt.progress()})
	if err != nil {
		return nil, err
	}
	if len(rep.Violations) > 0 {
		return nil, fmt.Errorf("the loss of a zone: %s", rep.Violations[0])
	}
	return lossOf(rep), nil
}

// lossOf compares what the loss of a zone costs with what a fleet costs that is well.
func lossOf(rep simulate.FleetReport) []Row {
	var healed int
	var cpu time.Duration
	var hours float64
	for _, p := range rep.Phases[1:] {
		healed, cpu, hours = healed+p.Healed, cpu+p.CPU, hours+p.Virtual.Hours()
	}
	name := func(text string) string { return fmt.Sprintf("zone of %d servers lost: %s", rep.Servers, text) }
	steady := rep.Phases[0].PerServerHour(rep.Servers)
	all := float64(cpu) / float64(rep.Servers) / hours
	more := max(cpu-time.Duration(float64(steady)*float64(rep.Servers)*hours), 0)
	return []Row{
		{Name: name("recoveries healed"), Value: float64(healed), Unit: "recoveries"},
		{Name: name("promises broken"), Value: float64(len(rep.Violations)), Unit: "", Goal: "0"},
		{Name: name("neither healthy nor held"), Value: float64(rep.Stuck), Unit: "servers", Goal: "0"},
		{Name: name("CPU per recovery, beyond what a fleet costs that is well"), Value: ms(more) / float64(max(healed, 1)), Unit: "ms"},
		against(Row{Name: name("CPU per server-hour, recoveries and all"), Value: all / 1e6, Unit: "ms", Goal: "<= 1.3x"}, "the same fleet when all is well", ms(steady)),
	}
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

func (o Options) progress() io.Writer {
	if o.Progress == nil {
		return io.Discard
	}
	return o.Progress
}

// freeMemory is what the system could give to a process now; 0 if it does not say.
func freeMemory() uint64 {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if text, ok := strings.CutPrefix(s.Text(), "MemAvailable:"); ok {
			kib, _ := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(text), " kB"), 10, 64)
			return kib << 10
		}
	}
	return 0
}
