package oracle

import (
	"testing"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/world"
)

// One writer at a time: what may live beside what, and on whose evidence.
func TestFenceHistories(t *testing.T) {
	sealed := fleet.Evidence{Method: fleet.Sealed, Server: "a", Epoch: 1, Volume: "data", By: "agent@h2", At: time.Date(2031, 1, 1, 0, 1, 0, 0, time.UTC)}
	reaped := fleet.Evidence{Method: fleet.Reaped, Server: "a", Epoch: 1, By: "agent@h1", At: sealed.At}
	tell(t, map[string]history{
		"S2 started beside a living one": {history: func(b *bench) {
			b.accept(step(fleet.StepLaunch, "a", 2, "h3"), reaped)
		}, invariant: "S2", detail: "holds volume data"},
		"S2 evidence that is not true": {history: func(b *bench) {
			b.accept(step(fleet.StepLaunch, "a", 2, "h3"), sealed)
		}, invariant: "S2", detail: "volume data is not sealed"},
		"S2 a dead one": {history: func(b *bench) {
			_ = b.w.Reap(b.w.Find("a", 1), "it crashed")
			b.accept(step(fleet.StepLaunch, "a", 2, "h3"), reaped)
		}},
		"S2 an old epoch comes to life": {history: func(b *bench) {
			_ = b.w.Reap(b.w.Find("a", 1), "it crashed")
			old, _ := b.w.Prepare(world.Request{Server: "a", Epoch: 2, Host: "h2", Style: world.Process, Units: 1})
			b.start("a", 3, "h3")
			_ = b.w.Start(old)
		}, invariant: "S2", detail: "came to life"},
		"S2 a start that a frozen host slept over, and its array shut out": {history: func(b *bench) {
			overslept(b, true)
		}},
		"S2 a start that a frozen host slept over, and that can write": {history: func(b *bench) {
			overslept(b, false)
		}, invariant: "S2", detail: "came to life"},
		"S2 a start after a later epoch lives, whatever its array says": {history: func(b *bench) {
			l := onArray(b)
			_ = b.w.Reap(b.w.Find("a", 1), "it crashed")
			b.w.Shut(l, 1)
			old, _ := b.w.Prepare(world.Request{Server: "a", Epoch: 2, Host: "h2", Style: world.Process, Units: 1})
			b.start("a", 3, "h3")
			b.accept(step(fleet.StepLaunch, "a", 3, "h3"), reaped)
			b.accept(step(fleet.StepLaunch, "a", 2, "h2"), reaped)
			_ = b.w.Start(old)
		}, invariant: "S2", detail: "came to life"},
		"S10 an array lets an epoch in by a call of an earlier term": {history: func(b *bench) {
			l := onArray(b)
			_ = b.w.Reap(b.w.Find("a", 1), "it crashed")
			b.w.Shut(l, 1)
			b.letIn(l, 2, 2)
			b.letIn(l, 2, 1)
		}},
		"S10 an array lets an epoch in after a later one": {history: func(b *bench) {
			l := onArray(b)
			_ = b.w.Reap(b.w.Find("a", 1), "it crashed")
			b.w.Shut(l, 1)
			b.letIn(l, 3, 1)
			b.letIn(l, 2, 1)
		}, invariant: "S10", detail: "array san-1 let epoch 2 in after epoch 3"},
		"S2 an array that still has a dead one": {history: func(b *bench) {
			onArray(b)
			_ = b.w.Reap(b.w.Find("a", 1), "it crashed")
			b.accept(step(fleet.StepLaunch, "a", 2, "h3"), reaped)
		}, invariant: "S2", detail: "while the array of volume data has epoch 1"},
		"S2 an array to which a person let it in": {history: func(b *bench) {
			l := onArray(b)
			_ = b.w.Reap(b.w.Find("a", 1), "it crashed")
			b.w.Shut(l, 1)
			b.w.LetInPastUs(l, 1)
			b.accept(step(fleet.StepLaunch, "a", 2, "h3"), reaped)
		}},
		"S3 the store forgets an epoch": {history: func(b *bench) {
			b.put(statusKeys+"a", fleet.Status{Server: "a"})
		}, invariant: "S3", detail: "fell from 1 to 0"},
		"S3 an epoch is taken twice": {history: func(b *bench) {
			b.put(statusKeys+"a", fleet.Status{Server: "a", Epoch: 1, Recovery: &fleet.Recovery{ID: "x", To: 1}})
		}, invariant: "S3", detail: "was taken though"},
		"S7 two of one epoch": {history: func(b *bench) {
			_ = b.w.Reap(b.w.Find("a", 1), "it crashed")
			for _, h := range []string{"h2", "h3"} {
				_, _ = b.w.Prepare(world.Request{Server: "a", Epoch: 2, Host: h, Style: world.Process, Units: 1})
			}
			b.accept(step(fleet.StepAttach, "a", 2, "h3"), reaped)
		}, invariant: "S7", detail: "2 instances of epoch 2"},
		"S7 a token of an earlier launch": {history: func(b *bench) {
			b.send(step(fleet.StepLaunch, "a", 2, "h2"))
			next := step(fleet.StepLaunch, "a", 3, "h2")
			next.Token = step(fleet.StepLaunch, "a", 2, "h2").Token
			b.send(next)
		}, invariant: "S7", detail: "was sent for launch"},
		"S13 a stranger's evidence": {history: func(b *bench) {
			_ = b.w.Reap(b.w.Find("a", 1), "it crashed")
			e := reaped
			e.By = "agent@h2"
			b.accept(step(fleet.StepLaunch, "a", 2, "h3"), e)
		}, invariant: "S13", detail: "never ran there"},
	})
}

// onArray puts the volume of a behind an array that lets epoch 1 in.
func onArray(b *bench) *world.LUN {
	b.w.AddArray(world.Array{Name: "san-1", Traits: world.TGT()})
	l, err := b.w.AddLUN("san-1", "a", 1, "a/data")
	if err != nil {
		panic(err)
	}
	b.w.LetIn(l, 1)
	return l
}

// letIn has the array of a let an epoch in, by a call of a term.
func (b *bench) letIn(l *world.LUN, e fleet.Epoch, term fleet.Term) {
	b.w.LetIn(l, e)
	c := Call{At: b.w.Now()}
	c.Call.Step = step(fleet.StepAttach, "a", e, "h2")
	c.Call.Step.Object.Volume, c.Call.Term = "data", term
	b.o.acceptedTerm(c)
}

// overslept lets epoch 2 begin to start on a host that freezes, and starts epoch 3 on
// another, after the array has shut epoch 2 out or not.
func overslept(b *bench, shut bool) {
	l := onArray(b)
	_ = b.w.Reap(b.w.Find("a", 1), "it crashed")
	b.w.Shut(l, 1)
	old, _ := b.w.Prepare(world.Request{Server: "a", Epoch: 2, Host: "h2", Style: world.Process, Units: 1})
	b.w.LetIn(l, 2)
	launched := func(e fleet.Epoch, host string) {
		b.o.servers["a"].noteExecuted(Call{At: b.w.Now(), Call: provider.Call{Step: step(fleet.StepLaunch, "a", e, host)}})
	}
	launched(2, "h2")
	_ = b.w.FreezeHost("h2")
	_ = b.w.Start(old)
	b.pass(time.Second)
	if shut {
		b.w.Shut(l, 2)
	}
	launched(3, "h3")
	next, _ := b.w.Prepare(world.Request{Server: "a", Epoch: 3, Host: "h3", Style: world.Process, Units: 1})
	b.w.LetIn(l, 3)
	_ = b.w.Start(next)
	b.pass(time.Second)
	_ = b.w.ThawHost("h2")
}
