package controller_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"relight/internal/agent"
	"relight/internal/api/client"
	"relight/internal/array"
	"relight/internal/array/arraytest/tgtd"
	"relight/internal/controller"
	"relight/internal/core/fleet"
	"relight/internal/spec"
)

// target is a private tgtd on a loopback portal, and a directory for its LUNs.
type target struct {
	*tgtd.Daemon
	control, dir, portal string
}

func newTarget(t *testing.T) *target {
	t.Helper()
	d := tgtd.New(t)
	return &target{Daemon: d, dir: t.TempDir(), portal: d.Portal, control: strconv.Itoa(d.Control)}
}

func (g *target) start() { g.Start() }
func (g *target) stop()  { g.Stop() }

// eventually polls until f is content.
func eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	limit := time.After(60 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// control is a whole controller on loopback addresses.
type control struct {
	*client.Client
	addresses controller.Addresses
}

func startController(t *testing.T, log *slog.Logger) control {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan controller.Addresses, 1), make(chan error, 1)
	go func() {
		ended <- controller.Run(ctx, controller.Options{
			Name: "c1", Dir: t.TempDir(), Listen: "127.0.0.1:0", BeatListen: "127.0.0.1:0", BeatLease: 5 * time.Second,
			Contact: time.Second, Lease: 6 * time.Second, Pace: controller.DefaultPace(), Log: log,
			Ready: func(a controller.Addresses) { ready <- a },
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the controller ended: %v", err)
		}
	})
	c := control{}
	select {
	case c.addresses = <-ready:
	case err := <-ended:
		t.Fatalf("the controller does not start: %v", err)
	}
	ca, err := os.ReadFile(c.addresses.CA)
	must(t, err)
	token, err := os.ReadFile(c.addresses.Token)
	must(t, err)
	c.Client, err = client.New(client.Config{Server: c.addresses.URL, CA: ca, Token: strings.TrimSpace(string(token))})
	must(t, err)
	return c
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (c control) apply(t *testing.T, text string) {
	t.Helper()
	must(t, c.try(t, text))
}

func (c control) try(t *testing.T, text string) error {
	t.Helper()
	docs, err := spec.Parse(spec.File{Name: "san.yaml", Data: []byte(text)})
	must(t, err)
	var req client.ApplyRequest
	for _, d := range docs {
		doc, err := client.ParseDocument(d.Raw)
		must(t, err)
		req.Documents = append(req.Documents, doc)
	}
	_, err = c.Apply(t.Context(), req)
	return err
}

// join starts an agent whose machines are initiators.
func (c control) join(t *testing.T, name, dir string, machines *initiators, log *slog.Logger) (stop func()) {
	t.Helper()
	token, err := c.CreateJoinToken(t.Context(), client.JoinTokenRequest{Host: name})
	must(t, err)
	a, err := agent.New(agent.Options{
		Dir: dir, Name: name, Controller: c.addresses.URL, Token: token.Token, Units: 4, PeerAddr: "127.0.0.1:0",
		Driver: newInitiators(machines.ledger), Machines: machines, Log: log.With("host", name), ReportEvery: 300 * time.Millisecond,
	})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := a.Run(ctx); err != nil {
			t.Errorf("agent %s: %v", name, err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(stop)
	return stop
}

// sanSites are two hosts on one array.
const sanSites = `---
apiVersion: relight/v1alpha1
kind: Site
metadata: {name: dc}
spec:
  kind: rack
  arrays: [{name: san-1, driver: tgt, portal: %q, options: {dir: %q, control: %q}}]
---
apiVersion: relight/v1alpha1
kind: Site
metadata: {name: host-1}
spec: {kind: host, parent: dc}
---
apiVersion: relight/v1alpha1
kind: Site
metadata: {name: host-2}
spec: {kind: host, parent: dc}
`

const sanYAML = `
apiVersion: relight/v1alpha1
kind: Policy
metadata: {name: default}
spec:
  mode: auto
  health: {suspectAfter: 1s, downAfter: 1s, startupGrace: 5s}
  ladder: {verifyWithin: 20s, backOff: 1s, maxBackOff: 5s}
` + sanSites + `---
apiVersion: relight/v1alpha1
kind: Server
metadata: {name: db-1}
spec:
  identity: {volumes: [{name: data, lun: {array: san-1}}]}
  template: {vm: {kernel: /boot/vmlinuz}}
`

// healthy waits until the server is verified at an epoch and returns its host.
func (c control) healthy(t *testing.T, epoch fleet.Epoch) string {
	t.Helper()
	host := ""
	eventually(t, fmt.Sprintf("epoch %d is verified", epoch), func() error {
		v, err := c.Server(t.Context(), "db-1")
		if err != nil {
			return err
		}
		if st := v.Status; st.Epoch != epoch || st.VerifiedAt.IsZero() || v.Finding.Verdict != fleet.Healthy {
			return fmt.Errorf("epoch %d on %s, %s: %s", st.Epoch, st.Host, v.Finding.Verdict, v.Decision.Reason)
		}
		host = v.Status.Host
		return nil
	})
	return host
}

// logOf is a log that is shown if the test fails.
func logOf(t *testing.T) *slog.Logger {
	var told bytes.Buffer
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(told.String())
		}
	})
	return slog.New(slog.NewTextHandler(&locked{w: &told}, nil))
}

// TestZombieOnASAN is the whole way, with a real controller, real agents, a real
// iSCSI target, and initiators in the place of virtual machines. The host of a server
// falls silent and its initiator writes on: it is shut out on the array, the next
// epoch goes on from the last acknowledged record, the array restarts and forgets
// everything, the old host comes back. No acknowledged record is lost, and none of the
// old epoch's lands later.
func TestZombieOnASAN(t *testing.T) {
	g := newTarget(t)
	must(t, array.CreateFile(g.dir, array.LUN{Name: "db-1-data", Bytes: 64 << 20}))
	log := logOf(t)
	c := startController(t, log)
	book := newLedger()
	machines, dirs, stops := map[string]*initiators{}, map[string]string{}, map[string]func(){}
	for _, name := range []string{"host-1", "host-2"} {
		machines[name], dirs[name] = newInitiators(book), t.TempDir()
		t.Cleanup(machines[name].close)
		stops[name] = c.join(t, name, dirs[name], machines[name], log)
	}
	text := fmt.Sprintf(sanYAML, g.portal, g.dir, g.control)
	c.apply(t, text)

	first := c.healthy(t, 1)
	writes(t, book, 1, 50)
	stops[first]()
	second := c.healthy(t, 2)
	if second == first {
		t.Fatalf("epoch 2 is on %s again", second)
	}
	writes(t, book, 2, 50)
	ended := book.of(1)
	why, err := c.Why(t.Context(), "db-1")
	must(t, err)
	proved := false
	for _, e := range why.Status.Evidence {
		proved = proved || e.Method == fleet.InitiatorRemoved && e.Epoch == 1 && e.By == "array san-1"
	}
	if !proved {
		t.Errorf("epoch 1 was not proved dead by its array: %+v", why.Status.Evidence)
	}

	refuses(t, c, strings.Replace(text, "{array: san-1}", "{array: san-1, name: other}", 1), "epoch 2 may use the LUN db-1-data of array san-1")
	refuses(t, c, strings.Replace(text, "options: {", "options: {prefix: iqn.2026-01.org.example, ", 1), "array san-1 has the LUNs of db-1")

	g.stop()
	g.start()
	writes(t, book, 2, 50)
	if got := c.healthy(t, 2); got != second {
		t.Errorf("epoch 2 moved to %s", got)
	}

	c.join(t, first, dirs[first], machines[first], log)
	eventually(t, "the old epoch is ended when its host is back", func() error {
		for _, i := range machines[first].Instances() {
			if i.State != fleet.InstanceReaped {
				return fmt.Errorf("epoch %d is %s", i.Epoch, i.State)
			}
		}
		return nil
	})
	writes(t, book, 2, 20)
	if last := book.of(1); last != ended {
		t.Errorf("epoch 1 got record %d acknowledged after epoch 2 had begun (%d)", last, ended)
	}
	for _, m := range machines {
		m.close()
	}
	book.check(t, array.FilePath(g.dir, "db-1-data"))
	t.Logf("%d records, the first %d by epoch 1", book.of(2), ended)
}

// refuses applies documents that would hide where an epoch that runs has its map.
func refuses(t *testing.T, c control, text, want string) {
	t.Helper()
	var p *client.Problem
	if err := c.try(t, text); !errors.As(err, &p) || len(p.Fields) == 0 || !strings.Contains(p.Fields[0].Message, want) {
		t.Errorf("%v, want %q", err, want)
	}
}

// writes waits for so many more acknowledged records of an epoch.
func writes(t *testing.T, book *ledger, epoch fleet.Epoch, n uint64) {
	t.Helper()
	from := book.of(epoch)
	eventually(t, fmt.Sprintf("%d records of epoch %d", n, epoch), func() error {
		if book.of(epoch) < from+n {
			return book.why(epoch)
		}
		return nil
	})
}

type locked struct {
	mu sync.Mutex
	w  *bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
