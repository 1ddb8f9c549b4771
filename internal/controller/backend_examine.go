package controller

import (
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"time"

	"relight/internal/api/client"
	"relight/internal/array"
	"relight/internal/array/examine"
	"relight/internal/core/fleet"
)

const (
	// examineLoad is how many sessions write at once while the fence is tried.
	examineLoad = 8
	// examineWatch is for how long the LUN is watched after it: longer than any delay of
	// a disk that was measured. examineWatchMost bounds what people may ask for.
	examineWatch     = 10 * time.Second
	examineWatchMost = 10 * time.Minute
	// examineFence bounds the fence that is tried.
	examineFence = 30 * time.Second
)

// ExamineArray implements api.Backend. No server of the fleet is touched by it: it has
// a LUN, initiators and a name of its own.
func (b *Backend) ExamineArray(ctx context.Context, by, name string, req client.ArrayExamination) (client.ArrayReport, error) {
	report := client.ArrayReport{Array: name, At: b.Clock.Now(), Commands: []client.ArrayCommand{}, Fence: []client.DoctorCheck{}}
	decl, site, ok := b.declared(name)
	if !ok {
		return report, problem(client.CodeNotFound, "no site declares array %q", name).WithNext("relight get sites")
	}
	report.Site, report.Driver = site, string(decl.Driver)
	if err := b.mayExamine(decl, req); err != nil {
		return report, err
	}
	arr, err := openArray(decl)
	if err != nil {
		return report, problem(client.CodeUnavailable, "array %s cannot be opened: %v", name, err).WithNext("relight doctor")
	}
	b.Log.Info("an array is examined on a scratch LUN", "array", name, "lun", req.LUN, "by", by)
	watch := req.Watch.Std()
	if watch == 0 {
		watch = examineWatch
	}
	var (
		found  examine.Report
		failed error
	)
	// The maps of one would be fenced by the other.
	if !b.Alone(name, func() {
		found, failed = examine.Run(ctx, examine.Options{
			Array: arr, Prefix: array.Prefix(decl), LUN: req.LUN,
			Load: examineLoad, Watch: watch, FenceWithin: examineFence, LastResort: decl.LUNOffline == fleet.LUNOfflineLast,
			Random: rand.Reader, Now: b.Clock.Now, Wait: array.WaitBy(b.Clock.Now),
		})
	}) {
		return report, problem(client.CodeConflict, "an array is being examined").WithNext("relight doctor array %s", name)
	}
	return examined(report, found, failed), nil
}

// mayExamine refuses what could touch a server of the fleet.
func (b *Backend) mayExamine(decl fleet.Array, req client.ArrayExamination) error {
	again := "relight doctor array " + decl.Name
	if watch := req.Watch.Std(); watch > examineWatchMost {
		return problem(client.CodeBadRequest, "a watch of %s is not between 0s and %s", watch, examineWatchMost).WithNext("%s", again)
	}
	lun := req.LUN
	if lun == "" {
		lun = examine.LUN
	}
	switch server, volume, found := examine.Clash(slices.Values(b.State.Servers()), decl.Name, lun); {
	case !found:
		return nil
	case volume == "":
		return problem(client.CodeRefused, "a server is called %s, as examinations are on arrays: it would be shut out", server).WithNext("relight get server %s", server)
	default:
		return problem(client.CodeRefused, "LUN %s is volume %s of %s: an examination overwrites its LUN", lun, volume, server).WithNext("%s", again)
	}
}

// declared finds an array and the site that declares it.
func (b *Backend) declared(name string) (decl fleet.Array, site string, ok bool) {
	for _, s := range b.State.Sites() {
		for _, a := range s.Spec.Arrays {
			if a.Name == name {
				return a, s.Name, true
			}
		}
	}
	return fleet.Array{}, "", false
}

// examined puts what was found into words.
func examined(report client.ArrayReport, found examine.Report, failed error) client.ArrayReport {
	report.LUN, report.Made = found.LUN, found.Made
	if failed != nil {
		report.Trouble = failed.Error()
	}
	switch r := found.Reservations; {
	case r != nil:
		for _, name := range slices.Sorted(maps.Keys(r.Commands)) {
			report.Commands = append(report.Commands, client.ArrayCommand{Command: name, Does: string(r.Commands[name])})
		}
		report.Commands = append(report.Commands,
			client.ArrayCommand{Command: "PREEMPT", Does: either(r.Preempts, "removes the key", "leaves the key")},
			client.ArrayCommand{Command: "PREEMPT AND ABORT", Does: either(r.Aborts, "works", "refused")},
			client.ArrayCommand{Command: "REGISTER (preempted before)", Does: either(r.Returns, "lets it in again", "refused")},
			client.ArrayCommand{Command: "REGISTER (outlives a power loss)", Does: either(r.Persists, "works", "refused")},
			client.ArrayCommand{Command: "write in another session", Does: either(r.Covers, "registered as well", "not registered")},
			client.ArrayCommand{Command: "write after a cut of the network", Does: either(r.Rejoins, "still registered", "registration lost")})
		report.SecondLine, report.WhyNot = r.SecondLine()
	case found.Trouble != "":
		report.WhyNot = []string{"they could not be tried: " + found.Trouble}
	default:
		report.WhyNot = []string{"they were not tried"}
	}
	for _, f := range found.Fence {
		check := client.DoctorCheck{Name: f.Name, State: client.DoctorOK, Detail: f.Detail}
		switch {
		case f.Unsure:
			check.State, check.Next = client.DoctorWarn, "relight doctor array "+report.Array
		case !f.Holds:
			check.State, check.Next = client.DoctorFail, "set spec.fence: power for servers with a LUN on array "+report.Array
		}
		report.Fence = append(report.Fence, check)
	}
	return report
}

func either(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}
