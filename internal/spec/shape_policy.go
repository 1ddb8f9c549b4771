package spec

import (
	"time"

	"relight/internal/core/fleet"
)

func policyShape() *shape {
	storm := &shape{form: object, name: "Storm", doc: "From which point on so much is failing that a person must look.", fields: []field{
		{
			name: "hosts", doc: "How many hosts may lose servers within the window before everything holds.", example: "3",
			shape: number(1, 100_000), def: "2", why: "one dead host is daily life and two can be chance; three at once are more likely a switch, a power feed or our own view",
		},
		{
			name: "window", doc: "The span in which lost hosts are counted.", example: "5m",
			shape: duration(time.Second, 24*time.Hour), def: `"5m"`, why: "hosts that share a cause fall within minutes of each other",
		},
	}}
	guards := []field{
		{
			name: "budget", doc: "Limits recoveries over the whole fleet; only in the Policy called `default`.",
			shape: budgetShape("FleetBudget", "10", "a small fleet never needs more, and a wrong verdict about many servers is stopped after ten"),
		},
		{name: "storm", doc: "When to stop and ask; only in the Policy called `default`.", shape: storm},
	}
	return &shape{form: object, name: "PolicySpec", doc: "Rules that fill what servers leave out.", fields: append(ruleFields(), guards...)}
}

// budgetShape is the shape of a budget by that name, whose default for steps is
// steps, because of why.
func budgetShape(name, steps, why string) *shape {
	return &shape{form: object, name: name, doc: "Limits destructive steps in one domain.", fields: []field{
		{
			name: "keepAlive", doc: "How many servers of the domain must stay untouched while they are healthy; a step that would leave fewer is held. 0 means no such limit.", example: "2",
			shape: number(0, 1_000_000), def: "0", why: "only you know how many of your servers are enough",
		},
		{
			name: "steps", doc: "How many recoveries may start within the window. 0 means no such limit.", example: "10",
			shape: number(0, 1_000_000), def: steps, why: why,
		},
		{
			name: "window", doc: "The span in which recoveries are counted.", example: "10m",
			shape: duration(time.Second, 24*time.Hour), def: `"10m"`, why: "long enough for a person to be paged and to look",
		},
	}}
}

func modeShape() *shape {
	return words("How far Relight may go by itself.",
		option{string(fleet.Observe), "says what it would do"},
		option{string(fleet.Ask), "waits for a person's approval"},
		option{string(fleet.Auto), "acts"})
}

// ruleFields are the fields that a Policy can fill for many servers.
func ruleFields() []field {
	return []field{
		{
			name: "mode", doc: "How far Relight may go by itself. The strictest of fleet, site and server wins.", example: "auto",
			shape: modeShape(), def: `"observe"`, why: "nothing is touched before you have seen what would be done",
		},
		{name: "health", doc: "How to tell that the server lives and works.", shape: healthShape()},
		{name: "ladder", doc: "What is tried, in which order, how often.", shape: ladderShape()},
		{
			name: "fence", doc: "Which kind of proof is demanded before the next epoch.", example: "storage",
			shape: words("Which kind of proof is demanded.",
				option{string(fleet.FenceStorage), "every volume refuses the old epoch; the old one may still answer stale reads until its host is reached"},
				option{string(fleet.FencePowerFirst), "the same proof, and another order: the old host is switched off first, and the volumes refuse the old epoch where that cannot be done or is not confirmed in time"},
				option{string(fleet.FencePower), "the old instance is known to have stopped"},
				option{string(fleet.FenceBoth), "the old instance is known to have stopped, and every volume that can refuse it does: against a power device that lies"}),
			def: `"storage"`, why: "protects the data and works without a power device",
		},
		{
			name: "approvals", doc: "How many different people must approve in mode `ask`.", example: "2",
			shape: number(1, 10), def: "1", why: "one person who looks is what most teams have at night",
		},
		{
			name: "onIsolation", doc: "What an agent does with the server when its lease ends.", example: "run",
			shape: words("What an agent without its lease does.",
				option{string(fleet.IsolationRun), "leaves it running"},
				option{string(fleet.IsolationStop), "stops it, unless every other host that could take it over was given no higher epoch"}),
			def: `"run"`, why: "the loss of our controllers must not stop healthy servers",
		},
		{
			name: "isolatedFor", doc: "How long an isolated server stays running before it is fenced and relaunched. 0s means until a person decides.", example: "2m",
			shape: duration(0, year), def: `"2m"`, why: "outlasts the restart of a switch; a server that only we cannot reach may be serving",
		},
		{
			name: "oneSource", doc: "What a single source's `no` is worth where there is no second independent source.", example: "hold",
			shape: words("What one source's no is worth.",
				option{string(fleet.OneSourceHold), "wait for a person"},
				option{string(fleet.OneSourceFence), "fence; a confirmed fence makes it true"}),
			def: `"hold"`, why: "one source alone cannot tell a dead server from a broken path to it",
		},
	}
}

func healthShape() *shape {
	check := &shape{
		form: object, name: "Check", doc: "One way to ask the application whether it works. A check written in the server replaces the one of its Policy.",
		groups: []group{{names: []string{"http", "tcp", "exec", "beat"}}},
		fields: []field{
			{name: "http", doc: "A URL that answers with a 2xx status.", example: "http://10.0.1.9:8080/healthz", shape: &shape{form: text, format: httpURL()}},
			{name: "tcp", doc: "A host and port that accept a connection.", example: "10.0.1.9:5432", shape: &shape{form: text, format: hostPort()}},
			{
				name: "exec", doc: "A program that ends with exit code 0; run on the server's host.", example: `["/usr/bin/pg_isready"]`,
				shape: &shape{form: list, min: 1, max: 1024, elem: &shape{form: text, format: argument()}},
			},
			{name: "beat", doc: "The application sends heartbeats by itself. `false` says that there is no check, whatever the Policy has.", example: "true", shape: &shape{form: truth}},
			{
				name: "interval", doc: "From one check to the next.", example: "1s",
				shape: duration(100*time.Millisecond, time.Hour), def: `"1s"`, why: "a check is cheap, and this bounds how fast a failure can be seen",
			},
			{
				name: "timeout", doc: "How long one check may take.", example: "2s",
				shape: duration(100*time.Millisecond, time.Hour), def: `"2s"`, why: "a pause for garbage collection or a lost packet is shorter",
			},
		},
	}
	return &shape{form: object, name: "Health", doc: "How to tell that the server lives and works.", fields: []field{
		{name: "check", doc: "The application's own check. Without one, a running instance counts as working.", shape: check},
		{
			name: "suspectAfter", doc: "The silence after which a source that used to answer counts as saying no. At least the check's interval plus its timeout.", example: "3s",
			shape: duration(100*time.Millisecond, 24*time.Hour), def: `"3s"`, why: "three lost beats in a row; also the check's interval plus its timeout",
		},
		{
			name: "downAfter", doc: "How long two independent sources must have said no before the server counts as down.", example: "5s",
			shape: duration(0, 24*time.Hour), def: `"5s"`, why: "outlasts a routing change or a paused virtual machine",
		},
		{
			name: "impairedAfter", doc: "How long the check must have failed on a running instance before it counts as impaired.", example: "10s",
			shape: duration(0, 24*time.Hour), def: `"10s"`, why: "a short overload heals by itself; a restart would make it worse",
		},
		{
			name: "startupGrace", doc: "How long a fresh instance may take before failing checks count.", example: "30s",
			shape: duration(0, 24*time.Hour), def: `"30s"`, why: "a process with a log to replay needs some; raise it for databases",
		},
	}}
}

func ladderShape() *shape {
	rung := &shape{form: object, name: "Rung", doc: "One action and how often it may be tried.", fields: []field{
		{name: "rung", doc: "The action.", required: true, example: "restartApp", shape: words("One action of the ladder.",
			option{string(fleet.RestartApp), "restarts the application where it is"},
			option{string(fleet.Reboot), "resets the instance in place"},
			option{string(fleet.Recover), "starts the same instance on other hardware"},
			option{string(fleet.Relaunch), "starts a new instance on an allowed host of the same site"},
			option{string(fleet.Move), "starts a new instance in another allowed site"})},
		{name: "tries", doc: "How often it may be tried within the ladder's window. Leave the rung out to never use it.", required: true, example: "3", shape: number(1, 1000)},
	}}
	return &shape{form: object, name: "Ladder", doc: "The actions that a recovery climbs, from the gentlest to the farthest.", fields: []field{
		{
			name: "rungs", doc: "The rungs, gentlest first. What a provider cannot do is skipped. A list written in the server replaces the whole list of its Policy.",
			shape: &shape{form: list, elem: rung, key: "rung", min: 1, max: 16},
			def:   `[{"rung":"restartApp","tries":3},{"rung":"reboot","tries":2},{"rung":"recover","tries":2},{"rung":"relaunch","tries":3},{"rung":"move","tries":1}]`,
			why:   "gentle actions first and more than once, the one that changes sites only once",
		},
		{
			name: "window", doc: "The span over which the tries of a rung are counted.", example: "1h",
			shape: duration(time.Second, 30*24*time.Hour), def: `"1h"`, why: "a server that fails more often within an hour needs a person, not another try",
		},
		{
			name: "backOff", doc: "The wait before the second try within the window; it doubles with each further one.", example: "10s",
			shape: duration(0, 24*time.Hour), def: `"10s"`, why: "lets a dependency come back first",
		},
		{
			name: "maxBackOff", doc: "Where the doubling ends.", example: "10m",
			shape: duration(0, 24*time.Hour), def: `"10m"`, why: "nobody wants to wait longer once the cause is gone",
		},
		{
			name: "verifyWithin", doc: "How long a rung may take from its last effect until the server's own checks pass, before the next rung.", example: "60s",
			shape: duration(time.Second, 24*time.Hour), def: `"60s"`, why: "twice the start-up grace",
		},
	}}
}
