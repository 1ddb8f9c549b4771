// Command corebuild measures how long a change of the core takes to build, in all that
// does without the AWS SDK, whose client of EC2 alone takes a minute to compile. What the
// packages need from elsewhere is compiled before.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"relight/internal/bench"
)

const (
	// goal is how long a build may take, in seconds.
	goal = 10
	// runs is how often each is measured; the median counts.
	runs = 3
	// changed is what all of the core imports.
	changed = "internal/core/fleet/server.go"
	// sdk is what no package may need that is counted.
	sdk = "github.com/aws/"
)

func main() {
	out := flag.String("out", "", "file for the results as JSON")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	rows, err := measure(ctx)
	if err == nil {
		err = bench.Print(os.Stdout, rows)
	}
	if err == nil && *out != "" {
		err = bench.Save(*out, rows, false)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func measure(ctx context.Context) ([]bench.Row, error) {
	core := []string{"./internal/core/..."}
	rest, left, err := without(ctx)
	if err != nil {
		return nil, err
	}
	fmt.Printf("%d packages do without the SDK, %d need it\n", len(rest), left)
	var rows []bench.Row
	for _, m := range []struct {
		name     string
		packages []string
		change   bool
	}{
		{"core, nothing changed", core, false},
		{"core, its types changed", core, true},
		{"all without the SDK, nothing changed", rest, false},
		{"all without the SDK, the core's types changed", rest, true},
	} {
		c, err := median(ctx, m.packages, m.change)
		if err != nil {
			return nil, err
		}
		rows = append(rows, bench.Row{
			Name: "build/" + m.name, Value: c.took.Seconds(), Unit: "s", Goal: "<" + strconv.Itoa(goal),
			Peer: "goal", PeerValue: goal, Ratio: c.took.Seconds() / goal,
		}, bench.Row{Name: "build/" + m.name + "/processor time", Value: c.cpu.Seconds(), Unit: "s"})
	}
	return rows, nil
}

// without lists the packages that need nothing of the SDK, and counts the others.
func without(ctx context.Context) (packages []string, left int, err error) {
	raw, err := exec.CommandContext(ctx, "go", "list", "-tags", "lambda.norpc", "-f", `{{if .GoFiles}}{{.ImportPath}} {{join .Deps " "}}{{end}}`, "./cmd/...", "./internal/...").Output()
	if err != nil {
		return nil, 0, fmt.Errorf("go list: %w", err)
	}
	for line := range strings.Lines(string(raw)) {
		path, deps, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case strings.Contains(deps, sdk):
			left++
		case path != "":
			packages = append(packages, path)
		}
	}
	if len(packages) == 0 || left == 0 {
		return nil, 0, errors.New("the packages that need the SDK cannot be told from the others")
	}
	return packages, left, nil
}

// cost is what a build took: on the wall, and of all cores together, which tells more of
// a machine that does other things as well.
type cost struct{ took, cpu time.Duration }

// median builds packages several times, after once that is not measured, and returns the
// time of the middle one. With a change the core's types are others each time.
func median(ctx context.Context, packages []string, change bool) (cost, error) {
	if _, err := build(ctx, packages, ""); err != nil {
		return cost{}, err
	}
	var all []cost
	for range runs {
		overlay := ""
		if change {
			dir, err := os.MkdirTemp("", "relight-corebuild-")
			if err != nil {
				return cost{}, err
			}
			defer func() { _ = os.RemoveAll(dir) }()
			if overlay, err = touched(dir); err != nil {
				return cost{}, err
			}
		}
		one, err := build(ctx, packages, overlay)
		if err != nil {
			return cost{}, err
		}
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b cost) int { return cmp.Compare(a.took, b.took) })
	return all[len(all)/2], nil
}

// touched writes an overlay in which the core exports one more constant, so that whatever
// imports it is compiled anew.
func touched(dir string) (string, error) {
	source, err := os.ReadFile(changed)
	if err != nil {
		return "", fmt.Errorf("%w; run this in the project's directory", err)
	}
	from, err := filepath.Abs(changed)
	if err != nil {
		return "", err
	}
	to, overlay := filepath.Join(dir, "server.go"), filepath.Join(dir, "overlay.json")
	source = fmt.Appendf(source, "\n// Measured is when this was built.\nconst Measured = %d\n", time.Now().UnixNano())
	if err := os.WriteFile(to, source, 0o600); err != nil {
		return "", err
	}
	return overlay, os.WriteFile(overlay, fmt.Appendf(nil, `{"Replace": {%q: %q}}`, from, to), 0o600)
}

// build compiles packages, and links those that are programs.
func build(ctx context.Context, packages []string, overlay string) (cost, error) {
	args := []string{"build", "-tags", "lambda.norpc"}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	begun := time.Now()
	cmd := exec.CommandContext(ctx, "go", append(args, packages...)...) //nolint:gosec // its arguments are the list of packages
	if out, err := cmd.CombinedOutput(); err != nil {
		return cost{}, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return cost{time.Since(begun), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}, nil
}
