package controller

import (
	"context"
	"strings"
	"testing"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// dim is a provider that cannot see one of the servers.
type dim struct {
	provider.Provider
	hidden string
}

func (d dim) Observe(ctx context.Context, servers []fleet.Server) (provider.Sweep, error) {
	sweep := provider.Sweep{At: time.Unix(1e9, 0), Blind: "the instances in zone b: they are dark"}
	for _, s := range servers {
		if s.Name != d.hidden {
			sweep.Servers = append(sweep.Servers, provider.ServerSight{Observed: fleet.Observed{Server: s.Name, At: sweep.At, Complete: true}})
		}
	}
	return sweep, nil
}

// A look that could say nothing of a server has not seen it: the step that waits for it
// is not done on older facts, and others' steps are.
func TestLookThatLeavesOneOut(t *testing.T) {
	r := newRig(t, processStyle(), "db")
	r.live.healer.Providers = map[string]provider.Provider{"dim": dim{hidden: "db"}}
	look := func(name string) error {
		return r.live.healer.look(t.Context(), fleet.Server{Name: name, Spec: fleet.ServerSpec{Provider: "dim"}})
	}
	if err := look("web"); err != nil {
		t.Errorf("what was seen: %v", err)
	}
	if err := look("db"); err == nil || !strings.Contains(err.Error(), "they are dark") {
		t.Errorf("what was not: %v", err)
	}
}
