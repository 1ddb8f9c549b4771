package controller

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/provider/sim"
)

// refusing answers every step with an error, and sees nothing wrong.
type refusing struct{ provider.Provider }

func (refusing) Observe(context.Context, []fleet.Server) (provider.Sweep, error) {
	return provider.Sweep{}, nil
}

func (refusing) Do(_ context.Context, call provider.Call) (provider.Outcome, error) {
	return provider.Outcome{}, provider.Errorf(provider.Capacity, call, "full")
}

func TestCallsToProvidersAreCounted(t *testing.T) {
	var got []string
	p := counted{refusing{}, func(op, class string) { got = append(got, op+" "+class) }}
	if _, err := p.Observe(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Do(t.Context(), provider.Call{Step: fleet.Step{Kind: fleet.StepLaunch}}); err == nil {
		t.Fatal("the wrapper swallowed the error")
	}
	if want := []string{"observe ", "launch capacity"}; !slices.Equal(got, want) {
		t.Errorf("counted %q, want %q", got, want)
	}
}

func TestServersAreCountedByVerdict(t *testing.T) {
	r := newRig(t, sim.Options{}, "web-1", "web-2")
	if got := r.live.state.verdicts(); got[fleet.Unknown] != 2 {
		t.Errorf("before the first look %v, want 2 unknown", got)
	}
	r.until(time.Minute, "both healthy", func() bool { return r.healthy("web-1", "web-2") })
	if got := r.live.state.verdicts(); got[fleet.Healthy] != 2 || got[fleet.Unknown] != 0 {
		t.Errorf("got %v, want 2 healthy", got)
	}
}

// TestApplyRefusesUnwiredProviders: a server that nobody here can start is
// refused whole, before anything is written.
func TestApplyRefusesUnwiredProviders(t *testing.T) {
	r := newRig(t, sim.Options{}, "web-1")
	b := &Backend{
		Journal: r.live.journal, State: r.live.state, Clock: r.clock, Providers: []string{"onprem"},
		Changed: func() { t.Error("documents changed") },
	}
	doc, err := b.document(t.Context(), client.KindServer, "web-1")
	if err != nil {
		t.Fatal(err)
	}
	was := r.live.state.Revision(kindServer, "web-1")
	doc.Metadata.Labels = map[string]string{"team": "licences"}
	_, err = b.Apply(t.Context(), "kim", client.ApplyRequest{Documents: []client.Document{doc}})
	var p *client.Problem
	if !errors.As(err, &p) || p.Code != client.CodeInvalidDocument || len(p.Fields) == 0 || p.Fields[0].Where != "spec.provider" {
		t.Fatalf("got %v, want %s for spec.provider", err, client.CodeInvalidDocument)
	}
	if r.live.state.Revision(kindServer, "web-1") != was {
		t.Error("the document was written all the same")
	}
}
