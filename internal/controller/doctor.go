package controller

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
	"relight/internal/enrol"
)

// mountHealth adds the endpoints for supervisors.
func (c *Controller) mountHealth(mux *http.ServeMux) {
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		checks := c.ready()
		status, failed := http.StatusOK, false
		var body strings.Builder
		for _, check := range checks {
			if check.State == client.DoctorFail {
				failed = true
			}
			if r.URL.Query().Has("verbose") || check.State == client.DoctorFail {
				fmt.Fprintf(&body, "%s %s: %s\n", check.State, check.Name, check.Detail)
			}
		}
		if failed {
			status = http.StatusServiceUnavailable
		} else {
			body.WriteString("ok\n")
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body.String()))
	})
}

// ready are the checks that decide whether this controller can act.
func (c *Controller) ready() []client.DoctorCheck {
	storeCheck := client.DoctorCheck{Name: "store", State: client.DoctorOK, Detail: "takes writes"}
	if trouble := c.trouble(); trouble != "" {
		storeCheck.State, storeCheck.Detail, storeCheck.Next = client.DoctorFail, trouble, "free disk space under the controller's directory, or restore it from a backup"
	}
	authority := c.reign.Authority()
	lease := client.DoctorCheck{Name: "lease", State: client.DoctorOK, Detail: fmt.Sprintf("term %d", authority.Term)}
	if !c.clock.Now().Before(authority.Until) {
		lease.State, lease.Detail, lease.Next = client.DoctorFail, "this controller's lease has ended; it starts nothing destructive", "look at the controller's log"
	}
	return []client.DoctorCheck{storeCheck, lease}
}

// examine runs all of the doctor's checks.
func (c *Controller) examine(ctx context.Context) []client.DoctorCheck {
	checks := c.ready()
	hosts := c.backend.Viewer.hosts(fleet.Server{}, c.clock.Now())
	checks = append(checks, c.checkHosts(hosts)...)
	checks = append(checks, checkWatchdogs(hosts, c.state.Servers())...)
	checks = append(checks, checkCertificates(All[enrol.Host](c.state, kindHost), c.clock.Now())...)
	checks = append(checks, c.checkPower(ctx, hosts)...)
	checks = append(checks, c.checkArrays(ctx)...)
	checks = append(checks, checkOrphans(c.orphans(ctx)))
	checks = append(checks, c.checkScopes(hosts), c.checkSpare(), c.checkIsolation(), c.checkTimings(), c.collector.checkSweeps(), c.checkModes(), c.checkPeople())
	return checks
}

func (c *Controller) checkHosts(hosts []fleet.Host) []client.DoctorCheck {
	var checks []client.DoctorCheck
	machines := slices.ContainsFunc(c.state.Servers(), func(s fleet.Server) bool { return s.Spec.Template.VM != nil })
	for _, h := range hosts {
		check := client.DoctorCheck{Name: "host " + h.Name, State: client.DoctorOK, Detail: "in contact"}
		switch {
		case h.InContact != fleet.Yes:
			check.State, check.Detail = client.DoctorFail, "out of contact since "+h.Since.Format("15:04:05")
			check.Next = "relight get hosts"
		case h.Detour:
			check.State, check.Detail = client.DoctorWarn, "in contact, with beats over HTTPS: its datagrams or the answers do not come through"
			check.Next = "let UDP through to the controller's --beat-listen, both ways"
		case h.StorageBeat == fleet.No:
			check.State, check.Detail = client.DoctorFail, "in contact, but its heartbeat on the shared storage has stopped: no server with a volume there is started on it"
			check.Next = "look at its mounts and its path to the storage"
		case !h.Power:
			check.State = client.DoctorWarn
			check.Detail = "in contact; no power device: if it is cut off while its servers run on, a person must confirm their death"
			check.Next = "declare spec.power in a Site document of kind host: relight schema"
		}
		checks = append(checks, check)
		if v := h.Hypervisor; machines && v != nil && v.Emulated {
			checks = append(checks, client.DoctorCheck{
				Name: "hypervisor " + h.Name, State: client.DoctorWarn, Detail: "virtual machines are emulated, which is slow: " + v.Detail,
				Next: "see whether the host's CPU offers virtualisation to it, then restart the host",
			})
		}
	}
	if len(hosts) == 0 {
		checks = append(checks, client.DoctorCheck{Name: "hosts", State: client.DoctorWarn, Detail: "no host has joined", Next: "relight host token"})
	}
	return checks
}

// checkWatchdogs says of each host in contact whether a watchdog is there. None is
// missed while no server asks to be stopped.
func checkWatchdogs(hosts []fleet.Host, servers []fleet.Server) []client.DoctorCheck {
	wanted := slices.ContainsFunc(servers, func(s fleet.Server) bool { return s.Spec.OnIsolation == fleet.IsolationStop })
	var checks []client.DoctorCheck
	for _, h := range hosts {
		check := client.DoctorCheck{Name: "watchdog " + h.Name, State: client.DoctorOK}
		switch w := h.Watchdog; {
		case h.InContact != fleet.Yes || w == nil && !wanted:
			continue
		case w == nil:
			check.State, check.Detail = client.DoctorWarn, "none: if its agent hangs, a server with onIsolation: stop outlives its lease there"
			check.Next = "relight agent host --watchdog /dev/watchdog"
		case w.Trouble != "":
			check.State, check.Detail, check.Next = client.DoctorFail, w.Device+": "+w.Trouble, "look at the log of its agent"
		case w.Armed:
			check.Detail = fmt.Sprintf("%s is armed: resets the host %s after its agent stops feeding it", w.Device, w.Timeout)
		default:
			check.Detail = w.Device + " is there, and disarmed: nothing runs there that must end with its lease"
		}
		checks = append(checks, check)
	}
	return checks
}

// checkCertificates names the hosts whose agents should have renewed their
// certificates long ago.
func checkCertificates(hosts []enrol.Host, now time.Time) []client.DoctorCheck {
	var checks []client.DoctorCheck
	for _, h := range hosts {
		check := client.DoctorCheck{Name: "certificate " + h.Name, State: client.DoctorWarn, Next: "look at the log of its agent"}
		check.Detail = "ends on " + h.Ends.UTC().Format(time.DateOnly) + " and was not renewed yet"
		switch late := h.Ends.Add(h.Issued.Sub(h.Ends) / 4); {
		case h.Ends.IsZero() || now.Before(late):
			continue
		case !now.Before(h.Ends):
			check.State, check.Detail = client.DoctorFail, "ended on "+h.Ends.UTC().Format(time.DateOnly)+": its agent is not let in"
			check.Next = "relight host token " + h.Name + " > token; then start its agent with --token-file token"
		}
		checks = append(checks, check)
	}
	return checks
}

// checkSpare asks of each host whether the others would have a place for its servers.
func (c *Controller) checkSpare() client.DoctorCheck {
	check := client.DoctorCheck{Name: "spare", State: client.DoctorOK, Detail: "any one host may be lost: its servers would find a place"}
	sites := c.spare.Now().Sites
	if len(sites) == 0 {
		check.Detail = "there is no host yet"
		return check
	}
	all := sites[0]
	check.Detail += fmt.Sprintf(" (%d of %d units are used", all.Used, all.Units)
	if all.Warm > 0 {
		check.Detail += fmt.Sprintf(", %d more by standby guests", all.Warm)
	}
	check.Detail += ")"
	if !all.OK {
		check.State, check.Detail, check.Next = client.DoctorWarn, all.Reason, "relight get hosts; then make room, or add a host: relight host token"
	}
	return check
}

// checkIsolation names the servers that would stop if all controllers were away
// for longer than the lease.
func (c *Controller) checkIsolation() client.DoctorCheck {
	var stop []string
	for _, s := range c.state.Servers() {
		if s.Spec.OnIsolation == fleet.IsolationStop {
			stop = append(stop, s.Name)
		}
	}
	check := client.DoctorCheck{Name: "isolation", State: client.DoctorOK, Detail: "no server stops if the controllers are away"}
	if len(stop) > 0 {
		check.State = client.DoctorWarn
		check.Detail = fmt.Sprintf("stop if all controllers and a peer are away for longer than %s: %s", c.opt.BeatLease, strings.Join(stop, ", "))
		check.Next = "set spec.onIsolation: run where a second copy cannot start"
	}
	return check
}

// checkTimings names the servers that are judged faster than their hosts: their
// first fence step would go to a host that is not known to be silent yet.
func (c *Controller) checkTimings() client.DoctorCheck {
	var hasty []string
	for _, s := range c.state.Servers() {
		if s.Spec.Health.SuspectAfter.Std() < c.opt.Contact {
			hasty = append(hasty, s.Name)
		}
	}
	check := client.DoctorCheck{Name: "timings", State: client.DoctorOK, Detail: fmt.Sprintf("every server's suspectAfter is at least --contact %s", c.opt.Contact)}
	if len(hasty) > 0 {
		check.State = client.DoctorWarn
		check.Detail = fmt.Sprintf("suspectAfter is shorter than --contact %s: %s", c.opt.Contact, strings.Join(hasty, ", "))
		check.Next = "raise spec.health.suspectAfter, or lower the controller's --contact"
	}
	return check
}

// checkModes says how much of the fleet may be healed at all.
func (c *Controller) checkModes() client.DoctorCheck {
	counts := map[fleet.Mode]int{}
	for _, s := range c.state.Servers() {
		counts[s.Spec.Mode]++
	}
	check := client.DoctorCheck{
		Name: "modes", State: client.DoctorOK,
		Detail: fmt.Sprintf("%d servers in auto, %d ask, %d only observe", counts[fleet.Auto], counts[fleet.Ask], counts[fleet.Observe]),
	}
	if counts[fleet.Observe] > 0 {
		check.State, check.Next = client.DoctorWarn, "set spec.mode: ask or auto when you trust it: relight plan SERVER"
	}
	return check
}

func (c *Controller) checkPeople() client.DoctorCheck {
	needPerson, recovering := c.backend.pendingServers()
	check := client.DoctorCheck{Name: "servers", State: client.DoctorOK, Detail: fmt.Sprintf("%d recovering, none needs a person", recovering)}
	if needPerson > 0 {
		check.State, check.Detail, check.Next = client.DoctorFail, fmt.Sprintf("%d need a person", needPerson), "relight get servers"
	}
	return check
}
