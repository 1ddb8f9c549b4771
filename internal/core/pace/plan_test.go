package pace

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestCompileLayersAndInherits(t *testing.T) {
	plan, err := Compile([]Node{
		{Server: "web", Priority: 9, After: []string{"db"}, Within: time.Minute},
		{Server: "db", Priority: 1, After: []string{"disk"}},
		{Server: "disk"},
		{Server: "batch", Priority: 5, Within: time.Second},
	}, []Leg{{Uses: []string{"Run"}, Takes: 10 * time.Second, Gated: true}}, []API{api("Run", 1, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range plan.Order {
		got = append(got, fmt.Sprintf("%s:%d/%d@%s", p.Server, p.Priority, p.Wave, p.Back))
	}
	// The one that nobody waits for is not in the chain's way: it goes second.
	want(t, got, "disk:9/1@10s db:9/2@21s web:9/3@31s batch:5/1@11s")
	if len(plan.Late) != 1 || plan.Late[0].Server != "batch" || plan.Back != 31*time.Second {
		t.Errorf("late %v, back %s", plan.Late, plan.Back)
	}
}

func TestCompileRefuses(t *testing.T) {
	for _, c := range []struct {
		nodes []Node
		says  string
	}{
		{[]Node{{Server: "a", After: []string{"b"}}}, "waits for b, which is not there"},
		{[]Node{{Server: "a"}, {Server: "a"}}, "twice"},
		{[]Node{{Server: "a", After: []string{"b"}}, {Server: "b", After: []string{"a"}}}, "waits, through others"},
	} {
		if _, err := Compile(c.nodes, nil, nil); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v", c.nodes, err)
		}
	}
}

// What is foretold by the recurrence is what the machine does.
func TestForetoldIsWhatHappens(t *testing.T) {
	apis := []API{api("Run", 2, 5), {Name: "Stop", Requests: Bucket{PerSecond: 5, Burst: 10}, Resources: Bucket{PerSecond: 3, Burst: 20}, Batch: 10}}
	var nodes []Node
	m := New(Config{APIs: apis}, t0)
	for n := range 300 {
		nodes = append(nodes, Node{Server: fmt.Sprint(n), Priority: n % 3})
		m.Offer(work(fmt.Sprint(n), n%3, "Stop"), t0)
	}
	plan, err := Compile(nodes, []Leg{{Uses: []string{"Stop"}}, {Uses: []string{"Run"}}}, apis)
	if err != nil {
		t.Fatal(err)
	}
	var last time.Time
	drain(t, m, t0, func(w Work, now time.Time) {
		if w.Uses[0] == "Stop" {
			w.Uses, w.ID = []string{"Run"}, "run "+w.ID
			m.Offer(w, now)
		}
		last = now
	})
	if d := last.Sub(t0) - plan.Back; d.Abs() > time.Second {
		t.Errorf("foretold %s, took %s", plan.Back, last.Sub(t0))
	}
}
