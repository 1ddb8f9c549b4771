package controller

import (
	"fmt"
	"slices"
	"strings"

	"relight/internal/api/client"
	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

// holdsNothing warns of a scope that is a site without any host that is known: hosts
// join without a document, and only a Site document places them below a rack.
func (b *Backend) holdsNothing(scope string) string {
	return warnScope(scope, b.Viewer.hosts(fleet.Server{}, b.Clock.Now()))
}

func warnScope(scope string, hosts []fleet.Host) string {
	if !decide.HoldsNoHost(scope, hosts) {
		return ""
	}
	return fmt.Sprintf("%s holds no host that is known, so this does nothing now; place its hosts with Site documents of kind host", scope)
}

// rules reports whether a site's document sets anything for the servers below it.
func rules(s fleet.Site) bool {
	return s.Spec.Mode != "" || s.Spec.Budget.Steps != 0 || s.Spec.Budget.KeepAlive != 0
}

// warnSites warns of the sites whose mode or budget holds for nobody, as the
// documents place the known hosts.
func (b *Backend) warnSites(sites []fleet.Site) []string {
	if !slices.ContainsFunc(sites, rules) {
		return nil
	}
	byName := map[string]fleet.Site{}
	for _, s := range append(b.State.Sites(), sites...) {
		byName[s.Name] = s
	}
	hosts := b.Viewer.hosts(fleet.Server{}, b.Clock.Now())
	for i := range hosts {
		hosts[i].Sites = pathUp(byName, hosts[i].Name)[1:]
	}
	var out []string
	for _, s := range sites {
		if !rules(s) {
			continue
		}
		if w := warnScope("site "+s.Name, hosts); w != "" {
			out = append(out, "its mode or budget: "+w)
		}
	}
	return out
}

// checkScopes names what people have set for sites in which no host is.
func (c *Controller) checkScopes(hosts []fleet.Host) client.DoctorCheck {
	check := client.DoctorCheck{Name: "scopes", State: client.DoctorOK, Detail: "every window, mode and budget of a site holds for some host"}
	var void []string
	for _, w := range All[fleet.Maintenance](c.state, kindWindow) {
		if c.clock.Now().Before(w.Until) && decide.HoldsNoHost(w.Scope, hosts) {
			void = append(void, "window "+w.ID+" for "+w.Scope)
		}
	}
	for _, s := range c.state.Sites() {
		if rules(s) && decide.HoldsNoHost("site "+s.Name, hosts) {
			void = append(void, "mode or budget of site "+s.Name)
		}
	}
	if len(void) > 0 {
		check.State, check.Detail = client.DoctorWarn, "without effect, for no known host is there: "+strings.Join(void, ", ")
		check.Next = "place the hosts with Site documents of kind host: relight schema"
	}
	return check
}

// warned adds a warning to a sentence of the record.
func warned(w string) string {
	if w == "" {
		return ""
	}
	return "; warning: " + w
}
