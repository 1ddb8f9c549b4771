package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"relight/internal/controller"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	awsprovider "relight/internal/provider/aws"
	"relight/internal/provider/aws/fakeaws"
	"relight/internal/store/mem"
	"relight/internal/world"
)

// live is a served controller's loops on the fake endpoint, with all their
// concurrency: the real SDK over connections in memory, in virtual time.
type live struct {
	*account
	solo *controller.Solo
}

// rtt is how long each call takes.
const rtt = 50 * time.Millisecond

// liveOptions are how a live controller looks: how often, and woken by what.
type liveOptions struct {
	sweep time.Duration
	queue chan string
}

// newLive must be called in a synctest bubble.
func newLive(t *testing.T, change func(*world.Config)) *live {
	t.Helper()
	return newLiveAs(t, change, liveOptions{sweep: 5 * time.Second})
}

func newLiveAs(t *testing.T, change func(*world.Config), o liveOptions) *live {
	t.Helper()
	l := &live{account: offlineAccount(t, bubbleClock{}, change)}
	l.w.SetQuotas(world.EC2Quotas()...)
	wire := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	srv := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		<-time.After(rtt / 2)
		l.fake.ServeHTTP(rw, r)
		<-time.After(rtt / 2)
	})}
	go func() { _ = srv.Serve(wire) }() // it ends with the test
	transport := &http.Transport{DialContext: wire.dial, MaxIdleConnsPerHost: 300}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = srv.Close()
	})
	l.connect("http://fake", &http.Client{Transport: transport})
	l.control(t, o)
	return l
}

// control wires a controller as relight controller does, and runs it.
func (l *live) control(t *testing.T, o liveOptions) {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	clock := provider.WallClock{}
	quotas := awsprovider.DefaultQuotas()
	cloud := l.cloud.Paced(awsprovider.NewGate(quotas.Reads(1), clock))
	opt := awsprovider.Options{Cloud: cloud, Region: "eu-west-1", Now: time.Now}
	if o.queue != nil {
		opt.Wakes = l.waker(ctx, chanQueue(o.queue))
	}
	l.p = awsprovider.New(opt)
	st := mem.New(mem.Options{Now: time.Now})
	var err error
	l.solo, err = controller.NewSolo(t.Context(), controller.SoloOptions{
		Store: st, Clock: clock, Providers: map[string]provider.Provider{awsprovider.Name: l.p},
		Owner: "one", Lease: 6 * time.Second, Contact: 3 * time.Second, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.solo.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	paced := provider.WithPacing(l.p, quotas.Limits(1), clock)
	providers := map[string]provider.Provider{awsprovider.Name: provider.WithAuthority(paced, l.solo.Reign.Allowed)}
	l.solo.Healer.Providers, l.solo.Healer.Turns = providers, map[string]controller.Turner{awsprovider.Name: paced}
	loops := &controller.Loops{
		Healer: l.solo.Healer, Collector: l.solo.Collector, State: l.solo.State, Reigning: l.solo.Reign, Deadlines: l.solo.Deadlines,
		Providers: providers, Clock: clock, Pace: controller.DefaultPace(), Sweeps: map[string]time.Duration{awsprovider.Name: o.sweep}, Log: slog.New(slog.DiscardHandler),
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = loops.Run(ctx) }) // the test looks at what it did
	t.Cleanup(func() {
		stop()
		wg.Wait()
		_ = st.Close()
	})
}

// declare applies as many servers as asked for, each with a volume and what more its
// identity is to have.
func (l *live) declare(n int, more ...func(int) string) (names []string) {
	l.t.Helper()
	text := "{apiVersion: relight/v1alpha1, kind: Policy, metadata: {name: default}, spec: {mode: auto, oneSource: fence, budget: {steps: 10000, window: 10m}, storm: {hosts: 1000}}}\n"
	for i := range n {
		name := fmt.Sprintf("m-%03d", i)
		names = append(names, name)
		l.fake.AddVolume(fakeaws.VolumeSpec{ID: "vol-" + name, Server: name, Zone: zoneA})
		identity := "volumes: [{name: data, id: vol-" + name + "}]"
		for _, m := range more {
			identity += m(i)
		}
		text += fmt.Sprintf("---\n{apiVersion: relight/v1alpha1, kind: Server, metadata: {name: %s}, spec: {identity: {%s}, template: {ec2: {launchTemplate: %s, version: 1, subnet: subnet-a}}}}\n", name, identity, l.lt)
	}
	if err := l.solo.Apply(l.t.Context(), "eve", "spec.yaml", text); err != nil {
		l.t.Fatal(err)
	}
	return names
}

// until waits until all servers are healthy at an epoch, and returns how long it took.
func (l *live) until(most time.Duration, names []string, epoch fleet.Epoch) time.Duration {
	l.t.Helper()
	begun := time.Now()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		left := 0
		for _, name := range names {
			if s := l.solo.State.Status(name); s.Epoch != epoch || s.Verdict != fleet.Healthy || s.Recovery != nil {
				left++
			}
		}
		if left == 0 {
			return time.Since(begun)
		}
		if time.Since(begun) > most {
			l.t.Fatalf("after %s %d of %d servers do not work at epoch %d", most, left, len(names), epoch)
		}
	}
	return 0
}

// impair takes the hardware below all instances of a zone at one moment.
func (l *live) impair() time.Time {
	l.locked(func() {
		l.w.RunUntil(l.w.Now())
		for _, h := range l.w.HostsOf(zoneA) {
			if len(l.w.OnHost(h)) > 0 {
				_ = l.w.KillHost(h)
			}
		}
		l.w.AddSite(world.Site{Name: "row", Kind: fleet.SiteRack, Parent: zoneA})
		for i := range 3 {
			l.w.AddHost(world.Host{Name: fmt.Sprintf("row-%d", i), Parent: "row", Units: 200})
		}
	})
	return time.Now()
}

// evenly gives each change the same time, and shows failures within seconds: what is
// measured is the quotas' part, not the luck of the draw.
func evenly(c *world.Config) {
	s := func(n int) world.Span {
		return world.Span{Min: time.Duration(n) * time.Second, Max: time.Duration(n) * time.Second}
	}
	c.Delays = world.Delays{Start: s(10), App: s(5), Stop: s(15), Hard: s(3), Terminate: s(15), Attach: s(2), Detach: s(2), DNS: s(5), Snapshot: s(30), Copy: s(5)}
	c.Checks = world.Checks{Every: 5 * time.Second, Delay: time.Second}
}

// floor is the least time that n starts take under EC2's default quotas, from its
// documents alone: 5 at once and then 2 a second.
func floor(n int) time.Duration { return time.Duration(max(n-5, 0)) * time.Second / 2 }

// 200 servers lose their hardware at once under EC2's default quotas: the last of them
// works again within 1.05 of the time that one server alone takes and that the tokens
// of the starts take to flow, and hardly a call is refused.
func TestMassRecovery(t *testing.T) {
	heal := func(n int) (took, starts time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			l := newLive(t, evenly)
			names := l.declare(n)
			l.until(10*time.Minute, names, 1)
			begun := l.impair()
			took = l.until(20*time.Minute, names, 2)
			starts = l.judge(begun, n)
		})
		return took, starts
	}
	const n = 200
	alone, _ := heal(1)
	all, starts := heal(n)
	least := alone + floor(n)
	t.Logf("one alone %s; %d: %s, the floor is %s (%.3f x); their starts took %s, their floor is %s (%.3f x)",
		alone, n, all, least, all.Seconds()/least.Seconds(), starts, floor(n), starts.Seconds()/floor(n).Seconds())
	if all.Seconds() > 1.05*least.Seconds() {
		t.Errorf("healed within %s, the floor is %s", all, least)
	}
	if starts.Seconds() > 1.05*floor(n).Seconds() {
		t.Errorf("the starts took %s, their floor is %s", starts, floor(n))
	}
	if starts < floor(n)-time.Second {
		t.Errorf("the starts took %s: less than the quotas allow, so that the fake does not hold to them", starts)
	}
}

// A dozen servers with four names each come up at once, and each sweep reads the names as well:
// we stay within Route 53's five requests a second for all of an account's calls, and are
// refused nothing. Who does not wait is.
func TestMassNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLive(t, evenly)
		const n, each = 12, 4
		l.until(10*time.Minute, l.declare(n, func(i int) string {
			eip, ip := fmt.Sprintf("eipalloc-%03d", i), fmt.Sprintf("198.51.100.%d", i+1)
			l.fake.AddAddress(eip, ip, fmt.Sprintf("m-%03d", i))
			var names []string
			for k := range each {
				names = append(names, fmt.Sprintf("{name: m-%03d-%d.example.com, zone: Z1}", i, k))
			}
			return fmt.Sprintf(", addresses: [{ip: %s, allocation: %s}], names: [%s]", ip, eip, strings.Join(names, ", "))
		}), 1)
		calls := map[string]int{}
		for _, e := range l.fake.Ledger() {
			if e.Service == "route53" {
				method, _, _ := strings.Cut(e.Action, " ")
				calls[method+e.Code]++
			}
		}
		t.Logf("%v", calls)
		if calls["POST"] != n*each || calls["GET"] == 0 || len(calls) != 2 {
			t.Errorf("Route 53 answered %v", calls)
		}
		<-time.After(time.Minute)
		var err error
		for k := 0; err == nil && k < 20; k++ { // nobody paces these, and each takes 50 ms
			_, err = l.cloud.Records(t.Context(), "Z1", []string{"m-001-1.example.com"})
		}
		if e := new(awsprovider.APIError); !errors.As(err, &e) || e.Code != "Throttling" || !awsprovider.Limited(err) {
			t.Errorf("20 reads in a second: %v", err)
		}
	})
}

// judge counts the calls since a moment, and returns how long the starts took.
func (l *live) judge(since time.Time, n int) time.Duration {
	l.t.Helper()
	var first, last time.Time
	calls, refused, by := 0, map[string]int{}, map[string]int{}
	for _, e := range l.fake.Ledger() {
		if e.At.Before(since) {
			continue
		}
		calls++
		by[e.Action]++
		if e.Code == "RequestLimitExceeded" {
			refused[e.Action]++
		}
		if e.Action == "StartInstances" && e.Code == "" {
			if first.IsZero() {
				first = e.At
			}
			last = e.At
		}
	}
	all := 0
	for _, n := range refused {
		all += n
	}
	l.t.Logf("%d servers: %d calls %v, refused %v", n, calls, by, refused)
	if all*100 > calls {
		l.t.Errorf("%d of %d calls were refused: %v", all, calls, refused)
	}
	if by["StartInstances"]-refused["StartInstances"] != n {
		l.t.Errorf("%d starts of %d servers", by["StartInstances"], n)
	}
	return last.Sub(first)
}

// bubbleClock is the bubble's time.
type bubbleClock struct{}

func (bubbleClock) Now() time.Time { return time.Now() }

// pipes is a network in memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept implements net.Listener.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr implements net.Listener.
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }
