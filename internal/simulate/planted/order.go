package main

import (
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// storiesIn is where the stories of the simulator lie, below the root of the project.
const (
	storiesIn = "internal/simulate/testdata/stories"
	storyFile = ".txtar"
)

func storyNames(dir string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*"+storyFile))
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(files))
	for _, file := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(file), storyFile))
	}
	slices.Sort(names)
	return names, nil
}

var foundAt = regexp.MustCompile(`(?m)^\| \[([a-z0-9-]+)\]\(.*\| ([0-9]+) \|$`)

// seedsOf returns the seeds that the table names, by bug.
func seedsOf(table string) map[string]uint64 {
	out := map[string]uint64{}
	for _, row := range foundAt.FindAllStringSubmatch(table, -1) {
		if seed, err := strconv.ParseUint(row[2], 10, 64); err == nil {
			out[row[1]] = seed
		}
	}
	return out
}

var toldBy = regexp.MustCompile(`(?m)^\| \[([a-z0-9-]+)\]\(.*\| ([a-z][a-z0-9_]*) \|$`)

// storyOf is the story that gave the bug away when the table was written, or empty.
func storyOf(table, bug string) string {
	for _, row := range toldBy.FindAllStringSubmatch(table, -1) {
		if row[1] == bug {
			return row[2]
		}
	}
	return ""
}

// likely lists the seeds that come first for a bug: the one that gave it away when the
// table was written, and then those of all others, for what is a good place to look
// for one bug is one for others too. It only orders them: each is run anew.
func likely(bug string, known map[string]uint64, below uint64) []uint64 {
	var own, others []uint64
	for name, seed := range known { // sorted below
		switch {
		case seed >= below:
		case name == bug:
			own = append(own, seed)
		default:
			others = append(others, seed)
		}
	}
	slices.Sort(others)
	others = slices.DeleteFunc(slices.Compact(others), func(s uint64) bool { return slices.Contains(own, s) })
	return append(own, others...)
}

func listed(seeds []uint64) string {
	words := make([]string, 0, len(seeds))
	for _, s := range seeds {
		words = append(words, strconv.FormatUint(s, 10))
	}
	return strings.Join(words, ",")
}

// unlisted reads what listed wrote.
func unlisted(text string) ([]uint64, error) {
	var out []uint64
	for word := range strings.SplitSeq(text, ",") {
		if word == "" {
			continue
		}
		seed, err := strconv.ParseUint(word, 10, 64)
		if err != nil {
			return nil, err
		}
		out = append(out, seed)
	}
	return out, nil
}
