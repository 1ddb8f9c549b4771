package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"relight/internal/simulate"
	"relight/internal/world"
)

// sighting is a seed whose run broke promises.
type sighting struct {
	Seed   uint64   `json:"seed"`
	Broken []string `json:"broken"`
	Detail string   `json:"detail"`
}

// breaksOneOf returns the first promise of the list that the run broke, or "".
func (s sighting) breaksOneOf(list []string) string {
	for _, b := range list {
		if slices.Contains(s.Broken, b) {
			return b
		}
	}
	return ""
}

// play runs one seed. A panic is no promise that was broken: nobody may take it for
// the bug's discovery.
func play(seed uint64) (s sighting, err error) {
	s.Seed = seed
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("seed %d: panic: %v", seed, p)
		}
	}()
	r, err := simulate.Run(simulate.Random(seed))
	if err != nil {
		return s, fmt.Errorf("seed %d: %w", seed, err)
	}
	for _, v := range r.Violations {
		s.note(v)
	}
	return s, nil
}

func (s *sighting) note(v world.Violation) {
	if s.Detail == "" {
		s.Detail = v.String()
	}
	if !slices.Contains(s.Broken, v.Invariant) {
		s.Broken = append(s.Broken, v.Invariant)
	}
}

// hunt is what the patched program does: it runs seed after seed and prints each
// that broke something, and at the end how many it ran.
func hunt(out io.Writer, seeds uint64, end time.Time) error {
	n := uint64(0)
	for ; n < seeds && time.Now().Before(end); n++ {
		s, err := play(n)
		if err != nil {
			s.Detail, s.Broken = err.Error(), []string{"error"}
		}
		if len(s.Broken) == 0 {
			continue
		}
		if err := json.NewEncoder(out).Encode(s); err != nil {
			return err
		}
	}
	return json.NewEncoder(out).Encode(sighting{Seed: n})
}

// result is what became of one planted bug.
type result struct {
	patch
	// By is the promise that gave it away, "test" for a package's own test; empty if
	// nothing did.
	By     string
	Seed   uint64
	Detail string
	// Ran is how many seeds were run, Others what else was broken on the way.
	Ran    uint64
	Others map[string]int
	Took   time.Duration
	Err    error
}

// chase runs the patched program until it breaks a promise that the patch was made
// to break, on a seed on which the product without the patch breaks none.
func (r *result) chase(ctx context.Context, program string, opt options, clean func(uint64) bool) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	cmd := exec.CommandContext(ctx, program, "-hunt", "-seeds", strconv.FormatUint(opt.seeds, 10), "-for", opt.within.String())
	cmd.Env = append(cmd.Environ(), "GOGC=400")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var s sighting
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			return fmt.Errorf("the hunter says %q: %w", lines.Text(), err)
		}
		r.Ran = s.Seed + 1
		if by := s.breaksOneOf(r.Breaks); by != "" && clean(s.Seed) {
			r.By, r.Seed, r.Detail = by, s.Seed, s.Detail
			stop()
			_ = cmd.Wait() // it was killed
			return nil
		}
		for _, b := range s.Broken {
			r.Others[b]++
			r.Detail = s.Detail
		}
	}
	if r.Ran > 0 {
		r.Ran-- // the last line counts
	}
	return cmd.Wait()
}

// ask runs a package's own test, which must fail, and fail by itself.
func (r *result) ask(ctx context.Context, root, overlay string) error {
	args := append([]string{"test", "-tags", buildTags, "-count=1", "-overlay", overlay}, strings.Fields(strings.TrimPrefix(r.Finder, "test "))...)
	out, err := goRun(ctx, root, args...)
	var failed *exec.ExitError
	switch {
	case err == nil:
		r.Detail = "the test passes"
		return nil
	case !errors.As(err, &failed) || !strings.Contains(string(out), "--- FAIL"):
		return fmt.Errorf("go test: %w\n%s", err, out)
	}
	_, detail, _ := strings.Cut(string(out), "--- FAIL: ")
	r.By, r.Detail = "test", strings.SplitN(detail, " ", 2)[0]
	return nil
}
