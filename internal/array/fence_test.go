package array_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"relight/internal/array"
	"relight/internal/array/arraytest"
	"relight/internal/core/fleet"
)

var (
	start = time.Unix(1e9, 0)
	plan  = array.Plan{Ref: array.Ref{Server: "db", Epoch: 3}, Array: "san-1", Volumes: []string{"data"}, Every: 50 * time.Millisecond, Within: 5 * time.Second}
)

// drive runs the machine without a clock. answer is told each effect.
func drive(p array.Plan, answer func(array.Effect) array.Answer) (asked []array.Source, end array.Effect) {
	now := start
	f, e := array.Begin(p, now)
	for range 10000 {
		if e.Over() {
			return asked, e
		}
		var a array.Answer
		if e.Source == "" {
			now = e.Until
		} else {
			asked = append(asked, e.Source)
			a = answer(e)
			now = now.Add(time.Millisecond)
		}
		f, e = f.Next(now, a)
	}
	return asked, e
}

// calm answers as an array where all works.
func calm(e array.Effect) array.Answer {
	switch e.Source {
	case array.SourceJournal:
		return array.Answer{Fenced: 3}
	case array.SourceLogin:
		return array.Answer{Login: array.LoginRefused}
	}
	return array.Answer{}
}

func TestFenceOrder(t *testing.T) {
	session := []array.Session{{ID: "7", Initiator: "iqn.x:db.e3"}}
	looks := 0
	asked, end := drive(plan, func(e array.Effect) array.Answer {
		if e.Source == array.SourceSessions {
			if looks++; looks < 3 { // killed, and still draining
				return array.Answer{Sessions: session}
			}
		}
		return calm(e)
	})
	want := []array.Source{
		array.SourceJournal, array.SourceUnmap, array.SourceSessions, array.SourceKill, array.SourceSessions, array.SourceKill,
		array.SourceSessions, array.SourceLogin, array.SourceClose, array.SourceRelist, array.SourceMaps,
	}
	if !slices.Equal(asked, want) {
		t.Errorf("asked %v\nwant  %v", asked, want)
	}
	if len(end.Evidence) != 1 {
		t.Fatalf("end %+v", end)
	}
	e := end.Evidence[0]
	if e.Method != fleet.InitiatorRemoved || e.Server != "db" || e.Epoch != 3 || e.Volume != "data" || e.By != "array san-1" ||
		!e.At.After(start) || e.Detail != "initiator out of the map, 1 sessions killed, login refused, map closed, no session listed" {
		t.Errorf("evidence %+v", e)
	}
}

// TestFenceStartsOver: what a later source sees sends the fence back to where it
// can be mended, and only a whole pass after that is evidence.
func TestFenceStartsOver(t *testing.T) {
	for _, c := range []struct {
		at   array.Source
		once array.Answer
		next array.Source
	}{
		{array.SourceClose, array.Answer{Err: array.ErrBusy}, array.SourceSessions},
		{array.SourceRelist, array.Answer{Sessions: make([]array.Session, 1)}, array.SourceUnmap},
		{array.SourceMaps, array.Answer{Maps: []array.Mapped{{Ref: plan.Ref}}}, array.SourceUnmap},
		{array.SourceMaps, array.Answer{Maps: []array.Mapped{{Ref: array.Ref{Server: "db", Epoch: 2}}}}, array.SourceUnmap},
		{array.SourceLogin, array.Answer{Login: array.LoginLetIn}, array.SourceUnmap},
	} {
		told := false
		asked, end := drive(plan, func(e array.Effect) array.Answer {
			if e.Source == c.at && !told {
				told = true
				return c.once
			}
			return calm(e)
		})
		at := slices.Index(asked, c.at)
		if len(end.Evidence) != 1 || at < 0 || at+1 >= len(asked) || asked[at+1] != c.next || asked[len(asked)-1] != array.SourceMaps {
			t.Errorf("%s said %+v: asked %v, end %+v", c.at, c.once, asked, end)
		}
	}
	_, end := drive(plan, func(e array.Effect) array.Answer {
		if e.Source == array.SourceMaps { // the next epoch's map is none of its business
			return array.Answer{Maps: []array.Mapped{{Ref: array.Ref{Server: "db", Epoch: 4}}}}
		}
		return calm(e)
	})
	if len(end.Evidence) != 1 {
		t.Errorf("beside the next epoch: %+v", end)
	}
}

// TestFenceFailure: each source that does not confirm is named, with a way on.
func TestFenceFailure(t *testing.T) {
	broken := errors.New("broken")
	for source, a := range map[array.Source]array.Answer{
		array.SourceJournal:  {Fenced: 2},
		array.SourceUnmap:    {Err: broken},
		array.SourceSessions: {Err: broken},
		array.SourceClose:    {Err: broken},
		array.SourceRelist:   {Err: broken},
		array.SourceMaps:     {Err: broken},
	} {
		_, end := drive(plan, func(e array.Effect) array.Answer {
			if e.Source == source {
				return a
			}
			return calm(e)
		})
		if end.Failed == nil || end.Failed.Source != source || end.Failed.Try == "" || !strings.Contains(end.Failed.Error(), "db epoch 3 is not fenced on array san-1") {
			t.Errorf("%s: %+v", source, end)
		} else if want := a.Err; want != nil && !errors.Is(end.Failed, want) {
			t.Errorf("%s: the cause is lost: %v", source, end.Failed)
		}
	}
	asked, end := drive(plan, func(array.Effect) array.Answer { return array.Answer{Fenced: 2} })
	if !errors.Is(end.Failed, array.ErrNotJournaled) || len(asked) != 1 {
		t.Errorf("a fence that the journal does not know of asked %v: %v", asked, end.Failed)
	}
	_, end = drive(array.Plan{Ref: plan.Ref, Every: time.Millisecond, Within: time.Second}, calm)
	if end.Failed == nil {
		t.Errorf("a fence about no volume gave %v", end.Evidence)
	}
}

// TestFenceLastResort: LUNs go off line only where that is allowed, after the sessions
// had their time and were killed; one that is busy is asked again, and sessions that go
// meanwhile make it the ordinary fence.
func TestFenceLastResort(t *testing.T) {
	session := []array.Session{{ID: "7"}}
	p := plan
	p.Offline = &array.Offline{LUNs: []string{"data"}, After: time.Second}
	run := func(p array.Plan, listed, busy int, kill error) ([]array.Source, array.Effect) {
		return drive(p, func(e array.Effect) array.Answer {
			switch e.Source {
			case array.SourceSessions, array.SourceRelist:
				if listed--; listed >= 0 {
					return array.Answer{Sessions: session}
				}
			case array.SourceKill:
				return array.Answer{Err: kill}
			case array.SourceOffline:
				if busy--; busy >= 0 {
					return array.Answer{Err: array.ErrInside}
				}
			case array.SourceClose:
				if listed > 0 {
					return array.Answer{Err: array.ErrBusy}
				}
			case array.SourceMaps:
				return array.Answer{Maps: []array.Mapped{{Ref: p.Ref, Offline: true}}}
			}
			return calm(e)
		})
	}
	asked, end := run(p, 1000, 2, nil)
	if len(end.Evidence) != 1 || !end.Evidence[0].Offline || !strings.Contains(end.Evidence[0].Detail, "LUNs off line with no command inside, 1 sessions still listed") {
		t.Errorf("asked %v: %+v", asked, end)
	}
	if n := slices.Index(asked, array.SourceOffline); n < 0 || asked[n-1] != array.SourceKill || slices.Index(asked, array.SourceKill) == n-1 {
		t.Errorf("asked %v: the sessions had no time to go", asked)
	}
	if _, end = run(p, 1000, 0, errors.New("not allowed")); len(end.Evidence) != 1 || !end.Evidence[0].Offline {
		t.Errorf("an array that ends no session: %+v", end)
	}
	asked, end = run(p, 1000, 1000, nil)
	if end.Failed == nil || !errors.Is(end.Failed, array.ErrInside) || !strings.Contains(end.Failed.Try, "inside the array") {
		t.Errorf("a command that hangs inside: asked %v, %+v", asked, end)
	}
	if asked, end = run(plan, 1000, 0, nil); end.Failed == nil || slices.Contains(asked, array.SourceOffline) || !strings.Contains(end.Failed.Try, "lunOffline") {
		t.Errorf("not allowed: asked %v, %+v", asked, end)
	}
}

// TestFenceLogin: being let in is never evidence; no answer is not refused.
func TestFenceLogin(t *testing.T) {
	_, end := drive(plan, func(e array.Effect) array.Answer {
		if e.Source == array.SourceLogin {
			return array.Answer{Login: array.LoginLetIn}
		}
		return calm(e)
	})
	if end.Failed == nil || len(end.Evidence) > 0 {
		t.Errorf("an initiator that is let in: %+v", end)
	}
	_, end = drive(plan, func(e array.Effect) array.Answer {
		if e.Source == array.SourceLogin {
			return array.Answer{Err: errors.New("portal out of reach")}
		}
		return calm(e)
	})
	if len(end.Evidence) != 1 || !strings.Contains(end.Evidence[0].Detail, "login not answered") {
		t.Errorf("a portal out of reach: %+v", end)
	}
}

// san is an array as the fence sees it, that errs, stalls and lets logins through
// whenever chance wants it.
type san struct {
	mapped, exists bool
	halves         int // logins that passed the map and are not sessions yet
	sessions       int // listed; those that drain still write
	draining       int
	stuck          bool // no session is ended by a kill
	dark           bool // its LUNs are off line
}

func (s *san) step(t *rapid.T, e array.Effect) array.Answer {
	if s.halves > 0 && s.exists && rapid.Bool().Draw(t, "a half login ends") {
		s.halves--
		s.sessions++
	}
	if s.mapped && s.exists && rapid.Bool().Draw(t, "the guest logs in again") {
		s.sessions++
	}
	if s.draining > 0 && rapid.Bool().Draw(t, "a command lands") {
		s.draining--
	}
	if rapid.IntRange(0, 9).Draw(t, "error") == 0 {
		return array.Answer{Err: errors.New("by chance")}
	}
	switch e.Source {
	case array.SourceJournal:
		return array.Answer{Fenced: 3}
	case array.SourceUnmap:
		s.mapped = false
	case array.SourceSessions, array.SourceRelist:
		return array.Answer{Sessions: make([]array.Session, s.sessions+s.draining)}
	case array.SourceKill:
		if !s.stuck {
			s.draining, s.sessions = s.draining+s.sessions, 0
		}
	case array.SourceOffline:
		if s.draining > 0 {
			return array.Answer{Err: array.ErrInside}
		}
		s.dark = true
	case array.SourceClose:
		if s.sessions+s.draining > 0 {
			return array.Answer{Err: array.ErrBusy}
		}
		s.exists, s.halves = false, 0
	case array.SourceLogin:
		if s.mapped && s.exists {
			return array.Answer{Login: array.LoginLetIn}
		}
		return array.Answer{Login: array.LoginRefused}
	case array.SourceMaps:
		if s.exists {
			return array.Answer{Maps: []array.Mapped{{Ref: plan.Ref, Offline: s.dark && !s.mapped && s.sessions+s.draining > 0}}}
		}
	}
	return array.Answer{}
}

// writes reports that something of the epoch can still write.
func (s *san) writes() bool {
	if s.dark {
		return s.mapped || s.draining > 0
	}
	return s.mapped || s.exists || s.sessions+s.draining+s.halves > 0
}

// TestFenceProperty: whatever chance does, evidence means that nothing of the epoch
// can write, now or later.
func TestFenceProperty(t *testing.T) {
	stood, dark := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		s := &san{mapped: true, exists: true, halves: rapid.IntRange(0, 2).Draw(t, "halves"), sessions: rapid.IntRange(0, 2).Draw(t, "sessions"), stuck: rapid.Bool().Draw(t, "stuck")}
		p := plan
		if rapid.Bool().Draw(t, "last resort") {
			p.Offline = &array.Offline{After: time.Second}
		}
		_, end := drive(p, func(e array.Effect) array.Answer { return s.step(t, e) })
		if !end.Over() {
			t.Fatal("it has no end")
		}
		if len(end.Evidence) > 0 {
			stood++
			if s.writes() || s.dark && p.Offline == nil {
				t.Fatalf("evidence, and yet %+v", s)
			}
			if end.Evidence[0].Offline {
				dark++
			}
		}
	})
	if stood == 0 || dark == 0 {
		t.Errorf("%d fences stood, %d of them with LUNs off line", stood, dark)
	}
}

// hung is an array that answers nothing until its caller gives up.
type hung struct{ array.Array }

func (hung) Name() string { return "hung" }
func (hung) Unmap(ctx context.Context, _ array.Ref) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestRunEndsOnAHungArray(t *testing.T) {
	env := array.Env{
		Array: hung{}, Now: time.Now,
		Marks: func(context.Context, string) (fleet.Epoch, error) { return 3, nil },
		Wait:  func(context.Context, time.Time) error { return nil },
	}
	p := plan
	p.Within = 300 * time.Millisecond
	_, err := array.Run(t.Context(), env, p)
	var failed *array.FenceError
	if !errors.As(err, &failed) || failed.Source != array.SourceUnmap {
		t.Errorf("error %v", err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := array.Run(over, env, p); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// A controller on another machine than the array's reads some other target, which lists
// nothing. That the portal cannot even be connected to gives it away: nothing is confirmed.
// An array that is driven from afar may have its portals out of the controller's reach.
func TestFenceOnTheWrongMachine(t *testing.T) {
	noWay := func(e array.Effect) array.Answer {
		if e.Source == array.SourceLogin {
			return array.Answer{Login: array.LoginNoWay, Err: errors.New("portal 10.0.9.1:3260: connection refused")}
		}
		return calm(e)
	}
	local := plan
	local.Local = true
	asked, end := drive(local, noWay)
	if end.Failed == nil || end.Failed.Source != array.SourceLogin || slices.Contains(asked, array.SourceClose) ||
		!strings.Contains(end.Failed.Error(), "connection refused; run the controller on the machine that serves the array's portal") {
		t.Errorf("end %+v after %v", end, asked)
	}
	if _, end := drive(plan, noWay); len(end.Evidence) != 1 || !strings.Contains(end.Evidence[0].Detail, "login not answered") {
		t.Errorf("from afar: %+v", end)
	}
}

// What becomes of the second line is told with the evidence, and nothing waits for it.
func TestFenceTellsOfTheKeys(t *testing.T) {
	keys := plan
	keys.Keys = true
	for want, answer := range map[string]array.Answer{
		"reservation keys up to its own preempted, and the keys read again, initiator out of the map, ": {Taken: 2},
		"initiator out of the map, ": {},
		"its reservation keys could not be taken away (no route to host), initiator out of the map, login refused": {Err: errors.New("no route to host")},
	} {
		asked, end := drive(keys, func(e array.Effect) array.Answer {
			if e.Source == array.SourceKeys {
				return answer
			}
			return calm(e)
		})
		if len(end.Evidence) != 1 || !strings.HasPrefix(end.Evidence[0].Detail, want) {
			t.Errorf("%+v: %+v", answer, end)
		}
		if !slices.Equal(asked[:3], []array.Source{array.SourceJournal, array.SourceKeys, array.SourceUnmap}) {
			t.Errorf("asked %v", asked)
		}
	}
	if asked, _ := drive(plan, calm); slices.Contains(asked, array.SourceKeys) {
		t.Errorf("asked %v of an array without a second line", asked)
	}
}

// hangs is an array whose second line never answers.
type hangs struct{ array.Array }

func (hangs) LetHolder(context.Context, array.Map) (array.Target, error) { panic("in a fence") }
func (hangs) DropHolder(context.Context, string) error                   { panic("in a fence") }
func (hangs) Holders(context.Context) ([]string, error)                  { panic("in a fence") }
func (hangs) Explain(err error) error                                    { return err }
func (hangs) DropHolderBy(string) string                                 { return "" }

func (hangs) Holder(ctx context.Context, _ string) (array.Target, bool, error) {
	<-ctx.Done()
	return array.Target{}, false, ctx.Err()
}

func TestFenceDoesNotWaitForTheKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shelf := arraytest.NewShelf()
		shelf.Made[plan.Ref] = array.Map{Ref: plan.Ref, Initiator: "i"}
		keys, began := plan, time.Now()
		keys.Keys = true
		evidence, err := array.Run(t.Context(), array.Env{
			Array: shelf, Now: time.Now, Wait: array.WaitBy(time.Now), Line: array.Line{Array: hangs{shelf}},
			Marks: func(context.Context, string) (fleet.Epoch, error) { return 3, nil },
		}, keys)
		if err != nil || len(evidence) != 1 || !strings.Contains(evidence[0].Detail, "could not be taken away") {
			t.Errorf("%+v, %v", evidence, err)
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("after %s", took)
		}
	})
}
