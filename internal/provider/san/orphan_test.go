package san

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"relight/internal/array"
	"relight/internal/array/arraytest"
	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// catalogue is a shelf that lists the maps of all servers.
type catalogue struct {
	*arraytest.Shelf
	all []array.Mapped
}

func (c catalogue) AllMaps(context.Context) ([]array.Mapped, error) { return c.all, c.Away }

// A map of a server that is not in the fleet, or has no LUN on the array, is listed with
// who is logged in; the fleet's own and another fleet's are not. An array that does not
// answer is not taken for one that has nothing.
func TestOrphans(t *testing.T) {
	shelf := arraytest.NewShelf()
	shelf.Login(array.Ref{Server: "old", Epoch: 4})
	all := []array.Mapped{
		{Ref: array.Ref{Server: "a", Epoch: 2}, Initiators: []string{"iqn.2026-01.org.example:a.e2"}},
		{Ref: array.Ref{Server: "old", Epoch: 4}, Initiators: []string{"iqn.2026-01.org.example:old.e4"}},
		{Ref: array.Ref{Server: "bare", Epoch: 1}},
		{Ref: array.Ref{Server: "theirs", Epoch: 4}, Initiators: []string{"iqn.2026-01.org.other:theirs.e4"}},
	}
	a := Opened(Options{Now: time.Now, Key: make([]byte, KeySize), Open: func(fleet.Array) (array.Array, error) { return catalogue{shelf, all}, nil }})
	decl := fleet.Array{Name: "san-1", Driver: fleet.ArrayTGT, Portal: "192.0.2.1:3260", Options: map[string]string{"prefix": "iqn.2026-01.org.example"}}
	a.SetSites([]fleet.Site{{Name: "dc", Spec: fleet.SiteSpec{Kind: fleet.SiteZone, Arrays: []fleet.Array{decl}}}})
	server := fleet.Server{Name: "a"}
	server.Spec.Identity.Volumes = []fleet.Volume{{Name: "data", LUN: &fleet.LUN{Array: "san-1", Name: "a-data", Unit: 1}}}
	a.SetServers([]fleet.Server{server, {Name: "bare"}})

	got := a.Orphans(t.Context())
	var told []string
	for _, o := range got {
		told = append(told, fmt.Sprintf("%s %s %d %s %s", o.Kind, o.Server, o.Epoch, o.On, o.What))
	}
	if want := []string{"map old 4 san-1 iqn.2026-01.org.example:old.e4", "map bare 1 san-1 "}; !slices.Equal(told, want) {
		t.Fatalf("orphans %q, want %q", told, want)
	}
	if o := got[0]; !strings.Contains(o.Detail, "1 logged in") || !strings.Contains(o.Next, "end the instance") || strings.Contains(got[1].Next, "end the instance") {
		t.Errorf("%+v", got)
	}
	shelf.Away = errors.New("connection refused")
	if got := a.Orphans(t.Context()); len(got) != 1 || got[0].On != "san-1" || !errors.Is(got[0].Err, shelf.Away) || got[0].Kind != provider.OrphanKind("") {
		t.Errorf("an array that is away: %+v", got)
	}
}
