package controller

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
	"relight/internal/provider/san"
)

// checkArrays asks each declared array whether it answers this controller, and says of
// those that servers on EC2 depend on by which way it does.
func (c *Controller) checkArrays(ctx context.Context) []client.DoctorCheck {
	var checks []client.DoctorCheck
	servers := c.state.Servers()
	for _, a := range c.arrays.Ask(ctx) {
		behind, host, near := provedBy(servers, a.Name), managementOf(a), fleet.Yes
		if host != "" && len(behind) > 0 {
			near = onOwnNetwork(ctx, host)
		}
		checks = append(checks, arrayCheck(a, behind, host, near))
	}
	return checks
}

// few names three of the servers at most.
func few(servers []string) string {
	if len(servers) > 3 {
		return strings.Join(servers[:3], ", ") + " …"
	}
	return strings.Join(servers, ", ")
}

// arrayCheck words one array. behind are the servers on EC2 that it alone proves dead
// behind a cut service link, host its management, empty if that is on the controller's own
// machine, and near whether a network of that machine leads there without a router.
func arrayCheck(a san.State, behind []string, host string, near fleet.Answer) client.DoctorCheck {
	check := client.DoctorCheck{Name: "array " + a.Name, State: client.DoctorOK, Detail: "answers; its servers can be fenced there"}
	names := fmt.Sprintf("%d servers on EC2 (%s)", len(behind), few(behind))
	switch {
	case a.Err != nil:
		check.State = client.DoctorFail
		check.Detail = "does not answer this controller, so that its servers can be fenced by power alone: " + a.Err.Error()
		if len(behind) > 0 {
			check.Detail = "does not answer this controller, and behind a cut service link nothing else proves " + names + " dead: " + a.Err.Error()
		}
		check.Next = "check spec.arrays of the Site " + a.Site + " and the way to the array's management"
	case a.NoLine != "":
		check.State = client.DoctorWarn
		check.Detail = "answers; its servers can be fenced there, but its reservations are no second line: " + a.NoLine
		check.Next = "relight doctor array " + a.Name
	case len(a.Without) > 0:
		check.State = client.DoctorWarn
		check.Detail = fmt.Sprintf("answers; its servers can be fenced there, but %d of them have no second line (%s): it comes with their next start", len(a.Without), few(a.Without))
		check.Next = "relight move SERVER --to HOST, at a time that suits"
	case len(behind) == 0:
	case near == fleet.Yes:
		check.Detail = "answers, and no router lies between; behind a cut service link it proves " + names + " dead"
	default:
		check.State = client.DoctorWarn
		check.Detail = "answers, but not on a network of this controller's own: if the way is an Outpost's service link, a cut takes with it the proof for " + names
		check.Next = "see that the way does not use the service link: ip route get " + host + "; else run the controller on the premises"
	}
	return check
}

// provedBy names the servers on EC2 all of whose volumes are LUNs, one of them on the array:
// of these its word is a proof though EC2 has none.
func provedBy(servers []fleet.Server, array string) []string {
	var out []string
	for _, s := range servers {
		volumes := s.Spec.Identity.Volumes
		on := slices.ContainsFunc(volumes, func(v fleet.Volume) bool { return v.LUN != nil && v.LUN.Array == array })
		other := slices.ContainsFunc(volumes, func(v fleet.Volume) bool { return v.LUN == nil })
		if s.Spec.Template.EC2 != nil && on && !other && s.Spec.Fence == fleet.FenceStorage {
			out = append(out, s.Name)
		}
	}
	slices.Sort(out)
	return out
}

// managementOf is the host of an array's management; empty for one on this machine.
func managementOf(a san.State) string {
	u, err := url.Parse(a.URL)
	if err != nil {
		return a.URL // it does not answer either
	}
	return u.Hostname()
}

// onOwnNetwork reports whether a host lies on a network of this machine. No answer if its
// address or the networks cannot be told.
func onOwnNetwork(ctx context.Context, host string) fleet.Answer {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return fleet.CannotTell
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(ips) == 0 {
		return fleet.CannotTell
	}
	for _, ip := range ips {
		if !slices.ContainsFunc(addresses, func(a net.Addr) bool {
			own, err := netip.ParsePrefix(a.String())
			return err == nil && own.Masked().Contains(ip.Unmap())
		}) {
			return fleet.No
		}
	}
	return fleet.Yes
}
