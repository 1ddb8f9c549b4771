package massheal

import (
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"testing"
)

func TestZZGrowth(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("GROW"))
	if err != nil {
		t.Skip()
	}
	runtime.LockOSThread()
	q, err := newQuiet(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	if err := q.live(t.Context(), settle); err != nil {
		t.Fatal(err)
	}
	show := func(name string) {
		f, _ := os.Create("/tmp/b3/" + name + ".prof")
		pprof.StartCPUProfile(f)
		q.cpu, q.passes = 0, 0
		q.live(t.Context(), watched)
		pprof.StopCPUProfile()
		t.Logf("%s: %.2f ms/s, %.0f passes/s", name, q.cpu.Seconds()*1e3/watched.Seconds(), float64(q.passes)/watched.Seconds())
	}
	show("steady")
	q.silent = n / 2
	q.live(t.Context(), fallen)
	show("held")
}
