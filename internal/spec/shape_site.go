package spec

import (
	"relight/internal/core/fleet"
)

func siteShape() *shape {
	power := powerShape()
	return &shape{form: object, name: "SiteSpec", doc: "A failure domain.", fields: []field{
		{name: "kind", doc: "The level of the failure domain.", required: true, example: "host", shape: words("The level of the failure domain.",
			option{string(fleet.SiteRegion), "a region of a cloud, or a country"},
			option{string(fleet.SiteZone), "a zone, or a data centre"},
			option{string(fleet.SiteOutpost), "an outpost, or a remote place"},
			option{string(fleet.SiteRack), "a rack"},
			option{string(fleet.SiteHost), "one host"})},
		{name: "parent", doc: "The site that holds this one; its kind is larger.", example: "rack-1", shape: &shape{form: text, format: dnsLabel()}},
		{name: "mode", doc: "The loosest mode allowed to servers in this site. Without it the site sets no bound.", example: "ask", shape: modeShape()},
		{name: "budget", doc: "Limits recoveries within this site.", shape: budgetShape("SiteBudget", "0", "the fleet's budget already limits them")},
		{name: "power", doc: "What can switch the host off: one device, or levels of them; only for kind `host`.", shape: power},
		{name: "arrays", doc: "The SAN arrays that serve the hosts below this site.", shape: &shape{form: list, elem: arrayShape(), key: "name", max: 64}},
	}}
}
