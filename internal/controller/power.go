package controller

import (
	"context"
	"fmt"
	"strings"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
)

const (
	// powerLook bounds a look at the power devices of one host, and powerLooks at
	// those of all hosts.
	powerLook  = 15 * time.Second
	powerLooks = 25 * time.Second
	// powerLooksAtOnce bounds the programs that a look at all hosts runs at a time.
	powerLooksAtOnce = 8
)

// Power implements api.Backend.
func (b *Backend) Power(ctx context.Context, host string) (client.PowerReport, error) {
	report := client.PowerReport{Host: host, At: b.Clock.Now(), InContact: fleet.CannotTell.String()}
	site, ok := b.Viewer.site(host)
	for _, h := range b.Viewer.hosts(fleet.Server{}, report.At) {
		if h.Name == host {
			ok, report.InContact = true, h.InContact.String()
		}
	}
	if !ok {
		return report, problem(client.CodeNotFound, "there is no host %q", host).WithNext("relight get hosts")
	}
	if site.Spec.Power == nil {
		return report, problem(client.CodeUnsupported, "no power device is declared for host %s", host).WithNext("relight schema site")
	}
	report.Devices = lookAtPower(ctx, *site.Spec.Power)
	return report, nil
}

// checkPower reads the state of every host's power devices. A device that does not
// answer today will not answer when its host must be switched off.
func (c *Controller) checkPower(ctx context.Context, hosts []fleet.Host) []client.DoctorCheck {
	ctx, cancel := context.WithTimeout(ctx, powerLooks)
	defer cancel()
	checks := make([]client.DoctorCheck, len(hosts))
	done := make(chan struct{}, len(hosts))
	places := make(chan struct{}, powerLooksAtOnce)
	for i, h := range hosts {
		go func() {
			defer func() { done <- struct{}{} }()
			places <- struct{}{}
			defer func() { <-places }()
			if site, ok := c.backend.Viewer.site(h.Name); ok && site.Spec.Power != nil {
				checks[i] = judgePower(h, lookAtPower(ctx, *site.Spec.Power))
			}
		}()
	}
	var out []client.DoctorCheck
	for range hosts {
		<-done
	}
	for _, check := range checks {
		if check.Name != "" {
			out = append(out, check)
		}
	}
	return out
}

// judgePower says whether the host could be switched off now.
func judgePower(h fleet.Host, devices []client.PowerDevice) client.DoctorCheck {
	check := client.DoctorCheck{Name: "power " + h.Name, State: client.DoctorOK, Next: "relight power status " + h.Name}
	var said []string
	well := map[int]bool{}
	off := map[int]bool{}
	for _, d := range devices {
		if _, seen := well[d.Level]; !seen {
			well[d.Level], off[d.Level] = true, true
		}
		well[d.Level] = well[d.Level] && d.Error == ""
		off[d.Level] = off[d.Level] && d.Error == "" && d.State == client.PowerOff
		if d.Error != "" {
			said = append(said, d.Device+": "+d.Error)
		}
		for _, doubt := range d.Doubts {
			said = append(said, d.Device+": "+doubt)
		}
	}
	working := 0
	for level, ok := range well {
		if ok {
			working++
		}
		if off[level] && h.InContact == fleet.Yes {
			// The worst of all: it would prove the death of a host that lives.
			check.State = client.DoctorFail
			check.Detail = fmt.Sprintf("reads as off while %s is in contact: it is another host's plug, or none", h.Name)
			check.Next = "correct spec.power.plug in the Site document: " + check.Next
			return check
		}
	}
	switch {
	case working == 0:
		check.State, check.Detail = client.DoctorFail, "cannot be switched off: "+strings.Join(said, "; ")
	case len(said) > 0:
		check.State, check.Detail = client.DoctorWarn, strings.Join(said, "; ")
	default:
		check.Detail = fmt.Sprintf("%d devices answer", len(devices))
	}
	return check
}
