package controller

import (
	"testing"
	"time"

	"relight/internal/core/detect"
	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// While one server is looked at before its step, the others must keep their places.
func TestLookAtOneServerKeepsTheReachOfOthers(t *testing.T) {
	now := time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)
	c := NewCollector(now, time.Second)
	sweep := func(reaches map[string][]string, servers ...string) {
		s := provider.Sweep{At: now, Hosts: []provider.HostSight{{Host: fleet.Host{Name: "host-1"}, Reaches: reaches}}}
		for _, name := range servers {
			s.Servers = append(s.Servers, provider.ServerSight{Observed: fleet.Observed{Server: name, At: now}})
		}
		c.Take(s)
	}
	reached := func(server string) int { return len(c.Hosts(server, now)[0].Reaches) }
	sweep(map[string][]string{"db": {"data"}, "web": {"data"}}, "db", "web")
	sweep(map[string][]string{"db": {"data"}}, "db")
	if reached("db") != 1 || reached("web") != 1 {
		t.Errorf("after a look at db the host reaches %d volumes of db and %d of web, want 1 and 1", reached("db"), reached("web"))
	}
	sweep(map[string][]string{}, "db")
	if reached("db") != 0 || reached("web") != 1 {
		t.Errorf("after db's volume went the host reaches %d volumes of db and %d of web, want 0 and 1", reached("db"), reached("web"))
	}
	c.Forget("web")
	if reached("web") != 0 {
		t.Error("the volumes of a forgotten server are still reached")
	}
}

// The first host that is heard again after a cut of our own must not make dead ones
// of all the others, and one host alone is never doubted away.
func TestTheEndOfOurOwnCutKillsNobody(t *testing.T) {
	start := time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)
	c := NewCollector(start, time.Second)
	look := func(after time.Duration, heard map[string]time.Duration) detect.Observer {
		s := provider.Sweep{At: start.Add(after)}
		for _, name := range sortedKeys(heard) {
			at := start.Add(heard[name])
			s.Hosts = append(s.Hosts, provider.HostSight{Host: fleet.Host{Name: name}, Signals: []fleet.Signal{{
				Source: fleet.Source{Channel: fleet.ChannelBeat, Vantage: "controller"}, Question: fleet.Alive, Answer: fleet.Yes, At: at, Since: at,
			}}})
		}
		c.Take(s)
		var known Known
		c.Seen("db", "host-1", &known)
		return known.Observer
	}
	const ms = time.Millisecond
	if o := look(100*ms, map[string]time.Duration{"host-1": 50 * ms}); !o.DeafAt.IsZero() || !o.Heard.IsZero() {
		t.Errorf("with one host: %+v, want no doubt", o)
	}
	if o := look(900*ms, map[string]time.Duration{"host-1": 800 * ms, "host-2": 850 * ms}); !o.DeafAt.IsZero() || !o.Heard.Equal(start.Add(850*ms)) {
		t.Errorf("while both are heard: %+v, want them heard and no doubt", o)
	}
	look(1400*ms, map[string]time.Duration{"host-1": 800 * ms, "host-2": 850 * ms})
	o := look(5000*ms, map[string]time.Duration{"host-1": 800 * ms, "host-2": 4950 * ms})
	if !o.DeafAt.Equal(start.Add(1400 * ms)) {
		t.Errorf("one is heard again: silence counts from %s, want from the last look that heard nobody", o.DeafAt.Sub(start))
	}
}

// A held server is looked at seldom. That it is heard again is told, though it says
// the same as before its silence; of one that rests it is no news.
func TestAHeldServerThatIsHeardAgainIsNews(t *testing.T) {
	start := time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)
	c := NewCollector(start, time.Second)
	heard := func(after time.Duration, answer fleet.Answer) []string {
		at := start.Add(after)
		return c.Take(provider.Sweep{At: at, Servers: []provider.ServerSight{{
			Observed: fleet.Observed{Server: "db", At: at},
			Signals:  []fleet.Signal{{Source: fleet.Source{Channel: fleet.ChannelBeat, Vantage: "controller"}, Question: fleet.Alive, Answer: answer, At: at, Since: start}},
		}}})
	}
	for _, step := range []struct {
		after  time.Duration
		held   bool
		answer fleet.Answer
		news   int
	}{
		{0, false, fleet.Yes, 1},
		{5 * time.Second, false, fleet.Yes, 0},
		{10 * time.Second, true, fleet.Yes, 1},
		{10500 * time.Millisecond, true, fleet.Yes, 0},
		{11 * time.Second, true, fleet.No, 1},
		{20 * time.Second, true, fleet.No, 0},
		{30 * time.Second, false, fleet.No, 0},
	} {
		c.Hold("db", step.held)
		if got := heard(step.after, step.answer); len(got) != step.news {
			t.Errorf("after %s, held %v, it says %s: news of %v, want %d", step.after, step.held, step.answer, got, step.news)
		}
	}
}

// A look at one server that finds a host heard again is news for all that it runs.
func TestALookAtOneServerIsNewsForItsNeighbours(t *testing.T) {
	start := time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)
	c := NewCollector(start, time.Second)
	look := func(at time.Time) {
		c.TakeFor([]fleet.Server{{Name: "db"}}, provider.Sweep{At: at, Hosts: []provider.HostSight{{
			Host: fleet.Host{Name: "host-1"}, Servers: []string{"db", "web"},
			Signals: []fleet.Signal{{Source: fleet.Source{Channel: fleet.ChannelBeat, Vantage: "controller"}, Question: fleet.Alive, Answer: fleet.Yes, At: at, Since: start}},
		}}})
	}
	look(start)
	c.News()
	look(start.Add(500 * time.Millisecond))
	if got := c.News(); len(got) != 0 {
		t.Errorf("a host that was heard all along is news for %v", got)
	}
	look(start.Add(10 * time.Second))
	if got := c.News(); len(got) != 1 || got[0] != "web" {
		t.Errorf("a host that is heard again is news for %v, want web", got)
	}
}

// A look that fails before a step leaves a long sweep's facts no room for their age.
func TestAFailedLookLeavesNoRoom(t *testing.T) {
	now := time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)
	c := NewCollector(now, time.Second)
	lag := func() time.Duration {
		var known Known
		c.Seen("db", "", &known)
		return known.Observed.Lag.Std()
	}
	sweep := provider.Sweep{At: now, Servers: []provider.ServerSight{{Observed: fleet.Observed{Server: "db", At: now, Lag: fleet.Duration(15 * time.Second)}}}}
	c.Take(sweep)
	if lag() != 15*time.Second {
		t.Errorf("lag %s", lag())
	}
	c.Unseen("db")
	if lag() != 0 {
		t.Errorf("lag %s after a look that failed", lag())
	}
	c.Take(sweep)
	if lag() != 15*time.Second {
		t.Errorf("lag %s after the next sweep", lag())
	}
}
