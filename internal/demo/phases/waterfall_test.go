package phases

import (
	"flag"
	"os"
	"testing"
	"time"

	"relight/internal/core/fleet"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestWaterfall(t *testing.T) {
	fault := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(ms int) time.Time { return fault.Add(time.Duration(ms) * time.Millisecond) }
	h := Healing{
		Server: "web-5", Fault: fault, Ended: at(3300), Acked: at(3200), Floor: 2900 * time.Millisecond,
		Before: fleet.Status{Host: "host-3", Epoch: 1}, After: fleet.Status{Host: "host-2", Epoch: 2},
		Recovery: fleet.Recovery{Begun: at(2980), Marks: []fleet.Mark{
			{Name: "fence", Begun: at(2981), Ended: at(3160)},
			{Name: "attach", Begun: at(3161), Ended: at(3200)},
			{Name: "launch", Begun: at(3201), Ended: at(3212)},
		}},
	}
	r := h.Result("host-cut-off")
	if want := (Result{Name: "host-cut-off", Healed: true, Times: Times{Detect: 2980, Fence: 179, Attach: 39, Launch: 11, Verify: 88, Heal: 3300}, Overhead: 389}); r != want {
		t.Errorf("result %+v\nwant   %+v", r, want)
	}
	got := Waterfall(h, r)
	// The client may be the last to see it, and a recovery may need no fence.
	h.Acked, h.After = at(3400), fleet.Status{Host: "host-3", Epoch: 2}
	h.Recovery.Marks = h.Recovery.Marks[1:]
	r = h.Result("host-cut-off")
	if r.Heal != 3400 || r.Fence != 0 || r.Verify != 88 {
		t.Errorf("result %+v", r)
	}
	got += Waterfall(h, r)
	const golden = "testdata/waterfall.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestBarsStayInTheirFrame(t *testing.T) {
	const total = 100 * time.Millisecond
	for _, s := range []span{{"", 0, 0}, {"", 0, total}, {"", total, total}, {"", -total, 3 * total}, {"", 2 * total, 3 * total}} {
		if b := bar(s, total); len(b) != barWidth {
			t.Errorf("%+v: %q has %d characters", s, b, len(b))
		}
	}
	if b := bar(span{}, 0); len(b) != barWidth {
		t.Errorf("%q", b)
	}
}
