package cli_test

import (
	"context"
	"encoding/json"
	"time"

	"relight/internal/api/apitest"
	"relight/internal/api/client"
	"relight/internal/core/decide"
	"relight/internal/core/event"
	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

// scenario is the fleet of the transcripts: lic-01 is down on host-2 and held by
// a maintenance window, db-07 waits for an approval, web-01 is healthy.
func scenario(b *apitest.Backend) {
	b.Emit(event.Event{Kind: event.VerdictChanged, At: at.Add(-12 * time.Second), Server: "lic-01", By: "relight", Message: "lic-01 is down"})
	for _, d := range []struct{ name, tier, spec string }{
		{"lic-01", "licence", `{"mode":"auto","priority":5}`},
		{"db-07", "db", `{"mode":"ask"}`},
		{"web-01", "web", `{"mode":"auto"}`},
	} {
		doc := client.Document{
			Kind: client.KindServer, Metadata: client.Metadata{Name: d.name, Labels: map[string]string{"tier": d.tier}},
			Spec: json.RawMessage(d.spec),
		}
		_, _ = b.Apply(context.Background(), "setup", client.ApplyRequest{Documents: []client.Document{doc}})
	}
	b.Whys["lic-01"] = licWhy()
	b.Whys["db-07"] = dbWhy()
	db := b.Whys["db-07"]
	db.Watching = []decide.Watched{{Epoch: 5, Host: "host-8", Fenced: "volume data sealed and read back by the agent of host-9", Seen: "running on host-8"}}
	b.Whys["db-07"] = db
	b.Whys["web-01"] = client.Why{
		Server: "web-01", At: at,
		Finding:  fleet.Finding{Verdict: fleet.Healthy, Since: at.Add(-26 * time.Hour), Reason: "its check passes"},
		Status:   fleet.Status{Server: "web-01", Phase: fleet.PhaseRunning, Epoch: 1, Host: "host-1", LaunchedAt: at.Add(-26 * time.Hour)},
		Decision: decide.Decision{Reason: "nothing is wrong"},
	}
	b.Whys["app-02"] = appWhy()
	plans(b)
	others(b)
}

func licWhy() client.Why {
	down := at.Add(-12 * time.Second)
	until := at.Add(45*time.Minute + 45*time.Second)
	return client.Why{
		Server: "lic-01", At: at,
		Finding: fleet.Finding{
			Verdict: fleet.Down, Since: down, Reason: "host agent on host-2 reaped its process; probe from host-3 fails",
			Evidence: []fleet.Signal{
				{Source: fleet.Source{Channel: fleet.ChannelAgent, Vantage: "host-2"}, Question: fleet.Alive, Answer: fleet.No, Epoch: 3, At: at, Since: down, CannotLie: true, Detail: "exit 137"},
				{Source: fleet.Source{Channel: fleet.ChannelProbe, Vantage: "host-3"}, Question: fleet.Works, Answer: fleet.No, Epoch: 3, At: at.Add(-2 * time.Second), Since: down, Detail: "connection refused"},
			},
		},
		Status: fleet.Status{Server: "lic-01", Phase: fleet.PhaseRunning, Epoch: 3, Host: "host-2", LaunchedAt: at.Add(-72 * time.Hour), Incident: "INC-204"},
		Decision: decide.Decision{
			Hold:   &decide.Hold{Gate: decide.GateMaintenance, Reason: `maintenance window "kernel updates" by kim until 10:00`},
			Reason: "held by a maintenance window", LookAgainAt: until,
			Gates: []decide.Gate{
				{Name: decide.GateAuthority, Pass: true, Value: "term 7"},
				{Name: decide.GateMaintenance, Value: "m-12 kernel updates", SetBy: "kim", ClearsAt: until},
				{Name: decide.GateMode, Pass: true, Value: "auto", SetBy: "server lic-01"},
			},
			Candidates: []decide.Candidate{
				{Host: "host-3", Site: "rack-1", Chosen: true},
				{Host: "host-2", Site: "rack-1", Refused: "was powered off"},
			},
			Missing: []fence.Need{{Volume: "data", Reason: "volume data is not sealed against epoch 3"}},
		},
		Guards: fleet.Guards{Windows: []fleet.Maintenance{{ID: "m-12", Scope: "server lic-01", Owner: "kim", Reason: "kernel updates", From: down.Add(-time.Minute), Until: until}}},
		Events: []client.EventRecord{{ID: "41", Event: event.Event{Kind: event.VerdictChanged, At: down, Server: "lic-01", Message: "lic-01 is down\x1b[2J"}}},
	}
}

func appWhy() client.Why {
	ended := fleet.Evidence{Method: fleet.Terminated, Server: "app-02", Epoch: 2, By: "EC2 in eu-west-1", At: at, Support: "vol-1 is available", Released: fleet.Yes}
	return client.Why{
		Server: "app-02", At: at,
		Finding:  fleet.Finding{Verdict: fleet.Down, Since: at.Add(-time.Minute), Reason: "EC2 says terminated"},
		Status:   fleet.Status{Server: "app-02", Phase: fleet.PhaseRecovering, Epoch: 3, Evidence: []fleet.Evidence{ended}, Recovery: &fleet.Recovery{ID: "r-9", Rung: fleet.Relaunch, From: 2, To: 3, Begun: at.Add(-time.Minute)}},
		Grade:    &fleet.Grade{Name: fleet.GradeFreed, Means: "its instance is over for ever, and all that it had was seen to be let go", Final: true},
		Decision: decide.Decision{Step: &fleet.Step{Kind: fleet.StepLaunch, Server: "app-02", Epoch: 3}, Reason: "launch"},
	}
}

func dbWhy() client.Why {
	return client.Why{
		Server: "db-07", At: at,
		Finding:  fleet.Finding{Verdict: fleet.Down, Since: at.Add(-5 * time.Minute), Reason: "two sources say no"},
		Status:   fleet.Status{Server: "db-07", Phase: fleet.PhaseNeedsPerson, Epoch: 6, Host: "host-9", Message: "a proof cannot be had", Notes: []fleet.Note{{Step: fleet.StepAttach, Epoch: 1, At: at.Add(-time.Hour), Text: "data holds ext2/3/4"}}},
		Decision: decide.Decision{Hold: &decide.Hold{Gate: decide.GateProof, Reason: "epoch 6 may still write", NeedsPerson: true}, Reason: "no proof"},
	}
}

func plans(b *apitest.Backend) {
	b.Plans["web-01"] = client.Plan{Server: "web-01", Reason: "nothing is wrong"}
	b.Plans["lic-01"] = client.Plan{
		Server: "lic-01", Rung: fleet.Relaunch, From: 3, To: 4, Reason: "down, so relaunch on host-3", Hash: "p-1f",
		Steps: []client.PlanStep{{Sentence: "seal volume data against epoch 3"}, {Sentence: "launch epoch 4 on host-3"}},
		Hold:  &decide.Hold{Gate: decide.GateMaintenance, Reason: "maintenance window m-12"},
	}
	b.HealTo = client.HealAnswer{Message: "recovery begins", Decision: decide.Decision{Step: &fleet.Step{Kind: fleet.StepStop}, Reason: "asked for"}}
	b.Asked = []client.ApprovalRow{{
		Server: "db-07", Epoch: 6, Plan: "p-9a", Needed: 2, Reason: "mode ask: proof by power-off of host-9", Until: at.Add(15 * time.Minute),
		Steps: []string{"switch host-9 off", "launch epoch 7 on host-1"}, Given: []fleet.Approval{{By: "ola"}},
	}}
}

func others(b *apitest.Backend) {
	b.Kept = []client.KeptSnapshot{
		{Server: "lic-01", Volume: "data", Array: "san-1", LUN: "lic-01-data", Name: "relight-lic-01-e2", Bytes: 1 << 30, At: at.Add(-time.Hour)},
		{Server: "web-01", Volume: "data", Array: "san-2", LUN: "web-01-data", Error: "connection refused"},
	}
	b.Left = []client.Orphan{
		{Kind: "map", Server: "old-01", Epoch: 3, On: "san-1", What: "iqn.2026-01.local.relight.san-1:old-01.e3", Detail: "may log in", Next: "tgt-admin -C 0 --delete iqn.2026-01.local.relight.san-1:t:old-01.e3", At: at},
		{On: "host-2", Error: "host host-2 does not report"},
	}
	b.SpareTo = client.SpareView{At: at, Sites: []decide.SiteSpare{
		{Site: "fleet", Hosts: 2, Units: 16, Used: 2, Worst: "host-1", Reason: "1 of the 1 servers on host-1 would find no place, such as web-01: host-2: its agent is silent"},
		{Site: "rack-1", OK: true, Hosts: 2, Units: 16, Used: 2, Warm: 1},
	}}
	b.HostRows = []client.HostRow{
		{Name: "host-1", Sites: []string{"rack-1", "dc1"}, InContact: "yes", Since: at.Add(-time.Hour), Units: 8, UsedUnits: 2, Servers: []string{"web-01"}, Power: true, Standbys: []fleet.Warm{{Server: "lic-01", Ready: true}, {Server: "lic-02"}}},
		{Name: "host-2", InContact: "no", Since: at.Add(-12 * time.Second), Units: 8, Closed: "silent"},
	}
	begun := at.Add(-time.Hour)
	b.IncidentOf["INC-204"] = client.IncidentView{
		IncidentRow: client.IncidentRow{ID: "INC-204", Cause: "host host-2", Opened: begun, Closed: begun.Add(40 * time.Second), Servers: []string{"lic-01"}},
		Recoveries: []client.RecoveryView{{
			Server: "lic-01", Ended: begun.Add(40 * time.Second), Healed: true, RTO: fleet.Duration(40 * time.Second),
			Recovery: fleet.Recovery{ID: "r-1", Rung: fleet.Relaunch, From: 2, To: 3, Cause: "host-2 fell silent", DownSince: begun, Begun: begun.Add(5 * time.Second), Marks: []fleet.Mark{
				{Name: "detect", Begun: begun, Ended: begun.Add(5 * time.Second)},
				{Name: "fence", Begun: begun.Add(5 * time.Second), Ended: begun.Add(20 * time.Second)},
				{Name: "verify", Begun: begun.Add(20 * time.Second), Ended: begun.Add(40 * time.Second)},
			}},
		}},
	}
	b.Report = client.DoctorReport{At: at, Checks: []client.DoctorCheck{
		{Name: "store", State: client.DoctorOK, Detail: "three members"},
		{Name: "witness", State: client.DoctorWarn, Detail: "the loss of host-1 needs a person", Next: "relight host token witness"},
	}}
	b.ArrayReport = client.ArrayReport{
		Array: "san-1", Site: "dc1", Driver: "tgt", At: at, LUN: "relight-probe", Made: true,
		Commands: []client.ArrayCommand{{Command: "WRITE(10)", Does: "stopped"}, {Command: "WRITE SAME(10)", Does: "let through"}},
		WhyNot:   []string{"WRITE SAME(10) passes a reservation"},
		Fence: []client.DoctorCheck{
			{Name: "fence", State: client.DoctorOK, Detail: "confirmed after 20ms"},
			{Name: "nothing lands", State: client.DoctorFail, Detail: "3 blocks were overwritten", Next: "set spec.fence: power"},
		},
	}
	b.Trial = client.WebhookTrial{Host: "pager.example", Status: 401, Answer: "bad signature\x1b[2J", Took: fleet.Duration(12 * time.Millisecond)}
	b.Audit = client.AuditReport{OK: true, At: at, Shards: []client.AuditShard{{Shard: 0, Entries: 812, Head: "9f2c", OK: true}}}
}
