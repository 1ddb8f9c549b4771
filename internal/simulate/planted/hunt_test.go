package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestOverlay(t *testing.T) {
	root, all := patches(t)
	dir := t.TempDir()
	p := all[0]
	file, err := overlay(root, dir, p)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Replace map[string]string }
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(root, p.files[0].path)
	before, err := os.ReadFile(own)
	if err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(list.Replace[own])
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(before, after) {
		t.Errorf("%s changes nothing in %s", p.Name, own)
	}
}

// The last line of a hunt says how many runs there were: seeds, those named first, and
// the stories.
func TestHunt(t *testing.T) {
	root, _ := patches(t)
	names, err := storyNames(filepath.Join(root, storiesIn))
	if err != nil || len(names) < 60 {
		t.Fatalf("there are %d stories: %v", len(names), err)
	}
	dir := t.TempDir()
	for _, name := range names[:2] {
		data, err := os.ReadFile(filepath.Join(root, storiesIn, name+storyFile))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+storyFile), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := hunt(&out, options{seeds: 2, first: "1,7", known: names[1], within: time.Hour, stories: dir}); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(out.String(), `{"seed":0,"broken":null,"detail":"","ran":6}`+"\n") {
		t.Errorf("it printed %q", out.String())
	}
}

// The table's seeds come first, a bug's own before those of others.
func TestLikely(t *testing.T) {
	known := seedsOf(written([]result{
		{patch: patch{Name: "one", Breaks: []string{"S1"}}, By: "S1", Run: sighting{Seed: 70}},
		{patch: patch{Name: "two", Breaks: []string{"S1"}}, By: "S1", Run: sighting{Seed: 9}},
		{patch: patch{Name: "three", Breaks: []string{"S1"}}, By: "S1", Run: sighting{Story: "host_lost"}},
		{patch: patch{Name: "four", Breaks: []string{"S1"}}, By: "S1", Run: sighting{Seed: 20_000}},
		{patch: patch{Name: "five", Breaks: []string{"S1"}}, By: "S1", Run: sighting{Seed: 9}},
		{patch: patch{Name: "six", Breaks: []string{"S1"}}},
	}))
	rows := written([]result{
		{patch: patch{Name: "one", Breaks: []string{"S1"}}, By: "S1", Run: sighting{Seed: 70}},
		{patch: patch{Name: "three", Breaks: []string{"S1"}}, By: "S1", Run: sighting{Story: "host_lost"}},
	})
	for bug, want := range map[string]string{"one": "", "three": "host_lost", "six": ""} {
		if got := storyOf(rows, bug); got != want {
			t.Errorf("the story of %s: %q, want %q", bug, got, want)
		}
	}
	for bug, want := range map[string]string{"one": "70,9", "two": "9,70", "six": "9,70"} {
		got := listed(likely(bug, known, 10_000))
		if back, err := unlisted(got); got != want || err != nil || listed(back) != want {
			t.Errorf("%s: %s (%v), want %s", bug, got, err, want)
		}
	}
}

// A bug is found only by a promise that it was planted for, and on a seed that is
// clean without it.
func TestChase(t *testing.T) {
	program := filepath.Join(t.TempDir(), "hunter")
	script := `#!/bin/sh
echo '{"seed":3,"ran":4,"broken":["L1"],"detail":"L1: another promise"}'
echo '{"seed":5,"ran":6,"broken":["S2"],"detail":"S2: without the bug too"}'
echo '{"seed":8,"ran":9,"broken":["S4","S1"],"detail":"S4: the bug"}'
echo '{"ran":9}'
`
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	clean := func(s sighting) bool { return s.Seed != 5 }
	for _, c := range []struct {
		breaks []string
		by     string
		seed   uint64
		ran    uint64
	}{
		{[]string{"S2", "S1"}, "S1", 8, 9},
		{[]string{"S4"}, "S4", 8, 9},
		{[]string{"S2"}, "", 0, 9},
		{[]string{"S9"}, "", 0, 9},
	} {
		r := result{patch: patch{Breaks: c.breaks}, Others: map[string]int{}}
		if err := r.chase(context.Background(), program, nil, clean); err != nil {
			t.Fatal(err)
		}
		if r.By != c.by || r.Run.Seed != c.seed || r.Ran != c.ran {
			t.Errorf("for %v: found by %q at seed %d after %d, want %q at %d after %d", c.breaks, r.By, r.Run.Seed, r.Ran, c.by, c.seed, c.ran)
		}
	}
}

// written is the document after a run that looked for all.
func written(results []result) string {
	var all []patch
	for _, r := range results {
		all = append(all, r.patch)
	}
	return table(rows(all, results, ""))
}

// A run that looks for some bugs keeps what the document says of the others.
func TestTableKeepsOtherRows(t *testing.T) {
	one := result{patch: patch{Name: "one", Breaks: []string{"S1"}, Story: "A."}, By: "S1", Run: sighting{Seed: 7}}
	two := result{patch: patch{Name: "two", Breaks: []string{"S2"}, Story: "B."}, By: "S2", Run: sighting{Seed: 8}}
	gone := result{patch: patch{Name: "gone", Breaks: []string{"S3"}, Story: "C."}, By: "S3"}
	last := written([]result{one, two, gone})
	two.By, two.Run.Seed = "S2", 9
	fresh := patch{Name: "new", Breaks: []string{"S4"}, Story: "D."}
	text := table(rows([]patch{one.patch, two.patch, fresh}, []result{two}, last))
	for _, want := range []string{"Planted 3, found 2.", "| A. | S1 | S1 | 7 |", "| B. | S2 | S2 | 9 |", "| D. | S4 | **nothing** |"} {
		if !strings.Contains(text, want) {
			t.Errorf("it lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "gone") {
		t.Error("a bug that is planted no longer has a row")
	}
}

func TestTable(t *testing.T) {
	text := written([]result{
		{patch: patch{Name: "one", Breaks: []string{"S1"}, Story: "A | b."}, By: "S1", Run: sighting{Seed: 7}},
		{patch: patch{Name: "two", Breaks: []string{"S9"}, Story: "C."}, By: "test", Detail: "TestIt"},
		{patch: patch{Name: "three", Breaks: []string{"L1"}, Story: "D."}},
	})
	for _, want := range []string{
		"Planted 3, found 2.", `| [one](../testdata/planted/one.patch) | A \| b. | S1 | S1 | 7 |`, "| `TestIt` |", "| **nothing** |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it lacks %q:\n%s", want, text)
		}
	}
}
