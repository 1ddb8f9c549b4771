package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
	"relight/internal/cli"
	"relight/internal/core/fleet"
	"relight/internal/provider/aws"
	"relight/internal/provider/aws/sdk"
	"relight/internal/provider/aws/stage"
	"relight/internal/spec"
)

// account serves a fake account with one instance, and points the environment at it.
func account(t *testing.T) (*stage.Stage, string) {
	t.Helper()
	st := stage.New(1000, 1)
	srv := httptest.NewServer(st.Endpoint)
	t.Cleanup(srv.Close)
	for k, v := range map[string]string{"AWS_ENDPOINT_URL": srv.URL, "AWS_REGION": stage.Region, "AWS_ACCESS_KEY_ID": "fake", "AWS_SECRET_ACCESS_KEY": "fake", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"} {
		t.Setenv(k, v)
	}
	cloud, err := sdk.Load(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	id, err := cloud.Launch(t.Context(), aws.Launch{Token: "t", Template: st.Template, Version: 1, Tags: map[string]string{"Name": "Licence 7"}})
	if err != nil {
		t.Fatal(err)
	}
	return st, id
}

// relight runs a command as a person does.
func relight(t *testing.T, args ...string) (client.Exit, string, string) {
	t.Helper()
	var out, errs bytes.Buffer
	code := cli.Run(context.Background(), cli.Deps{In: strings.NewReader(""), Out: &out, Err: &errs, Env: os.Getenv, Extra: parts(), Doctors: []*cobra.Command{doctorAWSCommand()}}, args)
	return code, out.String(), errs.String()
}

func TestImportAWS(t *testing.T) {
	st, id := account(t)
	code, out, errs := relight(t, "import", "aws", id, "--observe")
	if code != client.ExitOK {
		t.Fatal(code, errs)
	}
	docs, err := spec.Parse(spec.File{Name: "out", Data: []byte(out)})
	if err != nil || len(docs) != 1 || docs[0].Name != "licence-7" || !strings.Contains(out, "mode: observe") {
		t.Fatalf("%v %v\n%s", docs, err, out)
	}
	for _, e := range st.Endpoint.Ledger() {
		if strings.HasPrefix(e.Action, "Create") || strings.HasPrefix(e.Action, "Modify") {
			t.Errorf("import changed something: %s", e.Action)
		}
	}
	if code, _, errs := relight(t, "import", "aws", "i-none"); code == client.ExitOK || !strings.Contains(errs, "next:") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

// The captures are numbered, each is kept, and what a person wrote stays.
func TestImportAWS_Versions(t *testing.T) {
	_, id := account(t)
	file := filepath.Join(t.TempDir(), "lic.yaml")
	must := func(want string) {
		t.Helper()
		if code, _, errs := relight(t, "import", "aws", id, "--out", file); code != client.ExitOK || !strings.Contains(errs, want) {
			t.Fatalf("exit %d, %q is not in: %s", code, want, errs)
		}
	}
	must("capture 1")
	text, _ := os.ReadFile(file)
	mine := strings.Replace(string(text), "mode: observe", "mode: ask\n  priority: 7", 1)
	if err := os.WriteFile(file, []byte(mine), 0o600); err != nil {
		t.Fatal(err)
	}
	must("nothing differs from capture 1")
	cloud, _ := sdk.Load(t.Context(), "")
	if err := cloud.Tag(t.Context(), id, map[string]string{"team": "billing"}); err != nil {
		t.Fatal(err)
	}
	must("capture 2")
	text, _ = os.ReadFile(file)
	for _, want := range []string{"mode: ask", "priority: 7", "capture: 2", "team: billing"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("capture 2 has no %q:\n%s", want, text)
		}
	}
	if kept, err := os.ReadFile(file + ".1"); err != nil || string(kept) != mine {
		t.Errorf("capture 1 is not kept as it was: %v", err)
	}
}

// What is declared is compared with what is there, whoever changed it.
func TestImportAWS_Drift(t *testing.T) {
	st, id := account(t)
	_, out, _ := relight(t, "import", "aws", id, "--adopt", "--name", "lic-07")
	docs, err := spec.Parse(spec.File{Name: "out", Data: []byte(out)})
	if err != nil {
		t.Fatal(err)
	}
	engine(t, docs[0])
	code, out, errs := relight(t, "import", "aws", "--diff", "lic-07")
	if code != client.ExitOK || out != "" {
		t.Errorf("exit %d before anything changed: %s%s", code, out, errs)
	}
	cloud, _ := sdk.Load(t.Context(), "")
	if err := cloud.DisableAutoRecovery(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	code, out, errs = relight(t, "import", "aws", "--diff", "lic-07")
	if code != client.ExitFailed || !strings.Contains(out, `autoRecovery: "platform" -> "ours"`) || !strings.Contains(errs, "next:") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	st.Endpoint.Deny("ec2:DescribeVolumes")
	if code, _, errs = relight(t, "import", "aws", "--diff", "lic-07"); code == client.ExitOK || code == client.ExitFailed {
		t.Errorf("exit %d where a part could not be read: %s", code, errs)
	}
}

// An instance that somebody else heals is not imported, and the reason is said.
func TestImportAWS_Refuses(t *testing.T) {
	st, id := account(t)
	st.Endpoint.PutInScalingGroup(id, "web")
	code, out, errs := relight(t, "import", "aws", id)
	if code == client.ExitOK || out != "" || !strings.Contains(errs, "Auto Scaling group web") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}

// engine answers for one server as an engine does: its document, and its status if any is
// given.
func engine(t *testing.T, doc spec.Doc, status ...fleet.Status) {
	t.Helper()
	set, err := spec.Resolve([]spec.Doc{doc}, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := client.ParseDocument(doc.Raw)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/servers") {
			_ = json.NewEncoder(w).Encode(client.List[client.ServerRow]{Items: []client.ServerRow{{Name: doc.Name}}})
			return
		}
		view := client.ServerView{Server: set.Servers[0], Raw: raw}
		for _, s := range status {
			view.Status = s
		}
		_ = json.NewEncoder(w).Encode(view)
	})}}
	srv.Start()
	t.Cleanup(srv.Close)
	t.Setenv("RELIGHT_SERVER", "unix://"+path)
}
