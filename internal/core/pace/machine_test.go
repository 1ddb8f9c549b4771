package pace

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(s float64) time.Time { return t0.Add(time.Duration(s * float64(time.Second))) }

func api(name string, perSecond, burst float64) API {
	return API{Name: name, Requests: Bucket{PerSecond: perSecond, Burst: burst}}
}

func work(id string, priority int, uses ...string) Work {
	return Work{ID: id, Server: id, Uses: uses, Priority: priority}
}

// drain takes until nothing waits and returns the works with the second at which
// each went, such as "a@0.5".
func drain(t *testing.T, m *Machine, now time.Time, done func(Work, time.Time)) []string {
	t.Helper()
	var out []string
	for range 100_000 {
		grants := m.Take(now)
		for _, g := range grants {
			for _, w := range g.Works {
				out = append(out, fmt.Sprintf("%s@%.4g", w.ID, now.Sub(t0).Seconds()))
				if done != nil {
					done(w, now)
				}
			}
		}
		next := m.Next(now)
		if m.Waiting() == 0 || next.IsZero() {
			return out
		}
		if !next.After(now) && len(grants) == 0 {
			t.Fatalf("Next says now (%s) and Take gives nothing", now.Sub(t0))
		}
		now = next
	}
	t.Fatal("it does not end")
	return nil
}

func want(t *testing.T, got []string, wanted string) {
	t.Helper()
	if s := strings.Join(got, " "); s != wanted {
		t.Errorf("got  %s\nwant %s", s, wanted)
	}
}

func TestGoesByPriorityThenAge(t *testing.T) {
	m := New(Config{APIs: []API{api("Run", 2, 1)}}, t0)
	for _, w := range []Work{work("low-1", 1, "Run"), work("low-2", 1, "Run"), work("high", 9, "Run")} {
		m.Offer(w, t0)
	}
	if m.Offer(work("high", 0, "Run"), t0) {
		t.Error("a second offer of the same work was taken")
	}
	late := work("low-0", 1, "Run")
	late.Rank = -1
	m.Offer(late, t0)
	want(t, drain(t, m, t0, nil), "high@0 low-0@0.5 low-1@1 low-2@1.5")
}

// A work that waits is passed only by those that began to wait at most Age times
// the difference of priorities later (L4).
func TestNobodyIsPassedForLongerThanTheBound(t *testing.T) {
	m := New(Config{APIs: []API{api("Run", 1, 1)}}, t0)
	m.Offer(work("low", 1, "Run"), t0)
	bound := 8 * Age
	now := t0
	for n := range 1000 {
		m.Offer(work(fmt.Sprint("high-", n), 9, "Run"), now)
		for _, g := range m.Take(now) {
			if g.Works[0].ID != "low" {
				continue
			}
			if late := now.Sub(t0); late > bound+time.Second || late < bound-time.Second {
				t.Errorf("it went after %s, want %s", late, bound)
			}
			return
		}
		now = now.Add(time.Second)
	}
	t.Error("the low priority starves")
}

func TestTwoBucketsAreNotStarvedByOne(t *testing.T) {
	m := New(Config{APIs: []API{api("Run", 1, 1), api("Tag", 0.1, 1)}}, t0)
	m.Offer(work("both-1", 1, "Run", "Tag"), t0)
	m.Offer(work("both-2", 1, "Run", "Tag"), t0)
	m.Offer(work("one", 0, "Run"), t0)
	want(t, drain(t, m, t0, nil), "both-1@0 both-2@10 one@11")
	m.Offer(work("both-3", 1, "Run", "Tag"), at(12))
	m.Offer(work("one-2", 0, "Run"), at(12))
	if early := m.Take(at(15)); len(early) > 0 {
		t.Errorf("%v went before what waits for a second bucket", early)
	}
}

func TestResourcesAndBatches(t *testing.T) {
	stop := API{Name: "Stop", Requests: Bucket{PerSecond: 1, Burst: 2}, Resources: Bucket{PerSecond: 10, Burst: 5}, Batch: 4}
	m := New(Config{APIs: []API{stop}}, t0)
	for n := range 8 {
		m.Offer(work(fmt.Sprint(n), 0, "Stop"), t0)
	}
	var sizes []int
	for _, s := range []float64{0, 1} {
		for _, g := range m.Take(at(s)) {
			sizes = append(sizes, len(g.Works))
		}
	}
	if !slices.Equal(sizes, []int{4, 1, 3}) {
		t.Errorf("requests of %v works, want 4 by the batch, 1 by the resources, 3 by the rest", sizes)
	}
}

func TestWhatIsBegunIsFinishedFirst(t *testing.T) {
	m := New(Config{APIs: []API{api("Run", 1, 100)}, InProgress: 2}, t0)
	for n := range 5 {
		w := work(fmt.Sprint("run-", n), 0, "Run")
		w.Begins = true
		m.Offer(w, t0)
	}
	want(t, drain(t, m, t0, nil), "run-0@0 run-1@0")
	m.Offer(work("attach", 0, "Run"), at(1))
	m.Finished("run-0")
	want(t, drain(t, m, at(1), nil), "attach@1 run-2@1")
	again := work("run-1 again", 0, "Run")
	again.Server, again.Begins = "run-1", true
	m.Offer(again, at(2))
	want(t, drain(t, m, at(2), nil), "run-1 again@2")
	m.Short("", "run-2", at(3))
	want(t, drain(t, m, at(3), nil), "run-3@3")
	if m.Begun() != 2 {
		t.Errorf("%d are in progress", m.Begun())
	}
}

func TestAWaveBeginsWhenThoseBelowAreFinished(t *testing.T) {
	m := New(Config{APIs: []API{api("Run", 1, 100)}}, t0)
	for n := range 6 {
		m.Enlist(fmt.Sprint(n), 1+n/2)
	}
	for n := range 6 {
		w := work(fmt.Sprint(n), n, "Run")
		w.Wave = 1 + n/2
		m.Offer(w, t0)
	}
	want(t, drain(t, m, t0, nil), "1@0 0@0")
	m.Finished("0")
	want(t, drain(t, m, at(1), nil), "")
	m.Finished("1")
	m.Finished("1")
	want(t, drain(t, m, at(2), nil), "3@2 2@2")
	m.Finished("2")
	m.Finished("3")
	if m.Wave() != 3 {
		t.Errorf("wave %d is open", m.Wave())
	}
	want(t, drain(t, m, at(3), nil), "5@3 4@3")
}

// What was begun ahead of its wave must not take the room of those it waits for.
func TestRoomIsNotTakenByLaterWaves(t *testing.T) {
	m := New(Config{APIs: []API{api("Run", 1, 100)}, InProgress: 1}, t0)
	for n := range 3 {
		m.Enlist(fmt.Sprint(n), 1+n)
	}
	for _, n := range []int{2, 1, 0} {
		w := work(fmt.Sprint(n), 0, "Run")
		w.Begins = true
		m.Offer(w, t0)
		m.Take(t0)
	}
	if m.Waits("0") || !m.Waits("1") {
		t.Error("the first wave waits for the third, or the second does not")
	}
	m.Finished("0")
	want(t, drain(t, m, at(1), nil), "1@1")
}

func TestAPoolWithoutCapacityIsAskedByOne(t *testing.T) {
	m := New(Config{APIs: []API{api("Run", 1, 100)}}, t0)
	offer := func(id, pool string) {
		w := work(id, 0, "Run")
		w.Pool = pool
		m.Offer(w, t0)
	}
	offer("full-1", "full")
	offer("full-2", "full")
	offer("other", "other")
	m.Short("full", "", t0)
	first := m.Take(t0)
	if len(first) != 1 || first[0].Works[0].ID != "other" {
		t.Fatalf("took %v", first)
	}
	if next := m.Next(t0); !next.Equal(t0.Add(askAgain)) {
		t.Fatalf("asks again after %s", next.Sub(t0))
	}
	if probe := m.Take(t0.Add(askAgain)); len(probe) != 1 {
		t.Fatalf("asked with %v", probe)
	}
	m.Fits("full")
	want(t, drain(t, m, t0.Add(askAgain), nil), "full-2@10")
}

func TestWithdrawn(t *testing.T) {
	m := New(Config{APIs: []API{api("Run", 1, 1)}}, t0)
	m.Offer(work("a", 0, "Run"), t0)
	m.Offer(work("b", 0, "Run"), t0)
	m.Withdraw("a")
	want(t, drain(t, m, t0, nil), "b@0")
}

// limited is a platform with a bucket of its own.
type limited struct{ *level }

func (l limited) ask(now time.Time) bool {
	l.fill(now)
	if !l.has(1) {
		return false
	}
	l.use(1)
	return true
}

// A quota that is half of what was said must be learnt: few refusals, and most of
// what is there is used.
func TestLearnsASmallerQuota(t *testing.T) {
	const secs = 7200
	m := New(Config{APIs: []API{api("Run", 2, 5)}}, t0)
	there := limited{newLevel(Bucket{PerSecond: 1, Burst: 5}, t0)}
	for n := range 2 * secs {
		m.Offer(work(fmt.Sprint(n), 0, "Run"), t0)
	}
	passed, refused := 0, 0
	for now := t0; now.Before(at(secs)); {
		for _, g := range m.Take(now) {
			if there.ask(now) {
				passed++
				continue
			}
			refused++
			m.Throttled("Run", now)
			m.Offer(g.Works[0], now)
		}
		now = m.Next(now)
	}
	if share := float64(refused) / float64(passed+refused); share > 0.015 || passed < secs*9/10 {
		t.Errorf("%.2f %% refused, %d of %d passed", 100*share, passed, secs)
	}
}

// Refusals that come now and then, for no want of tokens, must not slow it down.
func TestASingleRefusalCostsNothingLasting(t *testing.T) {
	m := New(Config{APIs: []API{api("Run", 2, 5)}}, t0)
	for now := t0; now.Before(at(3600)); now = now.Add(time.Minute) {
		m.Throttled("Run", now)
	}
	if r := m.Rate("Run"); r != 2 {
		t.Errorf("rate %v", r)
	}
}

func TestHeadsAreTakenInOrderAtScale(t *testing.T) {
	m := New(Config{APIs: []API{api("Run", 2, 5)}}, t0)
	for n := range 10_000 {
		w := work(fmt.Sprint(n), n%5, "Run")
		w.Pool = fmt.Sprint(n % 8)
		m.Offer(w, t0)
	}
	last := 5
	var lastAt time.Time
	drain(t, m, t0, func(w Work, now time.Time) {
		if w.Priority > last {
			t.Fatalf("priority %d after %d", w.Priority, last)
		}
		last, lastAt = w.Priority, now
	})
	if d := lastAt.Sub(t0).Seconds(); d < 4997 || d > 4998 {
		t.Errorf("the last went after %v s", d)
	}
}

// One call in 400 is refused for nothing, as in any large platform.
func TestRareRefusalsAreNoSmallerQuota(t *testing.T) {
	m := New(Config{APIs: []API{api("Run", 5, 50)}}, t0)
	n := 0
	for range 20_000 {
		m.Offer(work(fmt.Sprint(n), 0, "Run"), t0)
		n++
	}
	sent := 0
	drain(t, m, t0, func(_ Work, now time.Time) {
		if sent++; sent%400 == 0 {
			m.Throttled("Run", now)
		}
	})
	if r := m.Rate("Run"); r != 5 {
		t.Errorf("rate %v", r)
	}
}
