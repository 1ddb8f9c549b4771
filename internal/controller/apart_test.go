package controller

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"relight/internal/api/client"
	"relight/internal/provider"
	"relight/internal/provider/sim"
	"relight/internal/store/mem"
	"relight/internal/world"
)

// A server that must be kept apart is refused where the provider chooses the hosts:
// accepted, its placement would be a promise that nobody keeps.
func TestApartNeedsAProviderThatPlaces(t *testing.T) {
	clock := world.NewVirtual(time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC))
	for _, places := range []bool{true, false} {
		solo, err := NewSolo(context.Background(), SoloOptions{
			Store: mem.New(mem.Options{Now: clock.Now}), Clock: clock, Owner: "c1", Lease: time.Hour, Contact: time.Second, Log: slog.New(slog.DiscardHandler),
			Providers: map[string]provider.Provider{"sim": sim.New(world.New(world.Config{Clock: clock}), sim.Options{AttachFirst: places})},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := solo.Begin(context.Background()); err != nil {
			t.Fatal(err)
		}
		text := strings.Replace(serverYAML("db", "127.0.9.1"), "metadata: {name: db}", "metadata: {name: db, labels: {pair: a}}", 1)
		text = strings.Replace(text, "  provider: sim", "  provider: sim\n  placement: {apart: [pair]}", 1)
		err = solo.Apply(context.Background(), "ann", "db.yaml", text)
		var refused *client.Problem
		switch {
		case places && err != nil:
			t.Errorf("places=%v: %v", places, err)
		case !places && (!errors.As(err, &refused) || len(refused.Fields) != 1 || refused.Fields[0].Where != "spec.placement.apart"):
			t.Errorf("places=%v: %v, want a refusal of spec.placement.apart", places, err)
		case !places && len(solo.State.Servers()) > 0:
			t.Error("it was refused and is there")
		}
	}
}
