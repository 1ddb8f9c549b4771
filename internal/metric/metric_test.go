package metric_test

import (
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"relight/internal/core/event"
	"relight/internal/core/fleet"
	"relight/internal/metric"
)

var update = flag.Bool("update", false, "write the golden file anew")

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newRegistry() *metric.Registry {
	return metric.New(metric.Config{Version: "1.2.3", Revision: "abc", ProviderOf: func(server string) string {
		if server == "gone" {
			return ""
		}
		return "onprem"
	}})
}

// scrape returns our metrics as a scraper sees them.
func scrape(t *testing.T, r *metric.Registry) string {
	t.Helper()
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	body, err := io.ReadAll(w.Result().Body)
	if err != nil || w.Code != 200 {
		t.Fatalf("%d %v %s", w.Code, err, body)
	}
	var ours []string
	for line := range strings.Lines(string(body)) {
		if strings.Contains(line, "relight_") {
			ours = append(ours, line)
		}
	}
	return regexp.MustCompile(`goversion="[^"]*"`).ReplaceAllString(strings.Join(ours, ""), `goversion="go"`)
}

func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

func stepEvent(kind event.Kind, when float64, step fleet.StepKind, state fleet.StepState) event.Event {
	return event.Event{
		Kind: kind, At: at(when), Server: "lic-01", Recovery: "rec-1",
		Step: &fleet.StepRecord{Step: fleet.Step{Kind: step, Rung: fleet.Relaunch}, State: state},
	}
}

// oneRecovery is a recovery that takes 3 s to detect, 4 to fence, 8 to start, 16
// to verify.
func oneRecovery() []event.Event {
	return []event.Event{
		{Kind: event.IncidentOpened, At: at(3), Incident: "inc-1"},
		{Kind: event.Held, At: at(3), Server: "lic-01", Gate: "proof"},
		{Kind: event.RecoveryBegun, At: at(3), Server: "lic-01", Recovery: "rec-1", Finding: &fleet.Finding{Since: start}},
		stepEvent(event.StepIntended, 3, fleet.StepStop, fleet.StepIntended),
		stepEvent(event.StepEnded, 5, fleet.StepStop, fleet.StepUnknown),
		stepEvent(event.StepEnded, 6, fleet.StepSeal, fleet.StepDone),
		{Kind: event.EpochProved, At: at(7), Server: "lic-01", Recovery: "rec-1"},
		stepEvent(event.StepEnded, 10, fleet.StepLaunch, fleet.StepFailed),
		stepEvent(event.RecoveryClimbed, 10, fleet.StepClimb, fleet.StepDone),
		stepEvent(event.StepEnded, 15, fleet.StepLaunch, fleet.StepDone),
		stepEvent(event.RecoveryHealed, 31, fleet.StepClose, fleet.StepDone),
	}
}

func TestNamesAndMeaningsAreFrozen(t *testing.T) {
	r := newRegistry()
	for _, e := range oneRecovery() {
		r.Observe(e)
	}
	r.Observe(event.Event{Kind: event.FenceAttested})
	r.Observe(event.Event{Kind: event.RecoveryGaveUp, Server: "gone", Recovery: "rec-2"})
	r.Observe(event.Event{Kind: event.Held})
	r.SetServers(map[fleet.Verdict]int{fleet.Healthy: 5, fleet.Down: 1})
	r.SetAuthority(true, 7, 16)
	r.SetStoreRevision(42)
	r.SetSpare(map[string]bool{"fleet": false, "rack-1": true})
	r.ProviderRequest("launch", "")
	r.ProviderRequest("launch", "capacity")
	r.Beats(func() (uint64, map[string]uint64) { return 1000, map[string]uint64{"replay": 3, "bad_tag": 0} })
	got := scrape(t, r)
	const golden = "testdata/metrics.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("metrics are public; other people's alerts stand on them:\n%s", diff)
	}
}

func TestVerdictsAndAuthorityFollow(t *testing.T) {
	r := newRegistry()
	r.SetServers(map[fleet.Verdict]int{fleet.Down: 9, fleet.Unknown: 2})
	r.SetServers(map[fleet.Verdict]int{fleet.Healthy: 9})
	r.SetAuthority(true, 3, 16)
	r.SetAuthority(false, 4, 0)
	got := scrape(t, r)
	for _, want := range []string{
		`relight_servers{verdict="down"} 0`, `relight_servers{verdict="unknown"} 0`, `relight_servers{verdict="healthy"} 9`,
		"relight_leader 0", "relight_term 4", "relight_shards_owned 0",
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("%s is missing in\n%s", want, got)
		}
	}
}

// A controller that takes over in the middle must not invent durations.
func TestRecoverySeenFromTheMiddle(t *testing.T) {
	r := newRegistry()
	for _, e := range oneRecovery()[9:] {
		r.Observe(e)
	}
	got := scrape(t, r)
	if !strings.Contains(got, `relight_recovery_duration_seconds_sum{phase="verify",provider="onprem"} 16`) {
		t.Errorf("verify is missing in\n%s", got)
	}
	for _, phase := range []string{"detect", "fence", "start", "total"} {
		if strings.Contains(got, `phase="`+phase+`"`) {
			t.Errorf("%s was invented", phase)
		}
	}
}

func TestInPlaceRecoveryHasNoFencePhase(t *testing.T) {
	r := newRegistry()
	for _, e := range oneRecovery() {
		if e.Kind != event.EpochProved {
			r.Observe(e)
		}
	}
	got := scrape(t, r)
	if strings.Contains(got, `phase="fence"`) || !strings.Contains(got, `relight_recovery_duration_seconds_sum{phase="start",provider="onprem"} 12`) {
		t.Errorf("got\n%s", got)
	}
}

func TestClocksThatDifferGiveNoNegativeDuration(t *testing.T) {
	r := newRegistry()
	for _, e := range oneRecovery() {
		if e.Kind == event.RecoveryHealed {
			e.At = at(14)
		}
		r.Observe(e)
	}
	if got := scrape(t, r); !strings.Contains(got, `relight_recovery_duration_seconds_sum{phase="verify",provider="onprem"} 0`) {
		t.Errorf("got\n%s", got)
	}
}

// What is known of a recovery must not outlive it: a controller runs for years.
func TestEndedRecoveryIsForgotten(t *testing.T) {
	r := newRegistry()
	for _, e := range oneRecovery() {
		r.Observe(e)
	}
	r.Observe(oneRecovery()[10])
	got := scrape(t, r)
	if !strings.Contains(got, `relight_recovery_duration_seconds_count{phase="total",provider="onprem"} 1`) {
		t.Errorf("got\n%s", got)
	}
}

// A kind of event that a later version adds, or one without its details, must
// not take the controller down.
func TestObserveTakesAnything(t *testing.T) {
	r := newRegistry()
	for _, k := range append(event.Kinds(), "of_tomorrow") {
		r.Observe(event.Event{Kind: k})
	}
	if got := scrape(t, r); !strings.Contains(got, `relight_events_total{kind="of_tomorrow"} 1`) {
		t.Errorf("got\n%s", got)
	}
}

func TestHelpAndUnitsFollowTheConventions(t *testing.T) {
	r := newRegistry()
	for _, e := range oneRecovery() {
		r.Observe(e)
	}
	for line := range strings.Lines(scrape(t, r)) {
		f := strings.Fields(line)
		if f[0] != "#" || f[1] != "TYPE" {
			continue
		}
		name, kind := f[2], f[3]
		if (kind == "counter") != strings.HasSuffix(name, "_total") || (kind == "histogram") != strings.HasSuffix(name, "_seconds") {
			t.Errorf("%s is a %s", name, kind)
		}
	}
}
