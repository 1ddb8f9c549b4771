package ec2

import (
	"time"

	"relight/internal/provider/aws/stage"
	"relight/internal/world"
)

// fault is one way to lose a server on EC2.
type fault struct {
	name, title string
	// zone is the letter of the zone that its server lives in.
	zone   string
	strike func(*world.World, *world.Instance)
	// mend ends what lasts; nil if nothing does.
	mend func(*world.World)
}

const (
	// throttleAfter is when the account loses its tokens, by its own time, throttleFor how
	// long.
	throttleAfter, throttleFor = time.Minute, 80 * time.Second
	// mendAfter is when the lost zone comes back.
	mendAfter = 4 * time.Minute
)

// faults are all played at once.
func faults() []fault {
	return []fault{
		{
			name: "impaired-system", title: "the hardware below it fails", zone: "a",
			strike: func(w *world.World, i *world.Instance) { _ = w.KillHost(i.Host) },
		},
		{
			name: "impaired-instance", title: "its kernel dies", zone: "a",
			strike: func(w *world.World, i *world.Instance) { w.Crash(i) },
		},
		{
			name: "hung-application", title: "its application accepts and never answers", zone: "a",
			strike: func(w *world.World, i *world.Instance) { w.SetApp(i, world.AppMute) },
		},
		{
			name: "terminated-instance", title: "somebody terminates it", zone: "a",
			strike: func(w *world.World, i *world.Instance) { _ = w.Kill(i) },
		},
		{
			name: "capacity-shortage", title: "it is terminated, and its machine type is sold out", zone: "b",
			strike: func(w *world.World, i *world.Instance) {
				_ = w.Kill(i)
				w.SetCapacity(stage.Region+"b", "m7i.large", 0, false)
			},
		},
		{
			name: "lost-zone", title: "its zone loses power for four minutes of the account, with its volume", zone: "c",
			strike: func(w *world.World, _ *world.Instance) { _ = w.KillSite(stage.Region + "c") },
			mend:   func(w *world.World) { _ = w.StartSite(stage.Region + "c") },
		},
	}
}

// throttle leaves the account next to no tokens for a while.
func (d *demo) throttle() {
	d.st.Do(func(w *world.World) {
		for _, q := range world.EC2Quotas() {
			if !q.Resource {
				w.SetQuota(q.API, q.PerSecond/20, 1)
			}
		}
	})
	time.AfterFunc(d.wall(throttleFor), func() {
		d.st.Do(func(w *world.World) { w.SetQuotas(world.EC2Quotas()...) })
	})
}
