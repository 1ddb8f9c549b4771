package spec

import (
	"time"

	"relight/internal/core/fleet"
)

func siteShape() *shape {
	power := &shape{form: object, name: "PowerDevice", doc: "A program that switches a host off and reads the state back, through the fence agents' protocol.", fields: []field{
		{
			name: "command", doc: "The fence agent and its arguments; options go to its standard input.", required: true, example: `["/usr/sbin/fence_ipmilan"]`,
			shape: &shape{form: list, min: 1, max: 64, elem: &shape{form: text, format: argument()}},
		},
		{
			name: "options", doc: "Passed on as they are, one name=value line each. Passwords are refused; use `password_script`.", example: `{ip: "10.0.9.11", lanplus: "1"}`,
			shape: &shape{form: dict, max: 128, keyFormat: optionName(), format: line()},
		},
		{name: "plug", doc: "The device's name for the host.", required: true, example: `"11"`, shape: &shape{form: text, format: plain(256)}},
		{
			name: "timeout", doc: "How long one call may take before its outcome counts as unknown.", example: "30s",
			shape: duration(time.Second, time.Hour), def: `"30s"`, why: "slow management controllers answer within twenty",
		},
	}}
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
		{name: "power", doc: "The device that can switch the host off; only for kind `host`.", shape: power},
		{name: "arrays", doc: "The SAN arrays that serve the hosts below this site.", shape: &shape{form: list, elem: arrayShape(), key: "name", max: 64}},
	}}
}
