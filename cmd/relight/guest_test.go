package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"relight/internal/api/client"
	"relight/internal/cli"
	"relight/internal/core/fleet"
	"relight/internal/provider/aws/stage"
	"relight/internal/world"
)

// background runs a command until the test ends.
func background(t *testing.T, args ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		_ = cli.Run(ctx, cli.Deps{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard, Env: os.Getenv, Extra: parts()}, args)
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

// eventually polls until f is content.
func eventually(t *testing.T, what string, f func() (bool, string)) {
	t.Helper()
	limit := time.After(90 * time.Second)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, saw := f()
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s: never; saw %s", what, saw)
		}
	}
}

// The whole way with the programs that people run: a controller launches an instance,
// its user data carry the plan, the agent that runs with it joins and reports, and only
// then the server is healthy.
func TestGuestAgent(t *testing.T) {
	st := stage.New(50, 1)
	name, spec := st.AddServer("a")
	srv := httptest.NewServer(st.Endpoint)
	t.Cleanup(srv.Close)
	for k, v := range map[string]string{"AWS_ENDPOINT_URL": srv.URL, "AWS_REGION": stage.Region, "AWS_ACCESS_KEY_ID": "fake", "AWS_SECRET_ACCESS_KEY": "fake", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"} {
		t.Setenv(k, v)
	}
	dir := t.TempDir()
	ready, doc, plan := filepath.Join(dir, "ready.json"), filepath.Join(dir, "spec.yaml"), filepath.Join(dir, "plan.json")
	background(t, "controller", "--dir", filepath.Join(dir, "controller"), "--listen", "127.0.0.1:0", "--beat-listen", "127.0.0.1:0", "--aws-region", stage.Region, "--aws-sweep", "1s", "--ready-file", ready)
	var who struct {
		Contexts map[string]struct{ Server, TokenFile, CA string }
	}
	eventually(t, "the controller serves", func() (bool, string) {
		data, err := os.ReadFile(ready)
		return err == nil && json.Unmarshal(data, &who) == nil && who.Contexts["local"].Server != "", string(data)
	})
	local := who.Contexts["local"]
	ask := func(args ...string) (client.Exit, string, string) {
		return relight(t, append(args, "--server", local.Server, "--ca", local.CA, "--token-file", local.TokenFile)...)
	}
	if err := os.WriteFile(doc, []byte(strings.Replace(spec, "types: [m6i.large]}", "types: [m6i.large], guestBeat: true}\n  mode: auto", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := ask("apply", "-f", doc); code != client.ExitOK {
		t.Fatal(out, errs)
	}
	eventually(t, "an instance with a plan", func() (bool, string) {
		for _, e := range st.Endpoint.Ledger() {
			if data, err := base64.StdEncoding.DecodeString(e.Form.Get("UserData")); err == nil && e.Action == "RunInstances" {
				for line := range strings.Lines(string(data)) {
					if strings.HasPrefix(line, "{") {
						return os.WriteFile(plan, []byte(line), 0o600) == nil, line
					}
				}
			}
		}
		return false, "no launch"
	})
	ca, err := os.ReadFile(local.CA)
	if err != nil {
		t.Fatal(err)
	}
	token, err := os.ReadFile(local.TokenFile)
	if err != nil {
		t.Fatal(err)
	}
	api, err := client.New(client.Config{Server: local.Server, CA: ca, Token: strings.TrimSpace(string(token))})
	if err != nil {
		t.Fatal(err)
	}
	why := func(v fleet.Verdict, want string) func() (bool, string) {
		return func() (bool, string) {
			w, err := api.Why(t.Context(), name)
			return err == nil && w.Finding.Verdict == v && strings.Contains(w.Finding.Reason, want), fmt.Sprint(w.Finding, err)
		}
	}
	metadata := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := "a token"
		if r.Method == http.MethodGet {
			st.Do(func(w *world.World) { id = w.Find(name, 1).ID })
		}
		_, _ = io.WriteString(w, id)
	}))
	t.Cleanup(metadata.Close)
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.URL)
	eventually(t, "it waits for its guest", why(fleet.Suspect, "its guest agent has not spoken yet"))
	background(t, "agent", "guest", "--plan", plan, "--dir", filepath.Join(dir, "agent"))
	eventually(t, "it is healthy", why(fleet.Healthy, ""))
}
