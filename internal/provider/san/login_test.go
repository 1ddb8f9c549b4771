package san

import (
	"errors"
	"testing"
	"testing/synctest"

	"relight/internal/array"
	"relight/internal/array/arraytest"
	"relight/internal/core/fleet"
)

// An epoch is told where to log in only while its array lets it in, and it alone: not
// before its map, not beside an older epoch's, and never once it was fenced.
func TestLogins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, fenced := arraytest.NewShelf(), fleet.Epoch(0)
		h := newRig(t, s, &fenced)
		is := func(what string, epoch fleet.Epoch, want error) []Disk {
			t.Helper()
			disks, err := h.Logins(t.Context(), "a", epoch)
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
			return disks
		}
		is("before its map", 1, ErrNotLetIn)
		h.do(t, sanCall(fleet.StepAttach, 1))
		is("a driver that cannot say where", 1, ErrNowhere)
		h.opt.Open = func(fleet.Array) (array.Array, error) { return arraytest.LocatedShelf{Shelf: s}, nil }
		h.SetSites(nil)
		h.SetSites(sites)
		disks := is("let in", 1, nil)
		if m := s.Made[array.Ref{Server: "a", Epoch: 1}]; len(disks) != 2 || disks[1].Secret != m.Secret || disks[1].Initiator != m.Initiator || disks[1].Unit != 2 || disks[1].Portal != "127.0.0.1:1" {
			t.Errorf("%+v", disks)
		}
		is("the next one", 2, ErrNotLetIn)
		s.Made[array.Ref{Server: "a", Epoch: 2}] = array.Map{Ref: array.Ref{Server: "a", Epoch: 2}, Initiator: "iqn.other"}
		is("under another name", 2, ErrNotLetIn)
		delete(s.Made, array.Ref{Server: "a", Epoch: 2})
		fenced = 1
		is("fenced", 1, array.ErrFenced)
		fenced = 0
		s.Closed[array.Ref{Server: "a", Epoch: 1}] = true
		is("shut out", 1, ErrNotLetIn)
		s.Away = errors.New("connection refused")
		is("an array that is away", 1, s.Away)
		if _, err := h.Logins(t.Context(), "b", 1); err == nil {
			t.Error("a server that is not there was told LUNs")
		}
	})
}

// Beside the map of an older epoch nobody is told anything, whoever made the newer one.
func TestLoginsBesideAnOlderEpoch(t *testing.T) {
	s, fenced := arraytest.NewShelf(), fleet.Epoch(0)
	h := newRig(t, s, &fenced)
	h.opt.Open = func(fleet.Array) (array.Array, error) { return arraytest.LocatedShelf{Shelf: s}, nil }
	h.SetSites(nil)
	h.SetSites(sites)
	units, _ := unitsOn(sanServer(), "san-1")
	for e := fleet.Epoch(1); e <= 2; e++ {
		ref := array.Ref{Server: "a", Epoch: e}
		m, err := array.MapOf(h.opt.Key, sites[0].Spec.Arrays[0], ref, units)
		if err != nil {
			t.Fatal(err)
		}
		s.Made[ref] = m
	}
	if _, err := h.Logins(t.Context(), "a", 2); !errors.Is(err, ErrNotLetIn) {
		t.Error(err)
	}
	delete(s.Made, array.Ref{Server: "a", Epoch: 1})
	if _, err := h.Logins(t.Context(), "a", 2); err != nil {
		t.Error(err)
	}
}
