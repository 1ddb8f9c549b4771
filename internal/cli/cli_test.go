package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.yaml.in/yaml/v3"

	"relight/internal/api"
	"relight/internal/api/apitest"
	"relight/internal/api/client"
	"relight/internal/cli"
)

// at is the moment at which all transcripts play.
var at = time.Date(2026, 11, 21, 9, 14, 15, 0, time.UTC)

func clock() time.Time { return at }

// TestTranscripts plays each testdata/*.txtar against an engine of its own.
//
// relight ARGS runs the command line; "< FILE" at the end is its input. code N
// checks the exit code of the last run. Setting TTY puts a person there, setting
// SPEC has files checked by package spec.
func TestTranscripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata",
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
		Setup:         setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"relight": runRelight,
			"code":    checkCode,
			"did":     checkCall,
		},
	})
}

type engineKey struct{}

type engine struct {
	backend *apitest.Backend
	code    client.Exit
}

func setup(env *testscript.Env) error {
	b := apitest.New(clock)
	scenario(b)
	srv := httptest.NewServer(api.New(api.Options{
		Backend: b, Now: clock,
		Auth: api.NewTokens(map[string]api.Person{apitest.Token: {Name: apitest.Person}}),
	}))
	env.Defer(srv.Close)
	env.Defer(srv.CloseClientConnections)
	tokenFile := filepath.Join(env.WorkDir, "token")
	if err := os.WriteFile(tokenFile, []byte(apitest.Token+"\n"), 0o600); err != nil {
		return err
	}
	env.Setenv("RELIGHT_SERVER", srv.URL)
	env.Setenv("RELIGHT_TOKEN_FILE", tokenFile)
	env.Setenv("HOME", env.WorkDir)
	env.Values[engineKey{}] = &engine{backend: b}
	return nil
}

func deps(in io.Reader, out, errs io.Writer, env func(string) string) cli.Deps {
	tty := env("TTY") != ""
	d := cli.Deps{
		In: in, Out: out, Err: errs, InTerminal: tty, OutTerminal: tty, Env: env, Now: clock,
		Version: client.Version{Version: "v0.0.0-test", API: client.APIVersion},
	}
	if env("SPEC") == "" {
		d.Documents = documents
		d.Schema = func() (json.RawMessage, error) { return json.RawMessage(`{"type":"object"}`), nil }
	}
	return d
}

// documents reads YAML without checking it: what files may say is not this
// package's affair.
func documents(files []cli.SourceFile) ([]client.Document, error) {
	var out []client.Document
	for _, f := range files {
		dec := yaml.NewDecoder(strings.NewReader(string(f.Data)))
		for {
			var tree map[string]any
			if err := dec.Decode(&tree); err == io.EOF {
				break
			} else if err != nil {
				return nil, client.NewProblem(client.CodeInvalidDocument, "%s:1:1: %v", f.Name, err)
			}
			raw, err := json.Marshal(tree)
			if err != nil {
				return nil, err
			}
			d, err := client.ParseDocument(raw)
			if err != nil {
				return nil, err
			}
			out = append(out, d)
		}
	}
	return out, nil
}

func runRelight(ts *testscript.TestScript, neg bool, args []string) {
	e := ts.Value(engineKey{}).(*engine)
	in := ""
	if n := len(args); n >= 2 && args[n-2] == "<" {
		in, args = ts.ReadFile(args[n-1]), args[:n-2]
	}
	e.backend.Fail = func(call string) error {
		if call == ts.Getenv("FAIL") {
			return errors.New("failed as the script asks")
		}
		return nil
	}
	for i, a := range args {
		if strings.Contains(a, ".backup") || strings.Contains(a, "no/such") {
			args[i] = ts.MkAbs(a)
		}
		// Files of a script are relative to it, the process is elsewhere.
		if i > 0 && args[i-1] == "-f" && a != "-" {
			args[i] = ts.MkAbs(a)
		}
	}
	e.code = cli.Run(context.Background(), deps(strings.NewReader(in), ts.Stdout(), ts.Stderr(), ts.Getenv), args)
	if neg == (e.code == client.ExitOK) {
		ts.Fatalf("exit code %d", e.code)
	}
}

func checkCode(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := ts.Value(engineKey{}).(*engine).code; int(got) != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// checkCall checks whether the engine was asked to do something.
func checkCall(ts *testscript.TestScript, neg bool, args []string) {
	calls := ts.Value(engineKey{}).(*engine).backend.Calls()
	found := false
	for _, c := range calls {
		found = found || c == args[0]
	}
	if found == neg {
		ts.Fatalf("the engine was asked: %s", fmt.Sprintf("%q", calls))
	}
}
