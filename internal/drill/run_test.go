package drill

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
)

// plant is an engine with two servers on two hosts, of which one can be broken.
type plant struct {
	mu     sync.Mutex
	status fleet.Status
	// other is the verdict on the server that is not drilled.
	other  fleet.Verdict
	storm  *fleet.StormRecord
	heals  bool
	lose   int
	mute   bool
	mended int
	ended  []fleet.DrillResult
	acked  int
	// backOff refuses drills until then.
	backOff time.Time
}

func newPlant() *plant {
	return &plant{
		heals: true, other: fleet.Healthy,
		status: fleet.Status{Server: "db", Phase: fleet.PhaseRunning, Epoch: 3, Host: "h1", VerifiedAt: time.Now().Add(-time.Hour)},
	}
}

func (p *plant) BeginDrill(_ context.Context, req client.DrillRequest) (fleet.Drill, error) {
	if req.Server != "db" {
		return fleet.Drill{}, client.NewProblem(client.CodeRefused, "%s may not be drilled", req.Server)
	}
	if time.Now().Before(p.backOff) {
		return fleet.Drill{}, client.NewProblem(client.CodeRefused, "db may not be drilled now").WithNotBefore(p.backOff)
	}
	return fleet.Drill{ID: "D-1", Name: req.Name, Server: "db", Host: "h1", Epoch: 3, Begun: time.Now(), Expected: req.Name.Expectation()}, nil
}

func (p *plant) EndDrill(_ context.Context, id string, r fleet.DrillResult) (fleet.Drill, error) {
	p.ended = append(p.ended, r)
	return fleet.Drill{ID: id, Result: r}, nil
}

func (p *plant) Server(context.Context, string) (client.ServerView, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return client.ServerView{Status: p.status}, nil
}

func (p *plant) Servers(context.Context, client.ListQuery) (client.List[client.ServerRow], error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return client.List[client.ServerRow]{Items: []client.ServerRow{
		{Name: "db", Verdict: fleet.Healthy, Phase: fleet.PhaseRunning, Host: p.status.Host, Epoch: p.status.Epoch},
		{Name: "web", Verdict: p.other, Phase: fleet.PhaseRunning, Host: "h2", Epoch: 1},
	}}, nil
}

func (p *plant) Hosts(context.Context) (client.List[client.HostRow], error) {
	return client.List[client.HostRow]{Items: []client.HostRow{{Name: "h1", InContact: "yes"}, {Name: "h2", InContact: "yes"}}}, nil
}

func (p *plant) Storm(context.Context) (client.StormView, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return client.StormView{Storm: p.storm}, nil
}

func (p *plant) Freeze(context.Context) (client.FreezeView, error) { return client.FreezeView{}, nil }

func (p *plant) Move(_ context.Context, _ string, req client.MoveRequest) (client.HealAnswer, error) {
	to := req.To
	if req.Back {
		to = "h1"
	}
	p.recover(to)
	return client.HealAnswer{}, nil
}

// recover makes the next epoch work on a host, 3 s from now.
func (p *plant) recover(host string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.Phase = fleet.PhaseRecovering
	if !p.heals {
		return
	}
	time.AfterFunc(3*time.Second, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.status.Phase, p.status.Epoch, p.status.Host, p.status.VerifiedAt = fleet.PhaseRunning, p.status.Epoch+1, host, time.Now()
	})
}

func (p *plant) Break(context.Context, fleet.DrillName, string, string) error {
	p.recover("h2")
	return nil
}

func (p *plant) Mend(context.Context, fleet.DrillName, string, string) error {
	p.mended++
	return nil
}

func (p *plant) Write(context.Context, string, uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.mute:
		return ErrCannot
	case p.status.Phase != fleet.PhaseRunning:
		return errors.New("connection refused")
	}
	p.acked++
	return nil
}

func (p *plant) Check(_ context.Context, _ string, acked []uint64) (Findings, error) {
	if len(acked) != p.acked {
		return Findings{}, errors.New("the writer forgot what was acknowledged")
	}
	return Findings{Lost: p.lose}, nil
}

func (p *plant) run(t *testing.T, name fleet.DrillName) fleet.DrillResult {
	t.Helper()
	r := &Runner{Engine: p, Breaker: p, Within: time.Minute}
	d, err := r.Run(t.Context(), name, "db", "")
	if err != nil {
		t.Fatal(err)
	}
	if len(p.ended) != 1 {
		t.Fatalf("its end was recorded %d times", len(p.ended))
	}
	return d.Result
}

func TestDrillMeasures(t *testing.T) {
	for _, name := range fleet.DrillNames() {
		synctest.Test(t, func(t *testing.T) {
			p := newPlant()
			got := p.run(t, name)
			rto := 3 * time.Second
			if name == fleet.DrillFailback {
				rto *= 2
			}
			if !got.Passed || got.RTO.Std() < rto || got.RTO.Std() > rto+time.Second || got.Acked < 2 || got.Pause.Std() < 3*time.Second {
				t.Errorf("%s: %+v", name, got)
			}
			if want := map[bool]string{true: "h1", false: "h2"}[name == fleet.DrillFailback]; got.To != want {
				t.Errorf("%s ended on %s, want %s", name, got.To, want)
			}
			if broke := name != fleet.DrillFailback; (p.mended == 1) != broke {
				t.Errorf("%s was mended %d times", name, p.mended)
			}
		})
	}
}

func TestDrillThatDoesNotPass(t *testing.T) {
	for _, c := range []struct {
		name  string
		drill fleet.DrillName
		spoil func(*plant)
		want  string
	}{
		{"a write is lost", fleet.DrillAppKill, func(p *plant) { p.lose = 1 }, "acknowledged writes are lost"},
		{"it never comes back", fleet.DrillHang, func(p *plant) { p.heals = false }, "not within 1m0s"},
		{"another server fails", fleet.DrillAppKill, func(p *plant) {
			time.AfterFunc(time.Second, func() { p.mu.Lock(); p.other = fleet.Down; p.mu.Unlock() })
		}, "web, which is not drilled, is down"},
		{"a storm", fleet.DrillHostLoss, func(p *plant) {
			time.AfterFunc(time.Second, func() { p.mu.Lock(); p.storm = &fleet.StormRecord{Reason: "3 hosts"}; p.mu.Unlock() })
		}, "there is a storm"},
		{"it needs a person", fleet.DrillAppKill, func(p *plant) {
			time.AfterFunc(time.Second, func() { p.mu.Lock(); p.status.Phase = fleet.PhaseNeedsPerson; p.mu.Unlock() })
		}, "needs a person"},
		{"data without a writer", fleet.DrillData, func(p *plant) { p.mute = true }, "nobody wrote"},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newPlant()
			c.spoil(p)
			got := p.run(t, c.drill)
			if got.Passed || !strings.Contains(got.Failure, c.want) {
				t.Errorf("%s: %+v, want %q", c.name, got, c.want)
			}
			if p.mended != 1 {
				t.Errorf("%s: it was mended %d times", c.name, p.mended)
			}
		})
	}
}

func TestDrillWithoutWriterMeasuresNoRPO(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant()
		p.mute = true
		if got := p.run(t, fleet.DrillAppKill); !got.Passed || RPO(got) != "not measured" {
			t.Errorf("%+v", got)
		}
	})
}

func TestReports(t *testing.T) {
	r := Report{At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Drills: []fleet.Drill{
		{ID: "D-1", Name: fleet.DrillHang, Server: "db<1>", Host: "h1", Epoch: 3, By: "kim", Result: fleet.DrillResult{Passed: true, RTO: fleet.Duration(3 * time.Second), Acked: 7, To: "h2", Epoch: 4}},
	}, NotRun: []NotRun{{Name: fleet.DrillHostLoss, Reason: "the fleet is frozen"}}}
	r.Close()
	if r.Passed {
		t.Error("one was not run, and it passed")
	}
	var text, page, raw bytes.Buffer
	for _, err := range []error{r.Text(&text), r.HTML(&page), r.JSON(&raw)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"3.00s", "0 of 7 writes lost", "not run: the fleet is frozen"} {
		if !strings.Contains(text.String(), want) || !strings.Contains(page.String(), want) {
			t.Errorf("%q is missing in\n%s\n%s", want, &text, &page)
		}
	}
	if strings.Contains(page.String(), "db<1>") || !strings.Contains(raw.String(), `"rto": "3s"`) {
		t.Errorf("the page:\n%s\n%s", &page, &raw)
	}
}

// A drill that is refused for a moment waits for it, and no longer than a server may take.
func TestDrillWaitsForTheBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for after, want := range map[time.Duration]bool{time.Second: true, time.Hour: false} {
			p, began := newPlant(), time.Now()
			p.backOff = began.Add(after)
			r := Runner{Engine: p, Breaker: p, Within: time.Minute}
			d, err := r.Run(t.Context(), fleet.DrillAppKill, "db", "")
			if (err == nil) != want || want && (d.Result.Passed != true || time.Since(began) < after) || !want && time.Since(began) != 0 {
				t.Errorf("a back-off of %s: %+v, %v, after %s", after, d.Result, err, time.Since(began))
			}
		}
	})
}
