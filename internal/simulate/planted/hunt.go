package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"relight/internal/simulate"
	"relight/internal/world"
)

// sighting is a run that broke promises: of a seed, or of a story.
type sighting struct {
	Seed   uint64   `json:"seed"`
	Story  string   `json:"story,omitempty"`
	Broken []string `json:"broken"`
	Detail string   `json:"detail"`
	// Ran is how many runs there were up to this one.
	Ran uint64 `json:"ran"`
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

// name is how people call the run.
func (s sighting) name() string {
	if s.Story != "" {
		return "story " + s.Story
	}
	return fmt.Sprintf("seed %d", s.Seed)
}

// play runs one seed or story. A panic is no promise that was broken: nobody may take
// it for the bug's discovery.
func (s *sighting) play(stories string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: panic: %v", s.name(), p)
		}
	}()
	scenario := simulate.Random(s.Seed)
	if s.Story != "" {
		data, err := os.ReadFile(filepath.Join(stories, s.Story+storyFile))
		if err != nil {
			return err
		}
		story, err := simulate.ParseStory(s.Story, data)
		if err != nil {
			return err
		}
		scenario = story.Scenario
	}
	r, err := simulate.Run(scenario)
	if err != nil {
		return fmt.Errorf("%s: %w", s.name(), err)
	}
	for _, v := range r.Violations {
		s.note(v)
	}
	return nil
}

func (s *sighting) note(v world.Violation) {
	if s.Detail == "" {
		s.Detail = v.String()
	}
	if !slices.Contains(s.Broken, v.Invariant) {
		s.Broken = append(s.Broken, v.Invariant)
	}
}

// hunter is what the patched program does: it runs the story that is known to show the
// bug, if one is, seed after seed, and then all stories, and prints each run that broke something, and at the end how many it ran.
type hunter struct {
	seeds uint64
	// first are the seeds that come before all others.
	first   []uint64
	known   string
	stories string
	end     time.Time
	out     *json.Encoder
	ran     uint64
}

func (h *hunter) hunt() error {
	if h.known != "" {
		if err := h.one(sighting{Story: h.known}); err != nil {
			return err
		}
	}
	for _, seed := range h.first {
		if err := h.one(sighting{Seed: seed}); err != nil {
			return err
		}
	}
	for seed := uint64(0); seed < h.seeds && time.Now().Before(h.end); seed++ {
		if slices.Contains(h.first, seed) {
			continue
		}
		if err := h.one(sighting{Seed: seed}); err != nil {
			return err
		}
	}
	names, err := storyNames(h.stories)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := h.one(sighting{Story: name}); err != nil {
			return err
		}
	}
	return h.out.Encode(sighting{Ran: h.ran})
}

func (h *hunter) one(s sighting) error {
	h.ran++
	s.Ran = h.ran
	if err := s.play(h.stories); err != nil {
		s.Detail, s.Broken = err.Error(), []string{"error"}
	}
	if len(s.Broken) == 0 {
		return nil
	}
	return h.out.Encode(s)
}

// result is what became of one planted bug.
type result struct {
	patch
	// By is the promise that gave it away, "test" for a package's own test; empty if
	// nothing did.
	By     string
	Run    sighting
	Detail string
	// Ran is how many runs there were, Others what else was broken on the way.
	Ran    uint64
	Others map[string]int
	Took   time.Duration
	Err    error
}

// chase runs the patched program until it breaks a promise that the patch was made
// to break, in a run in which the product without the patch breaks none.
func (r *result) chase(ctx context.Context, program string, args []string, clean func(sighting) bool) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	cmd := exec.CommandContext(ctx, program, args...)
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
		r.Ran = s.Ran
		if by := s.breaksOneOf(r.Breaks); by != "" && clean(s) {
			r.By, r.Run, r.Detail = by, s, s.Detail
			stop()
			_ = cmd.Wait() // it was killed
			return nil
		}
		for _, b := range s.Broken {
			r.Others[b]++
			r.Detail = s.Detail
		}
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
