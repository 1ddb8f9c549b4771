package world_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/world"
)

// story does a thousand random things to a world in which all may go wrong.
type story struct {
	w       *world.World
	r       *rand.Rand
	all     []*world.Instance
	clients []*world.Client
	unit    *world.LUN
	guests  []*world.Initiator
	snaps   []string
	epoch   fleet.Epoch
	answers []string // of describe calls and calls
}

func newStory(t *testing.T, seed uint64) *story {
	cfg := cloud()
	cfg.Rand = rand.New(rand.NewPCG(seed, 1))
	cfg.Delays.Start.Max = time.Minute
	cfg.Lag, cfg.ReadsGoBack = 5*time.Second, seed%2 == 0
	cfg.Replies = world.Replies{Dropped: .1, Lost: .1, Doubled: .1, Late: .1, Delay: span(time.Second)}
	cfg.Checks = world.Checks{Every: time.Minute, Delay: 10 * time.Second}
	cfg.AutoRecover = world.Span{Min: time.Minute, Max: 3 * time.Minute}
	cfg.WriteEvery, cfg.WriteLatency = time.Second, 100*time.Millisecond
	s := &story{w: network(t, cfg), r: rand.New(rand.NewPCG(seed, 2))}
	s.w.SetQuotas(world.EC2Quotas()...)
	s.w.SetCapacity("za", "t", 3, seed%2 == 0)
	s.w.AddVolume(world.Volume{ID: "vol", Server: "lic", Reach: fleet.ReachMachine, Place: "za"})
	s.w.AddVolume(world.Volume{ID: "lun", Server: "lic", Reach: fleet.ReachMachine})
	s.w.AddArray(world.Array{Name: "san", Site: "zone-a", Traits: world.TGT(), Latency: world.Span{Max: 3 * time.Second}})
	s.unit = must[*world.LUN](t)(s.w.AddLUN("san", "target", 1, "lun"))
	s.w.AddGroup(world.Group{Name: "tg", Drain: 20 * time.Second, Every: 5 * time.Second})
	s.w.SetRecord("db.lab", "198.51.100.1", time.Minute)
	for _, via := range []string{"db.lab", "tg", "10.1.0.5"} {
		s.clients = append(s.clients, world.NewClient("client of "+via, via, via == "tg"))
	}
	return s
}

func (s *story) say(what ...any) { s.answers = append(s.answers, fmt.Sprint(what...)) }

func (s *story) step() {
	w, host := s.w, s.w.Hosts()[s.r.IntN(len(s.w.Hosts()))]
	var i *world.Instance
	if len(s.all) > 0 {
		i = s.all[s.r.IntN(len(s.all))]
	}
	op := s.r.IntN(24)
	if i == nil {
		op = 0
	}
	force := s.r.IntN(2) == 0
	switch op {
	case 0, 1:
		s.launch()
	case 2:
		s.say(w.Call(world.Call{API: "StopInstances", Objects: 1}, func() error { return w.StopMachine(i, world.Ending{Force: force}) }))
	case 3:
		s.say(w.TerminateMachine(i, world.Ending{SkipOS: force}))
	case 4:
		s.say(w.StartMachine(i))
	case 5:
		s.say(w.AttachVolume("vol", i), w.AttachInterface("eni", i))
	case 6:
		s.say(w.DetachVolume("vol", i, force), w.DetachInterface("eni", i, force))
	case 7:
		s.say(w.Associate("198.51.100.1", world.Destination{Interface: "eni"}, force), w.Associate("198.51.100.1", world.Destination{Instance: i}, force))
	case 8:
		s.say(w.Register("tg", i))
	case 9:
		s.say(w.Deregister("tg", i))
	case 10:
		s.snapshot()
	case 11:
		w.Crash(i)
	case 12:
		s.say(w.Reboot(i))
	case 13:
		s.say(w.KillHost(host))
	case 14:
		s.say(w.StartHost(host), w.ThawHost(host))
	case 15:
		s.say(w.CutHost(host, world.Cut{Control: force, Storage: !force}))
	case 16:
		s.say(w.FreezeHost(host))
	case 17:
		s.say(w.CutSite("za", world.Cut{Peers: force}), w.CutServiceLink("zb"), w.MendServiceLink("zb"))
	case 18, 19, 20:
		s.san(i, op)
	case 21:
		w.HangGuest(i)
		w.Plan(i, world.Planned{Code: "instance-retirement", NotBefore: w.Now().Add(time.Minute)})
	default:
		w.Advance(time.Duration(s.r.IntN(60_000)) * time.Millisecond)
	}
	s.look(i)
}

func (s *story) launch() {
	s.epoch++
	r := world.Request{Server: "lic", Epoch: s.epoch, Units: 1, Site: []string{"za", "zb"}[s.r.IntN(2)], Type: "t", AutoRecover: true, Token: fmt.Sprint(s.epoch)}
	s.say(s.w.Call(world.Call{API: "RunInstances", Sites: []string{r.Site}, Objects: 1}, func() error {
		i, err := s.w.Launch(r)
		if err == nil && (len(s.all) == 0 || s.all[len(s.all)-1] != i) {
			s.all = append(s.all, i)
		}
		return err
	}))
}

func (s *story) snapshot() {
	snap, err := s.w.TakeSnapshot("vol", "")
	s.say(err)
	if err == nil {
		s.snaps = append(s.snaps, snap.ID)
	}
	if len(s.snaps) > 0 {
		_, err = s.w.CopyVolume(s.snaps[s.r.IntN(len(s.snaps))], world.Volume{ID: fmt.Sprintf("copy-%d", len(s.snaps)), Server: "lic", Reach: fleet.ReachMachine, Place: "zb"}, "")
		s.say(err)
	}
}

func (s *story) san(i *world.Instance, op int) {
	switch {
	case op == 18:
		ini := s.w.NewInitiator(i, fmt.Sprintf("iqn.%d", i.Epoch), "")
		s.guests = append(s.guests, ini)
		s.w.Map(s.unit, ini.IQN)
	case len(s.guests) == 0:
	case op == 19:
		s.say(s.w.Submit(s.guests[s.r.IntN(len(s.guests))], s.unit, world.CmdWrite))
	default:
		s.w.Unmap(s.unit, s.guests[s.r.IntN(len(s.guests))].IQN)
		for _, x := range s.unit.Sessions() {
			s.w.KillSession(x)
		}
	}
}

// look reads what a controller would, and lets the clients write.
func (s *story) look(i *world.Instance) {
	for _, c := range s.clients {
		s.say(s.w.ClientWrite(c))
	}
	if i != nil {
		sight, err := s.w.SeeInstance(i.ID)
		s.say(sight, err, s.w.StatusOf(i))
	}
	vol, err := s.w.SeeVolume("vol")
	s.say(vol, err)
	eni, err := s.w.SeeInterface("eni")
	s.say(eni, err)
	ip, err := s.w.SeeAddress("198.51.100.1")
	s.say(ip, err)
	s.w.Check()
}

// TestSameSeedSameStory: every answer, every violation and the trace repeat.
func TestSameSeedSameStory(t *testing.T) {
	tell := func(seed uint64) *story {
		s := newStory(t, seed)
		for range 1000 {
			s.step()
		}
		return s
	}
	var traces []uint64
	for seed := range uint64(6) {
		one, two := tell(seed), tell(seed)
		for n := range one.answers {
			if one.answers[n] != two.answers[n] {
				t.Fatalf("seed %d, answer %d: %q and %q", seed, n, one.answers[n], two.answers[n])
			}
		}
		if one.w.Trace() != two.w.Trace() || !reflect.DeepEqual(one.w.Check(), two.w.Check()) {
			t.Fatalf("seed %d: the trace or the violations differ", seed)
		}
		traces = append(traces, one.w.Trace())
	}
	if traces[0] == traces[1] {
		t.Fatal("two seeds tell one story")
	}
}
