// Package arraytest is the meaning of array.Array in code: the suite that every
// driver passes, and a model of the data side for drivers whose arrays cannot run
// on a test machine.
package arraytest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"relight/internal/array"
	"relight/internal/array/iscsi"
	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

// Harness is one fresh array.
type Harness struct {
	Array  array.Array
	Prefix string
	// Connect logs in over the data side. Errors: those of iscsi.Dial.
	Connect func(ctx context.Context, cfg iscsi.Config) (array.Conn, error)
	// Restart stops and starts the array. All sessions end; LUNs keep their data.
	Restart func()
	// OneListed: the array shows one session for an initiator that has several.
	OneListed bool
	// Away: what this array says, beside a refusal, to who names no user or asks for a
	// target that is gone. A fence counts nothing but a refusal.
	Away func(error) bool
	// SecondLine is what the enrolment probe must find.
	SecondLine bool
}

// patience bounds every wait of the suite; it is only reached by a bug.
const patience = 60 * time.Second

// size is that of the suite's LUNs: no smaller than both ends that a scan reads.
const size = 2 << 20

// Run runs the suite. Each call of open gives a fresh array.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	for _, tc := range []struct {
		name string
		run  func(*suite)
	}{
		{"Create", (*suite).create},
		{"FullArray", (*suite).full},
		{"FirstEpoch", (*suite).firstEpoch},
		{"NeverMadeAgain", (*suite).neverAgain},
		{"FirstEpochOnAFullArray", (*suite).firstFull},
		{"Invalid", (*suite).invalid},
		{"Proof", (*suite).proof},
		{"UnitsFromTenOn", (*suite).unitNumbers},
		{"WrongCHAPSecret", (*suite).credentials},
		{"Unmapped", (*suite).unmapped},
		{"DuplicateIQN", (*suite).duplicate},
		{"OneEpochAtATime", (*suite).oneEpoch},
		{"SharedLUN", (*suite).shared},
		{"AllMaps", (*suite).allMaps},
		{"Repeat", (*suite).repeat},
		{"Sessions", (*suite).sessions},
		{"Fence", (*suite).fenceEpoch},
		{"Offline", (*suite).offline},
		{"FenceNeedsTheJournal", (*suite).fenceJournal},
		{"FencedForEver", (*suite).fencedForEver},
		{"Restart", (*suite).restart},
		{"ForeignFileSystem", (*suite).foreign},
		{"Reservations", (*suite).reservations},
		{"SecondLine", (*suite).secondLine},
		{"SecondLineKeepsOut", (*suite).lineKeepsOut},
		{"SecondLineUndisturbed", (*suite).lineUndisturbed},
		{"SnapshotBesideTheHolder", (*suite).holderAndSnapshot},
		{"HolderOfALUNHandedOn", (*suite).holderOfALUNHandedOn},
		{"HolderLeaves", (*suite).holderLeaves},
		{"Snapshot", (*suite).snapshot},
		{"SnapshotInvalid", (*suite).snapshotInvalid},
		{"SnapshotDelete", (*suite).snapshotDelete},
		{"Context", (*suite).ended},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			s := &suite{T: t, ctx: ctx, h: open(t), fenced: map[string]fleet.Epoch{}, known: map[array.Ref]array.Map{}}
			s.array = array.WithMarks(s.h.Array, s.marks)
			tc.run(s)
		})
	}
}

// suite is one test on one fresh array, with the journal that a controller has.
type suite struct {
	*testing.T
	ctx   context.Context
	h     Harness
	array array.Array

	// resort is what fences are allowed as their last.
	resort *array.Offline
	// keys is the second line that they ask, if any.
	keys *array.Line

	mu     sync.Mutex
	fenced map[string]fleet.Epoch
	known  map[array.Ref]array.Map
}

func (s *suite) marks(_ context.Context, server string) (fleet.Epoch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fenced[server], nil
}

func (s *suite) must(what string, err error) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s: %v", what, err)
	}
}

func (s *suite) want(what string, err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Errorf("%s: error %v, want %v", what, err, want)
	}
}

func ref(server string, e fleet.Epoch) array.Ref { return array.Ref{Server: server, Epoch: e} }

// dead makes the proof that lets an epoch start.
func dead(server string, starting fleet.Epoch) fence.Proof {
	now := time.Unix(1e9, 0)
	evidence := []fleet.Evidence{{Method: fleet.Attested, Server: server, Epoch: starting - 1, By: "suite", At: now}}
	p, _ := fence.Prove(fleet.Server{Name: server}, starting-1, "", evidence, now)
	return p
}

// luns makes a LUN for each unit number, and returns them as units.
func (s *suite) luns(numbers ...int) map[int]string {
	s.Helper()
	units := map[int]string{}
	for _, n := range numbers {
		units[n] = "vol-" + string(rune('a'+len(units)))
		s.must("create", s.array.Create(s.ctx, array.LUN{Name: units[n], Bytes: size}))
	}
	return units
}

// newMap is the journaled map of an epoch: the same each time.
func (s *suite) newMap(r array.Ref, units map[int]string) array.Map {
	s.Helper()
	if m, ok := s.known[r]; ok {
		return m
	}
	m, err := array.NewMap(s.h.Prefix, r, units, strings.NewReader("0123456789abcdef"+r.Server)) // not random here
	s.must("new map", err)
	m.Secret += string(rune('a' + r.Epoch))
	s.known[r] = m
	return m
}

// start maps an epoch and returns where and as whom to log in.
func (s *suite) start(r array.Ref, units map[int]string) iscsi.Config {
	s.Helper()
	m := s.newMap(r, units)
	t, err := s.array.Map(s.ctx, m, dead(r.Server, r.Epoch))
	s.must("map", err)
	return m.Config(t)
}

func (s *suite) login(cfg iscsi.Config) array.Conn {
	s.Helper()
	c, err := s.h.Connect(s.ctx, cfg)
	s.must("login of "+cfg.Initiator, err)
	s.Cleanup(func() { _ = c.Close() })
	return c
}

func (s *suite) refused(what string, cfg iscsi.Config) {
	s.Helper()
	s.denied(what, cfg, iscsi.IsRefused)
}

// away wants that nobody gets in, however the array says so.
func (s *suite) away(what string, cfg iscsi.Config) {
	s.Helper()
	s.denied(what, cfg, func(err error) bool { return iscsi.IsRefused(err) || s.h.Away != nil && s.h.Away(err) })
}

func (s *suite) denied(what string, cfg iscsi.Config, is func(error) bool) {
	s.Helper()
	c, err := s.h.Connect(s.ctx, cfg)
	if err == nil {
		_ = c.Close()
	}
	if !is(err) {
		s.Errorf("%s: login gave %v, want a refusal", what, err)
	}
}

func (s *suite) write(c array.Conn, unit int, block uint64, text string) error {
	data := make([]byte, iscsi.Block)
	copy(data, text)
	_, err := iscsi.Do(s.ctx, c, "write", iscsi.Write16(unit, block, data))
	return err
}

func (s *suite) holds(c array.Conn, unit int, block uint64, text string) {
	s.Helper()
	in, err := iscsi.Do(s.ctx, c, "read", iscsi.Read16(unit, block, 1))
	s.must("read", err)
	if got := strings.TrimRight(string(in), "\x00"); got != text {
		s.Errorf("unit %d block %d holds %q, want %q", unit, block, got, text)
	}
}

func (s *suite) eventually(what string, yes func() bool) {
	s.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !yes() {
		select {
		case <-s.ctx.Done():
			s.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}

// journal marks an epoch as fenced, as a controller does before anything else.
func (s *suite) journal(r array.Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fenced[r.Server] = max(s.fenced[r.Server], r.Epoch)
}

func (s *suite) runFence(r array.Ref, cfg iscsi.Config) ([]fleet.Evidence, error) {
	env := array.Env{Array: s.array, Marks: s.marks, Now: time.Now, Wait: array.WaitBy(time.Now)}
	if s.keys != nil {
		env.Line = *s.keys
	}
	env.Login = func(ctx context.Context) (array.LoginAnswer, error) {
		c, err := s.h.Connect(ctx, cfg)
		switch {
		case err == nil:
			_ = c.Close()
			return array.LoginLetIn, nil
		case iscsi.IsRefused(err):
			return array.LoginRefused, nil
		}
		return array.LoginUnknown, err
	}
	return array.Run(s.ctx, env, s.plan(r))
}

func (s *suite) plan(r array.Ref) array.Plan {
	return array.Plan{Ref: r, Volumes: []string{"data", "log"}, Every: 2 * time.Millisecond, Within: patience / 2, Offline: s.resort, Keys: s.keys != nil}
}
