package cli_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"relight/internal/api/client"
	"relight/internal/cli"
)

var update = flag.Bool("update", false, "write the reference in docs/guide/cli.md")

func env(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

func root() *cobra.Command { return cli.New(deps(nil, io.Discard, io.Discard, env(nil))) }

func walk(c *cobra.Command, visit func(*cobra.Command)) {
	visit(c)
	for _, sub := range c.Commands() {
		if sub.Name() != "help" && sub.Name() != "completion" {
			walk(sub, visit)
		}
	}
}

func TestEveryCommandExplainsItself(t *testing.T) {
	n := 0
	walk(root(), func(c *cobra.Command) {
		n++
		if len(c.Short) < 10 || len(c.Long) < 20 {
			t.Errorf("%s: no text", c.CommandPath())
		}
		if !strings.HasPrefix(c.Example, "  relight ") && !strings.Contains(c.Example, "| relight ") {
			t.Errorf("%s: no example", c.CommandPath())
		}
		if c.Args == nil || c.RunE == nil {
			t.Errorf("%s: takes any arguments, or does nothing", c.CommandPath())
		}
	})
	if n < 35 {
		t.Errorf("only %d commands", n)
	}
}

// TestExamplesParse runs every example with --help, which finds flags and
// commands that do not exist.
func TestExamplesParse(t *testing.T) {
	walk(root(), func(c *cobra.Command) {
		for line := range strings.SplitSeq(c.Example, "\n") {
			i := strings.LastIndex(line, "relight ")
			if i < 0 || strings.Contains(line, "relight dev") {
				continue
			}
			words := splitWords(line[i+len("relight "):])
			var errs bytes.Buffer
			if code := cli.Run(context.Background(), deps(nil, io.Discard, &errs, env(nil)), append(words, "--help")); code != 0 {
				t.Errorf("%q: exit %d: %s", line, code, errs.String())
			}
		}
	})
}

func splitWords(line string) []string {
	line, _, _ = strings.Cut(line, " > ")
	var out []string
	for _, w := range regexp.MustCompile(`"[^"]*"|\S+`).FindAllString(line, -1) {
		out = append(out, strings.Trim(w, `"`))
	}
	return out
}

func TestExitCodesAreFrozen(t *testing.T) {
	want := map[client.Exit]string{
		0: "ok", 1: "failed", 2: "usage: the command or a document is wrong", 3: "not found",
		4: "refused by policy, gate or right", 5: "needs approval", 6: "timeout while waiting; the work goes on",
		7: "conflict or lost lease", 8: "engine unreachable", 9: "partial: some of it was done", 130: "interrupted",
	}
	got := map[client.Exit]string{}
	for _, r := range client.Exits() {
		got[r.Code] = r.Meaning
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestCodesAreFrozen(t *testing.T) {
	want := map[client.Code]string{
		"RELIGHT-E1001": "400 exit 2", "RELIGHT-E1002": "422 exit 2", "RELIGHT-E1101": "401 exit 1",
		"RELIGHT-E1102": "403 exit 4", "RELIGHT-E2001": "404 exit 3", "RELIGHT-E2002": "410 exit 1",
		"RELIGHT-E3001": "409 exit 4", "RELIGHT-E3002": "409 exit 5", "RELIGHT-E4001": "412 exit 7",
		"RELIGHT-E4002": "503 exit 7", "RELIGHT-E5001": "504 exit 6", "RELIGHT-E8001": "502 exit 8",
		"RELIGHT-E8002": "503 exit 8", "RELIGHT-E9001": "500 exit 1", "RELIGHT-E9002": "501 exit 1",
	}
	got := map[client.Code]string{}
	for _, r := range client.Codes() {
		got[r.Code] = fmt.Sprintf("%d exit %d", r.Status, r.Exit)
		if !strings.HasPrefix(r.Next, "relight ") {
			t.Errorf("%s: no command to type next", r.Code)
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestGuideIsCurrent(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "guide", "cli.md")
	const marker = "<!-- The rest is written by: go test ./internal/cli -run Guide -update -->\n"
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	intro, _, found := strings.Cut(string(have), marker)
	if !found {
		t.Fatalf("%s has lost its marker", path)
	}
	var b strings.Builder
	walk(root(), func(c *cobra.Command) { describe(&b, c) })
	want := intro + marker + b.String()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(have) {
		t.Errorf("%s is not current; run: go test ./internal/cli -run Guide -update", path)
	}
	for _, r := range client.Exits() {
		if !strings.Contains(intro, fmt.Sprintf("| %d |", r.Code)) {
			t.Errorf("%s does not tell of exit code %d", path, r.Code)
		}
	}
}

func describe(b *strings.Builder, c *cobra.Command) {
	if c.HasSubCommands() {
		return
	}
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n```\n%s\n```\n", c.CommandPath(), c.Long, regexp.MustCompile(`(?m)^  `).ReplaceAllString(c.Example, ""))
	if flags := c.LocalNonPersistentFlags().FlagUsages(); flags != "" {
		fmt.Fprintf(b, "\n```\n%s```\n", flags)
	}
}

// An error of what runs on this machine ends with one next command, its own if it has
// one.
func TestErrorsEndWithOneNextCommand(t *testing.T) {
	for says, want := range map[string]string{
		"there is no lab; next: relight lab up": "error: there is no lab\nnext: relight lab up\n",
		"the disk is full":                      "error: the disk is full\nnext: relight help\n",
	} {
		var errs bytes.Buffer
		d := deps(nil, io.Discard, &errs, env(nil))
		d.Extra = append(d.Extra, &cobra.Command{Use: "fail", RunE: func(*cobra.Command, []string) error { return errors.New(says) }})
		if code := cli.Run(t.Context(), d, []string{"fail"}); code == 0 || errs.String() != want {
			t.Errorf("%d, %q, want %q", code, errs.String(), want)
		}
	}
}
