package onprem

import (
	"slices"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider/onprem/link"
)

// lateBy is how much later than its deadline an agent may end a command: what it
// waited on the way, and a bit.
const lateBy = 2 * time.Second

// job is a command that waits for its result. It is guarded by Hub.mu.
type job struct {
	cmd      link.Command
	deadline time.Time
	// handed is true once the command may have reached the agent.
	handed bool
	// callers counts those who wait: a repeated call joins the first.
	callers int
	ended   bool
	done    chan struct{}
	result  *link.Result // nil if the host was forgotten
	endedAt time.Time
}

// end gives the job its result; nil means that none will come.
func (j *job) end(r *link.Result) {
	if j.ended {
		return
	}
	j.ended, j.result = true, r
	close(j.done)
}

// enqueue adds the command to the host's queue, or joins the caller to the job
// that has the same token; mu is held.
func (x *host) enqueue(cmd link.Command, deadline time.Time) *job {
	for _, j := range x.jobs {
		if j.cmd.ID == cmd.ID {
			j.callers++
			if deadline.After(j.deadline) {
				j.deadline = deadline
			}
			return j
		}
	}
	j := &job{cmd: cmd, deadline: deadline, callers: 1, done: make(chan struct{})}
	x.jobs = append(x.jobs, j)
	x.ring()
	return j
}

// leave takes one caller from the job, and the job from the queue with the last
// one; mu is held. A command that was handed out and not answered leaves a doubt.
func (x *host) leave(j *job) {
	j.callers--
	if j.callers > 0 || j.ended {
		return
	}
	if j.handed {
		x.doubts[j.cmd.ID] = doubt{server: j.cmd.Step.Server, until: j.deadline.Add(lateBy)}
	}
	x.drop(j)
}

func (x *host) drop(j *job) {
	x.jobs = slices.DeleteFunc(x.jobs, func(o *job) bool { return o == j })
}

// hand returns the commands that the agent does not know yet; mu is held.
func (x *host) hand(knows []string, now time.Time) []link.Command {
	var out []link.Command
	for _, j := range x.jobs {
		left := j.deadline.Sub(now)
		if left <= 0 || j.handed && slices.Contains(knows, j.cmd.ID) {
			continue
		}
		j.handed = true
		if k := j.cmd.Step.Kind; k == fleet.StepLaunch || k == fleet.StepAttach {
			x.may[j.cmd.Step.Server] = true
		}
		cmd := j.cmd
		cmd.Within = fleet.Duration(left)
		out = append(out, cmd)
	}
	return out
}

// finish takes the result of a command and returns its step; mu is held. A result
// that nobody waits for is dropped: the report that came with it says what counts.
func (x *host) finish(r *link.Result, now time.Time) (step fleet.Step, waited bool) {
	delete(x.doubts, r.ID)
	for _, j := range x.jobs {
		if j.cmd.ID == r.ID {
			j.endedAt = now
			x.drop(j)
			j.end(r)
			return j.cmd.Step, true
		}
	}
	return fleet.Step{}, false
}

// busyWith reports whether a command about the server is or may be under way; mu is
// held.
func (x *host) busyWith(server string) bool {
	for _, d := range x.doubts {
		if d.server == server {
			return true
		}
	}
	return slices.ContainsFunc(x.jobs, func(j *job) bool { return j.handed && j.cmd.Step.Server == server })
}
